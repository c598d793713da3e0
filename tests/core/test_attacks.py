"""Ways in which one side could cost the other more than its bound, or hold it up: each was found by trying."""

import pytest
from world import BUYER_ID, POLICY, SELLER_ID, SESSION, TARIFF, World, invoice_received

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.buyer.buyer import Buyer
from satmeter.core.errors import NoCredit, TooMany, WrongState
from satmeter.core.journal import canonical
from satmeter.core.seller.context import Limits
from satmeter.core.tariff import Tariff

ARREARS = {"mode": "arrears", "limit_msat": 20_000}
DAY_MS = 86_400_000


class Victim:
    """A buyer whose seller says what it likes, and whose payments all arrive."""

    def __init__(self, **tariff):
        self.now, self.paid, self.sent = 1_000_000_000, 0, 0
        self.buyer = Buyer()
        self.tell(cmd.OpenStream(SESSION, SELLER_ID, "m", "h:1", POLICY))
        terms = canonical(Tariff.from_dict({**TARIFF, **tariff}).to_dict())
        self.tell(cmd.FromPeer(SELLER_ID, msg.Terms(SESSION, 1, "m", terms, 0)))

    def tell(self, what):
        return self.buyer.handle(what, self.now)

    def invoice(self, n, amount, ticks, charged, seq=None, bolt11=None, fee=0):
        self.now += 10
        bolt11 = bolt11 or f"i{n}"
        message = msg.Invoice(SESSION, seq or self.now, n, amount, bolt11, ticks, charged, 0)
        step = self.tell(invoice_received(message, amount, f"h{n}-{bolt11}", self.now + 10**6))
        for a in step.effects:
            if isinstance(a, do.Pay):
                cost = min(fee, a.maxfee_msat)
                self.paid, self.sent = self.paid + amount, self.sent + amount + cost
                self.tell(cmd.PaymentDone(SESSION, n, amount + cost))

    @property
    def purchase(self):
        return self.buyer.state.streams[SESSION]


@pytest.mark.parametrize("tariff", [{}, ARREARS])
def test_a_count_once_claimed_is_held_against_the_own_sensor_whatever_comes_after(tariff):
    v = Victim(**tariff)
    v.tell(cmd.SensorReading(SESSION, "s", 0))
    for n in range(1, 50):
        v.tell(cmd.SensorReading(SESSION, "s", 10))
        if n == 1:
            lie = msg.Invoice(SESSION, 10**12, 1, 10_000, "lie", 10**6, 10**8, 0)
            v.tell(invoice_received(lie, 10_000, "h-lie", v.now + 10**6))
        v.invoice(n, 10_000, 10, 1000, seq=1000 + n)
    assert v.paid <= 10_000 and v.purchase.state != "streaming"
    assert any("own sensor" in r.why for r in v.purchase.refusals)


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


def test_a_skipped_invoice_number_does_not_end_a_long_stream():
    w = World({"low_water_msat": 10_000}, policy={"budget_msat": 10**12})
    w.open()
    w.buy(cmd.PauseStream(SESSION))
    w.report(10)
    (label,) = w.unpaid()
    w.invoices[label][1] = "gone"
    w.sell(cmd.InvoiceGone(label))
    w.buy(cmd.ResumeStream(SESSION))
    w.pump()
    for n in range(1, 1_300):
        w.now += 1000
        w.report(10 + 50 * n)
    assert w.purchase.payments > 1_200 and len(w.purchase.handled) <= 1_000


def test_refusals_of_a_seller_that_goes_on_fill_no_journal():
    v = Victim()
    before = []
    for n in range(500):
        step = v.tell(cmd.FromPeer(SELLER_ID, msg.Terms(SESSION, 2 + n, "m", f"[{n}]", 0)))
        before += step.events
    assert len(before) < 30


