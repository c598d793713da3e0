"""docs/operating.md, step by step: its commands as they stand there, with an emulated Pico and nodes of either kind."""

import json
import os
import pty
import random
import re
import shutil
import subprocess
import sys
import termios
from pathlib import Path

import cv2
import numpy as np
import pytest

import camera
from lanes import lane
from satmeter import devnet
from satmeter.devnet import ChannelSpec, NodeSpec
from satmeter.qr.read import read
from waiting import until

ROOT = Path(__file__).parents[2]
LANE = {"emulated": "emulated nodes", "real": "real nodes (regtest)"}
LOCAL_FLAGS = 3
ELSEWHERE = ("git clone", "make demo")  # CI clones it afresh and tests/demo runs the demo


def commands():
    """The guide's commands, by step."""
    text = (ROOT / "docs" / "operating.md").read_text()
    guide = text[text.index("## Step by step") : text.index("## Install on")]
    steps = re.split(r"^\d+\. ", guide, flags=re.M)[1:]
    return [re.findall(r"^ +\$ (.+)$", step, flags=re.M) for step in steps]


class Shell:
    """A user's shell at one node: a home of its own with the node where Core Lightning has it, and a terminal."""

    def __init__(self, home, node, port):
        self.home, self.children = home, []
        (home / ".lightning" / "bitcoin").mkdir(parents=True)
        (home / ".lightning" / "bitcoin" / "lightning-rpc").symlink_to(node.lightning_dir / "lightning-rpc")
        tools = home / "bin"
        tools.mkdir()
        real = shutil.which("lightning-cli")
        cli = f'{real} --rpc-file="$HOME/.lightning/bitcoin/lightning-rpc" --network=regtest' if real else None
        emulated = f"{sys.executable} -m satmeter.cli rpc"
        script = cli if cli and "emulated" not in node.rpc.call("getinfo")["version"] else emulated
        drop = '[ "$1" = -k ] && shift\n' if script == emulated else ""
        (tools / "lightning-cli").write_text(f'#!/bin/sh\n{drop}exec {script} "$@"\n')
        (tools / "lightning-cli").chmod(0o755)
        checkout = home / "satmeter"
        checkout.mkdir()
        for name in ("plugins", "contrib", "host", "firmware"):
            (checkout / name).symlink_to(ROOT / name)
        venv = checkout / ".venv" / "bin"
        venv.mkdir(parents=True)
        (venv / "satmeter").write_text(f'#!/bin/sh\nexec {sys.executable} -m satmeter.cli "$@"\n')
        (venv / "satmeter").chmod(0o755)
        self.env = {**os.environ, "HOME": str(home), "PATH": f"{tools}:{os.environ['PATH']}", "SATMETER_PORT": port}

    def run(self, command):
        """Run a command as it stands; one that ends in & goes on. Returns what it wrote, or the process."""
        checkout = self.home / "satmeter"
        if not command.endswith("&"):
            done = subprocess.run(
                ["bash", "-c", command], cwd=checkout, env=self.env, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, command + "\n" + done.stdout + done.stderr
            return done.stdout
        mine, theirs = pty.openpty()
        self.terminal = mine
        with (self.home / f"{len(self.children)}.log").open("w") as log:
            child = subprocess.Popen(
                ["bash", "-c", "exec " + command[:-1]],
                cwd=checkout,
                env=self.env,
                stdin=theirs,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.children.append(child)
        return child

    def answer(self, asked, typed):
        """Wait until something is asked for, and type once the terminal hides it: what came before that is dropped."""
        until(lambda: asked in self.log() and not termios.tcgetattr(self.terminal)[LOCAL_FLAGS] & termios.ECHO)
        os.write(self.terminal, f"{typed}\n".encode())

    def log(self):
        return "\n".join(p.read_text() for p in sorted(self.home.glob("*.log")))

    def close(self):
        for child in self.children:
            child.terminate()
        for child in self.children:
            child.wait(20)


@pytest.fixture(params=["emulated", "real"])
def desk(request, tmp_path):
    """A seller's and a buyer's shell, and the Pico on the seller's table."""
    lane(LANE[request.param])
    lane("RP2040 (emulated)")
    from satmeter.board.rp2040 import EmulatedPico

    nodes = (NodeSpec("seller"), NodeSpec("buyer"))
    with devnet.start(request.param, tmp_path / "net", nodes, (ChannelSpec("buyer", "seller"),)) as net:
        with EmulatedPico(watch=[2, 15], oled="ssd1306") as pico:
            seller = Shell(tmp_path / "seller", net["seller"], pico.port)
            buyer = Shell(tmp_path / "buyer", net["buyer"], pico.port)
            try:
                yield seller, buyer, pico, net
            finally:
                buyer.close()
                seller.close()


def pixels(pico):
    return np.array([[int(bit) for bit in line] for line in pico.picture("oled")], np.uint8)


def code_of(pico, start):
    """Wait until the OLED shows a code that begins so, and return its text and what a camera makes of it."""

    def look():
        seen = pixels(pico)
        texts = [f.text for f in read(np.kron(seen * 255, np.ones((4, 4), np.uint8)), patient=False)]
        return next(((t, seen) for t in texts if t.startswith(start)), None)

    text, seen = until(look)
    return text, camera.picture(seen, 1, camera.mild(random.Random(3)))


def test_every_command_of_the_guide(desk):
    seller, buyer, pico, net = desk
    steps = commands()
    assert [len(step) for step in steps] == [0, 2, 2, 3, 3, 1, 5, 0]
    assert all(command.startswith(ELSEWHERE) for command in steps[1])
    for command in [*steps[2], *steps[3]]:
        out = seller.run(command)
    assert "board socket" in out and "display 128x64" in out
    password, *others = steps[4]
    seller.run(password + " &")
    seller.answer("a password for these pages:", "correct horse")
    seller.answer("Repeat", "correct horse")
    until(lambda: "the password's hash is in" in seller.log())
    for command in others:
        seller.run(command)
    until(lambda: "panel at http://0.0.0.0:8420/" in seller.log())
    code_of(pico, "SATMETER://")
    out = seller.run(steps[5][0])
    invoice, _ = code_of(pico, "LNBCRT")
    assert invoice.lower() == json.loads(out)["bolt11"]
    net["buyer"].rpc.call("xpay", [invoice.lower()])  # the phone
    until(lambda: pico.pin(15) and pico.pin(2))
    pico.turn(80)
    until(lambda: not pico.pin(2))
    pico.turn(0)
    net["seller"].rpc.call("meter-close", ["socket"])  # it would wait for the grace time
    _, picture = code_of(pico, "SATMETER://")
    cv2.imwrite(str(buyer.home / "satmeter" / "shot.jpg"), picture)
    plugin, look, open_, streams, close = steps[6]
    buyer.run(plugin)
    assert "meter socket" in buyer.run(look)
    assert "open: stream" in buyer.run(open_)
    until(lambda: pico.pin(2))
    assert json.loads(buyer.run(streams))["streams"][0]["state"] == "streaming"
    buyer.run(close)
    until(lambda: any(row["signature"] for row in net["buyer"].rpc.call("stream-receipts")["receipts"]))
