"""Bounds to the last unit, and states that few ways lead to."""

import json

import pytest
from test_after_close import ARREARS, Liar
from test_growing import STEP, Till, Wallet
from test_older_journal import refunded_since, unrefunded
from world import BUYER_ID, SELLER_ID, SESSION, TARIFF, World, refold

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core import receipt
from satmeter.core.buyer import policy
from satmeter.core.buyer import views as buyer_views
from satmeter.core.buyer.buyer import Buyer
from satmeter.core.buyer.policy import Policy
from satmeter.core.buyer.state import BuyerState
from satmeter.core.errors import PolicyBreach, by_code
from satmeter.core.journal import canonical
from satmeter.core.ratelimit import RateLimit
from satmeter.core.seller import events as selling
from satmeter.core.seller.context import Limits
from satmeter.core.settlement.transaction import TxInput
from satmeter.core.tariff import Tariff


def test_what_somebody_else_paid_for_us_is_no_debt():
    w = Liar(**ARREARS)
    w.ask(100)
    w.close()
    w.receipt(paid_msat=20_000, charged_msat=20_000, ticks=200)  # the other 10,000 are another's
    assert (w.p.debt_msat, w.p.pays, w.p.done) == (0, False, True)


def test_invoices_out_are_within_the_most_that_a_session_may_cost():
    w = World({"window": 4, "session_max_msat": 12_000})
    w.open()
    w.hold = {do.Pay}
    w.report(100)
    assert (w.sale.received_msat, w.sale.out_msat) == (10_000, 2_000)


def test_a_peer_has_400_messages_at_once_and_then_100_a_second():
    quota = RateLimit()
    assert sum(quota.take("a", 0) for _ in range(1_000)) == 400
    assert sum(quota.take("a", 1_000) for _ in range(1_000)) == 100


def test_a_conflicting_spend_in_no_block_is_final_after_144():
    t = Till()
    t.open()
    t.pay()
    t.read(plugged=False)
    t.seen(known=False, conflict="spent elsewhere", height=100)
    t.seen(known=False, conflict="spent elsewhere", height=243)
    assert not t.sale.onchain.firm
    t.seen(known=False, conflict="spent elsewhere", height=244)
    assert t.sale.onchain.firm and t.sale.onchain.lost_sat == STEP
    assert receipt.read(receipt.text(t.sale, SELLER_ID, 1))["onchain"]["lost_msat"] == 2_000_000


def test_what_grows_is_counted_once_in_what_is_not_final():
    t = Till(unconfirmed_msat=10 * STEP * 1000)
    t.open()
    for _ in range(6):
        t.pay()
        t.read(20)
    assert t.sale.onchain.unconfirmed_msat == 0 and t.sale.onchain.held_msat == 6 * STEP * 1000 and t.sale.out


def test_that_a_stream_is_paid_for_is_told_once():
    w = World()
    w.open()
    w.report(100)
    assert w.purchase.payments == 2
    told = [said for topic, said in w.notes if topic == "stream_state" and said["state"] == "streaming"]
    assert len(told) == 2  # its terms, and its first payment


def test_what_has_settled_is_on_its_way_no_more():
    w = World({"window": 4})
    w.open()
    w.report(60)
    assert w.sale.payments == 6 and not any(each.arriving for each in w.sale.memory.asking.values())


def test_a_bound_of_nothing_is_one_too():
    w = Liar(sensor=0, **ARREARS)
    w.buyer = Buyer(state=refold(w.events, BuyerState()))
    w.buyer.resume(w.now)
    w.close()  # before the sensor is heard again: nothing more is paid
    assert w.p.after_close.most_msat == 0
    w.sense(500)
    w.receipt(charged_msat=10_000, debt_msat=10_000)
    w.ask(100)
    assert (w.p.after_close.most_msat, w.p.paid_msat) == (0, 0)


def test_an_invoice_that_comes_while_the_stream_is_paused_is_not_paid():
    w = World()
    w.hold = {do.MakeInvoice}
    w.open()
    w.buy(cmd.PauseStream(SESSION))
    w.hold = set()
    w.pump()
    assert any(isinstance(m, msg.Invoice) for m in w.sent)
    assert (w.purchase.paid_msat, w.purchase.in_flight_msat, w.purchase.state) == (0, 0, "paused")


def test_nothing_is_signed_for_a_stream_that_is_paid_by_lightning():
    w = Wallet(settlement="lightning", hold_msat=0)
    w.ask(STEP)
    assert w.purchase.state == "streaming" and w.purchase.memory.increment is None and not w.signed


def test_receipts_of_an_older_copy_begin_beyond_a_hundred_that_may_be_lost():
    assert refunded_since().receipts()[-1]["revision"] == 101


