"""A side that was away, started with another date, or went on with an older copy: nobody is accused or shut out for it.

Figures are worked out by hand: 1,000 msat for 10 ticks is 100 msat a tick.
"""

import pytest
from liar import ARREARS, Liar, SensorFirst
from older import Older
from world import DAY_MS, OTHER, SELLER_ID, SESSION, World, refold

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.buyer.buyer import Buyer
from satmeter.core.buyer.receipts import RECEIPTS
from satmeter.core.buyer.state import BuyerState
from satmeter.core.errors import BadParam

RATED = {"mode": "arrears", "limit_msat": 60_000, "rating_ticks_per_s": 2, "grace_s": 3_600}


def resumed(w):
    """The same liar's buyer after a restart."""
    w.buyer = Buyer(state=refold(w.events, BuyerState()))
    w.buyer.resume(w.now)
    return w


# --- the buyer was off, and its clock stood still


@pytest.mark.parametrize(("ticks", "good"), [(500, True), (800, True), (801, False)])
def test_what_flowed_while_the_clock_stood_is_taken_up_to_what_was_at_risk(ticks, good):
    """20,000 are paid, and the limit is 60,000: 800 ticks."""
    w = Liar(**RATED)
    for n in range(1, 3):
        w.now += 50_000
        w.ask(100 * n)
    assert w.p.paid_msat == 20_000
    resumed(w).ask(ticks)
    assert (w.p.paid_msat, w.p.breached) == ((30_000, False) if good else (20_000, True))


@pytest.mark.parametrize(("ticks", "good"), [(200, True), (201, False)])
def test_prepaid_no_more_can_have_flowed_than_was_paid_for_and_a_slice(ticks, good):
    w = Liar(rating_ticks_per_s=2)
    w.ask(0)
    resumed(w).ask(ticks)
    assert (w.p.paid_msat, w.p.breached) == ((20_000, False) if good else (10_000, True))


def test_from_then_on_the_rating_holds():
    w = Liar(**RATED)
    w.now += 50_000
    w.ask(100)
    resumed(w).ask(400)
    w.ask(400 + 200)
    assert w.p.breached and "rating" in w.p.refusals[-1].why


def test_a_stream_that_ends_is_asked_about_before_it_is_given_up():
    w = World()
    w.open()
    w.report(30)
    w.lose = lambda message: True
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    w.now += 61 * DAY_MS
    w.restart_buyer()
    w.lose = lambda message: False
    w.sell(cmd.PeerConnected(peer=w.sale.buyer))
    w.pass_ms(60_000, step=1_000)
    assert w.purchase.arrived_msat == 7_000 and w.purchase.done


# --- an older copy


def test_a_payment_of_the_lost_part_that_hangs_is_our_own():
    w = Older(ARREARS | {"grace_s": 60})
    w.open()
    for register in range(5, 105, 5):
        w.report(register)
        w.pass_ms(1000)
    copy = len(w.buyer_events)
    w.hangs = True
    for register in range(105, 205, 5):
        w.report(register)
        w.pass_ms(500)
    assert w.purchase.in_flight
    w.replace_buyer(copy)
    w.sell(cmd.PeerConnected(peer=w.sale.buyer))
    w.pass_ms(10_000)
    w.hangs = False
    w.pass_ms(300_000, step=1000)
    assert not w.purchase.breached and w.sale.debt_msat == 0 == w.purchase.debt_msat
    assert w.purchase.paid_msat == sum(w.paid_by_buyer.values())


def test_receipts_of_any_revision_count_and_so_many_are_recorded():
    w = Liar()
    w.ask(0)
    w.close()
    w.receipt(revision=1, charged_msat=3_000, owed_msat=7_000)
    w.receipt(revision=3_701, charged_msat=4_000, owed_msat=6_000)
    assert (w.p.closing.revision, w.p.closing.owed_msat) == (3_701, 6_000)
    for revision in range(4_000, 4_000 + 2 * RECEIPTS):
        w.receipt(revision=revision, charged_msat=4_000 + revision % 2, owed_msat=6_000 - revision % 2)
    assert w.p.closing.recorded == RECEIPTS == sum(e.kind() == "stream_closed" for e in w.events)


