"""What the seller credits, and what its hook refuses.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

from world import BUYER_ID, OTHER, SESSION, World, first_label

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.seller.context import Limits


def test_suspended_then_paid_goes_on():
    w = World()
    w.open()
    w.hold = {do.Pay}
    w.report(100)
    assert (w.meter.state, w.grant()) == ("suspended", 100)
    w.hold = set()
    w.pump()
    assert (w.meter.state, w.grant()) == ("delivering", 200)


def test_a_payment_counts_once():
    w = World()
    w.open()
    settled = cmd.InvoiceSettled(label=f"satmeter/0/s/{SESSION}/1", amount_msat=10_000, pay_index=1, payment_hash="h")
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


def test_what_arrives_after_the_end_was_asked_for_is_not_taken_as_delivered():
    w = World()
    w.board_on = False
    w.open()
    w.hold = {do.Pay}
    w.report(80)
    w.sell(cmd.CloseSession(session=SESSION))
    (label,) = w.unpaid()
    w.pay(label, hook=False)
    w.pass_ms(601_000, step=5_000)
    assert w.sale.charged_msat == 10_000 and w.sale.received_msat > 10_000


def test_a_payment_that_the_buyer_claims_is_waited_for_ten_seconds():
    w = World()
    w.open()
    w.hold = {do.Pay}
    w.report(80)
    w.sell(cmd.FromPeer(peer=BUYER_ID, message=msg.Close(SESSION, w.now + 9, msg.BUYER, "bye", 18_000, "refund:r")))
    w.pump()
    w.now = w.sale.since + 9_999
    w.sell(cmd.Tick())
    w.pump()
    assert w.sale.state == "closing" and not w.refunds
    w.now += 1
    w.sell(cmd.Tick())
    w.pump()
    assert w.refunds == {"refund:r": 2_000}


def test_who_just_paid_and_used_meanwhile_is_asked_by_an_invoice_that_was_made_ahead():
    """It is for half of what was asked before: to make another would be a moment without one."""
    w = World({"low_water_msat": 9_000})
    w.open()
    w.hold = {do.Pay}
    w.report(20)
    asked = [w.sale.out_msat]
    for register in (40, 60):
        w.report(register)
        (label,) = w.unpaid()
        w.pay(label)
        w.pump()
        asked.append(w.sale.out_msat)
    assert asked == [2_000, 2_000, 1_000]
