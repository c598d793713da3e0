"""An emulated Pico with the real firmware on it, and a host at the other end of its line."""

import secrets
import threading
import time

import serial

from satmeter.board import flash, image
from satmeter.board.rp2040 import EmulatedPico
from satmeter.wire.dialogue import pieces
from satmeter.wire.link import HOST, Link

KEY = bytes(range(32))
RELAY, LED, PLUG, PULSE, BUTTON, MARK = 2, 15, 3, 6, 7, 14
PER_S = 1000
"""Ticks a second with the potentiometer at its end."""
PATIENCE_S = 120
CONFIG = {
    "key": KEY.hex(),
    "board": "b1",
    "full_scale": PER_S * 3600,
    "dead_zone": 0,
    "pins": {"plug": PLUG, "pulse": PULSE, "button": BUTTON},
}


def config(**changes):
    return {**CONFIG, **changes}


def started(**wiring):
    """Return an emulated Pico that is plugged in, with its button up."""
    inputs = {PLUG: 0, PULSE: 1, BUTTON: 1, **wiring.pop("inputs", {})}
    return EmulatedPico(watch=[RELAY, LED, MARK], inputs=inputs, **wiring)


def flashed(flash_path=None, **changes):
    """Return a Pico that was flashed a moment ago; one that has the firmware already gets what differs."""
    oled = changes.get("display", {}).get("type", "ssd1306").replace("st7789", "ssd1306")
    pico = started(oled=oled, flash=str(flash_path) if flash_path else None)
    try:
        flash.flash(pico.port, config(**changes))
    except BaseException:
        pico.close()
        raise
    return pico


def changed(monkeypatch, folder, old, new):
    """Have lamp.py flashed otherwise than it is."""
    firmware = folder / "firmware"
    firmware.mkdir()
    for source in image.FIRMWARE.glob("*.py"):
        text = source.read_text()
        if source.name == "lamp.py":
            assert old in text
            text = text.replace(old, new)
        (firmware / source.name).write_text(text)
    monkeypatch.setattr(image, "FIRMWARE", firmware)


class Host:
    """The host's end of a line to a board; comes back when the port does."""

    def __init__(self, pico):
        self.pico = pico
        self.link = Link(HOST, KEY)
        self.readings, self.hellos, self.lines = [], [], []
        self.silent = False
        self._changed = threading.Condition()
        self._running = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leave()

    def leave(self):
        self._running = False
        self._thread.join(5)

    def _run(self):
        while self._running:
            try:
                with serial.Serial(self.pico.port, 115200, timeout=0.01, exclusive=True) as s:
                    self._port = s
                    self.link.ask(secrets.token_hex(8))
                    self._talk(s)
            except (OSError, serial.SerialException, TypeError):
                time.sleep(0.05)

    def _talk(self, s):
        while self._running:
            data = s.read(s.in_waiting or 1)
            with self._changed:
                if not self.link.nonce:
                    self.link.ask(secrets.token_hex(8))
                for frame in self.link.feed(data):
                    (self.hellos if frame["k"] == "hello" else self.readings).append(frame)
                    self._changed.notify_all()
                out = b"" if self.silent else self.link.pull(time.monotonic_ns() // 1_000_000)
            if out:
                self.lines.append(out)
                s.write(out)

    def raw(self, data):
        self._port.write(data)

    def until(self, what, timeout_s=PATIENCE_S):
        with self._changed:
            assert self._changed.wait_for(what, timeout_s), f"not within {timeout_s} s; last {self.readings[-1:]}"

    def reading(self, good=lambda r: True):
        """Return the next reading for which it holds."""
        seen = len(self.readings)
        self.until(lambda: any(good(r) for r in self.readings[seen:]))
        return next(r for r in self.readings[seen:] if good(r))

    @property
    def boot(self):
        return self.hello["boot"]

    @property
    def hello(self):
        self.until(lambda: self.link.trusted and any(h["nonce"] for h in self.hellos))
        return self.hellos[-1]

    def send(self, kind, key="", **values):
        boot = values.pop("boot", None) or self.boot
        with self._changed:
            self.link.send(kind, key=key, boot=boot, **values)

    def show(self, code):
        """Send a code of qr/make.py."""
        for piece in pieces(code.n, code.bits):
            self.send("code", key=f"0.{piece['at']}", id=0, **piece)

    def grant(self, register):
        """Grant up to a register, and wait until the board says that it has it."""
        self.send("grant", register=register)
        return self.reading(lambda r: r["grant"] == register)
