"""The labels of invoices: each names what a payment of it is for.

    satmeter/JOURNAL/s/SESSION/N     invoice N of a session
    satmeter/JOURNAL/m/METER/N       wallet invoice N of a meter
    satmeter/JOURNAL/o/METER/PACKED  the first invoice of a session that is not open yet
    satmeter/JOURNAL/b/METER/AMOUNT  a meter's offer (BOLT 12); 0: of any amount
    OFFER-PAYER-N                    an invoice that was fetched by an offer: the node makes it, and its label
    satmeter/refund/SESSION/N        a buyer's invoice for a refund

PACKED is session, buyer and terms in base64: a node takes labels of 128 bytes at most. This label holds
all that a payment needs to find its owner, so that an open without payment needs no row in the journal:
the first payment opens the session, also when the plugin has forgotten the open since. JOURNAL is a few
hex digits made with the journal: they keep its invoices apart from those of any other journal that the
same node has or had, so that no payment of one is ever taken for a payment of the other."""

import base64
import hashlib
import re
from dataclasses import dataclass

PREFIX = "satmeter"
FIRST = 1
"""The number of a session's first invoice."""
OWN_SESSION = "bea4e400"
"""So begin the ids of sessions that the seller opens itself: a buyer, who chooses its own, gets none of these."""
_OPENING = re.compile(rf"{PREFIX}/([0-9a-f]{{1,16}})/o/([a-z0-9-]{{1,32}})/([A-Za-z0-9_-]{{71}})")
_SESSION, _BUYER = 32, 66
"""Hex digits of a session and of a node id."""
_NUMBERED = re.compile(rf"{PREFIX}/([0-9a-f]{{1,16}})/([sm])/([a-z0-9-]{{1,32}})/([0-9]{{1,15}})")
_OFFER = re.compile(rf"{PREFIX}/([0-9a-f]{{1,16}})/b/([a-z0-9-]{{1,32}})/([0-9]{{1,18}})")
_FETCHED = re.compile(r"([0-9a-f]{64})-([0-9a-f]{66})-[0-9]{1,10}")


def session_label(journal: str, session_id: str, number: int) -> str:
    """Returns the label of a session's invoice; `journal` is the journal's name in hex digits."""
    return f"{PREFIX}/{journal}/s/{session_id}/{number}"


def wallet_label(journal: str, meter: str, number: int) -> str:
    """Returns the label of a meter's wallet invoice; `journal` is the journal's name in hex digits."""
    return f"{PREFIX}/{journal}/m/{meter}/{number}"


def offer_label(journal: str, meter: str, amount_msat: int) -> str:
    """Returns the label of a meter's offer; `amount_msat` 0 is any amount."""
    return f"{PREFIX}/{journal}/b/{meter}/{amount_msat}"


@dataclass(frozen=True, slots=True)
class First:
    """What the label of a first invoice says; `terms` is the mark of the tariff that it was asked for under."""

    meter: str
    session: str
    buyer: str
    terms: str


def opening_label(journal: str, first: First) -> str:
    """Returns the label of a first invoice, with session, buyer and terms packed into it."""
    packed = base64.urlsafe_b64encode(bytes.fromhex(first.session + first.buyer + first.terms))
    return f"{PREFIX}/{journal}/o/{first.meter}/{packed.decode().rstrip('=')}"


@dataclass(frozen=True, slots=True)
class SessionLabel:
    """Invoice `number` of a session."""

    journal: str
    session: str
    number: int


@dataclass(frozen=True, slots=True)
class WalletLabel:
    """Wallet invoice `number` of a meter."""

    journal: str
    meter: str
    number: int


@dataclass(frozen=True, slots=True)
class OpeningLabel:
    """The first invoice of a session that is not open yet."""

    journal: str
    first: First


@dataclass(frozen=True, slots=True)
class OfferLabel:
    """A meter's offer; `amount_msat` 0 is any amount."""

    journal: str
    meter: str
    amount_msat: int


@dataclass(frozen=True, slots=True)
class FetchedLabel:
    """An invoice that was fetched by an offer, whoever's that is; `payer` is the key that asked for it."""

    offer_id: str
    payer: str


Label = SessionLabel | WalletLabel | OpeningLabel | OfferLabel | FetchedLabel


def parse(label: str) -> Label | None:
    """Returns what a label says; None for one that is none of these, whoever made it."""
    if found := _NUMBERED.fullmatch(label):
        kind = WalletLabel if found[2] == "m" else SessionLabel
        return kind(found[1], found[3], int(found[4]))
    if found := _OPENING.fullmatch(label):
        said = base64.urlsafe_b64decode(found[3] + "=").hex()
        first = First(found[2], said[:_SESSION], said[_SESSION : _SESSION + _BUYER], said[_SESSION + _BUYER :])
        return OpeningLabel(found[1], first) if opening_label(found[1], first) == label else None
    if found := _FETCHED.fullmatch(label):
        return FetchedLabel(found[1], found[2])
    if found := _OFFER.fullmatch(label):
        return OfferLabel(found[1], found[2], int(found[3]))
    return None


def wallet_of(label: str) -> WalletLabel | None:
    """Returns what the label of a wallet invoice says; None for any other label."""
    named = parse(label)
    return named if isinstance(named, WalletLabel) else None


def offer_of(label: str) -> str:
    """Returns the offer by which an invoice was fetched; "" for any other label."""
    named = parse(label)
    return named.offer_id if isinstance(named, FetchedLabel) else ""


def journal_of(label: str) -> str:
    """Returns the journal that the label of a seller's invoice names; "" for any other label."""
    named = parse(label)
    return named.journal if isinstance(named, (SessionLabel, WalletLabel, OpeningLabel)) else ""


def bearer_session(label: str) -> str:
    """Returns the id (32 hex digits) of the session that a payment opens which has no other session.

    It is a payment of a wallet invoice, or one that comes too late for its own session. The id follows
    from the label alone, so that a repeat finds the same session."""
    return (OWN_SESSION + hashlib.sha256(label.encode()).hexdigest())[:_SESSION]


def refund_label(session_id: str, number: int) -> str:
    """The label of a buyer's invoice for a refund."""
    return f"{PREFIX}/refund/{session_id}/{number}"
