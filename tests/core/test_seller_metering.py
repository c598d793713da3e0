"""What a board's readings come to: counts, allowances, restarts and jumps.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import ARREARS, BUYER_ID, SESSION, World

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.errors import (
    BadParam,
    Implausible,
    MeterTaken,
)
from satmeter.core.reading import Reading
from satmeter.core.seller import events as selling
from satmeter.core.seller import views
from satmeter.core.seller.context import Limits


def jumped():
    """A session whose board counted 20 ticks, and then once said 5,000,000."""
    w = World({"rating_ticks_per_s": 10})
    w.open()
    w.report(20)
    w.now += 1_000
    with pytest.raises(Implausible):
        w.report(5_000_000)
    w.now += 1_000
    return w


def jumps_told(w):
    return [told["why"] for topic, told in w.notes if topic == "meter_alarm"]


def test_amounts_follow_the_reading():
    w = World()
    w.open()
    w.report(80)  # 8,000 msat used: credit 2,000 is under the low water of 2,500
    w.report(80)
    assert [m.amount_msat for m in w.sent if isinstance(m, msg.Invoice)] == [10_000, 8_000]


def test_low_makes_the_next_invoice_before_the_credit_runs_out():
    w = World()
    w.open()
    w.report(70)
    assert not [n for n in w.notes if n[0] == "meter_low"]
    w.hold = {do.Pay}
    w.report(80)
    assert [n[1]["credit_msat"] for n in w.notes if n[0] == "meter_low"] == [2_000]
    assert [m.credit_msat for m in w.sent if isinstance(m, msg.Low)] == [2_000]
    assert w.meter.state == "delivering" and w.sale.out_msat == 8_000


def test_the_allowance_is_free_once_a_period_and_used_up_unpaid_it_locks():
    w = World({"allowance_ticks": 20, "allowance_period_s": 100})
    assert w.grant() == 20
    w.hold = {do.Pay}
    w.open()
    w.report(20)
    w.pass_ms(31_000)
    assert w.meter.state == "lockout" and w.grant() == 0
    w.pass_ms(60_000)
    assert w.meter.state == "standby" and w.grant() == 20 and w.meter.count == 20  # used up: nothing more flows
    w.pass_ms(10_000)
    assert w.grant() == 40


def test_what_the_allowance_delivered_is_not_charged():
    w = World({"allowance_ticks": 20})
    w.report(15)
    w.open()
    assert w.grant() == 115
    w.report(15)
    w.report(25)
    w.report(25, plugged=False)
    assert w.receipts()[-1]["charged_msat"] == 1_000


def test_a_reading_that_was_said_before_the_start_and_is_told_late_is_of_the_allowance():
    """Also where an event that records the count comes between, and over a restart."""
    for restarted in (False, True):
        w = World({"allowance_ticks": 20})
        w.report(0)
        w.open()  # the board has delivered 15 ticks by now, and nobody heard of the last 10
        w.now += 1_000
        w.sell(cmd.Report(meter="m", reading=Reading("b1", 5, 0, age_ms=2_000)))
        w.seller_events.append(selling.Counted(at=w.now, subject="meter/m", count=5))
        w.seller.state.apply(w.seller_events[-1])
        assert (w.meter.count, w.sale.ticks, w.sale.charged_msat) == (5, 0, 0)
        if restarted:
            w.restart_seller()
        w.report(15)
        assert w.sale.ticks == 0
        w.report(25)
        w.report(25, plugged=False)
        assert w.receipts()[-1]["charged_msat"] == 1_000


def test_a_clock_that_went_back_does_not_hold_up_where_a_session_starts():
    w = World({"allowance_ticks": 20})
    w.open()
    w.now -= 3_600_000
    w.report(5)
    w.report(15)
    assert w.sale.ticks == 10


def test_an_overshoot_past_the_grant_is_the_sellers():
    w = World()
    w.open()
    w.hold = {do.Pay}
    w.report(107)  # the board's last sample passed its grant of 100
    assert (w.sale.charged_msat, w.sale.credit_msat) == (10_000, 0)
    w.hold = set()
    w.pump()
    assert w.sale.charged_msat == 10_700  # goes on: the whole difference counts, rounded once


def test_a_board_that_restarts_counts_on():
    w = World()
    w.open()
    w.report(30)
    w.report(5, boot="b2")
    assert w.sale.ticks == 35 and w.grant() == 100 - 30
    w.report(65, boot="b2")
    assert w.sale.ticks == 95


def test_a_board_that_kept_its_register_loses_nothing():
    w = World()
    w.open()
    w.report(30)
    w.report(45, boot="b2", base=40)  # 10 ticks between the last report and the reset
    assert w.sale.ticks == 45 and w.grant() == 100


def test_a_register_that_goes_back_is_refused_and_changes_nothing():
    w = World()
    w.open()
    w.report(30)
    with pytest.raises(Implausible, match="went back from 30"):
        w.report(29)
    with pytest.raises(BadParam, match="under the base"):
        w.report(1, boot="b3", base=2)
    assert w.sale.ticks == 30 and w.meter.boot == "b1"


def test_a_register_faster_than_the_rating_is_refused():
    w = World({"rating_ticks_per_s": 10})
    w.now += 1000
    with pytest.raises(Implausible, match="rating of 10 ticks/s allows 60"):
        w.report(61)
    w.report(60)


def test_a_register_that_jumps_and_stays_there_does_not_mute_its_meter():
    """Noise on the sensor's line: the jump is not counted, the meter goes on, and a person is told."""
    w = jumped()
    w.report(5_000_003)
    assert (w.meter.count, w.sale.ticks, w.meter.register) == (20, 20, 5_000_003)
    (alarm,) = jumps_told(w)
    assert "jumped to 5000003" in alarm and alarm == views.meter_status(w.meter, w.sale, w.now, 3_000, 0, {}).fault
    assert [e.lost_ticks for e in w.seller_events if e.kind() == "register_jumped"] == [5_000_003 - 20]
    assert w.grant() == 5_000_003 + w.sale.grant_count - 20
    w.now += 1_000
    w.report(5_000_008)
    assert w.sale.ticks == 25
    w.restart_seller()
    w.report(5_000_010)
    assert w.sale.ticks == 27


