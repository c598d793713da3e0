"""Devices that speak MQTT: topics and JSON paths in the config say where the count is, and what switches.

It knows of nothing but what the device sends: one that sends seldom has a wide bound (cadence_s), and there is no dead
man's switch unless the device has one of its own (dead_man_s says after how long it acts).
"""

import asyncio
import json
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal, InvalidOperation

import aiomqtt

from ..core.errors import BadParam
from .boundary import Count, DeviceTrouble, nobody
from .fields import Fields, place
from .tasks import ended, within

MOST = 65_536
"""Bytes of a message that are looked at."""
KEEP_ALIVE_S = 15
RETRY_S = 2.0
SWITCH_S = 3.0
GONE = ("", "unavailable", "unknown", "offline", "none", "null")
"""No state, whatever the rest of the config says."""


class Broker:
    """A connection to a broker that comes back by itself.

    What it hears goes to `heard`, with whether it was retained: said before, nobody knows when. `alive`: a topic that
    says `online`, and `offline` as soon as this one is gone.
    Fields: broker, port (1883, with tls 8883), user, password, tls (0, 1), ca (a file)."""

    def __init__(
        self, fields: Fields, topics: tuple[str, ...], heard: Callable[[str, bytes, bool], None], alive: str = ""
    ) -> None:
        self._host = fields.text("broker")
        fields.base_url("broker", f"[{self._host}]" if ":" in self._host else self._host)
        tls = bool(fields.whole("tls", 0, 1, 0))
        self._port = fields.whole("port", 1, 65_535, 8_883 if tls else 1_883)
        self._user, self._password = fields.text("user", "") or None, fields.text("password", "") or None
        ca = fields.text("ca", "") or None
        try:
            self._tls = ssl.create_default_context(cafile=ca) if tls else None
        except OSError as error:
            raise BadParam(f"ca: {ca}: {error.strerror or error}", param="ca") from None
        self._topics, self._heard, self._alive = topics, heard, alive
        self.where = f"{place(self._host)}:{self._port}"
        self._client: aiomqtt.Client | None = None
        self._running: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self.trouble = ""

    async def start(self) -> None:
        """Connects, and waits a moment for it; DeviceTrouble where the broker can't be reached."""
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        with suppress(TimeoutError):
            await within(self._ready.wait(), 3)
        if self._client is None:
            raise DeviceTrouble(f"broker {self._host}:{self._port}: {self.trouble or 'does not answer'}")

    async def send(self, topic: str, payload: str, retain: bool = False) -> None:
        """Publishes, and waits until the broker has it."""
        await self.start()
        assert self._client is not None
        try:
            await self._client.publish(topic, payload, qos=1, retain=retain, timeout=3)
        except aiomqtt.MqttError as error:
            raise DeviceTrouble(f"broker {self._host}: {error}") from error

    async def close(self) -> None:
        """Disconnects."""
        if self._running is not None:
            if self._alive and self._client is not None:
                with suppress(aiomqtt.MqttError):
                    await self._client.publish(self._alive, "offline", qos=1, retain=True, timeout=3)
            await ended([self._running])

    async def _run(self) -> None:
        while True:
            try:
                async with aiomqtt.Client(
                    self._host,
                    self._port,
                    username=self._user,
                    password=self._password,
                    tls_context=self._tls,
                    keepalive=KEEP_ALIVE_S,
                    timeout=3,
                    will=aiomqtt.Will(self._alive, "offline", qos=1, retain=True) if self._alive else None,
                ) as client:
                    for topic in self._topics:
                        await client.subscribe(topic, qos=1)
                    if self._alive:
                        await client.publish(self._alive, "online", qos=1, retain=True)
                    self._client, self.trouble = client, ""
                    self._ready.set()
                    async for message in client.messages:
                        if isinstance(message.payload, bytes) and len(message.payload) <= MOST:
                            self._heard(str(message.topic), message.payload, message.retain)
            except Exception as error:  # also what a library refuses: it is tried again, and said
                self.trouble = str(error) or type(error).__name__
            finally:
                self._client = None
                self._ready.clear()
            await asyncio.sleep(RETRY_S)


def at(payload: bytes, path: str) -> object:
    """Returns what stands at a dotted path of a JSON text, the whole for ""; None where nothing does."""
    try:
        found: object = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    for name in path.split(".") if path else ():
        found = found.get(name) if isinstance(found, dict) else None
    return found


