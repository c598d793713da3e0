"""Invoices by which money is given back: foreign text, so each is looked at before anything is recorded or paid."""

from dataclasses import dataclass

from ..core.errors import BadParam
from ..core.plain import JsonObject
from ..node.rpc import Node

LONGEST = 8_000
PREFIXES = {"bitcoin": "lnbc", "testnet": "lntb", "testnet4": "lntb", "signet": "lntbs", "regtest": "lnbcrt"}
"""How the invoices of a network begin; a BOLT 12 invoice (lni) does not say its network there."""
BOLT12_EXPIRY_S = 7_200


@dataclass(frozen=True, slots=True)
class RefundInvoice:
    """What an invoice says: `amount_msat` is 0 where it has no amount, `expires_at` in s since 1970."""

    payee: str
    payment_hash: str
    amount_msat: int
    expires_at: int


def read(node: Node, text: str) -> RefundInvoice:
    """Returns what a BOLT 11 or BOLT 12 invoice says.

    Raises:
        BadParam: It is none, or a broken one; the message has the node's words.
        NodeTrouble: The node can't say so just now.
    """
    if not 0 < len(text) <= LONGEST or not text.isascii() or not text.isalnum():
        raise BadParam("invoice: must be a BOLT 11 or BOLT 12 invoice", param="invoice")
    try:
        found = node.decode(text)
    except BadParam as error:
        raise BadParam(f"invoice: can't be read: {error.message}", param="invoice") from None
    if found.get("valid") and found.get("type") == "bolt11 invoice":
        return _bolt11(found)
    if found.get("valid") and found.get("type") == "bolt12 invoice":
        return _bolt12(found)
    raise BadParam("invoice: must be a valid BOLT 11 or BOLT 12 invoice", param="invoice")


def check(invoice: RefundInvoice, text: str, own_id: str, network: str, now_s: int) -> None:
    """Raises BadParam for an invoice that could never be paid: our own, of another network, or expired."""
    if invoice.payee == own_id:
        raise BadParam("invoice: is of the seller's own node", param="invoice")
    prefix = PREFIXES.get(network, "ln")
    bolt12 = text.lower().startswith("lni")
    # The amount begins with a digit, or 1 ends the prefix: lnbc and lnbcrt are told apart by that.
    if not bolt12 and not (text.lower().startswith(prefix) and text[len(prefix)].isdecimal()):
        raise BadParam(f"invoice: is not of this seller's network, {network}", param="invoice")
    if invoice.expires_at <= now_s:
        raise BadParam("invoice: has expired; make a new one", param="invoice")


def _bolt11(found: JsonObject) -> RefundInvoice:
    expires_at = int(found["created_at"]) + int(found["expiry"])
    return RefundInvoice(found["payee"], found["payment_hash"], int(found.get("amount_msat", 0)), expires_at)


def _bolt12(found: JsonObject) -> RefundInvoice:
    expires_at = int(found["invoice_created_at"]) + int(found.get("invoice_relative_expiry", BOLT12_EXPIRY_S))
    amount = int(found["invoice_amount_msat"])
    return RefundInvoice(found["invoice_node_id"], found["invoice_payment_hash"], amount, expires_at)
