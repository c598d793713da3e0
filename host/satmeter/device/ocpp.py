"""Chargers that speak OCPP 1.6 or 2.0.1 (JSON): the bridge is their central system, and starts and stops them.

It counts energy in Wh (Energy.Active.Import.Register) and knows whether a car is plugged in. After a stop a car may
draw for some seconds more: cut_s says how many. A charger that lost its connection goes on, unless dead_man_s is given:
then it charges by a profile that ends by itself, where the charger knows charging profiles.
"""

import asyncio
import errno
import itertools
import logging
import secrets
import time
from base64 import b64encode
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hmac import compare_digest
from typing import Protocol, TypeVar
from urllib.parse import unquote, urlsplit

import websockets
from ocpp.exceptions import OCPPError
from websockets.asyncio.server import Server, ServerConnection
from websockets.typing import Subprotocol

from . import ocpp16, ocpp201
from .boundary import Count, DeviceTrouble, nobody
from .fields import Fields
from .mqtt import number
from .ocpp_messages import MEASURAND
from .tasks import within

log = logging.getLogger("satmeter.device")

CALL_S = 5
WAIT_S, AGAIN_S = 5.0, 1.0
ENDED = 100
"""So many transactions that have ended are remembered: what was on its way then brings none of them back."""


Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Lasting:
    """A charging profile that ends by itself: from a time on for some seconds, at most so many amperes."""

    start: datetime
    seconds: int
    most_a: float


class Charger(Protocol):
    """One connection of a charger, in one version of OCPP."""

    async def start(self) -> None:
        """Follows the connection until it ends."""
        ...

    async def begin(self, connector: int, lasting: Lasting | None) -> bool:
        """Has it charge, by a profile that ends by itself if one is given; returns whether it takes that."""
        ...

    async def go_on(self, connector: int, transaction: str, lasting: Lasting) -> bool:
        """Gives its transaction another such profile; returns whether it takes that."""
        ...

    async def hold(self, connector: int) -> bool:
        """Sets that it charges at 0 A without such a profile; returns whether it takes that."""
        ...

    async def release(self, connector: int) -> None:
        """Takes back what hold() set."""
        ...

    async def end(self, transaction: str) -> bool:
        """Asks it to stop; returns whether it takes that."""
        ...

    async def ask_values(self, connector: int, every_s: int) -> bool:
        """Asks what it has counted; returns whether it takes that. One that does not is to say so every `every_s`."""
        ...

    async def send_every(self, seconds: int) -> None:
        """Asks it to send its values so often."""
        ...


