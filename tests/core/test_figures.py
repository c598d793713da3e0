"""Figures that bounds rest on, each to the msat: what a side owes, holds, has at risk, and may still spend."""

import json
from dataclasses import replace

import pytest
from liar import Liar
from world import BUYER_ID, POLICY, SELLER_ID, SESSION, TARIFF, World, first_label, refold

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core import receipt
from satmeter.core.buyer import events as buying
from satmeter.core.buyer import policy
from satmeter.core.buyer import views as buyer_views
from satmeter.core.buyer.buyer import Buyer
from satmeter.core.buyer.policy import Policy
from satmeter.core.buyer.session import BuyerSession, FinalReceipt, PaymentInFlight
from satmeter.core.errors import BadParam, OverCap, PolicyBreach, WrongState
from satmeter.core.journal import canonical
from satmeter.core.labels import First, OpeningLabel, parse
from satmeter.core.reading import Reading
from satmeter.core.seller import events as selling
from satmeter.core.seller.context import Limits
from satmeter.core.seller.session import SellerSession
from satmeter.core.seller.state import REMEMBERED, SellerState
from satmeter.core.settlement.transaction import DUST_SAT, GrowingTransaction, OnchainAccount, TxInput
from satmeter.core.snapshot import DAY_MS
from satmeter.core.states import SessionState, StreamState
from satmeter.core.tariff import Tariff
from satmeter.devnet.emulated.invoices import LABEL_MOST
from satmeter.formatting import duration

T = Tariff.from_dict(TARIFF)
ARREARS = Tariff.from_dict({**TARIFF, "mode": "arrears", "limit_msat": 20_000})


def sale(tariff=T, lost_sat=0, **fields):
    return replace(
        SellerSession(SESSION, "m", BUYER_ID, tariff, 0, onchain=OnchainAccount(lost_sat=lost_sat)), **fields
    )


def flight(amount_msat, maxfee_msat, payment_hash):
    return PaymentInFlight(amount_msat, maxfee_msat, payment_hash, 0)


def purchase(**fields):
    p = BuyerSession(SESSION, SELLER_ID, "m", "", Policy.from_dict({**POLICY, "max_fee_msat": 100}), 0, tariff=T)
    return replace(p, **fields)


# --- a sale


def test_a_debt_counts_all_that_was_given():
    s = sale(ARREARS, state=SessionState.CLOSED, final_charge_msat=9_000, paid_msat=10_000)
    assert (s.debt_msat, s.owed_msat) == (0, 1_000)
    lost = OnchainAccount(lost_sat=3)
    assert replace(s, refunded_msat=700, taken_msat=200, lapsed_msat=100, onchain=lost).debt_msat == 3_000
    assert replace(s, refunded_msat=600, taken_msat=200, lapsed_msat=100).owed_msat == 100


def test_what_a_conflict_took_is_in_msat_where_it_may_be_charged():
    s = sale(start_count=0, count=1_000, paid_msat=10_000, lost_sat=3)
    assert s.received_msat == 7_000 and s.charged_msat == 10_000
    assert replace(s, spent_msat=1_000, reserved={"a": 2_000}).charged_msat == 7_000 + 1_000


def test_a_sale_in_arrears_may_be_charged_up_to_its_limit():
    s = sale(ARREARS, start_count=0, count=1_000, paid_msat=5_000)
    assert s.charged_msat == 25_000 and s.credit_msat == -20_000 and s.grant_count == 250


def test_fees_of_updates_and_of_children_are_summed():
    state = SellerState()
    state.apply(selling.MeterAdded(at=1, subject="meter/m", tariff=T))
    state.apply(opened(2))
    state.apply(selling.AddressGiven(at=3, subject=SESSION, tx_number=1, address="a", feerate=1_000))
    for n, (value, fee) in enumerate([(1_000, 300), (2_000, 310), (3_000, 330)], 1):
        state.apply(selling.InvoiceAsked(at=4, subject=SESSION, number=n, amount_msat=1_000_000, count=0))
        tx = {"value_sat": value, "fee_sat": fee, "weight": 560, "txid": "t", "vout": 0, "raw": "r"}
        coin = [TxInput("c:0", 10_000, "51")]
        state.apply(
            selling.UpdateTaken(
                at=5, subject=SESSION, number=n, tx_number=1, amount_msat=1_000_000, count=0, inputs=coin, **tx
            )
        )
    s, account = state.sessions[SESSION], state.sessions[SESSION].onchain
    assert (account.fees_sat, account.basic_fees_sat, account.first_fee_sat) == (330, 940, 300)
    assert s.paid_msat == 3_000_000
    state.apply(selling.TxSent(at=6, subject=SESSION, tx_number=1, why="old"))
    for fee in (40, 60):
        state.apply(selling.TxBumped(at=6, subject=SESSION, tx_number=1, tip="x:0", value_sat=900, fee_sat=fee))
    assert account.transactions[1].bump_fee_sat == 100


