"""Whole sessions between the two cores: modes, states, refunds, crashes. Figures are worked out by hand.

The tariff is 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat: 100 ticks.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import BUYER_ID, SELLER_ID, SESSION, World, first_label, invoice_received

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.errors import (
    BadParam,
    Implausible,
    LockedOut,
    MeterTaken,
    NameTaken,
    NoCredit,
    OverCap,
    TooMany,
    UnknownMeter,
    WrongState,
)
from satmeter.core.labels import wallet_label
from satmeter.core.seller import views
from satmeter.core.seller.context import Limits

OTHER = "0f" * 16


def identity(r):
    return r["paid_msat"] + r["debt_msat"] == (
        r["charged_msat"] + r["refunded_msat"] + r["lapsed_msat"] + r["owed_msat"]
    )


# --- prepaid


def test_a_stream_from_open_to_receipt():
    w = World()
    w.open()
    assert (w.meter.state, w.grant(), w.sale.credit_msat) == ("delivering", 100, 10_000)
    for register in range(0, 301, 10):
        w.report(register)
        assert w.sale.credit_msat + w.sale.out_msat <= 10_000
        assert w.meter.state == "delivering"
    w.buy(cmd.CloseStream(SESSION))
    w.pump()
    (receipt,) = w.receipts()
    assert (receipt["ticks"], receipt["charged_msat"], receipt["owed_msat"]) == (300, 30_000, 0)
    assert receipt["paid_msat"] - receipt["refunded_msat"] == 30_000 and identity(receipt)
    assert w.balance == 30_000
    assert w.purchase.closing.verified and w.purchase.closing.why == "" and w.purchase.paid_msat == receipt["paid_msat"]
    assert w.meter.state == "standby" and w.grant() == 0


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


def test_a_window_of_four_at_the_same_exposure():
    w = World({"window": 4})
    w.hold = {do.Pay}
    w.open()
    assert w.first().out == {1: 2_500} and w.grant() == 0  # the first payment takes the meter
    w.perform(*w.todo.popleft())
    w.pump()
    assert sorted(w.sale.out.values()) == [2_500] * 3 and w.grant() == 25
    w.hold = set()
    w.pump()
    assert w.sale.credit_msat == 10_000 and not w.sale.out
    w.report(25)
    assert w.sale.received_msat == 12_500
    w.report(24 + 26)
    assert w.sale.credit_msat + w.sale.out_msat <= 10_000


def test_suspended_then_paid_goes_on():
    w = World()
    w.open()
    w.hold = {do.Pay}
    w.report(100)
    assert (w.meter.state, w.grant()) == ("suspended", 100)
    w.hold = set()
    w.pump()
    assert (w.meter.state, w.grant()) == ("delivering", 200)


def test_non_payment_locks_buyer_and_plug_and_a_new_node_does_not_evade_it():
    w = World()
    w.open()
    w.hold = {do.Pay}
    w.report(100)
    w.pass_ms(30_000)
    assert w.meter.state == "lockout" and w.grant() == 0
    w.sell(cmd.FromPeer("02" + "cc" * 32, msg.Open(OTHER, 1, "m")))
    assert [a.message.code for _, a in w.todo if isinstance(a, do.Send)] == [LockedOut.code]
    w.sell(cmd.AddMeter("m2", w.meter.tariff.to_dict()))
    w.sell(cmd.Reading("m2", "b2", 0))
    w.sell(cmd.FromPeer(BUYER_ID, msg.Open(OTHER, 1, "m2")))  # the buyer is locked out everywhere
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
    w.sell(cmd.CloseSession(SESSION))
    w.pump()
    assert w.receipts()[0]["refunded_msat"] == 9_000 and w.purchase.state == "closed"
    with pytest.raises(WrongState):
        w.sell(cmd.CloseSession(SESSION))


def test_the_longest_session():
    w = World({"session_max_s": 60, "session_max_msat": 12_000})
    w.open()
    w.report(90)
    assert w.sale.received_msat == 12_000  # the second invoice is cut to what is left of the most
    w.pass_ms(60_000)
    assert w.receipts()[-1]["reason"] == "the longest time of a session is over"


def test_an_overshoot_past_the_grant_is_the_sellers():
    w = World()
    w.open()
    w.hold = {do.Pay}
    w.report(107)  # the board's last sample passed its grant of 100
    assert (w.sale.charged_msat, w.sale.credit_msat) == (10_000, 0)
    w.hold = set()
    w.pump()
    assert w.sale.charged_msat == 10_700  # goes on: the whole difference counts, rounded once


# --- exactly once


def test_a_payment_counts_once():
    w = World()
    w.open()
    settled = cmd.InvoiceSettled(f"satmeter/0/s/{SESSION}/1", 10_000, 1, "h")
    assert w.sell(settled) is False
    w.restart_seller()
    assert w.sell(settled) is False
    assert w.sale.received_msat == 10_000


def test_an_overpayment_is_credited_in_full():
    w = World()
    w.hold = {do.Pay}
    w.open()
    w.pay(first_label(), amount=19_999)
    assert w.sale.credit_msat == 19_999 and w.grant() == 199


def test_a_superseded_invoice_that_settles_all_the_same_is_refunded():
    w = World()
    w.open()
    w.hold = {do.Pay, do.CancelInvoice}
    w.report(80)
    (label,) = w.unpaid()
    w.sell(cmd.CloseSession(SESSION))
    w.pump()
    assert w.seller.rejects(label, w.now)
    w.pay(label, hook=False)
    w.hold = set()
    w.pass_ms(40_000)
    assert w.receipts()[-1]["refunded_msat"] == 2_000 + 8_000 and identity(w.receipts()[-1])


def test_the_hook_rejects_what_can_not_be_delivered_and_lets_other_labels_pass():
    w = World(limits=Limits(silent_ms=15_000))
    w.hold = {do.Pay}
    w.open()
    label = first_label()
    assert w.seller.rejects(label, w.now) == ""
    assert w.seller.rejects(first_label(meter="other"), w.now) == "the meter is gone"
    assert w.seller.rejects(first_label(journal="1"), w.now) == "the invoice is of another journal"
    assert w.seller.rejects(label, w.now + 15_001) == "the board is silent"
    assert w.seller.rejects("somebody's own", w.now) == ""
    assert w.seller.rejects(f"satmeter/0/s/{OTHER}/1", w.now) == "the session is closed"
    w.hold = set()
    w.pump()
    assert w.seller.rejects(label, w.now) == "the invoice is superseded"
    assert w.seller.rejects(f"satmeter/0/s/{SESSION}/2", w.now) == "the invoice is superseded"
    assert w.seller.rejects("satmeter/0/m/m/9", w.now)
    assert w.seller.rejects(f"satmeter/1/s/{SESSION}/1", w.now) == "the invoice is of another journal"


# --- any wallet


def bearer(w, amount=0):
    label, session = w.sell(cmd.MakeWalletInvoice("m", amount))
    w.pump()
    return label, session


def test_a_plain_wallet_gets_its_quantum_and_the_rest_stays_on_the_meter():
    w = World({"remainder_s": 3600})
    label, session = bearer(w)
    assert w.pay(label)
    w.pump()
    assert (w.meter.state, w.grant()) == ("delivering", 100)
    w.report(40)
    w.report(40, plugged=False)
    assert w.receipts()[-1]["owed_msat"] == 6_000
    w.report(40)
    second, _ = bearer(w)
    w.pay(second)
    w.pump()
    assert w.seller.state.sessions[w.meter.session].credit_msat == 16_000
    first = [r for r in w.receipts() if r["session"] == session][-1]
    assert first["refunded_msat"] == 6_000 and first["owed_msat"] == 0 and identity(first)


def test_used_up_it_stops_and_frees_the_meter_without_lockout():
    w = World()
    label, _ = bearer(w)
    w.pay(label)
    w.report(100)
    assert (w.meter.state, w.grant()) == ("suspended", 100)
    w.pass_ms(31_000)
    assert w.meter.state == "standby" and w.receipts()[-1]["charged_msat"] == 10_000


def test_a_remainder_lapses_after_its_stated_time():
    w = World({"remainder_s": 100})
    label, _ = bearer(w)
    w.pay(label)
    w.report(40)
    w.report(40, plugged=False)
    w.pass_ms(101_000, step=1000)
    last = w.receipts()[-1]
    assert (last["lapsed_msat"], last["owed_msat"]) == (6_000, 0) and identity(last)


def test_a_wallet_that_pays_a_taken_meter_is_rejected_and_fails_open_into_a_remainder():
    w = World()
    label, session = bearer(w)
    w.open()
    assert w.seller.rejects(label, w.now) == "another session has the meter"
    w.pay(label, hook=False)
    w.pump()
    assert w.meter.session == SESSION
    assert [r["owed_msat"] for r in w.receipts() if r["session"] == session] == [10_000]


def test_offers_are_bounded():
    w = World(limits=Limits(silent_ms=10**9, wallet_invoices_per_meter=2))
    bearer(w), bearer(w)
    with pytest.raises(TooMany):
        w.sell(cmd.MakeWalletInvoice("m", 0))
    for bad in (10_001, 99):
        with pytest.raises(BadParam, match="amount_msat: must be from 100"):
            w.sell(cmd.MakeWalletInvoice("m", bad))
    w.invoices[wallet_label("0", "m", 1)][1] = "gone"
    w.pass_ms(602_000, step=1000)
    assert list(w.meter.wallet_invoices) == [2]


# --- arrears

ARREARS = {"mode": "arrears", "limit_msat": 20_000, "window": 4}


def test_arrears_deliver_first_and_invoice_what_is_used():
    w = World(ARREARS)
    w.open()
    assert (w.meter.state, w.grant()) == ("delivering", 200)
    w.report(24)
    assert w.sale.received_msat == 0 and w.sale.debt_msat == 2_400
    w.report(25)
    assert w.sale.received_msat == 2_500 and w.grant() == 225
    w.report(41)
    w.buy(cmd.CloseStream(SESSION))
    w.pump()
    (receipt,) = w.receipts()
    assert (receipt["paid_msat"], receipt["charged_msat"], receipt["debt_msat"]) == (4_100, 4_100, 0)
    assert w.purchase.closing.verified and not w.purchase.closing.why


def test_arrears_stop_at_the_limit_lock_and_are_lifted_by_paying_the_debt():
    w = World(ARREARS)
    w.open()
    w.hold = {do.Pay}
    w.report(203)  # a sample past the limit
    assert (w.meter.state, w.sale.debt_msat) == ("suspended", 20_000)
    w.pass_ms(30_500)
    assert w.sale.state == "closing"
    assert w.meter.state == "lockout"
    w.sell(cmd.FromPeer(BUYER_ID, msg.Open(OTHER, 1, "m")))
    w.hold = set()
    w.pass_ms(5_000)
    assert w.sale.debt_msat == 0 and w.meter.state == "standby"
    assert w.receipts()[-1]["paid_msat"] == 20_000 and identity(w.receipts()[-1])


def test_a_debt_can_be_paid_after_the_receipt_and_then_the_buyer_is_served_again():
    w = World({**ARREARS, "lockout_s": 5, "grace_s": 5})
    w.open()
    w.hold = {do.Pay}
    w.report(20)
    w.buy(cmd.CloseStream(SESSION))
    w.pump()
    w.fail = 100
    w.hold = set()
    w.pass_ms(30_000)
    assert w.receipts()[-1]["debt_msat"] == 2_000 and w.purchase.state == "closed" and w.purchase.debt_msat == 2_000
    w.fail = 0
    w.pass_ms(130_000, step=1000)
    assert w.receipts()[-1]["debt_msat"] == 0 and w.receipts()[-1]["paid_msat"] == 2_000
    assert not w.purchase.debt_msat
    w.open(session=OTHER)
    assert w.buyer.state.streams[OTHER].state == "streaming"


# --- refunds


def test_what_the_channel_can_not_carry_stays_owed_and_is_paid_on_reconnect():
    w = World()
    w.channel_can_refund = False
    w.open()
    w.report(30)
    w.buy(cmd.CloseStream(SESSION))
    w.pump()
    assert w.receipts()[-1]["owed_msat"] == 7_000 and identity(w.receipts()[-1])
    assert "reserve" in w.sale.refund.why
    w.channel_can_refund = True
    w.now += 60_000
    w.sell(cmd.PeerConnected(BUYER_ID))
    w.pump()
    assert (w.receipts()[-1]["owed_msat"], w.receipts()[-1]["refunded_msat"]) == (0, 7_000)
    assert w.purchase.closing.owed_msat == 0 and w.balance == 3_000


def test_what_is_owed_is_credit_in_the_same_buyers_next_session():
    w = World()
    w.channel_can_refund = False
    w.open()
    w.report(30)
    w.buy(cmd.CloseStream(SESSION))
    w.pump()
    w.open(session=OTHER)
    new = w.seller.state.sessions[OTHER]
    assert (new.brought_msat, new.paid_msat, w.meter.state) == (7_000, 0, "delivering")
    assert [r["refunded_msat"] for r in w.receipts() if r["session"] == SESSION][-1] == 7_000
    assert w.buyer.state.streams[OTHER].carried_msat == 7_000
    w.buy(cmd.CloseStream(OTHER))
    w.pump()
    last = w.receipts()[-1]
    assert (last["paid_msat"], last["carried_in_msat"], last["owed_msat"]) == (7_000, 7_000, 7_000)


# --- gates


def test_a_gate_reserves_settles_and_releases():
    w = World()
    w.open()
    w.sell(cmd.Spend(SESSION, "g1", "reserve", 4_000))
    assert (w.sale.credit_msat, w.grant()) == (6_000, 60)
    w.sell(cmd.Spend(SESSION, "g1", "reserve", 4_000))
    assert w.sale.reserved_msat == 4_000
    with pytest.raises(NoCredit, match="6001 msat asked, the credit is 6000"):
        w.sell(cmd.Spend(SESSION, "g2", "reserve", 6_001))
    w.sell(cmd.Spend(SESSION, "g1", "settle", 3_000))
    w.sell(cmd.Spend(SESSION, "g1", "settle", 3_000))
    assert (w.sale.spent_msat, w.sale.reserved_msat) == (3_000, 0)
    w.sell(cmd.Spend(SESSION, "g3", "reserve", 1_000))
    w.sell(cmd.Spend(SESSION, "g3", "release", 0))
    with pytest.raises(NoCredit):
        w.sell(cmd.Spend(SESSION, "g4", "settle", 0))
    with pytest.raises(BadParam, match="step: must be"):
        w.sell(cmd.Spend(SESSION, "g4", "steal", 1))
    assert w.sale.charged_msat == 3_000


def test_the_buyer_allows_spending_beyond_the_register_only_up_to_its_cap():
    for cap, refused in ((0, True), (9_000, False)):
        w = World()
        w.open(max_spend_msat=cap)
        w.sell(cmd.Spend(SESSION, "g1", "reserve", 9_000))
        w.sell(cmd.Spend(SESSION, "g1", "settle", 9_000))
        w.pump()
        assert bool(w.purchase.refusals) == refused


# --- boards


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


def test_a_register_that_jumps_and_stays_there_does_not_mute_its_meter():
    """Noise on the sensor's line: the jump is not counted, the meter goes on, and a person is told."""
    w = jumped()
    w.report(5_000_003)
    assert (w.meter.count, w.sale.ticks, w.meter.register) == (20, 20, 5_000_003)
    (alarm,) = jumps_told(w)
    assert "jumped to 5000003" in alarm and alarm == views.meter_status(w.meter, w.sale, w.now, 3_000, 0).fault
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
    w.sell(cmd.SetMeter("m", {"rating_ticks_per_s": after}))
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


