"""A Shelly over HTTP: what its RPC answers here is what the second generation answers, password and all."""

import asyncio

import pytest

from satmeter.core.errors import BadParam
from satmeter.device.boundary import DeviceTrouble
from satmeter.device.config import device
from satmeter.device.fields import Fields
from satmeter.device.shelly import Shelly
from satmeter.devnet.devices.shelly import Plug


@pytest.fixture
def plug():
    made = Plug()
    yield made
    made.close()


def shelly(plug, **more):
    return Shelly(Fields("device", {"host": plug.host, **more}))


def run(act):
    return asyncio.run(act())


def test_it_counts_switches_and_goes_off_by_itself(plug):
    async def act():
        made = shelly(plug, dead_man_s=2)
        before = await made.read()
        plug.energy, plug.power = 1_000.25, 60.5
        after = await made.read()
        assert (after.value - before.value, str(after.power)) == (after.value - 1_000, "60.5")
        await made.allow()
        assert plug.on
        await made.cut()
        assert not plug.on
        await made.allow()
        await asyncio.sleep(2.1)  # its own clock, which is what is tried here
        assert not plug.on
        await made.close()

    run(act)


def test_with_its_password_and_not_with_another():
    plug = Plug(password="secret")
    try:

        async def act():
            assert (await shelly(plug, password="secret").read()).value == 1_000
            for wrong in ({}, {"password": "other"}):
                with pytest.raises(DeviceTrouble, match="wants a password"):
                    await shelly(plug, **wrong).read()

        run(act)
    finally:
        plug.close()


@pytest.mark.parametrize(
    ("change", "more", "words"),
    [
        ({"metered": False}, {}, "with power metering"),
        ({"info": {"type": "SHPLG-S"}}, {}, "second generation"),
        ({}, {"id": "shellyplusplugs-other"}, "has its address changed"),
        ({}, {"channel": 3}, "answered 404"),
        ({"energy": "lots"}, {}, "counts 'lots'"),
    ],
)
def test_what_is_not_as_it_should_be_is_said(plug, change, more, words):
    for name, value in change.items():
        setattr(plug, name, value)

    async def act():
        with pytest.raises(DeviceTrouble, match=words):
            await shelly(plug, **more).read()

    run(act)


def test_one_that_is_not_there_is_said(plug):
    plug.close()

    async def act():
        with pytest.raises(DeviceTrouble, match="is it on, and is that its address"):
            await shelly(plug).read()

    run(act)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "shelly"}, "host: is missing"),
        ({"kind": "shelly", "host": 7}, "host: must be a text"),
        ({"kind": "shelly", "host": "h", "dead_man_s": 1}, "from 2 to 60"),
        ({"kind": "shelly", "host": "h", "pasword": "x"}, "pasword: is no field"),
        ({"kind": "toaster"}, "there is no 'toaster'"),
        ({}, "kind: is missing"),
    ],
)
def test_a_config_names_what_is_wrong(values, words):
    with pytest.raises(BadParam, match=words):
        device("meter socket.device", values)


def test_a_valve_that_is_another_device_is_not_switched(plug):
    async def act():
        await shelly(plug).allow()
        made = shelly(plug, id="shellyplus1pm-another")
        for what in (made.allow, made.cut):
            with pytest.raises(DeviceTrouble, match="has its address changed"):
                await what()
        assert plug.on

    run(act)


@pytest.mark.parametrize("host", ["[::1", "192.168.1.20:99999", "", "a/b", "user@host", "host:0"])
def test_a_host_that_is_none_is_refused_in_words(host):
    with pytest.raises(BadParam, match="host"):
        Shelly(Fields("device", {"host": host}))
