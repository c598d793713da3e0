"""A device made of numbers, and the outlet that asks it."""

import asyncio
from decimal import Decimal
from fractions import Fraction

from satmeter.core.status import BoardView, answer
from satmeter.device.boundary import Count
from satmeter.device.outlet import Outlet


class Device:
    """A device that a test moves: `fails` has the calls that raise, `on` is what truly flows."""

    cadence_s, latency_s, cut_s, dead_man_s = 0.02, 0.0, 0.0, 0.0

    def __init__(self):
        self.value, self.power, self.plugged, self.on = Decimal(100), None, True, False
        self.fails, self.calls, self.hangs_s, self.allow_hangs_s = {}, [], 0, 0

    async def _called(self, name):
        self.calls.append(name)
        if name in self.fails:
            raise self.fails[name]

    async def read(self):
        await self._called("read")
        await asyncio.sleep(self.hangs_s)
        return Count(self.value, self.power, "", self.plugged)

    async def allow(self):
        self.on = True  # also where the answer is lost
        await self._called("allow")
        await asyncio.sleep(self.allow_hangs_s)

    async def cut(self):
        await self._called("cut")
        self.on = False

    async def close(self):
        pass


def told(boot, grant, **more):
    """What a seller's plugin says of a meter to its board."""
    return {**answer(BoardView(meter="m", state="", boot=boot, grant=grant, lamp="off", page=[], codes=[])), **more}


class Seller:
    """A node that grants, or fails."""

    def __init__(self):
        self.grant, self.boot, self.fails, self.said, self.hangs = 0, "", None, [], False

    async def call(self, method, **params):
        if method == "meter-wait":
            await asyncio.Event().wait()
        self.said.append({"fault": "", "plugged": True, **params})
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails is not None:
            raise self.fails
        return told(self.boot or params["boot"], self.grant)


def made(**more):
    device, seller = Device(), Seller()
    told = (more.get("state"), 0.0, more.get("identity", ""), more.get("bridge", ""))
    return Outlet("m", device, device, Fraction(10), 1_000, seller, *told), device, seller


def steps(outlet, many):
    async def act():
        for _ in range(many):
            await outlet.step()

    asyncio.run(act())
