"""kill -9 of everything, again and again in the middle of a stream: it goes on by itself, and the receipt balances."""

import random
import secrets
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from processes import kill_plugin, start_plugin

from satmeter import devnet
from satmeter.board.virtual import VirtualBoard
from satmeter.core.journal import canonical
from shop import close, identity, open_stream, settled, status
from waiting import until

TIMES = 12
FALLING = Path(__file__).parent / "falling"
PATIENCE_S = 90


class Running:
    """A stream that is used without a pause, whatever happens to the nodes."""

    def __init__(self, net, shop, board):
        self.net, self.shop, self.board, self.most = net, shop, board, 0
        self.before = settled(net["seller"])
        self.session = open_stream(net["buyer"], shop, board, max_fee_msat=3_000, budget_msat=10**9)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._use, daemon=True)
        self._thread.start()

    def _use(self):
        while not self._stop.wait(0.02):
            try:
                self.board.use(50)
            except Exception:
                pass  # the node or its plugin is away; a board reports again

    def payments(self):
        """The most payments that either side knows of: one that was just killed may have to find some out again."""
        try:
            known = status(self.net["buyer"], self.session)["payments"]
            sold = self.shop.rpc.call("meter-status", [self.board.name])["sessions"]
            self.most = max([self.most, known, *[s["payments"] for s in sold if s["session"] == self.session]])
        except Exception:
            return 0
        return self.most

    def goes_on(self):
        """Wait until it has gone on by two payments; then until some moment within the next one."""
        known = self.most
        until(lambda: self.payments() >= known + 2, PATIENCE_S)
        threading.Event().wait(random.random() * 0.2)

    def end(self, shop, ticks):
        """Close it, and see that every sum agrees."""
        self._stop.set()
        self._thread.join()
        until(lambda: self.payments(), PATIENCE_S)
        close(self.net["buyer"], self.session)
        receipt = shop.receipt(self.session)
        end = until(lambda: (s := status(self.net["buyer"], self.session))["receipt"] == canonical(receipt) and s)
        assert end["verified"] and identity(receipt) and not receipt["owed_msat"], (end["why"], receipt)
        assert receipt["ticks"] == ticks()
        assert end["paid_msat"] + end["carried_msat"] == receipt["paid_msat"]
        gained = settled(self.net["seller"]) - self.before
        assert gained == receipt["charged_msat"] + receipt["lapsed_msat"]
        return receipt


def board_of(shop):
    return shop.add(window=4, quantum_msat=40_000, grace_s=60)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("who", ["seller", "buyer"])
def test_a_plugin_is_killed_again_and_again(net, shop, who):
    board = board_of(shop)
    running = Running(net, shop, board)
    plugin = devnet.METER if who == "seller" else devnet.STREAM
    for _ in range(TIMES):
        running.goes_on()
        kill_plugin(net[who], plugin)
        start_plugin(net[who], plugin)
    running.goes_on()
    assert running.end(shop, lambda: board.register)["payments"] > 2 * TIMES


@pytest.mark.timeout(900)
def test_lightningd_is_killed_again_and_again(net, shop):
    board = board_of(shop)
    running = Running(net, shop, board)
    for turn in range(TIMES):
        running.goes_on()
        node = net[("seller", "buyer")[turn % 2]]
        node.kill()
        node.start()
    running.goes_on()
    assert running.end(shop, lambda: board.register)["payments"] > 2 * TIMES


class Cable:
    """A virtual board; what a Running uses is the flow that goes through it."""

    def __init__(self, net, name, tmp_path):
        self.net, self.name, self.tmp_path = net, name, tmp_path
        self.key = secrets.token_bytes(32)
        self.board = VirtualBoard(self.key, name, 3_600_000)
        keyfile = tmp_path / "key"
        keyfile.touch(0o600)
        keyfile.write_text(self.key.hex())
        self.start()

    def start(self):
        command = [sys.executable, "-m", "satmeter.cli", "bridge", "--port", self.board.port, "--meter", self.name]
        rpc = self.net["seller"].lightning_dir / "lightning-rpc"
        self.bridge = subprocess.Popen(
            [*command, "--rpc", rpc, "--key", self.tmp_path / "key"], stderr=subprocess.DEVNULL
        )

    def kill(self):
        self.bridge.kill()
        self.bridge.wait()

    def use(self, ticks):
        self.board.turn(50)


@pytest.mark.timeout(600)
def test_the_bridge_is_killed_again_and_again(net, shop, tmp_path):
    name = f"cable-{secrets.token_hex(3)}"
    shop.rpc.call(
        "meter-add", {"name": name, "price_msat": 1000, "ticks_per_unit": 10, "quantum_msat": 40_000, "grace_s": 60}
    )
    cable = Cable(net, name, tmp_path)
    try:
        until(lambda: shop.rpc.call("meter-status", [name])["meters"][0]["board"] == "heard", PATIENCE_S)
        running = Running(net, shop, cable)
        for _ in range(TIMES):
            running.goes_on()
            cable.kill()
            cable.start()
        running.goes_on()
        cable.board.turn(0)
        running.end(shop, lambda: cable.board.register)
    finally:
        cable.board.unplug()
        cable.kill()
        cable.board.close()


PLACES = {
    "seller": [
        "in the hook",
        "after the hook",
        "payment seen, not credited",
        "credited, not acted on",
        "asked for, not made",
        "invoice made, not told",
        "between commit and refund",
    ],
    "buyer": ["between commit and payment", "sent, not waited for", "paid, not booked"],
}


@pytest.fixture
def falling(net):
    """The same plugins, which fall dead where they are told to."""
    away = {"seller": (devnet.METER, FALLING / "meter.py"), "buyer": (devnet.STREAM, FALLING / "stream.py")}
    for who, (plugin, other) in away.items():
        net[who].rpc.call("plugin", ["stop", plugin.name])
        start_plugin(net[who], other)
    yield {who: other for who, (_, other) in away.items()}
    for who, (plugin, other) in away.items():
        (net[who].lightning_dir / "fall").unlink(missing_ok=True)
        net[who].rpc.call("plugin", ["stop", other.name])
        start_plugin(net[who], plugin)


@pytest.mark.parametrize(("who", "place"), [(who, place) for who, places in PLACES.items() for place in places])
def test_it_falls_at_the_worst_moment(net, falling, shop, who, place):
    board = board_of(shop)
    running = Running(net, shop, board)
    running.goes_on()
    fall = net[who].lightning_dir / "fall"
    pid = net[who].plugin_pid(falling[who])
    fall.write_text(place)
    if "refund" in place:
        running._stop.set()
        running._thread.join()
        board.report()
        net["buyer"].rpc.call("stream-close", [running.session])
    until(lambda: not fall.exists(), PATIENCE_S)
    until(lambda: not running_as(net[who], falling[who], pid))
    start_plugin(net[who], falling[who])
    if "refund" not in place:
        running.goes_on()
    running.end(shop, lambda: board.register)


def running_as(node, path, pid):
    try:
        return node.plugin_pid(path) == pid
    except ProcessLookupError:
        return False
