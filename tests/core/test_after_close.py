"""What a lying seller can still get: after a close, by receipts, by invoices that were paid before, by prices without
their unit, and at line speed."""

import pytest
from liar import ARREARS, LIMIT, SLICE, Liar, SensorFirst
from world import POLICY, SELLER_ID, SESSION, refold

from satmeter.core import commands as cmd
from satmeter.core import messages as msg
from satmeter.core.buyer.buyer import Buyer
from satmeter.core.buyer.state import BuyerState
from satmeter.core.errors import UnknownSession
from satmeter.core.journal import canonical


def test_in_arrears_at_most_the_limit_is_paid_after_a_close():
    w = Liar(**ARREARS)
    w.ask(100)
    assert w.p.paid_msat == 10_000
    w.close()
    assert w.p.may_still_pay_msat == LIMIT
    for more in range(1, 200):
        w.ask(100 + 100 * more)
    assert w.p.paid_msat <= 10_000 + LIMIT and w.p.breached and w.p.may_still_pay_msat == 0


def test_before_the_close_no_more_than_the_limit_can_be_owed_at_once():
    w = Liar(**ARREARS)
    w.ask(301)
    assert w.p.paid_msat == 0 and w.p.breached  # 30,100 msat owed: the board would have cut at the limit
    w = Liar(**ARREARS)
    w.ask(200)
    assert w.p.paid_msat == 10_000


def test_the_receipt_after_the_close_opens_no_new_budget():
    w = Liar(**ARREARS)
    w.ask(100)
    w.close()
    for revision in range(1, 50):
        w.receipt(revision, charged_msat=10_000 + 10_000 * revision, debt_msat=10_000 * revision)
        w.ask(100 + 100 * revision)
    assert w.p.paid_msat <= 10_000 + LIMIT


def test_with_a_sensor_nothing_beyond_its_count_at_the_close_is_paid():
    w = Liar(sensor=0, policy={"tolerance_ticks": 10, "tolerance_pct": 0}, **ARREARS)
    missed = 200  # what may have run before the sensor was first heard: the limit
    w.sense(100)
    w.ask(100)
    w.close()
    w.sense(2_000)  # the plug was given to somebody else since
    for more in range(1, 20):
        w.ask(100 + 100 * more)
    assert w.p.paid_msat <= w.tariff.charge(100 + missed + 10)


def test_who_used_less_than_it_brought_along_pays_nothing_after_the_close():
    """Its own sensor counted 10 ticks, and 200 (the limit) may have run before: they cost 21,000 msat."""
    w = Liar(sensor=0, carried=50_000, policy={"tolerance_ticks": 0, "tolerance_pct": 0}, **ARREARS)
    w.sense(10)
    w.close()
    assert (w.p.ticks_after_close, w.p.committed_msat, w.p.may_still_pay_msat) == (210, 50_000, 0)


def test_a_restart_keeps_the_bound_after_the_close():
    w = Liar(**ARREARS)
    w.ask(100)
    w.close()
    w.buyer = Buyer(state=refold(w.events, BuyerState()))
    w.buyer.resume(w.now)
    for more in range(1, 100):
        w.ask(100 + 100 * more)
    assert w.p.paid_msat <= 10_000 + LIMIT


def test_the_user_can_refuse_to_pay_what_a_closed_stream_owes():
    w = Liar(**ARREARS)
    w.ask(100)
    w.close()
    w.close(refuse_debt=True)
    w.ask(200)
    assert w.p.paid_msat == 10_000 and w.p.may_still_pay_msat == 0 and not w.p.pays
    w.receipt(charged_msat=20_000, debt_msat=10_000)
    w.ask(200)
    assert w.p.paid_msat == 10_000 and w.p.done


@pytest.mark.parametrize("tariff", [{}, ARREARS])
def test_a_sensor_that_falls_silent_stops_payment_until_it_is_heard(tariff):
    w = Liar(sensor=0, **tariff)
    w.sense(100)
    w.ask(100 if tariff else 0)
    assert w.p.payments == 1
    w.now += 31_000
    w.ask(200 if tariff else 100)
    assert w.p.payments == 1 and w.p.memory.waits == "the own sensor is silent" and w.p.state == "streaming"
    w.sense(200)
    w.ask(200 if tariff else 100)
    assert w.p.payments == 2 and not w.p.memory.waits


def test_after_a_restart_nothing_is_paid_before_the_sensor_is_heard_again():
    w = Liar(sensor=0)
    w.buyer = Buyer(state=refold(w.events, BuyerState()))
    w.buyer.resume(w.now)
    w.ask(0)
    assert w.p.payments == 0 and w.p.memory.waits
    w.sense(5)
    w.ask(0)
    assert w.p.payments == 1