def test_a_restart_forgets_less_of_the_count_than_half_an_invoice_is_worth():
    w = World()
    w.open()
    w.report(51)
    w.report(60)
    w.restart_seller()
    assert (w.meter.count, w.meter.recorded, w.seller.state.sessions[SESSION].count) == (51, 51, 51)


def test_what_one_transaction_would_have_cost_is_the_fee_of_the_first():
    t = Till(hold_msat=STEP * 1000)
    t.open()
    t.pay()
    t.seen()
    t.read(20)
    (n,) = t.sale.out
    t.tell(cmd.UpdateChecked(SESSION, n, 2, STEP, 900, 560, "f" * 64, 0, "raw", [TxInput("c2:0", 10**6, "51")]))
    stated = receipt.read(receipt.text(t.sale, SELLER_ID, 1))
    assert (t.sale.onchain.fees_sat, stated["onchain"]["single_fee_msat"]) == (1_300, 400_000)


def test_where_there_is_no_allowance_the_beginning_is_known_at_once():
    w = World()
    w.open()
    w.report(10)
    assert w.sale.start_count == 0 and "start_counted" not in [e.kind() for e in w.seller_events]


def test_what_has_lapsed_was_not_used_where_a_person_says_what_is_owed():
    w = unrefunded()
    for e in (
        selling.RemainderLapsed(at=1, subject=SESSION, amount_msat=500),
        selling.RefundHeld(at=2, subject=SESSION, why="look"),
        selling.AlarmEnded(at=3, subject=SESSION, how=cmd.OWED, amount_msat=6_000, note=""),
    ):
        w.seller.state.apply(e)
    s = w.seller.state.sessions[SESSION]
    assert (s.received_msat, s.charged_msat, s.lapsed_msat, s.owed_msat) == (10_000, 3_500, 500, 6_000)


def test_a_seller_that_is_lost_is_reached_for_at_once():
    w = World()
    w.open()
    w.buy(cmd.PeerLost(SELLER_ID))
    assert [a for _, a in w.todo] == [do.Connect(SELLER_ID, "h:1")]


def test_what_was_spent_twice_is_told_with_its_sum():
    t = Till()
    t.open()
    t.pay()
    t.read(plugged=False)
    t.seen(known=False, conflict="spent elsewhere")
    told = [a.payload["lost_sat"] for a in t.done(do.Notify) if "lost_sat" in a.payload]
    assert told == [STEP]


def test_what_an_ended_offer_comes_to_leaves_no_row():
    w = World()
    label, _ = w.sell(cmd.MakeWalletInvoice("m", 0))
    w.pump()
    w.sell(cmd.InvoiceGone(label))
    before = len(w.seller_events)
    w.sell(cmd.InvoiceGone(label))
    assert len(w.seller_events) == before


def test_an_invoice_that_is_dropped_and_gone_is_asked_for_no_more():
    w = World()
    w.open()
    w.hold = {do.Pay, do.CancelInvoice}
    w.report(80)
    w.sell(cmd.CloseSession(SESSION, "over"))
    w.pump()
    assert w.sale.dropped == {2: 8_000}
    w.hold = {do.Pay}
    w.pump()
    assert not w.sale.dropped


def test_spares_are_ready_before_they_are_needed():
    w = World({"window": 4})
    w.open()
    assert len(w.sale.memory.prefetched.queue) == 8 and all(spare.bolt11 for spare in w.sale.memory.prefetched.queue)


def test_opens_that_were_not_paid_are_forgotten_after_an_hour():
    w = World(limits=Limits(silent_ms=10**9))
    w.seller.context.openings.unpaid[BUYER_ID] = (3, w.now - 3_600_000)
    w.sell(cmd.FromPeer(BUYER_ID, msg.Open(SESSION, w.now, "m")))
    w.sell(cmd.FromPeer(BUYER_ID, msg.Close(SESSION, w.now + 1, msg.BUYER, "no")))
    assert w.seller.context.openings.unpaid[BUYER_ID] == (1, w.now)


def test_a_receipt_with_a_debt_is_balanced():
    w = Liar(**ARREARS)
    w.ask(100)
    w.close()
    w.receipt(charged_msat=20_000, debt_msat=10_000)
    assert w.p.debt_msat == 10_000 and not w.p.disputed, w.p.closing.why


def of_a_transaction(**figures):
    """A receipt of a session that settled on-chain."""
    t = Till()
    t.open()
    t.pay()
    t.read(plugged=False)
    t.now += 30_000
    t.tell(cmd.Tick())
    return canonical({**json.loads(t.sale.receipt), **figures})


@pytest.mark.parametrize("txid", ["x", "F" * 64, 7, None])
def test_a_receipt_with_what_is_no_transaction_is_none(txid):
    onchain = receipt.read(of_a_transaction())["onchain"]
    assert {onchain[n] for n in ("fee_msat", "basic_fee_msat", "single_fee_msat")} == {400_000}
    assert onchain["txids"] == [f"{1:064x}"]
    assert receipt.read(of_a_transaction(onchain={**onchain, "txids": [txid]})) is None


