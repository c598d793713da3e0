"""Credit that a gate reserves, settles and releases.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import pytest
from world import OTHER, SESSION, World

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core.errors import (
    BadParam,
    NoCredit,
    TooMany,
    WrongState,
)
from satmeter.core.reading import Reading
from satmeter.core.seller.state import SellerState
from satmeter.core.snapshot import dated_back


def test_a_gate_reserves_settles_and_releases():
    w = World()
    w.open()
    w.sell(cmd.Spend(session=SESSION, id="g1", step="reserve", amount_msat=4_000))
    assert (w.sale.credit_msat, w.grant()) == (6_000, 60)
    w.sell(cmd.Spend(session=SESSION, id="g1", step="reserve", amount_msat=4_000))
    assert w.sale.reserved_msat == 4_000
    with pytest.raises(NoCredit, match="6001 msat asked, the credit is 6000"):
        w.sell(cmd.Spend(session=SESSION, id="g2", step="reserve", amount_msat=6_001))
    w.sell(cmd.Spend(session=SESSION, id="g1", step="settle", amount_msat=3_000))
    w.sell(cmd.Spend(session=SESSION, id="g1", step="settle", amount_msat=3_000))
    assert (w.sale.spent_msat, w.sale.reserved_msat) == (3_000, 0)
    w.sell(cmd.Spend(session=SESSION, id="g3", step="reserve", amount_msat=1_000))
    w.sell(cmd.Spend(session=SESSION, id="g3", step="release", amount_msat=0))
    with pytest.raises(NoCredit):
        w.sell(cmd.Spend(session=SESSION, id="g4", step="settle", amount_msat=0))
    with pytest.raises(BadParam, match="step: must be"):
        w.sell(cmd.Spend(session=SESSION, id="g4", step="steal", amount_msat=1))
    assert w.sale.charged_msat == 3_000


def test_a_gate_is_confirmed_only_when_the_board_has_let_go():
    w = World()
    w.board_on = False
    w.open()
    w.hold = {do.Pay}
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 0, 0, 0, True, 100)))
    s = w.sell(cmd.Spend(session=SESSION, id="g", step="reserve", amount_msat=6_000))
    assert not w.seller.confirmed(s)
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 20, 0, 0, True, 40)))
    assert w.seller.confirmed(s) and w.grant() == 40


def test_a_gate_gives_way_to_what_the_board_used_before_it_knew():
    w = World()
    w.board_on = False
    w.open()
    w.hold = {do.Pay}
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 0, 0, 0, True, 100)))
    w.sell(cmd.Spend(session=SESSION, id="g", step="reserve", amount_msat=6_000))
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 90, 0, 0, True, 40)))
    with pytest.raises(NoCredit, match="had used the credit"):
        w.sell(cmd.Spend(session=SESSION, id="g", step="reserve", amount_msat=6_000))
    assert w.sale.charged_msat == 9_000 and not w.sale.reserved_msat


def test_an_ending_session_waits_for_its_gates_and_takes_no_new_ones():
    w = World()
    w.open()
    w.sell(cmd.Spend(session=SESSION, id="g", step="reserve", amount_msat=4_000))
    w.sell(cmd.CloseSession(session=SESSION))
    w.pump()
    with pytest.raises(WrongState, match="ending"):
        w.sell(cmd.Spend(session=SESSION, id="h", step="reserve", amount_msat=1_000))
    w.report(0)
    assert w.sale.state in ("open", "ending")
    w.sell(cmd.Spend(session=SESSION, id="g", step="settle"))
    w.report(0)
    assert w.sale.state != "open" and w.sale.charged_msat == 4_000


def test_a_gate_that_died_holds_nothing_for_good():
    w = World()
    w.open()
    w.sell(cmd.Spend(session=SESSION, id="g", step="reserve", amount_msat=10_000))
    w.hold = {do.Pay}
    w.pass_ms(700_000, step=5_000)
    assert w.sale.reserved_msat == 0
    w.sell(cmd.CloseSession(session=SESSION))
    w.report(0)
    assert w.sale.state != "open"


def test_a_gate_that_holds_all_credit_for_longer_than_the_grace_time_ends_no_session():
    """The grace time begins when the gate is done: only then can its buyer be late."""
    w = World()
    w.open(max_spend_msat=10_000)
    w.hold = {do.Pay}
    w.sell(cmd.Spend(session=SESSION, id="g", step="reserve", amount_msat=10_000))
    w.pass_ms(25_000, step=500)
    assert w.meter.state == "suspended"
    w.sell(cmd.Spend(session=SESSION, id="g", step="settle"))
    w.pass_ms(w.sale.tariff.grace_s * 1_000 - 1_000, step=500)
    assert (w.sale.state, w.meter.state) == ("open", "suspended")
    w.pass_ms(2_000, step=500)
    assert (w.sale.state, w.sale.reason) == ("closed", "credit used up") and w.sale.charged_msat == 10_000


def test_a_gate_that_holds_less_than_a_tick_keeps_no_meter_that_is_not_paid_for():
    """The session takes no reservation more, and ends when those that it has are over."""
    w = World()
    w.open(max_spend_msat=10_000)
    w.hold = {do.Pay}
    w.sell(cmd.Spend(session=SESSION, id="g", step="reserve", amount_msat=9_950))
    w.sell(cmd.Spend(session=SESSION, id="g", step="settle"))
    w.sell(cmd.Spend(session=SESSION, id="dust", step="reserve", amount_msat=50))
    w.pass_ms(w.sale.tariff.grace_s * 1_000 + 1_000, step=500)
    assert w.sale.reason == "credit used up" and w.sale.open
    with pytest.raises(WrongState, match="ending"):
        w.sell(cmd.Spend(session=SESSION, id="more", step="reserve", amount_msat=1))
    w.sell(cmd.Spend(session=SESSION, id="dust", step="settle"))
    w.report(0)
    assert not w.sale.open and w.sale.charged_msat == 10_000


def test_reservations_are_bounded():
    w = World()
    w.open()
    for n in range(1_000):
        w.sell(cmd.Spend(session=SESSION, id=f"g{n}", step="reserve", amount_msat=1))
    with pytest.raises(TooMany):
        w.sell(cmd.Spend(session=SESSION, id="more", step="reserve", amount_msat=1))


def test_a_board_that_does_not_say_what_it_holds_knows_of_a_reservation_by_the_answer_to_a_report():
    w = World()
    w.open()
    w.report(10)
    w.sell(cmd.Spend(session=SESSION, id="g", step="reserve", amount_msat=2_000))
    assert w.meter.memory.grant_held is None and not w.seller.confirmed(w.sale)
    w.now += 1
    w.report(12)  # it is answered with the smaller grant
    assert not w.seller.confirmed(w.sale)
    w.now += 1
    w.report(14)
    assert w.seller.confirmed(w.sale)


@pytest.mark.parametrize("grant", [100, None])
def test_a_board_that_was_not_heard_since_a_restart_has_confirmed_nothing(grant):
    w = World()
    w.open()
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 0, 0, 0, True, grant)))
    w.restart_seller()
    w.now += 10
    w.sell(cmd.Spend(session=SESSION, id="g", step="reserve", amount_msat=10_000))
    assert not w.seller.confirmed(w.sale)
    w.now += 10
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 0, 0, 0, True, 100)))
    assert not w.seller.confirmed(w.sale)  # it still has the grant of before
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 0, 0, 0, True, 0)))
    assert w.seller.confirmed(w.sale)


def test_a_board_that_does_not_say_what_it_holds_has_stopped_once_it_was_told_to():
    w = World()
    w.open()
    w.board_on = False
    w.report(10)
    w.sell(cmd.CloseSession(session=SESSION))
    w.now += 1
    w.report(40)  # on the grant of before
    assert w.sale.state == "ending" and w.grant() == 0
    w.now += 1
    w.report(45)
    assert w.sale.charged_msat == 4_500 and w.sale.state != "ending"


def test_what_a_removed_meters_session_had_reserved_is_confirmed():
    w = World()
    w.open()
    w.channel_can_refund = False
    w.report(20)
    w.report(20, plugged=False)
    session = w.seller.state.sessions[SESSION]
    w.sell(cmd.RemoveMeter(meter="m"))
    assert w.seller.confirmed(session)


def test_a_gate_that_died_gets_nothing_held_by_another_that_goes_on():
    w = World()
    w.open()
    w.sell(cmd.Spend(session=SESSION, id="dead", step="reserve", amount_msat=4_000))
    for n in range(30):
        w.now += 60_000
        w.sell(cmd.Spend(session=SESSION, id=f"alive{n}", step="reserve", amount_msat=100))
        w.sell(cmd.Spend(session=SESSION, id=f"alive{n}", step="settle", amount_msat=0))
        w.sell(cmd.Tick())
    assert not w.sale.reserved_msat


def test_a_clock_that_was_ahead_holds_no_reservation_up():
    w = World()
    w.open()
    w.sell(cmd.Spend(session=SESSION, id="dead", step="reserve", amount_msat=4_000))
    state = SellerState()
    state.load(dated_back(w.seller.state.dump(), lambda at: min(at, 7)))
    assert state.sessions[SESSION].reserved_since == {"dead": 7} and state.sessions[SESSION].reserved_at == 7


def test_what_an_ended_session_had_reserved_is_confirmed_whatever_the_board_holds_for_the_next_one():
    w = World()
    w.open()
    w.sell(cmd.Spend(session=SESSION, id="g", step="reserve", amount_msat=1_000))
    w.sell(cmd.Spend(session=SESSION, id="g", step="settle"))
    w.report(20)
    w.report(20, plugged=False)
    w.report(20)
    w.open(session=OTHER)
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 20, 0, 0, True, 120)))
    ended = w.sell(cmd.Spend(session=SESSION, id="g", step="reserve", amount_msat=1_000))  # said again, and done before
    assert w.meter.session == OTHER and not ended.open and w.seller.confirmed(ended)


def test_of_what_a_gate_took_whole_no_tick_is_charged():
    """The board used 20 ticks before it learned of the reservation: they are the seller's loss."""
    w = World()
    w.board_on = False
    w.open()
    w.hold = {do.Pay}
    w.sell(cmd.Spend(session=SESSION, id="g", step="reserve", amount_msat=10_000))
    w.report(20)
    assert (w.sale.charged_msat, w.sale.credit_msat) == (0, 0)
    w.sell(cmd.Spend(session=SESSION, id="g", step="settle"))
    assert (w.sale.charged_msat, w.sale.credit_msat) == (10_000, 0)
