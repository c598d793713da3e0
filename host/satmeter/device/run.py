"""All outlets of a bridge.toml in one process, until it is told to end; then nothing flows any more."""

import asyncio
import fcntl
import logging
import re
import secrets
import signal
import time
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO

from pyln.client import RpcError

from ..core.errors import BadParam
from ..core.status import SellerStatus, read_as
from ..files import write_whole
from ..node.async_rpc import AsyncNode
from ..node.rpc import words_of
from ..watch.notify import notify, watchdog_s
from .boundary import Count, DeviceTrouble
from .config import BridgeConfig, MeterConfig, WholeConfig, read
from .discovery import Discovery
from .outlet import ANSWER_S, Outlet
from .tasks import Answer, ended, within
from .together import Calls, Together
from .trust import POWER_MOST, sound

log = logging.getLogger("satmeter.device")

TRIES = 5
MANY = 10
"""From so many meters on their calls to the node go together; with fewer nothing is gained."""
STUCK_S = 120.0
"""An outlet that went through no reading for so long, beyond what its device may take, is stuck by a bug."""


async def run(path: Path, figures_at: str = "") -> None:
    """Runs all meters of a config; BadParam where it is wrong. `figures_at`: HOST:PORT for Prometheus."""
    config = read(path)
    config.state.mkdir(parents=True, exist_ok=True)
    node = AsyncNode(str(config.rpc))
    sold: list[MeterConfig | WholeConfig] = [*config.meters, *config.wholes]
    locks = [_lock(each, config) for each in sold]
    shared = Together(node) if len(config.meters) >= MANY else None
    outlets = [outlet_of(each, config, shared or node) for each in config.meters]
    for outlet in outlets:
        log.info("meter %s: at most %d ticks flow beyond a grant", outlet.meter, outlet.overshoot)
        if not getattr(outlet.valve, "dead_man_s", 0):
            log.warning("meter %s: its valve has no dead man's switch: it stays open if this bridge dies", outlet.meter)
    discovery = _discovery(config, node)
    for whole in config.wholes:
        whole.device.sell(whole.name, config.rpc)
    if figures_at:
        from ..watch.server import in_background
        from .figures import figures

        in_background(figures(outlets), figures_at)
    tasks = [asyncio.create_task(outlet.run()) for outlet in outlets]
    if shared is not None:
        tasks.append(asyncio.create_task(shared.run()))
    if discovery is not None:
        tasks.append(asyncio.create_task(discovery.run()))
    tasks.append(asyncio.create_task(_alive(outlets)))
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    waiting = asyncio.create_task(told.wait())
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    notify("STOPPING=1")
    await ended(tasks)
    for task in tasks:
        if not task.cancelled() and (trouble := task.exception()) is not None:
            log.error("a part of the bridge ended by itself", exc_info=trouble)
    for meter in config.meters:
        await _close(meter)
    for whole in config.wholes:
        whole.device.stop()
    for lock in locks:
        lock.close()


async def _alive(outlets: list[Outlet]) -> None:
    """Tells systemd that all is well, while each outlet goes on: else it starts this process again."""
    notify("READY=1")
    every_s = watchdog_s() / 3 or STUCK_S
    while True:
        if all(time.monotonic() < outlet.acted_at + STUCK_S + outlet.reads_within_s for outlet in outlets):
            notify("WATCHDOG=1")
        await asyncio.sleep(every_s)


def _discovery(config: BridgeConfig, node: AsyncNode) -> Discovery | None:
    """Returns what tells Home Assistant of the meters, None where it is not wanted; BadParam where a field is wrong."""
    if config.discovery is None:
        return None
    names = (*(each.name for each in config.meters), *(each.name for each in config.wholes))
    made = Discovery(config.discovery, names, node)
    config.discovery.end()
    return made


def _lock(meter: MeterConfig | WholeConfig, config: BridgeConfig) -> IO[str]:
    """Returns the file that keeps a second bridge from a device, locked; BadParam where one runs already."""
    path = config.state / f"{meter.switched}.lock"
    try:
        lock = path.open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise BadParam(f"meter {meter.name}: another bridge runs with its device", param="device") from None
    except OSError as error:
        raise BadParam(f"state: {path}: {error.strerror}", param="state") from None
    return lock


