"""Pins of a Raspberry Pi, by gpiozero's own mock of them."""

import asyncio

import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory

from satmeter.core.errors import BadParam
from satmeter.device.boundary import DeviceTrouble
from satmeter.device.fields import Fields
from satmeter.device.gpio import Gpio


@pytest.fixture
def pins():
    before, Device.pin_factory = Device.pin_factory, MockFactory()
    yield Device.pin_factory
    Device.pin_factory.reset()
    Device.pin_factory = before


def made(**fields):
    return Gpio(Fields("device", {"bounce_ms": 0, **fields}))


def pulse(pins, number, times):
    pin = pins.pin(number)
    for _ in range(times):
        pin.drive_low()
        pin.drive_high()


def test_it_counts_pulses_and_switches_a_relay(pins):
    gpio = made(pulse_pin=17, relay_pin=27, plug_pin=22)
    pins.pin(22).drive_low()
    pulse(pins, 17, 5)
    count = asyncio.run(gpio.read())
    assert (int(count.value), count.plugged) == (5, True)
    asyncio.run(gpio.allow())
    assert pins.pin(27).state
    asyncio.run(gpio.cut())
    assert not pins.pin(27).state
    pins.pin(22).drive_high()
    assert not asyncio.run(gpio.read()).plugged
    asyncio.run(gpio.close())


def test_a_relay_that_a_low_level_closes_is_open_at_first(pins):
    gpio = made(relay_pin=27, relay_on=0)
    assert pins.pin(27).state  # high: open
    asyncio.run(gpio.allow())
    assert not pins.pin(27).state
    asyncio.run(gpio.close())


def test_each_start_is_an_epoch_of_its_own(pins):
    first = made(pulse_pin=17)
    epoch = asyncio.run(first.read()).epoch
    asyncio.run(first.close())
    again = made(pulse_pin=17)
    assert asyncio.run(again.read()).epoch != epoch
    asyncio.run(again.close())


def test_what_it_lacks_is_said(pins):
    with pytest.raises(DeviceTrouble, match="pulse_pin"):
        asyncio.run(made(relay_pin=27).read())
    with pytest.raises(DeviceTrouble, match="relay_pin"):
        asyncio.run(made(pulse_pin=17).allow())


def test_a_pin_that_is_taken_is_said(pins):
    first = made(relay_pin=27)
    with pytest.raises(BadParam, match="gpio: "):
        made(pulse_pin=27)
    asyncio.run(first.close())
