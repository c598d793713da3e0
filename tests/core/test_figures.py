"""Figures that bounds rest on, each to the msat: what a side owes, holds, has at risk, and may still spend."""

import json
from dataclasses import replace

import pytest
from world import BUYER_ID, POLICY, SELLER_ID, SESSION, TARIFF, World, first_label, refold

from satmeter.core import actions as do
from satmeter.core import events as ev
from satmeter.core import inputs as inp
from satmeter.core import messages as msg
from satmeter.core import policy, receipt
from satmeter.core.books import REMEMBERED_SPENDS, Books
from satmeter.core.buyer import Buyer
from satmeter.core.errors import BadParam, OverCap, PolicyBreach, WrongState
from satmeter.core.growing import DUST_SAT, Growing
from satmeter.core.journal import canonical
from satmeter.core.labels import First, parse_opening
from satmeter.core.policy import Policy
from satmeter.core.purchase import DAY_MS, Flight, Purchase
from satmeter.core.sale import CLOSED, CLOSING, Sale
from satmeter.core.seller import Limits
from satmeter.core.tariff import Tariff
from satmeter.core.text import duration
from satmeter.devnet.emulated.invoices import LABEL_MOST

T = Tariff.from_dict(TARIFF)
ARREARS = Tariff.from_dict({**TARIFF, "mode": "arrears", "limit_msat": 20_000})


def sale(tariff=T, **fields):
    return replace(Sale(SESSION, "m", BUYER_ID, tariff, 0), **fields)


def purchase(**fields):
    p = Purchase(SESSION, SELLER_ID, "m", "", Policy.from_dict({**POLICY, "max_fee_msat": 100}), 0, tariff=T)
    return replace(p, **fields)


# --- a sale


def test_a_debt_counts_all_that_was_given():
    s = sale(ARREARS, phase=CLOSED, charged_final=9_000, paid=10_000)
    assert (s.debt, s.owed) == (0, 1_000)
    assert replace(s, refunded=700, taken=200, lapsed=100, lost=3).debt == 3_000
    assert replace(s, refunded=600, taken=200, lapsed=100, lost=0).owed == 100


def test_what_a_conflict_took_is_in_msat_where_it_may_be_charged():
    s = sale(start_count=0, count=1_000, paid=10_000, lost=3)
    assert s.received == 7_000 and s.charged == 10_000
    assert replace(s, spent=1_000, reserved={"a": 2_000}).charged == 7_000 + 1_000


def test_a_sale_in_arrears_may_be_charged_up_to_its_limit():
    s = sale(ARREARS, start_count=0, count=1_000, paid=5_000)
    assert s.charged == 25_000 and s.credit == -20_000 and s.grant_count == 250


def test_fees_of_versions_and_of_children_are_summed():
    books = Books()
    books.apply(ev.MeterAdded(1, "meter/m", T.to_dict()))
    books.apply(ev.SessionOpened(2, SESSION, "m", BUYER_ID, T.to_dict()))
    books.apply(ev.AddressGiven(3, SESSION, k=1, address="a", feerate=1_000))
    for n, (value, fee) in enumerate([(1_000, 300), (2_000, 310), (3_000, 330)], 1):
        books.apply(ev.InvoiceAsked(4, SESSION, n, 1_000_000))
        tx = {"value": value, "fee": fee, "weight": 560, "txid": "t", "vout": 0, "raw": "r", "inputs": []}
        books.apply(ev.VersionTaken(5, SESSION, n=n, k=1, amount=1_000_000, count=0, **tx))
    s = books.sales[SESSION]
    assert (s.fees, s.basic_fees, s.first_fee, s.paid) == (330, 940, 300, 3_000_000)
    for fee in (40, 60):
        books.apply(ev.TxBumped(6, SESSION, k=1, tip="x:0", value=900, fee=fee))
    assert (s.txs[1].bump_fee, s.bump_fees) == (100, 100)


def test_half_a_slice_of_room_asks_for_nothing_while_one_invoice_is_out():
    four = Tariff.from_dict({**TARIFF, "window": 4})
    s = sale(four, paid=6_250, out={2: 2_500}, start_count=0)
    assert s.next_invoice() == 0
    assert replace(s, paid=5_000).next_invoice() == 2_500


