"""What the demo sells through, by kind: a device without hardware, its lines of bridge.toml, and a load to turn."""

import asyncio
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import aiomqtt

from .beside import Beside
from .charger import Car, connected
from .load import Load
from .modbus import simulated, words
from .shelly import Plug
from .tasmota import TasmotaPlug

STARTS_S = 10


class Simulated(Protocol):
    """One device, or a source and a valve."""

    table: str
    """Its lines in bridge.toml."""
    step_wh: float
    """In which steps it counts."""

    def turn(self, watts: float) -> None:
        """Takes so much, while the device lets it flow."""
        ...

    @property
    def flowed(self) -> float:
        """The Wh that flowed so far."""
        ...

    @property
    def on(self) -> bool:
        """Whether it lets anything flow."""
        ...

    def close(self) -> None:
        """It is gone."""
        ...


class Shelly:
    """A plug that counts and switches."""

    step_wh = 0.0

    def __init__(self, folder: Path) -> None:
        self._plug = Plug()
        self._load = Load(self._plug, 0.0)
        self.table = f'device = {{ kind = "shelly", host = "{self._plug.host}" }}'

    def turn(self, watts: float) -> None:
        """Takes so much."""
        self._load.watts = watts

    @property
    def flowed(self) -> float:
        """The Wh that flowed so far."""
        return self._load.flowed

    @property
    def on(self) -> bool:
        """Whether the plug is on."""
        return self._plug.on

    def close(self) -> None:
        """It is gone."""
        self._load.stop()
        self._plug.close()


class Modbus:
    """An SDM120 counts, a plug switches."""

    step_wh = 0.1

    def __init__(self, folder: Path) -> None:
        self._plug, self._port, self._stands = Plug(), 0, threading.Event()
        self._load = Load(self._plug, 0.0)
        self._beside = Beside(self._serve)
        self._stands.wait(STARTS_S)
        source = f'{{ kind = "modbus", registers = "sdm120", host = "127.0.0.1", port = {self._port} }}'
        self.table = f'source = {source}\nvalve = {{ kind = "shelly", host = "{self._plug.host}" }}'

    async def _serve(self) -> None:
        power, energy = 12, 342
        live = lambda: {power: words(self._plug.power), energy: words(self._plug.energy / 1000)}  # noqa: E731
        async with simulated({power: words(0.0), energy: words(1.0)}, live=live) as self._port:
            self._stands.set()
            await asyncio.Event().wait()

    def turn(self, watts: float) -> None:
        """Takes so much."""
        self._load.watts = watts

    @property
    def flowed(self) -> float:
        """The Wh that flowed so far."""
        return self._load.flowed

    @property
    def on(self) -> bool:
        """Whether the plug is on."""
        return self._plug.on

    def close(self) -> None:
        """Both are gone."""
        self._beside.stop()
        self._load.stop()
        self._plug.close()


class Tasmota:
    """A plug behind a broker, which is mosquitto."""

    step_wh = 1.0

    def __init__(self, folder: Path) -> None:
        found = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self._port = free_port()
        (folder / "mosquitto.conf").write_text(f"listener {self._port} 127.0.0.1\nallow_anonymous true\n")
        command = [found, "-c", str(folder / "mosquitto.conf")]
        self._broker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _until_open(self._port)
        self._plug = TasmotaPlug(lambda: aiomqtt.Client("127.0.0.1", self._port), "plug")
        self._load = Load(self._plug, 0.0)
        self._beside = Beside(self._plug.run)
        self.table = f'device = {{ kind = "tasmota", broker = "127.0.0.1", port = {self._port}, topic = "plug" }}'

    def turn(self, watts: float) -> None:
        """Takes so much."""
        self._load.watts = watts

    @property
    def flowed(self) -> float:
        """The Wh that flowed so far."""
        return self._load.flowed

    @property
    def on(self) -> bool:
        """Whether the plug is on."""
        return self._plug.on

    def close(self) -> None:
        """Both are gone."""
        self._beside.stop()
        self._load.stop()
        self._broker.terminate()
        self._broker.wait(STARTS_S)


class Ocpp:
    """A charger, with a car."""

    step_wh = 0.1

    def __init__(self, folder: Path, version: str = "ocpp1.6") -> None:
        self._port, self._version, self._car = free_port(), version, Car()
        self._car.watts = 0.0
        self._beside = Beside(self._serve)
        fields = f'charger = "wallbox", port = {self._port}, cadence_s = 1, cut_s = 1'
        self.table = f'device = {{ kind = "ocpp", {fields} }}'

    async def _serve(self) -> None:
        async with connected(self._port, version=self._version, car=self._car):
            await asyncio.Event().wait()

    def turn(self, watts: float) -> None:
        """The car takes so much."""
        self._car.watts = watts

    @property
    def flowed(self) -> float:
        """The Wh that flowed so far."""
        return self._car.flowed

    @property
    def on(self) -> bool:
        """Whether it charges."""
        return self._car.drawing

    def close(self) -> None:
        """It is gone."""
        self._beside.stop()


KINDS: dict[str, Callable[[Path], Simulated]] = {"shelly": Shelly, "modbus": Modbus, "ocpp": Ocpp, "tasmota": Tasmota}


def missing(kind: str) -> str:
    """Returns what is not installed for a kind, and how it is; "" where nothing is missing."""
    broker = shutil.which("mosquitto") or Path("/usr/sbin/mosquitto").exists()
    return "" if kind != "tasmota" or broker else "mosquitto is not installed: make deps, or apt install mosquitto"


def free_port() -> int:
    """Returns a port of loopback that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _until_open(port: int) -> None:
    end = time.monotonic() + STARTS_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
