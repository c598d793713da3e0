"""The seller's journal for those outside the core: what happened to its sessions, typed."""

from ..journal import Event
from ..status import SessionEvent
from . import events as ev


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