# --- what is left of a bearer's money


def bought(w, amount=10_000):
    """A session of a bearer that ended with 9,000 msat left."""
    label, session = w.sell(
        cmd.MakeWalletInvoice(meter="m", amount_msat=amount, metadata="", deliverable=False, note="")
    )
    w.pump()
    w.pay(label)
    w.report(10)
    w.sell(cmd.CloseSession(session=session))
    w.pump()
    return w.seller.state.sessions[session]


def test_a_remainder_lapses_by_a_time_that_has_surely_come():
    w = World({"remainder_s": 86_400})
    ended = bought(w)
    ended_at = ended.closed_at
    w.now += 400 * DAY_MS
    w.sell(cmd.Tick(surely=ended_at + DAY_MS - 60_000))
    assert ended.owed_msat == 9_000
    w.sell(cmd.Tick(surely=ended_at + DAY_MS + 60_000))
    assert (ended.owed_msat, ended.lapsed_msat) == (0, 9_000)


def test_who_asked_in_time_can_ask_again_when_the_payment_fails():
    w = World({"remainder_s": 86_400})
    ended = bought(w)
    w.pass_ms(DAY_MS - 600_000, step=60_000)
    w.hold = {do.PayRefund}
    w.sell(cmd.AskRefund(session=ended.id, bolt11="first", invoice_msat=8_000, number=1))
    w.pass_ms(3_600_000, step=60_000)
    w.todo.clear()
    w.sell(
        cmd.RefundLost(
            session=ended.id, bolt11="first", attempt=ended.refund.attempts, why="a hop was away", final=False
        )
    )
    w.hold = set()
    w.pass_ms(600_000, step=60_000)
    w.sell(cmd.AskRefund(session=ended.id, bolt11="second", invoice_msat=8_000, number=1))
    w.pump()
    assert w.refunds == {"second": 8_000}
    w.pass_ms(2 * 3_600_000, step=60_000)
    assert ended.owed_msat == 0


def test_a_refund_invoice_that_can_not_be_paid_is_made_anew():
    w = World()
    w.open()
    w.report(30)
    w.hold = {do.PayRefund}
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    (_, refund) = next(each for each in w.todo if isinstance(each[1], do.PayRefund))
    w.todo.clear()
    w.hold = set()
    w.sell(
        cmd.RefundLost(
            session=refund.session,
            bolt11=refund.bolt11,
            attempt=refund.attempt,
            why="the refund invoice has expired",
            final=True,
        )
    )
    w.pass_ms(600_000, step=1_000)
    assert sum(w.refunds.values()) == 7_000 and w.purchase.refund_made == 2 and w.purchase.done


def test_a_seller_can_not_have_invoices_made_without_end():
    w = Liar()
    w.ask(0)
    w.close()
    w.receipt(charged_msat=3_000, owed_msat=7_000)
    for _ in range(200):
        w.now += 1_000
        w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Error(SESSION, w.now, msg.SELLER, BadParam.code, "another")))
    assert w.p.refund_made == 50


# --- budgets


def test_a_day_that_seemed_to_come_makes_no_day_forgotten():
    w = Liar(policy={"day_msat": 30_000, "max_fee_msat": 0}, quantum_msat=20_000, window=2)
    w.now = 20_000 * DAY_MS
    for n in range(3):
        w.ask(100 * n)
    w.now += 2 * DAY_MS
    w.ask(300)
    w.now -= 2 * DAY_MS
    before = w.p.paid_msat
    for n in range(4, 9):
        w.ask(100 * n)
    assert w.p.paid_msat == before and w.buyer.state.days[20_000] == 30_000


