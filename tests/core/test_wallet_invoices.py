"""Any wallet at a meter: bearers, remainders and offers.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

from contextlib import suppress

import pytest
from world import SESSION, World, identity

from satmeter.core import commands as cmd
from satmeter.core.errors import (
    BadParam,
    BoardSilent,
    TooMany,
    WrongState,
)
from satmeter.core.labels import wallet_label
from satmeter.core.reading import Reading
from satmeter.core.seller.context import Limits


def bearer(w, amount=0):
    label, session = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=amount))
    w.pump()
    return label, session


def test_a_plain_wallet_gets_its_quantum_and_the_rest_stays_on_the_meter():
    w = World({"remainder_s": 3600})
    label, session = bearer(w)
    assert w.pay(label)
    w.pump()
    assert (w.meter.state, w.grant()) == ("delivering", 100)
    w.report(40)
    w.report(40, plugged=False)
    assert w.receipts()[-1]["owed_msat"] == 6_000
    w.report(40)
    second, _ = bearer(w)
    w.pay(second)
    w.pump()
    assert w.seller.state.sessions[w.meter.session].credit_msat == 16_000
    first = [r for r in w.receipts() if r["session"] == session][-1]
    assert first["refunded_msat"] == 6_000 and first["owed_msat"] == 0 and identity(first)


@pytest.mark.parametrize(
    ("asked", "quantum", "made"), [(1_500, 10_000, 2_000), (9_999, 10_000, 10_000), (0, 10_500, 10_500)]
)
def test_an_invoice_is_of_whole_sat_and_what_that_is_more_is_credit(asked, quantum, made):
    w = World({"quantum_msat": quantum})
    label, session = bearer(w, asked)
    assert w.invoices[label][0] == made
    w.pay(label)
    w.pump()
    assert w.seller.state.sessions[session].credit_msat == made and w.grant() == made // 100


def test_used_up_it_stops_and_frees_the_meter_without_lockout():
    w = World()
    label, _ = bearer(w)
    w.pay(label)
    w.report(100)
    assert (w.meter.state, w.grant()) == ("suspended", 100)
    w.pass_ms(31_000)
    assert w.meter.state == "standby" and w.receipts()[-1]["charged_msat"] == 10_000


def test_a_remainder_lapses_after_its_stated_time():
    w = World({"remainder_s": 100})
    label, _ = bearer(w)
    w.pay(label)
    w.report(40)
    w.report(40, plugged=False)
    w.pass_ms(101_000, step=1000)
    last = w.receipts()[-1]
    assert (last["lapsed_msat"], last["owed_msat"]) == (6_000, 0) and identity(last)


def test_a_wallet_that_pays_a_taken_meter_is_rejected_and_fails_open_into_a_remainder():
    w = World()
    label, session = bearer(w)
    w.open()
    assert w.seller.rejects(label, w.now) == "another session has the meter"
    w.pay(label, hook=False)
    w.pump()
    assert w.meter.session == SESSION
    assert [r["owed_msat"] for r in w.receipts() if r["session"] == session] == [10_000]


def test_offers_are_bounded():
    w = World(limits=Limits(silent_ms=10**9, wallet_invoices_per_meter=2))
    bearer(w), bearer(w)
    with pytest.raises(TooMany):
        w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    for bad in (10_001, 99):
        with pytest.raises(BadParam, match="amount_msat: must be from 100"):
            w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=bad))
    w.invoices[wallet_label("0", "m", 1)][1] = "gone"
    w.pass_ms(602_000, step=1000)
    assert not w.meter.wallet_invoices  # one was cancelled at the node, the other has expired


def test_a_payers_note_stands_in_the_receipt_also_after_a_restart():
    w = World()
    label, _ = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0, note="for the\x07 kettle"))
    w.pump()
    w.restart_seller()
    w.report(0)
    assert w.pay(label)
    w.pump()
    w.report(0, plugged=False)
    assert w.receipts()[-1]["payers"] == [{"key": "", "note": "for the? kettle"}] and not w.meter.notes


def test_one_that_has_to_be_deliverable_is_refused_while_nothing_is_plugged_in():
    w = World()
    w.report(0, plugged=False)
    with pytest.raises(BoardSilent, match="can't deliver: nothing is plugged in"):
        w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0, deliverable=True))
    assert w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    w.report(0)
    assert w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0, deliverable=True))


def test_what_an_ended_offer_comes_to_leaves_no_row():
    w = World()
    label, _ = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    w.pump()
    w.sell(cmd.InvoiceGone(label=label))
    before = len(w.seller_events)
    w.sell(cmd.InvoiceGone(label=label))
    assert len(w.seller_events) == before


def reprice(w, price_msat):
    """What a meter shows is cancelled first."""
    with suppress(WrongState):
        w.sell(cmd.SetMeter(meter="m", tariff={"price_msat": price_msat}))
    w.pump()
    w.sell(cmd.SetMeter(meter="m", tariff={"price_msat": price_msat}))


def test_a_session_that_goes_on_at_an_earlier_price_takes_no_payment_that_was_made_at_the_present_one():
    """A person would pay what is shown, and get what it cost before."""
    w = World({"self_service": "always", "choices": "10 unit", "low_water_msat": 5_000})
    label, _ = bearer(w, 5_000)
    w.pay(label)
    w.pump()
    reprice(w, 500)
    w.pass_ms(2_000)
    assert not w.meter.wallet_invoices  # nor does the meter show one by itself
    with pytest.raises(WrongState, match="goes on at its earlier price, 1000 msat a unit"):
        w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=5_000, deliverable=True))
    asked, _ = bearer(w, 5_000)
    assert w.seller.rejects(asked, w.now, 5_000) == "the session that runs has an earlier price"
    reprice(w, 1_000)
    label, _ = bearer(w, 5_000)
    assert w.seller.rejects(label, w.now, 5_000) == ""
    reprice(w, 500)
    w.report(50)
    w.pass_ms(40_000)
    assert w.meter.state == "standby"
    label, session = bearer(w, 5_000)
    assert w.pay(label)
    w.pump()
    assert w.seller.state.sessions[session].grant_count == 50 + 100


def test_whoever_asks_for_an_invoice_for_later_gets_one_while_a_session_is_ending():
    w = World()
    w.open()
    w.report(5)
    w.sell(
        cmd.Report(meter="m", reading=Reading("b1", 6, 0, 0, True, 10**6))
    )  # the board would still deliver: its word is waited for
    w.sell(cmd.CloseSession(session=SESSION))
    assert w.sale.ending
    with pytest.raises(WrongState):
        w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0, deliverable=True))
    assert w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=0))[0]
