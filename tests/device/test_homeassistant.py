"""Entities of Home Assistant through its REST API, as a server of ours answers for it."""

import asyncio

import pytest
from home import TOKEN
from home import home as home

from satmeter.core.errors import BadParam
from satmeter.device.boundary import DeviceTrouble
from satmeter.device.fields import Fields
from satmeter.device.homeassistant import HomeAssistant


def tried(home, act, **more):
    given = {"url": home.url, "token": TOKEN, "count": "sensor.plug", "power": "sensor.power", "switch": "switch.plug"}

    async def whole():
        made = HomeAssistant(Fields("device", {**given, **more}))
        try:
            await act(made)
        finally:
            await made.close()

    asyncio.run(whole())


def trouble(home, words, what="read", **more):
    async def act(made):
        with pytest.raises(DeviceTrouble, match=words):
            await getattr(made, what)()

    tried(home, act, **more)


def test_it_counts_in_watt_hours_whatever_the_unit_and_switches(home):
    async def act(made):
        count = await made.read()
        assert (count.value, count.power) == (1_500, 60)
        home.states["sensor.plug"] = ("1600", "Wh", 8)
        count = await made.read()
        assert count.value == 1_600 and 7 <= count.age_s <= 9
        await made.allow()
        assert home.states["switch.plug"][0] == "on"
        await made.cut()
        assert home.states["switch.plug"][0] == "off"

    tried(home, act)


def test_what_is_no_count_is_said(home):
    for state, words in (("unavailable", "is unavailable"), ("unknown", "is unavailable"), ("lots", "and no number")):
        home.states["sensor.plug"] = (state, "kWh", 0)
        trouble(home, words)
    home.states["sensor.plug"] = ("2", "kWh", 40)
    trouble(home, "was not renewed for (39|40) s")
    trouble(home, "Home Assistant has none of this name", count="sensor.other")
    trouble(home, "counts nothing", count="")
    home.broken = True
    trouble(home, "is no Home Assistant")


def test_another_unit_is_said(home):
    async def act(made):
        home.states["sensor.plug"] = ("5", "L", 0)
        assert (await made.read()).value == 5
        home.states["sensor.plug"] = ("5", "m³", 0)
        with pytest.raises(DeviceTrouble, match="counts in m³, and before in L"):
            await made.read()

    tried(home, act)


def test_a_switch_that_stays_and_a_token_of_another_are_said(home, monkeypatch):
    monkeypatch.setattr("satmeter.device.homeassistant.SWITCH_S", 0.3)
    home.states["switch.plug"], home.stubborn = ("on", "", 0), True
    trouble(home, "is still on, and was turned off", "cut")
    trouble(home, "switches nothing", "allow", switch="")
    trouble(home, "wants another token", token="another")
    trouble(home, "does it run", url="http://127.0.0.1:1")
    with pytest.raises(BadParam, match="in ASCII"):
        HomeAssistant(Fields("device", {"url": home.url, "token": "t\u00f6ken"}))
    for wrong in ("127.0.0.1:8123", "ftp://h", "http://"):
        with pytest.raises(BadParam, match="must be http"):
            HomeAssistant(Fields("device", {"url": wrong, "token": TOKEN}))


def test_a_unit_that_is_not_known_is_refused_and_not_taken_for_another(home):
    home.states["sensor.plug"] = ("12.5", "GWh", 0)
    trouble(home, "is in GWh, and Wh, kWh, MWh are known")
    home.states["sensor.plug"] = ("12.5", "kWh", 0)
    home.states["sensor.power"] = ("60", "mW", 0)
    trouble(home, "is in mW")


def test_a_state_that_does_not_say_when_it_was_renewed_is_not_believed(home):
    """Before 2024.8 there is no last_reported: a sensor whose integration died would count on for ever."""
    home.reports = False
    trouble(home, "Home Assistant 2024.8 or later")
