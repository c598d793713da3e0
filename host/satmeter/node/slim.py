"""Leaves out what the packages below load and nobody here uses: a board of 512 MB runs several of our processes.

pyln.client reads maps of the network's gossip (bitstring, cryptography: 10 to 14 MB). SQLAlchemy has a way by asyncio,
which brings ssl, and reads the metadata of packages when it looks for a dialect that is not its own; hashlib prefers
OpenSSL's digests to Python's own: 7 MB together.
"""

import importlib
import importlib.util
import sys
from types import ModuleType

GOSSIP = "pyln.client.gossmap"


class _Absent:
    """Stands for a class of a module that was left out."""


class _Absentee(ModuleType):
    """A module in which every public name is an empty class."""

    def __getattr__(self, name: str) -> type[_Absent]:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent


class _Later(ModuleType):
    """A module that is loaded when something of it is used, not when it is imported."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def leave_out_gossip() -> None:
    """Before pyln.client is imported for the first time: later it changes nothing, and costs nothing."""
    if "pyln.client" not in sys.modules and GOSSIP not in sys.modules:
        module = _Absentee(GOSSIP)
        module.__spec__ = importlib.util.spec_from_loader(GOSSIP, loader=None)
        sys.modules[GOSSIP] = module


def import_sqlalchemy_lean() -> None:
    """In a plugin's process, before anything else of ours: it has no asyncio, and hashes little.

    Who imports asyncio afterwards (PostgreSQL's driver) gets it."""
    if "hashlib" not in sys.modules:
        sys.modules["_hashlib"] = None  # type: ignore[assignment]  # hashlib and hmac then use Python's own digests
    if "sqlalchemy" in sys.modules or "asyncio" in sys.modules:
        return
    if "importlib.metadata" not in sys.modules:
        metadata = sys.modules["importlib.metadata"] = _Later("importlib.metadata")
        importlib.metadata = metadata  # as an import of a submodule does
    sys.modules["asyncio"] = _Absentee("asyncio")
    try:
        importlib.import_module("sqlalchemy.dialects.sqlite")  # brings SQLAlchemy, and its way by asyncio to SQLite
    finally:
        del sys.modules["asyncio"]