@pytest.mark.parametrize("code", [0, 2113, 2158])
def test_a_seller_is_not_taken_for_somebody_who_was_not_there_or_for_our_own_cap(code):
    w = World()
    w.lose = lambda message: True
    w.open()
    w.buy(cmd.FromPeer(SELLER_ID, msg.Error(SESSION, w.now, msg.SELLER, code, "no")))
    assert (w.purchase.closing.code, w.purchase.closing.why) == (2155, "Refused: no")


# --- the end, and a board that is not heard


def test_the_charge_is_final_only_when_the_board_has_stopped():
    """A buyer who cuts the line to the board and closes does not get what the board goes on to deliver."""
    w = World()
    w.open()
    w.report(20)
    w.board_on = False
    w.buy(cmd.CloseStream(SESSION))
    w.pump()
    assert w.sale.state == "ending" and w.grant() == 0 and not w.receipts() and w.balance == 10_000
    w.sell(cmd.Reading("m", "b1", 57, 0, 0, True, 100))  # it had not heard of the end yet
    w.pump()
    assert w.sale.state == "ending"
    w.now += 1
    w.sell(cmd.Reading("m", "b1", 61, 0, 0, True, 0))
    w.pump()
    assert (w.receipts()[-1]["charged_msat"], w.receipts()[-1]["refunded_msat"]) == (6_100, 3_900)
    assert w.purchase.closing.verified and not w.purchase.closing.why