def test_a_jump_that_a_good_reading_followed_is_over():
    w = World({"rating_ticks_per_s": 10})
    w.report(20)
    with pytest.raises(Implausible):
        w.report(5_000)
    for register in range(21, 26):
        w.now += 1_000
        w.report(register)
    with pytest.raises(Implausible):
        w.report(5_010)
    assert w.meter.count == 25 and not jumps_told(w)


def test_a_board_whose_register_jumped_and_that_starts_again_with_it_counts_on():
    w = jumped()
    w.report(5_000_004, boot="b2", base=5_000_000)
    assert w.sale.ticks == 24 and "jumped to 5000000" in jumps_told(w)[0]
    w.now += 1_000
    w.report(5_000_006, boot="b2", base=5_000_000)
    assert w.sale.ticks == 26


@pytest.mark.parametrize(("before", "after"), [(1_000, 50), (0, 50)])
def test_a_rating_that_is_changed_holds_from_then_on(before, after):
    w = World({"rating_ticks_per_s": before})
    register = 0
    for _ in range(60):
        w.now += 1_000
        register += 500
        w.report(register)
    w.sell(cmd.SetMeter(meter="m", tariff={"rating_ticks_per_s": after}))
    for _ in range(60):
        w.now += 1_000
        register += 1
        w.report(register)
    assert w.meter.count == register and not jumps_told(w)


@given(st.lists(st.tuples(st.sampled_from([0, 1, 5, 10, 11, 61, 400, 10**6]), st.sampled_from(["", "b"])), max_size=40))
def test_jumps_count_for_no_more_than_rose_and_than_the_rating_allows(steps):
    w = World({"rating_ticks_per_s": 10})
    register, base, boot, began = 0, 0, 0, w.now
    for rise, reset in steps:
        w.now += 1_000
        if reset:
            boot, base = boot + 1, register
        register += rise
        try:
            w.report(register, boot=f"r{boot}", base=base)
        except Implausible:
            assert rise > 10 or reset, "what flows at its rating is counted, whatever jumped before"
        assert w.meter.count <= register
        assert w.meter.count <= 10 * ((w.now - began) // 1000 + 5) * (1 + len(jumps_told(w)))


def test_a_silent_board_in_arrears_is_charged_what_it_reported():
    w = World(ARREARS)
    w.board_on = False
    w.open()
    w.report(10)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pass_ms(700_000, step=5_000)
    assert w.sale.charged_msat == 1_000 and w.purchase.paid_msat == 1_000


def test_the_sellers_downtime_is_not_the_boards_silence():
    w = World()
    w.board_on = False
    w.open()
    w.report(10)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    w.now += 601_000
    w.restart_seller()
    w.pass_ms(5_000)
    w.board_on = True
    w.report(10)
    w.report(10)
    assert w.receipts()[-1]["charged_msat"] == 1_000


def test_unplugged_with_a_grant_in_hand_is_not_yet_stopped():
    """A board that says so holds its grant through the unplug: it could go on when plugged in again."""
    w = World()
    w.board_on = False
    w.open()
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 50, 0, 0, False, 100)))
    w.now += 1
    assert w.sale.state in ("open", "ending") and w.grant() == 0
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 100, 0, 0, True, 100)))
    w.now += 1
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 100, 0, 0, True, 0)))
    w.pump()
    assert w.sale.state != "open" and w.sale.charged_msat == 10_000


