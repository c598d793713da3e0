"""Refunds: none is paid twice, none costs the seller more than the session earned, and held ones stop nothing."""

import itertools
import json
from collections import deque

import pytest
from world import (
    BUYER_ID,
    OTHER,
    SELLER_ID,
    SESSION,
    World,
    first_label,
    identity,
    refold,
    unrefunded,
)

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.seller import events as selling
from satmeter.core.seller.context import Limits
from satmeter.core.seller.refunds import BUYERS
from satmeter.core.seller.seller import Seller
from satmeter.core.seller.state import SellerState


def told_ahead(w):
    """Labels of invoices that are not paid, and that the buyer has seen."""
    return [label for label, row in w.invoices.items() if row[1] == "unpaid"]


def closed(w, used=30):
    w.open()
    w.report(used)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    return w.receipts()[-1]


def test_without_a_fee_the_whole_rest_arrives():
    w = World()
    receipt = closed(w)
    assert (receipt["refunded_msat"], receipt["refund_fee_msat"], receipt["owed_msat"]) == (7_000, 0, 0)
    assert sum(w.refunds.values()) == 7_000 and not w.purchase.disputed


@pytest.mark.parametrize(
    ("fee", "used", "arrived", "owed", "seller_loses"),
    [
        (30, 30, 7_000, 0, 30),  # within a hundredth of what was earned: the seller bears it
        (500, 30, 7_000 - 999, 999 - 500 + 30, 30),  # less than 1 sat beyond that: the refund bears it
        (1_500, 30, 7_000 - 2_000, 2_000 - 1_500 + 30, 30),
        (1_500, 0, 10_000 - 2_000, 500, 0),  # earned nothing, bears nothing
    ],
)
def test_a_refund_bears_its_fee_beyond_a_share_of_what_was_earned(fee, used, arrived, owed, seller_loses):
    w = World()
    w.fee = fee
    receipt = closed(w, used)
    assert (sum(w.refunds.values()), receipt["owed_msat"]) == (arrived, owed) and identity(receipt)
    assert receipt["refunded_msat"] - receipt["refund_fee_msat"] == arrived
    assert w.balance == receipt["charged_msat"] + owed - seller_loses
    assert not w.purchase.disputed, w.purchase.closing.why


def test_opening_and_closing_again_and_again_never_costs_the_seller():
    w = World()
    w.fee = 1_999
    for n in range(20):
        w.open(session=f"{n:032x}")
        w.buy(cmd.CloseStream(session=f"{n:032x}"))
        w.pump()
        w.pass_ms(3_500)
        w.report(0)
    assert w.balance >= 0


def test_a_large_refund_may_cost_a_hundredth_of_itself():
    w = World({"quantum_msat": 10**12, "price_msat": 10**9}, policy={"max_price_msat": 10**9, "budget_msat": 10**13})
    w.fee = 5 * 10**9
    closed(w, used=0)
    assert sum(w.refunds.values()) == 99 * 10**10  # and of what its highest fee left over, more comes back later
    w.fee = 10_000
    w.pass_ms(400_000, step=10_000)
    assert sum(w.refunds.values()) > 994 * 10**9 and w.receipts()[-1]["owed_msat"] < 10**8 and not w.purchase.disputed


def refunding():
    """A session that used 30 of its 100 ticks, and whose refund is under way."""
    w = World()
    w.hold = {do.PayRefund}
    w.open()
    w.report(30)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    return w


def test_a_hash_that_is_paid_over_another_amount_is_an_alarm_and_never_owed_again():
    w = refunding()
    assert w.sale.refund.amount_msat == 7_000
    w.hold = set()
    w.todo.clear()
    w.sell(
        cmd.RefundSettled(session=SESSION, bolt11=w.sale.refund.bolt11, amount_msat=3_500, fee_msat=0, payment_hash="h")
    )
    w.pump()
    assert (w.sale.refunded_msat, w.sale.owed_msat, w.sale.refund.under_way) == (
        3_500,
        0,
        False,
    ) and "3500" in w.sale.alarm
    assert ("meter_alarm", SESSION) in [(topic, said.get("session")) for topic, said in w.notes]
    w.sell(
        cmd.FromPeer(peer=BUYER_ID, message=msg.Close(SESSION, w.now + 10**6, msg.BUYER, "more", 0, "refund:another"))
    )
    w.pass_ms(200_000, step=5_000)
    assert not [a for _, a in w.todo if isinstance(a, do.PayRefund)] and sum(w.refunds.values()) == 0
    assert identity(w.receipts()[-1]) and w.purchase.disputed


