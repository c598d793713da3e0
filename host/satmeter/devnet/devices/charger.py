"""Chargers of OCPP 1.6 and 2.0.1: the charge points of the `ocpp` package, with a car that takes what it gets."""

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import websockets
from ocpp import v16, v201
from ocpp.v16.enums import Action as Action16
from ocpp.v201.enums import Action as Action201
from websockets.asyncio.client import ClientConnection as Connection

from ...device.ocpp_messages import Said, heard, heard_before

ANSWER_S = 5
TELLS_S = 0.2
WATTS = 36_000.0
ENERGY = "Energy.Active.Import.Register"


def stamp() -> str:
    """Returns the time as it stands in messages."""
    return datetime.now(UTC).isoformat()


class Car:
    """What both versions share: `wh` is the charger's meter, which outlives transactions; `plugged`: a car is there."""

    def __init__(
        self, plugged: bool = True, measurand: str = ENERGY, profiled: bool = True, triggered: bool = True
    ) -> None:
        self.wh, self.flowed, self.watts = 5_000.0, 0.0, WATTS
        self.plugged, self.measurand, self.profiled = plugged, measurand, profiled
        self.triggered, self.by_the_clock = triggered, False
        """Whether it takes TriggerMessage; and whether it sends its values by the clock, transaction or not."""
        self.transaction: int | str = 0
        self.stubborn, self.silent, self.tag = False, False, ""
        self.slow_s = self.learns_s = 0.0
        """Until it starts; and until it has understood that it may, and by which number."""
        self.profiles: dict[str, tuple[datetime, float, float, int]] = {}
        self.cadence_s, self.asked = 0, 0
        self.ahead = timedelta(0)
        """How far its clock is ahead."""
        self.answered = asyncio.Event()

    @property
    def charging(self) -> bool:
        """Whether a transaction runs."""
        return bool(self.transaction)

    @property
    def on(self) -> bool:
        """Whether it draws: a profile of the transaction counts for as long as it lasts, then the one for all."""
        if not self.transaction:
            return False
        own, rest = self.profiles.get("TxProfile"), self.profiles.get("TxDefaultProfile")
        if own is not None and 0 <= (datetime.now(UTC) + self.ahead - own[0]).total_seconds() < own[1]:
            return own[2] > 0
        return rest is None or rest[2] > 0

    def take_profile(self, profile: Said) -> bool:
        """Returns whether it does; a profile of either version, with names as the library gives them."""
        if not self.profiled:
            return False
        schedule = profile["charging_schedule"]
        schedule = schedule[0] if isinstance(schedule, list) else schedule
        begun = datetime.fromisoformat(schedule.get("start_schedule", stamp()))
        limit, number = (
            schedule["charging_schedule_period"][0]["limit"],
            profile.get("id", profile.get("charging_profile_id")),
        )
        self.profiles[profile["charging_profile_purpose"]] = begun, schedule.get("duration", 10**9), limit, number
        return True

    def clear_profile(self, number: int | None) -> bool:
        """Returns whether it had one of this number, which is gone."""
        had = [purpose for purpose, known in self.profiles.items() if known[3] == number]
        for purpose in had:
            del self.profiles[purpose]
        return bool(had)

    def stamp(self) -> str:
        """Returns the time by its clock."""
        return (datetime.now(UTC) + self.ahead).isoformat()

    def take(self, seconds: float) -> None:
        """Draws for so long, if it draws."""
        if self.on:
            self.wh += self.watts / 3600 * seconds
            self.flowed += self.watts / 3600 * seconds


