"""Runes of an emulated node, and commando: who may call what from elsewhere.

A real rune carries what it permits. Here the node remembers it, and of conditions knows those on a method or an id."""

import base64
import re
import secrets

from ...core.plain import Plain
from .errors import INVALID_PARAMS, RpcFault

REMOTE, REMOTE_AUTH = 0x4C50, 0x4C51
"""commando's errors: what is no rune, and a rune that does not permit it."""
CONDITION = re.compile(r"(method|id)([=^])(.*)")
WHY = {"=": "is not equal to", "^": "does not start with"}


class Runes:
    """The runes that a node has given."""

    def __init__(self) -> None:
        self._given: dict[str, list[list[str]]] = {}

    def create(self, restrictions: object) -> Plain:
        """Answers `createrune`: every restriction has to be met, and of its alternatives one."""
        rows = restrictions if isinstance(restrictions, list) else []
        for row in rows:
            if not isinstance(row, list) or not all(CONDITION.fullmatch(str(each)) for each in row):
                raise RpcFault(INVALID_PARAMS, f"restrictions: the emulated node does not know {row!r}")
        number = len(self._given)
        rune = base64.urlsafe_b64encode(secrets.token_bytes(32) + f"={number}".encode()).decode()
        self._given[rune] = rows
        return {"rune": rune, "unique_id": str(number)}

    def check(self, rune: str | None, method: str, peer: str) -> None:
        """Raises RpcFault where a rune does not permit a peer to call a method."""
        if rune is None:
            raise RpcFault(REMOTE, "Missing rune")
        if len(rune) < 43:
            raise RpcFault(REMOTE, "Invalid rune")
        if rune not in self._given:
            raise RpcFault(REMOTE_AUTH, "Invalid rune: Not authorized: Not derived from master")
        for row in self._given[rune]:
            against = [_against(each, {"method": method, "id": peer}) for each in row]
            if all(against):
                raise RpcFault(REMOTE_AUTH, f"Invalid rune: Not permitted: {' AND '.join(against)}")


def _against(condition: str, is_: dict[str, str]) -> str:
    """Return why a condition is not met, "" where it is."""
    found = CONDITION.fullmatch(condition)
    assert found is not None
    name, how, wanted = found.groups()
    met = is_[name] == wanted if how == "=" else is_[name].startswith(wanted)
    return "" if met else f"{name} {WHY[how]} {wanted}"
