"""Shelly plugs and relays of the second generation and later (Plus, Pro, Gen3), by their RPC over HTTP.

It counts energy in Wh (aenergy.total, which outlives its restarts) and switches. Its dead man's switch is its own
timer (toggle_after): it goes off by itself when nobody asks for more. It does not tell whether something is plugged in.
Set "restore last state" off in its own settings: after a power cut it should come back switched off.
"""

from decimal import Decimal, InvalidOperation

import httpx

from ..core.plain import JsonObject
from .boundary import Count, DeviceTrouble
from .fields import Fields, place

USER = "admin"
"""The one user that a Shelly has."""
TIMEOUT_S = 3.0


class Shelly:
    """Fields: host; password ("" for none), channel (0), id (checked: of which device the host is the address)."""

    cadence_s, latency_s, cut_s = 1.0, 1.0, 0.3

    def __init__(self, fields: Fields) -> None:
        self._host, password = fields.text("host"), fields.text("password", "")
        self._channel, self._id = fields.whole("channel", 0, 999, 0), fields.text("id", "")
        self.dead_man_s = float(fields.whole("dead_man_s", 2, 60, 6))
        auth = httpx.DigestAuth(USER, password) if password else None
        # It speaks plain HTTP: without `verify` each client would load the system's certificates, 1 MB of them.
        self._http = httpx.AsyncClient(
            base_url=fields.base_url("host", self._host), auth=auth, timeout=TIMEOUT_S, trust_env=False, verify=False
        )
        self._looked = False
        self.switches = f"shelly {place(self._host.removesuffix(':80'))} {self._channel}"

    async def read(self) -> Count:
        """Returns the energy in Wh, and the power in W."""
        await self._look()
        said = await self._call("Switch.GetStatus", id=self._channel)
        energy, power = said.get("aenergy"), said.get("apower")
        if not isinstance(energy, dict) or "total" not in energy:
            raise DeviceTrouble(f"{self._host}: measures no energy: a Shelly with power metering (PM) is needed")
        return Count(_decimal(self._host, energy["total"]), None if power is None else _decimal(self._host, power))

    async def allow(self) -> None:
        """Switches on, for dead_man_s."""
        await self._look()
        await self._call("Switch.Set", id=self._channel, on="true", toggle_after=self.dead_man_s)

    async def cut(self) -> None:
        """Switches off, and reads that it is."""
        await self._look()
        await self._call("Switch.Set", id=self._channel, on="false")
        if (await self._call("Switch.GetStatus", id=self._channel)).get("output") is not False:
            raise DeviceTrouble(f"{self._host}: is still on after it was switched off")

    async def close(self) -> None:
        """Closes the connection."""
        await self._http.aclose()

    async def _look(self) -> None:
        """Whether it is the device that the config means: once, and again after it was away."""
        if self._looked:
            return
        said = await self._call("Shelly.GetDeviceInfo")
        if not isinstance(said.get("gen"), int) or said["gen"] < 2:
            raise DeviceTrouble(f"{self._host}: is no Shelly of the second generation or later")
        if self._id and said.get("id") != self._id:
            raise DeviceTrouble(
                f"{self._host}: is {str(said.get('id'))[:40]}, not {self._id}: has its address changed?"
            )
        self._looked = True

    async def _call(self, method: str, **params: object) -> JsonObject:
        try:
            answer = await self._http.get(f"/rpc/{method}", params={name: str(value) for name, value in params.items()})
            if answer.status_code == 401:
                raise DeviceTrouble(f"{self._host}: wants a password, or another one than the config's")
            said = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._looked = False
            raise DeviceTrouble(
                f"{self._host}: {str(error) or type(error).__name__}: is it on, and is that its address?"
            ) from error
        except (ValueError, RecursionError):
            raise DeviceTrouble(f"{self._host}: what answers there is no Shelly") from None
        if answer.status_code != 200 or not isinstance(said, dict):
            raise DeviceTrouble(f"{self._host}: {method} answered {answer.status_code}: {str(said)[:80]}")
        return said


def _decimal(host: str, value: object) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise DeviceTrouble(f"{host}: counts {str(value)[:20]!r}") from None
