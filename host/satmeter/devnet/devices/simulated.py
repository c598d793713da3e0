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


class Taking(Protocol):
    """What takes `watts`, and has taken `flowed` Wh, while it is `on`: a load, or a car."""

    watts: float
    flowed: float

    @property
    def on(self) -> bool:
        """Whether anything flows to it."""
        ...


class Simulated:
    """One device, or a source and a valve: its lines of bridge.toml, in which steps it counts, and what takes of it."""

    def __init__(self, table: str, step_wh: float, taking: Taking, *ends: Callable[[], object]) -> None:
        self.table, self.step_wh = table, step_wh
        self._taking, self._ends = taking, ends

    def turn(self, watts: float) -> None:
        """Takes so much, while the device lets it flow."""
        self._taking.watts = watts

    @property
    def flowed(self) -> float:
        """The Wh that flowed so far."""
        return self._taking.flowed

    @property
    def on(self) -> bool:
        """Whether it lets anything flow."""
        return self._taking.on

    def close(self) -> None:
        """It is gone."""
        for end in self._ends:
            end()


def shelly(folder: Path) -> Simulated:
    """Returns a plug that counts and switches."""
    plug = Plug()
    load = Load(plug, 0.0)
    return Simulated(f'device = {{ kind = "shelly", host = "{plug.host}" }}', 0.0, load, load.stop, plug.close)


def modbus(folder: Path) -> Simulated:
    """Returns an SDM120, which counts, before a plug, which switches."""
    plug, stands, ports = Plug(), threading.Event(), list[int]()
    load = Load(plug, 0.0)
    power, energy = 12, 342

    async def serve() -> None:
        live = lambda: {power: words(plug.power), energy: words(plug.energy / 1000)}  # noqa: E731
        async with simulated({power: words(0.0), energy: words(1.0)}, live=live) as port:
            ports.append(port)
            stands.set()
            await asyncio.Event().wait()

    beside = Beside(serve)
    stands.wait(STARTS_S)
    source = f'{{ kind = "modbus", registers = "sdm120", host = "127.0.0.1", port = {ports[0]} }}'
    table = f'source = {source}\nvalve = {{ kind = "shelly", host = "{plug.host}" }}'
    return Simulated(table, 0.1, load, beside.stop, load.stop, plug.close)


def tasmota(folder: Path) -> Simulated:
    """Returns a plug behind a broker, which is mosquitto."""
    found, port = shutil.which("mosquitto") or "/usr/sbin/mosquitto", free_port()
    (folder / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    command = [found, "-c", str(folder / "mosquitto.conf")]
    broker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _until_open(port)
    plug = TasmotaPlug(lambda: aiomqtt.Client("127.0.0.1", port), "plug")
    load = Load(plug, 0.0)
    beside = Beside(plug.run)
    table = f'device = {{ kind = "tasmota", broker = "127.0.0.1", port = {port}, topic = "plug" }}'
    return Simulated(table, 1.0, load, beside.stop, load.stop, broker.terminate, lambda: broker.wait(STARTS_S))


def ocpp(folder: Path, version: str = "ocpp1.6") -> Simulated:
    """Returns a charger, with a car."""
    port, car = free_port(), Car()
    car.watts = 0.0

    async def serve() -> None:
        async with connected(port, version=version, car=car):
            await asyncio.Event().wait()

    fields = f'charger = "wallbox", port = {port}, cadence_s = 1, cut_s = 1'
    return Simulated(f'device = {{ kind = "ocpp", {fields} }}', 0.1, car, Beside(serve).stop)


KINDS: dict[str, Callable[[Path], Simulated]] = {"shelly": shelly, "modbus": modbus, "ocpp": ocpp, "tasmota": tasmota}


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
