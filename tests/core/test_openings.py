"""Who has paid nothing holds nothing: openings wait beside one another, cost a bounded amount, and leave no row."""

import pytest
from world import (
    BUYER_ID,
    SELLER_ID,
    SESSION,
    TARIFF,
    World,
    first_label,
)

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.errors import (
    ClockWrong,
    WrongState,
)
from satmeter.core.labels import OpeningLabel, parse
from satmeter.core.reading import Reading
from satmeter.core.seller.context import Limits
from satmeter.core.seller.openings import AGREED_BURST, STRANGERS_BURST, STRANGERS_PER_S, UNUSED_MS
from satmeter.core.seller.seller import Seller
from satmeter.core.seller.session import SellerSession

SILENT = Limits(silent_ms=10**9)


def stranger(n):
    return f"02{n:064x}"


def session_of(n):
    return f"{n:032x}"


def ask(w, n, session=None, peer=None):
    """A stranger opens and never pays; returns what it is told."""
    before = len(w.todo)
    w.sell(cmd.FromPeer(peer=peer or stranger(n), message=msg.Open(session or session_of(n), w.now + n, "m")))
    told = [a.message for _, a in list(w.todo)[before:] if isinstance(a, do.Send)]
    w.pump()
    return told


def rows(w):
    return [e.kind() for e in w.seller_events]


def test_strangers_who_never_pay_neither_hold_the_meter_nor_fill_the_journal():
    w = World(limits=SILENT)
    served = 0
    for n in range(93):
        ask(w, n)
        w.open(session=session_of(1000 + n))
        served += w.meter.state == "delivering"
        w.buy(cmd.CloseStream(session=session_of(1000 + n)))
        w.pump()
        w.pass_ms(2_000, step=1_000)
    assert served == 93
    mine = {session_of(1000 + n) for n in range(93)}
    assert {e.subject for e in w.seller_events} <= mine | {"meter/m"}


def test_a_plain_wallet_pays_beside_unpaid_opens():
    w = World(limits=SILENT)
    for n in range(33):
        ask(w, n)
    label, _ = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    w.pump()
    assert w.pay(label) and w.meter.state == "delivering"


def test_the_first_payment_takes_the_meter_and_the_second_is_refunded():
    w = World(limits=SILENT)
    w.hold = {do.Pay}
    w.open()
    ask(w, 7)
    second = first_label(session_of(7), stranger(7))
    w.hold = set()
    w.pump()
    assert w.sale.buyer == BUYER_ID and w.meter.session == SESSION
    assert w.seller.rejects(second, w.now) == "another session has the meter"
    assert w.pay(second, hook=False)  # the plugin was away: it settled all the same
    parked = w.seller.state.sessions[session_of(7)]
    assert (parked.owed_msat, parked.state != "open", w.meter.session) == (10_000, True, SESSION)


def test_a_payment_finds_its_owner_where_a_crash_has_forgotten_the_opening():
    w = World()
    w.hold = {do.Pay}
    w.open()
    label = first_label()
    w.restart_seller()
    w.report(0)
    assert not w.seller.waiting
    assert w.pay(label, hook=False)
    assert (w.sale.buyer, w.sale.paid_msat, w.meter.session) == (BUYER_ID, 10_000, SESSION)
    w.restart_seller()
    w.sell(cmd.InvoiceSettled(label=label, amount_msat=10_000, pay_index=1, payment_hash=label, after=0))
    assert w.seller.state.sessions[SESSION].paid_msat == 10_000


