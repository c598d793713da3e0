"""A virtual board on a pty, the bridge, the plugins and a buyer: from the potentiometer to the receipt."""

import json
import os
import pty
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from bridged import FAST, Outlet
from processes import alive

from lanes import lane
from satmeter import devnet
from satmeter.board import flash
from satmeter.board.rp2040.board import EmulatedBoard
from satmeter.board.virtual import VirtualBoard
from satmeter.bridge import Bridge, MeterSide, StreamSide
from satmeter.node.rpc import Node
from shop import TARIFF, balance, close, identity, open_stream, settled, status
from waiting import until


@pytest.fixture
def outlet(net, shop):
    made = Outlet(shop, f"outlet-{secrets.token_hex(3)}")
    until(lambda: made.meter()["board"] == "heard")
    yield made
    made.close()


def test_from_the_potentiometer_to_the_receipt(net, shop, outlet):
    before = settled(net["seller"])
    session = open_stream(net["buyer"], shop, outlet)
    until(lambda: outlet.board.grant > 0)
    outlet.board.turn(30)
    until(lambda: outlet.board.flowing and outlet.board.lamp == "on")
    until(lambda: outlet.board.register > 800)
    outlet.board.turn(0)
    still(outlet)
    receipt = json.loads(close(net["buyer"], session)["receipt"])
    assert receipt["ticks"] == outlet.board.register and receipt["charged_msat"] == receipt["ticks"] * 100
    assert identity(receipt) and settled(net["seller"]) - before == receipt["charged_msat"]
    until(lambda: not outlet.board.flowing and outlet.board.grant == 0)
    assert outlet.board.app.lines[0] == outlet.name


@pytest.mark.timeout(300)
def test_from_the_potentiometer_of_an_emulated_pico_to_the_receipt(net, shop):
    """The same with the firmware as it is flashed, on MicroPython; its bridge lets go of it for another flashing."""
    lane("RP2040 (emulated)")
    key, name = secrets.token_bytes(32), f"pico-{secrets.token_hex(3)}"
    shop.rpc.call("meter-add", {"name": name, **TARIFF, "quantum_msat": 20_000, "grace_s": 20})
    board = EmulatedBoard(key, name, FAST)
    bridge = Bridge(board.port, key, Node(str(net["seller"].lightning_dir / "lightning-rpc")), MeterSide(name))
    bridge.start()

    def shown():
        return shop.rpc.call("meter-status", [name])["meters"][0]

    try:
        until(lambda: shown()["board"] == "heard")
        session = open_stream(net["buyer"], shop, SimpleNamespace(name=name))
        board.turn(30)
        until(lambda: board.flowing and board.lamp == "on")
        until(lambda: board.register > 800)
        board.turn(0)
        until(lambda: not board.flow and shown()["register"] == board.register)
        receipt = json.loads(close(net["buyer"], session)["receipt"])
        assert receipt["ticks"] == board.register and receipt["charged_msat"] == receipt["ticks"] * 100
        assert identity(receipt)
        until(lambda: not board.flowing)
        hello = flash.reset(board.port, key)
        assert hello["base"] == board.register  # kept over the reset
        until(lambda: shown()["boot"] == hello["boot"])
    finally:
        bridge.stop()
        board.close()


def still(outlet):
    """Wait until the seller knows the board's register."""
    until(lambda: outlet.meter()["register"] == outlet.board.register and not outlet.board.flow)


def test_pulling_the_plug_ends_it(net, shop, outlet):
    session = open_stream(net["buyer"], shop, outlet)
    outlet.board.turn(50)
    until(lambda: outlet.board.register > 300)
    outlet.board.unplug()
    end = until(lambda: (s := status(net["buyer"], session))["state"] == "closed" and s)
    receipt = json.loads(end["receipt"])
    assert receipt["reason"] == "unplugged" and receipt["ticks"] == outlet.board.register
    assert not outlet.board.flowing
    outlet.board.plug()


def test_the_boards_own_grant_holds_while_the_bridge_is_away(net, shop, outlet):
    session = open_stream(net["buyer"], shop, outlet)
    until(lambda: outlet.board.grant > 0)
    outlet.bridge.stop()
    grant = outlet.board.grant
    outlet.board.turn(100)
    until(lambda: outlet.board.register >= grant)
    until(lambda: not outlet.board.flowing)
    assert outlet.board.register <= grant + 20  # one sample at full flow, at most
    outlet.board.turn(20)
    outlet.bridge = outlet.new_bridge()
    until(lambda: outlet.board.grant > grant and outlet.board.flowing)  # nothing was lost: it goes on
    outlet.board.turn(0)
    still(outlet)
    receipt = json.loads(close(net["buyer"], session)["receipt"])
    assert receipt["ticks"] == outlet.board.register and identity(receipt)