def test_a_restart_asks_for_the_same_refund_again_and_not_for_a_new_one():
    w = refunding()
    (first,) = [a for _, a in w.todo if isinstance(a, do.PayRefund)]
    w.restart_seller()
    (again,) = [a for _, a in w.todo if isinstance(a, do.PayRefund)]
    assert (first.bolt11, first.amount_msat, first.maxfee_msat) == (again.bolt11, again.amount_msat, again.maxfee_msat)


def test_what_the_node_knows_of_a_hash_that_a_refund_claimed_is_its_own_after_a_restart_too():
    w = refunding()
    bolt11 = w.sale.refund.bolt11
    assert w.sell(
        cmd.ClaimRefund(session=SESSION, bolt11=bolt11, attempt=w.sale.refund.attempts, payment_hash="h", known=False)
    )
    w.restart_seller()
    assert w.sell(
        cmd.ClaimRefund(session=SESSION, bolt11=bolt11, attempt=w.sale.refund.attempts, payment_hash="h", known=True)
    )
    w.todo.clear()
    w.sell(cmd.RefundSettled(session=SESSION, bolt11=bolt11, amount_msat=7_000, fee_msat=0, payment_hash="h"))
    w.pump()
    assert (w.sale.refunded_msat, w.sale.owed_msat) == (7_000, 0)


def test_a_hash_that_the_node_paid_for_something_else_is_refused_after_a_restart_too():
    """Dead between the start of the refund and its claim: nothing was paid, and what the node knows is another's."""
    w = refunding()
    w.restart_seller()
    w.todo.clear()
    assert not w.sell(
        cmd.ClaimRefund(
            session=SESSION, bolt11=w.sale.refund.bolt11, attempt=w.sale.refund.attempts, payment_hash="h", known=True
        )
    )
    assert (w.sale.refunded_msat, w.sale.owed_msat, w.sale.refund.bolt11) == (0, 7_000, "")


@pytest.mark.parametrize("paid", [True, False])
def test_a_hash_pays_one_refund_whatever_session_or_invoice_it_is_given_for(paid):
    w = refunding()
    first = w.sale.refund.bolt11
    assert w.sell(
        cmd.ClaimRefund(session=SESSION, bolt11=first, attempt=w.sale.refund.attempts, payment_hash="h", known=False)
    )
    w.hold = {do.PayRefund}
    if paid:
        w.todo.clear()
        w.sell(cmd.RefundSettled(session=SESSION, bolt11=first, amount_msat=7_000, fee_msat=0, payment_hash="h"))
        w.pump()
        w.pass_ms(700_000, step=10_000)
    peer = "02" + "ee" * 32
    w.report(30, plugged=False)
    w.report(30)
    w.sell(cmd.FromPeer(peer=peer, message=msg.Open(OTHER, w.now, "m")))
    w.pump()
    assert w.pay(first_label(OTHER, peer))
    w.pump()
    w.sell(cmd.FromPeer(peer=peer, message=msg.Close(OTHER, w.now + 1, msg.BUYER, "mine", 0, "refund:same hash")))
    w.report(30)
    assert w.seller.state.sessions[OTHER].refund.under_way
    w.restart_seller()
    assert not w.sell(
        cmd.ClaimRefund(session=OTHER, bolt11="refund:same hash", attempt=1, payment_hash="h", known=False)
    )  # the node has forgotten it
    other = w.seller.state.sessions[OTHER]
    assert (other.refunded_msat, other.owed_msat, other.refund.under_way) == (0, 10_000, False)


def test_held_refunds_are_bounded_over_all_and_others_go_on():
    w = World(limits=Limits(silent_ms=10**9))
    w.hold = {do.PayRefund}
    for n in range(6 * BUYERS):
        peer, session = f"02{n:064x}", f"{n:032x}"
        w.sell(cmd.FromPeer(peer=peer, message=msg.Open(session, w.now, "m")))
        w.pump()
        w.pay(first_label(session, peer))
        w.sell(cmd.FromPeer(peer=peer, message=msg.Close(session, w.now + 1, msg.BUYER, "held", 0, f"refund:{n}")))
        w.pump()
        w.now += 61_000
    under_way = [s for s in w.seller.state.sessions.values() if s.refund.under_way]
    assert len(under_way) == BUYERS  # the other half is for those who used what they paid for
    held, w.todo = w.todo, deque()
    w.hold = set()
    w.open()
    w.report(60)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    assert w.sale.charged_msat == 6_000 and not w.sale.owed_msat and w.refunds
    w.todo = held
    w.pump()
    w.pass_ms(70_000, step=5_000)
    assert all(not s.owed_msat for s in w.seller.state.sessions.values()) and len(w.refunds) == 6 * BUYERS + 1