def test_one_hash_is_paid_once_over_numbers_streams_and_restarts():
    w = Liar()
    w.ask(0, known="same")
    assert w.p.paid_msat == 10_000
    w.ask(100, known="same")
    assert (w.p.paid_msat, w.p.breached, w.p.payments) == (10_000, True, 1)
    w = Liar()
    w.ask(0, known="same")
    other = "6f" * 16
    w.tell(cmd.OpenStream(session=other, seller=SELLER_ID, meter="n", address="h:1", policy=POLICY))
    w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Terms(other, 1, "n", canonical(w.tariff.terms()), 0)))
    w.buyer = Buyer(state=refold(w.events, BuyerState()))
    w.buyer.resume(w.now)
    w.ask(0, known="same", session=other)
    p = w.buyer.state.streams[other]
    assert (p.paid_msat, p.breached) == (0, True) and w.buyer.state.spent_on(w.now) == 10_000


def test_a_hash_that_the_node_paid_for_something_else_is_not_booked():
    w = Liar()
    w.paid.append("elsewhere")
    w.ask(0, known="elsewhere")
    assert (w.p.paid_msat, w.p.sent_msat, w.p.breached) == (0, 0, True) and not w.p.in_flight


def test_a_payment_that_failed_may_be_tried_again_under_its_own_number():
    w = Liar(hold=True)
    w.ask(0, known="h")
    w.tell(cmd.PaymentLost(session=SESSION, number=w.n, attempt=w.n, why="no way"))
    w.hold, w.n = False, w.n - 1
    w.ask(0, known="h")
    assert w.p.paid_msat == 10_000


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"charged_msat": 3_000, "refunded_msat": 7_000}, "7000 msat refunded"),
        ({"charged_msat": 3_000, "lapsed_msat": 7_000}, "7000 msat lapsed"),
        ({"charged_msat": 10_000, "spent_msat": 7_000}, "7000 msat spent"),
        ({"charged_msat": 3_000, "refunded_msat": 7_000, "refund_fee_msat": 7_000}, "fee"),
        ({"charged_msat": 3_000, "refunded_msat": 6_900, "lapsed_msat": 100}, "6900 msat refunded"),
    ],
)
def test_a_signed_receipt_that_claims_what_never_came_is_disputed(figures, words):
    w = Liar()
    w.ask(0)
    w.close()
    w.receipt(**figures)
    assert w.p.closing.verified and w.p.disputed and words in w.p.closing.why


def test_a_receipt_over_ticks_that_the_sensor_or_the_rating_did_not_see_is_disputed():
    w = Liar(sensor=0, policy={"tolerance_ticks": 0, "tolerance_pct": 0})
    w.ask(0)
    w.sense(10)
    w.close()
    w.receipt(charged_msat=10_000, ticks=100)
    assert w.p.disputed is (w.p.own_ticks < 100)
    w = Liar(rating_ticks_per_s=1)
    w.ask(0)
    w.close()
    w.receipt(charged_msat=10_000, ticks=100)
    assert w.p.disputed and "plausible" in w.p.closing.why


def test_what_arrived_or_was_carried_on_is_believed_once():
    w = Liar()
    w.ask(0)
    w.close()
    w.arrived = 7_000
    w.receipt(charged_msat=3_000, refunded_msat=7_000)
    assert not w.p.disputed, w.p.closing.why
    w = Liar()
    w.ask(0)
    w.close()
    w.receipt(charged_msat=3_000, owed_msat=7_000)
    later = "6e" * 16
    w.open(later, carried=7_000)
    w.receipt(2, charged_msat=3_000, refunded_msat=7_000)
    assert not w.p.disputed, w.p.closing.why
    w.ask(0, session=later, amount=3_000)
    w.tell(cmd.CloseStream(session=later))
    w.receipt(1, later, charged_msat=3_000, refunded_msat=7_000)  # the same 7,000 once more
    assert w.buyer.state.streams[later].disputed


def test_a_price_without_its_unit_agrees_to_nothing():
    w = Liar(policy={"unit": "", "max_price_msat": 30_000_000}, unit="mWh", price_msat=30_000_000, quantum_msat=10**8)
    assert w.p.tariff is None and w.p.state == "closed" and "30000000/mWh" in w.p.closing.why
    w = Liar(policy={"unit": "kWh", "max_price_msat": 30_000_000}, unit="mWh")
    assert w.p.tariff is None and "not per 'kWh'" in w.p.closing.why
    given = {"max_price_msat": "30000sat/kWh", "budget_msat": 10**9, "unit": None}
    w = Liar(policy=given, unit="kWh", price_msat=30_000_000, ticks_per_unit=1000, quantum_msat=300_000)
    assert w.p.policy.unit == "kWh" and w.p.policy.max_price_msat == 30_000_000 and w.p.tariff is not None