def test_a_buyer_who_cuts_the_line_and_closes_pays_for_what_flows_on(net, shop, outlet):
    """The board delivers up to its grant without the bridge; the charge waits until it has said so."""
    session = open_stream(net["buyer"], shop, outlet)
    outlet.board.turn(50)
    until(lambda: outlet.board.flowing)
    outlet.bridge.stop()
    net["buyer"].rpc.call("stream-close", [session])
    until(lambda: not outlet.board.flowing)
    assert status(net["buyer"], session)["state"] == "closing"
    outlet.bridge = outlet.new_bridge()
    end = until(lambda: (s := status(net["buyer"], session))["state"] == "closed" and s)
    receipt = json.loads(end["receipt"])
    assert receipt["ticks"] == outlet.board.register >= 200 and receipt["charged_msat"] == 20_000
    assert end["verified"] and identity(receipt)


def test_the_board_reboots_and_its_count_goes_on(net, shop, outlet):
    session = open_stream(net["buyer"], shop, outlet)
    outlet.board.turn(20)
    until(lambda: outlet.board.register > 150)
    outlet.board.turn(0)
    still(outlet)
    first = outlet.board.register
    outlet.board.reboot()
    assert not outlet.board.flowing and outlet.board.register == 0
    outlet.board.turn(20)
    until(lambda: outlet.board.register > 150)
    outlet.board.turn(0)
    still(outlet)
    receipt = json.loads(close(net["buyer"], session)["receipt"])
    assert receipt["ticks"] == first + outlet.board.register and identity(receipt)


def test_the_bridge_brings_a_killed_plugin_back(net, shop, outlet):
    session = open_stream(net["buyer"], shop, outlet)
    outlet.board.turn(20)
    until(lambda: outlet.board.register > 100)
    pid = net["seller"].plugin_pid(devnet.METER)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid))
    register = outlet.board.register
    until(lambda: outlet.board.register > register + 400, 60)  # more than its grant could have been
    outlet.board.turn(0)
    still(outlet)
    receipt = json.loads(close(net["buyer"], session)["receipt"])
    assert receipt["ticks"] == outlet.board.register and identity(receipt)


def test_the_sellers_node_restarts_under_a_running_bridge(net, shop, outlet):
    session = open_stream(net["buyer"], shop, outlet)
    outlet.board.turn(20)
    until(lambda: outlet.board.register > 100)
    net["seller"].kill()
    net["seller"].start()
    register = outlet.board.register
    until(lambda: outlet.board.register > register + 400, 90)
    outlet.board.turn(0)
    still(outlet)
    receipt = json.loads(close(net["buyer"], session)["receipt"])
    assert receipt["ticks"] == outlet.board.register and identity(receipt)


def test_the_smart_cables_own_relay_is_off_until_the_stream_is_paid(net, shop, outlet):
    key = secrets.token_bytes(32)
    cable = VirtualBoard(key, "cable", FAST)
    node = Node(str(net["buyer"].lightning_dir / "lightning-rpc"))
    bridge = Bridge(cable.port, key, node, StreamSide(outlet.name))
    bridge.start()
    try:
        assert not cable.flowing
        session = open_stream(net["buyer"], shop, outlet, tolerance_ticks=2000)
        until(lambda: cable.flowing and cable.lamp == "on")
        outlet.board.turn(20)
        cable.turn(20)
        until(lambda: status(net["buyer"], session)["own_ticks"] > 100)
        assert close(net["buyer"], session)["verified"]
        until(lambda: not cable.flowing and cable.lamp == "off")
    finally:
        bridge.stop()
        cable.close()


def test_the_port_is_opened_exclusively(net, shop, outlet):
    import serial

    until(lambda: outlet.board.app.link.sid)
    with pytest.raises(serial.SerialException):
        serial.Serial(outlet.board.port, exclusive=True)


