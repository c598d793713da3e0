"""The host's talk with a board, against the board's own firmware: what it let go of is not granted from an old view."""

import pytest

from satmeter.board.virtual import HostHal, firmware
from satmeter.wire.dialogue import Dialogue

KEY = bytes(range(32))
CONFIG = {"key": KEY.hex(), "board": "test", "full_scale": 3600, "dead_zone": 0, "plug_debounce_ms": 0}


class Hal(HostHal):
    def __init__(self):
        super().__init__()
        self.ms = 0
        self.arrived = self.leaving = b""

    def now_us(self):
        return self.ms * 1000

    def read(self):
        data, self.arrived = self.arrived, b""
        return data

    def write(self, data):
        self.leaving += data
        return len(data)


class Line:
    """A board with something plugged in, and a host that told it a grant of 100 ticks."""

    def __init__(self):
        self.hal = Hal()
        self.hal.is_plugged = True
        self.board = firmware("app").App(self.hal, CONFIG, 0)
        self.host = Dialogue(KEY, lambda view, boot: view["grant"] if view["boot"] == boot else None)
        self.pass_ms(2_000)
        self.host.reported(self.host.oldest(), self.view(100))
        self.host.show(self.view(100))
        self.pass_ms(2_000)
        assert self.board.grant == 100 and self.board.relay

    def view(self, grant):
        return {"boot": self.board.boot, "grant": grant, "lamp": "on"}

    def pass_ms(self, ms):
        for _ in range(ms // 10):
            self.hal.ms += 10
            self.board.step()
            up, self.hal.leaving = self.hal.leaving, b""
            self.host.feed(up, self.hal.ms)
            if self.host.lost(self.hal.ms):
                self.host.ask(f"{self.hal.ms:016x}", self.hal.ms)
            self.hal.arrived += self.host.pull(self.hal.ms)

    def plug(self, is_plugged):
        self.hal.is_plugged = is_plugged
        self.pass_ms(2_000)


@pytest.fixture
def line():
    made = Line()
    made.plug(False)
    assert made.board.grant == 0
    made.plug(True)
    return made


def test_while_the_seller_does_not_answer_it_is_granted_nothing(line):
    line.pass_ms(60_000)
    line.host.show(line.view(100))  # what was asked for before the plug was pulled
    line.pass_ms(2_000)
    assert line.board.grant == 0 and not line.board.relay


@pytest.mark.parametrize("grant", [0, 150])
def test_it_is_granted_what_the_seller_answers(line, grant):
    line.host.reported(line.host.oldest(), line.view(grant))
    line.pass_ms(2_000)
    assert (line.board.grant, line.board.relay) == (grant, grant > 0)


def test_an_answer_to_an_earlier_reading_is_none(line):
    earlier = line.host.oldest()
    line.pass_ms(2_000)
    line.host.reported(earlier, line.view(100))
    line.pass_ms(2_000)
    assert line.board.grant == 0


def test_a_reading_that_is_refused_grants_nothing(line):
    line.host.reported(line.host.oldest(), taken=False)
    line.pass_ms(2_000)
    assert line.board.grant == 0


def test_a_grant_that_was_lost_on_the_line_is_told_again(line):
    line.host.reported(line.host.oldest(), line.view(150))
    line.host.pull(line.hal.ms)  # and it never arrives
    line.pass_ms(5_000)
    assert line.board.grant == 150
