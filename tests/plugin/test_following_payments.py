"""Payments are followed once the node's offers are recorded: a payment of an unknown one is taken for another's."""

import threading
import time

import pytest
from role import ready

from satmeter.core.labels import offer_label
from satmeter.node.rpc import Made, StandingOffer
from satmeter.plugin.meter import MeterPlugin

OFFER, PAYER = "ab" * 32, "02" + "cc" * 32


class Node:
    """It has an offer that the journal lost, and a payment of it; it is slow enough for a core to be folded anew."""

    def __init__(self, service):
        self.runtime, self.ends = service, threading.Event()
        self.asked = 0

    def offers(self, prefix):
        self.asked += 1
        self.runtime.role.broken = self.asked == 1
        label = offer_label(self.runtime.journal.name, "m", 0)
        return [StandingOffer(OFFER, "lno1", True, label)]

    def next_paid(self, index, timeout_s):
        while not self.runtime.role.failures:
            time.sleep(0.01)
        self.runtime.role.broken = False
        while self.runtime.core is None:
            time.sleep(0.01)
        if index < 1:
            return f"{OFFER}-{PAYER}-1", Made("paid", "lni1", "11" * 32, received_msat=10_000, index=1)
        self.ends.wait()
        raise SystemExit


# SystemExit ends the thread that follows payments.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


def test_a_payment_is_followed_once_its_offer_is_recorded(service):
    ready(service)
    plugin = object.__new__(MeterPlugin)
    plugin.runtime, plugin.node = service, Node(service)
    follower = threading.Thread(target=plugin._watch_payments, daemon=True)
    follower.start()
    deadline = time.monotonic() + 10
    while plugin.node.asked < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    paid = []
    while not paid and time.monotonic() < deadline:
        paid = service.ask(lambda core: [s.paid_msat for s in core.state.sessions.values()])
        time.sleep(0.05)
    plugin.node.ends.set()
    assert paid == [10_000]
