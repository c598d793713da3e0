"""Paying, as the buyer's plugin does it: over the channel with the payee where there is one, and by xpay where not."""

import secrets
import threading
import time

import pytest

from satmeter.node.payments import LastHop, Payments
from satmeter.node.rpc import Node
from shop import balance, settled
from waiting import until


@pytest.fixture
def payer(net):
    return Payments(Node(str(net["buyer"].lightning_dir / "lightning-rpc")))


def invoice(net, payee, amount_msat=2_000, lost=False, **more):
    """Return the arguments of a payment; `lost`: the payee doesn't know of it any more."""
    label = secrets.token_hex(8)
    given = {"amount_msat": amount_msat, "label": label, "description": "x", **more}
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
    for fresh, status in ((True, "complete"), (False, "complete"), (True, "known"), (False, "complete")):
        assert payer.pay(*asked, fresh=fresh, last=last)[0].status == status

    def spent():
        channel = net["buyer"].rpc.call("listpeerchannels", {"id": net["seller"].id})["channels"][0]
        return not channel["htlcs"] and before - channel["to_us_msat"]

    assert until(spent) == 2_000


def xpay(net, asked):
    """Pay beside our plugin, as whoever runs the node may."""
    return net["buyer"].rpc.call("xpay", {"invstring": asked[1]})


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("by", ["xpay", "sendpay"])
def test_what_the_node_had_paid_before_is_not_ours(net, payer, by, direct):
    asked, last = invoice(net, "seller")
    if by == "xpay":
        xpay(net, asked)
    else:
        payer.pay(*asked, fresh=True, last=last)
    outcome, why = payer.pay(*asked, fresh=True, last=last if direct else None)
    assert outcome.status == "known" and why
    assert payer.pay(*asked, last=last)[0].status == "complete"
    assert len(tries(net, asked)) == 1


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("by", ["xpay", "sendpay"])
def test_what_the_node_is_paying_already_is_not_ours_and_not_waited_for(net, payer, faults, by, direct):
    asked, last = invoice(net, "seller")
    faults.call("emulate-fault", {"hang": 1})
    beside = Payments(Node(str(net["buyer"].lightning_dir / "lightning-rpc")))  # another program of this node
    pay = (lambda: xpay(net, asked)) if by == "xpay" else (lambda: beside.pay(*asked, fresh=True, last=last))
    other = threading.Thread(target=pay)
    other.start()
    until(lambda: tries(net, asked))
    outcome, why = payer.pay(*asked, fresh=True, last=last if direct else None)
    assert outcome.status == "known" and why
    until(lambda: faults.call("emulate-release").get("released", 1))  # once it hangs
    other.join()
    assert payer.pay(*asked, last=last)[0].status == "complete"


def test_an_invoice_that_expired_after_it_was_paid_is_not_ours(net, payer):
    asked, _ = invoice(net, "seller", expiry=2)
    xpay(net, asked)
    time.sleep(3.1)
    assert payer.pay(*asked, fresh=True)[0].status == "known"
    asked, _ = invoice(net, "seller", expiry=1)
    time.sleep(2.1)
    assert payer.pay(*asked, fresh=True)[0].status == "none"


def test_what_a_plugin_asked_for_just_before_it_died_is_found_when_it_begins(net):
    asked, last = invoice(net, "seller")
    begins = threading.Timer(0.4, xpay, [net, asked])
    begins.start()
    payer = Payments(Node(str(net["buyer"].lightning_dir / "lightning-rpc")))
    assert payer.pay(*asked, last=last, may=lambda: False)[0].status == "complete"
    begins.join()


def test_a_channel_whose_htlc_would_take_too_long_is_not_taken(net, payer):
    asked, last = invoice(net, "seller")
    asked[4] = last.delay  # one block less than the direct HTLC takes
    payer.pay(*asked, fresh=True, last=last)
    assert all("partid" in t for t in tries(net, asked))