def test_the_first_receipt_of_an_old_stream_is_looked_at_and_of_a_thousand_the_newest():
    sought, text = [], of_a_transaction(revision=1)
    buyer = Buyer(recall=lambda session: sought.append(session))
    hear = lambda n: buyer.handle(cmd.FromPeer(SELLER_ID, msg.Receipt(f"{n:032x}", 1, text, "sig")), 10**9)  # noqa: E731
    for n in (*range(1_000), 0, 999):
        hear(n)
    assert len(sought) == 1_000
    for n in (1_000, 0):
        hear(n)
    assert len(sought) == 1_002 and len(buyer.context.receipts.looked_up) == 1_000


def test_one_seller_that_is_lost_is_not_looked_for_at_anothers_address():
    w = World()
    w.open()
    other = "02" + "99" * 32
    w.buy(cmd.OpenStream("6f" * 16, other, "m", "elsewhere:2", w.policy))
    w.todo.clear()
    w.buy(cmd.PeerLost(SELLER_ID))
    assert [a for _, a in w.todo] == [do.Connect(SELLER_ID, "h:1")]
    assert not w.buyer.state.streams["6f" * 16].memory.cut_off


def test_a_payment_that_the_buyer_claims_is_waited_for_ten_seconds():
    w = World()
    w.open()
    w.hold = {do.Pay}
    w.report(80)
    w.sell(cmd.FromPeer(BUYER_ID, msg.Close(SESSION, w.now + 9, msg.BUYER, "bye", 18_000, "refund:r")))
    w.pump()
    w.now = w.sale.since + 9_999
    w.sell(cmd.Tick())
    w.pump()
    assert w.sale.state == "closing" and not w.refunds
    w.now += 1
    w.sell(cmd.Tick())
    w.pump()
    assert w.refunds == {"refund:r": 2_000}


def test_a_version_is_sent_as_the_wallet_signed_it():
    w = Wallet()
    w.ask(STEP)
    w.ask(2 * STEP, taken=False)
    w.ask(2 * STEP, n=2, taken=False)  # the seller has not heard of it
    sent = [a.message.raw for a in w.did if isinstance(a, do.Send) and isinstance(a.message, msg.Update)]
    assert sent == ["v1-2000", "v1-4000", "v1-4000"]


def test_a_meter_whose_session_has_not_begun_grants_its_allowance():
    w = World({"allowance_ticks": 50})
    tariff = w.meter.tariff.to_dict()
    w.seller.state.apply(
        selling.SessionOpened(
            at=w.now,
            subject=SESSION,
            meter="m",
            buyer=BUYER_ID,
            tariff=tariff,
            count=0,
            boot="b1",
            register=0,
            parked=False,
        )
    )
    assert (w.meter.state, w.grant()) == ("negotiating", 50)


def test_what_is_left_of_a_budget_is_what_was_not_sent():
    w = World()
    w.open()
    assert buyer_views.stream_status(w.purchase).budget_left_msat == 990_000


def test_a_prepaid_stream_risks_a_quantum_and_a_fee():
    w = World(policy={"max_fee_msat": 100})
    w.open()
    assert buyer_views.stream_status(w.purchase).exposure_bound_msat == 10_200


def test_a_session_that_runs_has_no_time_of_its_end():
    w = World()
    w.open()
    assert w.sale.closed_at == 0


@pytest.mark.parametrize(("left_ms", "seconds"), [(60_000, 60), (59_001, 60), (1, 1)])
def test_who_is_locked_out_is_told_for_how_long(left_ms, seconds):
    w = World()
    w.seller.state.apply(selling.Locked(at=w.now, subject="meter/m", until=w.now + left_ms, buyer=BUYER_ID, session=""))
    w.sell(cmd.FromPeer(BUYER_ID, msg.Open(SESSION, w.now, "m")))
    (told,) = [a.message.text for _, a in w.todo if isinstance(a, do.Send)]
    assert f"for another {seconds} s" in told


def test_a_debt_is_asked_for_after_a_restart_though_no_board_is_heard():
    w = World({"mode": "arrears", "limit_msat": 10_000})
    w.hold = {do.Pay}
    w.open()
    w.report(60)
    w.sell(cmd.CloseSession(SESSION, "over"))
    w.pump()
    assert w.sale.debt_msat == 6_000
    w.sent.clear()
    w.restart_seller()
    w.pump()
    assert [m.amount_msat for m in w.sent if isinstance(m, msg.Invoice)] == [6_000]


