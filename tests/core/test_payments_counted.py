"""A payment counts once, in whatever order it is told, over restarts; and none is without an owner."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import BUYER_ID, SESSION, World, refold

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core.errors import WrongState
from satmeter.core.labels import session_label
from satmeter.core.seller.context import Limits
from satmeter.core.seller.payments import LOST_PART
from satmeter.core.seller.state import SellerState
from satmeter.core.snapshot import DAY_MS


def identity(r):
    return r["paid_msat"] + r["debt_msat"] == r["charged_msat"] + r["refunded_msat"] + r["lapsed_msat"] + r["owed_msat"]


def told_ahead(w):
    """Labels of invoices that were made ahead: the buyer has seen them, and may pay them unasked."""
    asked = {session_label("0", SESSION, n) for n in {**w.sale.out, **w.sale.dropped}}
    return [label for label, row in w.invoices.items() if row[1] == "unpaid" and "/s/" in label and label not in asked]


def streaming(window=4):
    w = World({"window": window}, limits=Limits(silent_ms=10**9))
    w.open()
    w.report(20)
    return w


def settle(w, label, after="watch"):
    """A payment settles while the plugin is away; returns the news of it, by the watch or by its label."""
    row = w.invoices[label]
    w.paid_index += 1
    row[1], row[2] = "paid", w.paid_index
    w.balance += row[0]
    return cmd.InvoiceSettled(
        label=label,
        amount_msat=row[0],
        pay_index=row[2],
        payment_hash=label,
        after=w.paid_index - 1 if after == "watch" else None,
    )


@pytest.mark.parametrize("ticks", range(0, 130, 10))
def test_a_number_that_was_told_ahead_is_never_drawn_again(ticks):
    w = streaming()
    w.report(ticks + 20)
    for label in told_ahead(w):
        w.sell(settle(w, label))
    before = w.sale.paid_msat
    w.restart_seller()
    w.report(w.meter.count)
    for more in range(1, 20):
        w.report(w.meter.count + 5 * (more % 2))
    assert w.sale.paid_msat == w.balance >= before
    numbers = [e.number for e in w.seller_events if e.kind() == "invoice_paid"]
    assert len(numbers) == len(set(numbers)) == w.sale.payments
    indexes = [e.pay_index for e in w.seller_events if e.kind() == "invoice_paid"]
    assert len(indexes) == len(set(indexes))


@given(st.permutations(range(4)), st.integers(0, 3), st.booleans())
def test_payments_made_while_the_plugin_was_away_are_each_credited_once(order, twice, restart):
    w = streaming()
    w.hold = {do.Pay, do.CancelInvoice}
    w.report(60)
    labels = (w.unpaid() + told_ahead(w))[:4]
    assert len(labels) == 4
    news = [settle(w, label, after="label") for label in labels]
    w.restart_seller() if restart else None
    told = [news[n] for n in order] + [news[twice]]
    for each in told:
        w.sell(each)
    w.report(w.meter.count)
    for index in range(1, w.paid_index + 1):  # and once more by the watch, from where the journal stands
        label, row = next((k, r) for k, r in w.invoices.items() if r[2] == index)
        w.sell(
            cmd.InvoiceSettled(label=label, amount_msat=row[0], pay_index=index, payment_hash=label, after=index - 1)
        )
    assert w.sale.paid_msat == w.balance and w.seller.state.pay_index == w.paid_index and not w.seller.state.early
    folded = refold(w.seller_events, SellerState())
    assert folded.sessions[SESSION].paid_msat == w.balance


def test_every_order_of_news_and_restarts_leaves_the_same_books():
    sums = set()
    for order in itertools.permutations(range(3)):
        w = streaming()
        w.hold = {do.Pay, do.CancelInvoice}
        w.report(60)
        news = [settle(w, label, after="label") for label in (w.unpaid() + told_ahead(w))[:3]]
        for n in order:
            w.sell(news[n])
            w.restart_seller()
            w.report(w.meter.count)
        sums.add((w.seller.state.sessions[SESSION].paid_msat, w.balance))
    assert len(sums) == 1 and len(set(sums.pop())) == 1


def test_a_payment_for_a_session_that_memory_has_let_go_is_kept_for_its_buyer():
    w = streaming()
    spare = told_ahead(w)[0]
    w.report(20, plugged=False)
    w.pass_ms(200_000, step=5_000)
    assert SESSION not in w.seller.state.sessions
    w.sell(settle(w, spare))
    (kept,) = [s for s in w.seller.state.sessions.values() if s.buyer == BUYER_ID]
    assert (kept.owed_msat, kept.meter, w.meter.session) == (2_500, "m", "")
    w.report(20)
    w.open(session="7a" * 16)
    assert w.seller.state.sessions["7a" * 16].brought_msat == 2_500


def test_a_payment_for_a_session_that_memory_has_let_go_leaves_the_meters_next_session_alone():
    w = streaming()
    spare = told_ahead(w)[0]
    w.report(20, plugged=False)
    w.pass_ms(200_000, step=5_000)
    w.report(20)
    w.open(session="7a" * 16)
    w.report(30)
    assert w.meter.state == "delivering"
    w.channel_can_refund = False
    w.sell(settle(w, spare))
    w.pump()
    assert (w.meter.state, w.meter.session) == ("delivering", "7a" * 16)
    (kept,) = [s for s in w.seller.state.sessions.values() if s.id != "7a" * 16]
    assert (kept.buyer, kept.owed_msat) == (BUYER_ID, 2_500)


def test_a_payment_that_nobody_knows_is_kept_and_shown():
    w = World()
    unknown = session_label("0", "99" * 16, 3)
    w.sell(cmd.InvoiceSettled(label=unknown, amount_msat=4_321, pay_index=1, payment_hash="h", after=0))
    w.pump()
    assert w.seller.state.unowned == {unknown: 4_321} and w.notes[-1][0] == "meter_alarm"
    w.restart_seller()
    w.sell(cmd.InvoiceSettled(label=unknown, amount_msat=4_321, pay_index=1, payment_hash="h", after=0))
    assert w.seller.state.unowned == {unknown: 4_321}
    assert [e.kind() for e in w.seller_events].count("payment_unowned") == 1


def test_a_wallet_payment_whose_meter_was_removed_is_kept_and_shown():
    w = World()
    label, _ = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    w.pump()
    w.sell(cmd.InvoiceGone(label=label))
    w.sell(cmd.RemoveMeter(meter="m"))
    w.sell(settle(w, label))
    assert w.seller.state.unowned == {label: 10_000}


def test_a_wallet_payment_told_twice_opens_one_session():
    w = World()
    label, session = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    w.pump()
    paid = settle(w, label)
    w.sell(paid)
    w.restart_seller()
    w.sell(paid)
    assert w.seller.state.sessions[session].paid_msat == 10_000


def test_payments_of_others_move_the_index_and_nothing_else():
    w = World()
    for index in range(1, 6):
        w.sell(
            cmd.InvoiceSettled(
                label="somebody's own", amount_msat=1_000, pay_index=index, payment_hash=f"h{index}", after=index - 1
            )
        )
    assert w.seller.state.pay_index == 5 and not w.seller.state.sessions and not w.seller.state.unowned


def test_the_receipt_of_a_late_payment_balances():
    w = streaming()
    w.hold = {do.CancelInvoice}
    spare = told_ahead(w)[0]
    w.report(20, plugged=False)
    w.sell(settle(w, spare))
    w.pass_ms(90_000, step=1_000)
    receipt = w.receipts()[-1]
    assert receipt["paid_msat"] == w.balance + receipt["refunded_msat"] and identity(receipt)


def test_a_payment_that_is_given_up_counts_today_and_in_its_budget_and_frees_the_later_days():
    w = World()
    w.hold = {do.Pay}
    w.open(day_msat=25_000)
    (n,) = w.purchase.in_flight
    in_flight = w.purchase.in_flight_msat
    assert w.buyer.state.spent_on(w.now) == w.buyer.state.spent_on(w.now + 2 * DAY_MS) == in_flight
    w.buy(cmd.GiveUpPayment(session=SESSION, number=n))
    assert w.buyer.state.spent_on(w.now) == in_flight and w.buyer.state.spent_on(w.now + 2 * DAY_MS) == 0
    assert (w.purchase.in_flight_msat, w.purchase.astray_msat) == (0, in_flight)
    with pytest.raises(WrongState):
        w.buy(cmd.GiveUpPayment(session=SESSION, number=n))
    w.restart_buyer()
    w.hold = set()
    w.pump()
    assert not w.balance  # it is not tried again
    w.buy(cmd.PaymentDone(session=SESSION, number=n, payment_hash=w.purchase.astray[n].payment_hash, sent_msat=10_000))
    p = w.buyer.state.streams[SESSION]
    assert (p.paid_msat, p.sent_msat, p.astray_msat) == (10_000, 10_000, 0) and w.buyer.state.spent_on(
        w.now
    ) == in_flight


def test_a_payment_that_is_given_up_after_a_close_in_arrears_makes_no_room_for_another():
    w = World({"mode": "arrears", "limit_msat": 10_000})
    w.hold = {do.Pay}
    w.open()
    w.report(100)
    (n,) = w.purchase.in_flight
    w.buy(cmd.CloseStream(session=SESSION))
    most = w.purchase.may_still_pay_msat
    w.buy(cmd.GiveUpPayment(session=SESSION, number=n))
    assert w.purchase.may_still_pay_msat == most


def test_a_label_that_is_paid_twice_is_credited_twice_to_whoever_keeps_it():
    """A node that forgot a paid invoice makes its label once more: two payments, two indexes, one keeper."""
    w = streaming()
    spare = told_ahead(w)[0]
    w.report(20, plugged=False)
    w.pass_ms(200_000, step=5_000)
    w.channel_can_refund = False
    w.sell(settle(w, spare))
    w.sell(settle(w, spare))
    (kept,) = [s for s in w.seller.state.sessions.values() if s.buyer == BUYER_ID]
    assert (kept.payments, kept.owed_msat, w.seller.state.pay_index) == (2, 5_000, w.paid_index)


def test_an_invoice_that_is_made_after_it_was_given_up_is_cancelled_and_told_to_nobody():
    w = streaming(window=1)
    w.hold = {do.MakeInvoice}
    w.report(95)
    (number,) = w.sale.out
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    assert not w.sale.out
    w.sent.clear()
    w.todo.clear()
    step = w.seller.handle(cmd.InvoiceMade(label=session_label("0", SESSION, number), bolt11="late"), w.now)
    assert not [a for a in step.effects if isinstance(a, do.Send)]


def test_a_wallets_invoice_that_was_paid_in_a_lost_part_is_asked_for_no_more():
    w = World()
    label, _ = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    w.pump()
    copied = len(w.seller_events)
    w.pay(label)
    w.pump()
    w.replace_seller(copied)
    assert not w.meter.wallet_invoices and w.seller.state.unowned == {LOST_PART: 10_000}


def test_a_label_that_is_paid_again_after_its_session_has_ended_is_one_more_credit_of_the_same_buyer():
    w = streaming(window=1)
    w.channel_can_refund = False
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    w.channel_can_refund = True
    w.pass_ms(400_000, step=5_000)
    assert SESSION not in w.seller.state.sessions
    w.channel_can_refund = False
    label = session_label("0", SESSION, 1)
    for n in (1, 2):
        w.paid_index += 1
        w.sell(
            cmd.InvoiceSettled(
                label=label, amount_msat=4_000, pay_index=w.paid_index, payment_hash=f"h{n}", after=w.paid_index - 1
            )
        )
    assert not w.seller.state.unowned
    assert [s.received_msat for s in w.seller.state.sessions.values()] == [8_000]
