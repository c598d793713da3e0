"""One connection of a charger that speaks OCPP 2.0.1 (JSON)."""

import logging
import secrets
from typing import TYPE_CHECKING

from ocpp.v201 import ChargePoint, call, call_result
from ocpp.v201.enums import Action
from websockets.asyncio.server import ServerConnection

from .ocpp_messages import HELD, LASTING, MEASURAND, OURS, Said, heard, is_ours, noted, now, text

if TYPE_CHECKING:
    from .ocpp import Lasting, Ocpp

log = logging.getLogger("satmeter.device")

PROTOCOL = "ocpp2.0.1"
TOKEN = {"id_token": OURS, "type": "Central"}
DRAWS = ("Charging", "SuspendedEV", "SuspendedEVSE")
"""States of a transaction in which the car may draw at any moment; in others it is plugged in, and that is all."""


class Charger201(ChargePoint):  # type: ignore[misc]
    """What the charger says goes to the device.

    A transaction may begin as the car is plugged in, and end as it is pulled: for the device it runs while the car may
    draw."""

    def __init__(self, id: str, connection: ServerConnection, device: "Ocpp", call_s: int) -> None:
        super().__init__(id, connection, response_timeout=call_s)
        self._device = device
        self._by_the_clock = False
        """Whether it was told to send its values by the clock."""
        self._starts = secrets.randbelow(2**30)
        self._connectors: dict[str, int] = {}
        """Where each transaction runs: only its first event has to say so."""
        self._occupied: dict[tuple[int, int], bool] = {}
        """By EVSE and connector."""

    # --- what is asked of it

    async def begin(self, connector: int, lasting: "Lasting | None") -> bool:
        """RequestStartTransaction."""
        self._starts += 1
        profile = {"charging_profile": _lasting("", lasting)} if lasting is not None else {}
        answer = await self.call(call.RequestStartTransaction(TOKEN, self._starts, connector, **profile))
        return answer is not None and answer.status == "Accepted"

    async def go_on(self, connector: int, transaction: str, lasting: "Lasting") -> bool:
        """SetChargingProfile of the transaction."""
        return await self._takes(connector, _lasting(transaction, lasting))

    async def hold(self, connector: int) -> bool:
        """SetChargingProfile for transactions without one of their own."""
        return await self._takes(connector, _profile(HELD, "TxDefaultProfile", "Relative", 0.0))

    async def _takes(self, connector: int, profile: dict[str, Said]) -> bool:
        answer = await self.call(call.SetChargingProfile(connector, profile))
        return answer is not None and answer.status == "Accepted"

    async def release(self, connector: int) -> None:
        """ClearChargingProfile."""
        await self.call(call.ClearChargingProfile(charging_profile_id=HELD))

    async def end(self, transaction: str) -> bool:
        """RequestStopTransaction."""
        answer = await self.call(call.RequestStopTransaction(transaction))
        return answer is not None and answer.status == "Accepted"

    async def ask_values(self, connector: int, every_s: int) -> bool:
        """TriggerMessage; a charger without it is told once to send its values by the clock."""
        answer = await self.call(call.TriggerMessage("MeterValues", {"id": connector}))
        if answer is not None and answer.status == "Accepted":
            return True
        if not self._by_the_clock:
            self._by_the_clock = True
            await self._set("AlignedDataCtrlr", "Interval", every_s)
        return False

    async def send_every(self, seconds: int) -> None:
        """SetVariables."""
        await self._set("SampledDataCtrlr", "TxUpdatedInterval", seconds)

    async def _set(self, component: str, variable: str, value: int) -> None:
        name = {"component": {"name": component}, "variable": {"name": variable}}
        await self.call(call.SetVariables([{"attribute_value": str(value), **name}]))

    # --- what it says

    @heard(Action.boot_notification)
    def on_boot(self, charging_station: Said, **said: Said) -> call_result.BootNotification:
        """The charger has started."""
        log.info("charger %s: %s %s", self.id, charging_station.get("vendor_name"), charging_station.get("model"))
        self._device.told_boot()
        return call_result.BootNotification(now(), 60, "Accepted")

    @heard(Action.heartbeat)
    def on_heartbeat(self, **said: Said) -> call_result.Heartbeat:
        """The charger is there."""
        return call_result.Heartbeat(now())

    @heard(Action.authorize)
    def on_authorize(self, id_token: Said, **said: Said) -> call_result.Authorize:
        """Only who has paid charges: any token but ours is refused."""
        return call_result.Authorize(_judged(id_token, True))

    @heard(Action.status_notification)
    def on_status(
        self, connector_status: str, evse_id: int, connector_id: int, **said: Said
    ) -> call_result.StatusNotification:
        """A connector's state; an EVSE may have several, of which one is used at a time."""
        self._occupied[evse_id, connector_id] = connector_status == "Occupied"
        plugged = any(used for (evse, _), used in self._occupied.items() if evse == evse_id)
        self._device.told_status(evse_id, plugged, None, not plugged)
        return call_result.StatusNotification()

    @heard(Action.security_event_notification)
    def on_security(self, **said: Said) -> call_result.SecurityEventNotification:
        """The charger reports what its maker calls a matter of security."""
        log.info("charger %s: %s", self.id, str(said.get("type"))[:50])
        return call_result.SecurityEventNotification()

    @heard(Action.notify_event)
    def on_event(self, **said: Said) -> call_result.NotifyEvent:
        """The charger reports about its parts."""
        return call_result.NotifyEvent()

    @heard(Action.transaction_event)
    def on_transaction(self, event_type: str, transaction_info: Said, **said: Said) -> call_result.TransactionEvent:
        """A transaction begins, goes on or ends, with what was counted."""
        transaction, state = str(transaction_info.get("transaction_id")), transaction_info.get("charging_state")
        token = said.get("id_token")
        if (evse := said.get("evse")) is not None:
            self._connectors[transaction] = int(evse["id"])
        # Of one that began before this connection it is not known where: ours, where there is but one EVSE.
        alone = {evse for evse, _ in self._occupied} <= {self._device.connector}
        connector = self._connectors.get(transaction, self._device.connector if alone else 0)
        self._told_values(connector, said.get("meter_value") or [])
        if event_type == "Ended" or (state is not None and state not in DRAWS):
            self._device.told_end(transaction, None, over=event_type == "Ended")
            if event_type == "Ended":
                self._connectors.pop(transaction, None)
        elif state in DRAWS or not self._device.has_ended(transaction):
            if token is None or _is_ours(token):  # another's is refused, and ends
                self._device.told_transaction(connector, transaction)
            self._device.told_status(connector, True, state == "Charging" if state else None)
        # One that was asked for, and cut before it came, is not to begin.
        judged = {"id_token_info": _judged(token, self._device.wanted)} if token else {}
        return call_result.TransactionEvent(**judged)

    @heard(Action.meter_values)
    def on_values(self, evse_id: int, meter_value: list[Said], **said: Said) -> call_result.MeterValues:
        """What it has counted."""
        self._told_values(evse_id, meter_value)
        return call_result.MeterValues()

    def _told_values(self, connector: int, values: list[Said]) -> None:
        for each in values:
            for sample in each.get("sampled_value", ()):
                if sample.get("measurand", MEASURAND) == MEASURAND and "phase" not in sample:
                    unit = sample.get("unit_of_measure") or {}
                    said = sample.get("value"), unit.get("unit", "Wh"), unit.get("multiplier", 0)
                    self._device.told_energy(connector, *said, each.get("timestamp"))

    on_report = noted("on_report", Action.notify_report, call_result.NotifyReport)
    on_limit = noted("on_limit", Action.notify_charging_limit, call_result.NotifyChargingLimit)
    on_profiles = noted("on_profiles", Action.report_charging_profiles, call_result.ReportChargingProfiles)
    on_firmware = noted("on_firmware", Action.firmware_status_notification, call_result.FirmwareStatusNotification)
    on_log = noted("on_log", Action.log_status_notification, call_result.LogStatusNotification)
    on_data = noted("on_data", Action.data_transfer, lambda: call_result.DataTransfer("UnknownVendorId"))


connected = Charger201


def _judged(token: Said, wanted: bool) -> dict[str, Said]:
    return {"status": "Accepted" if _is_ours(token) and wanted else "Invalid"}


def _is_ours(token: Said) -> bool:
    return isinstance(token, dict) and is_ours(token.get("id_token"))


def _lasting(transaction: str, lasting: "Lasting") -> dict[str, Said]:
    made = _profile(LASTING, "TxProfile", "Absolute", lasting.most_a)
    made["charging_schedule"][0] |= {"start_schedule": text(lasting.start), "duration": lasting.seconds}
    return {**made, "transaction_id": transaction} if transaction else made


def _profile(number: int, purpose: str, kind: str, limit_a: float) -> dict[str, Said]:
    period = {"start_period": 0, "limit": limit_a}
    schedule = {"id": number, "charging_rate_unit": "A", "charging_schedule_period": [period]}
    said = {"id": number, "stack_level": 0, "charging_profile_purpose": purpose}
    return {**said, "charging_profile_kind": kind, "charging_schedule": [schedule]}
