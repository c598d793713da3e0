"""A Raspberry Pi Pico on the host: real MicroPython on an emulated RP2040, with a USB serial port that is a pty.

The chip is the npm package rp2040js, run by node; the image is MicroPython built from Debian's sources (build-image) or
the official .uf2. What it is not faithful in: no second core, no flash-cache cost (allow twice the time on hardware),
PIO timing. Claim no electrical fact from it.
"""

import json
import os
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import tty
from pathlib import Path
from types import TracebackType
from typing import Self

from ...core.plain import JsonObject
from ...parts import CHECKOUT
from ...wire.link import SHORT

HERE = Path(__file__).resolve().parent
IMAGE = Path(os.environ.get("SATMETER_BOARD_IMAGE") or (CHECKOUT or Path.cwd()) / "build" / "board-image")
"""Where `make board-image` leaves firmware.bin and node_modules."""
BOOT_S = 30.0


def missing(image: Path = IMAGE) -> str:
    """Return what an emulated board lacks on this machine, and what brings it; nothing if nothing."""
    if not shutil.which("node"):
        return "no node on PATH; `make board-image`"
    absent = [each for each in ("firmware.bin", "node_modules/rp2040js") if not (image / each).exists()]
    return f"no {absent[0]} in {image}; `make board-image`" if absent else ""