def test_the_same_node_has_to_wait_ever_longer():
    w = World(limits=SILENT)
    for n in range(3):
        assert not isinstance(ask(w, n, peer=stranger(1))[0], msg.Error)
        w.sell(cmd.FromPeer(peer=stranger(1), message=msg.Close(session_of(n), w.now + 500, msg.BUYER, "no")))
        w.pump()
    waits = []
    for n in range(3, 8):
        (refused,) = ask(w, n, peer=stranger(1))
        assert isinstance(refused, msg.Error) and "were not paid" in refused.text
        waits.append(int(refused.text.rsplit(" ", 2)[-2]))
        w.now += waits[-1] * 1000
        assert not isinstance(ask(w, n, peer=stranger(1))[0], msg.Error)
        w.sell(cmd.FromPeer(peer=stranger(1), message=msg.Close(session_of(n), w.now + 500, msg.BUYER, "no")))
        w.pump()
    assert waits == sorted(waits) and waits[-1] >= 8 * waits[0]


def test_all_strangers_together_cost_no_more_invoices_than_their_budget():
    w = World(limits=SILENT)
    w.hold = {do.MakeInvoice}
    for n in range(1_000):
        ask(w, n)
    made = [a for _, a in w.todo if isinstance(a, do.MakeInvoice)]
    assert len(made) == STRANGERS_BURST
    w.now += 1_000
    for n in range(1_000, 2_000):
        ask(w, n)
    assert len([a for _, a in w.todo if isinstance(a, do.MakeInvoice)]) == STRANGERS_BURST + STRANGERS_PER_S


def test_who_has_paid_is_served_when_strangers_have_used_up_their_budget():
    w = World(limits=SILENT)
    w.open()
    w.report(100)
    w.report(100, plugged=False)
    w.report(100)
    for n in range(1_000):
        ask(w, n)
    w.open(session=session_of(5_000))
    assert w.meter.session == session_of(5_000)


def test_openings_are_bounded_and_the_oldest_stranger_goes_first():
    w = World(limits=Limits(silent_ms=10**9, openings=5))
    for n in range(8):
        ask(w, n)
    assert list(w.seller.waiting) == [session_of(n) for n in range(3, 8)]


def test_an_allowance_that_was_drawn_before_the_open_locks_nobody():
    w = World({"allowance_ticks": 20}, limits=SILENT)
    w.report(20)
    ask(w, 1)
    w.pass_ms(31_000, step=1_000)
    assert w.meter.state == "standby"


def test_a_stranger_locks_no_plug_for_which_somebody_else_waits():
    w = World({"allowance_ticks": 20}, limits=SILENT)
    ask(w, 1)
    w.pass_ms(15_000, step=1_000)
    w.hold = {do.Pay}
    w.open()
    w.report(20)
    w.pass_ms(16_000, step=1_000)
    assert w.meter.state == "standby" and w.first()
    w.hold = set()
    w.pump()
    assert w.meter.state == "delivering"


def test_in_arrears_who_uses_nothing_makes_room_and_leaves_no_receipt():
    w = World({"mode": "arrears", "limit_msat": 20_000}, limits=SILENT)
    ask(w, 1)
    w.sell(cmd.FromPeer(peer=stranger(1), message=msg.Agree(session_of(1), w.now + 9)))
    w.pump()
    assert w.meter.session == session_of(1)
    w.open(session=session_of(2))
    assert w.buyer.state.streams[session_of(2)].closing.why == "MeterTaken: another session has meter m"
    w.now += UNUSED_MS
    w.open(session=session_of(3))
    w.pass_ms(3_000)  # the terms are said again once the board of the unused session has stopped
    assert w.meter.session == session_of(3) and w.grant() == 200
    w.report(50)
    w.now += UNUSED_MS
    (refused,) = ask(w, 4)
    assert refused.text == "another session has meter m" and w.meter.session == session_of(3)  # who uses it, keeps it
    assert not any(e.kind() == "receipt_signed" and e.subject == session_of(1) for e in w.seller_events)


def test_strangers_begin_few_sessions_in_arrears():
    w = World({"mode": "arrears", "limit_msat": 20_000}, limits=SILENT)
    for n in range(3 * AGREED_BURST):
        ask(w, n)
        w.sell(cmd.FromPeer(peer=stranger(n), message=msg.Agree(session_of(n), w.now + 9)))
        w.pump()
        w.now += 100
        if w.meter.session:
            w.sell(cmd.CloseSession(session=w.meter.session))
            w.pump()
    assert rows(w).count("session_opened") == AGREED_BURST


