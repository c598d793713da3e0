"""The memory that a small computer needs for Satmeter while nobody buys: each plugin on its node, and a bridge."""

import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
from ground import Figure, until

from satmeter import devnet
from satmeter.board.virtual import VirtualBoard

BARS_MB = {"meter": 45, "stream": 45, "bridge": 30}


def at_rest(net):
    """Resident memory of the seller's plugin with one meter, of the buyer's, and of the bridge of one board."""
    seller, buyer = net["seller"], net["buyer"]
    seller.rpc.call("meter-add", {"name": "rest", "price_msat": 1000, "ticks_per_unit": 100, "quantum_msat": 10_000})
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "board.key"
        board = VirtualBoard(b"k" * 32)
        key.write_text((b"k" * 32).hex())
        key.chmod(0o600)
        socket = str(seller.lightning_dir / "lightning-rpc")
        command = ["-m", "satmeter.cli", "bridge", "--port", board.port, "--meter", "rest", "--rpc", socket]
        bridge = subprocess.Popen([sys.executable, *command, "--key", str(key)], stdout=subprocess.DEVNULL)
        try:
            until(lambda: seller.rpc.call("meter-status", ["rest"])["meters"][0]["board"] == "heard")
            pids = {
                "meter": seller.plugin_pid(devnet.METER),
                "stream": buyer.plugin_pid(devnet.STREAM),
                "bridge": bridge.pid,
            }
            for name, pid in pids.items():
                memory = psutil.Process(pid).memory_full_info()
                note = f"{memory.pss / 1e6:.0f} MB where what several processes use is shared among them"
                yield Figure(f"{name} at rest, MB", memory.rss / 1e6, BARS_MB[name], note=note)
        finally:
            bridge.terminate()
            bridge.wait(60)
            board.close()
