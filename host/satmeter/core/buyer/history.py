"""The buyer's journal for those outside the core: nobody else reads its events."""

from collections.abc import Iterable, Sequence

from ..journal import Event
from ..status import SessionRow
from . import events as ev
from .state import BuyerState

PATIENT = (ev.PaymentSettled,)
"""Events that may wait to be committed with the next ones."""
REFUSED = ev.InvoiceRefused
"""The event of a refusal, which views.refusal_status() shows."""


def begins(events: Sequence[Event]) -> bool:
    """Whether these are the events of a stream from its first one on."""
    return bool(events) and isinstance(events[0], ev.StreamOpened)


def rows(state: BuyerState, events: Iterable[Event]) -> list[SessionRow]:
    """Return the index rows of the streams that events opened or closed."""
    found = []
    for event in events:
        stream = state.streams.get(event.subject)
        if stream is not None and isinstance(event, (ev.StreamOpened, ev.StreamClosed)):
            final = stream.closing
            found.append(
                SessionRow(
                    stream.id,
                    stream.opened_at,
                    stream.meter,
                    stream.seller,
                    event.at if stream.closed else 0,
                    stream.reason or final.why,
                    final.receipt,
                    final.signature,
                )
            )
    return found
