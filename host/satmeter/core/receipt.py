"""The receipt: a session's closing statement, as the text that the seller's node signs."""

import json
import re
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict, cast

from .journal import canonical
from .money import MAX_MSAT, MAX_TICKS
from .plain import without_repeats
from .settlement.rules import rules_of

if TYPE_CHECKING:
    from .seller.session import SellerSession

FORMAT = "satmeter-receipt-1"
TEXT_MOST = 500
TXIDS_MOST = 20
PAYERS_MOST = 20


class Figures(NamedTuple):
    """The sums that a receipt states, in msat."""

    paid_msat: int
    charged_msat: int
    refunded_msat: int
    lapsed_msat: int
    owed_msat: int
    debt_msat: int

    @property
    def agree(self) -> bool:
        """Whether what came in is all accounted for."""
        out_msat = self.charged_msat + self.refunded_msat + self.lapsed_msat + self.owed_msat
        return self.paid_msat + self.debt_msat == out_msat


Sum = Literal[
    "ticks", "payments", "paid_msat", "charged_msat", "refunded_msat", "refund_fee_msat", "lapsed_msat", "owed_msat",
    "debt_msat", "carried_in_msat",
]  # fmt: skip
"""What may be added up over receipts."""
OnchainSum = Literal["transactions", "fee_msat", "basic_fee_msat", "single_fee_msat", "lost_msat"]


class Onchain(TypedDict):
    """What growing transactions came to; see settlement/rules.py."""

    transactions: int
    txids: list[str]
    fee_msat: int
    basic_fee_msat: int
    single_fee_msat: int
    lost_msat: int


class Payer(TypedDict):
    """Who paid: by an offer (BOLT 12) the key of that payment, which the payer's wallet can prove; and a note."""

    key: str
    note: str


class _Statement(TypedDict):
    format: str
    session: str
    revision: int
    seller: str
    buyer: str
    meter: str
    tariff: dict[str, str | int]
    opened_at: int
    closed_at: int
    reason: str
    ticks: int
    payments: int
    paid_msat: int
    carried_in_msat: int
    charged_msat: int
    spent_msat: int
    refunded_msat: int
    refund_fee_msat: int
    lapsed_msat: int
    owed_msat: int
    debt_msat: int
    head: str


class Statement(_Statement, total=False):
    """A receipt's fields. Amounts in msat, counts in ticks, times in milliseconds."""

    carried_on_msat: int
    onchain: Onchain
    payers: list[Payer]


def text(session: "SellerSession", seller: str, revision: int) -> str:
    """Return the canonical JSON of the statement. Amounts in msat, counts in ticks, times in milliseconds.

    paid_msat + debt_msat == charged_msat + refunded_msat + lapsed_msat + owed_msat, always: what was carried in from
    an earlier session counts as paid, what was carried on into a later one as refunded; carried_in_msat and
    carried_on_msat (left out where it is 0) say how much of them that is. A refund bears its own routing fee:
    refunded_msat has refund_fee_msat in it, and the rest of it arrived or was carried on.
    """
    return canonical(
        {
            "format": FORMAT,
            "session": session.id,
            "revision": revision,
            "seller": seller,
            "buyer": session.buyer,
            "meter": session.meter,
            "tariff": session.tariff.terms(),
            "opened_at": session.opened_at,
            "closed_at": session.closed_at,
            "reason": _plain(session.reason),
            "start": {"boot": session.start_boot, "register": session.start_register},
            "stop": {"boot": session.end_boot, "register": session.end_register},
            "ticks": session.ticks,
            "payments": session.payments,
            "paid_msat": session.received_msat,
            "carried_in_msat": session.brought_msat,
            "charged_msat": session.charged_msat,
            "spent_msat": session.spent_msat,
            "refunded_msat": session.refunded_msat + session.taken_msat,
            "refund_fee_msat": session.refund_fee_msat,
            "lapsed_msat": session.lapsed_msat,
            "owed_msat": session.owed_msat,
            "debt_msat": session.debt_msat,
            "head": session.head,
            **({"carried_on_msat": session.taken_msat} if session.taken_msat else {}),
            **({"payers": [{"key": key, "note": note} for key, note in session.payers]} if session.payers else {}),
            **rules_of(session.tariff).statement(session.tariff, session.onchain),
        }
    )