def test_a_pace_bounds_what_a_lying_seller_gets_at_line_speed():
    w = Liar(policy={"max_msat_per_s": 500})
    for step in range(100):  # it claims a quantum's use each second
        w.ask(100 * step)
    elapsed_s = w.n
    assert w.p.paid_msat <= 10_000 + 500 * elapsed_s and w.p.paid_msat < 100 * SLICE
    assert w.p.state != "streaming" and w.p.refusals and "max_msat_per_s" in w.p.reason


def test_a_receipt_on_a_running_stream_opens_no_way_around_the_bound():
    for sensor in (None, 0):
        w = Liar(sensor=sensor, **ARREARS)
        w.ask(100)
        for revision in range(1, 90):
            debt = 10_000 + 10_000 * revision - w.p.paid_msat
            w.receipt(revision, charged_msat=10_000 + 10_000 * revision, debt_msat=debt)
            w.ask(100 + 100 * revision)
        assert w.p.paid_msat <= 10_000 + LIMIT


def test_a_seller_that_forgets_the_session_opens_no_way_around_the_bound():
    w = Liar(**ARREARS)
    w.ask(100)
    w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Error(SESSION, w.now, msg.SELLER, UnknownSession.code, "x")))
    for revision in range(1, 90):
        w.receipt(revision, charged_msat=10_000 * revision, debt_msat=10_000 * revision - w.p.paid_msat + 10_000)
        w.ask(100 + 100 * revision)
    assert w.p.paid_msat <= 10_000 + LIMIT


def test_a_demand_over_what_is_left_after_the_close_is_not_paid_and_is_no_breach():
    """A seller that has not heard of the close trusts its buyer anew for each payment, and delivers."""
    w = Liar(**ARREARS)
    w.ask(100)
    w.close()
    w.ask(200)
    w.ask(300)
    assert (w.p.paid_msat, w.p.may_still_pay_msat) == (10_000 + LIMIT, 0)
    w.ask(400)
    assert (w.p.paid_msat, w.p.breached) == (10_000 + LIMIT, False)
    assert [r.why for r in w.p.refusals] == ["10000 msat asked after the close; 0 of 30000 in all are left"]
    w.receipt(charged_msat=40_000, debt_msat=10_000)
    assert w.p.debt_msat == 10_000 and w.p.unsettled
    w.close(refuse_debt=True)
    assert not w.p.debt_msat and w.p.done


def test_a_count_beyond_the_sensors_after_the_close_is_paid_up_to_the_sensors_and_is_no_breach():
    """The seller delivers on until it hears of the close; what was spent at gates makes no room for those ticks."""
    w = Liar(sensor=0, policy={"tolerance_ticks": 0, "tolerance_pct": 0, "max_spend_msat": 3_000}, **ARREARS)
    missed = 200  # what may have run before the sensor was first heard: the limit
    w.sense(50)
    w.ask(100)
    w.close()
    w.ask(200)
    w.ask(300, amount=6_000)
    assert (w.p.paid_msat, w.p.breached) == (20_000, False)
    assert w.p.refusals[-1].why == "6000 msat asked after the close; 5000 of 25000 in all are left"
    w.ask(300, amount=5_000)
    assert w.p.paid_msat == w.tariff.charge(50 + missed) and not w.p.breached
    w.ask(300, amount=3_000, charged=33_000)
    assert w.p.paid_msat == 28_000 and not w.p.breached
    w.ask(300, amount=1_000, charged=33_000)
    assert w.p.paid_msat == 28_000 and not w.p.breached


def test_what_is_charged_is_not_only_what_the_message_says():
    w = Liar(**ARREARS)
    w.ask(30_000, charged=0)
    assert w.p.paid_msat == 0 and w.p.breached


def test_payments_that_fail_after_the_close_leave_no_room_behind():
    w = Liar(hold=True, **ARREARS)
    w.ask(100)
    w.ask(200)
    w.close()
    assert w.p.after_close.most_msat == 20_000 + LIMIT
    for n in list(w.p.in_flight):
        w.tell(cmd.PaymentLost(session=SESSION, number=n, attempt=n, why="failed"))
    assert w.p.after_close.most_msat == LIMIT
    w.hold = False
    for more in range(1, 20):
        w.ask(200 + 10 * more, charged=0)
    assert w.p.paid_msat <= LIMIT


