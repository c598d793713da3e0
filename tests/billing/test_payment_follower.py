"""Payments are followed, also where they never pause; what the node paid to itself brings no money."""

import threading

import pytest

from satmeter.billing.invoices import LABEL, OPERATOR
from satmeter.billing.payment_follower import Follower
from satmeter.core.errors import NodeTrouble
from satmeter.node.rpc import Made

OWN, OTHER = "02" + "aa" * 32, "03" + "bb" * 32


class Node:
    def __init__(self, *payments):
        self.payments = list(payments)

    def info(self):
        return {"id": OWN}

    def newest_index(self):
        return 7

    def call(self, method, payment_hash):
        assert method == "listsendpays"
        return {"payments": [{"status": status, "destination": to} for status, to in self.payments]}

    def find_invoice(self, label):
        return Made("paid", "lnbcrt1", "11" * 32, 5_000, index=8)


class Invoices:
    def __init__(self):
        self.counted, self.begun = [], None

    def index(self):
        return None

    def begin_at(self, index):
        self.begun = index

    def paid(self, label, made, in_turn, payer):
        self.counted.append((label, payer))


@pytest.mark.parametrize(
    ("payments", "payer"),
    [
        ((), None),
        ((("complete", OWN),), OPERATOR),
        ((("pending", OWN),), OPERATOR),
        ((("failed", OWN),), None),
        ((("complete", OTHER),), None),  # this node paid on what it is paid for: a customer's money came in
        ((("failed", OWN), ("complete", OWN)), OPERATOR),
    ],
)
def test_only_what_the_node_paid_to_itself_is_the_operators(payments, payer):
    invoices = Invoices()
    follower = Follower(Node(*payments), invoices, lambda row: None)
    follower.begin()
    assert invoices.begun == 7
    assert follower.catch_up({"id": "abc", "pay_index": None})
    assert invoices.counted == [(LABEL + "abc", payer)]


@pytest.mark.parametrize("found", [None, Made("unpaid", "lnbcrt1", "11" * 32, 5_000), Made("expired", "", "", 5_000)])
def test_an_invoice_that_is_not_paid_or_that_the_node_does_not_have_counts_nothing(found):
    node, invoices = Node(), Invoices()
    node.find_invoice = lambda label: found
    follower = Follower(node, invoices, lambda row: None)
    follower.begin()
    assert not follower.catch_up({"id": "abc", "pay_index": None}) and invoices.counted == []


class Busy(Node):
    """Two payments were made while nobody looked, and there is one more whenever somebody waits for it."""

    def next_paid(self, after, timeout_s):
        if after >= 9 and not timeout_s:
            return None
        return LABEL + str(after + 1), Made("paid", "lnbcrt1", "11" * 32, 5_000, index=after + 1)


def test_it_has_caught_up_without_a_pause_between_payments(caplog):
    """Each is counted, and then told to who waits for it; that there is none more is no trouble."""
    invoices, told, third = Invoices(), [], threading.Event()
    invoices.open, invoices.find = lambda: [], lambda id: {"id": id}

    def seen(row):
        told.append(row["id"])
        if len(told) == 3:
            third.set()

    follower = Follower(Busy(), invoices, seen)
    follower.start()
    assert follower.caught_up.wait(60) and third.wait(60)
    follower.stop()
    assert [label for label, _ in invoices.counted[:3]] == [LABEL + "8", LABEL + "9", LABEL + "10"]
    assert told[:3] == ["8", "9", "10"] and not caplog.records


def test_open_invoices_are_looked_up_again_where_the_node_failed():
    invoices, seen, tries = Invoices(), threading.Event(), []
    row = {"id": "abc", "pay_index": None}
    invoices.open, invoices.find = lambda: [row], lambda id: row

    class Failing(Node):
        def next_paid(self, after, timeout_s):
            raise NodeTrouble("away")

        def find_invoice(self, label):
            tries.append(label)
            if len(tries) == 1:
                raise NodeTrouble("away")
            return super().find_invoice(label)

    follower = Follower(Failing(), invoices, lambda row: seen.set())
    follower.start()
    assert seen.wait(60)
    follower.stop()
    assert tries == [LABEL + "abc"] * 2 and invoices.counted == [(LABEL + "abc", None)]
