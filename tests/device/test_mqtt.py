"""Devices by MQTT, over a real mosquitto with TLS and a password: Tasmota, and what its config alone describes."""

import asyncio
import json
from decimal import Decimal

import pytest

from broker import certificate
from lanes import lane
from satmeter.core.errors import BadParam
from satmeter.device.boundary import DeviceTrouble
from satmeter.device.fields import Fields
from satmeter.device.mqtt import Mqtt, at, number
from satmeter.device.tasmota import Tasmota
from satmeter.devnet.devices.tasmota import TasmotaPlug


@pytest.fixture(autouse=True)
def _counted(request):
    if "broker" in request.fixturenames:
        lane("mosquitto")


def with_plug(broker, act, **more):
    """Run an act beside a plug that runs Tasmota."""

    async def whole():
        plug = TasmotaPlug(broker.client, "tap", **more)
        running = asyncio.create_task(plug.run())
        made = Tasmota(Fields("device", {"topic": "tap", "dead_man_s": 12, **broker.fields}))
        try:
            await asyncio.sleep(0.3)  # until it has subscribed; what it misses is asked again anyway
            await act(made, plug)
        finally:
            running.cancel()
            await made.close()

    asyncio.run(whole())


def test_tasmota_counts_switches_and_is_set_up_once(broker):
    async def act(made, plug):
        assert (await made.read()).value == 1_000
        assert (plug.pulse, plug.power_on_state) == (112, 0)
        plug.energy, plug.power = 1_002.0, 60.0
        count = await made.read()
        assert (float(count.value), float(count.power)) == (1_002.0, 60.0)
        await made.allow()
        assert plug.on
        await made.cut()
        assert not plug.on

    with_plug(broker, act)


def test_a_plug_that_does_not_switch_or_measure_or_answer_is_said(broker):
    async def stubborn(made, plug):
        with pytest.raises(DeviceTrouble, match="is still OFF after Power1 ON"):
            await made.allow()

    async def blind(made, plug):
        with pytest.raises(DeviceTrouble, match="power metering"):
            await made.read()

    async def silent(made, plug):
        plug.silent = True
        with pytest.raises(DeviceTrouble, match="is not answered"):
            await made.read()

    with_plug(broker, stubborn, stubborn=True)
    with_plug(broker, blind, metered=False)
    with_plug(broker, silent)


def test_what_only_the_config_describes(broker):
    async def act():
        fields = {
            "count_topic": "meter/water",
            "count_path": "total.litres",
            "power_path": "flow",
            "command_topic": "valve/set",
            "state_topic": "valve/state",
            "on": "open",
            "off": "closed",
            "cadence_s": 0.5,
        }
        made = Mqtt(Fields("device", {**fields, **broker.fields}))

        async def tap():
            async with broker.client() as client:
                await client.subscribe("valve/set")
                async for message in client.messages:
                    await client.publish("valve/state", message.payload)

        answering = asyncio.create_task(tap())
        await made._broker.start()
        async with broker.client() as client:
            for junk in (b"\xff\xfe", b"[]", b"{}", json.dumps({"total": {"litres": "NaNa"}}), b"9" * 70_000):
                await client.publish("meter/water", junk, retain=False)
            await client.publish("meter/water", json.dumps({"total": {"litres": 12.5}, "flow": 60}))
            count = await made.read()
            assert (float(count.value), float(count.power)) == (12.5, 60.0)
            with pytest.raises(DeviceTrouble, match="no count came"):
                while (await made.read()).value == count.value:  # the newest, for as long as it is young
                    await asyncio.sleep(0.05)
            await made.allow()
            await made.cut()
            answering.cancel()
            with pytest.raises(DeviceTrouble, match="did not say that it switched"):
                await made.allow()
        await made.close()

    asyncio.run(act())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"password": "another"}, "Not authorized|not authorised|refused|authoriz"),
        ({"port": 1}, "refused"),
        ({"broker": "no-such-host.invalid"}, "no-such-host|not known|resolution|name"),
    ],
)
def test_a_broker_that_can_not_be_used_is_said(broker, wrong, words):
    async def act():
        made = Tasmota(Fields("device", {"topic": "tap", **broker.fields, **wrong}))
        try:
            with pytest.raises(DeviceTrouble, match=words):
                await made.read()
        finally:
            await made.close()

    asyncio.run(act())


