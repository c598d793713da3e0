"""Where the emulated node dies or refuses as lightningd does."""

import threading
from contextlib import suppress

import pytest
from pyln.client import RpcError

from satmeter import devnet
from satmeter.devnet import ChannelSpec, NodeSpec

FAULTY_HOOK = """#!/usr/bin/env python3
import json, sys

MANIFEST = {"options": [], "rpcmethods": [], "hooks": [{"name": "htlc_accepted"}], "subscriptions": [], "dynamic": True}
for line in sys.stdin:
    if line.strip():
        asked = json.loads(line)
        answer = {"getmanifest": {"result": MANIFEST}, "init": {"result": {}}}.get(
            asked["method"], {"error": {"code": -1, "message": "no answer of a hook"}}
        )
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer}), end="\\n\\n", flush=True)
"""


@pytest.fixture
def pair(tmp_path):
    nodes = (NodeSpec("a", ()), NodeSpec("b", ()))
    with devnet.start("emulated", tmp_path, nodes, (ChannelSpec("a", "b"),)) as running:
        yield running


def test_what_is_no_hex_is_an_empty_message_and_ends_the_node(pair):
    with pytest.raises(RpcError):
        pair["a"].rpc.call("sendcustommsg", [pair["b"].id, "nonsense"])
    with pytest.raises((RpcError, OSError, ValueError)):
        while True:  # it takes a moment to die
            pair["a"].rpc.call("getinfo")


def test_a_request_that_can_not_be_met_is_answered(pair):
    with pytest.raises(RpcError) as answered:
        pair["a"].rpc.call("sendpay", {"route": [], "payment_hash": "00" * 32})
    assert answered.value.error["code"] == -32600
    assert pair["a"].rpc.call("getinfo")["id"] == pair["a"].id


def test_a_feerate_without_a_unit_is_for_a_thousand_bytes(pair):
    pair.fund("a", 100_000)
    funded = {
        rate: pair["a"].rpc.call("fundpsbt", {"satoshi": 1000, "feerate": rate, "startweight": 400, "reserve": 0})
        for rate in ("4000", "4000perkb", "1000perkw")
    }
    assert {each["feerate_per_kw"] for each in funded.values()} == {1000}


def test_a_hook_that_answers_with_an_error_ends_the_node(pair, tmp_path):
    plugin = tmp_path / "faulty.py"
    plugin.write_text(FAULTY_HOOK)
    plugin.chmod(0o755)
    pair["b"].rpc.call("plugin", ["start", str(plugin)])
    made = pair["b"].rpc.call("invoice", {"amount_msat": 1000, "label": "x", "description": "x"})

    def pay():
        with suppress(RpcError):  # at the end of the test, when its own node ends
            pair["a"].rpc.call("xpay", {"invstring": made["bolt11"]})

    paying = threading.Thread(target=pay, daemon=True)
    paying.start()
    with pytest.raises((RpcError, OSError, ValueError)):
        while True:
            pair["b"].rpc.call("getinfo")
    assert paying.is_alive()  # as with real nodes: its HTLC is open
