"""A charger of OCPP 1.6: the charge point of the `ocpp` package, with a car that takes what it gets."""

import asyncio
import contextlib
from datetime import UTC, datetime

import websockets
from ocpp.routing import after, on
from ocpp.v16 import ChargePoint, call, call_result
from ocpp.v16.enums import Action, ChargePointStatus, RegistrationStatus, RemoteStartStopStatus

WH_PER_S = 10


class Charger(ChargePoint):
    """`wh` is its meter, which outlives its transactions; `plugged`: a car is there."""

    def __init__(self, id, connection, plugged=True, measurand="Energy.Active.Import.Register"):
        super().__init__(id, connection, response_timeout=5)
        self.wh, self.plugged, self.measurand = 5_000.0, plugged, measurand
        self.transaction, self.stubborn, self.silent = 0, False, False
        self.slow_s = self.learns_s = 0
        """Until it starts; and until it has understood that it may, and by which number."""
        self.answered = asyncio.Event()

    @property
    def charging(self):
        return bool(self.transaction)

    async def boot(self):
        answer = await self.call(call.BootNotification("model", "vendor"))
        assert answer.status == RegistrationStatus.accepted
        await self.tell_status()

    async def tell_status(self):
        status = ChargePointStatus.charging if self.transaction else ChargePointStatus.preparing
        status = status if self.plugged else ChargePointStatus.available
        await self.call(call.StatusNotification(1, "NoError", status))

    async def tell_energy(self):
        if self.silent:
            return
        value = {"value": f"{self.wh:.1f}", "measurand": self.measurand, "unit": "Wh"}
        stamp = datetime.now(UTC).isoformat()
        running = {"transaction_id": self.transaction} if self.transaction else {}
        await self.call(call.MeterValues(1, [{"timestamp": stamp, "sampledValue": [value]}], **running))

    async def flow(self, every_s=0.2):
        while True:
            await asyncio.sleep(every_s)
            if self.transaction:
                self.wh += WH_PER_S * every_s
                await self.tell_energy()

    @on(Action.remote_start_transaction)
    def on_start(self, id_tag, **_):
        good = self.plugged and not self.transaction
        self.tag = id_tag
        return call_result.RemoteStartTransaction(
            RemoteStartStopStatus.accepted if good else RemoteStartStopStatus.rejected
        )

    @after(Action.remote_start_transaction)
    async def started(self, id_tag, **_):
        if self.plugged and not self.transaction:
            await asyncio.sleep(self.slow_s)
            stamp = datetime.now(UTC).isoformat()
            answer = await self.call(call.StartTransaction(1, id_tag, int(self.wh), stamp))
            await asyncio.sleep(self.learns_s)
            self.transaction = answer.transaction_id if answer.id_tag_info["status"] == "Accepted" else 0
            self.answered.set()
            await self.tell_status()

    @on(Action.remote_stop_transaction)
    def on_stop(self, transaction_id):
        return call_result.RemoteStopTransaction(RemoteStartStopStatus.accepted)

    @after(Action.remote_stop_transaction)
    async def stopped(self, transaction_id):
        if self.transaction == transaction_id and not self.stubborn:
            self.transaction = 0
            await self.call(call.StopTransaction(int(self.wh), datetime.now(UTC).isoformat(), transaction_id))
            await self.tell_status()

    @on(Action.trigger_message)
    def on_trigger(self, requested_message, **_):
        return call_result.TriggerMessage("Accepted")

    @after(Action.trigger_message)
    async def triggered(self, requested_message, **_):
        await self.tell_energy()


@contextlib.asynccontextmanager
async def connected(port, id="wallbox", **more):
    """A charger that is connected to a central system; it has booted."""
    url = f"ws://127.0.0.1:{port}/{id}"
    for _ in range(200):
        try:
            connection = await websockets.connect(url, subprotocols=["ocpp1.6"])
            break
        except OSError:
            await asyncio.sleep(0.05)
    charger = Charger(id, connection, **more)
    tasks = [asyncio.create_task(charger.start()), asyncio.create_task(charger.flow())]
    try:
        await charger.boot()
        yield charger
    finally:
        for task in tasks:
            task.cancel()
        await connection.close()
