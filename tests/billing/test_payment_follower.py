"""Who paid an invoice of the service: a payment of its own node brings no money, and another's does."""

import pytest

from satmeter.billing.invoices import LABEL, OPERATOR
from satmeter.billing.payment_follower import Follower
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
