"""What Home Assistant is told of the meters, by MQTT discovery; a switch there ends a session.

It finds them by itself: each entity is announced under homeassistant/…/config, retained. What they are is asked of the
node, and sent where it has changed.
"""

import asyncio
import json
import logging
from contextlib import suppress
from dataclasses import dataclass

from pyln.client import RpcError

from ..core.errors import SatmeterError
from ..core.plain import JsonObject
from ..core.status import MeterStatus, SellerStatus, read_as
from ..node.async_rpc import AsyncNode
from ..node.rpc import words_of
from .boundary import DeviceTrouble
from .fields import Fields
from .mqtt import Broker
from .tasks import within

log = logging.getLogger("satmeter.device")

ON, OFF = "ON", "OFF"
KINDS = {"kWh": "energy", "Wh": "energy", "L": "water", "m³": "water"}
"""Units that Home Assistant knows as a class of device."""


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity of a meter: `component` and `key` are its place in the topics."""

    component: str
    key: str
    name: str
    more: JsonObject


class Discovery:
    """Announces meters, and ends their sessions where somebody turns their switch off.

    Fields: those of the broker; prefix (homeassistant), topic (satmeter), every_s (5)."""

    def __init__(self, fields: Fields, meters: tuple[str, ...], node: AsyncNode) -> None:
        self._prefix, self._topic = fields.topic("prefix", "homeassistant"), fields.topic("topic", "satmeter")
        self._every_s = fields.number("every_s", 1, 600, 5)
        self._alive = f"{self._topic}/_bridge"  # no meter has this name
        wanted = (f"{self._topic}/+/session/set", f"{self._prefix}/status")
        self._broker = Broker(fields, wanted, self._heard, alive=self._alive)
        self._meters, self._node = meters, node
        self._told: dict[str, str] = {}
        self._sessions: dict[str, str] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Runs until it is cancelled."""
        try:
            while True:
                self._news.clear()  # first: what is heard while this tells is told in the next round
                try:
                    for meter in read_as(SellerStatus, await self._node.call("meter-status")).meters:
                        if meter.name in self._meters:
                            await self._tell(meter)
                except (DeviceTrouble, RpcError, SatmeterError, OSError) as error:
                    self._told.clear()  # a broker that began anew knows nothing
                    log.warning("Home Assistant: %s", words_of(error))
                with suppress(TimeoutError):
                    await within(self._news.wait(), self._every_s)
        finally:
            await self._broker.close()

    async def _tell(self, meter: MeterStatus) -> None:
        name = meter.name
        self._sessions[name] = meter.session
        for each in entities(meter):
            topic = f"{self._prefix}/{each.component}/satmeter_{name}/{each.key}/config"
            await self._send(topic, json.dumps(self._announced(name, each), sort_keys=True))
        await self._send(f"{self._topic}/{name}", json.dumps(values(meter), sort_keys=True))

    def _announced(self, name: str, entity: Entity) -> JsonObject:
        own = {"name": entity.name, "unique_id": f"satmeter_{name}_{entity.key}", "object_id": f"{name}_{entity.key}"}
        own["default_entity_id"] = (
            f"{entity.component}.{name}_{entity.key}"  # Home Assistant from 2025.10; before: object_id
        )
        where = {"state_topic": f"{self._topic}/{name}", "value_template": f"{{{{ value_json.{entity.key} }}}}"}
        device = {"identifiers": [f"satmeter_{name}"], "name": name, "manufacturer": "Satmeter"}
        command = {"command_topic": f"{self._topic}/{name}/session/set"} if entity.component == "switch" else {}
        return {**own, **where, **command, **entity.more, "availability_topic": self._alive, "device": device}

    async def _send(self, topic: str, payload: str) -> None:
        if self._told.get(topic) != payload:
            self._told[topic] = payload  # before it is sent: an answer to it may come at once, and have it told again
            await self._broker.send(topic, payload, retain=True)

    def _heard(self, topic: str, payload: bytes, retained: bool) -> None:
        if retained:
            return  # a command of before, of whatever session then ran
        if topic == f"{self._prefix}/status":
            if payload == b"online":  # it has begun anew
                self._told.clear()
                self._news.set()
            return
        name = topic.removeprefix(f"{self._topic}/").removesuffix("/session/set")
        session = self._sessions.get(name)
        if payload.decode("utf-8", "replace") == OFF and session:
            closing = asyncio.create_task(self._close(name, session))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        elif name in self._meters:
            self._told.pop(f"{self._topic}/{name}", None)  # nobody begins a session there: it is told that it is off
            self._news.set()

    async def _close(self, name: str, session: str) -> None:
        try:
            await self._node.call("meter-close", name=session, reason="ended by Home Assistant")
            log.info("meter %s: session %s was ended from Home Assistant", name, session)
        except (RpcError, SatmeterError, OSError) as error:
            log.warning("meter %s: %s", name, words_of(error))
        self._news.set()


def entities(meter: MeterStatus) -> list[Entity]:
    """Returns the entities of a meter."""
    unit = meter.tariff.unit
    kind = {"device_class": KINDS[unit]} if unit in KINDS else {}
    count = {"unit_of_measurement": unit, "state_class": "total_increasing", **kind}
    return [
        Entity("sensor", "state", "State", {"icon": "mdi:meter-electric-outline"}),
        Entity("sensor", "delivered", "Delivered", count),
        Entity("sensor", "credit", "Credit", {"unit_of_measurement": "sat", "icon": "mdi:bitcoin"}),
        Entity("sensor", "price", "Price", {"unit_of_measurement": f"sat/{unit}", "icon": "mdi:tag"}),
        Entity("sensor", "fault", "Fault", {"icon": "mdi:alert", "entity_category": "diagnostic"}),
        Entity("switch", "session", "Session", {"payload_on": ON, "payload_off": OFF, "icon": "mdi:power-plug"}),
    ]


def values(meter: MeterStatus) -> JsonObject:
    """Returns what the entities of a meter show."""
    return {
        "state": meter.state,
        "delivered": meter.count / meter.tariff.ticks_per_unit,
        "credit": meter.credit_msat / 1_000,
        "price": meter.tariff.price_msat / 1_000,
        "fault": meter.fault or "none",
        "session": ON if meter.session else OFF,
    }
