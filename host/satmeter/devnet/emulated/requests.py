"""A client's request as lightningd takes it: as tokens, which are more than JSON, and go to plugins as they came."""

import json
import re
from dataclasses import dataclass

from ...core.plain import Plain
from ...wire.tokens import Token, members, tokens
from .errors import INVALID_PARAMS, INVALID_REQUEST, RpcFault

Params = Plain | list[object]

_STRING = re.compile(rb'"(?:[^"\\\0]|\\(?:["/\\bfrnt]|u[0-9A-Fa-f]{4}))*+"')
_WORD = re.compile(rb"[ -~]*")
_BETWEEN = re.compile(rb"[\t\r\n ,:]*")
_OPENS = {b"}": b"{", b"]": b"["}


@dataclass(frozen=True, slots=True)
class Request:
    """The text of a request, and where its id stands."""

    text: bytes
    id: slice

    @classmethod
    def read(cls, text: bytes) -> "Request":
        """Return the request; RpcFault for what lightningd ends the connection at."""
        if not _taken(text):
            raise RpcFault(INVALID_REQUEST, f"Failed to parse RPC JSON response '{text.decode(errors='replace')}'")
        found = members(text)
        if b'"id"' not in found:
            raise RpcFault(INVALID_REQUEST, "No id")
        return cls(text, found[b'"id"'])

    def member(self, name: str) -> object:
        """Return a member, None where there is none; RpcFault for one that is more than JSON."""
        at = members(self.text).get(f'"{name}"'.encode())
        try:
            return json.loads(self.text[at].decode()) if at is not None else None
        except (ValueError, RecursionError):
            raise RpcFault(INVALID_PARAMS, f"{name}: invalid token") from None

    @property
    def method(self) -> str:
        """The name of the method.

        Raises RpcFault -32600 if there is none or it is no string, -32602 if it is not JSON."""
        found = self.member("method")
        if not isinstance(found, str):
            raise RpcFault(INVALID_REQUEST, "No method" if found is None else "Expected string for method")
        return found

    def params(self) -> Params:
        """Returns the parameters; empty if there are none.

        Raises RpcFault -32602 if they are neither an array nor an object, or not JSON."""
        found = self.member("params")
        if found is None:
            return {}
        if not isinstance(found, (dict, list)):
            raise RpcFault(INVALID_PARAMS, "Expected array or object for params")
        return found


def _taken(text: bytes) -> bool:
    """Whether lightningd's parser takes a text: its strings, words and brackets, and a value for each name."""
    within: list[tuple[bytes, int]] = []  # of each bracket that is open: which, and how many items it has
    end = 0
    for token in tokens(text):
        if not _BETWEEN.fullmatch(text, end, token.start) or not _sound(text, token):
            return False
        end = token.end
        if token.step < 0:
            if not within or (last := within.pop())[0] != _OPENS[token.kind] or (last[0] == b"{" and last[1] % 2):
                return False
            continue
        if within:
            kind, count = within.pop()
            if kind == b"{" and count % 2 == 0 and token.kind != b'"':
                return False  # a name that is no string
            within.append((kind, count + 1))
        if token.step:
            within.append((token.kind, 0))
    return not within


def _sound(text: bytes, token: Token) -> bool:
    said = text[token.start : token.end]
    if token.kind != b'"':
        return _WORD.fullmatch(said) is not None
    try:
        said.decode()
    except UnicodeDecodeError:
        return False
    return _STRING.fullmatch(said) is not None