def test_a_board_that_is_never_heard_again_is_taken_to_have_delivered_its_grant():
    w = World(limits=Limits(silent_ms=15_000, unheard_ms=60_000))
    w.open()
    w.report(20)
    w.board_on = False
    w.buy(cmd.CloseStream(SESSION))
    w.restart_seller()
    w.pass_ms(70_000, step=1000)
    (receipt,) = w.receipts()
    assert (receipt["ticks"], receipt["charged_msat"], receipt["owed_msat"]) == (100, 10_000, 0)
    assert "not heard" in receipt["reason"] and w.purchase.closing.verified and not w.purchase.closing.why
    w.report(90)  # it comes back and goes on in its own numbers
    assert w.meter.count == 90 and w.meter.state == "standby"


def test_nothing_is_invoiced_or_taken_for_a_session_that_is_ending():
    w = World()
    w.open()
    w.board_on = False
    w.sell(cmd.CloseSession(SESSION))
    assert w.sale.next_amount() == 0
    with pytest.raises(WrongState, match="ending already"):
        w.sell(cmd.CloseSession(SESSION))


# --- meters


def test_meters_are_added_changed_and_removed():
    w = World()
    with pytest.raises(NameTaken):
        w.sell(cmd.AddMeter("m", w.meter.tariff.to_dict()))
    with pytest.raises(UnknownMeter, match="there are: m"):
        w.sell(cmd.SetMeter("x", {}))
    w.open()
    w.sell(cmd.SetMeter("m", {"price_msat": 2000}))
    assert w.meter.tariff.price_msat == 2000 and w.sale.tariff.price_msat == 1000
    with pytest.raises(WrongState, match="only a meter in standby"):
        w.sell(cmd.RemoveMeter("m"))
    w.report(0, plugged=False)
    w.sell(cmd.RemoveMeter("m"))
    assert not w.seller.state.meters


