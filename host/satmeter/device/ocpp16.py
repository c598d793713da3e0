"""One connection of a charger that speaks OCPP 1.6 (JSON)."""

import logging
from typing import TYPE_CHECKING

from ocpp.v16 import ChargePoint, call, call_result
from ocpp.v16.enums import Action, AuthorizationStatus, RegistrationStatus, RemoteStartStopStatus
from websockets.asyncio.server import ServerConnection

from .ocpp_messages import HELD, LASTING, MEASURAND, OURS, Said, heard, is_ours, noted, now, text

if TYPE_CHECKING:
    from .ocpp import Lasting, Ocpp

log = logging.getLogger("satmeter.device")

PROTOCOL = "ocpp1.6"
CHARGING = "Charging"
IDLE = ("Available", "Preparing")
PLUGGED = ("Preparing", CHARGING, "SuspendedEV", "SuspendedEVSE", "Finishing")


class Charger16(ChargePoint):  # type: ignore[misc]
    """What the charger says goes to the device."""

    def __init__(self, id: str, connection: ServerConnection, device: "Ocpp", call_s: int) -> None:
        super().__init__(id, connection, response_timeout=call_s)
        self._device = device
        self._by_the_clock = False
        """Whether it was told to send its values by the clock."""

    # --- what is asked of it

    async def begin(self, connector: int, lasting: "Lasting | None") -> bool:
        """RemoteStartTransaction."""
        profile = {"charging_profile": _lasting("", lasting)} if lasting is not None else {}
        answer = await self.call(call.RemoteStartTransaction(OURS, connector, **profile))
        return answer is not None and answer.status == RemoteStartStopStatus.accepted

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
        await self.call(call.ClearChargingProfile(id=HELD))

    async def end(self, transaction: str) -> bool:
        """RemoteStopTransaction."""
        answer = await self.call(call.RemoteStopTransaction(int(transaction)))
        return answer is not None and answer.status == RemoteStartStopStatus.accepted

    async def ask_values(self, connector: int, every_s: int) -> bool:
        """TriggerMessage; a charger without it is told once to send its values by the clock."""
        answer = await self.call(call.TriggerMessage("MeterValues", connector))
        if answer is not None and answer.status == "Accepted":
            return True
        if not self._by_the_clock:
            self._by_the_clock = True
            await self.call(call.ChangeConfiguration("ClockAlignedDataInterval", str(every_s)))
        return False

    async def send_every(self, seconds: int) -> None:
        """ChangeConfiguration."""
        await self.call(call.ChangeConfiguration("MeterValueSampleInterval", str(seconds)))

    # --- what it says

    @heard(Action.boot_notification)
    def on_boot(self, **said: Said) -> call_result.BootNotification:
        """The charger has started."""
        log.info("charger %s: %s %s", self.id, said.get("charge_point_vendor"), said.get("charge_point_model"))
        self._device.told_boot()
        return call_result.BootNotification(now(), 60, RegistrationStatus.accepted)

    @heard(Action.heartbeat)
    def on_heartbeat(self) -> call_result.Heartbeat:
        """The charger is there."""
        return call_result.Heartbeat(now())

    @heard(Action.authorize)
    def on_authorize(self, id_tag: str) -> call_result.Authorize:
        """Only who has paid charges: any tag but ours is refused."""
        good = AuthorizationStatus.accepted if is_ours(id_tag) else AuthorizationStatus.invalid
        return call_result.Authorize({"status": good})

    @heard(Action.status_notification)
    def on_status(self, connector_id: int, status: str, **said: Said) -> call_result.StatusNotification:
        """A connector's state."""
        self._device.told_status(connector_id, status in PLUGGED, status == CHARGING, status in IDLE)
        return call_result.StatusNotification()

    @heard(Action.start_transaction)
    def on_start(
        self, connector_id: int, id_tag: str, meter_start: int, timestamp: str, **said: Said
    ) -> call_result.StartTransaction:
        """Charging begins."""
        number = self._device.told_request(connector_id, meter_start, timestamp) if is_ours(id_tag) else 0
        status = AuthorizationStatus.accepted if number else AuthorizationStatus.invalid
        return call_result.StartTransaction(number, {"status": status})

    @heard(Action.stop_transaction)
    def on_stop(self, meter_stop: int, transaction_id: int, **said: Said) -> call_result.StopTransaction:
        """Charging has ended."""
        self._device.told_end(str(transaction_id), meter_stop)
        return call_result.StopTransaction()

    @heard(Action.meter_values)
    def on_values(self, connector_id: int, meter_value: list[Said], **said: Said) -> call_result.MeterValues:
        """What it has counted, and in which transaction: one may run since before this bridge."""
        running = said.get("transaction_id")
        if type(running) is int and running > 0 and not self._device.has_ended(str(running)):
            self._device.told_transaction(connector_id, str(running))
        for each in meter_value:
            for sample in each.get("sampled_value", ()):
                # That of one phase is a part of it, and signed data is no number.
                raw = "phase" not in sample and sample.get("format", "Raw") == "Raw"
                if sample.get("measurand", MEASURAND) == MEASURAND and raw:
                    value, unit = sample.get("value"), sample.get("unit", "Wh")
                    self._device.told_energy(connector_id, value, unit, stamp=each.get("timestamp"))
        return call_result.MeterValues()

    on_firmware = noted("on_firmware", Action.firmware_status_notification, call_result.FirmwareStatusNotification)
    on_diagnostics = noted(
        "on_diagnostics", Action.diagnostics_status_notification, call_result.DiagnosticsStatusNotification
    )
    on_security = noted("on_security", Action.security_event_notification, call_result.SecurityEventNotification)
    on_log = noted("on_log", Action.log_status_notification, call_result.LogStatusNotification)
    on_data = noted("on_data", Action.data_transfer, lambda: call_result.DataTransfer("UnknownVendorId"))


connected = Charger16


def _lasting(transaction: str, lasting: "Lasting") -> dict[str, Said]:
    made = _profile(LASTING, "TxProfile", "Absolute", lasting.most_a)
    made["chargingSchedule"] |= {"startSchedule": text(lasting.start), "duration": lasting.seconds}
    return {**made, "transactionId": int(transaction)} if transaction else made


def _profile(number: int, purpose: str, kind: str, limit_a: float) -> dict[str, Said]:
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit_a}]}
    said = {"chargingProfileId": number, "stackLevel": 0, "chargingProfilePurpose": purpose}
    return {**said, "chargingProfileKind": kind, "chargingSchedule": schedule}