def test_one_buyer_holds_one_refund_at_a_time():
    w = World(limits=Limits(silent_ms=10**9))
    w.hold = {do.PayRefund}
    for n in range(4):
        w.open(session=f"{n:032x}")
        w.report(0)
        w.buy(cmd.CloseStream(session=f"{n:032x}"))
        w.pump()
        w.report(0, plugged=False)
        w.report(0)
    assert sum(1 for s in w.seller.state.sessions.values() if s.refund.under_way) == 1


def test_no_more_than_dust_lapses_in_all_however_often_somebody_pays_late():
    w = World({"price_msat": 7, "remainder_s": 5, "window": 4})
    w.open()
    w.report(20)
    late = told_ahead(w)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    w.pass_ms(20_000, step=1_000)
    for label in late:
        w.pay(label, amount=900, hook=False)
        w.pump()
        w.pass_ms(20_000, step=1_000)
    assert len(late) > 1
    figures = w.receipts()[-1]
    assert 0 < figures["lapsed_msat"] < 1_000 and identity(figures) and not w.purchase.disputed


def test_what_the_channel_can_not_carry_stays_owed_and_is_paid_on_reconnect():
    w = unrefunded()
    assert w.receipts()[-1]["owed_msat"] == 7_000 and identity(w.receipts()[-1])
    assert "reserve" in w.sale.refund.why
    w.channel_can_refund = True
    w.now += 60_000
    w.sell(cmd.PeerConnected(peer=BUYER_ID))
    w.pump()
    assert (w.receipts()[-1]["owed_msat"], w.receipts()[-1]["refunded_msat"]) == (0, 7_000)
    assert w.purchase.closing.owed_msat == 0 and w.balance == 3_000


def test_what_is_owed_is_credit_in_the_same_buyers_next_session():
    w = unrefunded()
    w.open(session=OTHER)
    new = w.seller.state.sessions[OTHER]
    assert (new.brought_msat, new.paid_msat, w.meter.state) == (7_000, 0, "delivering")
    assert [r["refunded_msat"] for r in w.receipts() if r["session"] == SESSION][-1] == 7_000
    assert w.buyer.state.streams[OTHER].carried_msat == 7_000
    w.buy(cmd.CloseStream(session=OTHER))
    w.pump()
    last = w.receipts()[-1]
    assert (last["paid_msat"], last["carried_in_msat"], last["owed_msat"]) == (7_000, 7_000, 7_000)


@pytest.mark.parametrize("begun", ["in the snapshot", "after it"])
def test_a_refund_that_a_version_without_claims_began_finds_its_own_payment(begun):
    """0.1.0's journals of before say of a refund only that it began: the node may have been asked to pay it."""
    w = refunding()
    bolt11 = w.sale.refund.bolt11
    started = next(i for i, e in enumerate(w.seller_events) if isinstance(e, selling.RefundStarted))
    upto = len(w.seller_events) if begun == "in the snapshot" else started
    dumped = json.loads(json.dumps(refold(w.seller_events[:upto], SellerState()).dump()))
    del dumped["refund_hashes"]
    state = SellerState()
    state.load(dumped)
    for event in w.seller_events[upto:]:
        state.apply(event)
    w.seller = Seller(SELLER_ID, state=state)
    assert w.sell(
        cmd.ClaimRefund(session=SESSION, bolt11=bolt11, attempt=w.sale.refund.attempts, payment_hash="h", known=True)
    )
    w.sell(cmd.RefundSettled(session=SESSION, bolt11=bolt11, amount_msat=7_000, fee_msat=0, payment_hash="h"))
    assert (w.sale.refunded_msat, w.sale.owed_msat) == (7_000, 0)
    again = SellerState()
    again.load(json.loads(json.dumps(state.dump())))
    assert again.refund_hashes == {"h": SESSION}


def test_news_of_another_invoice_is_none_of_the_refund_under_way():
    w = refunding()
    before = len(w.seller_events)
    w.sell(
        cmd.RefundSettled(
            session=SESSION, bolt11="another", amount_msat=w.sale.refund.amount_msat, fee_msat=0, payment_hash="h"
        )
    )
    assert len(w.seller_events) == before and w.sale.refund.under_way and w.sale.refunded_msat == 0


