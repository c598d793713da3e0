"""Amounts as people type them into forms."""

import re

from ..core.errors import BadParam
from ..core.money import MAX_MSAT
from ..core.plain import JsonObject

_TYPED = re.compile(r"([0-9]{1,19}|[1-9][0-9]{0,2}(?:,[0-9]{3}){1,6})(?:\.([0-9]{1,3}))?")


def priced(given: JsonObject) -> JsonObject:
    """Returns a form with `sat` converted to `msatoshi`, in msat; a given `msatoshi` stays.

    `sat` may have three decimals. Raises BadParam for text that is no amount."""
    if "sat" not in given or given.get("msatoshi"):
        return given
    return {**given, "msatoshi": msat_of(given["sat"])}


def msat_of(sat: object) -> int:
    """Return msat for an amount of sat, such as 1500, 1,500 or 0.5. BadParam for what is none.

    "1.500" is 1,500 sat to some people and 1.5 sat to others: it is refused."""
    text = str(sat).strip()
    found = _TYPED.fullmatch(text)
    if found is None:
        words = "must be an amount of sat with a point before decimals, three of them at most"
        raise BadParam(f"sat: {words}, such as 1500 or 0.5, got {text[:40]!r}", param="sat")
    digits, decimals = found[1].replace(",", ""), found[2] or ""
    if len(decimals) == 3 and decimals.endswith("0") and int(digits):
        raise BadParam(f"sat: {text}: write {digits}{decimals}, or {digits}.{decimals.rstrip('0') or 0}", param="sat")
    value = int(digits) * 1000 + int(decimals.ljust(3, "0"))
    if not 1 <= value <= MAX_MSAT:
        raise BadParam(f"sat: must be more than 0, and no more than there is, got {text[:40]!r}", param="sat")
    return value