def test_a_certificate_of_another_is_refused(broker, tmp_path):
    other, _ = certificate(tmp_path, "other")

    async def act():
        made = Tasmota(Fields("device", {"topic": "tap", **broker.fields, "ca": str(other)}))
        try:
            with pytest.raises(DeviceTrouble, match=r"(?i)certificate"):
                await made.read()
        finally:
            await made.close()

    asyncio.run(act())


@pytest.mark.parametrize(
    ("payload", "path", "found"),
    [
        (b'{"a": {"b": 1.5}}', "a.b", 1.5),
        (b"7", "", 7),
        (b'{"a": [1]}', "a.b", None),
        (b"nonsense", "a", None),
        (b"[" * 20_000, "a", None),
    ],
)
def test_a_path_leads_to_a_value_or_to_none(payload, path, found):
    assert at(payload, path) == found


@pytest.mark.parametrize(
    ("value", "found"), [("1.5", "1.5"), (2, "2"), (True, None), ("x", None), (None, None), ({}, None)]
)
def test_a_number_is_read_from_json_and_text(value, found):
    assert (None if found is None else str(number(value))) == (None if found is None else found)


def test_a_count_of_before_is_no_reading(broker):
    """A broker gives a retained message to whoever comes, however old it is."""

    async def act():
        made = Mqtt(Fields("device", {**broker.fields, "count_topic": "kept/count", "cadence_s": 0.5}))
        async with broker.client() as client:
            await client.publish("kept/count", "5", qos=1, retain=True)
            with pytest.raises(DeviceTrouble, match="no count came"):
                await made.read()
            reading = asyncio.create_task(made.read())
            await asyncio.sleep(0)
            await client.publish("kept/count", "6", qos=1, retain=True)
            assert (await reading).value == 6
            await client.publish("kept/count", b"", retain=True)
        await made.close()

    asyncio.run(act())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"count_topic": "a/#"}, "one topic, without # and"),
        ({"tls": 1, "ca": "/nothing"}, "ca: /nothing: No such file"),
    ],
)
def test_fields_that_can_not_be_are_named(wrong, words):
    with pytest.raises(BadParam, match=words):
        Mqtt(Fields("device", {"broker": "localhost", **wrong}))


def test_what_is_wrong_with_messages_that_come_is_said(broker):
    async def act():
        fields = {"count_topic": "plug/count", "count_path": "energi", "command_topic": "plug/set", "cadence_s": 0.3}
        fields |= {"state_topic": "plug/state", "state_path": "relay"}
        made = Mqtt(Fields("device", {**fields, **broker.fields}))

        async def plug():
            async with broker.client() as client:
                while True:
                    await client.publish("plug/count", json.dumps({"energy": 12}))
                    await client.publish("plug/state", json.dumps({"power": "ON"}))
                    await asyncio.sleep(0.05)

        sending = asyncio.create_task(plug())
        try:
            with pytest.raises(DeviceTrouble, match=r"no number at 'energi': .*energy"):
                await made.read()
            with pytest.raises(DeviceTrouble, match=r"nothing stands at 'relay' in .*power"):
                await made.allow()
        finally:
            sending.cancel()
            await made.close()

    asyncio.run(asyncio.wait_for(act(), 30))