@pytest.mark.parametrize("flood", [1, 400])
def test_a_flood_of_opens_goes_on_and_nothing_grows(flood):
    w = World(limits=SILENT)
    for n in range(flood):
        ask(w, n)
        w.pass_ms(1_000, step=1_000)
    assert len(w.seller.waiting) <= 31 * STRANGERS_PER_S and set(rows(w)) == {"meter_added", "board_booted"}
    w.pass_ms(40_000, step=1_000)
    assert not w.seller.waiting


def test_a_meter_is_not_opened_at_another_meters_price():
    peer = stranger(9)
    for restarts in (True, False):
        w = World(limits=SILENT)
        w.sell(cmd.AddMeter(meter="cheap", tariff={**TARIFF, "price_msat": 1}))
        w.sell(cmd.Report(meter="cheap", reading=Reading("c1", 0)))
        ask(w, 9, SESSION, peer)
        if restarts:
            w.restart_seller()
            w.report(0)
            w.sell(cmd.Report(meter="cheap", reading=Reading("c1", 0)))
        else:
            w.sell(cmd.FromPeer(peer=peer, message=msg.Close(SESSION, w.now + 10, msg.BUYER, "no")))
        w.sell(cmd.FromPeer(peer=peer, message=msg.Open(SESSION, w.now + 20, "cheap")))
        w.pump()
        dear = first_label(SESSION, peer)
        if restarts:
            assert w.seller.rejects(dear, w.now) == "the invoice is superseded"
        w.invoices.setdefault(dear, [10_000, "unpaid", 0, "x"])[1] = "unpaid"
        assert w.pay(dear, hook=False)
        assert all(
            s.tariff.price_msat == TARIFF["price_msat"] for s in w.seller.state.sessions.values() if s.meter == "m"
        )
        assert w.grant() <= 100


def test_terms_that_changed_while_an_opening_was_forgotten_are_not_forced_on_its_buyer():
    w = World()
    w.hold = {do.Pay}
    w.open()
    old = first_label()
    w.sell(cmd.SetMeter(meter="m", tariff={"price_msat": 5_000}))
    w.restart_seller()
    w.report(0)
    assert w.seller.rejects(old, w.now) == "the terms have changed"
    assert w.pay(old, hook=False)
    (kept,) = w.seller.state.sessions.values()
    assert (kept.owed_msat, kept.charged_msat, w.meter.session) == (10_000, 0, "")


def test_who_only_agrees_has_paid_nothing():
    w = World({"mode": "arrears", "limit_msat": 20_000}, limits=SILENT)
    for n in range(100):
        ask(w, n, peer=stranger(1))
        w.sell(cmd.FromPeer(peer=stranger(1), message=msg.Agree(session_of(n), w.now + 9)))
        w.sell(cmd.FromPeer(peer=stranger(1), message=msg.Close(session_of(n), w.now + 10, msg.BUYER, "x")))
        w.pump()
        w.now += 20
    assert stranger(1) not in w.seller.context.openings.payers and rows(w).count("session_opened") <= AGREED_BURST


def test_a_stranger_over_its_budget_ends_nobodys_session():
    w = World({"mode": "arrears", "limit_msat": 20_000}, limits=SILENT)
    w.seller.context.openings.agreed_at["m"] = [w.now] * AGREED_BURST
    w.seller.context.openings.payers[BUYER_ID] = None
    w.open()
    assert w.meter.session == SESSION
    w.now += UNUSED_MS
    ask(w, 1)
    before = len(w.todo)
    w.sell(cmd.FromPeer(peer=stranger(1), message=msg.Agree(session_of(1), w.now + 9)))
    told = [a.message for _, a in list(w.todo)[before:] if isinstance(a, do.Send)]
    assert isinstance(told[0], msg.Error) and w.meter.session == SESSION and not w.sale.ending_at


