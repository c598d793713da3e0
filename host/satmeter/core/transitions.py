"""The tables of every state machine: which event may happen in which state, and to which state it may lead.

An event that is not in the table of a machine that it is about raises WrongState, and nothing has changed by then. Most
rows have one next state; where there are several, the event's own fields say which one (state.py of either side).
Events that no row of a meter's table has (a reading, a payment) move its counts or money, not its state. An opening
(openings.py) is in memory only, and has no state here: with its first payment it becomes a session.
"""

from collections.abc import Mapping
from typing import TypeVar

from .buyer import events as buying
from .errors import WrongState
from .journal import Event
from .seller import events as selling
from .states import MeterState, PaymentState, RefundState, SessionState, StreamState, TransactionState

State = TypeVar("State")
Value = TypeVar("Value")
Table = Mapping[tuple[State, type[Event]], tuple[State, ...]]


def step(table: Table[State], state: State, kind: type[Event], what: str) -> tuple[State, ...]:
    """Return the states that an event of this kind may lead to.

    Raises:
        WrongState: The table has no such row; `what` names the thing that is in this state.
    """
    try:
        return table[state, kind]
    except KeyError:
        raise WrongState(f"{what} is in {state}, where {kind.kind()} can't happen") from None


METER: Table[MeterState] = {
    (MeterState.STANDBY, selling.SessionOpened): (MeterState.NEGOTIATING,),
    (MeterState.STANDBY, selling.Locked): (MeterState.LOCKOUT,),
    (MeterState.STANDBY, selling.MeterRemoved): (MeterState.STANDBY,),
    (MeterState.NEGOTIATING, selling.DeliveryStarted): (MeterState.DELIVERING,),
    (MeterState.NEGOTIATING, selling.SessionClosing): (MeterState.STANDBY,),
    (MeterState.DELIVERING, selling.SessionSuspended): (MeterState.SUSPENDED,),
    (MeterState.DELIVERING, selling.SessionClosing): (MeterState.STANDBY,),
    (MeterState.SUSPENDED, selling.DeliveryStarted): (MeterState.DELIVERING,),
    (MeterState.SUSPENDED, selling.SessionClosing): (MeterState.STANDBY,),
    (MeterState.LOCKOUT, selling.Unlocked): (MeterState.STANDBY,),
}

_OPEN, _ENDING, _CLOSING, _CLOSED = SessionState
_ANY_SESSION = (
    selling.InvoiceAsked,
    selling.InvoiceExpired,
    selling.NumbersDrawn,
    selling.PayerTold,
    selling.AddressGiven,
    selling.UpdateTaken,
    selling.TxSent,
    selling.TxConflicted,
    selling.TxBumped,
    selling.TxSettled,
    selling.RefundHeld,
)
_OPEN_SESSION = (selling.InvoiceDropped, selling.CreditSpent, selling.CreditReleased, selling.StartCounted)
_ENDED_SESSION = (
    selling.CreditTaken,
    selling.RefundStarted,
    selling.RefundClaimed,
    selling.RefundPaid,
    selling.RefundDisputed,
    selling.RefundFailed,
    selling.AlarmEnded,
    selling.RemainderLapsed,
)

SESSION: Table[SessionState] = {
    **{(state, kind): (state,) for state in SessionState for kind in _ANY_SESSION},
    **{(state, kind): (state,) for state in (_OPEN, _ENDING) for kind in _OPEN_SESSION},
    **{(state, kind): (state,) for state in (_CLOSING, _CLOSED) for kind in _ENDED_SESSION},
    **{(state, selling.RefundOffered): (state,) for state in (_ENDING, _CLOSING, _CLOSED)},
    (_OPEN, selling.CreditReserved): (_OPEN,),
    (_OPEN, selling.CreditBrought): (_OPEN,),
    (_OPEN, selling.SessionSuspended): (_OPEN,),
    (_OPEN, selling.DeliveryStarted): (_OPEN,),
    (_ENDING, selling.DeliveryStarted): (_ENDING,),
    (_OPEN, selling.CloseAsked): (_ENDING,),
    (_OPEN, selling.SessionClosing): (_CLOSING, _CLOSED),
    (_ENDING, selling.SessionClosing): (_CLOSING, _CLOSED),
    (_OPEN, selling.InvoicePaid): (_OPEN,),
    (_ENDING, selling.InvoicePaid): (_ENDING,),
    (_CLOSING, selling.InvoicePaid): (_CLOSING,),
    (_CLOSED, selling.InvoicePaid): (_CLOSING, _CLOSED),
    (_CLOSING, selling.ReceiptSigned): (_CLOSED,),
    (_CLOSED, selling.ReceiptSigned): (_CLOSED,),
}

