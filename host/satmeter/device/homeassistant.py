"""Entities of Home Assistant, by its REST API: a sensor that counts, a switch; whatever Home Assistant speaks to.

It counts energy in Wh, and anything else in the sensor's own unit. There is no dead man's switch, and between the
bridge and the device stands one machine more; what can be reached directly is better sold so.
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from ..core.errors import BadParam
from ..core.plain import JsonObject
from .boundary import Count, DeviceTrouble
from .fields import Fields, place
from .mqtt import number

ENERGY = {"Wh": 1, "kWh": 1_000, "MWh": 1_000_000}
POWER = {"W": 1, "kW": 1_000}
DEFAULT_PORTS = {"http": 80, "https": 443}
TIMEOUT_S, SWITCH_S, AGAIN_S = 5.0, 5.0, 0.2
GONE = ("unavailable", "unknown", "")


class HomeAssistant:
    """Fields: url (http://HOST:8123), token (a long-lived one), count (a sensor), power ("": a sensor), switch ("").

    cadence_s (10): how often the sensor is renewed; it is not believed where it was not for three times that."""

    cut_s, dead_man_s = 2.0, 0.0

    def __init__(self, fields: Fields) -> None:
        self._url = fields.text("url").rstrip("/")
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise BadParam(f"url: must be http://HOST:PORT, got {self._url[:60]!r}", param="url")
        self._count, self._power = fields.text("count", ""), fields.text("power", "")
        self._switch = fields.text("switch", "")
        self.cadence_s = fields.number("cadence_s", 1, 600, 10)
        self.latency_s = self.cadence_s  # what the integration behind it waits between two counts
        given = fields.text("token")
        if not given.isascii():
            raise BadParam("token: must be the one that Home Assistant made, in ASCII", param="token")
        token = {"Authorization": f"Bearer {given}"}
        there = place(parts.hostname) + f":{parts.port or DEFAULT_PORTS[parts.scheme]}"
        self.switches, self.counts = (f"homeassistant {there} {each}" for each in (self._switch, self._count))
        self._http = httpx.AsyncClient(base_url=self._url, headers=token, timeout=TIMEOUT_S, trust_env=False)
        self._unit: str | None = None
        self.missing = {
            what: name
            for what, name, given in (("source", "count", self._count), ("valve", "switch", self._switch))
            if not given
        }

    async def read(self) -> Count:
        """Returns what the sensor counts."""
        if not self._count:
            raise DeviceTrouble("count: is missing: this entity counts nothing")
        said, age_s = await self._state(self._count)
        if age_s > 3 * self.cadence_s:
            raise DeviceTrouble(f"{self._count}: was not renewed for {age_s:.0f} s")
        value, unit = self._number(self._count, said)
        if self._unit not in (None, unit) and not {self._unit, unit} <= ENERGY.keys():
            raise DeviceTrouble(f"{self._count}: counts in {unit or 'no unit'}, and before in {self._unit}")
        self._unit = unit
        power = None
        if self._power:
            found, of = self._number(self._power, (await self._state(self._power))[0])
            power = found * self._factor(self._power, of, POWER)
        return Count(value, power, age_s=age_s).scaled(self._factor(self._count, unit, ENERGY))

    @staticmethod
    def _factor(entity: str, unit: str, known: Mapping[str, int]) -> int:
        """Returns what makes of a unit that of the count (Wh, W); 1 for what is no energy or power."""
        of = next(iter(known))
        if unit not in known and unit.endswith(of):
            raise DeviceTrouble(f"{entity}: is in {unit}, and {', '.join(known)} are known")
        return known.get(unit, 1)

    def _number(self, entity: str, said: JsonObject) -> tuple[Decimal, str]:
        value, attributes = number(said.get("state")), said.get("attributes")
        if value is None:
            raise DeviceTrouble(f"{entity}: is {str(said.get('state'))[:20]!r}, and no number")
        given = attributes if isinstance(attributes, dict) else {}
        unit = str(given.get("unit_of_measurement") or "")
        if not unit and given.get("device_class") in ("energy", "power"):
            raise DeviceTrouble(f"{entity}: says {given['device_class']}, and not in which unit")
        return value, unit

    async def allow(self) -> None:
        """Switches on."""
        await self._turn("on")

    async def cut(self) -> None:
        """Switches off, and reads that it is."""
        await self._turn("off")

    async def _turn(self, to: str) -> None:
        if not self._switch:
            raise DeviceTrouble("switch: is missing: this entity switches nothing")
        await self._ask("POST", f"/api/services/homeassistant/turn_{to}", {"entity_id": self._switch})
        end = time.monotonic() + SWITCH_S
        while (said := str((await self._state(self._switch))[0].get("state"))) != to:
            if time.monotonic() > end:
                raise DeviceTrouble(f"{self._switch}: is still {said[:20]}, and was turned {to}")
            await asyncio.sleep(AGAIN_S)

    async def close(self) -> None:
        """Closes the connection."""
        await self._http.aclose()

    async def _state(self, entity: str) -> tuple[JsonObject, float]:
        """Returns an entity's state, and how old it is by the clock there (0 where that is not said)."""
        answer = await self._ask("GET", f"/api/states/{entity}")
        said = answer.json()
        if not isinstance(said, dict) or said.get("state") in GONE:
            raise DeviceTrouble(f"{entity}: Home Assistant says that it is unavailable")
        return said, _age_s(answer.headers.get("date"), said.get("last_reported"))

    async def _ask(self, method: str, path: str, body: JsonObject | None = None) -> httpx.Response:
        try:
            answer = await self._http.request(method, path, json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise DeviceTrouble(f"{self._url}: {why}: does it run, and is that its address?") from error
        if answer.status_code == 401:
            raise DeviceTrouble(f"{self._url}: wants another token: make a long-lived one in its profile page")
        if answer.status_code == 404:
            raise DeviceTrouble(f"{path.rpartition('/')[2]}: Home Assistant has none of this name")
        if answer.status_code >= 400:
            raise DeviceTrouble(f"{self._url}: {path} answered {answer.status_code}: {answer.text[:80]!r}")
        try:
            answer.json()
        except (ValueError, RecursionError):
            raise DeviceTrouble(f"{self._url}: what answers there is no Home Assistant") from None
        return answer


def _age_s(date: str | None, reported: object) -> float:
    try:
        there = parsedate_to_datetime(date) if date else datetime.now(UTC)
        return max(0.0, (there - datetime.fromisoformat(str(reported))).total_seconds())
    except (ValueError, TypeError):
        raise DeviceTrouble(
            "it is not said when an entity was renewed: Home Assistant 2024.8 or later is needed"
        ) from None
