"""Plugs of TP-Link through python-kasa: a Kasa over TCP, and a Tapo by what it answers."""

import asyncio
from decimal import Decimal

import pytest
from kasa import AuthenticationError, DeviceConfig
from kasa.protocols import SmartProtocol
from kasa.smart import SmartDevice

from kasa_plug import KasaPlug, TapoPlug
from satmeter.core.errors import BadParam
from satmeter.device.boundary import DeviceTrouble
from satmeter.device.fields import Fields
from satmeter.device.kasa import Kasa


def tried(plug, act, **more):
    async def whole():
        async with plug.served() as host:
            made = Kasa(Fields("device", {"host": host, **more}))
            try:
                await act(made)
            finally:
                await made.close()

    asyncio.run(whole())


@pytest.mark.parametrize("v1", [False, True])
def test_it_counts_in_watt_hours_and_switches(v1):
    plug = KasaPlug(v1=v1)

    async def act(made):
        assert (await made.read()).value == 1_000
        await made.allow()
        await made.allow()
        assert plug.on
        plug.energy, plug.power = 1_234, 60.0
        count = await made.read()
        assert (count.value, count.power) == (1_234, 60)
        await made.cut()
        assert not plug.on

    tried(plug, act)


def test_a_plug_that_does_not_switch_or_measure_is_said():
    async def stubborn(made):
        plug.on = True
        with pytest.raises(DeviceTrouble, match="still on"):
            await made.cut()

    async def bare(made):
        with pytest.raises(DeviceTrouble, match="measures no energy"):
            await made.read()

    plug = KasaPlug(stubborn=True)
    tried(plug, stubborn)
    tried(KasaPlug(metered=False), bare)


def test_one_that_is_not_there_or_has_no_such_outlet_is_said():
    async def act():
        with pytest.raises(DeviceTrouble, match="is it on, and is that its address"):
            await Kasa(Fields("device", {"host": "127.0.0.1:1"})).read()

    async def outlet(made):
        with pytest.raises(DeviceTrouble, match="has 0 outlets, and no 3"):
            await made.read()

    asyncio.run(act())
    tried(KasaPlug(), outlet, outlet=3)
    with pytest.raises(BadParam, match="must be HOST"):
        Kasa(Fields("device", {"host": "a/b"}))


@pytest.fixture
def tapo(monkeypatch):
    transport = TapoPlug(DeviceConfig("127.0.0.1"))

    async def found(host, port, known):
        if known is None:
            raise AuthenticationError("no credentials")
        return SmartDevice(host, protocol=SmartProtocol(transport=transport))

    monkeypatch.setattr("satmeter.device.kasa.found", found)
    return transport


def test_a_tapo_counts_by_days(tapo):
    made = Kasa(Fields("device", {"host": "h", "user": "u", "password": "p"}))

    async def act():
        first = await made.read()
        assert (first.value, first.power, first.epoch) == (1_000, Decimal("60.0"), "2026-01-31")
        await made.allow()
        assert tapo.on
        await made.cut()
        assert not tapo.on
        tapo.day, tapo.today = "2026-02-01", 3
        second = await made.read()
        assert (second.value, second.epoch) == (3, "2026-02-01")

    asyncio.run(act())


def test_a_tapo_without_its_account_is_said(tapo):
    with pytest.raises(DeviceTrouble, match="wants user and password"):
        asyncio.run(Kasa(Fields("device", {"host": "h"})).read())