def test_the_newest_settled_ids_of_gates_are_remembered():
    w = World()
    w.open()
    for n in range(REMEMBERED_SPENDS):
        w.sell(inp.Spend(SESSION, f"g{n}", "reserve", 1))
        w.sell(inp.Spend(SESSION, f"g{n}", "settle"))
    w.sell(inp.Spend(SESSION, "g0", "settle"))
    assert w.sale.spent == REMEMBERED_SPENDS


def test_a_new_boot_with_its_base_is_counted_and_recorded():
    w = World()
    w.open()
    w.report(30)
    w.report(37, boot="b2", base=35)
    booted = [e for e in w.seller_events if e.kind() == "board_booted"][-1]
    assert (booted.offset, booted.count, w.meter.count) == (0, 35, 37)
    w.report(3, boot="b3", base=0)
    assert w.meter.count == 40
    w.restart_seller()
    assert w.meter.offset == 37


# --- a stream


def test_what_is_under_way_counts_as_held_by_the_seller_and_as_at_risk():
    p = purchase(carried=500, paid=2_000, sent=2_050, flights={2: Flight(1_000, 100, "a"), 3: Flight(700, 100, "b")})
    assert p.committed == 500 + 2_000 + 1_700
    assert p.exposure == 2_500 + 1_700 + 200
    assert replace(p, ticks=10).exposure == 2_500 - 1_000 + 1_900
    assert p.fees == 50 and p.in_flight == 1_900


def test_fees_have_the_room_that_was_paid_for():
    p = purchase(policy=replace(purchase().policy, max_fee_msat=100))
    assert p.fee_left == 100
    busy = replace(p, flights={1: Flight(10_000, 60, "a"), 2: Flight(0, 70, "b")})
    assert busy.fee_left == 2 * 100 - 130
    spent = replace(p, paid=10_000, sent=10_190, flights={2: Flight(0, 100, "b")})
    assert spent.fee_left == 0


def test_a_day_is_a_day():
    w = World()
    w.now = 10 * DAY_MS - 1
    assert DAY_MS == 24 * 3600 * 1000
    w.buyer.ledger._spent(w.now, 5_000)
    assert w.buyer.ledger.spent_on(w.now) == 5_000 and w.buyer.ledger.spent_on(10 * DAY_MS) == 0


def test_a_receipt_that_knows_less_than_was_paid_is_short():
    text = canonical({**json.loads(signed_receipt()), "paid_msat": 9_000, "charged_msat": 9_000})
    p = purchase(paid=10_000, receipt=text, verified=True, state="closed")
    assert p.short and not replace(p, paid=9_000).short


def signed_receipt(**fields):
    return receipt.text(replace(sale(), phase=CLOSING, paid=10_000, charged_final=10_000, start_count=0), SELLER_ID, 1)


@pytest.mark.parametrize("name", receipt._WHOLE)
def test_each_figure_of_a_receipt_has_to_be_a_whole_number(name):
    sound = json.loads(signed_receipt())
    assert receipt.read(canonical(sound))
    for value in ("1", -1, 1.5, True, None):
        assert receipt.read(canonical({**sound, name: value})) is None


@pytest.mark.parametrize(
    "wrong", [{"session": "9" * 32}, {"seller": "02" + "dd" * 32}, {"meter": "other"}, {"paid_msat": 9_999}]
)
def test_a_receipt_of_another_session_seller_or_meter_or_of_less_is_disputed(wrong):
    w = World()
    w.open()
    w.hold = {do.CheckReceipt}
    w.buy(inp.CloseStream(SESSION))
    w.pump()
    check = next(a for _, a in w.todo if isinstance(a, do.CheckReceipt))
    said = {**json.loads(check.text), **wrong}
    if "paid_msat" in wrong:
        said["refunded_msat"] -= 1
    arrivals = {label: w.refunds.get(f"refund:{label}", 0) for label in check.labels}
    w.buy(inp.ReceiptChecked(SESSION, canonical(said), "sig", True, arrivals))
    assert w.purchase.disputed