_WHOLE = (
    *Figures._fields,
    *("revision", "ticks", "payments", "carried_in_msat", "spent_msat", "opened_at", "closed_at"),
    "refund_fee_msat",
)
_TEXT = ("session", "seller", "buyer", "meter", "reason", "head")


def read(receipt_text: str) -> Statement | None:
    """Returns a receipt's fields, each checked for its kind; None for text that is not a receipt.

    Receipts from before refunds bore their own fee have no refund_fee_msat: it is 0 in what is
    returned."""
    try:
        stated = json.loads(receipt_text, object_pairs_hook=without_repeats)
    except (ValueError, RecursionError):
        return None
    if not isinstance(stated, dict) or stated.get("format") != FORMAT or not isinstance(stated.get("tariff"), dict):
        return None
    stated.setdefault("refund_fee_msat", 0)
    whole = all(_is_whole(name, stated.get(name)) for name in _WHOLE)
    sound = whole and all(_is_plain(stated.get(name)) for name in _TEXT)
    if not sound or ("onchain" in stated and not _sound_onchain(stated["onchain"])):
        return None
    if not _is_whole("carried_on_msat", stated.get("carried_on_msat", 0)):
        return None
    if "payers" in stated and not _sound_payers(stated["payers"]):
        return None
    return cast(Statement, stated)


_ONCHAIN = ("transactions", "fee_msat", "basic_fee_msat", "single_fee_msat", "lost_msat")


def _sound_onchain(figures: object) -> bool:
    if (
        not isinstance(figures, dict)
        or not isinstance(figures.get("txids"), list)
        or len(figures["txids"]) > TXIDS_MOST
    ):
        return False
    whole = all(_is_whole(name, figures.get(name)) for name in _ONCHAIN)
    return whole and all(isinstance(txid, str) and re.fullmatch("[0-9a-f]{64}", txid) for txid in figures["txids"])


def _sound_payers(payers: object) -> bool:
    if not isinstance(payers, list) or len(payers) > PAYERS_MOST:
        return False
    return all(isinstance(each, dict) and _is_plain(each.get("key")) and _is_plain(each.get("note")) for each in payers)


def _is_whole(name: str, value: object) -> bool:
    """Whether it is a whole number that its kind can have: sums of such numbers can still be stored and shown."""
    most = MAX_MSAT if name.endswith("_msat") else MAX_TICKS
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _is_plain(value: object) -> bool:
    """Whether it is text that pages and terminals may show."""
    return isinstance(value, str) and len(value) <= TEXT_MOST and value.isprintable()


def _plain(text: str) -> str:
    """Return text for a receipt: a reason may be the other side's own words."""
    return "".join(char if char.isprintable() else "?" for char in text)[:TEXT_MOST]


def earned_msat(stated: Statement) -> int:
    """Returns what was charged and paid, in msat: a debt that nobody has paid is not earned."""
    return max(0, stated["charged_msat"] - stated["debt_msat"])


def figures_of(stated: Statement) -> Figures:
    """Returns the sums of a receipt that was read."""
    return Figures(
        paid_msat=stated["paid_msat"],
        charged_msat=stated["charged_msat"],
        refunded_msat=stated["refunded_msat"],
        lapsed_msat=stated["lapsed_msat"],
        owed_msat=stated["owed_msat"],
        debt_msat=stated["debt_msat"],
    )


def figures(receipt_text: str) -> Figures | None:
    """Returns the sums of a receipt; None for what is not a receipt."""
    stated = read(receipt_text)
    return figures_of(stated) if stated is not None else None


def balanced(receipt_text: str) -> bool:
    """Return whether a receipt's sums agree; anything that is not a receipt does not."""
    found = figures(receipt_text)
    return found is not None and found.agree
