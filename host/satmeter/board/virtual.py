"""A virtual board: the files of firmware/ on the host, with a potentiometer, a plug and a relay made of software.

Its serial port is a pty, which a bridge opens like any other; a test or a person turns, plugs and unplugs it.
"""

import importlib
import os
import pty
import secrets
import select
import sys
import threading
import time
import tty
from types import ModuleType
from typing import Any, Protocol

from ..parts import root
from ..wire import fit, link

FIRMWARE = root() / "firmware"
FULL_SCALE = 3_600_000
"""Ticks an hour with the potentiometer at its end: a thousand a second."""

STEP_US = 5_000


def firmware(name: str) -> ModuleType:
    """Import a module of the firmware as the board does, flat, with those files of wire/ that are on it."""
    if str(FIRMWARE) not in sys.path:
        sys.path.append(str(FIRMWARE))
    sys.modules.setdefault("link", link)
    sys.modules.setdefault("fit", fit)
    return importlib.import_module(name)


class VirtualDisplay:
    """A monochrome display that keeps what it is sent: `rows` of 8 pixels, a byte a column."""

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        self.rows = [bytes(width) for _ in range(height // 8)]

    def start(self) -> None:
        """Does nothing: a display in software needs no setup."""

    def row(self, n: int, data: bytes) -> None:
        """Keeps row n, 8 pixels high: a byte for each column, the lowest bit on top."""
        self.rows[n] = data

    def picture(self) -> list[str]:
        """Return the lines of pixels as texts of 0 and 1."""
        return ["".join(str(row >> y % 8 & 1) for row in self.rows[y // 8]) for y in range(self.height)]


class HostHal:
    """The inputs and outputs of firmware/hal.py as plain attributes of an object on the host.

    `percent` is the position of the potentiometer. A subclass adds the clock (now_us) and the serial
    line (read and write)."""

    def __init__(self, display: VirtualDisplay | None = None) -> None:
        self.display = display
        self.percent = 0
        self.pulsed = self.lost = 0
        self.is_plugged = True
        self.is_pressed = False
        self.relay_on = False
        self.lamp_on = False
        self.kept = 0
        self.unique = b"a board in software"

    def now_ms(self) -> int:
        """Returns the board's time in milliseconds; it is made from now_us()."""
        return self.now_us() // 1_000

    def now_us(self) -> int:
        """Returns the board's time in microseconds; a subclass has to define it."""
        raise NotImplementedError

    def random(self, n: int) -> bytes:
        """Returns n random bytes from the host's operating system."""
        return secrets.token_bytes(n)

    def identity(self) -> bytes:
        """Returns the unique id of the board (`unique`)."""
        return self.unique

    def flow(self) -> int:
        """Returns the raw reading (0 to 65,535) of a potentiometer at `percent`, without noise."""
        return self.percent * 65535 // 100

    def pulses(self) -> tuple[int, int]:
        """Returns the pulses and the lost pulses (too short to count) since the last call."""
        n, lost = self.pulsed, self.lost
        self.pulsed = self.lost = 0
        return n, lost

    def plugged(self) -> bool:
        """Returns whether something is plugged in (`is_plugged`)."""
        return self.is_plugged

    def button(self) -> bool:
        """Returns whether the button is held (`is_pressed`)."""
        return self.is_pressed

    def relay(self, on: bool) -> None:
        """Closes the relay (on) or opens it (`relay_on`)."""
        self.relay_on = on

    def lamp(self, on: bool) -> None:
        """Switches the LED on or off (`lamp_on`)."""
        self.lamp_on = on

    def keep(self, register: int) -> None:
        """Keeps the register (ticks) in `kept`, for a reset over which it lasts."""
        self.kept = register


class VirtualHal(HostHal):
    """On a pty, with a clock that goes as ours does."""

    def __init__(self, master: int):
        super().__init__(VirtualDisplay(128, 64))
        self._master = master
        self._us = 0
        self._seen_us = time.monotonic_ns() // 1_000

    def advance(self) -> None:
        """Let the board's clock go on with ours, by STEP_US at most: a board is not slower because its host is busy."""
        now = time.monotonic_ns() // 1_000
        self._us += min(STEP_US, now - self._seen_us)
        self._seen_us = now

    def now_us(self) -> int:
        """Returns the board's time in microseconds; only advance() changes it."""
        return self._us

    def read(self) -> bytes:
        """Returns up to 4,096 bytes from the host; none where nothing came, or the pty fails."""
        ready, _, _ = select.select([self._master], [], [], 0)
        try:
            return os.read(self._master, 4096) if ready else b""
        except OSError:
            return b""

    def write(self, data: bytes) -> int:
        """Writes what the pty takes without waiting; returns how many bytes that are, 0 if it fails."""
        _, ready, _ = select.select([], [self._master], [], 0)
        try:
            return os.write(self._master, data) if ready else 0
        except OSError:
            return 0


class Board(Protocol):
    """What a person does to a board without hardware, and sees of it."""

    port: str

    def turn(self, percent: int) -> None:
        """Turns the potentiometer: 0 to 100 per cent of the full flow; other values are clamped."""

    def plug(self) -> None:
        """Puts the plug in."""

    def unplug(self) -> None:
        """Pulls the plug out."""

    def reboot(self) -> None:
        """Cuts the power for a moment: a new boot begins, without a grant."""

    def close(self) -> None:
        """Stops the board; its port goes away."""

    @property
    def percent(self) -> int:
        """The position of the potentiometer, 0 to 100 per cent of the full flow."""

    @property
    def is_plugged(self) -> bool:
        """Whether something is plugged in."""

    @property
    def lines(self) -> list[str]:
        """The lines of text that are shown beside the state, such as the host's page or a fault."""

    @property
    def register(self) -> int:
        """The register in ticks."""

    @property
    def grant(self) -> int:
        """The grant: the register value, in ticks, at which the board cuts; 0 for none."""

    @property
    def flow(self) -> int:
        """The flow in ticks an hour."""

    @property
    def flowing(self) -> bool:
        """Whether the relay is closed."""

    @property
    def lamp(self) -> str:
        """The state of the lamp: on, off, or on some boards slow or fast (blinking)."""


class VirtualBoard:
    """A board on a pty at `port`; runs on a thread of its own until close()."""

    def __init__(self, key: bytes, name: str = "virtual", full_scale: int = FULL_SCALE):
        self.config = {"key": key.hex(), "board": name, "full_scale": full_scale, "plug_debounce_ms": 0}
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.port = os.ttyname(self._slave)
        self.hal = VirtualHal(self._master)
        self.hal.unique = key  # the same board, whatever it is called
        self._lock = threading.Lock()
        self._running = True
        self.app = self._boot()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"board-{name}")
        self._thread.start()

    def _boot(self, base: int = 0) -> Any:  # firmware's App: its modules are MicroPython's
        return firmware("app").App(self.hal, self.config, base)

    def _run(self) -> None:
        try:
            while self._running:
                with self._lock:
                    self.hal.advance()
                    self.app.step()
                time.sleep(0.001)
        finally:
            self.app.off()

    # --- what a person does

    def turn(self, percent: int) -> None:
        """Turn the potentiometer: 0 to 100 per cent of the full flow."""
        self.hal.percent = max(0, min(100, percent))

    def plug(self) -> None:
        """Puts the plug in; the board reads it at its next step, without debouncing."""
        self.hal.is_plugged = True

    def unplug(self) -> None:
        """Pulls the plug out; the board opens its relay and drops its grant at its next step."""
        self.hal.is_plugged = False

    def reboot(self, keep: bool = False) -> None:
        """Cut the power; with `keep` the register lasts, as over a watchdog reset."""
        with self._lock:
            base = self.hal.kept if keep else 0
            self.app.off()
            self.app = self._boot(base)

    # --- what a person sees

    @property
    def percent(self) -> int:
        """The position of the potentiometer, 0 to 100 per cent of the full flow."""
        return self.hal.percent

    @property
    def is_plugged(self) -> bool:
        """Whether something is plugged in."""
        return self.hal.is_plugged

    @property
    def lines(self) -> list[str]:
        """What the host has written onto its page."""
        return list(self.app.lines)

    @property
    def register(self) -> int:
        """The register in ticks."""
        return int(self.app.counter.register)

    @property
    def grant(self) -> int:
        """The grant: the register value, in ticks, at which the board cuts; 0 for none."""
        return int(self.app.grant)

    @property
    def flowing(self) -> bool:
        """Whether the relay is closed."""
        return self.hal.relay_on

    @property
    def lamp(self) -> str:
        """What the LED shows (firmware/lamp.py): on, off, or slow or fast (blinking)."""
        return str(firmware("lamp").shown(self.app.lamp, self.app.relay))

    @property
    def flow(self) -> int:
        """Ticks an hour."""
        return int(self.app.counter.flow)

    def close(self) -> None:
        """Stops the board's thread (2 s at most), which opens the relay, and closes the port."""
        self._running = False
        self._thread.join(2)
        os.close(self._slave)
        os.close(self._master)