def test_numbers_of_errors_are_for_ever():
    names = "UnknownMeter UnknownSession NameTaken MeterTaken WrongState LockedOut BoardSilent NoCredit JournalTrouble"
    assert [by_code(number).__name__ for number in range(2_102, 2_111)] == names.split()


def test_a_board_that_does_not_say_what_it_holds_is_taken_to_know_of_reservations():
    w = World()
    w.open()
    assert w.meter.memory.grant_held is None and w.seller.confirmed(w.sale)


@pytest.mark.parametrize(("feerate", "sent"), [(2_000, 0), (2_001, 1)])
def test_a_transaction_is_sent_when_fees_are_more_than_twice_what_was_agreed(feerate, sent):
    t = Till()
    t.open()
    t.pay()
    t.seen(sent=False, known=False, feerate=feerate)
    assert len(t.done(do.Broadcast)) == sent


def test_a_transaction_is_held_for_an_hour():
    t = Till()
    t.open()
    t.pay()
    first_at = t.sale.onchain.growing.first_at
    for now, sent in ((first_at + 3_599_999, 0), (first_at + 3_600_000, 1)):
        t.now = now - 10
        t.tell(cmd.Tick())
        assert len(t.done(do.Broadcast)) == sent


def test_a_first_version_that_comes_second_is_not_taken():
    t = Till()
    t.open()
    t.open("77" * 16, "02" + "cc" * 32)
    t.pay()
    t.pay("c2:0", "77" * 16)
    told = t.done(do.Send)[-1].message
    assert (told.session, told.amount_msat) == ("77" * 16, 0) and "77" * 16 not in t.seller.state.sessions


def test_without_an_allowance_no_period_of_it_begins():
    w = World(limits=Limits(silent_ms=10**9))
    w.report(5)
    w.pass_ms(3_700_000, step=100_000)
    assert "allowance_begun" not in [e.kind() for e in w.seller_events]


def test_a_rating_is_held_against_what_was_counted_since():
    w = World({"rating_ticks_per_s": 10})
    for seconds, register in ((100, 1_000), (1, 1_010)):
        w.now += seconds * 1_000
        w.report(register)
    assert w.meter.count == 1_010


def test_an_old_stream_takes_receipts_of_its_own_seller_only():
    old = refold(Liar().events, BuyerState()).streams[SESSION]
    text = of_a_transaction(revision=1)
    for peer, checked in (("02" + "99" * 32, False), (SELLER_ID, True)):
        buyer = Buyer(recall=lambda session: old)
        step = buyer.handle(cmd.FromPeer(peer, msg.Receipt(SESSION, 1, text, "sig")), 10**9)
        assert any(isinstance(a, do.CheckReceipt) for a in step.effects) is checked


def test_with_the_time_a_further_transaction_is_due():
    p = Policy.from_dict({"max_price_msat": 1000, "budget_msat": 10**9, "unit": "unit", "max_feerate": 5_000})
    t = Tariff.from_dict({**TARIFF, "settlement": "onchain", "quantum_msat": 2_000_000, "hold_s": 3_600})
    m = msg.Increment(SESSION, 1, 1, 2_000_000, 4, 2_000, "to", 1_000, 0, 0, 0)
    policy.check_new_transaction(p, t, m, 3, 0, 3_600_000)
    with pytest.raises(PolicyBreach):
        policy.check_new_transaction(p, t, m, 3, 0, 3_599_999)


def test_what_is_kept_back_for_a_debt_is_free_to_pay_it_after_the_close():
    w = Liar(**ARREARS, policy={"max_fee_msat": 100})
    w.ask(100)
    assert w.p.kept_back_msat == 20_300  # the limit, and three fees
    w.close()
    assert w.p.kept_back_msat == 0


def test_what_is_in_flight_is_exposed_after_the_end_too():
    w = Liar(hold=True, policy={"max_fee_msat": 100})
    w.ask(0)
    w.close()
    w.receipt(paid_msat=0, charged_msat=0)
    assert w.p.state == "closed" and w.p.exposure_msat == 10_100


def test_a_newer_receipt_puts_right_what_was_wrong_with_the_last():
    w = Liar()
    w.ask(0)
    w.close()
    w.receipt(1, charged_msat=3_000, refunded_msat=7_000)
    assert w.p.disputed
    w.receipt(2)
    assert (w.p.closing.revision, w.p.disputed, w.p.closing.why) == (2, False, "")


def test_a_stream_that_ended_is_remembered_for_five_seconds():
    w = Liar()
    w.now += 60_000
    w.tell(cmd.FromPeer(SELLER_ID, msg.Error(SESSION, w.now, msg.SELLER, 2_103, "gone")))
    for ms, there in ((4_999, True), (1, False)):
        w.now += ms
        w.tell(cmd.Tick())
        assert (SESSION in w.buyer.state.streams) is there