def test_a_second_session_on_a_taken_meter_is_refused_and_reserves_nothing():
    w = World()
    w.open()
    w.sell(cmd.FromPeer("02" + "cc" * 32, msg.Open(OTHER, 1, "m")))
    assert [a.message.code for _, a in w.todo if isinstance(a, do.Send)] == [MeterTaken.code]
    assert OTHER not in w.seller.state.sessions


def test_another_node_can_not_touch_a_session():
    w = World()
    w.open()
    w.sell(cmd.FromPeer("02" + "cc" * 32, msg.Close(SESSION, 1, "buyer", "mine now", 0, "refund:thief")))
    assert w.sale.state == "open" and not w.sale.refund.bolt11


# --- the buyer's policy


def invoice_from_hostile_seller(w, amount=2_000, ticks=20, charged=None, n=9, bolt11=None, paid=0):
    charged = ticks * 100 if charged is None else charged
    text = bolt11 or f"inv:x:{amount}"
    w.buy(w.received(msg.Invoice(SESSION, w.now + 1000, n, amount, text, ticks, charged, paid)))
    w.pump()


@pytest.mark.parametrize(
    ("invoice", "why"),
    [
        ({"amount": 10_001}, "at most 10000 was agreed"),
        ({"amount": 2_001}, "the quantum is 10000"),
        ({"ticks": 9_999, "amount": 10_000}, "the rating allows"),
        ({"charged": 9_000}, "charged beyond the register"),
        ({"amount": 1_500, "bolt11": "inv:x:1600"}, "its message says 1500"),
    ],
)
def test_an_invoice_that_breaks_the_terms_is_refused_with_its_evidence(invoice, why):
    w = World({"rating_ticks_per_s": 100})
    w.open()
    paid = w.purchase.paid_msat
    invoice_from_hostile_seller(w, **invoice)
    assert why in w.purchase.refusals[-1].why
    assert w.purchase.paid_msat == paid and w.purchase.state in ("closing", "closed")
    assert "inv:x" in str(w.purchase.refusals[-1].evidence)