def test_a_silent_board_in_arrears_is_charged_what_it_reported():
    w = World(ARREARS)
    w.board_on = False
    w.open()
    w.report(10)
    w.buy(cmd.CloseStream(SESSION))
    w.pass_ms(700_000, step=5_000)
    assert w.sale.charged_msat == 1_000 and w.purchase.paid_msat == 1_000


def test_the_sellers_downtime_is_not_the_boards_silence():
    w = World()
    w.board_on = False
    w.open()
    w.report(10)
    w.buy(cmd.CloseStream(SESSION))
    w.pump()
    w.now += 601_000
    w.restart_seller()
    w.pass_ms(5_000)
    w.board_on = True
    w.report(10)
    w.report(10)
    assert w.receipts()[-1]["charged_msat"] == 1_000


def test_what_arrives_after_the_end_was_asked_for_is_not_taken_as_delivered():
    w = World()
    w.board_on = False
    w.open()
    w.hold = {do.Pay}
    w.report(80)
    w.sell(cmd.CloseSession(SESSION))
    (label,) = w.unpaid()
    w.pay(label, hook=False)
    w.pass_ms(601_000, step=5_000)
    assert w.sale.charged_msat == 10_000 and w.sale.received_msat > 10_000


def test_unplugged_with_a_grant_in_hand_is_not_yet_stopped():
    """A board that says so holds its grant through the unplug: it could go on when plugged in again."""
    w = World()
    w.board_on = False
    w.open()
    w.sell(cmd.Reading("m", "b1", 50, 0, 0, False, 100))
    w.now += 1
    assert w.sale.state in ("open", "ending") and w.grant() == 0
    w.sell(cmd.Reading("m", "b1", 100, 0, 0, True, 100))
    w.now += 1
    w.sell(cmd.Reading("m", "b1", 100, 0, 0, True, 0))
    w.pump()
    assert w.sale.state != "open" and w.sale.charged_msat == 10_000


def test_a_gate_is_confirmed_only_when_the_board_has_let_go():
    w = World()
    w.board_on = False
    w.open()
    w.hold = {do.Pay}
    w.sell(cmd.Reading("m", "b1", 0, 0, 0, True, 100))
    s = w.sell(cmd.Spend(SESSION, "g", "reserve", 6_000))
    assert not w.seller.confirmed(s)
    w.sell(cmd.Reading("m", "b1", 20, 0, 0, True, 40))
    assert w.seller.confirmed(s) and w.grant() == 40


def test_a_gate_gives_way_to_what_the_board_used_before_it_knew():
    w = World()
    w.board_on = False
    w.open()
    w.hold = {do.Pay}
    w.sell(cmd.Reading("m", "b1", 0, 0, 0, True, 100))
    w.sell(cmd.Spend(SESSION, "g", "reserve", 6_000))
    w.sell(cmd.Reading("m", "b1", 90, 0, 0, True, 40))
    with pytest.raises(NoCredit, match="had used the credit"):
        w.sell(cmd.Spend(SESSION, "g", "reserve", 6_000))
    assert w.sale.charged_msat == 9_000 and not w.sale.reserved_msat


def test_an_ending_session_waits_for_its_gates_and_takes_no_new_ones():
    w = World()
    w.open()
    w.sell(cmd.Spend(SESSION, "g", "reserve", 4_000))
    w.sell(cmd.CloseSession(SESSION))
    w.pump()
    with pytest.raises(WrongState, match="ending"):
        w.sell(cmd.Spend(SESSION, "h", "reserve", 1_000))
    w.report(0)
    assert w.sale.state in ("open", "ending")
    w.sell(cmd.Spend(SESSION, "g", "settle"))
    w.report(0)
    assert w.sale.state != "open" and w.sale.charged_msat == 4_000


def test_a_gate_that_died_holds_nothing_for_good():
    w = World()
    w.open()
    w.sell(cmd.Spend(SESSION, "g", "reserve", 10_000))
    w.hold = {do.Pay}
    w.pass_ms(700_000, step=5_000)
    assert w.sale.reserved_msat == 0
    w.sell(cmd.CloseSession(SESSION))
    w.report(0)
    assert w.sale.state != "open"


