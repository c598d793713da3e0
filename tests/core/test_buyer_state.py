"""Single events of a buyer, folded: what each of them leaves."""

import pytest
from world import POLICY, SELLER_ID, SESSION, TARIFF, World

from satmeter.core import commands as cmd
from satmeter.core.buyer import events as ev
from satmeter.core.buyer import history
from satmeter.core.buyer.policy import Policy
from satmeter.core.buyer.session import BuyerSession
from satmeter.core.buyer.state import BuyerState
from satmeter.core.states import StreamState
from satmeter.core.tariff import Tariff
from statement import statement


def closing(**fields):
    """A buyer whose stream is closing, and has given an invoice for its refund."""
    state = BuyerState()
    stream = BuyerSession(SESSION, SELLER_ID, "m", "h:1", Policy.from_dict(POLICY), 1, **fields)
    stream.state, stream.tariff, stream.refund_bolt11 = StreamState.CLOSING, Tariff.from_dict(TARIFF), "lnbc1"
    state.streams[SESSION] = stream
    return state


def closed(revision=1, verified=True, **stated):
    return ev.StreamClosed(
        at=9,
        subject=SESSION,
        code=0,
        revision=revision,
        text=statement(revision=revision, **stated),
        signature="s",
        verified=verified,
        why="",
        arrivals_msat={},
        carried_on_msat=0,
    )


@pytest.mark.parametrize(
    ("owed_msat", "refunded_msat", "verified", "left"),
    [(500, 200, True, ""), (500, 0, True, "lnbc1"), (0, 200, True, "lnbc1"), (500, 200, False, "lnbc1")],
)
def test_a_refund_invoice_that_was_used_is_not_given_again(owed_msat, refunded_msat, verified, left):
    """Something came late: the seller owes more than it has refunded, and needs another invoice for it."""
    state = closing()
    state.apply(closed(verified=verified, owed_msat=owed_msat, refunded_msat=refunded_msat))
    stream = state.streams[SESSION]
    assert stream.refund_bolt11 == left and stream.closing.owed_msat == (owed_msat if verified else 0)


def test_a_receipt_that_lists_fewer_payments_is_short():
    state = closing(paid_msat=10_000, payments=1)
    state.apply(closed(paid_msat=9_999))
    assert state.streams[SESSION].short
    state.apply(closed(revision=2, paid_msat=10_000))
    assert not state.streams[SESSION].short


def test_a_stream_without_a_receipt_is_not_short():
    state = closing(paid_msat=10_000, payments=1)
    assert not state.streams[SESSION].short


def test_the_index_says_of_a_stream_when_it_was_opened_and_when_it_closed():
    w = World()
    opened_at = w.now
    w.open()
    (row,) = history.rows(w.buyer.state, w.buyer_events)
    assert (row.opened_at, row.closed_at) == (opened_at, 0)
    w.now += 60_000
    begun = len(w.buyer_events)
    w.report(10)
    w.buy(cmd.CloseStream(session=SESSION, reason="over"))
    w.pump()
    (row,) = history.rows(w.buyer.state, w.buyer_events[begun:])
    assert (row.opened_at, row.closed_at, row.reason) == (opened_at, w.now, "over") and row.receipt