def test_a_later_refusal_forgives_no_breach():
    ledger = refold(
        [ev.StreamOpened(1, SESSION, SELLER_ID, "m", "", Policy.from_dict(POLICY).to_dict())], Buyer().ledger
    )
    ledger.apply(ev.InvoiceRefused(2, SESSION, 1, "lied", {"error": "PolicyBreach"}))
    ledger.apply(ev.InvoiceRefused(3, SESSION, 2, "dear", {"error": "OverCap"}))
    assert ledger.purchases[SESSION].breached


def test_a_handled_invoice_is_not_taken_up_again():
    w = World()
    w.open()
    paid = next(m for m in w.sent if isinstance(m, msg.Invoice))
    w.buy(inp.FromPeer(SELLER_ID, replace(paid, seq=w.now + 5)))
    assert not w.todo and len(w.purchase.flights) == 0
    assert [e.kind() for e in w.buyer_events].count("payment_started") == 1


def test_ten_payments_are_out_and_the_next_one_waits():
    w = World({"window": 12, "quantum_msat": 12_000})
    w.open()
    w.buy(inp.PauseStream(SESSION))
    w.report(120)
    w.hold = {do.Pay}
    w.buy(inp.ResumeStream(SESSION))
    w.pump()
    assert len(w.purchase.flights) == 10


# --- policy


def test_an_unknown_cap_is_refused_by_name():
    with pytest.raises(BadParam, match="max_prise_msat"):
        Policy.from_dict({**POLICY, "max_prise_msat": 1})


def test_progress_is_bounded_to_the_whole_second():
    rated = Tariff.from_dict({**TARIFF, "rating_ticks_per_s": 10})
    most = 10 * (7 + policy.RATING_SLACK_S)
    policy.check_progress(rated, most, 0, 7_999)
    with pytest.raises(PolicyBreach):
        policy.check_progress(rated, most + 1, 0, 7_999)
    policy.check_progress(rated, most + 10, 0, 8_000)


def test_the_pace_is_bounded_to_the_whole_second():
    p = Policy.from_dict({**POLICY, "max_msat_per_s": 100})
    policy.check_pace(p, T, 10_700, 7_999)
    with pytest.raises(OverCap):
        policy.check_pace(p, T, 10_701, 7_999)
    policy.check_pace(Policy.from_dict(POLICY), T, 10**12, 0)


def test_a_slice_of_exactly_one_tick_is_sold_and_so_is_an_invoice_for_one():
    one = Tariff.from_dict({**TARIFF, "quantum_msat": 100, "low_water_msat": 0})
    assert one.ticks(one.slice_msat) == 1
    w = World()
    w.sell(inp.Offer("m", 100))
    with pytest.raises(BadParam):
        w.sell(inp.Offer("m", 99))


def test_on_chain_the_low_water_may_be_a_dust_limit_under_the_quantum():
    onchain = {**TARIFF, "settlement": "onchain", "quantum_msat": 2_000_000}
    Tariff.from_dict({**onchain, "low_water_msat": 2_000_000 - DUST_SAT * 1000})
    with pytest.raises(BadParam):
        Tariff.from_dict({**onchain, "low_water_msat": 2_000_001 - DUST_SAT * 1000})


# --- who comes and goes


def test_a_debt_of_dust_keeps_nobody_out_and_one_msat_more_does():
    w = World(limits=Limits(silent_ms=10**9))
    for debt, served in ((999, True), (1_000, False)):
        w.seller.books.sales["9" * 32] = sale(ARREARS, id="9" * 32, phase=CLOSED, charged_final=debt)
        w.sell(inp.FromPeer(BUYER_ID, msg.Open(f"{debt:032x}", w.now, "m")))
        w.todo.clear()
        assert (f"{debt:032x}" in w.seller.openings) is served


def test_a_remainder_stays_on_its_own_meter():
    w = World()
    w.sell(inp.AddMeter("n", TARIFF))
    w.sell(inp.Reading("n", "b1", 0))
    label, first = w.sell(inp.Offer("m", 0))
    w.pump()
    w.pay(label)
    w.report(40)
    w.report(40, plugged=False)
    other, second = w.sell(inp.Offer("n", 0))
    w.pump()
    w.pay(other)
    assert w.seller.books.sales[second].brought == 0 and w.seller.books.sales[first].owed == 6_000