class Charger16(v16.ChargePoint):  # type: ignore[misc]
    """A charger of OCPP 1.6."""

    def __init__(self, id: str, connection: Connection, car: Car) -> None:
        super().__init__(id, connection, response_timeout=ANSWER_S)
        self.car = car

    async def boot(self) -> None:
        """It has started."""
        answer = await self.call(v16.call.BootNotification("model", "vendor"))
        assert answer.status == "Accepted"
        await self.tell_status()

    async def tell_status(self) -> None:
        """Says what its connector is."""
        status = "Charging" if self.car.transaction else "Preparing"
        await self.call(v16.call.StatusNotification(1, "NoError", status if self.car.plugged else "Available"))

    async def tell_energy(self, transaction: int = 0) -> None:
        """Says what it has counted, as of a transaction."""
        if self.car.silent:
            return
        value = {"value": f"{self.car.wh:.1f}", "measurand": self.car.measurand, "unit": "Wh"}
        of_a_phase = {**value, "value": "1.0", "phase": "L1"}
        running = transaction or self.car.transaction
        said = [{"timestamp": self.car.stamp(), "sampledValue": [value, of_a_phase]}]
        await self.call(v16.call.MeterValues(1, said, **({"transaction_id": running} if running else {})))

    @heard(Action16.change_configuration)
    def on_configuration(self, key: str, value: str) -> v16.call_result.ChangeConfiguration:
        """It is told its cadence."""
        if key == "ClockAlignedDataInterval":
            self.car.by_the_clock = True
        else:
            assert key == "MeterValueSampleInterval"
            self.car.cadence_s = int(value)
        return v16.call_result.ChangeConfiguration("Accepted")

    @heard(Action16.set_charging_profile)
    def on_profile(self, connector_id: int, cs_charging_profiles: Said) -> v16.call_result.SetChargingProfile:
        """It is given a profile."""
        taken = self.car.take_profile(cs_charging_profiles)
        return v16.call_result.SetChargingProfile("Accepted" if taken else "NotSupported")

    @heard(Action16.clear_charging_profile)
    def on_clear(self, id: int | None = None, **_: Said) -> v16.call_result.ClearChargingProfile:
        """A profile is taken back."""
        return v16.call_result.ClearChargingProfile("Accepted" if self.car.clear_profile(id) else "Unknown")

    @heard(Action16.remote_start_transaction)
    def on_start(self, id_tag: str, charging_profile: Said = None, **_: Said) -> v16.call_result.RemoteStartTransaction:
        """It is asked to charge."""
        good = self.car.plugged and not self.car.transaction
        self.car.tag = id_tag
        if good and charging_profile is not None:
            self.car.take_profile(charging_profile)
        return v16.call_result.RemoteStartTransaction("Accepted" if good else "Rejected")

    @heard_before(Action16.remote_start_transaction)
    async def started(self, id_tag: str, **_: Said) -> None:
        """It begins."""
        if self.car.plugged and not self.car.transaction:
            await asyncio.sleep(self.car.slow_s)
            answer = await self.call(v16.call.StartTransaction(1, id_tag, int(self.car.wh), self.car.stamp()))
            await asyncio.sleep(self.car.learns_s)
            self.car.transaction = answer.transaction_id if answer.id_tag_info["status"] == "Accepted" else 0
            self.car.answered.set()
            await self.tell_status()

    @heard(Action16.remote_stop_transaction)
    def on_stop(self, transaction_id: int) -> v16.call_result.RemoteStopTransaction:
        """It is asked to stop."""
        return v16.call_result.RemoteStopTransaction(
            "Accepted" if transaction_id == self.car.transaction else "Rejected"
        )

    @heard_before(Action16.remote_stop_transaction)
    async def stopped(self, transaction_id: int) -> None:
        """It stops."""
        if self.car.transaction == transaction_id and not self.car.stubborn:
            self.car.transaction = 0
            await self.call(v16.call.StopTransaction(int(self.car.wh), self.car.stamp(), transaction_id))
            await self.tell_status()

    @heard(Action16.trigger_message)
    def on_trigger(self, requested_message: str, **_: Said) -> v16.call_result.TriggerMessage:
        """It is asked what it has counted."""
        return v16.call_result.TriggerMessage("Accepted" if self.car.triggered else "NotImplemented")

    @heard_before(Action16.trigger_message)
    async def triggered(self, requested_message: str, **_: Said) -> None:
        """It says so."""
        if not self.car.triggered:
            return
        self.car.asked += 1
        await self.tell_energy()

    async def charge_by_itself(self) -> None:
        """It charges, and nobody asked."""
        await self.call(v16.call.StatusNotification(1, "NoError", "Charging"))


