"""Checks of parameters that several RPC methods have; each raises BadParam that names the parameter."""

import inspect
import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from ..core.errors import BadParam
from ..core.money import whole

Method = TypeVar("Method", bound=Callable[..., None])
PAGE = 1000
"""The most rows, or readings, of one call."""
FOREVER_S = 3600
"""The longest that a call waits."""


def extended(method: Method, parameters: Iterable[inspect.Parameter]) -> Method:
    """Gives a method with `**given` these parameters in its place, for its usage and for bind()."""
    known = inspect.signature(method)
    fixed = [each for each in known.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    method.__signature__ = known.replace(parameters=[*fixed, *parameters])  # type: ignore[attr-defined]
    return method


def waiting(lastindex: int, timeout: int) -> tuple[int, int]:
    """Returns an index to wait beyond, and for how many seconds."""
    return whole("lastindex", lastindex, 0, 2**62), whole("timeout", timeout, 0, FOREVER_S)


def journal_name(name: str, text: str) -> str:
    """Returns the name of a journal: eight hex digits."""
    if not re.fullmatch("[0-9a-f]{8}", text):
        raise BadParam(f"{name}: must be the name of a journal, eight hex digits, got {text[:40]!r}", param=name)
    return text


def page(limit: int) -> int:
    """Returns how many rows are asked for."""
    return whole("limit", limit, 1, PAGE)


def period(since: int, before: int) -> tuple[int, int]:
    """Returns a period in ms since 1970; `before` 0 is now."""
    return whole("since", since, 0, 2**62), whole("before", before, 0, 2**62)


def word(name: str, text: str) -> str:
    """Returns what a board says of itself: short and printable, because pages show it."""
    if len(text) > 40 or not text.isprintable():
        raise BadParam(f"{name}: must be at most 40 printable characters, got {text[:60]!r}", param=name)
    return text


def board_id(board: object) -> str:
    """Returns a board's id as text, "" for none."""
    text = str(board)
    if len(text) > 32 or (text and not (text.isascii() and text.isalnum())):
        raise BadParam(f"board: must be an id of up to 32 letters and digits, got {board!r}", param="board")
    return text


def boot_id(boot: object) -> str:
    """Returns a boot id as text."""
    text = str(boot)
    if not 1 <= len(text) <= 32 or not text.isascii() or not text.isalnum():
        raise BadParam(f"boot: must be 1 to 32 letters and digits, got {boot!r}", param="boot")
    return text