def test_where_there_is_no_allowance_the_beginning_is_known_at_once():
    w = World()
    w.open()
    w.report(10)
    assert w.sale.start_count == 0 and "start_counted" not in [e.kind() for e in w.seller_events]


def test_without_an_allowance_a_reading_that_is_told_late_is_charged():
    """Nothing flows before the start: what was on its way for longer than the session is old is of it all the same."""
    w = World()
    w.open()
    w.now += 1_000
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 10, 0, age_ms=2_000)))
    assert (w.sale.ticks, w.sale.charged_msat) == (10, 1_000)


def test_a_payment_of_one_tick_starts_the_delivery():
    w = World({"quantum_msat": 100})
    w.open()
    assert (w.meter.state, w.grant()) == ("delivering", 1)


def test_no_credit_is_low_before_the_delivery_begins():
    """A seller that stopped right after it had given the meter away: its buyer is asked for the payment anyway."""
    w = World()
    w.open()
    del w.seller_events[[e.kind() for e in w.seller_events].index("session_opened") + 1 :]
    w.lose = lambda message: True
    w.restart_seller()
    w.report(0)
    assert w.meter.state == "negotiating" and w.sale.credit_msat == 0
    assert not [n for n in w.notes if n[0] == "meter_low"]


def test_a_meter_whose_session_has_not_begun_grants_its_allowance():
    w = World({"allowance_ticks": 50})
    tariff = w.meter.tariff.to_dict()
    w.seller.state.apply(
        selling.SessionOpened(
            at=w.now,
            subject=SESSION,
            meter="m",
            buyer=BUYER_ID,
            tariff=tariff,
            count=0,
            boot="b1",
            register=0,
            parked=False,
        )
    )
    assert (w.meter.state, w.grant()) == ("negotiating", 50)


def test_without_an_allowance_no_period_of_it_begins():
    w = World(limits=Limits(silent_ms=10**9))
    w.report(5)
    w.pass_ms(3_700_000, step=100_000)
    assert "allowance_begun" not in [e.kind() for e in w.seller_events]


def test_a_rating_is_held_against_what_was_counted_since():
    w = World({"rating_ticks_per_s": 10})
    for seconds, register in ((100, 1_000), (1, 1_010)):
        w.now += seconds * 1_000
        w.report(register)
    assert w.meter.count == 1_010


@pytest.mark.parametrize("boot", ["b1", "b2"])
def test_what_was_paid_for_and_never_counted_makes_no_allowance_larger(boot):
    """A board that has used 5 ticks of its allowance of 20 falls silent: the session is charged up to its grant.

    Its boot may report these 100 ticks, which were paid for; another boot counts anew, and has what is left: 15.
    """
    w = World({"allowance_ticks": 20, "allowance_period_s": 10**6})
    w.open()
    w.report(5)
    w.board_on = False
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    w.pass_ms(700_000, step=10_000)
    assert w.sale.charged_msat == 10_000 and w.meter.count == 5
    w.report(5 if boot == "b1" else 0, boot=boot)
    assert w.grant() == (5 + 100 + 15 if boot == "b1" else 15)
    w.report(w.grant(), boot=boot)
    assert w.meter.count == (120 if boot == "b1" else 20) and w.meter.allowance_used


def test_a_period_of_the_allowance_that_begins_meanwhile_leaves_out_what_was_paid_for():
    """A session began at 10 and was charged up to 110 unheard; its board reports 105: 5 paid ticks may follow."""
    w = World({"allowance_ticks": 20, "allowance_period_s": 60})
    w.report(10)
    w.open()
    w.board_on = False
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    w.pass_ms(700_000, step=10_000)
    assert (w.sale.start_count, w.sale.charged_msat, w.meter.count) == (10, 10_000, 10)
    w.report(105)
    assert "allowance_begun" in [e.kind() for e in w.seller_events] and w.grant() == 110 + 20
    w.report(0, boot="b2")
    assert w.grant() == 20


# --- who has paid, and neither uses nor pays anything more


def idle(w, minutes):
    """Time passes; the board is heard, and nothing flows."""
    for _ in range(minutes):
        w.now += 60_000
        w.sell(cmd.Report(meter="m", reading=Reading("b1", w.meter.register, grant=w.grant())))
        w.sell(cmd.Tick())
        w.pump()


