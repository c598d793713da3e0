"""Chargers of OCPP 1.6 and 2.0.1: the charge points of the `ocpp` package, with a car that takes what it gets."""

import asyncio
import contextlib
from datetime import UTC, datetime

import websockets
from ocpp import v16, v201
from ocpp.routing import after, on
from ocpp.v16.enums import Action as Action16
from ocpp.v201.enums import Action as Action201

WH_PER_S = 10


def stamp():
    return datetime.now(UTC).isoformat()


class Car:
    """What both versions share: `wh` is the meter, which outlives transactions; `plugged`: a car is there."""

    def set_up(self, plugged=True, measurand="Energy.Active.Import.Register", profiled=True):
        self.wh, self.plugged, self.measurand, self.profiled = 5_000.0, plugged, measurand, profiled
        self.transaction, self.stubborn, self.silent, self.tag = 0, False, False, ""
        self.slow_s = self.learns_s = 0
        """Until it starts; and until it has understood that it may, and by which number."""
        self.profiles, self.cadence_s = {}, 0
        self.answered = asyncio.Event()

    @property
    def charging(self):
        return bool(self.transaction)

    @property
    def drawing(self):
        """A profile of the transaction counts for as long as it lasts, then the one for all."""
        if not self.transaction:
            return False
        own, rest = self.profiles.get("TxProfile"), self.profiles.get("TxDefaultProfile")
        if own is not None and (datetime.now(UTC) - own[0]).total_seconds() < own[1]:
            return own[2] > 0
        return rest is None or rest[2] > 0

    def take_profile(self, profile):
        """Returns whether it does; a profile of either version, with names as the library gives them."""
        if not self.profiled:
            return False
        schedule = profile["charging_schedule"]
        schedule = schedule[0] if isinstance(schedule, list) else schedule
        begun = datetime.fromisoformat(schedule.get("start_schedule", stamp()))
        limit = schedule["charging_schedule_period"][0]["limit"]
        self.profiles[profile["charging_profile_purpose"]] = begun, schedule.get("duration", 10**9), limit
        return True

    async def flow(self, every_s=0.2):
        while True:
            await asyncio.sleep(every_s)
            if self.drawing:
                self.wh += WH_PER_S * every_s
            if self.charging:
                await self.tell_energy()


class Charger16(Car, v16.ChargePoint):
    async def boot(self):
        answer = await self.call(v16.call.BootNotification("model", "vendor"))
        assert answer.status == "Accepted"
        await self.tell_status()

    async def tell_status(self):
        status = "Charging" if self.transaction else "Preparing"
        await self.call(v16.call.StatusNotification(1, "NoError", status if self.plugged else "Available"))

    async def tell_energy(self, transaction=0):
        if self.silent:
            return
        value = {"value": f"{self.wh:.1f}", "measurand": self.measurand, "unit": "Wh"}
        of_a_phase = {**value, "value": "1.0", "phase": "L1"}
        running = transaction or self.transaction
        said = [{"timestamp": stamp(), "sampledValue": [value, of_a_phase]}]
        await self.call(v16.call.MeterValues(1, said, **({"transaction_id": running} if running else {})))

    @on(Action16.change_configuration)
    def on_configuration(self, key, value):
        assert key == "MeterValueSampleInterval"
        self.cadence_s = int(value)
        return v16.call_result.ChangeConfiguration("Accepted")

    @on(Action16.set_charging_profile)
    def on_profile(self, connector_id, cs_charging_profiles):
        taken = self.take_profile(cs_charging_profiles)
        return v16.call_result.SetChargingProfile("Accepted" if taken else "NotSupported")

    @on(Action16.remote_start_transaction)
    def on_start(self, id_tag, charging_profile=None, **_):
        good = self.plugged and not self.transaction
        self.tag = id_tag
        if good and charging_profile is not None:
            self.take_profile(charging_profile)
        return v16.call_result.RemoteStartTransaction("Accepted" if good else "Rejected")

    @after(Action16.remote_start_transaction)
    async def started(self, id_tag, **_):
        if self.plugged and not self.transaction:
            await asyncio.sleep(self.slow_s)
            answer = await self.call(v16.call.StartTransaction(1, id_tag, int(self.wh), stamp()))
            await asyncio.sleep(self.learns_s)
            self.transaction = answer.transaction_id if answer.id_tag_info["status"] == "Accepted" else 0
            self.answered.set()
            await self.tell_status()

    @on(Action16.remote_stop_transaction)
    def on_stop(self, transaction_id):
        return v16.call_result.RemoteStopTransaction("Accepted" if transaction_id == self.transaction else "Rejected")

    @after(Action16.remote_stop_transaction)
    async def stopped(self, transaction_id):
        if self.transaction == transaction_id and not self.stubborn:
            self.transaction = 0
            await self.call(v16.call.StopTransaction(int(self.wh), stamp(), transaction_id))
            await self.tell_status()

    @on(Action16.trigger_message)
    def on_trigger(self, requested_message, **_):
        return v16.call_result.TriggerMessage("Accepted")

    @after(Action16.trigger_message)
    async def triggered(self, requested_message, **_):
        await self.tell_energy()

    async def charge_by_itself(self):
        await self.call(v16.call.StatusNotification(1, "NoError", "Charging"))


