"""What a bitcoin is worth, as the node says."""

from decimal import Decimal, InvalidOperation

from pyln.client import RpcError

from ..core.errors import NodeTrouble
from .any_node import AnyNode
from .rpc import words_of


def per_btc(node: AnyNode, currency: str) -> Decimal:
    """Return units of a currency for a bitcoin, by the node's currencyrate (CLN 26.04), which asks the Internet.

    Raises:
        NodeTrouble: There is no rate.
    """
    try:
        rate = Decimal(str(node.call("currencyrate", currency=currency)["rate"]))
    except (RpcError, KeyError, InvalidOperation) as error:
        words = words_of(error) if isinstance(error, RpcError) else "the node's answer is no rate"
        raise NodeTrouble(f"there is no rate of {currency}: {words}") from error
    if not (rate.is_finite() and rate > 0):
        raise NodeTrouble(f"there is no rate of {currency}: the node says {rate}")
    return rate
