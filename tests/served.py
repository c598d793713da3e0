"""A devnet, and the billing service as its operator starts it, on the seller's node."""

import shutil
import tempfile
from pathlib import Path

import pytest

import gates
from lanes import lane
from satmeter import devnet
from satmeter.devnet import ChannelSpec, NodeSpec
from services import Service, Shop, Visitor

LANE = {"emulated": "emulated nodes", "real": "real nodes (regtest)"}
NODES = (NodeSpec("seller", (devnet.METER,)), NodeSpec("hop"), NodeSpec("buyer", (devnet.STREAM,)), NodeSpec("far"))
CHANNELS = (
    ChannelSpec("hop", "seller"),
    ChannelSpec("buyer", "hop"),
    ChannelSpec("buyer", "seller"),
    ChannelSpec("far", "hop"),
)
"""far reaches the seller over the hop only."""


@pytest.fixture(scope="session", params=["emulated", "real"])
def net(request):
    lane(LANE[request.param], count=False)
    directory = Path(tempfile.mkdtemp(prefix="satmeter-test-"))
    with devnet.start(request.param, directory, NODES, CHANNELS) as running:
        running.directory = directory
        yield running
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(autouse=True)
def _counted(request):
    if "net" in request.fixturenames:
        lane(LANE[request.getfixturevalue("net").kind])


@pytest.fixture(scope="session")
def service(net):
    """The service on SQLite, with a client who may do everything."""
    running = Service(net.directory / "service", net["seller"])
    yield running
    running.stop()


@pytest.fixture(scope="module")
def gate(service, tmp_path_factory):
    client, stop = gates.start(service, tmp_path_factory.mktemp("gate"))
    yield client
    stop()


@pytest.fixture(scope="module")
def somewhere():
    """A seller's node, of which the market only looks whether it answers."""
    shop = Shop()
    yield shop.url
    shop.shut()


@pytest.fixture
def visitor(hub, net, request):
    """Make people with accounts at the module's hub."""
    made = []

    def make(kind):
        made.append(kind)
        return Visitor(hub, f"{kind}-{abs(hash(request.node.name)) % 10**9}-{len(made)}", net)

    return make
