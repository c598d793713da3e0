"""Plugs that run Tasmota, by MQTT (aiomqtt): energy in Wh, switched by Power1.

The dead man's switch is its PulseTime: it goes off by itself when it is not told again to stay on. PowerOnState 0 is
set, so that it comes back switched off after a power cut. It does not tell whether something is plugged in.
"""

import asyncio

from ..core.plain import JsonObject
from .boundary import Count, DeviceTrouble
from .fields import Fields
from .mqtt import Broker, at, number
from .tasks import within

ANSWER_S = 3.0
PULSE_BASE = 100
"""PulseTime counts tenths of a second up to 111, whole seconds from 112 on, as 100 more than they are."""


class Tasmota:
    """Fields: those of the broker; topic (the plug's own), dead_man_s (15)."""

    cadence_s, latency_s, cut_s = 1.0, 1.0, 0.5

    def __init__(self, fields: Fields) -> None:
        self._topic = fields.topic("topic")
        self.dead_man_s = float(fields.whole("dead_man_s", 12, 600, 15))
        self._broker = Broker(fields, (f"stat/{self._topic}/+",), self._heard)
        self.switches = f"mqtt {self._broker.where} {self._topic}"
        self._waiting: dict[str, tuple[asyncio.Future[JsonObject], str | None]] = {}
        self._other: JsonObject | None = None
        """The last answer to the present question that said something else."""
        self._ready = False

    def _heard(self, topic: str, payload: bytes, retained: bool) -> None:
        said = at(payload, "")
        if retained or not isinstance(said, dict):
            return
        for key, (waiting, until) in list(self._waiting.items()):
            if key in said and until not in (None, said[key]):
                self._other = said
            elif key in said and not waiting.done():
                waiting.set_result(said)

    async def read(self) -> Count:
        """Returns the energy in Wh, and the power in W (Status 10)."""
        await self._set_up()
        said = (await self._ask("Status", "10", "StatusSNS"))["StatusSNS"]
        energy = said.get("ENERGY") if isinstance(said, dict) else None
        total = number(energy.get("Total")) if isinstance(energy, dict) else None
        if isinstance(energy, dict) and isinstance(energy.get("Total"), list):
            raise DeviceTrouble(f"{self._topic}: counts several channels together: a plug with one is needed")
        if energy is None or total is None:
            raise DeviceTrouble(f"{self._topic}: measures no energy: a plug with power metering is needed")
        power = number(energy.get("Power"))
        return Count(total, power).scaled(1000)

    async def allow(self) -> None:
        """Switches on; the time until it goes off by itself begins anew."""
        await self._set_up()
        await self._switch("ON")

    async def cut(self) -> None:
        """Switches off, and hears that it is."""
        await self._switch("OFF")

    async def _switch(self, to: str) -> None:
        said = await self._ask("Power1", to, "POWER", "POWER1", until=to)
        now = said.get("POWER", said.get("POWER1"))
        if now != to:
            texts = "" if now in ("ON", "OFF") else "; its StateText1 and 2 have to be OFF and ON"
            raise DeviceTrouble(f"{self._topic}: is still {str(now)[:20]} after Power1 {to}{texts}")

    async def _set_up(self) -> None:
        """Once, and again after it was away: its timer, and that it comes back switched off."""
        if self._ready:
            return
        pulse = str(int(self.dead_man_s) + PULSE_BASE)
        told = (await self._ask("PulseTime1", pulse, "PulseTime1"))["PulseTime1"]
        if str(told.get("Set") if isinstance(told, dict) else told).split(" ")[0] != pulse:
            raise DeviceTrouble(f"{self._topic}: does not take PulseTime1 {pulse}: it would have no dead man's switch")
        said = await self._ask("PowerOnState", "0", "PowerOnState")
        if str(said["PowerOnState"]) != "0":
            raise DeviceTrouble(f"{self._topic}: does not take PowerOnState 0: it would be on after a power cut")
        self._ready = True

    async def _ask(self, command: str, payload: str, *keys: str, until: str | None = None) -> JsonObject:
        """Gives a command, and returns the answer that has one of these keys.

        `until`: the value to wait for; an answer to an earlier command may come late, or twice."""
        answer: asyncio.Future[JsonObject] = asyncio.get_running_loop().create_future()
        self._other = None
        for key in keys:
            self._waiting[key] = (answer, until)
        try:
            await self._broker.send(f"cmnd/{self._topic}/{command}", payload)
            return await within(answer, ANSWER_S)
        except TimeoutError:
            self._ready = False
            if self._other is not None:
                return self._other
            raise DeviceTrouble(f"{self._topic}: {command} is not answered: is it on, and is that its topic?") from None
        finally:
            for key in keys:
                self._waiting.pop(key, None)

    async def close(self) -> None:
        """Disconnects."""
        await self._broker.close()