def test_one_tick_holds_no_meter_for_ever():
    w = World({"mode": "arrears", "limit_msat": 20_000}, limits=SILENT)
    ask(w, 1)
    w.sell(cmd.FromPeer(peer=stranger(1), message=msg.Agree(session_of(1), w.now + 9)))
    w.pump()
    w.report(1)
    w.now += TARIFF["grace_s"] * 1000
    w.open()
    w.pass_ms(3_000)
    assert w.meter.session == SESSION


def test_credit_finds_its_way_past_an_unused_session():
    w = World({"mode": "arrears", "limit_msat": 20_000}, limits=SILENT)
    w.seller.state.sessions["9" * 32] = SellerSession(
        "9" * 32, "m", BUYER_ID, w.meter.tariff, 0, state="closed", paid_msat=7_000, final_charge_msat=0, revision=1
    )
    ask(w, 1)
    w.sell(cmd.FromPeer(peer=stranger(1), message=msg.Agree(session_of(1), w.now + 9)))
    w.pump()
    w.now += UNUSED_MS
    w.open()
    w.pass_ms(3_000)
    assert w.meter.session == SESSION


def test_only_tries_of_its_own_are_held_against_a_node():
    w = World(limits=SILENT)
    for n in range(5):
        assert not isinstance(ask(w, n, peer=stranger(1))[0], msg.Error)
        w.report(0, plugged=False)
        w.pass_ms(1_000)
        w.report(0)
    assert stranger(1) not in w.seller.context.openings.unpaid


def test_a_meter_is_removed_only_when_nobody_is_about_to_pay():
    w = World(limits=SILENT)
    ask(w, 1)
    with pytest.raises(WrongState, match="about to pay"):
        w.sell(cmd.RemoveMeter(meter="m"))
    w.sell(cmd.RemoveMeter(meter="m"))


def test_a_wallets_invoice_counts_as_somebody_who_waits():
    w = World({"allowance_ticks": 20}, limits=SILENT)
    ask(w, 1)
    w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    w.pump()
    w.report(20)
    w.pass_ms(31_000, step=1_000)
    assert w.meter.state == "standby"


def test_opens_that_were_not_paid_are_forgotten_after_an_hour():
    w = World(limits=Limits(silent_ms=10**9))
    w.seller.context.openings.unpaid[BUYER_ID] = (3, w.now - 3_600_000)
    w.sell(cmd.FromPeer(peer=BUYER_ID, message=msg.Open(SESSION, w.now, "m")))
    w.sell(cmd.FromPeer(peer=BUYER_ID, message=msg.Close(SESSION, w.now + 1, msg.BUYER, "no")))
    assert w.seller.context.openings.unpaid[BUYER_ID] == (1, w.now)


def test_the_first_invoice_of_an_open_that_was_given_up_can_not_be_paid():
    w = World()
    w.hold = {do.Pay}
    w.open()
    (label,) = [label for label in w.invoices if isinstance(parse(label), OpeningLabel)]
    w.sell(cmd.CloseSession(session=SESSION, reason="by hand"))
    w.pump()
    assert w.invoices[label][1] == "gone"


def test_a_buyer_that_refuses_the_first_invoice_ends_its_opening_and_nothing_else():
    w = World()
    w.hold = {do.Pay}
    w.open()
    before = len(w.seller_events)
    (number,) = w.first().out
    w.sell(
        cmd.FromPeer(peer=BUYER_ID, message=msg.Error(SESSION, w.now + 1, msg.BUYER, ClockWrong.code, "late", number))
    )
    assert w.first() is None and len(w.seller_events) == before


def test_an_open_that_nobody_could_pay_locks_no_plug():
    """The node made no invoice for it: that it is not paid is not its buyer's doing."""
    w = World({"allowance_ticks": 20}, limits=SILENT)
    w.hold = {do.MakeInvoice}
    ask(w, 1)
    w.report(20)
    w.pass_ms(40_000, step=1_000)
    assert not w.seller.waiting and w.meter.state == "standby"


