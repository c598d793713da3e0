"""The seller's journal for those outside the core: nobody else reads its events."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..audit import Proof
from ..commands import OWED, PAID
from ..journal import Event
from ..status import SessionEvent, SessionRow
from . import events as ev
from .state import SellerState

PATIENT = (ev.Counted,)
"""Events that may wait to be committed with the next ones."""


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


@dataclass(slots=True)
class Recorded:
    """What events say that receipts and payments are compared with (`satmeter journal audit`)."""

    signed: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Newest receipt, and its signature, by session."""
    attended: set[str] = field(default_factory=set)
    """Sessions of which a person has stated what is owed: what then remains is charged."""
    credited: dict[str, int] = field(default_factory=dict)
    """msat by payment hash; a payment is in one event."""
    refunds: dict[str, int] = field(default_factory=dict)
    """msat by payment hash."""
    offers: set[str] = field(default_factory=set)
    first_at: int = 0
    """When the first event that is kept was, in ms."""
    whole: bool = True
    """Whether all events could be read."""

    def take(self, number: int, event: Event) -> Iterator[Proof]:
        """Takes an event and its number; yields what can't be."""
        self.first_at = self.first_at or event.at
        match event:
            case ev.InvoicePaid() | ev.PaymentUnowned() if event.payment_hash:
                if event.payment_hash in self.credited:
                    yield Proof(False, f"payment {event.payment_hash} counts twice (event {number})")
                self.credited[event.payment_hash] = event.amount_msat
            case ev.RefundPaid() if event.payment_hash:
                self.refunds[event.payment_hash] = event.amount_msat
            case ev.ReceiptSigned():
                self.signed[event.subject] = event.text, event.signature
            case ev.AlarmEnded() if event.how in (OWED, PAID):
                self.attended.add(event.subject)
            case ev.OfferAdded():
                self.offers.add(event.offer_id)


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
