"""Requests as lightningd's parser (jsmn) sees them: where one ends in a stream of bytes, and where its members stand.

jsmn takes more than JSON: a number or word is whatever begins like one, brackets and quotes in it included (`1{`), and
a string may hold raw control characters. It reads the first of two members of one name, and compares names as they
are written. lightningd passes parameters on as they came, so whoever reads after it has to see what it saw: by another
rule for the end of a request, what stands inside one could pass for a request of its own.
"""

import re
from collections.abc import Iterator

TOKEN = re.compile(
    rb"""(?P<opens>[{\[]) | (?P<closes>[}\]]) | "[^"\\]*+(?:\\.[^"\\]*+)*+(?P<ended>"?) | [-0-9tfn][^\t\r\n ,\]}]*+""",
    re.DOTALL | re.VERBOSE,
)
"""A bracket, a string (`ended` is empty where it goes on), or a number or word (no group at all)."""


class Frames:
    """Requests out of a stream of bytes, apart by white space or by nothing."""

    def __init__(self) -> None:
        self._rest = b""
        self._at = self._depth = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the requests that are complete."""
        self._rest += data
        found, begin = [], 0
        for token in TOKEN.finditer(self._rest, self._at):
            if token["ended"] == b"" or (token.lastgroup is None and token.end() == len(self._rest)):
                break  # the rest of it is still to come
            self._at = token.end()
            self._depth += _step(token)
            if token["closes"] and self._depth <= 0:
                found.append(self._rest[begin : self._at].lstrip())
                begin, self._depth = self._at, 0
        self._rest = self._rest[begin:]
        self._at -= begin
        return found


def _step(token: re.Match[bytes]) -> int:
    """How much deeper it is behind a token."""
    return 1 if token["opens"] else -1 if token["closes"] else 0


def members(text: bytes) -> dict[bytes, slice]:
    """Return where the values of a request's members stand, by their names as written, quotes included."""
    found: dict[bytes, slice] = {}
    name = None
    for item in _items(text):
        if name is None:
            name = text[item]
        else:
            found.setdefault(name, item)
            name = None
    return found


def _items(text: bytes) -> Iterator[slice]:
    """Where the names and values of the outermost object stand, in turn."""
    now = begin = 0
    for token in TOKEN.finditer(text):
        if now <= 1 and not token["closes"]:
            begin = token.start()
        now += _step(token)
        if now == 1 and begin:
            yield slice(begin, token.end())


def depth(text: bytes) -> int:
    """Return how deep brackets nest in a text."""
    now = most = 0
    for token in TOKEN.finditer(text):
        now += _step(token)
        most = max(most, now)
    return most
