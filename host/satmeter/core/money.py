"""Whole millisatoshi and whole ticks; the two roundings of the product stand here and nowhere else.

The charge for a session is computed from its whole register difference and rounded down once, so a buyer never pays
for a tick that was not delivered. The ticks that an amount buys are rounded down too, so a seller never delivers a
tick that was not paid in full.
"""

import re

from .errors import BadParam

MSAT_PER_SAT = 1_000
MSAT_PER_BTC = 100_000_000_000
MAX_MSAT = 21_000_000 * MSAT_PER_BTC
MAX_TICKS = 2**53

_SCALE = {"": 1, "msat": 1, "sat": 1000, "btc": MSAT_PER_BTC}
_AMOUNT = re.compile(r"(\d{1,19}|[1-9]\d{0,2}(?:,\d{3}){1,6})(?:\.(\d{1,11}))? ?(msat|sat|btc|)", re.ASCII)


def charge_msat(ticks: int, price_msat: int, ticks_per_unit: int) -> int:
    """Return what `ticks` cost, in msat, rounded down."""
    return ticks * price_msat // ticks_per_unit


def ticks_for(amount_msat: int, price_msat: int, ticks_per_unit: int) -> int:
    """Return how many whole ticks `amount_msat` pays for in full."""
    return max(0, amount_msat) * ticks_per_unit // price_msat


def whole(name: str, value: object, low: int, high: int) -> int:
    """Return `value` as a whole number between the bounds, or raise BadParam that names all three.

    Digits in a string are taken too, because lightning-cli quotes what it can't parse.
    """
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadParam(f"{name}: must be a whole number, got {value!r}", param=name)
    if not low <= value <= high:
        raise BadParam(f"{name}: must be from {low} to {high}, got {value}", param=name)
    return value


def flag(name: str, value: object) -> bool:
    """Return `value` as true or false, from a JSON boolean, 1 and 0, or these as text; else raise BadParam."""
    known = {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())
    if known is None or not isinstance(value, (bool, int, str)):
        raise BadParam(f"{name}: must be true or false, got {value!r}", param=name)
    return known


def msat(name: str, value: object, low: int = 0, high: int = MAX_MSAT) -> int:
    """Returns an amount in whole msat, from a number of msat or text such as "5sat" or "1,500 sat".

    Text may also be "1000msat" or "0.001btc"; a number alone is in msat.

    Raises:
        BadParam: It is no amount, not whole msat, or not from `low` to `high`.
    """
    if isinstance(value, str):
        found = _AMOUNT.fullmatch(value.strip().lower())
        if not found:
            raise BadParam(f"{name}: must be an amount such as 1000msat or 5sat, got {value!r}", param=name)
        digits, fraction, suffix = found[1].replace(",", ""), found[2] or "", found[3]
        scaled = int(digits + fraction) * _SCALE[suffix]
        value, rest = divmod(scaled, 10 ** len(fraction))
        if rest:
            raise BadParam(f"{name}: must be whole msat, got {digits}.{fraction}{suffix}", param=name)
    return whole(name, value, low, high)


def typed_in_sat(text: str) -> str:
    """Returns an amount that was typed into a field of sat as text for msat().

    A number alone gets the unit sat. What follows a / (the unit of a price) stays."""
    number, slash, unit = text.strip().partition("/")
    alone = re.fullmatch(r"[\d.,]+", number.strip(), re.ASCII)
    return f"{number.strip()}{' sat' if alone else ''}{slash}{unit}"


def whole_sat_msat(amount_msat: int, most_msat: int) -> int:
    """Returns msat rounded up to a whole sat, which every wallet can pay; as it is where that is over `most_msat`."""
    rounded = -(-amount_msat // 1000) * 1000
    return rounded if rounded <= most_msat else amount_msat