def test_a_buyer_that_paid_used_nothing_and_is_gone_makes_room_after_ten_minutes():
    w = World()
    w.open()
    w.report(0)
    w.sell(cmd.PeerLost(peer=BUYER_ID))
    idle(w, 9)
    assert w.meter.session == SESSION
    idle(w, 2)
    assert w.meter.state == "standby"  # free, and locked for nobody
    assert (w.receipts()[-1]["charged_msat"], w.receipts()[-1]["refunded_msat"]) == (0, 10_000)


def test_a_buyer_that_is_there_and_has_paid_keeps_the_meter_however_seldom_it_uses_it():
    w = World()
    w.open()
    w.report(0)
    idle(w, 24 * 60)
    assert w.meter.session == SESSION and w.meter.state == "delivering"
    w.sell(cmd.PeerLost(peer=BUYER_ID))
    idle(w, 5)
    w.sell(cmd.PeerConnected(peer=BUYER_ID))
    idle(w, 60)
    assert w.meter.session == SESSION


def test_with_a_tick_left_an_unpaid_invoice_ends_what_uses_nothing():
    w = World()
    w.open()
    w.hold = {do.Pay}
    w.report(99)
    idle(w, 9)
    assert w.meter.session == SESSION
    idle(w, 2)
    assert w.meter.state == "standby" and w.seller.state.sessions[SESSION].charged_msat == 9_900


def test_what_uses_little_or_is_used_by_a_gate_is_not_idle():
    w = World()
    w.open()
    w.report(0)
    w.sell(cmd.PeerLost(peer=BUYER_ID))
    for register in range(1, 10):
        idle(w, 9)
        w.report(register)
    for n in range(5):
        idle(w, 9)
        w.sell(cmd.Spend(session=SESSION, id=f"g{n}", step="reserve", amount_msat=100))
        w.sell(cmd.Spend(session=SESSION, id=f"g{n}", step="settle"))
    assert w.meter.session == SESSION


def test_a_buyer_that_does_not_come_back_after_a_restart_makes_room_too():
    w = World({"low_water_msat": 0})
    w.open()
    w.report(10)
    w.lose = lambda message: True
    w.restart_seller()
    w.report(10)
    w.pass_ms(590_000, step=5_000)
    assert w.sale.open
    w.pass_ms(20_000, step=5_000)
    w.report(10)
    assert not w.sale.open and w.sale.owed_msat == 9_000


def test_a_buyer_that_is_heard_after_a_restart_is_not_gone():
    w = World({"low_water_msat": 0})
    w.open()
    w.report(10)
    w.restart_seller()
    w.sell(cmd.PeerConnected(peer=BUYER_ID))
    w.pass_ms(700_000, step=5_000)
    w.report(10)
    assert w.sale.open and w.sale.credit_msat == 9_000


@pytest.mark.parametrize("expiry_s", [20, 250, 600])
def test_a_buyer_that_lets_its_invoices_expire_is_late_all_the_same(expiry_s):
    """Prepaid, idle and not paying: ten minutes, however soon its invoices expire and are asked for anew."""
    w = World({"invoice_expiry_s": expiry_s})
    w.open()
    w.hold = {do.Pay}
    w.report(80)
    w.pass_ms(640_000, step=5_000)
    w.report(80)
    assert not w.sale.open and "does not pay" in w.sale.reason


@pytest.mark.parametrize("expiry_s", [20, 600])
def test_in_arrears_an_invoice_that_expires_gives_no_new_grace_time(expiry_s):
    w = World(ARREARS | {"invoice_expiry_s": expiry_s, "grace_s": 60})
    w.open()
    w.hold = {do.Pay}
    w.report(111)
    assert w.sale.out
    w.pass_ms(70_000, step=1_000)
    w.report(111)
    assert not w.sale.open and w.sale.reason == "not paid in time"


def test_a_wallet_that_uses_nothing_makes_room_for_a_buyer_after_ten_minutes():
    """Nothing ends while nobody else asks; what is left is given back to the wallet."""
    w = World()
    label, bearer = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=1_000))
    w.pump()
    assert w.pay(label)
    w.pump()
    for _ in range(11):
        w.open()
        assert [e.code for e in w.sent if isinstance(e, msg.Error)][-1] == MeterTaken.code
        assert w.seller.state.sessions[bearer].open
        w.pass_ms(55_000, step=5_000)
        w.report(0)
    w.open()
    left = w.seller.state.sessions[bearer]
    assert not left.open and left.owed_msat == 1_000
    w.report(0)
    w.open("0d" * 16)
    assert w.seller.state.sessions["0d" * 16].open


def test_a_wallet_that_uses_its_credit_keeps_the_meter():
    w = World()
    label, bearer = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=10_000))
    w.pump()
    w.pay(label)
    w.pump()
    for n in range(1, 25):
        w.report(n)
        w.pass_ms(300_000, step=5_000)
    w.open()
    assert w.seller.state.sessions[bearer].open
