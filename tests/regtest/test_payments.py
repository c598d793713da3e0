"""Paying, as the buyer's plugin does it: over the channel with the payee where there is one, and by xpay where not."""

import secrets

import pytest

from satmeter.cln.node import Node
from satmeter.cln.payments import LastHop, Payments
from shop import until


@pytest.fixture
def payer(net):
    return Payments(Node(str(net["buyer"].lightning_dir / "lightning-rpc")))


def invoice(net, payee, amount_msat=2_000, lost=False):
    """Return the arguments of a payment; `lost`: the payee doesn't know of it any more."""
    label = secrets.token_hex(8)
    given = {"amount_msat": amount_msat, "label": label, "description": "x"}
    made = net[payee].rpc.call("invoice", given)
    decoded = net["buyer"].rpc.call("decode", {"string": made["bolt11"]})
    if lost:
        net[payee].rpc.call("delinvoice", {"label": label, "status": "unpaid"})
    last = LastHop(amount_msat, decoded["payment_secret"], decoded["min_final_cltv_expiry"])
    return [net[payee].id, made["bolt11"], made["payment_hash"], 10_000, 1000], last


def tries(net, asked):
    return net["buyer"].rpc.call("listsendpays", {"payment_hash": asked[2]})["payments"]


def test_a_channel_with_the_payee_carries_one_htlc_without_a_fee(net, payer):
    asked, last = invoice(net, "seller")
    outcome, why = payer.pay(*asked, fresh=True, last=last)
    assert (outcome.status, outcome.sent_msat, outcome.amount_msat, why) == ("complete", 2_000, 2_000, "")
    assert len(tries(net, asked)) == 1


def test_without_a_channel_it_is_xpays(net):
    payer = Payments(Node(str(net["far"].lightning_dir / "lightning-rpc")))
    asked, last = invoice(net, "seller")
    outcome, why = payer.pay(*asked, fresh=True, last=last)
    assert outcome.status == "complete" and outcome.amount_msat == 2_000 < outcome.sent_msat <= 12_000 and not why


def test_what_the_channel_can_not_carry_is_tried_by_xpay_and_both_tries_have_failed(net, payer):
    asked, last = invoice(net, "seller")
    payer.pay(*asked, fresh=True, last=last)  # and now it knows a channel, which it looks at no more for a while
    asked, last = invoice(net, "seller", 10**12)
    outcome, why = payer.pay(*asked, fresh=True, last=last)
    assert outcome.status == "failed" and why
    asked, last = invoice(net, "seller")
    assert payer.pay(*asked, fresh=True, last=last)[0].status == "complete"


def test_an_invoice_that_the_payee_does_not_know_is_refused_once(net, payer):
    asked, last = invoice(net, "seller", lost=True)
    outcome, why = payer.pay(*asked, fresh=True, last=last)
    assert outcome.status == "failed" and "INCORRECT_OR_UNKNOWN_PAYMENT_DETAILS" in why
    assert [t["status"] for t in tries(net, asked)] == ["failed"]


def test_nothing_is_paid_twice(net, payer):
    asked, last = invoice(net, "seller")
    before = net["buyer"].rpc.call("listpeerchannels", {"id": net["seller"].id})["channels"][0]["to_us_msat"]
    for fresh in (True, False, True, False):
        assert payer.pay(*asked, fresh=fresh, last=last)[0].status == "complete"

    def spent():
        channel = net["buyer"].rpc.call("listpeerchannels", {"id": net["seller"].id})["channels"][0]
        return not channel["htlcs"] and before - channel["to_us_msat"]

    assert until(spent) == 2_000
