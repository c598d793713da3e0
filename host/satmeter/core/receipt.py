"""The receipt: a session's closing statement, as the text that the seller's node signs."""

import json
from typing import Any

from .journal import canonical
from .sale import Sale

FORMAT = "satmeter-receipt-1"


def text(sale: Sale, seller: str, revision: int) -> str:
    """Return the canonical JSON of the statement. Amounts in msat, counts in ticks, times in milliseconds.

    paid_msat + debt_msat == charged_msat + refunded_msat + lapsed_msat + owed_msat, always: what was carried in from
    an earlier session counts as paid, what was carried on into a later one as refunded.
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
            "reason": sale.reason,
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
        }
    )


_FIGURES = ("paid_msat", "charged_msat", "refunded_msat", "lapsed_msat", "owed_msat", "debt_msat")


def figures(receipt_text: str) -> tuple[int, ...]:
    """Return (paid, charged, refunded, lapsed, owed, debt) of a receipt, in msat; () for what is not a receipt."""
    try:
        r: dict[str, Any] = json.loads(receipt_text)
        found = tuple(r[name] for name in _FIGURES)
    except (ValueError, KeyError, TypeError):
        return ()
    return found if r.get("format") == FORMAT and all(type(v) is int for v in found) else ()


def balanced(receipt_text: str) -> bool:
    """Return whether a receipt's sums agree; anything that is not a receipt does not."""
    found = figures(receipt_text)
    if not found:
        return False
    paid, charged, refunded, lapsed, owed, debt = found
    return paid + debt == charged + refunded + lapsed + owed
