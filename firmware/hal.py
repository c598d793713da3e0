"""The hardware of a Raspberry Pi Pico, behind the few calls that app.py makes. MicroPython only.

The host's virtual board has the same calls (host/satmeter/board/virtual.py).
"""

import os
import select
import sys
import time

import machine


class Hal:
    def __init__(self, pins):  # type: ignore[no-untyped-def]
        """pins: pot (ADC pin), led, relay, plug (-1: nothing senses a plug), relay_on (level that closes it)."""
        self._us, self._ticks = 0, time.ticks_us()
        self._pot = machine.ADC(pins["pot"])
        self._led = machine.Pin(pins["led"], machine.Pin.OUT, value=0)
        self._relay_on = pins.get("relay_on", 1)
        self._relay = machine.Pin(pins["relay"], machine.Pin.OUT, value=1 - self._relay_on)
        plug = pins.get("plug", -1)
        self._plug = machine.Pin(plug, machine.Pin.IN, machine.Pin.PULL_UP) if plug >= 0 else None
        machine.Pin(23, machine.Pin.OUT, value=1)  # quietens the ADC's supply
        self._poll = select.poll()
        self._poll.register(sys.stdin, select.POLLIN)
        self._poll_out = select.poll()
        self._poll_out.register(sys.stdout, select.POLLOUT)

    def now_us(self) -> int:
        """Microseconds since power-up; ticks_us() wraps after 18 minutes, this does not if called more often."""
        ticks = time.ticks_us()
        self._us += time.ticks_diff(ticks, self._ticks)
        self._ticks = ticks
        return self._us

    def now_ms(self) -> int:
        return self.now_us() // 1000

    def random(self, n: int) -> bytes:
        return os.urandom(n)

    def flow(self) -> int:
        return self._pot.read_u16()

    def plugged(self) -> bool:
        return self._plug is None or not self._plug.value()

    def relay(self, on: bool) -> None:
        self._relay.value(self._relay_on if on else 1 - self._relay_on)

    def lamp(self, on: bool) -> None:
        self._led.value(1 if on else 0)

    def show(self, lines) -> None:  # type: ignore[no-untyped-def]
        pass  # displays come with their drivers

    def fault(self) -> str:
        return ""

    def read(self) -> bytes:
        """Return what has come in, without waiting."""
        data = b""
        while len(data) < 256 and self._poll.poll(0):
            data += sys.stdin.buffer.read(1)
        return data

    def write(self, data: bytes) -> int:
        """Write a small piece where the host takes it; return how much. Never waits for a host that does not read."""
        if not self._poll_out.poll(0):
            return 0
        return sys.stdout.buffer.write(data[:32]) or 0
