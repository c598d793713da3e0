"""The hardware of a board, behind the few calls that app.py makes. MicroPython only.

The host's virtual board has the same calls (host/satmeter/board/virtual.py).
"""

import os
import select
import sys
import time

import machine

import chip
from inputs import Pulses

READS = 8  # of the ADC, averaged into a sample
WRITTEN, READ = 64, 64  # bytes in one go; a byte read takes 50 microseconds


class Hal:
    """The pins, the clock, the random source and the serial line of a real board.

    Where the config is not good no pin is set up: there is no relay, no LED and no display."""

    def __init__(self, config, good=True):  # type: ignore[no-untyped-def]
        """config: as settings.filled() returns it; where it is not `good`, only what can do no harm is set up."""
        self._us, self._ticks = 0, time.ticks_us()
        self._pulses = None
        self._poll = select.poll()
        self._poll.register(sys.stdin, select.POLLIN)
        self._poll_out = select.poll()
        self._poll_out.register(sys.stdout, select.POLLOUT)
        self._readinto = sys.stdin.buffer.readinto
        self._piece = memoryview(bytearray(READ))
        self._bytes = [self._piece[n : n + 1] for n in range(READ)]
        self._relay = self._led = self._pot = self._plug = self._button = None
        self.display = None
        if good:
            self._pins(config, config["pins"])

    def _pins(self, config, pins) -> None:  # type: ignore[no-untyped-def]
        self._relay_on = pins["relay_on"]
        self._relay = machine.Pin(pins["relay"], machine.Pin.OUT, value=1 - self._relay_on)
        self.display = _display(config["display"], pins)
        # A display's bus takes a default pin that nobody named (micropython#16912): all pins of ours come after it.
        self._relay = machine.Pin(pins["relay"], machine.Pin.OUT, value=1 - self._relay_on)
        self._led = machine.Pin(pins["led"], machine.Pin.OUT, value=0)
        self._pot = machine.ADC(machine.Pin(pins["pot"]))
        self._plug_on = pins["plug_on"]
        self._plug = _input(pins["plug"])
        self._button = _input(pins["button"])
        pulse = _input(pins["pulse"])
        if pulse is not None:
            self._pulses = Pulses(config["pulse_debounce_ms"] * 1000, time.ticks_diff)
            how = {"hard": True} if sys.platform == "rp2" else {}  # others know only one kind
            pulse.irq(self._pulse, machine.Pin.IRQ_FALLING | machine.Pin.IRQ_RISING, **how)
        if sys.platform == "rp2" and config["mcu"] != "pico-w":
            machine.Pin(23, machine.Pin.OUT, value=1)  # quietens the ADC's supply

    def _pulse(self, pin) -> None:  # type: ignore[no-untyped-def]
        """In an interrupt, where nothing may allocate."""
        self._pulses.edge(pin.value(), time.ticks_us())

    def pulses(self):  # type: ignore[no-untyped-def]
        """Return how many pulses came since the last call, and how many may have come that were too short."""
        p = self._pulses
        if p is None:
            return 0, 0
        state = machine.disable_irq()
        p.settle(time.ticks_us())
        n, lost = p.count, p.lost
        p.count = p.lost = 0
        machine.enable_irq(state)
        return n, lost

    def now_us(self) -> int:
        """Microseconds since the start; ticks_us() wraps after 18 minutes, this does not if called more often."""
        ticks = time.ticks_us()
        self._us += time.ticks_diff(ticks, self._ticks)
        self._ticks = ticks
        return self._us

    def now_ms(self) -> int:
        """Returns the milliseconds since the start; they do not wrap (see now_us())."""
        return self.now_us() // 1000

    def identity(self) -> bytes:
        """Returns the unique id of the chip, from machine.unique_id()."""
        return machine.unique_id()

    def random(self, n: int) -> bytes:
        """Returns n random bytes from os.urandom()."""
        return os.urandom(n)

    def flow(self) -> int:
        """Returns the potentiometer's raw reading (0 to 65,535), a mean of 8; 0 without pins."""
        if self._pot is None:
            return 0
        return sum(self._pot.read_u16() for _ in range(READS)) // READS

    def plugged(self) -> bool:
        """Returns whether something is plugged in, not debounced; always True without a plug pin."""
        return self._plug is None or self._plug.value() == self._plug_on

    def button(self) -> bool:
        """Whether the button is held: it closes to ground."""
        return self._button is not None and not self._button.value()

    def relay(self, on: bool) -> None:
        """Closes the relay (on) or opens it, by the level `relay_on` of the config.

        Does nothing where no pin is set up."""
        if self._relay is not None:
            self._relay.value(self._relay_on if on else 1 - self._relay_on)

    def lamp(self, on: bool) -> None:
        """Switches the LED on or off; does nothing where no pin is set up."""
        if self._led is not None:
            self._led.value(1 if on else 0)

    def keep(self, register: int) -> None:
        """Keeps the register (ticks) over a reset, but not over a power cut; see chip.keep()."""
        chip.keep(register)

    def read(self) -> bytes:
        """Return what has come in, a piece at most, without waiting."""
        n = 0
        while n < READ and self._poll.poll(0):
            self._readinto(self._bytes[n])
            n += 1
        return bytes(self._piece[:n])

    def write(self, data: bytes) -> int:
        """Write a small piece where the host takes it; return how much. Never waits for a host that does not read."""
        if not self._poll_out.poll(0):
            return 0
        return sys.stdout.buffer.write(data[:WRITTEN]) or 0


def _input(pin):  # type: ignore[no-untyped-def]
    return None if pin == -1 else machine.Pin(pin, machine.Pin.IN, machine.Pin.PULL_UP)


def _display(d, pins):  # type: ignore[no-untyped-def]
    """Return the display's driver; imported only where it is used, since memory is scarce."""
    kind = d["type"]
    if kind == "none":
        return None
    if kind == "st7789":
        from st7789 import St7789

        def out(pin, value):  # type: ignore[no-untyped-def]
            return None if pin == -1 else machine.Pin(pin, machine.Pin.OUT, value=value)

        bus = pins["sck"] // 8 % 2 if sys.platform == "rp2" else 1
        spi = machine.SPI(bus, baudrate=d["hz"], sck=machine.Pin(pins["sck"]), mosi=machine.Pin(pins["mosi"]))
        ends = out(pins["cs"], 1), out(pins["dc"], 0), out(pins["reset"], 1), out(pins["light"], 0)
        return St7789(spi, ends[0], ends[1], ends[2], ends[3], d["rotation"], d["offset"])
    from oled import Oled

    bus = pins["sda"] // 2 % 2 if sys.platform == "rp2" else 0
    i2c = machine.I2C(bus, sda=machine.Pin(pins["sda"]), scl=machine.Pin(pins["scl"]), freq=d["hz"])
    return Oled(i2c, kind, d["address"], d["rotation"], d["offset"], d["contrast"])