class Charger201(Car, v201.ChargePoint):
    """Its transaction begins as it charges, and goes on without a draw after it was told to stop."""

    def set_up(self, **more):
        super().set_up(**more)
        self.session, self.events, self.sequence = "", 0, 0

    async def boot(self):
        station = {"vendor_name": "vendor", "model": "model"}
        answer = await self.call(v201.call.BootNotification(station, "PowerUp"))
        assert answer.status == "Accepted"
        await self.tell_status()

    async def tell_status(self):
        status = "Occupied" if self.plugged else "Available"
        await self.call(v201.call.StatusNotification(stamp(), status, 1, 1))

    def _values(self):
        unit = {"unit": "kWh", "multiplier": 0}
        value = {"value": self.wh / 1000, "measurand": self.measurand, "unit_of_measure": unit}
        return [{"timestamp": stamp(), "sampled_value": [value, {**value, "value": 1.0, "phase": "L1"}]}]

    async def tell_event(self, kind, why, state=None, session="", **more):
        self.sequence += 1
        info = {"transaction_id": session or self.session, **({"charging_state": state} if state else {})}
        event = v201.call.TransactionEvent(kind, stamp(), why, self.sequence, info, **more)
        return await self.call(event)

    async def tell_energy(self, transaction=""):
        if self.silent:
            return
        if self.transaction or transaction:
            await self.tell_event("Updated", "MeterValuePeriodic", None, transaction, meter_value=self._values())
        else:
            await self.call(v201.call.MeterValues(1, self._values()))

    @on(Action201.set_variables)
    def on_variables(self, set_variable_data):
        (asked,) = set_variable_data
        self.cadence_s = int(asked["attribute_value"])
        said = {"attribute_status": "Accepted", "component": asked["component"], "variable": asked["variable"]}
        return v201.call_result.SetVariables([said])

    @on(Action201.set_charging_profile)
    def on_profile(self, evse_id, charging_profile):
        return v201.call_result.SetChargingProfile("Accepted" if self.take_profile(charging_profile) else "Rejected")

    @on(Action201.request_start_transaction)
    def on_start(self, id_token, remote_start_id, charging_profile=None, **_):
        good = self.plugged and not self.transaction
        self.tag = id_token["id_token"]
        if good and charging_profile is not None:
            self.take_profile(charging_profile)
        return v201.call_result.RequestStartTransaction("Accepted" if good else "Rejected")

    @after(Action201.request_start_transaction)
    async def started(self, id_token, remote_start_id, **_):
        if self.plugged and not self.transaction:
            await asyncio.sleep(self.slow_s)
            self.events += 1
            fresh = not self.session
            self.session = self.session or f"session-{self.events}"
            kind = "Started" if fresh else "Updated"
            more = {"evse": {"id": 1}} if fresh else {}
            answer = await self.tell_event(kind, "RemoteStart", "Charging", id_token=id_token, **more)
            await asyncio.sleep(self.learns_s)
            good = answer.id_token_info["status"] == "Accepted"
            self.transaction = self.session if good else 0
            if not good:
                await self.tell_event("Ended", "Deauthorized")
                self.session = ""
            self.answered.set()

    @on(Action201.request_stop_transaction)
    def on_stop(self, transaction_id):
        return v201.call_result.RequestStopTransaction("Accepted" if transaction_id == self.transaction else "Rejected")

    @after(Action201.request_stop_transaction)
    async def stopped(self, transaction_id):
        if self.transaction == transaction_id and not self.stubborn:
            self.transaction = 0
            await self.tell_event("Updated", "RemoteStop", "EVConnected", meter_value=self._values())

    @on(Action201.trigger_message)
    def on_trigger(self, requested_message, **_):
        return v201.call_result.TriggerMessage("Accepted")

    @after(Action201.trigger_message)
    async def triggered(self, requested_message, **_):
        await self.tell_energy()


CHARGERS = {"ocpp1.6": Charger16, "ocpp2.0.1": Charger201}


@contextlib.asynccontextmanager
async def connected(port, id="wallbox", version="ocpp1.6", **more):
    """A charger that is connected to a central system; it has booted."""
    url = f"ws://127.0.0.1:{port}/{id}"
    for _ in range(200):
        try:
            connection = await websockets.connect(url, subprotocols=[version])
            break
        except OSError:
            await asyncio.sleep(0.05)
    charger = CHARGERS[version](id, connection, response_timeout=5)
    charger.set_up(**more)
    tasks = [asyncio.create_task(charger.start()), asyncio.create_task(charger.flow())]
    try:
        await charger.boot()
        yield charger
    finally:
        for task in tasks:
            task.cancel()
        await connection.close()