@pytest.fixture
def parts(net, faults):
    """Have the buyer pay an invoice that no channel carries alone; the seller holds its two parts."""
    before = balance(net["seller"])
    channels = net["buyer"].rpc.call("listpeerchannels")["channels"]
    direct = next(c for c in channels if c["peer_id"] == net["seller"].id)
    preimage = secrets.token_hex(32)
    asked, last = invoice(net, "seller", int(direct["spendable_msat"]) + 100_000_000, preimage=preimage)
    asked[3] = 1_000_000
    faults.call("emulate-fault", {"hold": 2})
    yield Parts(net, faults, asked, last, preimage)
    surplus = settled(net["seller"]) - before
    if surplus:  # the others want the channels as they were
        made = net["buyer"].rpc.call("invoice", {"amount_msat": surplus, "label": preimage, "description": "x"})
        net["seller"].rpc.call("xpay", {"invstring": made["bolt11"], "maxfee": 1_000_000})


class Parts:
    def __init__(self, net, faults, asked, last, preimage):
        self.net, self._faults, self.asked, self._last, self._preimage = net, faults, asked, last, preimage
        self.ended = []
        self._payer = Payments(Node(str(net["buyer"].lightning_dir / "lightning-rpc")))
        self._thread = threading.Thread(target=self._pay)
        self._thread.start()
        self.held = until(lambda: len(h := faults.call("emulate-held")["held"]) == 2 and h)

    def _pay(self):
        self.ended.append(self._payer.pay(*self.asked, fresh=True, last=self._last)[0])

    def answer(self, answer):
        """Have the seller answer for the part that it has held for longest."""
        self._faults.call("emulate-part", {"n": 0, "answer": answer, "preimage": self._preimage})

    def outcome(self):
        return self._payer.outcome(self.asked[2])

    def statuses(self):
        return sorted(t["status"] for t in tries(self.net, self.asked))

    def end(self):
        self._thread.join(40)
        (outcome,) = self.ended
        return outcome


def test_a_payment_of_which_a_part_can_still_settle_is_pending(net, parts):
    assert parts.outcome().status == "pending" and parts.outcome().amount_msat == sum(parts.held)
    parts.answer("resolve")
    until(lambda: parts.statuses() == ["complete", "pending"])
    assert parts.outcome().status == "pending" and not parts.ended
    parts.answer("resolve")
    end = parts.end()
    assert end.status == "complete" and end.amount_msat == sum(parts.held) < end.sent_msat
    assert end == parts.outcome()


def test_a_part_that_fails_after_another_has_settled_is_not_counted(net, parts):
    parts.answer("resolve")
    until(lambda: parts.statuses() == ["complete", "pending"])
    parts.answer("fail")
    end = parts.end()
    assert end.status == "complete" and end.amount_msat == parts.held[0]
    assert end == parts.outcome() and parts.statuses() == ["complete", "failed"]


def test_a_part_that_settles_after_another_has_failed_was_paid(net, parts):
    parts.answer("fail")
    until(lambda: parts.statuses() == ["failed", "pending"])
    assert parts.outcome().status == "pending" and not parts.ended
    parts.answer("resolve")
    end = parts.end()
    assert end.status == "complete" and end.amount_msat == parts.held[1]


def test_a_payment_of_which_every_part_failed_has_failed(net, parts):
    parts.answer("fail")
    parts.answer("fail")
    assert parts.end().status == "failed" and parts.statuses() == ["failed", "failed"]


def test_parts_that_the_payee_lets_through_are_a_payment(net, parts):
    parts.answer("continue")
    parts.answer("continue")
    assert parts.end().amount_msat == sum(parts.held)
    (row,) = net["seller"].rpc.call("listinvoices", {"payment_hash": parts.asked[2]})["invoices"]
    assert row["status"] == "paid" and row["amount_received_msat"] == sum(parts.held)
