"""Every node test runs on emulated nodes and, where they are installed, on real ones; the same test on both."""

import shutil
import tempfile
from pathlib import Path

import pytest

from lanes import lane
from satmeter import devnet
from satmeter.devnet import ChannelSpec, NodeSpec
from shop import Shop

HOLDING = Path(__file__).parent / "holding" / "holding.py"
LANE = {"emulated": "emulated nodes", "real": "real nodes (regtest)"}
NODES = (
    NodeSpec("seller", (devnet.METER,), {"meter-silent-s": "5"}),
    NodeSpec("hop", (devnet.METER,)),
    NodeSpec("buyer", (devnet.STREAM,)),
    NodeSpec("far", (devnet.STREAM,)),
    NodeSpec("narrow", (devnet.STREAM,), {"max-concurrent-htlcs": "2"}),
    NodeSpec("poor", (devnet.METER,)),
)
CHANNELS = (
    ChannelSpec("buyer", "seller"),
    ChannelSpec("buyer", "hop"),
    ChannelSpec("hop", "seller"),
    ChannelSpec("far", "hop"),
    ChannelSpec("narrow", "seller"),
    ChannelSpec("buyer", "poor", push_sat=0),
)
"""far reaches seller over hop only; poor has nothing of its channel yet, not even the reserve."""


@pytest.fixture(scope="session", params=["emulated", "real"])
def net(request):
    lane(LANE[request.param], count=False)
    directory = Path(tempfile.mkdtemp(prefix="satmeter-test-"))
    with devnet.start(request.param, directory, NODES, CHANNELS) as running:
        yield running
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(autouse=True)
def _counted(request):
    if "net" in request.fixturenames:
        lane(LANE[request.getfixturevalue("net").kind])


@pytest.fixture
def faults(net):
    """An emulated node makes payments fail, hang or wait by itself; a real one by a plugin."""
    if net.kind == "real":
        net["seller"].rpc.call("plugin", ["start", str(HOLDING)])
    yield net["seller"].rpc
    net["seller"].rpc.call("emulate-release")
    if net.kind == "real":
        net["seller"].rpc.call("plugin", ["stop", HOLDING.name])


@pytest.fixture
def shop(net):
    with Shop(net["seller"]) as open_shop:
        yield open_shop
