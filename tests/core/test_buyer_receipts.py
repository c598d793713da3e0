"""Receipts that a buyer believes, keeps as evidence, or refuses.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import json

import pytest
from growing import Till
from liar import ARREARS, Liar
from older import refunded_since
from world import OTHER, POLICY, SELLER_ID, SESSION, World, refold

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core import receipt
from satmeter.core.buyer import views
from satmeter.core.buyer.buyer import Buyer
from satmeter.core.buyer.state import BuyerState
from satmeter.core.journal import canonical
from statement import statement


def of_a_transaction(**figures):
    """A receipt of a session that settled on-chain."""
    t = Till()
    t.open()
    t.pay()
    t.read(plugged=False)
    t.now += 30_000
    t.tell(cmd.Tick())
    return canonical({**json.loads(t.sale.receipt), **figures})


def test_a_forged_receipt_is_kept_as_evidence_and_not_believed():
    w = World()
    w.open()
    w.buy(cmd.FromPeer(peer=SELLER_ID, message=msg.Receipt(SESSION, w.now, "{}", "sig:other")))
    w.pump()
    assert w.purchase.state == "streaming" and "signature" in w.purchase.refusals[-1].why


def test_receipts_of_an_older_copy_begin_beyond_a_hundred_that_may_be_lost():
    assert refunded_since().receipts()[-1]["revision"] == 101


@pytest.mark.parametrize("txid", ["x", "F" * 64, 7, None])
def test_a_receipt_with_what_is_no_transaction_is_none(txid):
    onchain = receipt.read(of_a_transaction())["onchain"]
    assert {onchain[n] for n in ("fee_msat", "basic_fee_msat", "single_fee_msat")} == {400_000}
    assert onchain["txids"] == [f"{1:064x}"]
    assert receipt.read(of_a_transaction(onchain={**onchain, "txids": [txid]})) is None


def test_the_first_receipt_of_an_old_stream_is_looked_at_and_of_a_thousand_the_newest():
    sought, now = [], 10**9
    buyer = Buyer(recall=lambda session: sought.append(session))

    def hear(n):
        nonlocal now
        now += 1_000
        text = of_a_transaction(revision=1, session=f"{n:032x}")
        buyer.handle(cmd.FromPeer(peer=SELLER_ID, message=msg.Receipt(f"{n:032x}", 1, text, "sig")), now)

    for n in (*range(1_000), 0, 999):
        hear(n)
    assert len(sought) == 1_000
    for n in (1_000, 0):
        hear(n)
    assert len(sought) == 1_002 and len(buyer.context.receipts.looked_up) == 1_000


def test_receipts_of_an_old_stream_are_looked_up_so_often_and_only_where_they_can_count():
    """Each look folds the whole stream on the core's thread: a seller could stop all other streams with them."""
    sought = []
    buyer = Buyer(recall=lambda session: sought.append(session))

    def hear(revision, now, peer=SELLER_ID, session=SESSION):
        text = of_a_transaction(revision=revision, session=session)
        buyer.handle(cmd.FromPeer(peer=peer, message=msg.Receipt(SESSION, now, text, "sig")), now)

    hear(1, 10**9, peer="02" + "99" * 32)
    hear(1, 10**9, session="07" * 16)
    assert not sought
    for revision in range(1, 100):
        hear(revision, 10**9)
    assert len(sought) == 20
    hear(100, 10**9 + 1_000)
    assert len(sought) == 21


def test_an_old_stream_takes_receipts_of_its_own_seller_only():
    old = refold(Liar().events, BuyerState()).streams[SESSION]
    text = of_a_transaction(revision=1)
    for peer, checked in (("02" + "99" * 32, False), (SELLER_ID, True)):
        buyer = Buyer(recall=lambda session: old)
        step = buyer.handle(cmd.FromPeer(peer=peer, message=msg.Receipt(SESSION, 1, text, "sig")), 10**9)
        assert any(isinstance(a, do.CheckReceipt) for a in step.effects) is checked


def test_a_strangers_receipt_does_not_keep_out_the_sellers_newer_one():
    """It names itself as the seller, with an old stream's id and a high revision: that is news of nobody else's."""
    old, stranger = refold(Liar().events, BuyerState()).streams[SESSION], "02" + "99" * 32
    buyer = Buyer(recall=lambda session: old)
    forged = of_a_transaction(revision=10**9).replace(SELLER_ID, stranger)
    buyer.handle(cmd.FromPeer(peer=stranger, message=msg.Receipt(SESSION, 1, forged, "sig")), 10**9)
    text = of_a_transaction(revision=1)
    step = buyer.handle(cmd.FromPeer(peer=SELLER_ID, message=msg.Receipt(SESSION, 1, text, "sig")), 10**9 + 1)
    assert any(isinstance(a, do.CheckReceipt) for a in step.effects)


