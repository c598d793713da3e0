"""Every kind under counters that lie: what a device says in its own protocol never becomes a wrong tick.

Each device says one value after another, plausible ones and lies. One unit is a tick, the rating is 3 ticks a second,
and a reading is taken once a second: over any run no more than that may be counted, with 5 s of the rating to spare.
"""

import asyncio
import contextlib
import json
import math
import time
from fractions import Fraction

import pytest
from home import TOKEN, Home
from hypothesis import given, settings
from hypothesis import strategies as st

from kasa_plug import KasaPlug
from lanes import lane
from satmeter.device.boundary import DeviceTrouble
from satmeter.device.fields import Fields
from satmeter.device.homeassistant import HomeAssistant
from satmeter.device.kasa import Kasa
from satmeter.device.modbus import Modbus
from satmeter.device.mqtt import Mqtt
from satmeter.device.ocpp import Ocpp
from satmeter.device.shelly import Shelly
from satmeter.device.tasmota import Tasmota
from satmeter.device.trust import Trust
from satmeter.devnet.devices.charger import connected
from satmeter.devnet.devices.modbus import simulated, words
from satmeter.devnet.devices.shelly import Plug
from satmeter.devnet.devices.simulated import free_port
from satmeter.devnet.devices.tasmota import TasmotaPlug

RATING, SPARE_S = 3, 5
LIES = [0, -1, math.nan, math.inf, 2**31 - 1, 2**32 - 1, 2**63, 1e308, 1e-300]
VALUES = st.lists(
    st.one_of(st.sampled_from(LIES), st.floats(1_000, 1_020).map(lambda v: round(v, 1))), min_size=2, max_size=12
)


@contextlib.asynccontextmanager
async def shelly(_):
    plug = Plug()

    def says(value):
        plug.energy = value

    try:
        yield Shelly(Fields("device", {"host": plug.host})), says
    finally:
        plug.close()


@contextlib.asynccontextmanager
async def kasa(_):
    plug = KasaPlug()

    def says(value):
        plug.energy = value if math.isfinite(value) else -1

    async with plug.served() as host:
        yield Kasa(Fields("device", {"host": host})), says


@contextlib.asynccontextmanager
async def modbus(_):
    value = [1_000.0]

    def live():
        with contextlib.suppress(OverflowError):
            return {342: words(value[0] / 1_000)}
        return {342: words(math.inf)}

    def says(said):
        value[0] = said

    async with simulated({12: words(0.0), 342: words(1.0)}, live=live) as port:
        yield Modbus(Fields("device", {"host": "127.0.0.1", "port": port, "registers": "sdm120"})), says


@contextlib.asynccontextmanager
async def homeassistant(_):
    home = Home()

    def says(value):
        home.states["sensor.plug"] = (str(value), "Wh", 0)

    try:
        yield HomeAssistant(Fields("device", {"url": home.url, "token": TOKEN, "count": "sensor.plug"})), says
    finally:
        home.close()


@contextlib.asynccontextmanager
async def ocpp(_):
    port = free_port()
    made = Ocpp(Fields("device", {"charger": "wallbox", "port": port}))
    listening = asyncio.create_task(made.read())
    async with connected(port) as charger:
        await asyncio.gather(listening, return_exceptions=True)

        def says(value):
            charger.car.wh = value

        yield made, says


@contextlib.asynccontextmanager
async def tasmota(broker):
    plug = TasmotaPlug(broker.client, "liar")
    running = asyncio.create_task(plug.run())
    made = Tasmota(Fields("device", {"topic": "liar", **broker.fields}))

    def says(value):
        plug.energy = value

    while True:
        with contextlib.suppress(DeviceTrouble):
            await made.read()
            break
    yield made, says
    running.cancel()


@contextlib.asynccontextmanager
async def mqtt(broker):
    made = Mqtt(Fields("device", {"count_topic": "liar/count", "cadence_s": 0.5, **broker.fields}))
    async with broker.client() as client:

        async def says(value):
            came = asyncio.Event()
            made.heard = came.set
            await client.publish("liar/count", json.dumps(value))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(came.wait(), 0.2)  # what is no number does not come

        await made._broker.start()
        yield made, says


@pytest.mark.parametrize("kind", [shelly, kasa, modbus, homeassistant, ocpp, tasmota, mqtt])
def test_no_kind_counts_a_lie(kind, request):
    speaks = request.getfixturevalue("broker") if kind in (tasmota, mqtt) else None
    if speaks:
        lane("mosquitto")

    @settings(max_examples=8, deadline=None)
    @given(VALUES)
    def lied(values):
        asyncio.run(_lied(kind, speaks, values))

    lied()


async def _lied(kind, speaks, values):
    async with kind(speaks) as (made, says):
        trust, now, before, counted_s = Trust(Fraction(1), RATING, "b"), time.time(), 0, 0
        try:
            for value in (1_000.0, *values):
                if (said := says(value)) is not None:
                    await said
                now, counted_s = now + 1, counted_s + 1
                try:
                    count = await made.read()
                except DeviceTrouble:
                    assert counted_s > 1  # the first is no lie
                    continue
                assert counted_s > 1 or abs(count.value - 1_000) < 1
                trust.take(count, now)
                assert before <= trust.register <= RATING * (counted_s + SPARE_S)
                if not math.isfinite(value) or value < 0 or value > 2**53:
                    assert trust.fault
                before = trust.register
        finally:
            await made.close()
