"""The board: counts, switches and shows, and decides nothing about money.

sample(), talk() and show() are called again and again, by the loop in main.py or by step(); none of them waits or takes
more than a few milliseconds. The one rule that holds whether a host is there or not: the relay is on only while
something is plugged in and the register is under the grant of this boot. Without a grant nothing is delivered.
"""

import binascii
import hashlib

import link

import lamp
import settings
from counter import TICK, Counter
from inputs import Debounced, Rail
from pages import Code
from screen import Screen

FIRMWARE = "0.5.0"
SAMPLE_MS = 20
REPORT_MS = 250
LINES = 4
CODES = 2
CODE_MOST = 73  # modules a side: version 14
HEARD_MS = 6000
LEAK_MS = 60000  # how long pulses while the relay is off, or too short to be counted, stay a fault
LOST_MANY, LOST_MS = 5, 10000  # so many pulses that are too short, within so long, are a fault
LISTEN_MOST = 8  # pieces of what the host says, after which we have our say
ROOM = 256  # what fits into the USB port unread; writing more would stall the loop for a second


class App:
    """A board's program: it counts, switches the relay, talks to the host and draws.

    sample(), talk() and show() each do a small piece and never wait."""

    def __init__(self, hal, config, base=0):  # type: ignore[no-untyped-def]
        """config: as in settings.py; base: the register to go on from, where it outlived the reset."""
        self.problems = settings.problems(config)
        if self.problems:
            given = config if isinstance(config, dict) else {}
            config = dict(settings.DEFAULTS)
            for name in ("key", "board"):
                if isinstance(given.get(name), str):
                    config[name] = given[name]
        self.hal = hal
        self.config = config = settings.filled(config)
        self.name = config["board"][:16]
        self.boot = binascii.hexlify(hal.random(4)).decode()
        self.uid = binascii.hexlify(hashlib.sha256(hal.identity()).digest()[:4]).decode()
        self.counter = Counter(config, base)
        self.link = link.Link(link.BOARD, _key(config))
        self.screen = Screen(hal.display)
        self.grant = 0
        self.most = 0
        self.lamp = "off"
        self.lines = [""] * LINES
        self.codes = {}  # those that are whole
        self._coming = {}
        self.refused = 0
        self.relay = False
        self.leaving = False  # for who flashes
        self.restarting = False
        self.version = 0
        self.faults = []
        self.heard = False
        self._plug = Debounced(hal.plugged(), config["plug_debounce_ms"])
        self._button = Debounced(hal.button(), 30)
        self._rail = Rail(config["rail_s"] * 1000)
        self._stuck = False
        self._leak_at = self._short_at = -LEAK_MS
        self._lost, self._lost_from = 0, 0
        self._heard_at = -HEARD_MS
        self._lines_heard = 0
        self.presses = 0
        self._reported = None
        self._report_at = 0
        self._sample_at = hal.now_ms()
        self._sample_us = hal.now_us()
        self._listened = 0
        self._held = b""
        self._out = b""
        self._begun = False
        self._unread = 0
        self._switch()
        self._hello("", "")

    @property
    def register(self) -> int:
        """The register in ticks; it never goes back within one boot."""
        return self.counter.register

    @property
    def flow(self) -> int:
        """The present flow, in ticks an hour."""
        return self.counter.flow

    def step(self) -> None:
        """Do what is due now, a piece of each kind."""
        self.sample()
        for _ in range(4):
            self.talk()
        self.show()

    def off(self) -> None:
        """Whatever ends the program: nothing flows."""
        self.relay = False
        self.hal.relay(False)

    def due_ms(self) -> int:
        """Return in how many milliseconds the next sample is due; at once where the grant may be reached before."""
        return 1 if self._near() else max(0, self._sample_at + SAMPLE_MS - self.hal.now_ms())

    def sample(self) -> None:
        """Read the inputs, count, and cut at the grant."""
        now = self.hal.now_ms()
        was = self._plug.level
        changed = self._plug.update(self.hal.plugged(), now) != was
        if now - self._sample_at >= SAMPLE_MS or changed or (self._near() and now != self._sample_at):
            self._sample_at = now
            self._count()
            self._watch(now)
        self.hal.lamp(lamp.lit(lamp.shown(self.lamp, self.relay), now))

    def talk(self) -> bool:
        """Takes one piece of input from the host, or sends what is due.

        It does one of them in a call, since a frame takes milliseconds in either direction. After 8
        pieces of input in a row it sends. Returns whether there may be more to do."""
        now = self.hal.now_ms()
        self._listened += 1
        if self._listened > LISTEN_MOST or not self._receive(now):
            self._listened = 0
            self._report(now)
            self._transmit(now)
        return self._listened > 0 or bool(self._out and self._begun)

    def show(self) -> bool:
        """Draw a piece; return whether there is more to draw."""
        now = self.hal.now_ms()
        was = self._button.level
        if self._button.update(self.hal.button(), now) and not was:
            self.presses += 1
            self.screen.turn(self, now)
        return self.screen.step(self, now)

    # --- counting

    def _count(self) -> None:
        now_us = self.hal.now_us()
        dt_us, self._sample_us = now_us - self._sample_us, now_us
        if self.config["source"] == "pulses":
            pulses, lost = self.hal.pulses()
            if pulses and not self.relay:
                self._leak_at = self.hal.now_ms()
            if lost:
                self._lose(lost, self.hal.now_ms())
            self.counter.pulses(pulses, dt_us)
        else:
            raw = self.hal.flow()
            self._stuck = self._rail.stuck(raw, self.hal.now_ms())
            self.counter.sample(raw, not self.relay, dt_us)
        self.hal.keep(self.counter.register)
        self._switch()

    def _lose(self, lost: int, now: int) -> None:
        """Pulses that were too short: one is a disturbance, many are a flow that is not counted."""
        if now - self._lost_from > LOST_MS:
            self._lost, self._lost_from = 0, now
        self._lost += lost
        if self._lost >= LOST_MANY:
            self._short_at = now

    def _near(self) -> bool:
        """Whether the grant may be reached within the next sample: then look as often as the loop can."""
        return self.relay and (self.grant - self.counter.register) * TICK <= self.counter.full_scale * SAMPLE_MS * 1000

    def _switch(self) -> None:
        if not self._plug.level:
            self.grant = 0  # what comes next has to be granted anew: the session may end before it is plugged in
        on = self._plug.level and self.counter.register < self.grant and not self.problems
        if on != self.relay:
            self.version += 1
        self.relay = on
        self.hal.relay(on)

    def _watch(self, now: int) -> None:
        """Say in words what is wrong."""
        faults = ["%s %s" % p for p in self.problems[:2]]
        if self._stuck:
            faults.append("adc at its end")
        if now - self._leak_at < LEAK_MS:
            faults.append("pulses while off")
        if now - self._short_at < LEAK_MS:
            faults.insert(len(self.problems[:2]), "pulses too short")
        if self.screen.fault:
            faults.append(self.screen.fault)
        heard = now - self._heard_at < HEARD_MS
        if faults != self.faults or heard != self.heard:
            self.faults, self.heard = faults, heard
            self.version += 1

    def fault(self) -> str:
        """What is wrong in the few letters that a frame has: of a config the field."""
        if self.problems:
            return self.problems[0][0]
        return self.faults[0] if self.faults else ""

    # --- the line

    def _receive(self, now: int) -> bool:
        """Read a piece; where a line ends in it, that is taken at the next call. Returns whether there was anything."""
        data, self._held = self._held, b""
        if not data:
            data = self.hal.read()
            if not data:
                return False
            self._unread = 0
            if b"\n" in data:
                self._held = data
                return True
        for frame in self.link.feed(data):
            try:
                self._take(frame)
            except (KeyError, ValueError, TypeError):
                self.refused += 1  # of who has the key, and of another version
        if self.link.heard != self._lines_heard:  # acks count as well: a host may have nothing new to say for hours
            self._lines_heard = self.link.heard
            self._heard_at = now
        return True

    def _take(self, frame) -> None:  # type: ignore[no-untyped-def]
        kind = frame["k"]
        if kind == "ask":
            self._hello(frame["nonce"], binascii.hexlify(self.hal.random(6)).decode())
            return
        if frame.get("boot") != self.boot:
            self.refused += 1  # a grant for another boot would be free delivery
            return
        if kind == "grant":
            self._count()  # up to now the old grant held
            self.grant = int(frame["register"])
            left = self.grant - self.counter.register
            self.most = max(left, self.most) if left > 0 else 0
            self._switch()
        elif kind == "lamp":
            if frame["lamp"] != self.lamp:
                self.lamp = frame["lamp"]
                self.version += 1
        elif kind == "page":
            self._page(int(frame["n"]), frame["text"])
        elif kind == "code":
            self._code(frame)
        elif kind == "maintain":
            self.leaving = True
            self.off()
        elif kind == "restart":
            self.restarting = True
            self.off()

    def _page(self, n: int, text: str) -> None:
        if 0 <= n < LINES and self.lines[n] != text:
            self.lines[n] = text
            self.version += 1

    def _code(self, frame) -> None:  # type: ignore[no-untyped-def]
        """Take a piece of a code, or take a code off the pages; a piece of nonsense is ignored."""
        try:
            which, n, at = int(frame["id"]), int(frame["n"]), int(frame["at"])
            if n == 0:
                if self.codes.pop(which, None) is not None:
                    self.version += 1
                return
            if not (0 <= which < CODES and 0 < n <= CODE_MOST):
                return
            code = self._coming.get(which)
            if code is None or code.tag != frame["tag"] or code.n != n:
                code = self._coming[which] = Code(n, frame["tag"])
            if code.put(at, binascii.a2b_base64(frame["data"])) and self.codes.get(which) is not code:
                self.codes[which] = code
                self.version += 1
                self.screen.release()
        except (ValueError, TypeError):
            self.refused += 1

    def _hello(self, nonce: str, sid: str) -> None:
        display = self.hal.display
        self.link.answer(
            nonce[:16],
            sid,
            proto=link.PROTOCOL,
            fw=FIRMWARE,
            board=self.name,
            boot=self.boot,
            base=self.counter.base,
            display="none" if display is None else "%dx%d" % (display.width, display.height),
            uid=self.uid,
            fault=self.fault()[:12],  # a reading has it whole
        )
        self._reported = None

    def _report(self, now: int) -> None:
        """Say the register regularly, and at once when plug, relay, grant or button have changed."""
        if not self.link.sid:
            return
        state = (self._plug.level, self.relay, self.grant, self.presses)
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
            fault=self.fault()[:20],
            presses=self.presses,
            position=self.counter.position,
        )

    def _transmit(self, now: int) -> None:
        """Writes as much of the present frame as the host takes.

        A frame is fetched only when the previous one is out. It is begun only where it fits into the
        port (256 bytes) together with all bytes that were written since the host was last heard: a full
        port would stall the loop."""
        if not self._out:
            self._out, self._begun = self.link.pull(now), False
        if self._out and (self._begun or self._unread + len(self._out) <= ROOM):
            sent = self.hal.write(self._out)
            self._begun = self._begun or sent > 0
            self._unread += sent
            self._out = self._out[sent:]


def _key(config) -> bytes:  # type: ignore[no-untyped-def]
    """Return the line's key; where the config has none nobody will believe us, and the display says why."""
    try:
        return binascii.unhexlify(config["key"])[:64]
    except (KeyError, ValueError, TypeError):
        return bytes(32)
