"""On-chain settlement between a buyer and a seller without a channel: one growing transaction, one fee."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from lanes import lane
from satmeter import devnet
from satmeter.devnet import NodeSpec
from shop import Shop, close, identity, open_stream, until

LANE = {"emulated": "emulated nodes", "real": "real nodes (regtest)"}
STEP_SAT, STEPS = 2_000, 50
ONCHAIN = {
    "settlement": "onchain",
    "price_msat": 100_000,
    "ticks_per_unit": 1,
    "quantum_msat": STEP_SAT * 1000,
    "low_water_msat": 0,
    "hold_msat": STEP_SAT * 1000 * (STEPS + 5),
    "confirmations": 3,
    "grace_s": 20,
}
STEP_TICKS = 20
CAPS = {"max_price_msat": 100_000, "budget_msat": 10**9}


@pytest.fixture(scope="module", params=["emulated", "real"])
def net(request):
    lane(LANE[request.param], count=False)
    directory = Path(tempfile.mkdtemp(prefix="satmeter-chain-"))
    nodes = (
        NodeSpec("seller", (devnet.METER,), {"meter-silent-s": "5", "meter-bump-blocks": "2"}),
        NodeSpec("buyer", (devnet.STREAM,)),
    )
    with devnet.start(request.param, directory, nodes, ()) as running:
        yield running
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def shop(net):
    with Shop(net["seller"]) as open_shop:
        yield open_shop


def session_of(shop, session):
    rows = shop.rpc.call("meter-status")["sessions"]
    return next((r for r in rows if r["session"] == session), None)


def pending(shop, session):
    """The session's transactions whose fate is open."""
    found = session_of(shop, session)
    return found["transactions"] if found else []


def wallet(node):
    """What the node's wallet has, spent outputs and unconfirmed ones of others not counted, in sat."""
    outputs = node.rpc.call("listfunds")["outputs"]
    return sum(int(o["amount_msat"]) for o in outputs if o["status"] == "confirmed") // 1000


def test_fifty_steps_cost_one_fee(net, shop):
    net.fund("buyer", 150_000)
    had = {name: wallet(net[name]) for name in ("buyer", "seller")}
    board = shop.add(**ONCHAIN)
    session = open_stream(net["buyer"], shop, board, **CAPS)
    board.use_all(STEPS * STEP_TICKS - 1, 120)
    until(lambda: session_of(shop, session)["payments"] == STEPS)
    assert session_of(shop, session)["held_msat"] == STEPS * STEP_SAT * 1000
    assert net.mempool() == []  # nothing is broadcast while it grows
    end = close(net["buyer"], session)
    receipt = json.loads(end["receipt"])
    assert end["verified"] and not end["why"] and identity(receipt)
    assert receipt["paid_msat"] == STEPS * STEP_SAT * 1000 and receipt["payments"] == STEPS
    chain = receipt["onchain"]
    assert chain["transactions"] == 1 and net.mempool() == chain["txids"]
    assert chain["basic_fee_msat"] >= 40 * chain["fee_msat"] == 40 * end["fees_msat"] > 0
    net.mine(3)
    until(lambda: not pending(shop, session))
    assert wallet(net["seller"]) - had["seller"] == receipt["paid_msat"] // 1000
    assert had["buyer"] - wallet(net["buyer"]) == (receipt["paid_msat"] + chain["fee_msat"]) // 1000
    assert end["paid_msat"] == receipt["paid_msat"]