def test_half_a_slice_of_room_asks_for_nothing_while_one_invoice_is_out():
    four = Tariff.from_dict({**TARIFF, "window": 4})
    s = sale(four, paid_msat=6_250, out={2: 2_500}, start_count=0)
    assert s.next_amount() == 0
    assert replace(s, paid_msat=5_000).next_amount() == 2_500


def test_the_newest_settled_ids_of_gates_are_remembered():
    w = World()
    w.open()
    for n in range(REMEMBERED):
        w.sell(cmd.Spend(session=SESSION, id=f"g{n}", step="reserve", amount_msat=1))
        w.sell(cmd.Spend(session=SESSION, id=f"g{n}", step="settle"))
    w.sell(cmd.Spend(session=SESSION, id="g0", step="settle"))
    assert w.sale.spent_msat == REMEMBERED


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
    out = {2: flight(1_000, 100, "a"), 3: flight(700, 100, "b")}
    p = purchase(carried_msat=500, paid_msat=2_000, sent_msat=2_050, in_flight=out)
    assert p.committed_msat == 500 + 2_000 + 1_700
    assert p.exposure_msat == 2_500 + 1_700 + 200
    assert replace(p, ticks=10).exposure_msat == 2_500 - 1_000 + 1_900
    assert p.fees_msat == 50 and p.in_flight_msat == 1_900


def test_fees_have_the_room_that_was_paid_for():
    p = purchase(policy=replace(purchase().policy, max_fee_msat=100))
    assert p.fee_left_msat == 100
    busy = replace(p, in_flight={1: flight(10_000, 60, "a"), 2: flight(0, 70, "b")})
    assert busy.fee_left_msat == 2 * 100 - 130
    spent = replace(p, paid_msat=10_000, sent_msat=10_190, in_flight={2: flight(0, 100, "b")})
    assert spent.fee_left_msat == 0


def test_a_day_is_a_day():
    w = World()
    w.now = 10 * DAY_MS - 1
    assert DAY_MS == 24 * 3600 * 1000
    w.buyer.state._spend(w.now, 5_000)
    assert w.buyer.state.spent_on(w.now) == 5_000 and w.buyer.state.spent_on(10 * DAY_MS) == 0


def test_a_receipt_that_knows_less_than_was_paid_is_short():
    text = canonical({**json.loads(signed_receipt()), "paid_msat": 9_000, "charged_msat": 9_000})
    closing = FinalReceipt(revision=1, receipt=text, verified=True)
    p = purchase(paid_msat=10_000, closing=closing, state=StreamState.CLOSED)
    assert p.short and not replace(p, paid_msat=9_000).short


def signed_receipt(**fields):
    ended = sale(state=SessionState.CLOSING, paid_msat=10_000, final_charge_msat=10_000, start_count=0)
    return receipt.text(ended, SELLER_ID, 1)


def opened(at):
    return selling.SessionOpened(
        at=at, subject=SESSION, meter="m", buyer=BUYER_ID, tariff=T, count=0, boot="b1", register=0, parked=False
    )


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
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    check = next(a for _, a in w.todo if isinstance(a, do.CheckReceipt))
    said = {**json.loads(check.text), **wrong}
    if "paid_msat" in wrong:
        said["refunded_msat"] -= 1
    arrivals = {label: w.refunds.get(f"refund:{label}", 0) for label in check.labels}
    w.buy(cmd.ReceiptChecked(session=SESSION, text=canonical(said), signature="sig", verified=True, arrivals=arrivals))
    assert w.purchase.disputed


