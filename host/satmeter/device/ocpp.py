"""Chargers that speak OCPP 1.6 (JSON): the bridge is their central system, which starts, follows and stops charging.

It counts energy in Wh (MeterValues, Energy.Active.Import.Register) and knows whether a car is plugged in. Cutting is a
RemoteStopTransaction, after which a car may draw for some seconds more: cut_s says how many. A charger that lost
its connection goes on: give it a charging profile of its own for that case, or sell little at once.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import websockets
from ocpp.exceptions import OCPPError
from ocpp.routing import on
from ocpp.v16 import ChargePoint as Cp
from ocpp.v16 import call, call_result
from ocpp.v16.enums import Action, AuthorizationStatus, RegistrationStatus, RemoteStartStopStatus
from websockets.asyncio.server import Server, ServerConnection
from websockets.typing import Subprotocol

from .boundary import Count, DeviceTrouble
from .fields import Fields
from .mqtt import number

log = logging.getLogger("satmeter.device")

PROTOCOL = "ocpp1.6"
TAG = "satmeter"
MEASURAND = "Energy.Active.Import.Register"
CALL_S = 5
WAIT_S, AGAIN_S = 5.0, 1.0
CHARGING = "Charging"
PLUGGED = ("Preparing", CHARGING, "SuspendedEV", "SuspendedEVSE", "Finishing")

# What a charger says comes as JSON of its own shape; each value is looked at as it is used.
Said = Any


class _Charger(Cp):  # type: ignore[misc]
    """One connection of the charger."""

    def __init__(self, id: str, connection: ServerConnection, device: "Ocpp") -> None:
        super().__init__(id, connection, response_timeout=CALL_S)
        self._device = device

    @on(Action.boot_notification)  # type: ignore[untyped-decorator]
    def on_boot(self, **said: Said) -> call_result.BootNotification:
        """The charger has started."""
        log.info("charger %s: %s %s", self.id, said.get("charge_point_vendor"), said.get("charge_point_model"))
        return call_result.BootNotification(_now(), 60, RegistrationStatus.accepted)

    @on(Action.heartbeat)  # type: ignore[untyped-decorator]
    def on_heartbeat(self) -> call_result.Heartbeat:
        """The charger is there."""
        return call_result.Heartbeat(_now())

    @on(Action.authorize)  # type: ignore[untyped-decorator]
    def on_authorize(self, id_tag: str) -> call_result.Authorize:
        """Only who has paid charges: any tag but ours is refused."""
        good = AuthorizationStatus.accepted if id_tag == TAG else AuthorizationStatus.invalid
        return call_result.Authorize({"status": good})

    @on(Action.status_notification)  # type: ignore[untyped-decorator]
    def on_status(self, connector_id: int, status: str, **said: Said) -> call_result.StatusNotification:
        """A connector's state."""
        self._device.told_status(connector_id, status)
        return call_result.StatusNotification()

    @on(Action.start_transaction)  # type: ignore[untyped-decorator]
    def on_start(self, connector_id: int, id_tag: str, meter_start: int, **said: Said) -> call_result.StartTransaction:
        """Charging begins."""
        good = id_tag == TAG
        number = self._device.told_start(connector_id, meter_start) if good else 0
        status = AuthorizationStatus.accepted if number else AuthorizationStatus.invalid
        return call_result.StartTransaction(number, {"status": status})

    @on(Action.stop_transaction)  # type: ignore[untyped-decorator]
    def on_stop(self, meter_stop: int, transaction_id: int, **said: Said) -> call_result.StopTransaction:
        """Charging has ended."""
        self._device.told_stop(transaction_id, meter_stop)
        return call_result.StopTransaction()

    @on(Action.meter_values)  # type: ignore[untyped-decorator]
    def on_values(self, connector_id: int, meter_value: list[Said], **said: Said) -> call_result.MeterValues:
        """What it has counted, and in which transaction: one may run since before this bridge."""
        self._device.told_transaction(connector_id, said.get("transaction_id"))
        for each in meter_value:
            for sample in each.get("sampled_value", ()):
                if sample.get("measurand", MEASURAND) == MEASURAND:
                    self._device.told_energy(connector_id, sample.get("value"), sample.get("unit", "Wh"))
        return call_result.MeterValues()