def number(value: object) -> Decimal | None:
    """Returns a number in JSON, or in a text, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None


class Mqtt:
    """A device that its config describes.

    Fields: those of the broker; count_topic, count_path (""), power_path, power_scale (1: what makes of the power there
    units of the count an hour, as 0.001 of W beside kWh); command_topic, on, off, state_topic, state_path;
    state_on, state_off: what it says when it is on and off, in either case of letters. state_on is `on` where it is not
    given, and state_off is `off` where neither is; with state_on alone any other word is off, but those of GONE;
    cadence_s (10), dead_man_s (0: it has none)."""

    latency_s, cut_s = 0.5, 1.0

    def __init__(self, fields: Fields) -> None:
        self._count, self._path = fields.topic("count_topic", ""), fields.text("count_path", "")
        self._power = fields.text("power_path", "")
        self._power_scale = Decimal(str(fields.number("power_scale", 1e-9, 1e9, 1)))
        self._command, self._on, self._off = (
            fields.topic("command_topic", ""),
            fields.text("on", "ON"),
            fields.text("off", "OFF"),
        )
        self._state, self._state_path = fields.topic("state_topic", ""), fields.text("state_path", "")
        said_on = fields.text("state_on", "")
        self._state_on, self._state_off = said_on or self._on, fields.text("state_off", "" if said_on else self._off)
        self.cadence_s = fields.number("cadence_s", 0.2, 600, 10)
        self.dead_man_s = fields.number("dead_man_s", 0, 3_600, 0)
        topics = tuple(each for each in (self._count, self._state) if each)
        self._broker = Broker(fields, topics, self._heard)
        self.switches = f"mqtt {self._broker.where} {self._command}"
        self.counts = f"mqtt {self._broker.where} {self._count} {self._path}"
        self.missing = {
            what: name
            for what, name, given in (
                ("source", "count_topic", self._count),
                ("valve", "command_topic", self._command),
            )
            if not given
        }
        self._newest: Count | None = None
        self._unread: bytes | None = None
        """The last message under count_topic in which no number was found."""
        self._heard_at = 0.0
        self.heard: Callable[[], None] = nobody
        self._counted, self._says = asyncio.Event(), ""
        self._beside = b""
        """The last message under state_topic that said nothing of the state."""
        self._switched = asyncio.Event()

    def _heard(self, topic: str, payload: bytes, retained: bool) -> None:
        if topic == self._count and not retained:
            self._take(payload)
        if topic == self._state:
            said = at(payload, self._state_path) if self._state_path else payload.decode("utf-8", "replace")
            if said is None:  # a message may say something else, and nothing of the state
                self._beside = payload
                return
            self._says = str(said).strip()
            self._switched.set()

    def _take(self, payload: bytes) -> None:
        value = number(at(payload, self._path))
        if value is None:
            self._unread = payload
            return
        power = number(at(payload, self._power)) if self._power else None
        self._newest = Count(value, None if power is None else power * self._power_scale)
        self._unread, self._heard_at = None, asyncio.get_running_loop().time()
        self._counted.set()
        self.heard()

    async def read(self) -> Count:
        """Returns the newest count, or the next one that the device sends where that is older than its cadence.

        DeviceTrouble where none comes in twice its cadence."""
        await self._broker.start()
        if not self._count:
            raise DeviceTrouble("count_topic: is missing: this device counts nothing")
        self._counted.clear()
        if self._newest is None or asyncio.get_running_loop().time() > self._heard_at + self.cadence_s:
            try:
                await within(self._counted.wait(), 2 * self.cadence_s)
            except TimeoutError:
                raise DeviceTrouble(f"{self._count}: {self._why_no_count()}") from None
        assert self._newest is not None
        return replace(self._newest, age_s=asyncio.get_running_loop().time() - self._heard_at)

    def _why_no_count(self) -> str:
        if self._unread is None:
            return "no count came for a while: is it on, and is that its topic?"
        where = f"at {self._path!r}" if self._path else "in it (count_path is not set)"
        return f"messages come, and there is no number {where}: {self._unread[:60].decode('utf-8', 'replace')!r}"

    async def allow(self) -> None:
        """Has it switched on."""
        await self._switch(True)

    async def cut(self) -> None:
        """Has it switched off."""
        await self._switch(False)

    async def _switch(self, on: bool) -> None:
        if not self._command:
            raise DeviceTrouble("command_topic: is missing: this device switches nothing")
        told, self._says, self._beside = self._on if on else self._off, "", b""
        await self._broker.send(self._command, told)
        if self._state:
            try:
                await within(self._until_it_says(on), SWITCH_S)
            except TimeoutError:
                raise DeviceTrouble(f"{self._state}: {self._why_not(on, told)}") from None

    def _why_not(self, on: bool, told: str) -> str:
        if self._says:
            name, wanted = ("state_on", self._state_on) if on or not self._state_off else ("state_off", self._state_off)
            where = f", at {self._state_path!r}" if self._state_path else ""
            return f"it says {self._says[:60]!r} after {told}; {name} is {wanted!r}{where}"
        if self._beside:
            return f"nothing stands at {self._state_path!r} in {self._beside[:60].decode('utf-8', 'replace')!r}"
        return "it did not say that it switched"

    async def _until_it_says(self, on: bool) -> None:
        """Waits for a state that agrees: the first one may have been on its way before the command."""
        while not self._agrees(self._says.casefold(), on):
            self._switched.clear()
            await self._switched.wait()

    def _agrees(self, says: str, on: bool) -> bool:
        if on or says == self._state_on.casefold():
            return on and says == self._state_on.casefold()
        return says == self._state_off.casefold() if self._state_off else says not in GONE

    async def close(self) -> None:
        """Disconnects."""
        await self._broker.close()