def test_a_register_that_goes_back_is_a_breach():
    w = World()
    w.open()
    w.report(80)
    w.report(80)
    assert w.purchase.ticks == 80
    invoice_from_hostile_seller(w, amount=100, ticks=79)
    assert "went back from 80 to 79" in w.purchase.refusals[-1].why


def test_an_invoice_of_another_node_is_not_paid():
    w = World()
    w.lose = lambda message: isinstance(message, msg.Invoice)
    w.open()
    message = next(m for m in w.sent if isinstance(m, msg.Invoice))
    w.buy(invoice_received(message, 10_000, "h", w.now + 1000, payee="02" + "ee" * 32))
    assert "not the seller" in w.purchase.refusals[-1].why and not w.purchase.in_flight


def test_what_is_paid_is_the_very_invoice_that_was_checked():
    """Two invoices under one number: what was found in the first must not let the second through."""
    w = World()
    w.lose = lambda message: isinstance(message, msg.Invoice)
    w.open()
    w.hold = {do.Pay}
    good = next(m for m in w.sent if isinstance(m, msg.Invoice))
    evil = msg.Invoice(SESSION, good.seq + 1, 1, good.amount_msat, "inv:evil:99999999", 0, 0, 0)
    w.buy(invoice_received(good, 10_000, "hash-of-good", w.now + 1000))
    (pay,) = [effect for _, effect in w.todo if isinstance(effect, do.Pay)]
    assert pay.invoice.bolt11 == good.bolt11 and pay.payment_hash == "hash-of-good"
    w.buy(invoice_received(evil, 99_999_999, "hash-of-evil", w.now + 1000))
    assert [effect for _, effect in w.todo if isinstance(effect, do.Pay)] == [pay]


