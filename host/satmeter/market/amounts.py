"""Amounts as people type them into forms."""

from decimal import Decimal

from ..core.errors import BadParam
from ..core.money import MAX_MSAT
from ..core.plain import JsonObject


def priced(given: JsonObject) -> JsonObject:
    """Returns a form with `sat` converted to `msatoshi`, in msat; a given `msatoshi` stays.

    `sat` may have three decimals. Raises BadParam for text that is no amount."""
    if "sat" not in given or given.get("msatoshi"):
        return given
    return {**given, "msatoshi": msat_of(given["sat"])}


def msat_of(sat: object) -> int:
    """Return msat for an amount of sat. BadParam for what is none."""
    try:
        value = Decimal(str(sat)) * 1000
    except ArithmeticError:
        value = Decimal(-1)
    if not value.is_finite() or not 1 <= value <= MAX_MSAT or value != value.to_integral_value():
        raise BadParam(f"sat: must be an amount of sat, three decimals at most, got {str(sat)[:40]!r}", param="sat")
    return int(value)
