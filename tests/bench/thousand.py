"""A thousand meters on one seller, each with a device that may be read four times a second; a hundred in a stream."""

import asyncio
import tempfile
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import psutil
from ground import Figure, until

from satmeter import devnet
from satmeter.device.boundary import Count
from satmeter.device.outlet import Outlet
from satmeter.device.together import Together
from satmeter.node.async_rpc import AsyncNode

METERS, STREAMS = 1_000, 100
SECONDS = 30
FLOW = 10
"""Ticks a second of a device that is on and in use."""
TERMS = {"price_msat": 1000, "ticks_per_unit": 100, "quantum_msat": 2_000, "rating_ticks_per_s": 100}


class Device:
    """Counts while it is on and in use."""

    cadence_s, latency_s, cut_s, dead_man_s = 0.25, 0.0, 0.05, 0.0

    def __init__(self, used):
        self.on, self._used, self._count, self._at = False, used, 0.0, time.monotonic()

    def _run(self):
        now = time.monotonic()
        self._count += (now - self._at) * FLOW * (self.on and self._used)
        self._at = now

    async def read(self):
        self._run()
        return Count(Decimal(int(self._count)))

    async def allow(self):
        self._run()
        self.on = True

    async def cut(self):
        self._run()
        self.on = False

    async def close(self):
        pass


class Timed:
    """Together, with the time that each report takes until its answer."""

    def __init__(self, node):
        self._together, self.took, self.counts = Together(node), [], False
        self.run = self._together.run

    async def call(self, method, **params):
        began = time.monotonic()
        answer = await self._together.call(method, **params)
        if method == "meter-report" and self.counts:
            self.took.append(time.monotonic() - began)
        return answer


def thousand(net):
    """The seller's plugin meanwhile: its share of a core, its memory, and a reading's way to its grant."""
    seller, buyer = net["seller"], net["buyer"]
    for n in range(METERS):
        seller.rpc.call("meter-add", {"name": f"t-{n}", **TERMS})
    process = psutil.Process(seller.plugin_pid(devnet.METER))

    async def act():
        node = Timed(AsyncNode(str(seller.lightning_dir / "lightning-rpc")))
        tasks = [asyncio.create_task(node.run())]
        with tempfile.TemporaryDirectory() as folder:
            for n in range(METERS):
                device = Device(n < STREAMS)
                outlet = Outlet(f"t-{n}", device, device, Fraction(1), 100, node, Path(folder) / f"{n}.json")
                tasks.append(asyncio.create_task(outlet.run()))
            heard = lambda: {m["name"] for m in seller.rpc.call("meter-status")["meters"] if m["board"] == "heard"}  # noqa: E731
            await asyncio.to_thread(until, lambda: len(heard()) >= METERS, 120)
            await asyncio.to_thread(streams)
            used, began, node.counts = process.cpu_times(), time.monotonic(), True
            await asyncio.sleep(SECONDS)  # the measured interval itself
            spent, took = process.cpu_times(), time.monotonic() - began
            node.counts = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return node.took, 100 * (spent.user + spent.system - used.user - used.system) / took

    def streams():
        for n in range(STREAMS):
            address = f"SATMETER://{seller.address}/{seller.id}/t-{n}".upper()
            params = {"seller": address, "max_price_msat": "1000000/unit", "budget_msat": 10**9, "max_fee_msat": 100}
            buyer.rpc.call("stream-open", params)
        delivering = lambda: sum(m["state"] == "delivering" for m in seller.rpc.call("meter-status")["meters"])  # noqa: E731
        until(lambda: delivering() >= STREAMS * 0.9, 120)

    took, share = asyncio.run(act())
    took.sort()
    paid = sum(s["payments"] for s in buyer.rpc.call("stream-list")["streams"])
    note = f"{len(took) / SECONDS:.0f} reports a second, {paid} payments in all"
    yield Figure("1,000 meters: seller's % of a core", share, 50, note=note)
    yield Figure("1,000 meters: seller's MB", process.memory_info().rss / 1e6, 200)
    note = f"median {took[len(took) // 2] * 1000:.0f} ms"
    yield Figure("1,000 meters: reading to grant, p99 ms", took[int(len(took) * 0.99)] * 1000, 300, note=note)
