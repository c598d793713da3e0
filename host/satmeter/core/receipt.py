"""The receipt: a session's closing statement, as the text that the seller's node signs."""

import json
import re
from typing import Any

from .journal import canonical
from .sale import Sale

FORMAT = "satmeter-receipt-1"
TEXT_MOST = 500
TXIDS_MOST = 20


def text(sale: Sale, seller: str, revision: int) -> str:
    """Return the canonical JSON of the statement. Amounts in msat, counts in ticks, times in milliseconds.

    paid_msat + debt_msat == charged_msat + refunded_msat + lapsed_msat + owed_msat, always: what was carried in from
    an earlier session counts as paid, what was carried on into a later one as refunded. A refund bears its own
    routing fee: refunded_msat has refund_fee_msat in it, and the rest of it arrived or was carried on.
    """
    return canonical(
        {
            "format": FORMAT,
            "session": sale.id,
            "revision": revision,
            "seller": seller,
            "buyer": sale.buyer,
            "meter": sale.meter,
            "tariff": sale.tariff.to_dict(),
            "opened_at": sale.opened_at,
            "closed_at": sale.closed_at,
            "reason": _plain(sale.reason),
            "start": {"boot": sale.start_boot, "register": sale.start_register},
            "stop": {"boot": sale.end_boot, "register": sale.end_register},
            "ticks": sale.ticks,
            "payments": sale.payments,
            "paid_msat": sale.received,
            "carried_in_msat": sale.brought,
            "charged_msat": sale.charged,
            "spent_msat": sale.spent,
            "refunded_msat": sale.refunded + sale.taken,
            "refund_fee_msat": sale.refund_fee,
            "lapsed_msat": sale.lapsed,
            "owed_msat": sale.owed,
            "debt_msat": sale.debt,
            "head": sale.head,
            **({"onchain": _onchain(sale)} if sale.tariff.onchain else {}),
        }
    )


def _onchain(sale: Sale) -> dict[str, Any]:
    """What the growing transactions came to: fee_msat is what the buyer paid; each of the two protocols would have
    cost basic_fee_msat (a transaction for each payment) and single_fee_msat. txids: the newest ones."""
    return {
        "transactions": sale.tx_count - (1 if sale.growing is not None else 0),
        "txids": sale.txids,
        "fee_msat": sale.fees * 1000,
        "basic_fee_msat": sale.basic_fees * 1000,
        "single_fee_msat": sale.single_fees * 1000,
        "lost_msat": sale.lost * 1000,
    }


_FIGURES = ("paid_msat", "charged_msat", "refunded_msat", "lapsed_msat", "owed_msat", "debt_msat")
_WHOLE = (
    *_FIGURES,
    *("revision", "ticks", "payments", "carried_in_msat", "spent_msat", "opened_at", "closed_at"),
    "refund_fee_msat",
)
_TEXT = ("session", "seller", "buyer", "meter", "reason", "head")


def read(receipt_text: str) -> dict[str, Any] | None:
    """Return a receipt's fields, each of its kind; None for what is not a receipt. Receipts of before refunds bore
    their fee have no refund_fee_msat; it is 0 in them."""
    try:
        r = json.loads(receipt_text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(r, dict) or r.get("format") != FORMAT or not isinstance(r.get("tariff"), dict):
        return None
    r.setdefault("refund_fee_msat", 0)
    sound = all(type(r.get(n)) is int and r[n] >= 0 for n in _WHOLE) and all(_is_plain(r.get(n)) for n in _TEXT)
    return r if sound and ("onchain" not in r or _sound_onchain(r["onchain"])) else None


_ONCHAIN = ("transactions", "fee_msat", "basic_fee_msat", "single_fee_msat", "lost_msat")


def _sound_onchain(o: object) -> bool:
    if not isinstance(o, dict) or not isinstance(o.get("txids"), list) or len(o["txids"]) > TXIDS_MOST:
        return False
    whole = all(type(o.get(n)) is int and o[n] >= 0 for n in _ONCHAIN)
    return whole and all(isinstance(txid, str) and re.fullmatch("[0-9a-f]{64}", txid) for txid in o["txids"])


def _is_plain(value: object) -> bool:
    """Whether it is text that pages and terminals may show."""
    return isinstance(value, str) and len(value) <= TEXT_MOST and value.isprintable()


def _plain(text: str) -> str:
    """Return text for a receipt: a reason may be the other side's own words."""
    return "".join(c if c.isprintable() else "?" for c in text)[:TEXT_MOST]


def figures(receipt_text: str) -> tuple[int, ...]:
    """Return (paid, charged, refunded, lapsed, owed, debt) of a receipt, in msat; () for what is not a receipt."""
    r = read(receipt_text)
    return tuple(r[name] for name in _FIGURES) if r is not None else ()


def balanced(receipt_text: str) -> bool:
    """Return whether a receipt's sums agree; anything that is not a receipt does not."""
    found = figures(receipt_text)
    if not found:
        return False
    paid, charged, refunded, lapsed, owed, debt = found
    return paid + debt == charged + refunded + lapsed + owed