@pytest.mark.parametrize(
    ("fields", "says", "trouble"),
    [
        ({}, "OFF", None),
        ({}, "off", None),
        ({}, "ON", "it says 'ON' after OFF; state_off is 'OFF'"),
        ({}, "unavailable", "it says 'unavailable' after OFF"),
        ({"state_on": "closed"}, "open", None),
        ({"state_on": "closed"}, "Closed", "it says 'Closed' after OFF"),
        ({"state_on": "closed"}, "Unknown", "it says 'Unknown' after OFF"),
        ({"state_on": "closed"}, "offline", "it says 'offline' after OFF"),
        ({"state_on": "1", "state_off": "0"}, "2", "it says '2' after OFF; state_off is '0'"),
        ({"state_path": "output", "state_on": "true", "state_off": "false"}, '{"output": false}', None),
        ({"state_path": "output", "state_on": "True"}, '{"output": true}', "it says 'True' after OFF"),
        ({"state_path": "state"}, '{"power": 230}', "nothing stands at 'state' in"),
        ({"state_path": "state"}, '{"state": null}', "nothing stands at 'state' in"),
        ({"state_path": "state"}, "not JSON", "nothing stands at 'state' in"),
        ({"state_path": "state"}, '{"state": ""}', "did not say that it switched|it says ''"),
    ],
)
def test_it_is_off_only_where_the_device_says_so(broker, monkeypatch, fields, says, trouble):
    monkeypatch.setattr("satmeter.device.mqtt.SWITCH_S", 0.5)

    async def act():
        given = {"command_topic": "cut/set", "state_topic": "cut/state", **fields, **broker.fields}
        made = Mqtt(Fields("device", given))

        async def plug():
            async with broker.client() as client:
                while True:
                    await client.publish("cut/state", says)
                    await asyncio.sleep(0.05)

        sending = asyncio.create_task(plug())
        try:
            if trouble is None:
                await made.cut()
            else:
                with pytest.raises(DeviceTrouble, match=trouble):
                    await made.cut()
        finally:
            sending.cancel()
            await made.close()

    asyncio.run(asyncio.wait_for(act(), 30))


def test_power_is_brought_to_the_unit_of_the_count(broker):
    async def act():
        fields = {"count_topic": "plug/sum", "count_path": "energy", "power_path": "power", "power_scale": 0.001}
        made = Mqtt(Fields("device", {**fields, "cadence_s": 0.3, **broker.fields}))

        async def plug():
            async with broker.client() as client:
                while True:
                    await client.publish("plug/sum", json.dumps({"energy": 12.5, "power": 100}))
                    await asyncio.sleep(0.05)

        sending = asyncio.create_task(plug())
        try:
            count = await made.read()
            assert (count.value, count.power) == (Decimal("12.5"), Decimal("0.1"))
        finally:
            sending.cancel()
            await made.close()

    asyncio.run(asyncio.wait_for(act(), 30))


def test_a_plug_without_a_dead_mans_switch_is_refused_though_it_answers(broker):
    async def act(made, plug):
        plug.takes_pulse = False
        with pytest.raises(DeviceTrouble, match="does not take PulseTime1 112"):
            await made.allow()

    with_plug(broker, act)


def test_a_state_that_was_on_its_way_before_the_command_is_waited_out(broker):
    """A plug that sends count and state together: its old state comes after the command."""

    async def act():
        fields = {"count_topic": "k/c", "command_topic": "k/set", "state_topic": "k/state", "cadence_s": 1}
        made = Mqtt(Fields("device", {**fields, **broker.fields}))

        async def plug():
            async with broker.client() as client:
                await client.subscribe("k/set")
                async for message in client.messages:
                    before = {b"ON": b"OFF", b"OFF": b"ON"}[message.payload]
                    await client.publish("k/state", before)
                    await asyncio.sleep(0.05)
                    await client.publish("k/state", message.payload)

        answering = asyncio.create_task(plug())
        try:
            await made._broker.start()
            for _ in range(3):
                await made.allow()
                assert made._says == "ON"
                await made.cut()
                assert made._says == "OFF"
        finally:
            answering.cancel()
            await made.close()

    asyncio.run(act())