def test_an_invoice_over_another_amount_than_its_message_says_is_refused():
    w = World()
    w.lose = lambda message: isinstance(message, msg.Invoice)
    w.open()
    message = next(m for m in w.sent if isinstance(m, msg.Invoice))
    w.buy(invoice_received(message, 99_999_999, "hash-of-evil", w.now + 1000))
    assert not w.purchase.in_flight and "its message says 10000" in w.purchase.refusals[-1].why


def test_a_lost_invoice_is_sent_again_though_others_are_paid():
    w = World({"window": 4})
    lost = []

    def lose(message):
        if isinstance(message, msg.Invoice) and message.number == 1 and len(lost) < 3:
            lost.append(message)
            return True
        return False

    w.lose = lose
    w.open()
    for register in range(0, 600, 10):
        w.report(register)
        w.pass_ms(500)
    assert len(lost) == 3 and 1 not in w.sale.out


def test_the_own_sensor_catches_a_seller_that_counts_too_much():
    w = World()
    w.open(tolerance_pct=5, tolerance_ticks=5)
    w.buy(cmd.SensorReading(SESSION, "s1", 0))
    w.report(80)
    assert not w.purchase.refusals  # a quantum, 100 ticks, may have run before the sensor was first heard
    w.report(160)
    assert "our own sensor 100" in w.purchase.refusals[-1].why