def outlet_of(meter: MeterConfig, config: BridgeConfig, node: Calls) -> Outlet:
    """Returns the outlet of a meter."""
    state = config.state / f"{meter.name}.json"
    return Outlet(
        meter.name,
        meter.source,
        meter.valve,
        meter.ticks,
        meter.rating,
        node,
        state,
        config.report_s,
        meter.identity,
        bridge_id(config.state),
    )


def bridge_id(state: Path) -> str:
    """Returns the lasting id of the bridge whose registers are in a folder; it is made there once."""
    path = state / "bridge.id"
    with suppress(OSError):
        if re.fullmatch("[0-9a-f]{16}", known := path.read_text().strip()):
            return known
    made = secrets.token_hex(8)
    try:
        write_whole(path, made.encode())  # one that is lost in a power cut would be another bridge
    except OSError as error:
        raise BadParam(f"state: {path}: {error.strerror}", param="state") from None
    return made


async def _close(meter: MeterConfig) -> None:
    for each in (meter.source, meter.valve):  # one device may be both: it closes once
        await each.close()


@dataclass(frozen=True, slots=True)
class Tried:
    """What a device did: seconds for a reading and for a switch (the slowest of some), and ticks beyond a grant."""

    counts: str
    read_s: float
    switch_s: float
    dead_man_s: float
    overshoot: int
    least_quantum_msat: int


async def _answer(meter: MeterConfig, what: str, call: Awaitable[Answer]) -> Answer:
    """Awaits a device, as long as the bridge would."""
    limit_s = max(ANSWER_S, 3 * meter.source.cadence_s)
    try:
        return await within(call, limit_s)
    except TimeoutError:
        raise DeviceTrouble(f"meter {meter.name}: the device did not {what} within {limit_s:.0f} s") from None


def _believed(meter: MeterConfig, count: Count) -> str:
    """Returns what a source says, in words; DeviceTrouble for what no bridge would believe."""
    if not sound(count.value):
        raise DeviceTrouble(f"meter {meter.name}: the source counts {str(count.value)[:20]}: that can be no count")
    if count.power is None:
        return str(count.value)
    if Fraction(count.power) * meter.ticks > POWER_MOST * meter.rating * 3600:
        why = "is far over the rating: is the power in another unit than the count (power_scale)?"
        raise DeviceTrouble(f"meter {meter.name}: {count.power} units an hour {why}")
    return f"{count.value}, {count.power} an hour"


async def tried(path: Path, name: str) -> Tried:
    """Reads and switches a meter's device a few times; nothing may be sold there meanwhile.

    Raises:
        BadParam: There is no such meter in the config.
        DeviceTrouble: The device does not do what it should; the message says what.
    """
    config = read(path)
    meter = next((each for each in config.meters if each.name == name), None)
    if any(each.name == name for each in config.wholes):
        raise BadParam(f"meter {name}: cuts by itself: satmeter board info says what it is", param="name")
    if meter is None:
        raise BadParam(f"name: {path} has no meter {name!r}", param="name")
    try:
        told = await AsyncNode(str(config.rpc)).call("meter-status", name=name)
    except RpcError as error:
        raise BadParam(f"meter {name}: {words_of(error)}", param="name") from None
    reads, switches, said = [], [], ""
    task = asyncio.current_task()
    for each in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal leaves nothing on
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(each, task.cancel)
    config.state.mkdir(parents=True, exist_ok=True)
    lock = _lock(meter, config)
    try:
        for _ in range(TRIES):
            began = time.monotonic()
            count = await _answer(meter, "read", meter.source.read())
            reads.append(time.monotonic() - began)
            said = _believed(meter, count)
            began = time.monotonic()
            await _answer(meter, "switch on", meter.valve.allow())
            await _answer(meter, "switch off", meter.valve.cut())
            switches.append((time.monotonic() - began) / 2)
    finally:
        try:
            await _answer(meter, "switch off", meter.valve.cut())
        except DeviceTrouble as error:
            log.warning("it may still be on: %s", error)
        await _close(meter)
        lock.close()
    late = max(reads) + meter.source.latency_s + max(meter.valve.cut_s, *switches)
    overshoot = int(meter.rating * (Fraction(meter.source.cadence_s) + Fraction(late))) + 1
    tariff = read_as(SellerStatus, told).meters[0].tariff
    return Tried(said, max(reads), max(switches), meter.valve.dead_man_s, overshoot, tariff.charge(overshoot))
