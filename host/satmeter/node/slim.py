"""Leaves out of pyln.client what reads maps of the network's gossip: nobody here does.

Without it neither bitstring nor cryptography are loaded: 10 to 14 MB less in each process that talks to a node, and a
board of 512 MB runs several.
"""

import importlib.util
import sys
from types import ModuleType

NAME = "pyln.client.gossmap"


class _Absent:
    """Stands for a class of a module that was left out."""


class _Absentee(ModuleType):
    """A module in which every public name is an empty class."""

    def __getattr__(self, name: str) -> type[_Absent]:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent


def leave_out_gossip() -> None:
    """Before pyln.client is imported for the first time: later it changes nothing, and costs nothing."""
    if "pyln.client" not in sys.modules and NAME not in sys.modules:
        module = _Absentee(NAME)
        module.__spec__ = importlib.util.spec_from_loader(NAME, loader=None)
        sys.modules[NAME] = module