def test_the_own_sensor_is_not_forgotten_over_a_restart():
    w = World()
    w.hold = {do.Send}
    w.open(tolerance_ticks=5)
    w.buy(cmd.SensorReading(SESSION, "s1", 7_000))
    w.hold = set()
    w.pump()
    for ticks in (60, 120, 180):
        w.buy(cmd.SensorReading(SESSION, "s1", 7_000 + ticks))
        w.report(ticks)
        w.restart_buyer()
        w.pass_ms(3_000)
    assert not w.purchase.refusals and w.purchase.payments > 1
    w.buy(cmd.SensorReading(SESSION, "s1", 7_190))
    w.report(270)
    assert "our own sensor 190" in w.purchase.refusals[-1].why


def test_the_own_sensor_within_tolerance_is_fine():
    w = World()
    w.open(tolerance_pct=5, tolerance_ticks=5)
    for ticks in range(0, 400, 40):
        w.buy(cmd.SensorReading(SESSION, "s1", ticks))
        w.report(ticks)
    assert not w.purchase.refusals and w.purchase.payments > 3


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({"max_price_msat": 999}, "price 1000 msat per unit is over the cap of 999"),
        ({"max_invoice_msat": 9_999}, "over the cap of 9999"),
        ({"unit": "kWh"}, "not per 'kWh'"),
        ({"budget_msat": 10_000}, "over the budget"),
    ],
)
def test_terms_over_a_cap_are_refused_before_anything_is_paid(policy, why):
    w = World()
    w.open(**policy)
    assert w.purchase.state == "closed" and why in w.purchase.closing.why
    assert w.balance == 0 and w.purchase.sent_msat == 0


def test_the_budget_ends_the_stream():
    w = World()
    w.open(budget_msat=25_000, max_fee_msat=0)
    for register in range(0, 260, 5):
        if w.meter.state == "delivering":
            w.report(register)
    assert w.purchase.state == "closed" and "budget of 25000 msat is used up" in w.purchase.reason
    assert w.purchase.sent_msat <= 25_000 and identity(w.receipts()[-1])


def test_the_days_budget_spans_streams():
    w = World()
    w.open(day_msat=15_000, max_fee_msat=0)
    w.buy(cmd.CloseStream(SESSION))
    w.pump()
    w.open(session=OTHER, day_msat=15_000, max_fee_msat=0)
    assert "day's budget" in w.buyer.state.streams[OTHER].reason
    w.now += 86_400_000
    w.open(session="0a" * 16, day_msat=15_000, max_fee_msat=0)
    assert w.buyer.state.streams["0a" * 16].payments == 1


def test_in_flight_counts_as_spent():
    w = World({"window": 4})
    w.hold = {do.Pay}
    w.open(budget_msat=7_500, max_fee_msat=0)
    w.perform(*w.todo.popleft())
    w.pump()
    assert len(w.purchase.in_flight) == 2 and w.purchase.in_flight_msat == 5_000
    assert w.purchase.state == "closing"


def test_only_allowed_sellers():
    w = World(sellers=frozenset({"02" + "ee" * 32}))
    with pytest.raises(OverCap, match="not among the allowed sellers"):
        w.open()
    assert not w.buyer.state.streams


def test_pause_and_resume():
    w = World()
    w.open()
    w.buy(cmd.PauseStream(SESSION))
    w.report(90)
    assert w.purchase.payments == 1 and not w.purchase.relay
    w.buy(cmd.ResumeStream(SESSION))
    w.pump()
    assert w.purchase.payments == 2 and w.meter.state == "delivering"
    with pytest.raises(WrongState):
        w.buy(cmd.ResumeStream(SESSION))


