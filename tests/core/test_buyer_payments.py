"""Which invoices a buyer pays, and how often.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import pytest
from liar import Liar, SensorFirst
from world import ARREARS, SELLER_ID, SESSION, Victim, World, invoice_received

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.errors import NoCredit, TooMany


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


def test_a_failed_payment_is_tried_again():
    w = World()
    w.fail = 2
    w.open()
    assert w.purchase.payments == 0 and not w.purchase.in_flight and w.purchase.trouble == "failed"
    w.pass_ms(20_000)
    assert w.purchase.payments == 1 and w.meter.state == "delivering"
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    assert (
        w.purchase.closing.verified and w.purchase.closing.why == ""
    )  # a payment that failed on the way is no flaw of the receipt


def test_a_crash_between_commit_and_payment_pays_once():
    w = World()
    w.hold = {do.Pay}
    w.open()
    assert w.purchase.in_flight
    w.restart_buyer()
    w.hold = set()
    w.pass_ms(5_000)  # nothing was begun: the seller asks for it again
    assert (w.purchase.paid_msat, w.balance, w.sale.received_msat) == (10_000, 10_000, 10_000)


def test_a_skipped_invoice_number_does_not_end_a_long_stream():
    w = World({"low_water_msat": 10_000}, policy={"budget_msat": 10**12})
    w.open()
    w.buy(cmd.PauseStream(session=SESSION))
    w.report(10)
    (label,) = w.unpaid()
    w.invoices[label][1] = "gone"
    w.sell(cmd.InvoiceGone(label=label))
    w.buy(cmd.ResumeStream(session=SESSION))
    w.pump()
    for n in range(1, 1_300):
        w.now += 1000
        w.report(10 + 50 * n)
    assert w.purchase.payments > 1_200 and len(w.purchase.handled) <= 1_000


def test_refusals_of_a_seller_that_goes_on_fill_no_journal():
    v = Victim()
    before = []
    for n in range(500):
        step = v.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Terms(SESSION, 2 + n, "m", f"[{n}]", 0)))
        before += step.events
    assert len(before) < 30


def test_an_invoice_that_comes_while_the_stream_is_paused_is_not_paid():
    w = World()
    w.hold = {do.MakeInvoice}
    w.open()
    w.buy(cmd.PauseStream(session=SESSION))
    w.hold = set()
    w.pump()
    assert any(isinstance(m, msg.Invoice) for m in w.sent)
    assert (w.purchase.paid_msat, w.purchase.in_flight_msat, w.purchase.state) == (0, 0, "paused")


def test_what_is_kept_back_for_a_debt_is_free_to_pay_it_after_the_close():
    w = Liar(**ARREARS, policy={"max_fee_msat": 100})
    w.ask(100)
    assert w.p.kept_back_msat == 20_300  # the limit, and three fees
    w.close()
    assert w.p.kept_back_msat == 0


def test_an_invoice_that_was_overtaken_is_no_breach():
    """It states a lower count than the newest one: what matters is which was sent later."""
    w = Liar(window=2, quantum_msat=20_000)
    w.ask(0)
    w.ask(100)
    late = msg.Invoice(SESSION, w.now - 500, 9, 10_000, "10000:h9", 50, 5_000, 0)
    w.tell(invoice_received(late, 10_000, "h9", w.now + 10**6))
    assert not w.p.breached and w.p.state == "streaming"
    newer = msg.Invoice(SESSION, w.now + 500, 10, 10_000, "10000:h10", 50, 5_000, 0)
    w.tell(invoice_received(newer, 10_000, "h10", w.now + 10**6))
    assert w.p.breached


@pytest.mark.parametrize("code", [TooMany.code, NoCredit.code, 0])
def test_an_error_of_the_seller_that_is_not_about_the_session_ends_no_stream(code):
    w = Liar()
    w.ask(0)
    w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Error(SESSION, w.now, msg.SELLER, code, "something")))
    assert w.p.state == "streaming"


def test_a_seller_can_not_use_the_slack_of_its_rating_with_each_message():
    """10 ticks a second and 5 s of slack: each step is within them, and all together are not."""
    w = Liar(rating_ticks_per_s=10)
    w.ask(60, 100)
    assert w.p.payments == 1 and not w.p.breached
    w.ask(120, 100)
    assert w.p.payments == 1 and w.p.breached


def late(w, number, by_ms):
    """An invoice that expired before it came."""
    w.now += 1_000
    message = msg.Invoice(SESSION, w.now, number, 100, f"100:late{number}", 0, 0, 0)
    w.tell(invoice_received(message, 100, f"late{number}", w.now - by_ms))


def test_an_expired_invoice_among_good_ones_shows_no_wrong_clock():
    w = Liar()
    w.ask(0, 100)
    for number in (20, 30, 40):
        late(w, number, 60_000)
        assert w.p.state == "streaming"
        w.ask(0, 100)  # one that can be paid: the clocks agree
    late(w, 50, 60_000)
    late(w, 51, 60_000)  # the second in a row
    assert w.p.state == "closing" and "clock" in w.p.refusals[-1].why


@pytest.mark.parametrize(("by_ms", "state"), [(9_999, "streaming"), (10_000, "closing")])
def test_a_first_invoice_that_is_ten_seconds_late_is_of_another_clock(by_ms, state):
    w = Liar()
    late(w, 1, by_ms)
    assert w.p.state == state and not w.paid


def test_with_a_sensor_that_counted_nothing_nothing_is_paid_after_a_close():
    w = SensorFirst(policy={"tolerance_ticks": 0, "tolerance_pct": 0}, **ARREARS)
    w.close()
    w.ask(1, 100)
    assert not w.paid and "0 of 0 in all are left" in w.p.refusals[-1].why