def test_a_later_refusal_forgives_no_breach():
    ledger = refold(
        [
            buying.StreamOpened(
                at=1,
                subject=SESSION,
                seller=SELLER_ID,
                meter="m",
                address="",
                policy=Policy.from_dict(POLICY),
            )
        ],
        Buyer().state,
    )
    ledger.apply(buying.InvoiceRefused(at=2, subject=SESSION, number=1, why="lied", evidence={"error": "PolicyBreach"}))
    ledger.apply(buying.InvoiceRefused(at=3, subject=SESSION, number=2, why="dear", evidence={"error": "OverCap"}))
    assert ledger.streams[SESSION].breached


def test_a_handled_invoice_is_not_taken_up_again():
    w = World()
    w.open()
    paid = next(m for m in w.sent if isinstance(m, msg.Invoice))
    w.buy(w.received(replace(paid, seq=w.now + 5)))
    assert not w.todo and len(w.purchase.in_flight) == 0
    assert [e.kind() for e in w.buyer_events].count("payment_started") == 1


def test_ten_payments_are_out_and_the_next_one_waits():
    w = World({"window": 12, "quantum_msat": 12_000})
    w.open()
    w.buy(cmd.PauseStream(session=SESSION))
    w.report(120)
    w.hold = {do.Pay}
    w.buy(cmd.ResumeStream(session=SESSION))
    w.pump()
    assert len(w.purchase.in_flight) == 10


# --- policy


def test_an_unknown_cap_is_refused_by_name():
    with pytest.raises(BadParam, match="max_prise_msat"):
        Policy.from_dict({**POLICY, "max_prise_msat": 1})


def test_progress_is_bounded_to_the_whole_second():
    rated = Tariff.from_dict({**TARIFF, "rating_ticks_per_s": 10})
    most = 120  # of seven whole seconds, and five of slack
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
    w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=100))
    with pytest.raises(BadParam):
        w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=99))


def test_on_chain_the_low_water_may_be_a_dust_limit_under_the_quantum():
    onchain = {**TARIFF, "settlement": "onchain", "quantum_msat": 2_000_000}
    Tariff.from_dict({**onchain, "low_water_msat": 2_000_000 - DUST_SAT * 1000})
    with pytest.raises(BadParam):
        Tariff.from_dict({**onchain, "low_water_msat": 2_000_001 - DUST_SAT * 1000})


# --- who comes and goes


def test_a_debt_of_dust_keeps_nobody_out_and_one_msat_more_does():
    w = World(limits=Limits(silent_ms=10**9))
    for debt, served in ((999, True), (1_000, False)):
        w.seller.state.sessions["9" * 32] = sale(
            ARREARS, id="9" * 32, state=SessionState.CLOSED, final_charge_msat=debt
        )
        w.sell(cmd.FromPeer(peer=BUYER_ID, message=msg.Open(f"{debt:032x}", w.now, "m")))
        w.todo.clear()
        assert (f"{debt:032x}" in w.seller.waiting) is served


def test_a_remainder_stays_on_its_own_meter():
    w = World()
    w.sell(cmd.AddMeter(meter="n", tariff=TARIFF))
    w.sell(cmd.Report(meter="n", reading=Reading("b1", 0)))
    label, first = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    w.pump()
    w.pay(label)
    w.report(40)
    w.report(40, plugged=False)
    other, second = w.sell(cmd.MakeWalletInvoice(meter="n", amount_msat=0))
    w.pump()
    w.pay(other)
    assert w.seller.state.sessions[second].brought_msat == 0 and w.seller.state.sessions[first].owed_msat == 6_000


def test_a_strangers_message_brings_no_buyer_back():
    w = World()
    w.open()
    w.sell(cmd.PeerLost(peer=BUYER_ID))
    gone = w.sale.memory.gone_at
    w.sell(cmd.FromPeer(peer="02" + "cc" * 32, message=msg.Close(SESSION, w.now, msg.BUYER, "mine")))
    assert gone and w.sale.memory.gone_at == gone


def test_unlocking_is_for_what_is_locked():
    w = World()
    with pytest.raises(WrongState, match="not locked"):
        w.sell(cmd.Unlock(meter="m"))
    w.seller.state.apply(selling.Locked(at=w.now, subject="meter/m", until=w.now + 60_000, buyer=BUYER_ID, session=""))
    w.sell(cmd.Unlock(meter="m"))
    assert w.meter.state == "standby"


