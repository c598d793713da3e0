"""Requests as lightningd's parser (jsmn) sees them: where one ends in a stream of bytes, and where its members stand.

jsmn takes more than JSON: a number or word is whatever begins like one, brackets and quotes in it included (`1{`), and
a string may hold raw control characters. It reads the first of two members of one name, and compares names as they
are written. lightningd passes parameters on as they came, so whoever reads after it has to see what it saw: by another
rule for the end of a request, what stands inside one could pass for a request of its own.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_NEXT = re.compile(rb'[{}\[\]"]|[-0-9tfn][^\t\r\n ,\]}]*+')
_STEP = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}
_BACKSLASH = 0x5C


class Token(NamedTuple):
    """A bracket, a string, or a number or word: its first byte, and where it stands."""

    kind: bytes
    start: int
    end: int
    whole: bool
    """False for a string or word that the text ends in: more of it may come."""

    @property
    def step(self) -> int:
        """How much deeper it is behind it."""
        return _STEP.get(self.kind, 0)


def tokens(text: bytes, at: int = 0) -> Iterator[Token]:
    """The tokens of a text from a place on, each where lightningd's parser has it."""
    while found := _NEXT.search(text, at):
        start, at = found.span()
        kind = text[start : start + 1]
        whole = kind in _STEP or at < len(text)
        if kind == b'"':
            end = _closing(text, at)
            whole, at = end > 0, end or len(text)
        yield Token(kind, start, at, whole)


def _closing(text: bytes, at: int) -> int:
    """Returns the position behind a string's closing quote; 0 where the text ends within the string.

    at: a position within the string. It searches for the quote, because a stranger's custom message is
    one long string."""
    while (end := text.find(b'"', at)) >= 0:
        slash = end
        while text[slash - 1] == _BACKSLASH:
            slash -= 1
        if (end - slash) % 2 == 0:
            return end + 1
        at = end + 1
    return 0


class Requests:
    """Requests out of a stream of bytes, apart by white space or by nothing."""

    def __init__(self) -> None:
        self._rest = b""
        self._at = self._depth = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the requests that are complete."""
        self._rest += data
        found, begin = [], 0
        for token in tokens(self._rest, self._at):
            if not token.whole:
                break  # the rest of it is still to come
            self._at = token.end
            self._depth += token.step
            if token.step < 0 and self._depth <= 0:
                found.append(self._rest[begin : self._at].lstrip())
                begin, self._depth = self._at, 0
        self._rest = self._rest[begin:]
        self._at -= begin
        return found


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
    for token in tokens(text):
        if now <= 1 and token.step >= 0:
            begin = token.start
        now += token.step
        if now == 1 and begin:
            yield slice(begin, token.end)


def depth(text: bytes) -> int:
    """Return how deep brackets nest in a text."""
    now = most = 0
    for token in tokens(text):
        now += token.step
        most = max(most, now)
    return most