class Ocpp:
    """One connector of one charger.

    Fields: listen (127.0.0.1), port (9000), charger (its id, the end of the URL that it is given), password ("": it
    gives none), connector (1; with 2.0.1 the EVSE), cadence_s (5: how often it sends its values), cut_s (5), dead_man_s
    (0: none), most_a (32: the current of its profile, where dead_man_s is given)."""

    latency_s = 1.0

    def __init__(self, fields: Fields) -> None:
        self._listen, self._port = fields.text("listen", "127.0.0.1"), fields.whole("port", 1, 65_535, 9_000)
        self._id, self.connector = fields.text("charger"), fields.whole("connector", 1, 16, 1)
        self._password = fields.text("password", "")
        self.switches = f"ocpp {self._port} {self._id} {self.connector}"
        self.cadence_s = fields.number("cadence_s", 1, 60, 5)
        self.cut_s = fields.number("cut_s", 0, 60, 5)
        self.dead_man_s, self._most_a = fields.number("dead_man_s", 0, 3_600, 0), fields.number("most_a", 6, 80, 32)
        self.heard: Callable[[], None] = nobody
        self._server: Server | None = None
        self._versions = {each.PROTOCOL: each.connected for each in (ocpp201, ocpp16)}
        self._charger: Charger | None = None
        self._connection: ServerConnection | None = None
        self._plugged: bool | None = None
        self._pulled = False
        """The car was out, and no reading has said so yet: another may be in by now."""
        self._draws, self._transaction = False, ""
        self._energy: Decimal | None = None
        self._told, self._told_at, self._ready, self._held, self._asking = 0, 0.0, False, False, False
        self._stamp: datetime | None = None
        self._ahead = timedelta(0)
        """The newest value by the charger's clock, and how far that is ahead of ours."""
        self._request: tuple[tuple[object, ...], int] = ((), 0)
        """What it wanted to begin last, and the number that it was given: it may ask again where no answer came."""
        self.wanted = False
        """Whether charging was asked for and not cut since."""
        self._ended: deque[str] = deque(maxlen=ENDED)
        self._over: deque[str] = deque(maxlen=ENDED)
        """Transactions that have ended; those of them that never go on again."""
        self._numbers = secrets.randbelow(
            2**30
        )  # so that no number comes again after a restart, whatever the clock says
        self._news = asyncio.Event()
        self._stranger = ""

    async def read(self) -> Count:
        """Returns the energy in Wh; DeviceTrouble while the charger is not connected or has counted nothing yet."""
        charger = await self._connected()
        if not self._ready:
            self._ready = True
            with suppress(DeviceTrouble):  # one that can't is asked each time that its last word is old
                await self._try(charger.send_every(int(self.cadence_s)), "its cadence")
            if not self.dead_man_s:
                with suppress(DeviceTrouble):  # of a config of before; one that knows no profiles has none
                    await self._try(charger.release(self.connector), "ClearChargingProfile")
        # Without a transaction it says nothing by itself, and one may run since before this bridge.
        if not self._transaction or time.monotonic() > self._told_at + self.cadence_s:
            told, self._asking = self._told, True
            try:
                every_s = max(1, int(self.cadence_s) // 2)
                taken = await self._try(charger.ask_values(self.connector, every_s), "TriggerMessage")
                await self._until(lambda: self._told > told)
            finally:
                self._asking = False
            if self._told == told:
                why = "" if taken else ", and takes no TriggerMessage, by which it is asked for it"
                raise DeviceTrouble(f"charger {self._id}: sends no {MEASURAND}{why}")
        if self._energy is None:
            raise DeviceTrouble(f"charger {self._id}: sends no {MEASURAND}")
        plugged, self._pulled = self._plugged is not False and not self._pulled, False
        return Count(self._energy, None, "", plugged, time.monotonic() - self._told_at)

    async def allow(self) -> None:
        """Has it charge, for dead_man_s if that is given; nothing where it does already, without."""
        charger = await self._connected()
        self.wanted = True
        if self.dead_man_s and not self._held:
            await self._profile(charger, charger.hold(self.connector))
            self._held = True
        lasting = None
        if self.dead_man_s:  # by the charger's clock, which may not be ours
            lasting = Lasting(datetime.now(UTC) + self._ahead, int(self.dead_man_s), self._most_a)
        if self._transaction:
            if lasting is not None:
                await self._profile(charger, charger.go_on(self.connector, self._transaction, lasting))
            return
        if not await self._try(charger.begin(self.connector, lasting), "start"):
            raise DeviceTrouble(f"charger {self._id}: does not start: is a car plugged in?")
        await self._until(lambda: bool(self._transaction))
        if not self._transaction:
            raise DeviceTrouble(f"charger {self._id}: took the start request, and did not start charging")

    async def cut(self) -> None:
        """Ends charging, and waits until the charger says that it has."""
        self.wanted = False
        charger = await self._connected()
        ran, end, taken = self._transaction, time.monotonic() + WAIT_S, False
        while self._transaction and time.monotonic() < end:
            # Again and again: a charger that has just begun may not know its transaction's number yet.
            taken = await self._try(charger.end(self._transaction), "stop")
            await self._until(lambda: not self._transaction, AGAIN_S)
        if self._transaction and not taken and not self._draws:
            self.told_end(self._transaction, None)  # it knows of none, and does not charge: it was told, and lost
        if self._transaction:
            raise DeviceTrouble(f"charger {self._id}: does not stop")
        if ran:
            await self._until(lambda: not self._draws)
        if self._draws:
            raise DeviceTrouble(f"charger {self._id}: charges, in no transaction of this bridge")

    async def close(self) -> None:
        """Lets the charger go, and frees the port."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    # --- what the charger says

    def told_boot(self) -> None:
        """The charger has started anew: what it goes on with it says."""
        self._transaction, self._draws, self._stamp = "", False, None
        self._news.set()

    def told_status(self, connector: int, plugged: bool, draws: bool | None, idle: bool = False) -> None:
        """A connector's state has changed; `draws` is None where that is not said, `idle`: no transaction is there."""
        if connector == self.connector:
            self._plugged, self._pulled = plugged, self._pulled or not plugged
            self._draws = self._draws if draws is None else draws
            if idle:
                self._transaction = ""  # its end may have been lost; if it goes on all the same it says so
            self._news.set()
            if not plugged:
                self.heard()

    def told_request(self, connector: int, meter_start: int, *more: object) -> int:
        """A charger wants to begin (1.6); returns the transaction's number, 0 where it may not.

        `more`: what else is the same where it asks once more, since no answer came."""
        if connector != self.connector or not self.wanted:
            return 0  # asked for, and cut before it came: it does not begin
        asked = (meter_start, *more)
        if self._request[0] != asked or str(self._request[1]) in self._over:
            self._numbers = next(n for n in itertools.count(self._numbers + 1) if str(n) not in self._over)
            self._request = asked, self._numbers
            begun = Decimal(meter_start)
            if self._energy is None or not 0 <= self._energy - begun < 1:  # it is in whole Wh: what was read is finer
                self._energy = begun
            self._told_at = time.monotonic()
        self.told_transaction(connector, str(self._request[1]))
        return self._request[1]

    def told_transaction(self, connector: int, transaction: str) -> None:
        """Takes a running transaction as ours, also one that an earlier bridge began; of several the newest."""
        if connector == self.connector and transaction != self._transaction and transaction not in self._over:
            self._transaction = transaction
            self._news.set()

    def told_end(self, transaction: str, meter_stop: int | None, over: bool = True) -> None:
        """A transaction has ended; `over`: it never goes on again."""
        if over:
            self._over.append(transaction)
        if transaction and transaction == self._transaction:
            self._transaction, self._draws = "", False
            self._ended.append(transaction)
            if meter_stop is not None:
                self._energy = Decimal(meter_stop)
            self._news.set()

    def told_energy(
        self, connector: int, value: object, unit: object, multiplier: object = 0, stamp: object = None
    ) -> None:
        """The charger has counted; `stamp` says when, by its clock. What is older than what it said before is left."""
        counted = number(value)
        tens = multiplier if isinstance(multiplier, int) and abs(multiplier) <= 9 else None
        if connector == self.connector and counted is not None and tens is not None and unit in ("Wh", "kWh"):
            if not self._is_newer(stamp):
                return
            self._energy = counted * Decimal(10) ** (tens + (3 if unit == "kWh" else 0))
            self._told, self._told_at = self._told + 1, time.monotonic()
            self._news.set()
            if not self._asking:
                self.heard()

    def _is_newer(self, stamp: object) -> bool:
        try:
            said = datetime.fromisoformat(stamp) if isinstance(stamp, str) else None
        except ValueError:
            said = None
        if said is None or said.tzinfo is None:
            return True
        if self._stamp is not None and said < self._stamp and not self._asking:
            return False  # from its queue: it was away; or its clock was set, and it is asked soon
        self._stamp, self._ahead = said, said - datetime.now(UTC)
        return True

    def has_ended(self, transaction: str) -> bool:
        """Whether a transaction has ended: what was on its way then is told late."""
        return transaction in self._ended

    # --- the connection

    async def _connected(self) -> Charger:
        if self._server is None:
            try:
                self._server = await websockets.serve(
                    self._accept, self._listen, self._port, select_subprotocol=self._select
                )
            except OSError as error:
                why = ": does another bridge run?" if error.errno == errno.EADDRINUSE else ""
                raise DeviceTrouble(f"listen {self._listen}, port {self._port}: {error.strerror}{why}") from error
        await self._until(lambda: self._charger is not None)
        if self._charger is None:
            other = f"; {self._stranger} asked instead" if self._stranger else ""
            raise DeviceTrouble(f"charger {self._id}: is not connected to port {self._port}{other}")
        return self._charger

    def _select(self, _: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return next((Subprotocol(each) for each in self._versions if each in offered), None)

    async def _accept(self, connection: ServerConnection) -> None:
        """A charger connects: ours, by the end of its URL, in a version that both know."""
        path = connection.request.path if connection.request is not None else ""
        name = unquote(urlsplit(path).path.rstrip("/").rpartition("/")[2])
        if name != self._id:
            self._stranger = f"a charger {name[:40]!r}"
            await connection.close(1008, "unknown charger")
            return
        given = connection.request.headers.get("Authorization", "") if connection.request is not None else ""
        if self._password and not compare_digest(given.encode(), basic(self._id, self._password).encode()):
            self._stranger = f"one that calls itself {name[:40]!r}, without its password,"
            await connection.close(1008, "wrong password")
            return
        made = self._versions.get(str(connection.subprotocol))
        if made is None:
            self._stranger = f"one that speaks neither {' nor '.join(self._versions)}"
            await connection.close(1002, "unknown protocol")
            return
        charger = made(name, connection, self, CALL_S)
        before, self._connection = self._connection, connection
        self._charger, self._stranger, self._ready, self._held = charger, "", False, False
        self._news.set()
        if before is not None:
            await before.close(1008, "another connection of this charger")  # the true one comes back by itself
        try:
            await charger.start()
        except websockets.ConnectionClosed:
            pass
        finally:
            if self._charger is charger:
                self._charger, self._connection, self._plugged, self._draws = None, None, None, False

    async def _profile(self, charger: Charger, asked: Awaitable[bool]) -> None:
        if not await self._try(asked, "SetChargingProfile"):
            with suppress(DeviceTrouble):  # else it would charge at 0 A for ever
                await self._try(charger.release(self.connector), "ClearChargingProfile")
            self._held = False
            raise DeviceTrouble(f"charger {self._id}: takes no charging profile: give dead_man_s = 0")

    async def _try(self, asked: Awaitable[Answer], what: str) -> Answer:
        try:
            return await asked
        except (TimeoutError, OCPPError, websockets.ConnectionClosed) as error:
            raise DeviceTrouble(f"charger {self._id}: {what}: {error or 'no answer'}") from error

    async def _until(self, true: Callable[[], bool], most_s: float = 0) -> None:
        """Waits for news until something is true, or for most_s (0: WAIT_S)."""
        end = asyncio.get_running_loop().time() + (most_s or WAIT_S)
        while not true():
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                return
            self._news.clear()
            try:
                await within(self._news.wait(), left)
            except TimeoutError:
                return


def basic(user: str, password: str) -> str:
    """Returns the Authorization that a charger gives with its password (OCPP's security profile 1)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