def test_a_strangers_message_brings_no_buyer_back():
    w = World()
    w.open()
    w.sell(inp.PeerLost(BUYER_ID))
    gone = w.sale.gone_at
    w.sell(inp.FromPeer("02" + "cc" * 32, msg.Close(SESSION, w.now, msg.BUYER, "mine")))
    assert gone and w.sale.gone_at == gone


def test_unlocking_is_for_what_is_locked():
    w = World()
    with pytest.raises(WrongState, match="not locked"):
        w.sell(inp.Unlock("m"))
    w.seller.books.apply(ev.Locked(w.now, "meter/m", w.now + 60_000, BUYER_ID, ""))
    w.sell(inp.Unlock("m"))
    assert w.meter.state == "standby"


def test_a_wallet_invoice_is_not_paid_while_the_board_is_silent():
    w = World(limits=Limits(silent_ms=15_000))
    label, _ = w.sell(inp.Offer("m", 0))
    w.pump()
    assert w.meter.offer(w.now)
    assert w.seller.rejects(label, w.now) == "" and w.seller.rejects(label, w.now + 15_001) == "the board is silent"


def test_a_refund_invoice_that_comes_before_the_last_payment_is_kept():
    w = World()
    w.open()
    w.hold = {do.Pay}
    w.report(80)
    claims = msg.Close(SESSION, w.now + 9, msg.BUYER, "bye", 18_000, "refund:early")
    w.sell(inp.FromPeer(BUYER_ID, claims))
    assert w.sale.refund_bolt11 == "refund:early"


def test_both_sides_tell_of_the_end():
    w = World()
    w.open()
    w.notes.clear()
    w.buy(inp.CloseStream(SESSION))
    w.pump()
    assert {"meter_state", "stream_state", "meter_closed"} <= {topic for topic, _ in w.notes}


def test_a_lost_request_for_an_invoice_is_repeated_soon():
    w = World()
    w.open()
    w.hold = {do.MakeInvoice}
    w.report(100)
    label = next(a.label for _, a in w.todo if isinstance(a, do.MakeInvoice) and a.hurry)
    w.todo.clear()
    w.pass_ms(5_250)
    assert [a.label for _, a in w.todo if isinstance(a, do.MakeInvoice) and a.hurry] == [label]


def test_a_growing_transaction_is_pending_while_it_stands_for_something():
    g = Growing(1, "a", 1_000)
    assert sale(txs={1: g}, tx_count=1).firm and not sale(txs={1: replace(g, value=5)}, tx_count=1).firm


def test_the_first_invoice_names_its_buyer_in_as_many_bytes_as_a_node_takes():
    longest = first_label(meter="m" * 32, journal="0" * 8)
    assert parse_opening(longest) == ("0" * 8, First("m" * 32, SESSION, BUYER_ID, T.mark))
    assert len(longest) <= LABEL_MOST and parse_opening(longest[:-1] + "!") is None


# --- what mutants showed that no test saw


def test_a_seller_that_is_back_is_asked_at_once():
    w = World()
    w.open()
    p = w.buyer.ledger.purchases[SESSION]
    w.buy(inp.PeerLost(SELLER_ID))
    assert p.cut_off
    w.buy(inp.PeerConnected("02" + "99" * 32))
    assert p.cut_off
    w.buy(inp.PeerConnected(SELLER_ID))
    assert not p.cut_off


def test_an_unowned_payment_of_an_older_journal_has_all_before_it_counted():
    for upto, index in ((-1, 9), (6, 6)):
        books = Books()
        books.index = 5
        given = {"upto": upto} if upto >= 0 else {}
        books.apply(ev.PaymentUnowned(1, "unowned", label="l", amount=700, index=9, hash="h", **given))
        assert books.index == index and books.unowned == {"l": 700} and books.known_payment(9)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (3600, "1 h 00 min"), (86400, "1 days 0 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