class EmulatedPico:
    """A board that runs until close(). `port` is a link to its serial port, which goes away at a reset as USB does.

    wiring: `oled` ssd1306, sh1106 or sh1107 on any I2C at 0x3C; a ST7789 on any SPI with `dc`; `watch` pins whose edges
    are kept; `inputs` pin -> level. Times are emulated milliseconds since the last reset.
    """

    def __init__(self, image: Path = IMAGE, flash: Path | None = None, seed: int = 1, **wiring: object):
        lacking = missing(image)
        if lacking:
            raise FileNotFoundError(f"an emulated RP2040 needs more: {lacking}")
        self._where = tempfile.TemporaryDirectory(prefix="satmeter-pico-")
        where = Path(self._where.name)
        self.port = str(where / "tty")
        config = {
            "rom": str(HERE / "rom.bin"),
            "firmware": str(image / "firmware.bin"),
            "modules": str(image),
            "serial": str(where / "serial"),
            "control": str(where / "control"),
            "flash": str(flash) if flash else None,
            "seed": seed,
            **wiring,
        }
        command = ["node", str(HERE / "emulator.mjs"), json.dumps(config)]
        self._node = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert self._node.stdout is not None
        if self._node.stdout.readline() != b"ready\n":
            raise RuntimeError("the emulator did not start")
        self._serial = _connected(where / "serial")
        self._control = _connected(where / "control")
        self._answers: list[JsonObject] = []
        self._changed = threading.Condition()
        self._asking = threading.Lock()
        self._master: int | None = None
        self._slave: int | None = None
        self._running = True
        self._line = b""
        self.heard: JsonObject = {}
        """The last reading that went over the line."""
        self.up = False
        self.boots = 0
        self._attach()
        self._threads = [threading.Thread(target=job, daemon=True) for job in (self._listen, self._pump)]
        for thread in self._threads:
            thread.start()
        self.until_up()

    # --- what a person does

    def turn(self, percent: float, noise: float = 0.0, channel: int = 0) -> None:
        """Turn the potentiometer; `noise` is the standard deviation of the ADC's 12-bit readings."""
        self.ask("adc", channel=channel, value=round(percent * 4095 / 100), noise=noise)

    def profile(self, points: list[tuple[float, float]], noise: float = 0.0, channel: int = 0) -> float:
        """Turn it along [(ms from now, per cent), ...], straight between the points; return now, in emulated ms."""
        scaled = [[ms, percent * 4095 / 100] for ms, percent in points]
        now = self.now
        self.ask("adc", channel=channel, profile=scaled, noise=noise)
        return now

    def put(self, pin: int, level: int) -> None:
        """Drive an input pin."""
        self.ask("input", pin=pin, value=level)

    def wave(self, pin: int, points: list[tuple[float, int]]) -> None:
        """Drive an input pin along [(ms from now, level), ...]."""
        self.ask("wave", pin=pin, points=points)

    def power(self) -> None:
        """Cut the power for a moment."""
        self.ask("power")

    # --- what a person sees

    @property
    def now(self) -> float:
        """The emulated time in milliseconds since the last reset."""
        return float(self.ask("stat")["now"])

    def pin(self, pin: int) -> bool:
        """Return whether an output is high."""
        return bool(self.ask("pin", pin=pin)["value"] == 1)

    def edges(self) -> list[tuple[int, float, bool, int]]:
        """Return (pin, ms, high, resets before it) of the watched pins since the last call."""
        return [(pin, ms, value == 1, resets) for pin, ms, value, resets in self.ask("edges")["edges"]]

    def picture(self, display: str = "oled") -> list[str]:
        """Return the display's rows as texts of 0 and 1; display: oled or st7789."""
        return list(self.ask("picture", display=display)["rows"])

    def ask(self, op: str, **given: object) -> JsonObject:
        """Ask the emulator; see `answers` in emulator.mjs."""
        with self._asking:
            self._control.sendall(json.dumps({"op": op, **given}).encode() + b"\n")
            with self._changed:
                if not self._changed.wait_for(lambda: self._answers or not self._running, 30):
                    raise TimeoutError(f"the emulator does not answer {op}")
                if not self._answers:
                    raise ConnectionError("the emulator has ended")
                return self._answers.pop(0)

    def until_up(self, boots: int = 1, timeout_s: float = BOOT_S) -> None:
        """Wait until USB is up, for the so-manieth time since the start."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.up and self.boots >= boots, timeout_s):
                raise TimeoutError(f"no USB within {timeout_s} s")

    def close(self) -> None:
        """Ends the emulator, and removes the port and the temporary files."""
        self._running = False
        self._node.terminate()
        self._node.wait()
        for s in (self._serial, self._control):
            s.close()
        for thread in self._threads:
            thread.join(2)
        self._detach()
        if self._node.stdout is not None:
            self._node.stdout.close()
        self._where.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # --- the port

    def _attach(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        fresh = self.port + ".new"
        os.symlink(os.ttyname(self._slave), fresh)
        os.replace(fresh, self.port)

    def _detach(self) -> None:
        """The port goes away: whoever has it open reads its end."""
        master, slave, self._master, self._slave = self._master, self._slave, None, None
        for descriptor in (slave, master):
            if descriptor is not None:
                os.close(descriptor)
        Path(self.port).unlink(missing_ok=True)

    def _listen(self) -> None:
        lines = self._control.makefile("r")
        try:
            for line in lines:
                said = json.loads(line)
                with self._changed:
                    if "event" not in said:
                        self._answers.append(said)
                    elif said["up"]:
                        if self._master is None:
                            self._attach()
                        self.up, self.boots = True, self.boots + 1
                    else:
                        self.up = False
                        self._detach()
                    self._changed.notify_all()
        except (OSError, ValueError):
            pass
        with self._changed:
            self._running = False
            self._changed.notify_all()

    def _pump(self) -> None:
        """Carry bytes between the chip and the pty; without a port, what the chip says is lost, as on USB."""
        while self._running:
            with self._changed:
                master = self._master
            try:
                ready, _, _ = select.select([self._serial] + ([master] if master is not None else []), [], [], 0.05)
                if self._serial in ready:
                    data = self._serial.recv(4096)
                    if not data:
                        return
                    if master is not None:
                        self._write(master, data)
                    self._overhear(data)
                if master is not None and master in ready:
                    self._serial.sendall(os.read(master, 4096))
            except (OSError, ValueError):
                time.sleep(0.01)  # the pty went away, or is being made

    def _overhear(self, data: bytes) -> None:
        *lines, self._line = (self._line + data)[-1024:].split(b"\n")
        for line in lines:
            if line.startswith(b'{"k":"r"'):
                try:
                    said = json.loads(line)
                    self.heard = {name: said.get(short, "") for name, short in SHORT.items()}
                except ValueError:
                    pass

    def _write(self, master: int, data: bytes) -> None:
        """A host that does not read fills its pty; the rest is lost (hold, in the emulator, keeps it in the chip)."""
        try:
            os.write(master, data)
        except BlockingIOError:
            pass


def _connected(path: Path) -> socket.socket:
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(path))
    return s
