"""When the seller asks, for how much, and how often.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import pytest
from liar import Liar
from world import ARREARS, BUYER_ID, SESSION, World, identity

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.errors import (
    WrongState,
)
from satmeter.core.seller import events as ev


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


def test_a_superseded_invoice_that_settles_all_the_same_is_refunded():
    w = World()
    w.open()
    w.hold = {do.Pay, do.CancelInvoice}
    w.report(80)
    (label,) = w.unpaid()
    w.sell(cmd.CloseSession(session=SESSION))
    w.pump()
    assert w.seller.rejects(label, w.now)
    w.pay(label, hook=False)
    w.hold = set()
    w.pass_ms(40_000)
    assert w.receipts()[-1]["refunded_msat"] == 2_000 + 8_000 and identity(w.receipts()[-1])


def test_nothing_is_invoiced_or_taken_for_a_session_that_is_ending():
    w = World()
    w.open()
    w.board_on = False
    w.sell(cmd.CloseSession(session=SESSION))
    assert w.sale.next_amount() == 0
    with pytest.raises(WrongState, match="ending already"):
        w.sell(cmd.CloseSession(session=SESSION))


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


def test_a_crash_before_the_invoice_was_made():
    w = World()
    w.hold = {do.MakeInvoice}
    w.open()
    w.restart_seller()
    w.hold = set()
    w.report(0)
    w.pass_ms(6_000)  # the seller has forgotten who had not paid; the buyer asks again
    assert w.meter.state == "delivering"


def test_what_is_out_is_asked_for_again_when_the_credit_is_used_up():
    w = World({"low_water_msat": 5_000})
    w.open()
    w.fail = 10**6
    w.report(60)
    w.pass_ms(200_000, step=1_000)  # by now the seller asks only once a minute
    w.fail = 0
    w.sent.clear()
    w.report(100)
    assert any(isinstance(m, msg.Invoice) for m in w.sent) and w.meter.state == "delivering"


def test_what_somebody_else_paid_for_us_is_no_debt():
    w = Liar(**ARREARS)
    w.ask(100)
    w.close()
    w.receipt(paid_msat=20_000, charged_msat=20_000, ticks=200)  # the other 10,000 are another's
    assert (w.p.debt_msat, w.p.pays, w.p.done) == (0, False, True)


def test_of_a_debt_that_somebody_else_paid_in_part_the_rest_is_left():
    w = Liar(**ARREARS)
    w.ask(100)
    w.close()
    w.receipt(paid_msat=19_334, charged_msat=20_000, debt_msat=666, ticks=200)  # 9,334 of it are another's
    assert (w.p.paid_msat, w.p.debt_msat, w.p.pays, w.p.done) == (10_000, 666, True, True)
    w.receipt(2, paid_msat=15_000, charged_msat=20_000, debt_msat=5_000, ticks=200)
    assert (w.p.debt_msat, w.p.done) == (5_000, False)
    w.ask(200, 5_000)
    assert w.p.paid_msat == 15_000


def test_invoices_out_are_within_the_most_that_a_session_may_cost():
    w = World({"window": 4, "session_max_msat": 12_000})
    w.open()
    w.hold = {do.Pay}
    w.report(100)
    assert (w.sale.received_msat, w.sale.out_msat) == (10_000, 2_000)


@pytest.mark.parametrize(("most_msat", "asked"), [(10_099, []), (10_100, [100])])
def test_no_invoice_is_made_that_buys_no_whole_tick(most_msat, asked):
    """All 100 ticks that were paid for are used; a tick costs 100 msat."""
    w = World({"session_max_msat": most_msat})
    w.open()
    w.hold = {do.Pay}
    w.report(100)
    assert [*w.sale.out.values()] == asked


def test_an_invoice_that_is_dropped_and_gone_is_asked_for_no_more():
    w = World()
    w.open()
    w.hold = {do.Pay, do.CancelInvoice}
    w.report(80)
    w.sell(cmd.CloseSession(session=SESSION, reason="over"))
    w.pump()
    assert w.sale.dropped == {2: 8_000}
    w.hold = {do.Pay}
    w.pump()
    assert not w.sale.dropped


def test_an_invoice_that_the_node_made_after_the_end_is_deleted_and_sent_to_nobody():
    w = World()
    w.open()
    w.hold = {do.MakeInvoice, do.CancelInvoice}
    w.report(80)
    w.sell(cmd.CloseSession(session=SESSION, reason="over"))
    w.pump()
    assert w.sale.dropped == {2: 8_000}
    w.sent.clear()
    w.hold = {do.CancelInvoice}
    w.pump()
    assert w.invoices[f"satmeter/0/s/{SESSION}/2"][1] == "unpaid"
    w.hold = set()
    w.pump()
    assert not w.sale.dropped and w.invoices[f"satmeter/0/s/{SESSION}/2"][1] == "gone"
    assert not [m for m in w.sent if isinstance(m, msg.Invoice)]


def test_a_debt_is_asked_for_after_a_restart_though_no_board_is_heard():
    w = World({"mode": "arrears", "limit_msat": 10_000})
    w.hold = {do.Pay}
    w.open()
    w.report(60)
    w.sell(cmd.CloseSession(session=SESSION, reason="over"))
    w.pump()
    assert w.sale.debt_msat == 6_000
    w.sent.clear()
    w.restart_seller()
    w.pump()
    assert [m.amount_msat for m in w.sent if isinstance(m, msg.Invoice)] == [6_000]


def test_a_number_that_was_paid_is_not_drawn_again():
    """Also where the journal has no event of its being asked for: an older copy lacks it."""
    w = World()
    w.open()
    paid = {"amount_msat": 5, "pay_index": 9, "payment_hash": "h", "count": 0, "owned_up_to": 9}
    w.seller.state.apply(ev.InvoicePaid(at=w.now, subject=SESSION, number=50, **paid))
    assert w.sale.next_number == 51


@pytest.mark.parametrize(("ms", "used"), [(1_000, True), (299_999, True), (300_001, False)])
def test_an_invoice_that_was_made_ahead_is_used_within_half_of_its_time(ms, used):
    """Later its payment might come too late."""
    w = World({"window": 4, "invoice_expiry_s": 600})
    w.open()
    w.report(10)
    ready = next(each for each in w.sale.memory.prefetched.queue if each.bolt11)
    w.hold = {do.Pay}
    w.now = ready.made_at + ms
    w.report(40)
    assert w.sale.out and (ready.number in w.sale.out) is used


def test_a_payment_that_arrives_for_what_is_not_asked_for_asks_for_nothing_more():
    w = World({"window": 2, "low_water_msat": 10_000})
    w.open()
    w.hold = {do.Pay}
    w.report(10)
    before = dict(w.sale.out)
    w.sell(cmd.InvoiceArriving(label=f"satmeter/0/s/{SESSION}/999"))
    assert w.sale.out == before and 999 not in w.sale.memory.asking
    number = next(iter(before))
    w.sell(cmd.InvoiceArriving(label=f"satmeter/0/s/{SESSION}/{number}"))
    assert w.sale.memory.asking[number].arriving


def test_what_was_dropped_and_is_paid_all_the_same_is_asked_for_by_nobody():
    w = World()
    w.open()
    w.hold = {do.Pay, do.CancelInvoice}
    w.report(80)
    (label,) = w.unpaid()
    w.sell(cmd.CloseSession(session=SESSION))
    w.report(80)
    assert w.sale.dropped
    w.pay(label, hook=False)
    assert not w.sale.dropped and not w.sale.out and w.sale.paid_msat == w.balance


# --- when the next invoice is due


@pytest.mark.parametrize(
    ("quantum_msat", "low_water_msat", "register", "asked_msat"),
    [
        (10_000, 2_000, 80, None),  # 2,000 msat of credit left
        (10_000, 2_000, 81, 8_100),
        (10_000, 0, 98, None),
        (10_000, 0, 99, None),  # a tick is left
        (10_000, 0, 100, 10_000),
        (10_050, 0, 99, None),
        (10_050, 0, 100, 10_000),  # half a tick is left
    ],
)
def test_the_next_invoice_is_due_below_the_low_water_mark_and_when_no_tick_is_left(
    quantum_msat, low_water_msat, register, asked_msat
):
    w = World({"quantum_msat": quantum_msat, "low_water_msat": low_water_msat})
    w.open()
    w.report(0)
    w.hold = {do.Pay}
    w.report(register)
    assert [w.invoices[label][0] for label in w.unpaid()] == ([] if asked_msat is None else [asked_msat])


# --- terms in arrears

STRANGER = "02" + "cc" * 32


def terms(w):
    return sum(isinstance(message, msg.Terms) for message in w.sent)


def opened_by_a_stranger(tariff):
    w = World(tariff)
    w.sell(cmd.FromPeer(peer=STRANGER, message=msg.Open(SESSION, w.now, "m")))
    w.pump()
    return w


def test_terms_in_arrears_are_said_again_every_two_seconds_until_the_buyer_agreed():
    w = opened_by_a_stranger(ARREARS)
    assert terms(w) == 1
    w.pass_ms(1_999, step=1_999)
    assert terms(w) == 1
    w.pass_ms(1, step=1)
    assert terms(w) == 2
    w.pass_ms(4_000)
    assert terms(w) == 4
    w.sell(cmd.FromPeer(peer=STRANGER, message=msg.Agree(SESSION, w.now)))
    w.pass_ms(10_000)
    assert terms(w) == 4 and w.meter.session == SESSION


def test_terms_of_a_prepaid_session_are_said_once():
    w = opened_by_a_stranger({})
    w.pass_ms(10_000)
    assert terms(w) == 1


def test_a_restart_says_no_terms_to_who_uses_the_meter_already():
    w = World(ARREARS)
    w.open()
    w.report(0)
    w.report(20)
    assert w.sale.start_count == 0
    before = terms(w)
    w.lose = lambda message: True
    w.restart_seller()
    w.pass_ms(10_000)
    assert terms(w) == before


def opened_and_not_begun():
    """A seller that stopped right after it had given the meter away, before anything was delivered."""
    w = World(ARREARS)
    w.open()
    del w.seller_events[[e.kind() for e in w.seller_events].index("session_opened") + 1 :]
    w.lose = lambda message: True
    w.restart_seller()
    w.report(0)
    assert w.meter.state == "negotiating" and w.sale.start_count == -1
    return w


def test_after_a_restart_nothing_is_delivered_in_arrears_before_the_buyer_agreed_again():
    w = opened_and_not_begun()
    before = terms(w)
    w.pass_ms(6_000)
    assert terms(w) == before + 3 and w.meter.state == "negotiating" and w.grant() == 0
    w.sell(cmd.FromPeer(peer=BUYER_ID, message=msg.Agree(SESSION, w.now)))
    w.pass_ms(6_000)
    assert terms(w) == before + 3 and w.meter.state == "delivering"


@pytest.mark.parametrize("stopped", [True, False])
def test_no_terms_are_told_of_a_session_that_ended_before_it_began(stopped):
    w = opened_and_not_begun()
    before = terms(w)
    w.hold, w.board_on = {do.CancelInvoice, do.Sign}, stopped
    w.sell(cmd.CloseSession(session=SESSION))
    w.pass_ms(6_000)
    assert terms(w) == before


def test_a_suspended_session_in_arrears_goes_on_after_a_restart_once_it_has_paid():
    w = World(ARREARS)
    w.hold = {do.Pay}
    w.open()
    w.report(0)
    w.report(200)  # 20,000 msat: the limit
    assert w.meter.state == "suspended"
    w.lose = lambda message: isinstance(message, msg.Agree)
    w.restart_seller()
    w.report(200)
    assert w.meter.state == "suspended"
    w.hold = set()
    w.pass_ms(3_000)
    assert w.meter.state == "delivering"
