"""Amounts in a currency as msat: by the operator's rates, or by the node's."""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal

from pyln.client import RpcError

from ..core.errors import BadParam
from ..core.money import MSAT_PER_BTC
from ..node.rpc import Node, words_of

QUOTED = 32
"""Characters of an amount that are kept of a quote."""


def quoted(value: Decimal) -> str:
    """Returns an amount as an invoice keeps it, whole; BadParam for one of too many digits."""
    text = format(value, "f")
    if len(text) > QUOTED:
        raise BadParam(f"amount: may have at most {QUOTED} characters, got {text[:40]}", param="amount")
    return text


def converted(rates: Mapping[str, Decimal], node: Node, currency: str, value: Decimal) -> int:
    """Return msat for an amount of a currency, rounded up. BadParam where there is no rate of it."""
    if currency == "BTC":
        return int((value * MSAT_PER_BTC).to_integral_value(ROUND_CEILING))
    rate = rates.get(currency)
    if rate is not None:
        return int((value / rate * MSAT_PER_BTC).to_integral_value(ROUND_CEILING))
    try:
        found = node.call("currencyrate", currency=currency)["rate"]
    except RpcError as error:
        source = f"rates in the config, or the node's currencyrate: {words_of(error)}"
        why = f"currency: there is no rate of {currency} ({source})"
        raise BadParam(why, param="currency") from None
    return int((value / Decimal(str(found)) * MSAT_PER_BTC).to_integral_value(ROUND_CEILING))