class Ocpp:
    """One connector of one charger.

    Fields: listen (127.0.0.1), port (9000), charger (its id, the end of the URL that it is given), connector (1),
    cadence_s (5: MeterValueSampleInterval), cut_s (5)."""

    dead_man_s = 0.0

    def __init__(self, fields: Fields) -> None:
        self._listen, self._port = fields.text("listen", "127.0.0.1"), fields.whole("port", 1, 65_535, 9_000)
        self._id, self._connector = fields.text("charger"), fields.whole("connector", 1, 16, 1)
        self.cadence_s = fields.number("cadence_s", 1, 60, 5)
        self.latency_s, self.cut_s = self.cadence_s, fields.number("cut_s", 0, 60, 5)
        self._server: Server | None = None
        self._charger: _Charger | None = None
        self._status, self._energy, self._transaction = "", Decimal(-1), 0
        self._told, self._told_at, self._sampled = 0, 0.0, False
        self._wanted, self._ended = False, 0
        """Whether charging was asked for and not cut since; the newest transaction that has ended."""
        self._transactions = int(time.time())  # so that no number comes again after a restart
        self._news = asyncio.Event()
        self._stranger = ""

    async def read(self) -> Count:
        """Returns the energy in Wh; DeviceTrouble while the charger is not connected or has counted nothing yet."""
        charger = await self._connected()
        if not self._sampled:
            self._sampled = True
            often = call.ChangeConfiguration("MeterValueSampleInterval", str(int(self.cadence_s)))
            with suppress(DeviceTrouble):  # one that can't is asked each time that its last word is old
                await self._try(charger, often)
        # Without a transaction it says nothing by itself, and one may run since before this bridge.
        if not self._transaction or time.monotonic() > self._told_at + self.cadence_s:
            told = self._told
            await self._try(charger, call.TriggerMessage("MeterValues", self._connector))
            await self._until(lambda: self._told > told)
            if self._told == told:
                raise DeviceTrouble(f"charger {self._id}: sends no {MEASURAND}")
        if self._energy < 0:
            raise DeviceTrouble(f"charger {self._id}: sends no {MEASURAND}")
        return Count(self._energy, None, "", not self._status or self._status in PLUGGED)

    async def allow(self) -> None:
        """Has it charge: nothing where it does already."""
        charger = await self._connected()
        self._wanted = True
        if self._transaction:
            return
        answer = await self._try(charger, call.RemoteStartTransaction(TAG, self._connector))
        if answer is None or answer.status != RemoteStartStopStatus.accepted:
            raise DeviceTrouble(f"charger {self._id}: does not start: is a car plugged in?")
        await self._until(lambda: self._transaction > 0)
        if not self._transaction:
            raise DeviceTrouble(f"charger {self._id}: took the start, and began nothing")

    async def cut(self) -> None:
        """Ends charging, and waits until the charger says that it has."""
        self._wanted = False
        charger = await self._connected()
        ran, end = self._transaction, time.monotonic() + WAIT_S
        while self._transaction and time.monotonic() < end:
            # Again and again: a charger that has just begun may not know its transaction's number yet.
            await self._try(charger, call.RemoteStopTransaction(self._transaction))
            await self._until(lambda: not self._transaction, AGAIN_S)
        if self._transaction:
            raise DeviceTrouble(f"charger {self._id}: does not stop")
        if ran:
            await self._until(lambda: self._status != CHARGING)
        if self._status == CHARGING:
            raise DeviceTrouble(f"charger {self._id}: charges, in no transaction of this bridge")

    async def close(self) -> None:
        """Lets the charger go, and frees the port."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    # --- what the charger says

    def told_status(self, connector: int, status: str) -> None:
        """A connector's state has changed."""
        if connector == self._connector:
            self._status = status
            self._news.set()

    def told_start(self, connector: int, meter_start: int) -> int:
        """Charging begins; returns the transaction's number."""
        self._transactions += 1
        if connector == self._connector and self._wanted:
            self._transaction, self._energy = self._transactions, Decimal(meter_start)
            self._told_at = time.monotonic()
            self._news.set()
            return self._transactions
        return 0  # asked for, and cut before it came: it does not begin

    def told_transaction(self, connector: int, number: object) -> None:
        """A transaction runs that was begun under a bridge before this one."""
        news = type(number) is int and number > self._ended  # what was on its way when it ended is told late
        if connector == self._connector and not self._transaction and type(number) is int and news:
            self._transaction = number
            self._news.set()

    def told_stop(self, transaction: int, meter_stop: int) -> None:
        """Charging has ended."""
        if transaction == self._transaction:
            self._transaction, self._energy, self._ended = 0, Decimal(meter_stop), transaction
            self._news.set()

    def told_energy(self, connector: int, value: object, unit: str) -> None:
        """The charger has counted."""
        counted = number(value)
        if connector == self._connector and counted is not None:
            self._energy = counted * (1000 if unit == "kWh" else 1)
            self._told, self._told_at = self._told + 1, time.monotonic()
            self._news.set()

    # --- the connection

    async def _connected(self) -> _Charger:
        if self._server is None:
            try:
                protocols = [Subprotocol(PROTOCOL)]
                self._server = await websockets.serve(self._accept, self._listen, self._port, subprotocols=protocols)
            except OSError as e:
                raise DeviceTrouble(f"port {self._port}: {e.strerror}: does another bridge run?") from e
        await self._until(lambda: self._charger is not None)
        if self._charger is None:
            other = f"; a charger {self._stranger!r} asked instead" if self._stranger else ""
            raise DeviceTrouble(f"charger {self._id}: is not connected to port {self._port}{other}")
        return self._charger

    async def _accept(self, connection: ServerConnection) -> None:
        """A charger connects: ours, by the end of its URL."""
        path = connection.request.path if connection.request is not None else ""
        name = path.rstrip("/").rpartition("/")[2]
        if name != self._id:
            self._stranger = name[:40]
            await connection.close(1008, "unknown charger")
            return
        charger = _Charger(name, connection, self)
        self._charger, self._stranger, self._sampled = charger, "", False
        self._news.set()
        try:
            await charger.start()
        except websockets.ConnectionClosed:
            pass
        finally:
            if self._charger is charger:
                self._charger, self._status = None, ""

    async def _try(self, charger: _Charger, asked: object) -> Said:
        try:
            return await charger.call(asked)
        except (TimeoutError, OCPPError, websockets.ConnectionClosed) as e:
            raise DeviceTrouble(f"charger {self._id}: {type(asked).__name__}: {e or 'no answer'}") from e

    async def _until(self, true: Callable[[], bool], most_s: float = 0) -> None:
        """Waits for news until something is true, or for most_s (0: WAIT_S)."""
        end = asyncio.get_running_loop().time() + (most_s or WAIT_S)
        while not true():
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                return
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except TimeoutError:
                return


def _now() -> str:
    return datetime.now(UTC).isoformat()
