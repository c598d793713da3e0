"""Amounts and times as people read them, and which text people can read at all.

Whole msat are shown in sat or BTC, not rounded; durations in two units."""

import json
import unicodedata

from .core.money import MSAT_PER_BTC

JOINERS = "\u200c\u200d"
EMPTY = "\u034f\u115f\u1160\u3164\uffa0"
"""Letters that nothing is seen of."""
UNITS = {"msat": 1, "sat": 1000, "BTC": MSAT_PER_BTC}


def amount(msat: int, unit: str = "sat") -> str:
    """Return an amount in a unit of UNITS, exactly: as many decimals as it needs and no more."""
    scale = UNITS[unit]
    whole, part = divmod(abs(msat), scale)
    text = f"{whole:,}"
    if part:
        text += "." + f"{part:0{len(str(scale)) - 1}d}".rstrip("0")
    return f"{'-' if msat < 0 else ''}{text} {unit}"


def duration(seconds: int) -> str:
    """Return a time as 42 s, 3 min 05 s, 2 h 10 min, or 4 days 3 h."""
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    if seconds < 86400:
        return f"{seconds // 3600} h {seconds // 60 % 60:02d} min"
    return f"{seconds // 86400} days {seconds // 3600 % 24} h"


def visible(text: str) -> str:
    """Returns foreign text with each character that can't be seen replaced by its JSON escape.

    Those are control characters, marks of direction, and what has no width. Line breaks stay, and
    joiners that follow a character beyond ASCII (in letters or emoji). A tab becomes a space."""
    text = text.replace("\r\n", "\n").replace("\t", " ")
    return "".join(
        char if _seen(char, before) else json.dumps(char)[1:-1] for before, char in zip(f" {text}", text, strict=False)
    )


def _seen(char: str, before: str) -> bool:
    if char in JOINERS:
        return not before.isascii() and before not in JOINERS
    return char == "\n" or (char.isprintable() and char not in EMPTY) or unicodedata.category(char) == "Zs"


def readable(text: str) -> bool:
    """Returns whether text has no control character, no line break and no lone surrogate.

    Spaces that do not break, characters that join emoji, and marks of direction are allowed."""
    return not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text)
