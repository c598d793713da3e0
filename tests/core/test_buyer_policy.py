"""The buyer's caps: price, budget, day, fees, and terms that break them.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import pytest
from liar import Liar, SensorFirst
from world import ARREARS, OTHER, SESSION, TARIFF, Victim, World, identity

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.buyer import views as buyer_views
from satmeter.core.buyer.policy import Policy, kept_back_msat
from satmeter.core.errors import (
    BadParam,
    OverCap,
)
from satmeter.core.settlement.transaction import FEERATE_MOST
from satmeter.core.tariff import Tariff


def invoice_from_hostile_seller(w, amount=2_000, ticks=20, charged=None, n=9, bolt11=None, paid=0):
    charged = ticks * 100 if charged is None else charged
    text = bolt11 or f"inv:x:{amount}"
    w.buy(w.received(msg.Invoice(SESSION, w.now + 1000, n, amount, text, ticks, charged, paid)))
    w.pump()


def test_the_buyer_allows_spending_beyond_the_register_only_up_to_its_cap():
    for cap, refused in ((0, True), (9_000, False)):
        w = World()
        w.open(max_spend_msat=cap)
        w.sell(cmd.Spend(session=SESSION, id="g1", step="reserve", amount_msat=9_000))
        w.sell(cmd.Spend(session=SESSION, id="g1", step="settle", amount_msat=9_000))
        w.pump()
        assert bool(w.purchase.refusals) == refused


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


def test_an_invoice_that_was_overtaken_before_a_restart_is_no_breach():
    """Which of two messages is the newer one is not known any more; what is due is, by the count of what was paid."""
    w = World({**ARREARS, "window": 2})
    w.open()
    late = []
    w.lose = lambda message: isinstance(message, msg.Invoice) and not late.append(message)
    w.report(50)
    w.lose = lambda message: False
    w.report(100)
    assert (late[0].ticks, w.purchase.ticks, w.purchase.paid_msat) == (50, 100, 5_000)
    w.restart_buyer()
    w.buy(w.received(late[0]))
    w.pump()
    assert not w.purchase.refusals and w.purchase.paid_msat == 10_000  # 100 ticks of 100 msat
    invoice_from_hostile_seller(w, amount=1, ticks=99)
    assert w.purchase.breached and "10001 msat asked in all, but only 10000 used" in w.purchase.refusals[-1].why
    assert w.purchase.paid_msat == 10_000


def test_a_register_that_goes_back_after_a_restart_is_a_breach_once_as_much_was_told_again():
    w = World()
    w.open()
    w.report(80)
    w.report(80)
    w.restart_buyer()
    w.hold = {do.Pay}
    invoice_from_hostile_seller(w, amount=100, ticks=81)
    assert 9 in w.purchase.in_flight and not w.purchase.refusals
    w.now += 1
    invoice_from_hostile_seller(w, amount=100, ticks=80, n=10)
    assert "went back from 81 to 80" in w.purchase.refusals[-1].why


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
    w.buy(cmd.CloseStream(session=SESSION))
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


def test_the_budget_can_be_raised():
    w = World()
    w.open(budget_msat=11_000)
    w.buy(cmd.SetBudget(session=SESSION, policy={"budget_msat": 50_000}))
    w.report(90)
    assert w.purchase.payments == 2
    with pytest.raises(OverCap):
        w.buy(cmd.SetBudget(session=SESSION, policy={"max_price_msat": 1}))


def test_fees_are_bounded_by_what_was_paid_for():
    v = Victim()
    for n in range(1, 500):
        v.invoice(n, 1, 0, 0, fee=1000)
    assert v.sent - v.paid <= 1000  # one window of invoices, each with its highest fee


def test_an_honest_route_may_cost_its_fee_at_every_slice():
    v = Victim()
    for n in range(1, 50):
        v.invoice(n, 10_000, 100 * (n - 1), 10_000 * (n - 1), fee=1000)
    assert v.paid == 490_000 and v.sent == 539_000


def test_a_bound_of_nothing_is_one_too():
    w = SensorFirst(policy={"tolerance_ticks": 0, "tolerance_pct": 0}, **ARREARS)
    w.close()  # its own sensor has counted nothing
    assert w.p.after_close.most_ticks == 0
    w.sense(500)
    w.receipt(charged_msat=10_000, debt_msat=10_000)
    w.ask(100)
    assert (w.p.after_close.most_ticks, w.p.paid_msat) == (0, 0)


def test_what_is_left_of_a_budget_is_what_was_not_sent():
    w = World()
    w.open()
    assert buyer_views.stream_status(w.purchase).budget_left_msat == 990_000


def test_a_prepaid_stream_risks_a_quantum_and_a_fee():
    w = World(policy={"max_fee_msat": 100})
    w.open()
    assert buyer_views.stream_status(w.purchase).exposure_bound_msat == 10_200


def test_of_a_budget_that_is_used_up_nothing_is_left():
    w = Liar(policy={"budget_msat": 20_000, "max_fee_msat": 0})
    for ticks in (0, 100):
        w.ask(ticks)
    assert w.p.paid_msat == 20_000 and buyer_views.stream_status(w.p).budget_left_msat == 0


def test_what_somebody_else_paid_for_us_is_no_debt():
    """A receipt of 100 ticks: 4,000 msat were paid by us, and 2,000 by another."""
    w = Liar(**ARREARS)
    w.ask(40, 4_000)
    w.close()
    w.receipt(paid_msat=6_000, charged_msat=10_000, debt_msat=4_000)
    assert w.p.debt_msat == 4_000
    w.receipt(revision=2, paid_msat=4_000, charged_msat=6_000, debt_msat=9_000)
    assert w.p.debt_msat == 2_000


@pytest.mark.parametrize(
    ("name", "most"), [("maxdelay", 2_016), ("max_final_cltv", 2_016), ("tolerance_pct", 1_000), ("max_feerate", 2**31)]
)
def test_each_cap_goes_up_to_its_bound_and_not_beyond(name, most):
    given = {"max_price_msat": 1_000, "budget_msat": 10_000}
    most = min(most, FEERATE_MOST) if name == "max_feerate" else most
    assert getattr(Policy.from_dict({**given, name: most}), name) == most
    with pytest.raises(BadParam, match=name):
        Policy.from_dict({**given, name: most + 1})


@pytest.mark.parametrize(("limit", "fees"), [(20_000, 3), (25_000, 3), (29_999, 3), (30_000, 4)])
def test_in_arrears_the_limit_and_a_fee_for_each_invoice_of_it_are_kept_back(limit, fees):
    policy = Policy.from_dict({"max_price_msat": 1_000, "budget_msat": 10**6, "max_fee_msat": 100})
    tariff = Tariff.from_dict({**TARIFF, "mode": "arrears", "limit_msat": limit})
    assert kept_back_msat(policy, tariff) == limit + 100 * fees
