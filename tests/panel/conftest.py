"""A devnet with a board in software, the panel of each side as its user starts it, for a real browser."""

import shutil
import tempfile
from pathlib import Path

import pytest

from lanes import lane
from running import RunningPanel
from satmeter import devnet

LANE = {"emulated": "emulated nodes", "real": "real nodes (regtest)"}
METER = {
    "name": "socket",
    "unit": "Wh",
    "price_msat": 1000,
    "ticks_per_unit": 100,
    "quantum_msat": 20_000,
    "low_water_msat": 8_000,
    "grace_s": 20,
    "lockout_s": 5,
}


@pytest.fixture(scope="session", params=["emulated", "real"])
def net(request):
    lane(LANE[request.param], count=False)
    directory = Path(tempfile.mkdtemp(prefix="satmeter-test-"))
    with devnet.start(request.param, directory) as running:
        running.directory = directory
        running["seller"].rpc.call("meter-add", METER)
        yield running
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def panels(net):
    """The seller's and the buyer's panel; the seller's runs the board of the meter `socket`."""
    rpcs = [net[name].lightning_dir / "lightning-rpc" for name in ("seller", "buyer")]
    running = [RunningPanel(net.directory, rpcs[0], "--virtual", "socket"), RunningPanel(net.directory, rpcs[1])]
    yield running
    for each in running:
        each.stop()


@pytest.fixture(autouse=True)
def _counted(request):
    if "net" in request.fixturenames:
        lane(LANE[request.getfixturevalue("net").kind])