@pytest.mark.parametrize(
    ("arrived", "fee", "refunded", "fees", "lapsed"),
    [
        (3_500, 200, 3_700, 200, 3_300),  # less than it was to be: the rest is not owed again
        (6_900, 300, 7_000, 100, 0),  # the fee was more than is owed: what is over is the seller's loss
        (9_000, 0, 7_000, 0, 0),  # more than is owed: no more than that counts
    ],
)
def test_what_a_refund_paid_otherwise_than_it_was_to_be_leaves(arrived, fee, refunded, fees, lapsed):
    w = refunding()
    w.todo.clear()
    w.sell(
        cmd.RefundSettled(
            session=SESSION, bolt11=w.sale.refund.bolt11, amount_msat=arrived, fee_msat=fee, payment_hash="h"
        )
    )
    assert (w.sale.refunded_msat, w.sale.refund_fee_msat, w.sale.lapsed_msat) == (refunded, fees, lapsed)
    assert w.sale.owed_msat == 0 and w.sale.alarm


def test_news_of_another_invoice_neither_ends_nor_claims_the_refund_under_way():
    w = refunding()
    before = len(w.seller_events)
    w.sell(
        cmd.RefundLost(session=SESSION, bolt11="another", attempt=w.sale.refund.attempts, why="no route", final=True)
    )
    assert not w.sell(
        cmd.ClaimRefund(
            session=SESSION, bolt11="another", attempt=w.sale.refund.attempts, payment_hash="h", known=False
        )
    )
    assert len(w.seller_events) == before and w.sale.refund.under_way


def test_dust_whose_refund_is_under_way_does_not_lapse():
    w = World({"remainder_s": 60}, policy={"budget_msat": 15_000})
    w.hold = {do.PayRefund}
    w.open()
    w.report(93)  # 700 msat are left
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    assert w.sale.refund.under_way and w.sale.owed_msat == 700
    w.pass_ms(1_200_000, step=10_000)
    assert (w.sale.lapsed_msat, w.sale.owed_msat) == (0, 700)
    (action,) = [a for _, a in w.todo if isinstance(a, do.PayRefund)][:1]
    w.sell(cmd.RefundSettled(session=SESSION, bolt11=action.bolt11, amount_msat=700, fee_msat=0, payment_hash="h"))
    w.pump()
    receipt = w.receipts()[-1]
    assert (receipt["refunded_msat"], receipt["lapsed_msat"], receipt["owed_msat"]) == (700, 0, 0)


def test_tries_of_a_refund_that_fails_grow_ever_rarer():
    w = unrefunded()
    tries = []
    w.fee = 0
    perform = w.perform

    def watched(side, action):
        if isinstance(action, do.PayRefund):
            tries.append(w.now)
        perform(side, action)

    w.perform = watched
    w.pass_ms(3_600_000, step=5_000)
    gaps = [later - earlier for earlier, later in itertools.pairwise(sorted(set(tries)))]
    assert len(gaps) >= 3 and gaps == sorted(gaps) and gaps[-1] >= 4 * gaps[0]


def test_an_answer_that_comes_again_does_not_end_the_next_try():
    """Two threads may have paid one try: the journal failed for a moment, and the core was folded anew."""
    w = refunding()
    (first,) = [a for _, a in w.todo if isinstance(a, do.PayRefund)]
    lost = cmd.RefundLost(session=SESSION, bolt11=first.bolt11, attempt=first.attempt, why="no way", final=False)
    w.todo.clear()
    w.sell(lost)
    (second,) = [a for _, a in w.todo if isinstance(a, do.PayRefund)]
    assert second.bolt11 == first.bolt11 and second.attempt != first.attempt
    w.sell(lost)
    assert w.sale.refund.under_way and [a for _, a in w.todo if isinstance(a, do.PayRefund)] == [second]
    claim = {"session": SESSION, "bolt11": first.bolt11, "payment_hash": "h", "known": False}
    assert w.sell(cmd.ClaimRefund(attempt=first.attempt, **claim)) == cmd.Claimed.NO
    assert w.sell(cmd.ClaimRefund(attempt=second.attempt, **claim)) == cmd.Claimed.NOW
    assert w.sell(cmd.ClaimRefund(attempt=second.attempt, **claim)) == cmd.Claimed.BEFORE


def test_an_alarm_that_was_seen_asks_for_no_refund_that_is_being_paid():
    w = refunding()
    w.sale.alarm = "look"
    w.todo.clear()
    w.sell(cmd.Attend(name=SESSION, how=cmd.SEEN, note=""))
    assert w.sale.refund.under_way and not [a for _, a in w.todo if isinstance(a, do.PayRefund)]