def test_a_wallet_invoice_is_not_paid_while_the_board_is_silent():
    w = World(limits=Limits(silent_ms=15_000))
    label, _ = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    w.pump()
    assert w.meter.wallet_invoice(w.now)
    assert w.seller.rejects(label, w.now) == "" and w.seller.rejects(label, w.now + 15_001) == "the board is silent"


def test_a_refund_invoice_that_comes_before_the_last_payment_is_kept():
    w = World()
    w.open()
    w.hold = {do.Pay}
    w.report(80)
    claims = msg.Close(SESSION, w.now + 9, msg.BUYER, "bye", 18_000, "refund:early")
    w.sell(cmd.FromPeer(peer=BUYER_ID, message=claims))
    assert w.sale.refund.bolt11 == "refund:early"


def test_both_sides_tell_of_the_end():
    w = World()
    w.open()
    w.notes.clear()
    w.buy(cmd.CloseStream(session=SESSION))
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
    g = GrowingTransaction(1, "a", 1_000)
    assert OnchainAccount(transactions={1: g}, count=1).firm
    assert not OnchainAccount(transactions={1: replace(g, value_sat=5)}, count=1).firm


def test_the_first_invoice_names_its_buyer_in_as_many_bytes_as_a_node_takes():
    longest = first_label(meter="m" * 32, journal="0" * 8)
    assert parse(longest) == OpeningLabel("0" * 8, First("m" * 32, SESSION, BUYER_ID, T.mark))
    assert len(longest) <= LABEL_MOST and parse(longest[:-1] + "!") is None


# --- what mutants showed that no test saw


def test_a_seller_that_is_back_is_asked_at_once():
    w = World()
    w.open()
    p = w.buyer.state.streams[SESSION]
    w.buy(cmd.PeerLost(peer=SELLER_ID))
    assert p.memory.cut_off
    w.buy(cmd.PeerConnected(peer="02" + "99" * 32))
    assert p.memory.cut_off
    w.buy(cmd.PeerConnected(peer=SELLER_ID))
    assert not p.memory.cut_off


def test_an_unowned_payment_of_an_older_journal_has_all_before_it_counted():
    for owned_up_to, index in ((9, 9), (6, 6)):
        state = SellerState()
        state.pay_index = 5
        state.apply(
            selling.PaymentUnowned(
                at=1,
                subject="unowned",
                label="l",
                amount_msat=700,
                pay_index=9,
                payment_hash="h",
                owned_up_to=owned_up_to,
            )
        )
        assert state.pay_index == index and state.unowned == {"l": 700} and state.known_payment(9)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (3600, "1 h 00 min"), (86400, "1 days 0 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_what_was_used_beyond_what_is_paid_counts_against_what_is_in_flight():
    out = {n: flight(2_500, 100, str(n)) for n in range(2, 6)}
    p = purchase(paid_msat=2_500, ticks=50, in_flight=out)  # 5,000 used, 2,500 of it paid
    assert p.exposure_msat == 12_500 - 5_000 + 400


def test_beside_each_payment_that_is_out_one_may_be_on_its_way():
    w = World({"window": 2, "quantum_msat": 10_000}, policy={"max_fee_msat": 100})
    w.open()
    w.hold = {do.Pay}
    for number in range(50, 60):
        w.buy(w.received(msg.Invoice(SESSION, w.now + number, number, 100, f"inv:{number}:100", 0, 0, 0)))
    assert len(w.purchase.in_flight) <= 4
    assert w.purchase.exposure_msat <= buyer_views.stream_status(w.purchase).exposure_bound_msat == 10_400


def test_what_earlier_streams_left_is_within_the_bound_of_the_one_that_goes_on_with_it():
    w = Liar(carried=35_000)
    shown = buyer_views.stream_status(w.p)
    assert (shown.exposure_msat, shown.exposure_bound_msat) == (35_000, 35_000)
    w = Liar(carried=35_000, mode="arrears", limit_msat=20_000, policy={"max_fee_msat": 100})
    shown = buyer_views.stream_status(w.p)
    assert (shown.exposure_msat, shown.exposure_bound_msat) == (35_000, 35_000)
