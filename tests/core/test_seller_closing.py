"""How a session ends at the seller, and who is locked out.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import pytest
from world import BUYER_ID, DAY_MS, OTHER, SESSION, World

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.errors import (
    LockedOut,
    WrongState,
)
from satmeter.core.reading import Reading
from satmeter.core.seller import events as selling
from satmeter.core.seller.context import Limits


def test_non_payment_locks_buyer_and_plug_and_a_new_node_does_not_evade_it():
    w = World()
    w.open()
    w.hold = {do.Pay}
    w.report(100)
    w.pass_ms(30_000)
    assert w.meter.state == "lockout" and w.grant() == 0
    w.sell(cmd.FromPeer(peer="02" + "cc" * 32, message=msg.Open(OTHER, 1, "m")))
    assert [a.message.code for _, a in w.todo if isinstance(a, do.Send)] == [LockedOut.code]
    w.sell(cmd.AddMeter(meter="m2", tariff=w.meter.tariff.to_dict()))
    w.sell(cmd.Report(meter="m2", reading=Reading("b2", 0)))
    w.sell(cmd.FromPeer(peer=BUYER_ID, message=msg.Open(OTHER, 1, "m2")))  # the buyer is locked out everywhere
    assert [a.message.code for _, a in w.todo if isinstance(a, do.Send)][1:] == [LockedOut.code]
    w.pass_ms(60_000)
    assert w.meter.state == "standby"
    assert w.receipts()[0]["charged_msat"] == 10_000


def test_opened_and_never_paid_frees_the_meter_after_the_grace_time():
    w = World()
    w.hold = {do.Pay}
    w.open()
    w.pass_ms(29_000)
    assert w.first().out and w.meter.state == "standby"  # who has paid nothing holds nothing
    w.pass_ms(2_000)
    assert not w.first() and w.meter.state == "standby"
    assert {e.kind() for e in w.seller_events} <= {"meter_added", "board_booted"}  # and has no row in the journal


def test_unplug_closes_and_refunds():
    w = World()
    w.open()
    w.report(30)
    w.report(30, plugged=False)
    (receipt,) = w.receipts()
    assert (receipt["reason"], receipt["charged_msat"], receipt["refunded_msat"]) == ("unplugged", 3_000, 7_000)
    assert w.purchase.state == "closed" and w.purchase.closing.verified


def test_the_sellers_close():
    w = World()
    w.open()
    w.report(10)
    w.sell(cmd.CloseSession(session=SESSION))
    w.pump()
    assert w.receipts()[0]["refunded_msat"] == 9_000 and w.purchase.state == "closed"
    with pytest.raises(WrongState):
        w.sell(cmd.CloseSession(session=SESSION))


def test_the_longest_session():
    w = World({"session_max_s": 60, "session_max_msat": 12_000})
    w.open()
    w.report(90)
    assert w.sale.received_msat == 12_000  # the second invoice is cut to what is left of the most
    w.pass_ms(60_000)
    assert w.receipts()[-1]["reason"] == "the longest time of a session is over"


def test_the_charge_is_final_only_when_the_board_has_stopped():
    """A buyer who cuts the line to the board and closes does not get what the board goes on to deliver."""
    w = World()
    w.open()
    w.report(20)
    w.board_on = False
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    assert w.sale.state == "ending" and w.grant() == 0 and not w.receipts() and w.balance == 10_000
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 57, 0, 0, True, 100)))  # it had not heard of the end yet
    w.pump()
    assert w.sale.state == "ending"
    w.now += 1
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 61, 0, 0, True, 0)))
    w.pump()
    assert (w.receipts()[-1]["charged_msat"], w.receipts()[-1]["refunded_msat"]) == (6_100, 3_900)
    assert w.purchase.closing.verified and not w.purchase.closing.why


def test_a_board_that_is_never_heard_again_is_taken_to_have_delivered_its_grant():
    w = World(limits=Limits(silent_ms=15_000, unheard_ms=60_000))
    w.open()
    w.report(20)
    w.board_on = False
    w.buy(cmd.CloseStream(session=SESSION))
    w.restart_seller()
    w.pass_ms(70_000, step=1000)
    (receipt,) = w.receipts()
    assert (receipt["ticks"], receipt["charged_msat"], receipt["owed_msat"]) == (100, 10_000, 0)
    assert "not heard" in receipt["reason"] and w.purchase.closing.verified and not w.purchase.closing.why
    w.report(90)  # it comes back and goes on in its own numbers
    assert w.meter.count == 90 and w.meter.state == "standby"


def test_a_board_that_is_not_heard_is_charged_no_sooner_than_the_rating_allows():
    """It has a grant of 100 ticks and counted 20: the other 80 take 80 s at one tick a second."""
    w = World({"rating_ticks_per_s": 1}, limits=Limits(silent_ms=15_000, unheard_ms=60_000))
    w.open()
    w.pass_ms(20_000, step=1000)
    w.report(20)
    w.board_on = False
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    w.pass_ms(79_000, step=1000)
    assert w.sale.state == "ending" and not w.receipts()
    w.pass_ms(2_000, step=1000)
    (receipt,) = w.receipts()
    assert (receipt["ticks"], receipt["charged_msat"]) == (100, 10_000) and "not heard" in receipt["reason"]
    assert w.purchase.closing.verified and not w.purchase.disputed, w.purchase.closing.why


@pytest.mark.parametrize("tariff", [{}, {"session_max_msat": 10_000}])
def test_nobody_is_locked_out_who_was_not_asked_or_could_not_pay(tariff):
    w = World(tariff, limits=Limits(silent_ms=15_000))
    w.open()
    w.hold = {do.Send}
    w.report(100)
    w.board_on = False
    w.pass_ms(40_000)
    assert w.meter.state == "standby" and w.sale.state != "open"


def test_a_refund_invoice_that_expired_is_replaced():
    w = World()
    w.channel_can_refund = False
    w.open()
    w.report(10)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    old = w.purchase.refund_bolt11
    assert w.sale.owed_msat == 9_000
    w.hold = {do.PayRefund}
    w.pass_ms(30 * DAY_MS, step=DAY_MS // 4)
    w.hold = set()
    w.todo.clear()
    w.sell(
        cmd.RefundLost(
            session=SESSION,
            bolt11=old,
            attempt=w.sale.refund.attempts,
            why="the buyer's refund invoice has expired",
            final=True,
        )
    )
    w.channel_can_refund = True
    w.pass_ms(DAY_MS, step=60_000)
    assert w.sale.owed_msat == 0 and w.sale.refunded_msat == 9_000 and w.purchase.refund_bolt11 != old


def test_a_session_that_runs_has_no_time_of_its_end():
    w = World()
    w.open()
    assert w.sale.closed_at == 0


@pytest.mark.parametrize(("left_ms", "seconds"), [(60_000, 60), (59_001, 60), (1, 1)])
def test_who_is_locked_out_is_told_for_how_long(left_ms, seconds):
    w = World()
    w.seller.state.apply(selling.Locked(at=w.now, subject="meter/m", until=w.now + left_ms, buyer=BUYER_ID, session=""))
    w.sell(cmd.FromPeer(peer=BUYER_ID, message=msg.Open(SESSION, w.now, "m")))
    (told,) = [a.message.text for _, a in w.todo if isinstance(a, do.Send)]
    assert f"for another {seconds} s" in told


def test_a_session_whose_board_stopped_stays_open_while_a_gate_still_holds_credit():
    w = World()
    w.open()
    w.sell(cmd.Spend(session=SESSION, id="g", step="reserve", amount_msat=4_000))
    w.report(60)  # all that the board was granted
    w.sell(cmd.CloseSession(session=SESSION))
    w.pump()
    assert w.sale.state == "ending" and not w.receipts()
    w.sell(cmd.Spend(session=SESSION, id="g", step="settle", amount_msat=3_000))
    w.report(60)
    (receipt,) = w.receipts()
    assert (receipt["charged_msat"], receipt["refunded_msat"]) == (9_000, 1_000)
