"""Plugs of TP-Link, Kasa and Tapo, by python-kasa: energy in Wh, switched.

They have no dead man's switch here, and don't tell whether something is plugged in. A Tapo counts the energy of the
day: its count begins anew at its midnight. Set "power on behaviour" to off in its app: after a power cut it should come
back switched off. python-kasa is under the GPL, version 3: mind that where you pass on a system that has it.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar

from kasa import AuthenticationError, Credentials, Device, DeviceConfig, Discover, KasaException, Module

from .boundary import Count, DeviceTrouble
from .fields import Fields, place
from .mqtt import number

ANSWER_S = 5
Answer = TypeVar("Answer")


class Kasa:
    """One plug, or one outlet of a strip.

    Fields: host (HOST, or HOST:PORT of a Kasa at a port of its own); user and password (those of the TP-Link account,
    which Tapo and newer Kasa want); outlet (0; of a strip the first is 1)."""

    cadence_s, latency_s, cut_s, dead_man_s = 1.0, 2.0, 0.5, 0.0

    def __init__(self, fields: Fields) -> None:
        self._host, _, port = fields.text("host").partition(":")
        fields.base_url("host", f"{self._host}:{port}" if port else self._host)
        self._port = int(port) if port else None
        user, password = fields.text("user", ""), fields.text("password", "")
        self._known = Credentials(user, password) if user else None
        self._outlet = fields.whole("outlet", 0, 64, 0)
        self.switches = f"kasa {place(self._host)}:{self._port} {self._outlet}"
        self._whole: Device | None = None
        self._asked = asyncio.Lock()
        """It answers one at a time."""

    async def read(self) -> Count:
        """Returns the energy in Wh, and the power in W."""
        plug = await self._plug()
        energy = plug.modules.get(Module.Energy)
        if energy is None:
            raise DeviceTrouble(f"{self._host}: measures no energy: a plug with energy monitoring is needed")
        power = number(energy.current_consumption)
        day = getattr(energy, "energy", None)  # a Tapo's
        if day is not None:
            total, epoch = number(day.get("today_energy")), str(day.get("local_time", ""))[:10]
        else:
            total, epoch = number(energy.consumption_total), ""
        if total is None:
            raise DeviceTrouble(f"{self._host}: says no energy")
        return Count(total, power, epoch) if day is not None else Count(total, power).scaled(1000)

    async def allow(self) -> None:
        """Switches on; nothing where it is."""
        plug = await self._plug()
        if not plug.is_on:
            await self._try(plug.turn_on())

    async def cut(self) -> None:
        """Switches off, and reads that it is."""
        await self._try((await self._plug()).turn_off())
        if (await self._plug()).is_on:
            raise DeviceTrouble(f"{self._host}: is still on after it was switched off")

    async def close(self) -> None:
        """Closes the connection."""
        if self._whole is not None:
            with suppress(KasaException, OSError):
                await self._whole.disconnect()
            self._whole = None

    async def _plug(self) -> Device:
        """Returns the plug as it is now."""
        whole = await self._try(self._updated())
        if not self._outlet:
            return whole
        outlets = whole.children
        if self._outlet > len(outlets):
            raise DeviceTrouble(f"{self._host}: has {len(outlets)} outlets, and no {self._outlet}")
        return outlets[self._outlet - 1]

    async def _updated(self) -> Device:
        if self._whole is None:
            self._whole = await found(self._host, self._port, self._known)
        whole = self._whole
        await whole.update()
        return whole

    async def _try(self, asked: Awaitable[Answer]) -> Answer:
        async with self._asked:
            try:
                return await asked
            except AuthenticationError:
                await self.close()
                raise DeviceTrouble(f"{self._host}: wants user and password of its TP-Link account") from None
            except (KasaException, TimeoutError, OSError) as error:
                await self.close()
                why = str(error)[:120] or "no answer"
                raise DeviceTrouble(f"{self._host}: {why}: is it on, and is that its address?") from error


async def found(host: str, port: int | None, known: Credentials | None) -> Device:
    """Returns the device at an address; KasaException where there is none."""
    if port is not None:
        return await Device.connect(config=DeviceConfig(host, ANSWER_S, port_override=port, credentials=known))
    device = await Discover.discover_single(host, discovery_timeout=ANSWER_S, timeout=ANSWER_S, credentials=known)
    if device is None:
        raise KasaException("there is no device of TP-Link")
    return device