def test_the_command(net, shop, tmp_path):
    """`satmeter board virtual` and `satmeter bridge`, as a person runs them."""
    name = f"cmd-{secrets.token_hex(3)}"
    shop.rpc.call("meter-add", {"name": name, **TARIFF})
    satmeter = [sys.executable, "-m", "satmeter.cli"]
    link, key = tmp_path / "board", tmp_path / "board.key"
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    virtual = [*satmeter, "board", "virtual", "--link", str(link), "--key", str(key), "--percent", "50"]
    board = subprocess.Popen(virtual, **quiet)
    until(lambda: link.exists() and key.exists())
    assert key.stat().st_mode & 0o777 == 0o600
    rpc = f"{net['seller'].lightning_dir}/lightning-rpc"
    running = [*satmeter, "bridge", "--port", str(link), "--meter", name, "--rpc", rpc, "--key", str(key)]
    bridge = subprocess.Popen(running, **quiet)
    try:
        until(lambda: shop.rpc.call("meter-status", [name])["meters"][0]["board"] == "heard")
        invoice = shop.rpc.call("meter-invoice", {"name": name})
        before = balance(net["buyer"])
        net["buyer"].rpc.call("xpay", {"invstring": invoice["bolt11"]})
        until(lambda: shop.rpc.call("meter-status", [name])["meters"][0]["register"] >= 100)
        assert before - settled(net["buyer"]) == 10_000
    finally:
        for process in (bridge, board):
            process.terminate()
            process.wait(10)


def test_the_command_refuses_an_open_key_and_half_an_order(tmp_path):
    key = tmp_path / "board.key"
    key.write_text("00" * 32)
    key.chmod(0o644)
    run = [sys.executable, "-m", "satmeter.cli", "bridge", "--port", "/dev/null"]
    open_key = subprocess.run([*run, "--meter", "m", "--key", str(key)], capture_output=True, text=True)
    assert open_key.returncode == 1 and "owner only" in open_key.stderr.replace("\n", " ")
    neither = subprocess.run([*run, "--key", str(key)], capture_output=True, text=True)
    assert neither.returncode == 1 and "--meter NAME" in neither.stderr.replace("\n", " ")


class Terminal:
    """A shell at a terminal of 80 x 24, as a person has it: with job control."""

    def __init__(self, folder):
        self.pid, self.tty = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.environ.update(PS1="$ ", TERM="xterm", COLUMNS="80", LINES="24", PATH="/usr/bin:/bin")
            os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
        termios.tcsetwinsize(self.tty, (24, 80))
        self.shown = ""

    def type(self, line):
        os.write(self.tty, line.encode() + b"\n")

    def until(self, text, timeout_s=90):
        end = time.monotonic() + timeout_s
        while text not in self.shown:
            assert time.monotonic() < end, self.shown[-3000:]
            if select.select([self.tty], [], [], 0.2)[0]:
                self.shown += os.read(self.tty, 65_536).decode("utf-8", "replace")

    def close(self):
        """Its jobs end with it: what is left of them would outlive the test."""
        self.type("for job in $(jobs -p); do kill -- -$job; done; wait; echo all''-are-gone")
        try:
            self.until("all-are-gone", 20)
        finally:
            os.kill(self.pid, signal.SIGKILL)
            os.close(self.tty)
            os.waitpid(self.pid, 0)


def test_what_satmeter_devnet_prints_works_when_it_is_pasted():
    tmp_path = Path(tempfile.mkdtemp(prefix="s-"))  # short: a socket's path has 107 characters
    command = [sys.executable, "-m", "satmeter.cli", "devnet", "--kind", "emulated"]
    env = {**os.environ, "COLUMNS": "80", "LINES": "24", "TMPDIR": str(tmp_path)}
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    shell = None
    try:
        lines = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(running.stdout.readline())
            assert lines[-1], lines
        wide = [line for line in lines if len(line.rstrip()) > 80]
        assert len(lines) <= 24 and all("/env" in line or "nodes (" in line for line in wide), wide
        shell = Terminal(tmp_path)
        for line in lines:
            if line.startswith("  ") and "pages_of" not in line and "emulate-fault" not in line:
                if "stream-open" in line:  # a person is slower: the board is heard by now
                    shell.type('until B meter-status socket | grep \'"board": "heard"\'; do sleep 1; done')
                    shell.until('"board": "heard"')
                shell.type(line.strip())
        shell.until('"state": "streaming"')
        shell.type("jobs; echo jobs''-are-shown")
        shell.until("jobs-are-shown")
        assert "Stopped" not in shell.shown and shell.shown.count("Running") >= 2, shell.shown[-2000:]
        shell.type("B meter-status name=nowhere")
        shell.until("2102")
    finally:
        if shell is not None:
            shell.close()
        running.send_signal(signal.SIGINT)
        assert running.wait(90) == 0
    assert not list(tmp_path.glob("satmeter-*")) and "Traceback" not in running.stdout.read()
    shutil.rmtree(tmp_path)


def test_a_kind_of_node_that_is_not_known_is_refused():
    found = subprocess.run(
        [sys.executable, "-m", "satmeter.cli", "demo", "--node", "imagined"], capture_output=True, text=True
    )
    assert found.returncode != 0 and "real or emulated" in found.stdout + found.stderr