def test_in_arrears_what_may_be_owed_at_the_end_is_kept_back_of_the_day_too():
    w = World(ARREARS)
    w.now = 20_000 * DAY_MS + 3_600_000
    w.report(0)
    w.open(day_msat=40_000)
    register = 0
    while w.meter.session:
        register += 5
        assert register < 1_000
        w.report(register)
        w.pass_ms(1000)
    w.pass_ms(600_000, step=1000)
    assert w.purchase.paid_msat == 20_000 and w.sale.debt_msat == 0
    w.open(session=OTHER)
    assert w.remembered["purchase", OTHER].state == "streaming"


def test_a_close_without_an_invoice_is_told_of_none():
    w = World()
    w.open()
    w.report(30)
    w.hold = {do.PayRefund}
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    w.todo.clear()
    w.sell(cmd.FromPeer(peer=w.sale.buyer, message=msg.Close(SESSION, w.now, msg.BUYER, "again", 10_000, "")))
    w.pump()
    assert w.sale.owed_msat == 7_000 and not [m for m in w.sent if isinstance(m, msg.Error)]


def test_a_first_message_that_is_late_makes_no_breach():
    """After a restart it comes eight seconds late, at the flow of the rating, and then the next ones as ever."""
    w = Liar(rating_ticks_per_s=10, quantum_msat=100_000)
    w.ask(0)
    w.now += 20_000
    w.ask(200)
    resumed(w)
    w.now += 8_000
    w.ask(200)
    w.ask(315)
    assert not w.p.breached and w.p.payments == 4


def test_a_journal_that_was_opened_anew_makes_no_clock_stand_still():
    """A commit that failed: the process went on, and knows how much time has passed."""
    w = Liar(rating_ticks_per_s=2)
    w.ask(0)
    w.buyer = Buyer(state=refold(w.events, BuyerState()))
    w.buyer.resume(w.now, started=False)
    w.ask(200)
    assert w.p.paid_msat == 10_000 and w.p.breached


def test_what_an_older_copy_had_is_known_after_the_next_start_too():
    w = Older(ARREARS | {"grace_s": 60})
    w.open()
    w.report(50)
    w.replace_buyer(len(w.buyer_events))
    w.restart_buyer()
    assert w.buyer.state.streams[SESSION].of_older


def test_what_the_sensor_said_first_after_a_close_is_the_bound_over_restarts():
    w = SensorFirst(**ARREARS)
    w.sense(100)
    w.ask(100)
    resumed(w)
    w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Close(SESSION, w.now, msg.SELLER, "over")))
    w.sense(110)
    most = w.p.ticks_after_close
    for register in (500, 1_000):
        resumed(w)
        w.sense(register)
        w.ask(300)
    assert w.p.ticks_after_close == most == 165 and w.p.paid_msat == 10_000


def test_the_hour_after_a_refund_that_failed_outlives_a_restart():
    w = World({"remainder_s": 86_400})
    ended = bought(w)
    w.pass_ms(DAY_MS - 600_000, step=60_000)
    w.hold = {do.PayRefund}
    w.sell(cmd.AskRefund(session=ended.id, bolt11="first", invoice_msat=8_000, number=1))
    w.pass_ms(3_600_000, step=60_000)
    w.todo.clear()
    w.sell(
        cmd.RefundLost(
            session=ended.id, bolt11="first", attempt=ended.refund.attempts, why="a hop was away", final=False
        )
    )
    w.restart_seller()
    w.pass_ms(600_000, step=60_000)
    assert w.seller.state.sessions[ended.id].owed_msat == 9_000


def test_a_budget_of_a_day_under_what_may_be_owed_agrees_to_nothing():
    """The limit of 20,000 and three fees are kept back: beside one invoice and its fee that is 34,000."""
    for day_msat, state in ((33_999, "closed"), (34_000, "streaming")):
        w = Liar(policy={"day_msat": day_msat}, **ARREARS)
        assert w.p.state == state
