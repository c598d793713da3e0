"""Delivery first, invoices after: the limit, its lock, and debts.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import pytest
from liar import Liar
from world import ARREARS, BUYER_ID, OTHER, SELLER_ID, SESSION, World, identity

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.reading import Reading

FOUR_IN_ARREARS = {"mode": "arrears", "limit_msat": 20_000, "window": 4}


def test_arrears_deliver_first_and_invoice_what_is_used():
    w = World(FOUR_IN_ARREARS)
    w.open()
    assert (w.meter.state, w.grant()) == ("delivering", 200)
    w.report(24)
    assert w.sale.received_msat == 0 and w.sale.debt_msat == 2_400
    w.report(25)
    assert w.sale.received_msat == 2_500 and w.grant() == 225
    w.report(41)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    (receipt,) = w.receipts()
    assert (receipt["paid_msat"], receipt["charged_msat"], receipt["debt_msat"]) == (4_100, 4_100, 0)
    assert w.purchase.closing.verified and not w.purchase.closing.why


def test_arrears_stop_at_the_limit_lock_and_are_lifted_by_paying_the_debt():
    w = World(FOUR_IN_ARREARS)
    w.open()
    w.hold = {do.Pay}
    w.report(203)  # a sample past the limit
    assert (w.meter.state, w.sale.debt_msat) == ("suspended", 20_000)
    w.pass_ms(30_500)
    assert w.sale.state == "closing"
    assert w.meter.state == "lockout"
    w.sell(cmd.FromPeer(peer=BUYER_ID, message=msg.Open(OTHER, 1, "m")))
    w.hold = set()
    w.pass_ms(5_000)
    assert w.sale.debt_msat == 0 and w.meter.state == "standby"
    assert w.receipts()[-1]["paid_msat"] == 20_000 and identity(w.receipts()[-1])


def test_a_debt_can_be_paid_after_the_receipt_and_then_the_buyer_is_served_again():
    w = World({**FOUR_IN_ARREARS, "lockout_s": 5, "grace_s": 5})
    w.open()
    w.hold = {do.Pay}
    w.report(20)
    w.buy(cmd.CloseStream(session=SESSION))
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


@pytest.mark.parametrize("back", ["restarted", "connected"])
def test_a_buyer_that_comes_back_asks_whether_what_it_owes_is_paid(back):
    w = World(FOUR_IN_ARREARS)
    w.open()
    w.fail = 10**6
    w.report(20)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pass_ms(35_000, step=1_000)
    assert w.purchase.debt_msat == 2_000 and w.purchase.closing.revision == 1
    w.lose = lambda message: True
    w.buy(cmd.PeerLost(peer=SELLER_ID))
    assert w.pay(w.unpaid()[0])  # by somebody else
    w.pass_ms(65_000, step=1_000)
    assert SESSION not in w.seller.state.sessions and w.purchase.closing.revision == 1
    w.lose = lambda message: False
    if back == "restarted":
        w.restart_buyer()
    else:
        w.buy(cmd.PeerConnected(peer=SELLER_ID))
    w.pass_ms(1_000)
    assert w.purchase.closing.revision == 2 and not w.purchase.debt_msat
    w.pass_ms(5_000)
    assert SESSION not in w.buyer.state.streams


def test_arrears_that_nobody_uses_free_the_meter():
    w = World(ARREARS)
    w.open()
    w.lose = lambda m: True
    w.pass_ms(40_000)
    assert w.meter.state == "standby"


def test_who_used_less_than_an_invoice_in_arrears_keeps_the_meter():
    """Nothing is asked for yet, so that the time to pay has not begun."""
    w = World(ARREARS)
    w.open()
    w.report(10)
    w.pass_ms(40_000, step=1_000)
    assert w.meter.state == "delivering" and (w.sale.charged_msat, w.sale.received_msat) == (1_000, 0)


def test_arrears_under_the_limit_that_nobody_pays_end():
    w = World(ARREARS)
    w.open()
    w.lose, w.hold = (lambda m: True), {do.Pay}
    w.report(199)
    w.pass_ms(40_000)
    assert w.meter.state == "lockout" and w.sale.debt_msat == 19_900


def test_a_debt_of_dust_keeps_nobody_out():
    w = World({**ARREARS, "price_msat": 50})
    w.open()
    w.hold = {do.Pay}
    w.report(10)
    w.buy(cmd.CloseStream(session=SESSION))
    w.report(10)
    w.pass_ms(200_000, step=1_000)
    assert 0 < w.sale.debt_msat < 1_000
    w.hold = set()
    w.open("ab" * 16)
    assert w.meter.session == "ab" * 16


def test_a_debt_whose_buyer_is_away_fills_no_journal():
    w = World(ARREARS)
    w.open()
    w.hold, w.lose = {do.Pay}, lambda m: True
    w.report(100)
    w.pass_ms(100_000, step=1_000)
    before = len(w.seller_events)
    for _ in range(7 * 24 * 6):
        w.now += 600_000
        for row in w.invoices.values():
            row[1] = "gone" if row[1] == "unpaid" else row[1]
        w.sell(cmd.Tick())
        w.pump()
    assert len(w.seller_events) - before < 40
    w.hold, w.lose = set(), lambda m: False
    w.sell(cmd.PeerConnected(peer=BUYER_ID))
    w.buy(cmd.PeerConnected(peer=SELLER_ID))
    w.pass_ms(120_000, step=1_000)
    assert w.sale.debt_msat == 0


def test_a_receipt_with_a_debt_is_balanced():
    w = Liar(**ARREARS)
    w.ask(100)
    w.close()
    w.receipt(charged_msat=20_000, debt_msat=10_000)
    assert w.p.debt_msat == 10_000 and not w.p.disputed, w.p.closing.why


def test_the_time_to_pay_begins_anew_with_each_payment():
    w = World({**ARREARS, "window": 2})
    w.open()
    w.fail = 10**6
    w.report(120)
    w.pass_ms(20_000, step=1_000)
    w.fail = 1  # one of the two is paid, the other is not
    labels = w.unpaid()
    assert len(labels) == 2 and w.pay(labels[0])
    w.fail = 10**6
    w.pass_ms(25_000, step=1_000)
    assert w.sale.open and not w.sale.ending
    w.pass_ms(10_000, step=1_000)
    assert w.sale.ending or not w.sale.open


def test_a_session_ends_when_its_board_could_not_deliver_for_just_the_grace_time():
    w = World()
    w.open()
    w.report(5)
    w.sell(cmd.Report(meter="m", reading=Reading("b1", 5, 0, 0, True, fault="relay")))
    w.now += 29_999
    w.sell(cmd.Tick())
    assert w.sale.open and not w.sale.ending
    w.now += 1
    w.sell(cmd.Tick())
    assert w.sale.ending and "can't deliver" in w.sale.reason


def test_nothing_is_made_ahead_for_a_session_that_is_over():
    w = World({**ARREARS, "window": 4})
    w.open()
    w.fail = 10**6
    w.report(120)
    ahead = []
    kept = w.perform

    def perform(side, action):
        if isinstance(action, do.MakeInvoice) and not action.hurry and w.sale.ending_at:
            ahead.append(action.label)
        kept(side, action)

    w.perform = perform
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    w.pass_ms(5_000, step=1_000)
    assert w.sale.debt_msat and not ahead
