"""What a person can choose at a meter that serves itself: amounts in sat, in the meter's unit, of time, or of money."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil

from .errors import BadParam
from .money import ticks_for, whole_sat_msat

MOST = 8
STEPS = 20
"""Of a potentiometer that points at an amount."""
_CHOICE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*(\S{1,16})")
_PREFIXES = {"m": -3, "": 0, "k": 3, "M": 6}
_CURRENCY = re.compile("[A-Z]{3}")
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice: `text` as its operator wrote it, and what it costs (msat); 0 where that is not known now.

    `currency` is its ISO 4217 code, "" for what needs no rate."""

    text: str
    amount_msat: int
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """What choices are priced by: `price_msat` for one `unit` of `ticks_per_unit` ticks, at most `quantum_msat`."""

    unit: str
    price_msat: int
    ticks_per_unit: int
    quantum_msat: int


@lru_cache(1024)
def parse_choices(text: str, price: Price, rates: frozenset[tuple[str, int]] = frozenset()) -> tuple[Choice, ...]:
    """Returns the choices of a list such as "100sat, 1kWh, 10min, 1EUR"; one quantum for "".

    Amounts are rounded up to whole sat, since many wallets pay no less; up to the quantum, which is the most that a
    wallet may pay at once. What a currency comes to changes: a choice of it without a rate, or that is now over the
    quantum, costs 0.

    Args:
        text: The choices, separated by commas.
        price: What they are priced by.
        rates: What one unit of each currency is worth now (msat).

    Raises:
        BadParam: Of `choices`: too many, none of sat or the meter's unit, under a tick, or over the quantum.
    """
    if not text.strip():
        return (Choice(_in_sat(price.quantum_msat), price.quantum_msat),)
    parts = [each.strip() for each in text.split(",")]
    if len(parts) > MOST:
        raise _wrong(f"has {len(parts)} choices; a person can be asked to choose among {MOST}")
    return tuple(_choice(each, price, dict(rates)) for each in parts)


def scale(price: Price) -> tuple[Choice, ...]:
    """Returns the amounts that a potentiometer points at: up to 20 steps to the quantum, each of whole sat."""
    steps = (whole_sat_msat(price.quantum_msat * step // STEPS, price.quantum_msat) for step in range(1, STEPS + 1))
    good = sorted({each for each in steps if ticks_for(each, price.price_msat, price.ticks_per_unit)})
    return tuple(Choice(_in_sat(each), each) for each in good)


def _in_sat(amount_msat: int) -> str:
    return f"{amount_msat // 1000}sat" if amount_msat >= 1000 else f"{amount_msat}msat"


def _choice(text: str, price: Price, rates: dict[str, int]) -> Choice:
    found = _CHOICE.fullmatch(text)
    if found is None:
        raise _wrong(f"{text[:40]!r} is no amount such as 100sat or 1{price.unit}")
    number, unit = Fraction(found[1]), found[2]
    if _CURRENCY.fullmatch(unit) and unit != price.unit:
        amount = whole_sat_msat(ceil(number * rates.get(unit, 0)), price.quantum_msat)
        fits = amount <= price.quantum_msat and ticks_for(amount, price.price_msat, price.ticks_per_unit)
        return Choice(text, amount if fits else 0, unit)
    exact = number * 1000 if unit == "sat" else number * _units(unit, text, price) * price.price_msat
    amount = whole_sat_msat(ceil(exact), price.quantum_msat)
    if not ticks_for(amount, price.price_msat, price.ticks_per_unit):
        raise _wrong(f"{text}: {amount} msat buys no whole tick")
    if amount > price.quantum_msat:
        raise _wrong(f"{text}: {amount} msat is more than the quantum, {price.quantum_msat} msat")
    return Choice(text, amount)


def _units(unit: str, text: str, price: Price) -> Fraction:
    """Returns how many of the meter's units one `unit` is."""
    if unit == price.unit:
        return Fraction(1)
    if unit in _SECONDS and price.unit in _SECONDS:
        return Fraction(_SECONDS[unit], _SECONDS[price.unit])
    for given, power in _PREFIXES.items():
        for sold, of in _PREFIXES.items():
            if unit.startswith(given) and price.unit.startswith(sold) and unit[len(given) :] == price.unit[len(sold) :]:
                return Fraction(10) ** (power - of)
    raise _wrong(f"{text[:40]!r} is neither in sat nor in {price.unit}, the meter's unit, nor in a currency")


def _wrong(what: str) -> BadParam:
    return BadParam(f"choices: {what}", param="choices")
