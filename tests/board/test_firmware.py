"""The board's logic on the host, with a hal whose clock and potentiometer the test moves."""

import itertools
import random

import pytest

from satmeter.board.virtual import HostHal, VirtualBoard, firmware
from satmeter.wire.link import HOST, Link

KEY = bytes(range(32))
CONFIG = {"key": KEY.hex(), "board": "b1", "full_scale": 3_600_000, "plug_debounce_ms": 0}  # a thousand ticks a second


class Hal(HostHal):
    def __init__(self, display=None):
        super().__init__(display)
        self.us, self.host_reads = 0, True
        self.incoming, self.outgoing = b"", b""
        self.rng = random.Random(1)

    def now_us(self):
        return self.us

    def random(self, n):
        return bytes(self.rng.randrange(256) for _ in range(n))

    def read(self):
        data, self.incoming = self.incoming, b""
        return data

    def write(self, data):
        if not self.host_reads:
            return 0
        self.outgoing += data[:32]
        return len(data[:32])


class Bench:
    """A board, and a host's end of its line."""

    def __init__(self, **config):
        self.hal = Hal()
        self.app = firmware("app").App(self.hal, {**CONFIG, **config})
        self.host = Link(HOST, KEY)
        self.frames = []
        self.meeting = False

    def run(self, ms, step_us=1000):
        for _ in range(ms * 1000 // step_us):
            self.hal.us += step_us
            self.app.step()
            if self.hal.host_reads:
                data, self.hal.outgoing = self.hal.outgoing, b""
                self.frames += self.host.feed(data)
                if self.meeting and not self.host.nonce:
                    self.host.ask(f"aa{self.hal.us}")
                self.hal.incoming += self.host.pull(self.hal.now_ms())

    def meet(self):
        self.meeting = True
        self.run(1000)
        assert self.host.trusted

    def grant(self, register, boot=None):
        self.host.send("grant", boot=boot or self.app.boot, register=register)
        self.run(100)


def test_a_host_that_only_acknowledges_is_there_and_one_that_is_silent_is_not():
    b = Bench()
    b.run(1000)
    assert not b.app.heard
    b.meet()
    b.run(15_000)
    assert b.app.heard
    b.host.pull = lambda now_ms: b""
    b.run(15_000)
    assert not b.app.heard


def test_no_grant_after_boot_delivers_nothing():
    b = Bench()
    b.hal.percent = 100
    b.run(2000)
    assert not b.hal.relay_on and b.app.counter.register == 0


@pytest.mark.parametrize("percent", [1, 10, 50, 77, 100])
def test_the_register_is_the_integral_of_the_flow(percent):
    b = Bench(dead_zone=0)
    b.meet()
    b.grant(10**9)
    start, b.hal.percent = b.app.counter.register, percent
    b.run(60_000, step_us=5_000)
    expected = 60 * 1000 * (percent * 65535 // 100) / 65535
    assert abs(b.app.counter.register - start - expected) <= max(2, expected * 0.005)


def test_noise_and_uneven_samples_lose_no_count():
    b = Bench(dead_zone=0)
    b.meet()
    b.grant(10**9)
    rng, start, expected = random.Random(7), b.app.counter.register, 0.0
    for _ in range(3000):
        b.hal.percent = 50 + rng.randrange(-5, 6)
        step = rng.randrange(20_000, 60_000)
        expected += step * 1000 * (b.hal.percent * 65535 // 100) / 65535 / 1_000_000
        b.hal.us += step
        b.app.step()
    assert abs(b.app.counter.register - start - expected) <= expected * 0.005


def test_it_cuts_at_the_grant_whether_the_host_is_there_or_not():
    for present in (True, False):
        b = Bench()
        b.meet()
        b.hal.percent = 100
        b.grant(500)
        b.hal.host_reads = present
        b.run(3000)
        assert not b.hal.relay_on and 500 <= b.app.counter.register <= 502


def test_with_a_grant_left_it_goes_on_while_the_host_is_away():
    b = Bench()
    b.meet()
    b.hal.percent = 50
    b.grant(5000)
    b.hal.host_reads = False
    b.run(3000)
    assert b.hal.relay_on and b.app.counter.register > 1400


def test_a_grant_for_another_boot_is_refused():
    b = Bench()
    b.meet()
    b.grant(500, boot="00000000")
    assert b.app.grant == 0 and b.app.refused == 1 and not b.hal.relay_on


def test_a_grant_without_the_key_is_refused():
    b = Bench()
    b.meet()
    thief = Link(HOST, bytes(32))
    thief.sid = b.host.sid
    thief.send("grant", boot=b.app.boot, register=500)
    b.hal.incoming += thief.pull(b.hal.now_ms())
    b.run(100)
    assert b.app.grant == 0 and b.app.link.bad == 1


def test_a_lower_grant_cuts_at_once():
    b = Bench()
    b.meet()
    b.hal.percent = 10
    b.grant(5000)
    b.run(1000)
    b.grant(0)
    assert not b.hal.relay_on


def test_unplugged_nothing_flows_and_the_host_is_told_at_once():
    b = Bench()
    b.meet()
    b.hal.percent = 100
    b.grant(5000)
    b.frames.clear()
    b.hal.is_plugged = False
    b.run(100)
    register = b.app.counter.register
    b.run(1000)
    assert not b.hal.relay_on and b.app.counter.register == register
    first = next(f for f in b.frames if f["k"] == "reading" and not f["plugged"])
    assert first["register"] == register  # the reading that ends the session has all that flowed before


def test_switching_on_counts_nothing_from_before():
    b = Bench()
    b.meet()
    b.hal.percent = 100
    total = 0
    for _ in range(50):
        b.host.send("grant", boot=b.app.boot, register=b.app.counter.register + 10)
        b.run(200)
        total += 10
    assert total <= b.app.counter.register <= total + 50  # a tick over at each cut, at most


@pytest.mark.parametrize(("mode", "changes"), [("off", 0), ("on", 0), ("slow", 4), ("fast", 20)])
def test_the_lamp(mode, changes):
    lit = firmware("lamp").lit
    seen = [lit(mode, ms) for ms in range(0, 2000, 10)]
    assert sum(a != b for a, b in itertools.pairwise(seen)) in (changes, changes - 1)
    assert seen[0] == (mode != "off")


def test_with_its_grant_used_up_and_a_silent_host_it_is_not_lit():
    b = Bench()
    b.meet()
    b.hal.percent = 0
    b.host.send("lamp", boot=b.app.boot, lamp="on")
    b.grant(b.app.counter.register + 20)
    assert b.app.relay and b.hal.lamp_on
    b.hal.host_reads, b.hal.percent = False, 100
    lit = []
    for _ in range(300):
        b.run(20)
        lit.append(b.hal.lamp_on)
    assert not b.app.relay and "off: used up" in firmware("pages").state(b.app)
    assert not all(lit[-100:]) and any(lit[-100:])  # it asks for payment, as slowly as that is shown


def test_a_virtual_board_tells_what_its_led_shows():
    """The host's word for the lamp is one thing, the relay another: a page shows what a person would see."""
    board = VirtualBoard(bytes(32))
    try:
        board.app.lamp = "on"  # as its host said, and the grant is used up
        assert not board.flowing and board.lamp == "slow"
        board.app.lamp = "fast"
        assert board.lamp == "fast"
    finally:
        board.close()


def test_pages_lamp_and_readings():
    b = Bench()
    b.meet()
    b.host.send("lamp", boot=b.app.boot, lamp="fast")
    b.host.send("page", key="0", boot=b.app.boot, n=0, text="socket")
    b.host.send("page", key="9", boot=b.app.boot, n=9, text="beyond")
    b.run(500)
    assert b.app.lamp == "fast" and b.app.lines[0] == "socket" and len(b.app.lines) == 4
    b.frames.clear()
    b.run(10_000)
    assert 35 <= len([f for f in b.frames if f["k"] == "reading"]) <= 45  # four a second


def test_many_pulses_that_are_too_short_are_a_fault_and_one_is_none():
    b = Bench(source="pulses", full_scale=3600, pins={"pulse": 6})
    b.hal.lost = 1
    b.run(20_000)
    b.hal.lost = 4
    b.run(1_000)
    assert b.app.fault() == ""
    b.hal.lost = 1
    b.run(1_000)
    assert b.app.fault() == "pulses too short"
    b.run(61_000)
    assert b.app.fault() == ""


@pytest.mark.parametrize("values", [{"register": "many"}, {"register": ""}])
def test_a_grant_that_is_no_number_is_refused_and_the_board_goes_on(values):
    b = Bench()
    b.meet()
    b.run(100)
    b.host.send("grant", boot=b.app.boot, **values)
    b.run(200)
    assert b.app.grant == 0 and b.app.refused == 1 and not b.hal.relay_on
    b.host.send("grant", boot=b.app.boot, register=5)
    b.run(200)
    assert b.app.grant == 5


@pytest.mark.parametrize("kind", ["maintain", "restart"])
def test_who_asks_it_to_leave_or_restart_needs_the_key(kind):
    b = Bench()
    b.meet()
    b.hal.percent = 100
    b.grant(5000)
    thief = Link(HOST, bytes(32))
    thief.sid = b.host.sid
    thief.send(kind, boot=b.app.boot)
    b.hal.incoming += thief.pull(b.hal.now_ms())
    b.run(100)
    assert not (b.app.leaving or b.app.restarting) and b.hal.relay_on
    b.host.send(kind, boot=b.app.boot)
    b.run(20)
    assert (b.app.leaving, b.app.restarting) == (kind == "maintain", kind == "restart")


def test_off_is_off():
    b = Bench()
    b.meet()
    b.hal.percent = 100
    b.grant(5000)
    assert b.hal.relay_on
    b.app.off()
    assert not b.hal.relay_on


def test_a_host_that_stops_reading_stalls_nothing_and_gets_the_newest_reading():
    b = Bench()
    b.meet()
    b.hal.percent = 50
    b.grant(10**6)
    b.hal.host_reads = False
    b.run(10_000)
    counted = b.app.counter.register
    assert counted > 4900 and len(b.app.link._waiting) <= 3
    b.hal.host_reads = True
    b.frames.clear()
    b.run(3_000)
    assert max(f["register"] for f in b.frames if f["k"] == "reading") >= counted
