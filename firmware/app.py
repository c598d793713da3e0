"""The board: counts, switches and shows, and decides nothing about money.

step() is called as often as the loop can; it does at most one thing of each kind and never waits. The one rule that
holds whether a host is there or not: the relay is on only while something is plugged in and the register is under
the grant of this boot. Without a grant nothing is delivered.
"""

import binascii

import link

import lamp
from counter import TICK, Counter

FIRMWARE = "0.1.0"
SAMPLE_MS = 20
REPORT_MS = 250
LINES = 4


class App:
    def __init__(self, hal, config, base=0):  # type: ignore[no-untyped-def]
        """config: key (hex), board (its id), full_scale (ticks an hour), dead_zone, display."""
        self.hal = hal
        self.config = config
        self.boot = binascii.hexlify(hal.random(4)).decode()
        self.counter = Counter(config["full_scale"], config.get("dead_zone", 600), base)
        self.link = link.Link(link.BOARD, binascii.unhexlify(config["key"]))
        self.grant = 0
        self.lamp = "off"
        self.lines = [""] * LINES
        self.refused = 0
        self.relay = False
        self._reported = None
        self._report_at = 0
        self._sample_at = hal.now_ms()
        self._sample_us = hal.now_us()
        self._out = b""
        self._plugged = False
        self._switch()
        self._hello("", "")

    def step(self) -> None:
        """Do what is due now."""
        now = self.hal.now_ms()
        due = now - self._sample_at >= SAMPLE_MS or self.hal.plugged() != self._plugged
        if due or (self._near() and now != self._sample_at):
            self._sample_at = now
            self._sample()
        self._receive()
        self._report(now)
        self._transmit(now)
        self.hal.lamp(lamp.lit(self.lamp, now))

    def off(self) -> None:
        """Whatever ends the program: nothing flows."""
        self.relay = False
        self.hal.relay(False)

    def _sample(self) -> None:
        now_us = self.hal.now_us()
        dt_us, self._sample_us = now_us - self._sample_us, now_us
        self.counter.sample(self.hal.flow(), not self.relay, dt_us)
        self._switch()

    def _near(self) -> bool:
        """Whether the grant may be reached within the next sample: then look as often as the loop can."""
        return self.relay and (self.grant - self.counter.register) * TICK <= self.counter.full_scale * SAMPLE_MS * 1000

    def _switch(self) -> None:
        self._plugged = self.hal.plugged()
        if not self._plugged:
            self.grant = 0  # what comes next has to be granted anew: the session may end before it is plugged in
        self.relay = self._plugged and self.counter.register < self.grant
        self.hal.relay(self.relay)

    def _receive(self) -> None:
        data = self.hal.read()
        if not data:
            return
        for frame in self.link.feed(data):
            self._take(frame)

    def _take(self, frame) -> None:  # type: ignore[no-untyped-def]
        kind = frame["k"]
        if kind == "ask":
            self._hello(frame["nonce"], binascii.hexlify(self.hal.random(6)).decode())
            return
        if frame.get("boot") != self.boot:
            self.refused += 1  # a grant for another boot would be free delivery
            return
        if kind == "grant":
            self._sample()  # up to now the old grant held
            self.grant = int(frame["register"])
            self._switch()
        elif kind == "lamp":
            self.lamp = frame["lamp"]
        elif kind == "page":
            self._page(int(frame["n"]), frame["text"])

    def _page(self, n: int, text: str) -> None:
        if 0 <= n < LINES and self.lines[n] != text:
            self.lines[n] = text
            self.hal.show(self.lines)

    def _hello(self, nonce: str, sid: str) -> None:
        self.link.answer(
            nonce[:16],
            sid,
            proto=link.PROTOCOL,
            fw=FIRMWARE,
            board=self.config["board"][:16],
            boot=self.boot,
            base=self.counter.base,
            register=self.counter.register,
            display=self.config.get("display", "none")[:8],
        )
        self._reported = None

    def _report(self, now: int) -> None:
        """Say the register regularly, and at once when plug, relay or grant have changed."""
        if not self.link.sid:
            return
        state = (self._plugged, self.relay, self.grant)
        if state == self._reported and now - self._report_at < REPORT_MS:
            return
        self._reported, self._report_at = state, now
        self.link.send(
            "reading",
            boot=self.boot,
            register=self.counter.register,
            grant=self.grant,
            flow=self.counter.flow,
            plugged=int(state[0]),
            uptime=now,
            fault=self.hal.fault()[:16],
        )

    def _transmit(self, now: int) -> None:
        """Write what the host takes. A frame is fetched only when the last one is out, so at most one is between."""
        if not self._out:
            self._out = self.link.pull(now)
        if self._out:
            self._out = self._out[self.hal.write(self._out) :]
