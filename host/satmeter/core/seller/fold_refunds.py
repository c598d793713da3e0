"""Events of a session after its end, folded: refunds, alarms, receipts, and what lapses."""

from typing import TYPE_CHECKING

from ..commands import PAID, SEEN
from ..plain import keep_newest
from ..states import RefundState, SessionState
from . import events as ev
from .refund import UNRECORDED, Refund
from .session import SellerSession

if TYPE_CHECKING:
    from .state import SellerState

HASHES = 10_000
"""Hashes of refunds that are remembered; of older ones the node knows that they were paid."""


def refund_offered(state: "SellerState", event: ev.RefundOffered) -> None:
    """Stores the invoice for a refund; WrongState while there is one already."""
    session = state.session_of(event)
    (offered,) = state.refund_states(session, event)
    refund = session.refund
    refund.state, refund.bolt11, refund.claimed_msat, refund.why = offered, event.bolt11, event.claimed_msat, ""
    refund.invoice_msat, refund.number = event.invoice_msat, event.number


def refund_started(state: "SellerState", event: ev.RefundStarted) -> None:
    """Sets a refund to paying; WrongState unless an invoice of the buyer is there for it."""
    session = state.session_of(event)
    (session.refund.state,) = state.refund_states(session, event)
    session.refund.attempts += 1
    session.refund.amount_msat = event.amount_msat
    session.refund.maxfee_msat, session.refund.borne_msat = event.maxfee_msat, event.borne_msat
    if not state.claims_kept:
        session.refund.payment_hash = UNRECORDED


def refund_claimed(state: "SellerState", event: ev.RefundClaimed) -> None:
    """Notes the hash by which a refund is paid; WrongState unless that is under way."""
    session = state.session_of(event)
    state.refund_states(session, event)
    session.refund.payment_hash = event.payment_hash
    state.refund_hashes[event.payment_hash] = session.id
    keep_newest(state.refund_hashes, HASHES)


def refund_paid(state: "SellerState", event: ev.RefundPaid) -> None:
    """Adds a paid refund, with the part of its fee that it bears itself, to what is refunded."""
    session = state.session_of(event)
    state.refund_states(session, event)
    borne = min(event.fee_msat, session.refund.borne_msat)
    _end_refund(session, event.amount_msat + event.fee_msat - borne)
    session.refunded_msat += event.amount_msat + event.fee_msat - borne
    session.refund_fee_msat += event.fee_msat - borne
    session.fees_borne_msat += borne


def refund_disputed(state: "SellerState", event: ev.RefundDisputed) -> None:
    """Ends a refund that was not paid as it was to be, with an alarm.

    What arrived and its fee count as refunded, and the rest of the refund as lapsed: neither is
    owed again."""
    session = state.session_of(event)
    state.refund_states(session, event)
    refunded = min(event.arrived_msat + event.fee_msat, session.owed_msat)
    _end_refund(session, max(event.amount_msat, refunded))
    session.refunded_msat += refunded
    session.refund_fee_msat += max(0, refunded - event.arrived_msat)
    session.lapsed_msat += max(0, min(event.amount_msat - refunded, session.owed_msat))
    session.alarm = event.why


def refund_failed(state: "SellerState", event: ev.RefundFailed) -> None:
    """Ends one try of a refund; after a final one, its invoice is not used again."""
    session = state.session_of(event)
    offered, none = state.refund_states(session, event)
    refund = session.refund
    refund.state, refund.amount_msat, refund.why = none if event.final else offered, 0, event.why
    if event.final:
        refund.failed_at = event.at
        _use_up(refund)


def refund_held(state: "SellerState", event: ev.RefundHeld) -> None:
    """Holds the session's refund until a person decides on it, with an alarm."""
    session = state.session_of(event)
    session.refund.held, session.alarm = True, event.why


def alarm_ended(state: "SellerState", event: ev.AlarmEnded) -> None:
    """Ends a session's alarm and the hold of its refund.

    Where a person stated what of a held refund is owed or was paid, the charge becomes what then
    remains of the received amount. What was paid counts as refunded."""
    session = state.session_of(event)
    state.refund_states(session, event)
    if session.refund.held and event.how != SEEN:
        # The person knows what was used: the charge is what that leaves.
        back = session.refunded_msat + session.taken_msat + session.lapsed_msat
        session.final_charge_msat = max(0, session.received_msat - back - event.amount_msat)
    if event.how == PAID:
        session.refunded_msat += event.amount_msat
        if session.refund.bolt11:
            _end_refund(session, event.amount_msat)
    session.refund.held, session.alarm, session.since = False, "", event.at


def receipt_signed(state: "SellerState", event: ev.ReceiptSigned) -> None:
    """Sets the session to closed and stores its newest receipt and signature."""
    session = state.session_of(event)
    session.state = SessionState.CLOSED
    session.revision, session.receipt, session.signature = event.revision, event.text, event.signature


def remainder_lapsed(state: "SellerState", event: ev.RemainderLapsed) -> None:
    """Adds to what has lapsed; the seller owes it no more."""
    state.session_of(event).lapsed_msat += event.amount_msat


def _end_refund(session: SellerSession, given_msat: int) -> None:
    refund = session.refund
    refund.given = {**refund.given, refund.number: refund.given.get(refund.number, 0) + given_msat}
    refund.state, refund.amount_msat, refund.maxfee_msat, refund.borne_msat = RefundState.NONE, 0, 0, 0
    _use_up(refund)


def _use_up(refund: Refund) -> None:
    refund.used = [*refund.used, refund.bolt11]
    refund.tries = {**refund.tries, refund.number: refund.tries.get(refund.number, 0) + 1}
    refund.bolt11, refund.payment_hash, refund.invoice_msat, refund.number = "", "", 0, 0
