"""What a person does with a scanned code: pay the invoice, or open a stream, within caps; for terminal and page.

A payment is the node's: lightningd records it before it sends, and never pays the same hash twice, so a repeated call
after a crash answers how it ended.
"""

import time

from pyln.client import RpcError

from ..core.buyer.policy import with_unit
from ..core.errors import BadParam, NodeTrouble, OverCap
from ..core.money import msat
from ..core.plain import JsonObject
from ..node.any_node import AnyNode
from ..node.payments import fee_cap
from ..node.rpc import code_of, words_of
from ..qr.meaning import Invoice, objections
from ..wire.address import Address

RETRY_S = 30
IN_FLIGHT = -3
HINTS = {
    203: "the seller refused it; on a meter: is something plugged in, and is it not locked?",
    205: "no route with enough capacity: is there a channel towards the seller, with money on our side?",
    206: "it would cost more in fees than allowed",
    207: "it has expired: ask for a new one",
    209: "it did not get through in time; look with listpays before you try again",
    219: "it is paid already",
}


def may_pay(node: AnyNode, invoice: Invoice, max_msat: object, payee: str = "") -> None:
    """Raise BadParam or OverCap, with every reason, where an invoice must not be paid; `payee`: the node opened."""
    against = objections(invoice, int(time.time()), str(node.info()["network"]), payee)
    if against:
        raise BadParam("not paid: " + "; ".join(against), param="invoice")
    most = msat("max_msat", max_msat, 1)
    if (invoice.amount_msat or 0) > most:
        raise OverCap(f"not paid: the invoice is of {invoice.amount_msat} msat, the cap {most} msat")


def pay(node: AnyNode, invoice: Invoice, max_msat: object, max_fee_msat: object = None, payee: str = "") -> JsonObject:
    """Pay an invoice within the caps; returns xpay's answer. NodeTrouble with words of what to do where it fails."""
    may_pay(node, invoice, max_msat, payee)
    fee = fee_cap(invoice.amount_msat or 0) if max_fee_msat is None else msat("max_fee_msat", max_fee_msat)
    try:
        return node.call("xpay", invstring=invoice.bolt11, maxfee=fee, retry_for=RETRY_S)
    except RpcError as error:
        code = code_of(error)
        if code == IN_FLIGHT:
            raise NodeTrouble("this payment is under way already; look with listpays how it ends") from None
        hint = HINTS.get(code)
        raise NodeTrouble(f"not paid: {words_of(error)}" + (f" ({hint})" if hint else ""), code=code) from None


def open_stream(node: AnyNode, address: Address, max_price_msat: object, budget_msat: object) -> JsonObject:
    """Opens a stream at a scanned address within the caps; returns stream-open's answer.

    Args:
        node: The buyer's node.
        address: The meter's address.
        max_price_msat: The price cap with its unit, such as "300sat/kWh".
        budget_msat: The most that the stream may cost, as msat() reads it.

    Raises:
        BadParam: A cap is not an amount, or the price has no unit.
        NodeTrouble: The stream was not opened; the message has the reason, `code` the error's number.
    """
    caps = dict(with_unit({"max_price_msat": max_price_msat, "budget_msat": msat("budget_msat", budget_msat, 1)}))
    caps["max_price_msat"] = msat("max_price_msat", caps["max_price_msat"], 1)
    if not caps.get("unit"):
        raise BadParam("max_price_msat: needs its unit, such as 300sat/kWh", param="max_price_msat")
    try:
        return node.call("stream-open", seller=str(address), **caps)
    except RpcError as error:
        raise NodeTrouble(f"not opened: {words_of(error)}", code=code_of(error)) from None