class Charger201(v201.ChargePoint):  # type: ignore[misc]
    """Its transaction begins as it charges, and goes on without a draw after it was told to stop."""

    def __init__(self, id: str, connection: Connection, car: Car) -> None:
        super().__init__(id, connection, response_timeout=ANSWER_S)
        self.car = car
        self.session, self.events, self.sequence = "", 0, 0

    async def boot(self) -> None:
        """It has started."""
        station = {"vendor_name": "vendor", "model": "model"}
        answer = await self.call(v201.call.BootNotification(station, "PowerUp"))
        assert answer.status == "Accepted"
        await self.tell_status()

    async def tell_status(self) -> None:
        """Says what its connector is."""
        status = "Occupied" if self.car.plugged else "Available"
        await self.call(v201.call.StatusNotification(self.car.stamp(), status, 1, 1))

    def _values(self) -> list[Said]:
        unit = {"unit": "kWh", "multiplier": 0}
        value = {"value": self.car.wh / 1000, "measurand": self.car.measurand, "unit_of_measure": unit}
        return [{"timestamp": self.car.stamp(), "sampled_value": [value, {**value, "value": 1.0, "phase": "L1"}]}]

    async def tell_event(self, kind: str, why: str, state: str | None = None, session: str = "", **more: Said) -> Said:
        """Says what a transaction does."""
        self.sequence += 1
        info = {"transaction_id": session or self.session, **({"charging_state": state} if state else {})}
        event = v201.call.TransactionEvent(kind, self.car.stamp(), why, self.sequence, info, **more)
        return await self.call(event)

    async def tell_energy(self, transaction: str = "") -> None:
        """Says what it has counted, as of a transaction."""
        if self.car.silent:
            return
        if self.car.transaction or transaction:
            await self.tell_event("Updated", "MeterValuePeriodic", None, transaction, meter_value=self._values())
        else:
            await self.call(v201.call.MeterValues(1, self._values()))

    @heard(Action201.set_variables)
    def on_variables(self, set_variable_data: Said) -> v201.call_result.SetVariables:
        """It is told its cadence."""
        (asked,) = set_variable_data
        if asked["component"]["name"] == "AlignedDataCtrlr":
            self.car.by_the_clock = True
        else:
            self.car.cadence_s = int(asked["attribute_value"])
        said = {"attribute_status": "Accepted", "component": asked["component"], "variable": asked["variable"]}
        return v201.call_result.SetVariables([said])

    @heard(Action201.set_charging_profile)
    def on_profile(self, evse_id: int, charging_profile: Said) -> v201.call_result.SetChargingProfile:
        """It is given a profile."""
        return v201.call_result.SetChargingProfile(
            "Accepted" if self.car.take_profile(charging_profile) else "Rejected"
        )

    @heard(Action201.clear_charging_profile)
    def on_clear(self, charging_profile_id: int | None = None, **_: Said) -> v201.call_result.ClearChargingProfile:
        """A profile is taken back."""
        known = self.car.clear_profile(charging_profile_id)
        return v201.call_result.ClearChargingProfile("Accepted" if known else "Unknown")

    @heard(Action201.request_start_transaction)
    def on_start(
        self, id_token: Said, remote_start_id: int, charging_profile: Said = None, **_: Said
    ) -> v201.call_result.RequestStartTransaction:
        """It is asked to charge."""
        good = self.car.plugged and not self.car.transaction
        self.car.tag = id_token["id_token"]
        if good and charging_profile is not None:
            self.car.take_profile(charging_profile)
        return v201.call_result.RequestStartTransaction("Accepted" if good else "Rejected")

    @heard_before(Action201.request_start_transaction)
    async def started(self, id_token: Said, remote_start_id: int, **_: Said) -> None:
        """It begins."""
        if self.car.plugged and not self.car.transaction:
            await asyncio.sleep(self.car.slow_s)
            self.events += 1
            fresh = not self.session
            self.session = self.session or f"session-{self.events}"
            kind = "Started" if fresh else "Updated"
            more: dict[str, Said] = {"evse": {"id": 1}} if fresh else {}
            answer = await self.tell_event(kind, "RemoteStart", "Charging", id_token=id_token, **more)
            await asyncio.sleep(self.car.learns_s)
            good = answer.id_token_info["status"] == "Accepted"
            self.car.transaction = self.session if good else 0
            if not good:
                await self.tell_event("Ended", "Deauthorized")
                self.session = ""
            self.car.answered.set()

    @heard(Action201.request_stop_transaction)
    def on_stop(self, transaction_id: str) -> v201.call_result.RequestStopTransaction:
        """It is asked to stop."""
        return v201.call_result.RequestStopTransaction(
            "Accepted" if transaction_id == self.car.transaction else "Rejected"
        )

    @heard_before(Action201.request_stop_transaction)
    async def stopped(self, transaction_id: str) -> None:
        """It stops."""
        if self.car.transaction == transaction_id and not self.car.stubborn:
            self.car.transaction = 0
            await self.tell_event("Updated", "RemoteStop", "EVConnected", meter_value=self._values())

    @heard(Action201.trigger_message)
    def on_trigger(self, requested_message: str, **_: Said) -> v201.call_result.TriggerMessage:
        """It is asked what it has counted."""
        return v201.call_result.TriggerMessage("Accepted" if self.car.triggered else "NotImplemented")

    @heard_before(Action201.trigger_message)
    async def triggered(self, requested_message: str, **_: Said) -> None:
        """It says so."""
        if not self.car.triggered:
            return
        self.car.asked += 1
        await self.tell_energy()


CHARGERS = {"ocpp1.6": Charger16, "ocpp2.0.1": Charger201}


@contextlib.asynccontextmanager
async def connected(
    port: int, id: str = "wallbox", version: str = "ocpp1.6", car: Car | None = None, password: str = "", **more: Said
) -> AsyncIterator[Said]:
    """A charger that is connected to a central system; it has booted."""
    headers = {"Authorization": "Basic " + b64encode(f"{id}:{password}".encode()).decode()} if password else {}
    url = f"ws://127.0.0.1:{port}/{id}"
    for _ in range(200):
        try:
            connection = await websockets.connect(
                url, subprotocols=[websockets.Subprotocol(version)], additional_headers=headers
            )
            break
        except OSError:
            await asyncio.sleep(0.05)
    charger: Said = CHARGERS[version](id, connection, car or Car(**more))

    async def flow() -> None:
        while True:
            await asyncio.sleep(TELLS_S)
            charger.car.take(TELLS_S)
            if charger.car.charging or charger.car.by_the_clock:
                await charger.tell_energy()

    tasks = [asyncio.create_task(charger.start()), asyncio.create_task(flow())]
    try:
        await charger.boot()
        yield charger
    finally:
        for task in tasks:
            task.cancel()
        await connection.close()
