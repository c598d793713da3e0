"""The seller's journal for those outside the core: nobody else reads its events."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .. import receipt
from ..audit import Proof
from ..commands import OWED, PAID
from ..journal import Event
from ..receipt import Figures
from ..status import SessionEvent, SessionRow
from . import events as ev
from .refund import UNRECORDED
from .state import SellerState

PATIENT = (ev.Counted,)
"""Events that may wait to be committed with the next ones."""
COMPARED = ("buyer", "meter", "payments", "ticks", "spent_msat", "carried_in_msat", "refund_fee_msat", *Figures._fields)
"""What a receipt states that its session's events alone decide."""


def rows(state: SellerState, events: Iterable[Event]) -> list[SessionRow]:
    """Return the index rows of the sessions that events opened, ended or gave a signed receipt."""
    told = (ev.SessionOpened, ev.SessionClosing, ev.ReceiptSigned)
    touched = {event.subject for event in events if isinstance(event, told)}
    return [
        SessionRow(
            each.id,
            each.opened_at,
            each.meter,
            each.buyer,
            each.closed_at,
            each.reason,
            each.receipt,
            each.signature,
        )
        for each in (state.sessions[session] for session in touched if session in state.sessions)
    ]


class Credited(NamedTuple):
    """A payment as its event has it: msat, and its pay_index."""

    amount_msat: int
    pay_index: int


@dataclass(slots=True)
class Recorded:
    """What events say that receipts and payments are compared with (`satmeter journal audit`)."""

    rows: dict[str, SessionRow] = field(default_factory=dict)
    """The rows of the index that the events write, by session."""
    attended: set[str] = field(default_factory=set)
    """Sessions of which a person has stated what is owed: what then remains is charged."""
    credited: dict[str, Credited] = field(default_factory=dict)
    """By payment hash; a payment is in one event."""
    refunds: dict[str, int] = field(default_factory=dict)
    """msat by payment hash."""
    under_way: dict[str, str] = field(default_factory=dict)
    """Sessions whose refund has begun and not ended, by the payment hash."""
    offers: set[str] = field(default_factory=set)
    first_at: int = 0
    """When the first event that is kept was, in ms; far from now where none is kept."""
    newest_index: int = 0
    """Up to which pay_index payments have their owner, or are given up as of a part that is lost."""
    whole: bool = True
    """Whether all events could be read."""
    _figures: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict)
    """What sessions that ended came to, by session, and by the head of its chain then."""

    def take(self, number: int, event: Event) -> Iterator[Proof]:
        """Takes an event and its number; yields what can't be."""
        self.first_at = min(filter(None, (self.first_at, event.at)), default=0)
        match event:
            case ev.InvoicePaid() | ev.PaymentUnowned() if event.payment_hash:
                if event.payment_hash in self.credited:
                    yield Proof(False, f"payment {event.payment_hash} counts twice (event {number})")
                self.credited[event.payment_hash] = Credited(event.amount_msat, event.pay_index)
                if event.owned_up_to > event.pay_index:
                    words = f"says that payments up to {event.owned_up_to:,} have their owners"
                    it = f"payment {event.payment_hash} (event {number}), of index {event.pay_index:,},"
                    yield Proof(False, f"{it} {words}")
            case ev.RefundPaid() if event.payment_hash:
                self.refunds[event.payment_hash] = event.amount_msat
            case ev.AlarmEnded() if event.how in (OWED, PAID):
                self.attended.add(event.subject)
            case ev.OfferAdded():
                self.offers.add(event.offer_id)

    def compare(self, number: int, event: Event, state: SellerState, seller: str) -> Iterator[Proof]:
        """Compares a receipt with what the session's events, up to the one that it names, come to."""
        session = state.sessions.get(event.subject)
        if session is None or session.open:
            return
        figures = self._figures.setdefault(session.id, {})
        if isinstance(event, ev.ReceiptSigned):
            stated = receipt.read(event.text)
            mine = figures.get(stated["head"], {}) if stated is not None else {}
            for name, value in mine.items():
                if stated is not None and dict(stated).get(name) != value:
                    words = f"states {name} {dict(stated).get(name)}, and its events come to {value}"
                    yield Proof(False, f"receipt of session {session.id} (event {number}) {words}")
            figures.clear()
        mine = json.loads(receipt.text(session, seller, 0))
        figures[session.head] = {name: mine[name] for name in COMPARED}

    def end(self, state: SellerState | None) -> None:
        """Takes what is under way after the last event."""
        if state is not None:
            self.newest_index = max(state.pay_index, state.lost_up_to, *state.early)
        for session in state.sessions.values() if state is not None else ():
            if session.refund.under_way and session.refund.payment_hash not in ("", UNRECORDED):
                self.under_way[session.refund.payment_hash] = session.id


def session_event(event: Event) -> SessionEvent | None:
    """Return what an event of the journal means to who follows the seller, None where it is the core's own affair."""
    session = event.subject
    match event:
        case ev.InvoiceAsked():
            return SessionEvent(session=session, happened="asked", number=event.number, amount_msat=event.amount_msat)
        case ev.InvoicePaid():
            return SessionEvent(
                session=session,
                happened="paid",
                number=event.number,
                amount_msat=event.amount_msat,
                payment_hash=event.payment_hash,
            )
        case ev.UpdateTaken():
            return SessionEvent(
                session=session,
                happened="paid",
                number=event.number,
                amount_msat=event.amount_msat,
                txid=event.txid,
            )
        case ev.InvoiceDropped():
            return SessionEvent(session=session, happened="dropped", number=event.number)
        case ev.InvoiceExpired():
            return SessionEvent(session=session, happened="expired", number=event.number)
        case ev.ReceiptSigned():
            return SessionEvent(session=session, happened="closed", receipt=event.text, signature=event.signature)
    return None