def test_a_newer_receipt_puts_right_what_was_wrong_with_the_last():
    w = Liar()
    w.ask(0)
    w.close()
    w.receipt(1, charged_msat=3_000, refunded_msat=7_000)
    assert w.p.disputed
    w.receipt(2)
    assert (w.p.closing.revision, w.p.disputed, w.p.closing.why) == (2, False, "")


def test_what_is_signed_by_somebody_else_brings_no_old_stream_back():
    old = refold(Liar().events, BuyerState()).streams[SESSION]
    text = of_a_transaction(revision=1)
    for verified in (False, True):
        buyer = Buyer(recall=lambda session: old)
        step = buyer.handle(
            cmd.ReceiptChecked(session=SESSION, text=text, signature="sig", verified=verified, arrivals={}), 10**9
        )
        assert bool(step.events) is verified and (SESSION in buyer.state.streams) is verified


def test_what_a_receipt_says_was_given_back_may_turn_up_as_credit_of_a_later_stream():
    w = Liar()
    w.ask(0)
    w.close()
    w.receipt(1, charged_msat=3_000, refunded_msat=7_000)
    assert w.p.disputed and w.p.closing.carried_on_msat == 0
    w.open(OTHER, carried=7_000)
    assert (w.p.disputed, w.p.closing.carried_on_msat) == (False, 7_000)


def test_a_stream_that_was_refused_for_a_breach_owes_nothing():
    w = Liar(**ARREARS)
    w.ask(100)
    w.ask(50)  # the count goes back: a breach
    w.close()
    w.receipt(1, charged_msat=15_000, debt_msat=5_000)
    assert w.p.breached and w.p.closing.verified and w.p.debt_msat == 0
    paid = len(w.paid)
    w.ask(150, 5_000)
    assert len(w.paid) == paid


def test_what_was_refused_is_shown_with_its_reason_and_its_evidence():
    w = Liar()
    w.ask(0, 20_000)  # more than the quantum
    (shown,) = views.stream_status(w.p).refusals
    refused = w.p.refusals[0]
    assert (shown.at, shown.n, shown.why, shown.evidence) == (w.now, 1, refused.why, refused.evidence) and shown.why


@pytest.mark.parametrize("text", ["[]", "7", '"x"', "null", "{", '{"price_msat":1}'])
def test_terms_that_are_none_are_refused_and_the_stream_goes_on(text):
    buyer = Buyer()
    buyer.handle(cmd.OpenStream(session=SESSION, seller=SELLER_ID, meter="m", address="h:1", policy=POLICY), 10**9)
    step = buyer.handle(cmd.FromPeer(peer=SELLER_ID, message=msg.Terms(SESSION, 1, "m", text, 0)), 10**9)
    assert buyer.state.streams[SESSION].tariff is None and not any(isinstance(a, do.Pay) for a in step.effects)


def test_a_stream_that_was_closing_waits_as_long_again_after_a_restart():
    w = World()
    w.open()
    w.report(30)
    w.hold = {do.Send}
    w.buy(cmd.CloseStream(session=SESSION))
    assert w.purchase.state == "closing"
    w.restart_buyer()
    assert w.buyer.state.streams[SESSION].memory.closing_at == w.now


def test_what_is_signed_and_no_receipt_brings_no_old_stream_back():
    old = refold(Liar().events, BuyerState()).streams[SESSION]
    for text in ("", "{}", "not a receipt", of_a_transaction(revision="1")):
        buyer = Buyer(recall=lambda session: old)
        step = buyer.handle(
            cmd.ReceiptChecked(session=SESSION, text=text, signature="sig", verified=True, arrivals={}), 10**9
        )
        assert not step.events and SESSION not in buyer.state.streams


def test_a_receipt_of_a_stream_whose_terms_never_came_is_judged_by_the_rest():
    w = World()
    w.lose = lambda message: isinstance(message, msg.Terms | msg.Invoice)
    w.open()
    text = statement(session=SESSION, seller=SELLER_ID, revision=1, tariff=w.meter.tariff.terms(), ticks=0)
    w.buy(cmd.ReceiptChecked(session=SESSION, text=text, signature="sig", verified=True, arrivals={}))
    assert w.purchase.state == "closed" and w.purchase.tariff is None and not w.purchase.disputed, w.purchase.closing