def test_reservations_are_bounded():
    w = World()
    w.open()
    for n in range(1_000):
        w.sell(cmd.Spend(SESSION, f"g{n}", "reserve", 1))
    with pytest.raises(TooMany):
        w.sell(cmd.Spend(SESSION, "more", "reserve", 1))


def test_arrears_that_nobody_uses_free_the_meter():
    w = World(ARREARS)
    w.open()
    w.lose = lambda m: True
    w.pass_ms(40_000)
    assert w.meter.state == "standby"


def test_arrears_under_the_limit_that_nobody_pays_end():
    w = World(ARREARS)
    w.open()
    w.lose, w.hold = (lambda m: True), {do.Pay}
    w.report(199)
    w.pass_ms(40_000)
    assert w.meter.state == "lockout" and w.sale.debt_msat == 19_900


def test_an_open_that_was_given_up_is_closed_at_the_seller_too():
    w = World(ARREARS)
    w.lose = lambda m: isinstance(m, (msg.Terms, msg.Receipt))
    w.open()
    w.report(1)
    w.pass_ms(61_000)
    w.report(1)
    assert w.purchase.state == "closed" and w.meter.state != "delivering"


@pytest.mark.parametrize("tariff", [{}, {"session_max_msat": 10_000}])
def test_nobody_is_locked_out_who_was_not_asked_or_could_not_pay(tariff):
    w = World(tariff, limits=Limits(silent_ms=15_000))
    w.open()
    w.hold = {do.Send}
    w.report(100)
    w.board_on = False
    w.pass_ms(40_000)
    assert w.meter.state == "standby" and w.sale.state != "open"


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


def test_a_refund_invoice_that_expired_is_replaced():
    w = World()
    w.channel_can_refund = False
    w.open()
    w.report(10)
    w.buy(cmd.CloseStream(SESSION))
    w.pump()
    old = w.purchase.refund_bolt11
    assert w.sale.owed_msat == 9_000
    w.hold = {do.PayRefund}
    w.pass_ms(30 * DAY_MS, step=DAY_MS // 4)
    w.hold = set()
    w.todo.clear()
    w.sell(cmd.RefundLost(SESSION, old, "the buyer's refund invoice has expired", True))
    w.channel_can_refund = True
    w.pass_ms(DAY_MS, step=60_000)
    assert w.sale.owed_msat == 0 and w.sale.refunded_msat == 9_000 and w.purchase.refund_bolt11 != old


def test_streams_whose_seller_is_gone_make_room_and_end():
    w = World()
    w.buyer.max_streams = 1
    w.open()
    w.lose = lambda m: True
    w.buy(cmd.CloseStream(SESSION))
    w.buy(cmd.OpenStream("ab" * 16, SELLER_ID, "other", "h:1", w.policy))
    w.pass_ms(61 * DAY_MS, step=DAY_MS // 4)
    assert w.purchase.state == "closed" and "no receipt" in w.purchase.closing.why


def test_a_debt_of_dust_keeps_nobody_out():
    w = World({**ARREARS, "price_msat": 50})
    w.open()
    w.hold = {do.Pay}
    w.report(10)
    w.buy(cmd.CloseStream(SESSION))
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
    w.sell(cmd.PeerConnected(BUYER_ID))
    w.buy(cmd.PeerConnected(SELLER_ID))
    w.pass_ms(120_000, step=1_000)
    assert w.sale.debt_msat == 0


def test_a_clock_that_was_set_back_accuses_nobody():
    w = World({"rating_ticks_per_s": 100})
    w.open()
    w.now += 10_000
    w.report(20)
    w.now -= 3_600_000
    w.report(21)
    w.report(90)
    assert w.meter.count == 90 and w.purchase.state == "streaming"
