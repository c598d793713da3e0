"""What the demo's meter is sold through: a board of ours, or a device that people own, each without hardware."""

import contextlib
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ..board.virtual import Board, VirtualBoard
from ..bridge import Bridge, MeterSide
from ..core.plain import JsonObject
from ..node.rpc import Node

Terms = dict[str, str | int]
BASE: Terms = {"unit": "Wh", "price_msat": 1_000, "quantum_msat": 20_000, "low_water_msat": 8_000, "grace_s": 3}
STOPS_S = 20
DEVICES = ("shelly", "modbus", "ocpp", "tasmota")


class Ground(Protocol):
    """A meter's board or device, with its bridge, and a person beside it."""

    tariff: Terms
    beyond: int
    """Ticks that may flow beyond a grant, at the seller's cost."""
    step: int
    """Ticks by which its count may differ from what flowed: it counts in steps."""
    at_work: str
    """What it is, in the checks."""
    sees_a_plug: bool

    def start(self) -> None:
        """Starts the bridge."""
        ...

    def turn(self, percent: int) -> None:
        """Sets the flow."""
        ...

    def unplug(self) -> None:
        """Pulls the plug."""
        ...

    def plug(self) -> None:
        """Puts it in."""
        ...

    @property
    def register(self) -> int:
        """Ticks that truly flowed."""
        ...

    def shown(self, meter: JsonObject) -> tuple[int, int, str]:
        """Returns flow (ticks an hour), grant and lamp, for a meter as meter-status gives it."""
        ...

    def close(self) -> None:
        """Ends all of it."""
        ...


class OnBoard:
    """A board: virtual, or rp2040 (MicroPython on an emulated Pico, flashed for this)."""

    tariff: Terms = {**BASE, "ticks_per_unit": 100, "rating_ticks_per_s": 2_000}
    beyond = 20  # what flows within one sample of the board (20 ms at 1,000 ticks a second) before it cuts
    step, at_work, sees_a_plug = 0, "the board", True

    def __init__(self, kind: str, rpc: Path, meter: str, folder: Path) -> None:
        key = secrets.token_bytes(32)
        self._board = _board(kind, key)
        self._bridge = Bridge(self._board.port, key, Node(str(rpc)), MeterSide(meter))

    def start(self) -> None:
        """Starts the bridge."""
        self._bridge.start()

    def turn(self, percent: int) -> None:
        """Turns the potentiometer."""
        self._board.turn(percent)

    def unplug(self) -> None:
        """Pulls the plug."""
        self._board.unplug()

    def plug(self) -> None:
        """Puts it in."""
        self._board.plug()

    @property
    def register(self) -> int:
        """Ticks that the board counted."""
        return self._board.register

    def shown(self, meter: JsonObject) -> tuple[int, int, str]:
        """Returns what the board itself shows."""
        return self._board.flow, self._board.grant, self._board.lamp

    def close(self) -> None:
        """Stops bridge and board."""
        self._bridge.stop()
        self._board.close()


class OnDevice:
    """A device of a kind, sold by `satmeter bridge --config`, as its operator runs it."""

    tariff: Terms = {**BASE, "ticks_per_unit": 10, "rating_ticks_per_s": 60}
    beyond = 150  # the rating over a reading, its age and a switch: what the bridge states is less
    at_work, sees_a_plug = "the device", False
    MOST_W = 18_000
    """So much that a session takes seconds."""

    def __init__(self, kind: str, rpc: Path, meter: str, folder: Path) -> None:
        from .devices.simulated import KINDS  # needs the extra `device`

        self._device = KINDS[kind](folder)
        self.step = int(self._device.step_wh * int(self.tariff["ticks_per_unit"]))
        self._config, self._log = folder / "bridge.toml", folder / "bridge.log"
        ticks, rating = self.tariff["ticks_per_unit"], self.tariff["rating_ticks_per_s"]
        self._config.write_text(
            f'rpc = "{rpc}"\nstate = "{folder}"\nreport_s = 1\n\n[[meter]]\nname = "{meter}"\n'
            f"ticks = {ticks}\nrating = {rating}\n{self._device.table}\n"
        )
        self._bridge: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the bridge."""
        command = [sys.executable, "-m", "satmeter.cli", "bridge", "--config", str(self._config)]
        with self._log.open("a") as log:
            self._bridge = subprocess.Popen(command, stdout=log, stderr=log)

    def turn(self, percent: int) -> None:
        """Takes so much of the most."""
        self._device.turn(self.MOST_W * percent / 100)

    def unplug(self) -> None:
        """Takes nothing: the device does not see a plug."""
        self._device.turn(0)

    def plug(self) -> None:
        """Nothing: the device does not see a plug."""

    @property
    def register(self) -> int:
        """Ticks that flowed."""
        return int(self._device.flowed * int(self.tariff["ticks_per_unit"]))

    def shown(self, meter: JsonObject) -> tuple[int, int, str]:
        """Returns what the seller knows of it; the lamp is the device's own."""
        return int(meter["flow"]), int(meter["grant"]), "on" if self._device.on else "off"

    def close(self) -> None:
        """Ends the bridge, then the device."""
        if self._bridge is not None:
            self._bridge.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._bridge.wait(STOPS_S)
        self._device.close()


def _board(kind: str, key: bytes) -> Board:
    if kind == "rp2040":
        from ..board.rp2040.board import EmulatedBoard  # needs what flashes

        return EmulatedBoard(key, "demo")
    return VirtualBoard(key, "demo")


def wait_for(true: Callable[[], bool], timeout_s: float) -> None:
    """Waits until `true()` is true, tried each 0.1 s; TimeoutError after `timeout_s` seconds."""
    end = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout_s} s")
        time.sleep(0.1)
