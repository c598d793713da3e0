"""Pins of a Raspberry Pi without a Pico (gpiozero): pulses of a meter, a relay, a plug's contact.

It counts pulses, from 0 at each start: what comes while the bridge is down is not counted. It has no dead man's switch:
a relay stays as it is when the bridge dies, so wire one that falls off with the Pi, or sell little at once.
"""

import secrets
import threading
from decimal import Decimal

from gpiozero import BadPinFactory, DigitalInputDevice, GPIOZeroError, OutputDevice

from ..core.errors import BadParam
from .boundary import Count, DeviceTrouble
from .fields import Fields

PINS = 27


class Gpio:
    """The pins of one outlet.

    Fields: pulse_pin (0: none), bounce_ms (5), relay_pin (0: none), relay_on (1: a high level closes it), plug_pin (0:
    none; low while something is plugged in), cadence_s (0.5)."""

    latency_s, cut_s, dead_man_s = 0.1, 0.1, 0.0

    def __init__(self, fields: Fields) -> None:
        pulse, relay, plug = (fields.whole(f"{name}_pin", 0, PINS, 0) for name in ("pulse", "relay", "plug"))
        bounce_ms, high = fields.whole("bounce_ms", 0, 1_000, 5), bool(fields.whole("relay_on", 0, 1, 1))
        self.cadence_s = fields.number("cadence_s", 0.1, 60, 0.5)
        self._epoch, self._pulses, self._lock = secrets.token_hex(4), 0, threading.Lock()
        bounce_s = bounce_ms / 1000 or None
        try:
            self._relay = OutputDevice(relay, active_high=high, initial_value=False) if relay else None
            self._plug = DigitalInputDevice(plug, pull_up=True) if plug else None
            self._pulse = DigitalInputDevice(pulse, pull_up=True, bounce_time=bounce_s) if pulse else None
        except (GPIOZeroError, BadPinFactory, OSError) as error:
            why = "is this a Raspberry Pi, and is lgpio or pigpio installed?"
            raise BadParam(f"gpio: {error}: {why}", param="kind") from None
        if self._pulse is not None:
            self._pulse.when_activated = self._counted

    def _counted(self) -> None:
        with self._lock:
            self._pulses += 1

    async def read(self) -> Count:
        """Returns the pulses since the start."""
        if self._pulse is None:
            raise DeviceTrouble("pulse_pin: is missing: nothing is counted")
        plugged = self._plug is None or bool(self._plug.is_active)
        with self._lock:
            return Count(Decimal(self._pulses), None, self._epoch, plugged)

    async def allow(self) -> None:
        """Closes the relay."""
        self._switch().on()

    async def cut(self) -> None:
        """Opens the relay."""
        self._switch().off()

    def _switch(self) -> OutputDevice:
        if self._relay is None:
            raise DeviceTrouble("relay_pin: is missing: nothing is switched")
        return self._relay

    async def close(self) -> None:
        """Opens the relay, and releases the pins."""
        for pin in (self._pulse, self._plug, self._relay):
            if pin is not None:
                pin.close()