def test_a_close_before_the_sensor_is_heard_again_pays_nothing_until_it_is():
    w = SensorFirst(**ARREARS)
    w.sense(100)
    w.ask(100)
    w.buyer = Buyer(state=refold(w.events, BuyerState()))
    w.buyer.resume(w.now)
    w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Close(SESSION, w.now, msg.SELLER, "over")))
    w.ask(200)
    assert w.p.paid_msat == 10_000 and not w.p.breached and "sensor" in w.p.memory.waits
    w.sense(150)
    w.sense(10_000)  # what it counts after that is no longer the stream's
    for _ in range(5):
        w.ask(200)
    assert w.p.paid_msat == 20_000 and w.p.ticks_after_close == 207 and not w.p.memory.waits
    w.ask(220)
    w.ask(300)
    assert w.p.paid_msat == 20_000


def test_terms_again_and_again_fill_no_journal():
    w = Liar()
    w.ask(0)
    w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Error(SESSION, w.now, msg.SELLER, UnknownSession.code, "x")))
    before = len(w.events)
    terms = canonical(w.tariff.terms())
    for carried in range(1, 500):
        w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Terms(SESSION, w.now + carried, "m", terms, carried)))
    assert len(w.events) <= before + 3


def test_a_pace_that_only_a_payment_in_flight_passes_ends_no_stream():
    w = Liar(policy={"max_msat_per_s": 1000}, window=2, quantum_msat=100_000)
    w.ask(0, 50_000)
    w.ask(0, 50_000)
    w.now += 60_000
    w.hold = True
    w.ask(1_100, 50_000)
    assert w.p.in_flight_msat > 50_000
    w.ask(1_100, 50_000)
    assert w.p.state == "streaming" and not w.p.refusals and len(w.p.in_flight) == 1


def test_a_debt_that_is_asked_for_again_while_its_payment_hangs_is_no_breach_and_is_paid_once():
    """The seller's invoice has ended and its payment is not back yet: the seller asks anew, and can't know of it."""
    w = Liar(hold=True, mode="arrears", limit_msat=SLICE)
    w.close()
    w.ask(100)
    assert w.p.after_close.most_msat == SLICE and list(w.p.in_flight) == [1]
    w.ask(100)
    assert not w.p.breached and list(w.p.in_flight) == [1]
    w.tell(cmd.PaymentLost(session=SESSION, number=1, attempt=1, why="failed"))
    w.hold = False
    w.ask(100)
    w.ask(100)
    assert w.p.paid_msat == SLICE


def test_a_breach_is_recorded_however_many_harmless_refusals_there_were():
    for before in (0, 20):
        w = Liar(**ARREARS)
        w.ask(100)
        w.close()
        w.ask(200)
        w.ask(250, amount=5_000)
        for k in range(before):
            w.ask(350, amount=10_000 - k)  # over what is left: refused, and no breach
        assert len(w.p.refusals) == before
        w.ask(350, amount=1_000, known="h1")  # a hash that was paid before
        w.ask(350, amount=4_000)
        assert w.p.breached and w.p.paid_msat == 25_000


def test_a_payment_in_flight_that_fails_takes_nothing_off_what_the_sensor_saw():
    """Up to the sensor's count and the limit, what was used before the close stays payable."""
    for fails in (False, True):
        w = SensorFirst(policy={"tolerance_ticks": 0, "tolerance_pct": 0}, **ARREARS)
        w.sense(100)
        w.ask(100)
        w.hold = True
        w.sense(200)
        w.ask(200)
        w.sense(250)
        w.close()
        w.hold = False
        w.tell(
            cmd.PaymentLost(session=SESSION, number=2, attempt=2, why="no route")
            if fails
            else cmd.PaymentDone(session=SESSION, number=2, payment_hash=w.p.in_flight[2].payment_hash, sent_msat=SLICE)
        )
        assert w.p.may_still_pay_msat == (15_000 if fails else 5_000)
        for amount in [10_000, 5_000] if fails else [5_000]:
            w.ask(250, amount=amount)
        assert (w.p.paid_msat, w.p.may_still_pay_msat, w.p.breached) == (25_000, 0, False)


def test_a_prepaid_stream_has_no_debt_to_refuse():
    w = Liar()
    w.ask(0)
    w.close(refuse_debt=True)
    assert not w.p.debt_refused and w.p.state == "closing"
