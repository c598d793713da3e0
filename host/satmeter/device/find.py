"""Looks for devices: what announces itself in the network (mDNS), what answers TP-Link's call, and USB adapters.

Each is found with the line of bridge.toml that would sell through it.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from serial.tools import list_ports
from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

ANSWER_MS = 2_000
BOARD_VENDOR = 0x2E8A
ADAPTERS = {0x1A86: "CH340", 0x0403: "FTDI", 0x10C4: "CP210x", 0x067B: "PL2303"}
"""USB vendors whose adapters lead to RS-485, and so to a Modbus meter."""
SHELLY, HTTP, ESPHOME = "_shelly._tcp.local.", "_http._tcp.local.", "_esphomelib._tcp.local."
BROKER, HOME = "_mqtt._tcp.local.", "_home-assistant._tcp.local."


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A device: `kind` sells through it, `where` it is, `what` it says of itself, `line` of a [[meter]] ("": none)."""

    kind: str
    where: str
    what: str
    line: str


async def found(seconds: float, addresses: Sequence[str] = ()) -> list[Found]:
    """Returns what is found within some seconds; `addresses` of this machine to look from, all where none is given."""
    network, usb = await asyncio.gather(_announced(seconds, addresses), asyncio.to_thread(adapters))
    called = [] if addresses else await _called(seconds)
    return sorted({*network, *called, *usb})


async def _announced(seconds: float, addresses: Sequence[str]) -> list[Found]:
    names: set[tuple[str, str]] = set()

    def changed(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is not ServiceStateChange.Removed:
            names.add((service_type, name))

    made = AsyncZeroconf(interfaces=list(addresses)) if addresses else AsyncZeroconf(ip_version=IPVersion.V4Only)
    async with made as network:
        types = [SHELLY, HTTP, ESPHOME, BROKER, HOME]
        browser = AsyncServiceBrowser(network.zeroconf, types, handlers=[changed])
        await asyncio.sleep(seconds)  # it is looked for so long
        await browser.async_cancel()
        infos = [AsyncServiceInfo(kind, name) for kind, name in sorted(names)]
        await asyncio.gather(*(each.async_request(network.zeroconf, ANSWER_MS) for each in infos))
    return [each for each in map(announced, infos) if each is not None]


def announced(info: AsyncServiceInfo) -> Found | None:
    """Returns what a service is, None for one of another kind."""
    name = info.name.removesuffix(f".{info.type}")
    where = next(iter(info.parsed_addresses(IPVersion.V4Only)), "")
    generation = info.properties.get(b"gen") or b"1"
    if not where:
        return None
    port = info.port or 0
    if info.type == SHELLY or (info.type == HTTP and name.lower().startswith("shelly") and generation != b"1"):
        host = where if port in (0, 80) else f"{where}:{port}"
        return Found("shelly", host, name, _device(kind="shelly", host=host, id=name.lower()))
    if info.type == HTTP and name.lower().startswith("tasmota"):
        return Found("tasmota", where, name, _device(kind="tasmota", broker="BROKER", topic="TOPIC"))
    if info.type == ESPHOME:
        topic = {"count_topic": f"{name}/sensor/energy/state", "command_topic": f"{name}/switch/relay/command"}
        return Found("mqtt", where, f"ESPHome {name}", _device(kind="mqtt", broker="BROKER", **topic))
    if info.type == BROKER:
        return Found("broker", f"{where}:{port}", name, "")
    if info.type == HOME:
        url = f"http://{where}:{port}"
        return Found(
            "homeassistant", where, name, _device(kind="homeassistant", url=url, token="TOKEN", count="SENSOR")
        )
    return None


async def _called(seconds: float) -> list[Found]:
    """Calls TP-Link's devices, where python-kasa is installed."""
    try:
        from kasa import Discover, KasaException
    except ImportError:
        return []
    answers: dict[str, object] = {}
    with suppress(KasaException, OSError):
        answers = dict(await Discover.discover(discovery_timeout=max(1, int(seconds))))
    return [Found("kasa", host, type(each).__name__, _device(kind="kasa", host=host)) for host, each in answers.items()]


def adapters() -> list[Found]:
    """Returns boards of ours, and USB adapters that may lead to a Modbus meter."""
    seen = []
    for each in list_ports.comports():
        what = " ".join(filter(None, (each.manufacturer, each.product))) or str(each.description)
        if each.vid == BOARD_VENDOR:
            seen.append(Found("board", each.device, what, _device(kind="board", port=each.device)))
        elif each.vid in ADAPTERS:
            line = f'source = {{ kind = "modbus", registers = "sdm120", serial = {json.dumps(each.device)} }}'
            seen.append(Found("modbus", each.device, f"{ADAPTERS[each.vid]} {what}", line))
    return seen


def _device(**fields: str) -> str:
    said = ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items())
    return f"device = {{ {said} }}"