_NONE, _OFFERED, _PAYING = RefundState
REFUND: Table[RefundState] = {
    (_NONE, selling.RefundOffered): (_OFFERED,),
    (_OFFERED, selling.RefundStarted): (_PAYING,),
    (_PAYING, selling.RefundClaimed): (_PAYING,),
    (_PAYING, selling.RefundPaid): (_NONE,),
    (_PAYING, selling.RefundDisputed): (_NONE,),
    (_PAYING, selling.RefundFailed): (_OFFERED, _NONE),
    (_OFFERED, selling.RefundFailed): (_OFFERED, _NONE),  # a person said meanwhile that less is owed
    **{(state, selling.AlarmEnded): (state, _NONE) for state in RefundState},
}

_GROWING, _SENT, _SETTLED = TransactionState
TRANSACTION: Table[TransactionState] = {
    (_GROWING, selling.UpdateTaken): (_GROWING,),
    (_GROWING, selling.TxSent): (_SENT,),
    (_SENT, selling.TxConflicted): (_SENT,),
    (_SENT, selling.TxBumped): (_SENT,),
    (_SENT, selling.TxSettled): (_SETTLED,),
}

_S = StreamState
_ANY_STREAM = (
    buying.CreditCarried,
    buying.PaymentSettled,
    buying.PaymentFailed,
    buying.PaymentGivenUp,
    buying.UpdateStrayed,
    buying.SensorBooted,
    buying.InvoiceRefused,
    buying.BudgetChanged,
    buying.DebtRefused,
    buying.CopyReplaced,
)
_PAYS = (_S.STREAMING, _S.CLOSING, _S.CLOSED)
"""A debt is paid after a close, too."""

STREAM: Table[StreamState] = {
    **{(state, kind): (state,) for state in StreamState for kind in _ANY_STREAM},
    **{(state, buying.StreamClosed): (_S.CLOSED,) for state in StreamState},
    **{(state, buying.PaymentStarted): (state,) for state in _PAYS},
    **{(state, buying.UpdateSigned): (state,) for state in _PAYS},
    **{(state, buying.InputsChosen): (state,) for state in _PAYS},
    **{(state, buying.RefundInvoiced): (state,) for state in (_S.CLOSING, _S.CLOSED)},
    **{(state, buying.SensorHeard): (state,) for state in (_S.CLOSING, _S.CLOSED)},
    (_S.OPENING, buying.TermsAgreed): (_S.STREAMING,),
    (_S.STREAMING, buying.StreamPaused): (_S.PAUSED,),
    (_S.PAUSED, buying.StreamResumed): (_S.STREAMING,),
    (_S.STREAMING, buying.StreamClosing): (_S.CLOSING,),
    (_S.PAUSED, buying.StreamClosing): (_S.CLOSING,),
}

_P = PaymentState
PAYMENT: Table[PaymentState] = {
    (_P.NONE, buying.PaymentStarted): (_P.IN_FLIGHT,),
    (_P.NONE, buying.UpdateSigned): (_P.IN_FLIGHT,),
    (_P.IN_FLIGHT, buying.PaymentSettled): (_P.NONE,),
    (_P.ASTRAY, buying.PaymentSettled): (_P.NONE,),
    (_P.IN_FLIGHT, buying.PaymentFailed): (_P.NONE,),
    (_P.IN_FLIGHT, buying.PaymentGivenUp): (_P.ASTRAY,),
    (_P.IN_FLIGHT, buying.UpdateStrayed): (_P.ASTRAY,),
}


def known(values: dict[object, Value] | dict[int, Value] | dict[str, Value], name: int | str, event: Event) -> Value:
    """Return what an event names, or raise WrongState."""
    found: Value | None = values.get(name)  # type: ignore[arg-type]
    if found is None:
        raise WrongState(f"{event.kind()} of {event.subject} names {name!r}, which is not there")
    return found
