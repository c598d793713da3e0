"""Figures of the board: the firmware as it is flashed, on the emulated RP2040; times are emulated ones."""

import binascii
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import psutil
from ground import Figure, until

from pico import KEY, PLUG, Host, config, flashed, started
from satmeter.board import flash, image
from satmeter.board.virtual import VirtualBoard
from satmeter.qr.make import fitted

MARK = 14
BAUD_BYTES = 11_520
INVOICE = "LNBCRT10N1P" + "0123456789ACDEFGHJKLMNPQRSTUVWXYZ" * 8
SAMPLE_MS = 20


@contextmanager
def marking():
    """Have the firmware turn a pin over at every sample."""
    before = image.FIRMWARE
    with tempfile.TemporaryDirectory() as where:
        for source in before.glob("*.py"):
            text = source.read_text()
            if source.name == "hal.py":
                made = f"        self._mark = machine.Pin({MARK}, machine.Pin.OUT)\n"
                text = text.replace("        self._plug_on =", made + "        self._plug_on =")
                text = text.replace(
                    "        return sum(self._pot", "        self._mark.toggle()\n        return sum(self._pot"
                )
            (Path(where) / source.name).write_text(text)
        image.FIRMWARE = Path(where)
        try:
            yield
        finally:
            image.FIRMWARE = before


def periods(pico, until_ms):
    """Return the times between samples until an emulated time."""
    edges = []

    def over():
        edges.extend(pico.edges())
        return pico.now > until_ms

    until(over, 600, 0.2)
    return [b - a for (_, a, _, _), (_, b, _, _) in pairwise(e for e in edges if e[0] == MARK)]


def boot_to_hello(pico):
    pico.power()
    pico.until_up(pico.boots + 1)
    first = until(lambda: pico.ask("stat")["first"])
    return Figure("boot to hello, ms emulated", first, 1500)


def code_to_pixels():
    """From the code's first frame on the line to the last of its pixels, the acks in between included."""
    took, readings = [], []
    with flashed(display={"type": "ssd1306"}) as pico, Host(pico) as host:
        host.send("lamp", lamp="slow")
        host.grant(10**9)
        for n in range(5):
            before, began = len(host.readings), pico.now
            code = fitted(f"{INVOICE}{n}", 128, 64)
            host.show(code)
            left, top = (128 - code.n) // 2, (64 - code.n) // 2
            wanted = ["".join("0" if dark else "1" for dark in row) for row in code.rows()]
            until(lambda: [r[left : left + code.n] for r in pico.picture()[top : top + code.n]] == wanted, 60, 0.01)  # noqa: B023
            took.append(pico.now - began)
            readings.append(len(host.readings) - before)
            time.sleep(0.3)
    return Figure(
        "code to pixels, SSD1306, ms emulated", statistics.median(took), 500, note=f"{min(readings)} readings meanwhile"
    )


def free_heap():
    """With the code of an invoice on the largest display, everything loaded as when it runs."""
    code = fitted(INVOICE, 240, 240)
    script = f"""
import gc, json, binascii, chip, settings, asyncio
from app import App
from hal import Hal
from pages import Code
c = json.load(open("config.json"))
b = App(Hal(settings.filled(c)), c)
q = Code({code.n}, "t")
q.put(0, binascii.a2b_base64({binascii.b2a_base64(code.bits, newline=False)!r}))
b.codes[0] = q
b.heard, b.lamp = True, "slow"
while b.show(): pass
gc.collect()
print(gc.mem_free(), b.screen.frames)
"""
    with flashed(display={"type": "st7789"}) as pico:
        flash.maintain(pico.port, KEY)
        with flash.repl(pico.port) as board:
            free, frames = board.exec(script).decode().split()
    assert int(frames) == 1
    return Figure("free heap, largest page, kB", int(free) / 1000, 150, True)


def samples_and_share():
    """A minute of readings, grants and a new code every second on a display whose bus takes its time."""
    with marking(), flashed(display={"type": "ssd1306"}) as pico, Host(pico) as host:
        pico.turn(50, noise=8)
        host.grant(10**9)
        host.send("lamp", lamp="slow")
        began = pico.now
        pico.edges()
        gaps = []
        for n in range(60):
            host.show(fitted(f"{INVOICE}{n}", 128, 64))
            gaps += periods(pico, began + 1000 * (n + 1))
        off = sorted(abs(gap - SAMPLE_MS) for gap in gaps)
        p99 = off[len(off) * 99 // 100]
        yield Figure("sample period, p99 off 20 ms, ms", p99, 5, note=f"{len(gaps)} samples, worst {off[-1]:.1f}")
        host.send("lamp", lamp="on")
        time.sleep(1)
        before, at = pico.ask("stat"), pico.now
        until(lambda: pico.now > at + 10_000, 60)
        after = pico.ask("stat")
        seconds = (after["now"] - before["now"]) / 1000
        up, down = ((after[k] - before[k]) / seconds / BAUD_BYTES * 100 for k in ("sent", "received"))
        yield Figure("line, board to host, % of 115,200 baud", up, 5, note="readings, 4 a second")
        yield Figure("line, host to board, % of 115,200 baud", down, 5)
        pico.edges()
        pico.ask("hold")
        gaps = periods(pico, pico.now + 10_000)
        pico.ask("release")
        yield Figure("stall by a host that does not read, ms", max(gaps) - SAMPLE_MS, 25)


def bridge_cpu():
    """Of a bridge whose board reports four times a second, to a seller that takes readings at once."""
    code = """
import sys, time
from satmeter.bridge import Bridge
from satmeter.wire.dialogue import View
class Side:
    def report(self, node, reading): return View(0, lamp="on")
    def wait(self, node, index): time.sleep(1); return 1, View(0, lamp="on")
Bridge(sys.argv[1], bytes.fromhex(sys.argv[2]), None, Side()).run()
"""
    board = VirtualBoard(KEY, "cpu")
    running = subprocess.Popen([sys.executable, "-c", code, board.port, KEY.hex()])
    try:
        until(lambda: board.app.link.sid)
        process = psutil.Process(running.pid)
        time.sleep(2)
        before, began = process.cpu_times(), time.monotonic()
        time.sleep(20)  # the measured interval itself
        after = process.cpu_times()
        used = (after.user + after.system - before.user - before.system) / (time.monotonic() - began) * 100
    finally:
        running.kill()
        running.wait()
        board.close()
    return Figure("bridge, % of a core", used, 2)


def board():
    """All figures of the board."""
    with started() as pico:
        flash.flash(pico.port, config(pins={"plug": PLUG}))
        yield boot_to_hello(pico)
    yield code_to_pixels()
    yield free_heap()
    yield from samples_and_share()
    yield bridge_cpu()