def test_the_budget_can_be_raised():
    w = World()
    w.open(budget_msat=11_000)
    w.buy(cmd.SetBudget(SESSION, {"budget_msat": 50_000}))
    w.report(90)
    assert w.purchase.payments == 2
    with pytest.raises(OverCap):
        w.buy(cmd.SetBudget(SESSION, {"max_price_msat": 1}))


def test_a_failed_payment_is_tried_again():
    w = World()
    w.fail = 2
    w.open()
    assert w.purchase.payments == 0 and not w.purchase.in_flight and w.purchase.trouble == "failed"
    w.pass_ms(20_000)
    assert w.purchase.payments == 1 and w.meter.state == "delivering"
    w.buy(cmd.CloseStream(SESSION))
    w.pump()
    assert (
        w.purchase.closing.verified and w.purchase.closing.why == ""
    )  # a payment that failed on the way is no flaw of the receipt


def test_the_relay_is_off_until_paid():
    w = World()
    w.hold = {do.Pay}
    w.open()
    assert not w.purchase.relay
    w.hold = set()
    w.pump()
    assert w.purchase.relay


def test_a_forged_receipt_is_kept_as_evidence_and_not_believed():
    w = World()
    w.open()
    w.buy(cmd.FromPeer(SELLER_ID, msg.Receipt(SESSION, w.now, "{}", "sig:other")))
    w.pump()
    assert w.purchase.state == "streaming" and "signature" in w.purchase.refusals[-1].why


# --- lost messages and crashes


def test_a_lost_seller_is_reached_for_again_until_it_is_back():
    w = World()
    w.open()
    connects = []
    w.hold, w.lose = {do.Connect}, lambda message: True
    w.buy(cmd.PeerLost(SELLER_ID))
    for _ in range(60):
        w.pass_ms(1_000, step=1_000)
        connects += [a for _, a in w.todo if isinstance(a, do.Connect)]
        w.todo.clear()
    assert 4 <= len(connects) <= 10  # ever more seldom
    w.hold, w.lose = set(), lambda message: False
    w.buy(cmd.PeerConnected(SELLER_ID))
    w.pump()
    w.report(80)
    assert w.purchase.payments == 2


@pytest.mark.parametrize("lost", [msg.Open, msg.Terms, msg.Invoice, msg.Close, msg.Receipt, msg.Low])
def test_any_first_message_may_be_lost(lost):
    w = World()
    dropped = []

    def lose(message):
        if isinstance(message, lost) and not dropped:
            dropped.append(message)
            return True
        return False

    w.lose = lose
    w.open()
    w.pass_ms(5_000)
    w.report(80)
    w.pass_ms(5_000)
    w.buy(cmd.CloseStream(SESSION))
    w.pass_ms(20_000)
    assert dropped and w.purchase.state == "closed" and w.purchase.closing.verified
    assert w.receipts()[-1]["charged_msat"] == 8_000 and w.balance == 8_000


def test_restart_of_either_side_at_every_moment():
    for moment in range(12):
        w = World()
        w.open()
        for i, register in enumerate(range(0, 240, 20)):
            w.report(register)
            if i == moment:
                w.restart_seller()
                w.restart_buyer()
                w.pump()
                w.report(register)
        w.buy(cmd.CloseStream(SESSION))
        w.pump()
        assert w.receipts()[-1]["charged_msat"] == 22_000 == w.balance
        assert w.purchase.closing.verified and not w.purchase.closing.why


def test_a_crash_between_commit_and_payment_pays_once():
    w = World()
    w.hold = {do.Pay}
    w.open()
    assert w.purchase.in_flight
    w.restart_buyer()
    w.hold = set()
    w.pass_ms(5_000)  # nothing was begun: the seller asks for it again
    assert (w.purchase.paid_msat, w.balance, w.sale.received_msat) == (10_000, 10_000, 10_000)


def test_a_crash_before_the_invoice_was_made():
    w = World()
    w.hold = {do.MakeInvoice}
    w.open()
    w.restart_seller()
    w.hold = set()
    w.report(0)
    w.pass_ms(6_000)  # the seller has forgotten who had not paid; the buyer asks again
    assert w.meter.state == "delivering"
