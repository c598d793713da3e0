"""What the stream's plugin says of a payment whose node was away for a moment, over a node of a few lines."""

import time

import pytest

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core.errors import NodeTrouble
from satmeter.node import payments as payments_module
from satmeter.node.payments import Payments
from satmeter.plugin.executor import Executor
from satmeter.plugin.stream import StreamPlugin
from satmeter.plugin.timings import Timings
from waiting import until

PAYEE, HASH = "02" + "aa" * 32, "11" * 32


class Node:
    """Is lost once, after it has begun what it was asked to pay."""

    def __init__(self, begins):
        self.begins, self.parts, self.asked = begins, [], 0

    def call(self, method, **params):
        if method == "listsendpays":
            return {"payments": list(self.parts)}
        if method == "listpeerchannels":
            return {"channels": []}
        assert method == "xpay", method
        self.asked += 1
        paid = {"amount_sent_msat": 10_000, "amount_msat": 10_000}
        if self.begins or self.asked > 1:
            self.parts.append({"status": "complete", "created_at": int(time.time()), **paid})
        if self.asked == 1:
            raise NodeTrouble("the node is away")
        return {"successful_parts": 1, **paid}


class Plugin:
    """What StreamPlugin._pay uses of its plugin; keeps what it posts to the core."""

    def __init__(self, node):
        self.payments, self.executor, self.paying, self.runtime = Payments(node), Executor(node), Timings(), self
        self.posted = []

    def _pay(self, effect):
        StreamPlugin._pay(self, effect)

    def post(self, command):
        self.posted.append(command)


@pytest.mark.parametrize("begins", [True, False])
def test_a_payment_whose_node_was_lost_is_our_own_and_paid_once(begins, monkeypatch):
    monkeypatch.setattr(payments_module, "BEGUN_S", 0)
    node = Node(begins)
    plugin = Plugin(node)
    decoded = cmd.DecodedInvoice(
        bolt11="lnbc1", payee=PAYEE, amount_msat=10_000, payment_hash=HASH, expires_at=10**15, final_cltv=18
    )
    plugin._pay(
        do.Pay(
            session="s",
            seller=PAYEE,
            number=1,
            attempt=7,
            payment_hash=HASH,
            maxfee_msat=0,
            maxdelay=100,
            invoice=decoded,
            fresh=True,
        )
    )
    (done,) = until(lambda: list(plugin.posted))
    assert done == cmd.PaymentDone(session="s", number=1, payment_hash=HASH, sent_msat=10_000)
    assert len(node.parts) == 1 and node.asked == (1 if begins else 2)
