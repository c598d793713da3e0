"""What Home Assistant finds at the broker, and what its switch does."""

import asyncio
import json
from contextlib import suppress

import pytest

from broker import Broker
from lanes import lane
from satmeter.core.seller import views
from satmeter.core.seller.meter import Meter
from satmeter.core.status import answer
from satmeter.core.tariff import Tariff
from satmeter.device.discovery import Discovery
from satmeter.device.fields import Fields
from satmeter.device.tasks import ended

TARIFF = Tariff(300_000, 1_000, 1_000_000, unit="kWh")
AT_REST = answer(views.meter_status(Meter("socket", TARIFF), None, 0, 3_000, 0, {}))
METER = {**AT_REST, "state": "delivering", "session": "s1", "count": 1_500, "credit_msat": 12_500}


class Node:
    def __init__(self):
        self.meter, self.closed = dict(METER), asyncio.Event()

    async def call(self, method, **params):
        if method == "meter-close":
            assert params == {"name": "s1", "reason": "ended by Home Assistant"}
            self.meter |= {"session": "", "state": "standby"}
            self.closed.set()
            return {}
        meters = [self.meter, {**self.meter, "name": "another"}]
        return {"meters": meters, "sessions": [], "unowned": [], "journal": "j"}


@pytest.fixture
def broker(tmp_path):
    lane("mosquitto")
    made = Broker(tmp_path)
    yield made
    made.stop()


def test_the_meters_of_this_bridge_are_found_followed_and_ended(broker):
    async def act():
        node, found = Node(), {}
        fields = Fields("homeassistant", {**broker.fields, "every_s": 1})
        running = asyncio.create_task(Discovery(fields, ("socket",), node).run())
        fields.end()
        async with broker.client() as client:
            await client.subscribe("#")
            async for message in client.messages:
                found[str(message.topic)] = message.payload.decode()
                seen = json.loads(found.get("satmeter/socket", "{}"))
                if seen.get("session") == "ON" and not node.closed.is_set():
                    await client.publish("satmeter/socket/session/set", "OFF")
                if seen.get("session") == "OFF":
                    break
            assert seen == {
                "state": "standby",
                "delivered": 1.5,
                "credit": 12.5,
                "price": 300.0,
                "fault": "none",
                "session": "OFF",
            }
            configs = {topic: json.loads(text) for topic, text in found.items() if topic.endswith("/config")}
            assert {"homeassistant/sensor/satmeter_socket/delivered/config"} <= configs.keys() and len(configs) == 6
            delivered = configs["homeassistant/sensor/satmeter_socket/delivered/config"]
            assert (delivered["device_class"], delivered["unit_of_measurement"]) == ("energy", "kWh")
            switch = configs["homeassistant/switch/satmeter_socket/session/config"]
            assert switch["command_topic"] == "satmeter/socket/session/set"
            assert found["satmeter/_bridge"] == "online"
            # Home Assistant begins anew: all is announced again.
            await client.publish("homeassistant/status", "online")
            async for message in client.messages:
                if str(message.topic).endswith("session/config") and not message.retain:
                    break
            # The bridge is gone, without a word: what it announced is unavailable.
            ending = asyncio.create_task(ended([running]))  # as the bridge ends it: one cancellation may be lost
            async for message in client.messages:
                if str(message.topic) == "satmeter/_bridge" and message.payload == b"offline":
                    break
        await ending

    asyncio.run(asyncio.wait_for(act(), 30))


def test_a_switch_that_is_turned_on_is_told_that_nothing_runs(broker):
    async def act():
        node, states = Node(), 0
        node.meter |= {"session": "", "state": "standby"}
        fields = Fields("homeassistant", {**broker.fields, "every_s": 600})
        running = asyncio.create_task(Discovery(fields, ("socket",), node).run())
        async with broker.client() as client:
            await client.subscribe("satmeter/socket")
            async for message in client.messages:
                states += 1
                if states == 2:
                    assert json.loads(message.payload)["session"] == "OFF"
                    break
                await client.publish("satmeter/socket/session/set", "ON")
        await ended([running])

    asyncio.run(asyncio.wait_for(act(), 30))


def test_a_command_of_before_ends_nobodys_session(broker):
    """A switch whose commands are retained: a broker says the last one again, whenever it is asked."""

    async def act():
        node = Node()
        fields = Fields("homeassistant", {**broker.fields, "every_s": 600})
        async with broker.client() as client:
            await client.publish("satmeter/socket/session/set", "OFF", qos=1, retain=True)
            await client.subscribe("satmeter/socket")
            running = asyncio.create_task(Discovery(fields, ("socket",), node).run())
            async for message in client.messages:
                assert json.loads(message.payload)["session"] == "ON"
                break
            await asyncio.sleep(0.5)  # what it would do follows at once
            assert not node.closed.is_set()
            while not node.closed.is_set():  # on a busy machine the connection may just come back
                await client.publish("satmeter/socket/session/set", "OFF", qos=1)
                with suppress(TimeoutError):
                    await asyncio.wait_for(node.closed.wait(), 2)
            await client.publish("satmeter/socket/session/set", b"", retain=True)
        await ended([running])

    asyncio.run(asyncio.wait_for(act(), 30))
