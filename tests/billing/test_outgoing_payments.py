"""What an outcome of the node makes of a payment: whole, not at all, or a matter for a person."""

import pytest

from satmeter.billing.outgoing_payments import OutgoingPayments, _judged
from satmeter.node.payments import Outcome

ROW = {"msatoshi": 1_000, "maxfee": 10}


@pytest.mark.parametrize(
    ("sent", "arrived", "status"),
    [
        (1_000, 1_000, "complete"),
        (1_010, 1_000, "complete"),
        (1_011, 1_000, "alarm"),
        (999, 1_000, "alarm"),
        (1_000, 999, "alarm"),
        (1_001, 1_001, "alarm"),
    ],
)
def test_a_payment_is_complete_where_what_left_and_what_arrived_is_as_agreed(sent, arrived, status):
    assert _judged(ROW, Outcome("complete", sent, arrived))[0] == status


def test_what_did_not_arrive_at_all_has_failed():
    assert _judged(ROW, Outcome("failed", 0, 0)) == ("failed", "")


def test_the_nodes_own_invoices_are_told_from_others():
    """A payment to itself settles without a channel: what it credits would have come from nowhere."""

    class Node:
        asked = 0

        def info(self):
            self.asked += 1
            return {"id": "02" + "aa" * 32}

    node = Node()
    outgoing = OutgoingPayments(None, node, 0)
    assert outgoing.is_own({"payee": "02" + "aa" * 32}) and not outgoing.is_own({"payee": "02" + "bb" * 32})
    assert node.asked == 1
