"""The states of every state machine; transitions.py has the events that lead from one to another."""

from enum import StrEnum


class MeterState(StrEnum):
    """A seller's meter."""

    STANDBY = "standby"
    NEGOTIATING = "negotiating"
    DELIVERING = "delivering"
    SUSPENDED = "suspended"
    LOCKOUT = "lockout"


class SessionState(StrEnum):
    """A seller's session. `ending`: its end was asked for, and its board has not stopped yet."""

    OPEN = "open"
    ENDING = "ending"
    CLOSING = "closing"
    CLOSED = "closed"


class StreamState(StrEnum):
    """A buyer's session."""

    OPENING = "opening"
    STREAMING = "streaming"
    PAUSED = "paused"
    CLOSING = "closing"
    CLOSED = "closed"


class RefundState(StrEnum):
    """The refund of a seller's session: no invoice of the buyer is known, one is, or it is being paid."""

    NONE = "none"
    OFFERED = "offered"
    PAYING = "paying"


class TransactionState(StrEnum):
    """A growing transaction, on the seller's side."""

    GROWING = "growing"
    SENT = "sent"
    SETTLED = "settled"


class PaymentState(StrEnum):
    """A payment of a buyer. `astray`: nobody waits for it any more, and it may still settle."""

    NONE = "none"
    IN_FLIGHT = "in_flight"
    ASTRAY = "astray"