def test_who_waits_for_a_meter_is_told_when_an_opening_of_it_is_dropped():
    w = World(limits=SILENT)
    ask(w, 1)
    step = w.seller.handle(
        cmd.FromPeer(peer=stranger(1), message=msg.Close(session_of(1), w.now, msg.BUYER, "no", 0, "")), w.now
    )
    assert session_of(1) in step.touched


def test_who_left_a_debt_at_one_meter_begins_at_none_where_it_waits():
    now, register = 10**9, {}
    seller = Seller(SELLER_ID, SILENT)

    def tell(what):
        nonlocal now
        now += 10
        return seller.handle(what, now)

    def read(meter, ticks=0, **how):
        register[meter] = register.get(meter, 0) + ticks
        tell(cmd.Report(meter=meter, reading=Reading(f"b{meter}", register[meter], **how)))

    meters = {f"m{n}": session_of(n) for n in range(5)}
    for meter in meters:
        tell(cmd.AddMeter(meter=meter, tariff={**TARIFF, "mode": "arrears", "limit_msat": 10_000}))
        read(meter)
    for meter, session in meters.items():
        tell(cmd.FromPeer(peer=BUYER_ID, message=msg.Open(session, now, meter)))
    for meter, session in meters.items():
        step = tell(cmd.FromPeer(peer=BUYER_ID, message=msg.Agree(session, now)))
        if session in seller.state.sessions:
            read(meter, 100)
            tell(cmd.FromPeer(peer=BUYER_ID, message=msg.Close(session, now, msg.BUYER, "", 0, "")))
            read(meter, grant=0)
        else:
            assert session not in seller.waiting and any(
                "debt" in str(a.message) for a in step.effects if isinstance(a, do.Send)
            )
    assert sum(s.debt_msat for s in seller.state.sessions.values()) == 10_000


def test_strangers_in_arrears_are_counted_over_a_restart():
    w = World({"mode": "arrears", "limit_msat": 10_000}, limits=SILENT)
    begun = 0
    for n in range(3 * AGREED_BURST):
        if n % 10 == 0:
            w.restart_seller()
            w.report(0)
        ask(w, n)
        w.sell(cmd.FromPeer(peer=stranger(n), message=msg.Agree(session_of(n), w.now)))
        if session_of(n) in w.seller.state.sessions:
            begun += 1
            w.sell(cmd.FromPeer(peer=stranger(n), message=msg.Close(session_of(n), w.now + 1, msg.BUYER, "", 0, "")))
            w.pump()
        w.now += 30
    assert begun == AGREED_BURST


def test_strangers_may_open_a_hundred_times_at_once_and_then_twenty_a_second():
    """Openings cost the node an invoice each. Who asked for one too many asks again, and is answered then."""
    w = World()
    w.hold = {do.MakeInvoice}

    def strangers(first, count):
        before = len(w.seller.waiting)
        for n in range(first, first + count):
            w.sell(cmd.FromPeer(peer="03" + f"{n:064x}", message=msg.Open(f"{n:032x}", w.now, "m")))
        return len(w.seller.waiting) - before

    assert strangers(1, 130) == 100
    w.now += 1_000
    assert strangers(1_000, 50) == 20
    w.now += 60_000
    assert strangers(2_000, 130) <= 100


def test_who_has_paid_in_arrears_counts_as_no_stranger_after_a_restart():
    w = World({"mode": "arrears", "limit_msat": 10_000}, limits=SILENT)
    for n in range(AGREED_BURST):
        w.open(session=session_of(1_000 + n))
        w.report(10 * (n + 1))
        w.buy(cmd.CloseStream(session=session_of(1_000 + n)))
        w.pump()
    assert rows(w).count("session_opened") == rows(w).count("invoice_paid") == AGREED_BURST
    w.restart_seller()
    w.report(10 * AGREED_BURST)
    ask(w, 1)
    w.sell(cmd.FromPeer(peer=stranger(1), message=msg.Agree(session_of(1), w.now)))
    assert w.meter.session == session_of(1)
