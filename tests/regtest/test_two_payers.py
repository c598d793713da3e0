"""Two payers of one invoice at the same moment: they abort a node (lightning#7075), but not one with our plugin."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from pyln.client import RpcError

from lanes import lane
from satmeter import devnet
from satmeter.devnet import ChannelSpec, NodeSpec
from satmeter.node.rpc import code_of
from waiting import until

SLOW = Path(__file__).parent / "slow" / "slow.py"
OPTIONS = {"slow-ms": "2000"}
NODES = (
    NodeSpec("ours", (devnet.METER, SLOW), OPTIONS),
    NodeSpec("plain", (SLOW,), OPTIONS),
    NodeSpec("one"),
    NodeSpec("two"),
)
CHANNELS = tuple(ChannelSpec(payer, payee) for payer in ("one", "two") for payee in ("ours", "plain"))


@pytest.fixture(scope="module", params=["emulated", "real"])
def net(request, tmp_path_factory):
    lane({"emulated": "emulated nodes", "real": "real nodes (regtest)"}[request.param], count=False)
    with devnet.start(request.param, tmp_path_factory.mktemp(request.param), NODES, CHANNELS) as running:
        yield running
        for node in running.nodes.values():
            node.kill()  # some still wait for their payments, and would not stop by themselves


def invoice(net, payee, expiry=600):
    given = {"amount_msat": 2_000, "label": str(time.monotonic_ns()), "description": "x", "expiry": expiry}
    return net[payee].rpc.call("invoice", given)


class Both:
    """Both payers pay one invoice at the same moment."""

    def __init__(self, net, bolt11):
        self.said = {}
        self._threads = [
            threading.Thread(target=self._pay, args=(net[who], bolt11), daemon=True) for who in ("one", "two")
        ]
        for thread in self._threads:
            thread.start()

    def _pay(self, node, bolt11):
        try:
            node.rpc.call("xpay", {"invstring": bolt11})
            self.said[node.name] = "paid"
        except RpcError as e:
            self.said[node.name] = code_of(e)

    def outcome(self):
        for thread in self._threads:
            thread.join(60)
        return sorted(map(str, self.said.values()))


def lives(node):
    try:
        return node.rpc.call("getinfo")
    except Exception:
        return None


def dies(node, within_s):
    """Whether a node aborts within some time."""
    end = time.monotonic() + within_s
    while lives(node):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def waiting(node):
    """How many HTLCs have come to a node and are not settled."""
    channels = node.rpc.call("listpeerchannels")["channels"]
    return sum(1 for c in channels for htlc in c["htlcs"] if htlc["direction"] == "in")


def lasts(node):
    """Start a node and return whether it is still there after a while."""

    def start():
        with contextlib.suppress(Exception):  # it aborted meanwhile
            node.start()

    starting = threading.Thread(target=start, daemon=True)
    starting.start()
    starting.join(10)  # a real one's would wait for two minutes for what is no more
    return not dies(node, 2)


def paid(net, payee, made):
    (row,) = net[payee].rpc.call("listinvoices", {"payment_hash": made["payment_hash"]})["invoices"]
    return row["status"] == "paid"


def test_one_is_paid_and_the_other_told_that_the_invoice_is_unknown(net):
    made = invoice(net, "ours")
    assert Both(net, made["bolt11"]).outcome() == ["203", "paid"]
    assert lives(net["ours"]) and paid(net, "ours", made)


def test_of_an_invoice_that_was_fetched_by_an_offer_as_well(net):
    offer = net["ours"].rpc.call("offer", {"amount": "any", "description": "x"})["bolt12"]
    fetched = net["one"].rpc.call("fetchinvoice", {"offer": offer, "amount_msat": 2_000})["invoice"]
    made = {"payment_hash": net["one"].rpc.call("decode", [fetched])["invoice_payment_hash"]}
    said = Both(net, fetched).outcome()
    assert "paid" in said and lives(net["ours"]) and paid(net, "ours", made)


def test_htlcs_that_come_anew_after_a_restart_are_looked_at_too(net):
    made = invoice(net, "ours")
    stopped = net["ours"].plugin_pid(devnet.METER)
    os.kill(stopped, signal.SIGSTOP)
    both = Both(net, made["bolt11"])
    until(lambda: waiting(net["ours"]) == 2)  # and none has been let through
    net["ours"].kill()
    with contextlib.suppress(ProcessLookupError):
        os.kill(stopped, signal.SIGCONT)  # so that it finds its node gone, and ends
    net["ours"].start()
    assert both.outcome() == ["203", "paid"]
    assert lives(net["ours"]) and paid(net, "ours", made)


def test_without_it_the_node_aborts_again_and_again_until_the_invoice_expires(net):
    def aborted():  # it frees what is free already, which most often ends it
        Both(net, invoice(net, "plain", expiry=15)["bolt11"])
        return dies(net["plain"], 3)

    until(aborted)
    net["plain"].kill()
    assert not lasts(net["plain"])

    def over():
        net["plain"].kill()
        return lasts(net["plain"])

    until(over)
