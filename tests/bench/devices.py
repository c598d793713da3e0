"""Figures of devices: what flows beyond a grant against the bound that is stated, and many devices on one bridge."""

import asyncio
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from fractions import Fraction
from pathlib import Path

import psutil
from ground import Figure, until
from plugs import Plugs

from broker import Broker
from satmeter.device.fields import Fields
from satmeter.device.mqtt import Mqtt
from satmeter.device.outlet import Outlet
from satmeter.device.shelly import Shelly
from satmeter.devnet.devices.shelly import Plug
from satmeter.node.async_rpc import AsyncNode

CUTS, GRANT, RATING = 10, 30, 12
DEVICES, SECONDS, READINGS = 200, 20, 200


def devices(net, directory):
    """All figures of devices."""
    yield from overshoot()
    yield from told(net, Path(directory))
    yield from many(net, Path(directory))


class Seller:
    """A seller that grants some ticks more each time that all are used up; it notes what had flowed at each cut."""

    def __init__(self, plug):
        self.plug, self.grant, self.over = plug, 0, []

    async def call(self, method, **said):
        if method == "meter-wait":
            await asyncio.Event().wait()
        if not said["grant"] and said["register"] >= self.grant:
            if self.grant:
                self.over.append(round((self.plug.flowed - 1_000) * 10) - self.grant)
            self.grant = said["register"] + GRANT
        shown = {"meter": said["name"], "state": "delivering", "lamp": "on", "page": [], "codes": ["", ""]}
        return {**shown, "boot": said["boot"], "grant": self.grant}


def overshoot():
    """Twenty plugs, each cut CUTS times, under a load that comes and goes as it likes, up to the rating.

    A plug counts once in a second, as its kind states (latency_s)."""
    plugs = [Plug() for _ in range(20)]
    for plug in plugs:
        plug.flowed = plug.energy
    running = threading.Event()

    def flow():
        dice, loads, last = random.Random(7), [0.0] * len(plugs), time.monotonic()
        due = [last + dice.random() * Shelly.latency_s for _ in plugs]
        while not running.wait(0.01):
            now = time.monotonic()
            for n, plug in enumerate(plugs):
                if dice.random() < (now - last) / 1.5:
                    loads[n] = 0.0 if loads[n] else RATING / 10
                plug.flowed += loads[n] * (now - last) if plug.on else 0
                if now >= due[n]:
                    due[n] += Shelly.latency_s
                    plug.energy, plug.power = plug.flowed, loads[n] * 3600 if plug.on else 0
            last = now

    threading.Thread(target=flow, daemon=True).start()
    sellers = [Seller(plug) for plug in plugs]

    async def sell():
        outlets = []
        for plug, seller in zip(plugs, sellers, strict=True):
            device = Shelly(Fields("device", {"host": plug.host}))
            outlets.append(Outlet("m", device, device, Fraction(10), RATING, seller, None))
        tasks = [asyncio.create_task(outlet.run()) for outlet in outlets]
        while any(len(seller.over) < CUTS for seller in sellers):
            await asyncio.sleep(0.2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return outlets[0].overshoot

    stated = asyncio.run(sell())
    running.set()
    for plug in plugs:
        plug.close()
    over = [each for seller in sellers for each in seller.over]
    note = f"{max(over)} ticks at worst of {len(over)} cuts, {stated} stated"
    yield Figure("beyond a grant, against its bound", max(over) / stated, 1.0, note=note)
    yield Figure("the bound, against the worst cut", stated / max(1, *over), 2.0, note=note)


def told(net, directory):
    """From a count that is published over MQTT to the seller's answer to its report, p99."""
    if shutil.which("mosquitto") is None and not Path("/usr/sbin/mosquitto").exists():
        return
    seller, broker, took = net["seller"], Broker(directory / "broker"), []
    terms = {"price_msat": 1000, "ticks_per_unit": 100, "quantum_msat": 10_000}
    seller.rpc.call("meter-add", {"name": "told", **terms})

    async def act():
        topics = {"count_topic": "told/count", "command_topic": "told/set"}
        device = Mqtt(Fields("device", {**broker.fields, **topics, "cadence_s": 2}))
        decided = asyncio.Event()

        class Decided(AsyncNode):
            async def call(self, method, **said):
                answer = await super().call(method, **said)
                if method == "meter-report" and said["register"] > decided.register:
                    decided.register = said["register"]
                    decided.set()
                return answer

        decided.register = 0
        node = Decided(str(seller.lightning_dir / "lightning-rpc"))
        outlet = Outlet("told", device, device, Fraction(1), 10_000, node, None)
        running = asyncio.create_task(outlet.run())
        async with broker.client() as client:
            for count in range(1_000, 1_000 + READINGS):
                await asyncio.sleep(0.25)  # a device's own pace; faster ones are not followed one by one
                decided.clear()
                began = time.monotonic()
                await client.publish("told/count", str(count), retain=True)
                if count == 1_000:
                    while not outlet.trust.known(""):
                        await asyncio.sleep(0.01)
                    continue
                await asyncio.wait_for(decided.wait(), 20)
                took.append(time.monotonic() - began)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await device.close()

    try:
        asyncio.run(act())
    finally:
        broker.stop()
    took.sort()
    note = f"{len(took)} readings, median {took[len(took) // 2] * 1000:.0f} ms"
    yield Figure("reading to credit decision, MQTT, p99 ms", took[int(len(took) * 0.99)] * 1000, 150, note=note)


def many(net, directory):
    """Two hundred plugs at their cadence on one bridge, nothing sold: its share of a core, and its memory."""
    seller, rows = net["seller"].rpc, []
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        plugs = Plugs(DEVICES)
        for n in range(DEVICES):
            name = f"many-{n}"
            terms = {"price_msat": 1000, "ticks_per_unit": 100, "quantum_msat": 10_000}
            seller.call("meter-add", {"name": name, **terms})
            device = f'{{ kind = "shelly", host = "{plugs.host}", channel = {n} }}'
            rows.append(f'[[meter]]\nname = "{name}"\nrating = 10\ndevice = {device}\n')
        config = Path(folder) / "bridge.toml"
        socket = net["seller"].lightning_dir / "lightning-rpc"
        config.write_text(f'rpc = "{socket}"\nstate = "{folder}"\n' + "".join(rows))
        command = [sys.executable, "-m", "satmeter.cli", "bridge", "--config", str(config)]
        bridge = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            heard = lambda: seller.call("meter-status")["meters"]  # noqa: E731
            until(lambda: all(each["board"] == "heard" for each in heard() if each["name"].startswith("many-")))
            process = psutil.Process(bridge.pid)
            used, began = process.cpu_times(), time.monotonic()
            time.sleep(SECONDS)  # the measured interval itself
            spent, took = process.cpu_times(), time.monotonic() - began
            share = 100 * (spent.user + spent.system - used.user - used.system) / took
            memory = process.memory_info().rss / 1e6
        finally:
            bridge.terminate()
            bridge.wait(60)
            plugs.close()
    yield Figure(f"{DEVICES} devices on one bridge, % of a core", share, 10)
    yield Figure(f"{DEVICES} devices on one bridge, MB", memory, 150)
