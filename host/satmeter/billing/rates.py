"""Amounts in a currency as msat: by the operator's rates, or by the node's."""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal

from ..core.errors import BadParam, NodeTrouble
from ..core.money import MSAT_PER_BTC
from ..node.currency import per_btc
from ..node.rpc import Node

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
        rate = per_btc(node, currency)
    except NodeTrouble as error:
        raise BadParam(
            f"currency: {error} (rates are in the config, or the node's currencyrate)", param="currency"
        ) from None
    return int((value / rate * MSAT_PER_BTC).to_integral_value(ROUND_CEILING))
