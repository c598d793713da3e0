"""The host's talk with a board, against the board's own firmware: what it let go of is not granted from an old view."""

import json
from pathlib import Path

import pytest
from pyln.client import RpcError

from satmeter.board.virtual import HostHal, firmware
from satmeter.bridge import NOTHING, Bridge, MeterSide
from satmeter.core.errors import BadFrame, NodeTrouble, UnknownMeter, UnknownSession
from satmeter.wire.dialogue import Dialogue, View
from satmeter.wire.link import BOARD, encode

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
        self.host = Dialogue(KEY)
        self.pass_ms(2_000)
        self.host.reported(self.host.oldest(), self.view(100))
        self.host.show(self.view(100))
        self.pass_ms(2_000)
        assert self.board.grant == 100 and self.board.relay

    def view(self, grant):
        return View(grant, self.board.boot, "on")

    def pass_ms(self, ms, up=True, down=True):
        """up, down: whether the line carries what is said that way."""
        for _ in range(ms // 10):
            self.hal.ms += 10
            self.board.step()
            said, self.hal.leaving = self.hal.leaving, b""
            self.host.feed(said if up else b"", self.hal.ms)
            if self.host.lost(self.hal.ms):
                self.host.ask(f"{self.hal.ms:016x}", self.hal.ms)
            answer = self.host.pull(self.hal.ms)
            self.hal.arrived += answer if down else b""

    def plug(self, is_plugged):
        self.hal.is_plugged = is_plugged
        self.pass_ms(2_000)


def readings(line):
    """The grants of the readings that wait to be reported."""
    return {each.reading.grant for each in line.host.pending.values()}


def test_a_grant_that_may_still_arrive_counts_as_held():
    """Who is on the line lets a grant through after the buyer has got its money back."""
    made = Line()
    made.host.show(made.view(200))
    held_back = made.host.pull(made.hal.ms + 10)
    assert b"grant" in held_back
    made.host.show(made.view(0))
    made.pass_ms(3_000, down=False)  # the board says what it holds, and hears nothing
    assert made.board.grant == 100 and readings(made) == {200}
    made.hal.arrived += held_back
    made.pass_ms(3_000)  # the newer grant comes after it
    assert made.board.grant == 0 and readings(made) == {0}


def test_what_was_sent_in_an_earlier_session_of_the_line_never_arrives():
    made = Line()
    made.host.show(made.view(200))
    held_back = made.host.pull(made.hal.ms + 10)
    made.pass_ms(10_000, up=False, down=False)
    made.host.show(made.view(0))
    made.pass_ms(3_000)
    assert readings(made) == {0}
    made.hal.arrived += held_back
    made.pass_ms(3_000)
    assert made.board.grant == 0


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


def test_a_view_that_comes_after_a_newer_answer_grants_nothing():
    """The session ends with the plug. Then the seller dies, so that nothing newer takes the older view's place."""
    line = Line()
    asked = line.host.views
    line.plug(False)
    line.host.reported(line.host.oldest(), line.view(0))
    assert not line.host.show(line.view(100), asked)  # of before, on another connection
    line.plug(True)
    assert line.board.grant == 0 and not line.board.relay


def test_a_bridge_whose_older_view_comes_last_grants_nothing():
    """Its report is answered, and lets the session end, while the answer to its long poll is on its way."""
    line = Line()
    bridge = Bridge("", KEY, None, MeterSide("m"))
    bridge.talk = line.host

    def wait(node, index):
        if not line.board.hal.is_plugged:  # the plugin has died since
            bridge._stopping.set()
            raise NodeTrouble("gone")
        older = line.view(100)
        line.plug(False)
        line.host.reported(line.host.oldest(), line.view(0))
        return 7, older

    bridge.side.wait = wait
    with pytest.raises(NodeTrouble):
        bridge._follow()
    line.plug(True)
    assert line.board.grant == 0 and not line.board.relay


def test_an_answer_that_comes_after_a_newer_view_grants_nothing(line):
    line.host.reported(line.host.oldest(), line.view(100))
    line.plug(False)
    line.plug(True)
    reading = line.host.oldest()
    assert line.host.show(line.view(0), line.host.views)  # it was closed meanwhile
    line.host.reported(reading, line.view(100))
    line.pass_ms(2_000)
    assert line.board.grant == 0
    line.host.reported(line.host.oldest(), line.view(150))
    line.pass_ms(2_000)
    assert line.board.grant == 150


def test_an_answer_to_a_reading_of_before_is_none():
    line = Line()
    before = line.host.oldest()
    line.plug(False)
    line.plug(True)
    line.host.reported(before, line.view(100))
    line.pass_ms(2_000)
    assert line.board.grant == 0


def test_a_late_answer_to_a_reading_of_before_is_none_either():
    line = Line()
    before = line.host.oldest()
    line.plug(False)
    line.plug(True)
    line.host.oldest()
    line.host.reported(before, line.view(100))
    line.pass_ms(2_000)
    assert line.board.grant == 0


def test_a_board_that_let_go_of_its_grant_with_something_plugged_in_is_not_given_it_back():
    line = Line()
    said = {"boot": line.board.boot, "register": 0, "grant": 0, "flow": 0, "plugged": 1, "fault": ""}
    line.host._reading(said)  # what was plugged in between was said and lost
    line.pass_ms(2_000)
    assert line.board.grant == 0


def test_a_board_that_was_believed_has_no_other_key():
    line = Line()
    line.host.link.why = "mac"
    assert not line.host.other_key
    line.host.link.sid = ""
    assert line.host.other_key


def test_that_the_plug_was_pulled_is_reported_before_what_came_after(line):
    pulled = line.host.oldest()
    assert (pulled.reading.plugged, pulled.reading.grant) == (False, 0)
    line.host.reported(pulled, line.view(0))
    assert line.host.oldest().reading.plugged


def test_a_seller_that_answers_slowly_is_heard_all_the_same(line):
    for _ in range(2):
        reading = line.host.oldest()
        line.pass_ms(1_500)  # newer readings come meanwhile
        line.host.reported(reading, line.view(150))
    line.pass_ms(2_000)
    assert line.board.grant == 150


def test_what_is_paid_is_granted_whether_readings_are_answered_or_not():
    line = Line()
    for grant in (150, 200, 250):
        line.host.show(line.view(grant))
        line.pass_ms(30)
    line.pass_ms(2_000)
    assert line.board.grant == 250


def test_a_plug_that_was_out_while_the_line_was_dead_is_granted_nothing():
    line = Line()
    line.hal.is_plugged = False
    line.pass_ms(7_000, up=False, down=False)
    line.hal.is_plugged = True
    line.pass_ms(10_000)
    assert line.board.grant == 0
    line.host.reported(line.host.oldest(), line.view(100))
    line.pass_ms(2_000)
    assert line.board.grant == 100


def test_a_grant_that_was_on_its_way_is_taken_back():
    line = Line()
    line.host.show(line.view(150))
    line.hal.is_plugged = False
    line.pass_ms(1_000, down=False)
    line.hal.is_plugged = True
    line.pass_ms(3_000)
    assert line.board.grant == 0


def test_while_nothing_is_plugged_in_nothing_is_told_again_and_again():
    line = Line()
    line.plug(False)
    told = []
    line.host.link.send = lambda kind, **values: told.append(kind)
    for _ in range(20):
        if (waiting := line.host.oldest()) is not None:
            line.host.reported(waiting, line.view(15))
        line.host.show(line.view(15))
        line.pass_ms(500)
    assert "grant" not in told


def test_a_board_that_holds_its_grant_is_not_told_it_again():
    line = Line()
    told = []
    line.host.link.send = lambda kind, **values: told.append(kind)
    line.pass_ms(3_000)
    assert line.board.grant == 100 and not told


def test_a_reading_that_is_refused_grants_nothing(line):
    line.host.reported(line.host.oldest(), taken=False)
    line.pass_ms(2_000)
    assert line.board.grant == 0


def test_a_grant_that_was_lost_on_the_line_is_told_again(line):
    line.host.reported(line.host.oldest(), line.view(150))
    line.host.pull(line.hal.ms)  # and it never arrives
    line.pass_ms(5_000)
    assert line.board.grant == 150


@pytest.mark.parametrize(
    ("firmware_of", "n", "size", "sent"),
    [("0.2.0", 61, "128x64", 0), ("0.3.0", 61, "128x64", 61), ("0.2.0", 57, "128x64", 57), ("1.0", 61, "128x64", 61)],
)
def test_a_code_that_earlier_firmware_fails_at_is_not_sent_to_it(line, firmware_of, n, size, sent):
    host, told = line.host, []
    host._encode = lambda text, width, height: (n, bytes(n * ((n + 7) // 8)))
    host.board = {**host.board, "fw": firmware_of, "display": size}
    host.link.send = lambda kind, **what: told.append((kind, what))
    host._show_code(0, "LNBC1", "")
    assert {what["of"] if "of" in what else what["n"] for kind, what in told if kind == "code"} == {sent}
    assert [what["text"] for kind, what in told if kind == "page"] == ([] if sent else ["code too long for it"])


def test_where_a_code_does_not_fit_the_page_of_the_meter_is_shown(line):
    host, told = line.host, []

    def encode(text, width, height):
        if text.startswith("LN"):
            raise ValueError("too long for the display")
        return 25, bytes(25 * 4)

    host._encode = encode
    host.board = {**host.board, "fw": "0.5.0", "display": "128x64"}
    host.link.send = lambda kind, **what: told.append((kind, what))
    host._show_code(1, "LNBC1", "https://plugs.example/m/socket")
    assert {what["n"] for kind, what in told if kind == "code"} == {25}
    assert [what["text"] for kind, what in told if kind == "page"] == ["scan for its page"]


def test_a_reading_that_waits_says_how_old_it_is():
    line = Line()
    before = line.host.oldest().said(line.hal.ms)
    line.pass_ms(1_000, up=False)
    said = line.host.oldest().said(line.hal.ms)
    assert said.boot == line.board.boot and said.age_ms == before.age_ms + 1_000


class Gone:
    """A meter's side that had a grant, and is no more: told as an answer, or as an error."""

    def __init__(self, error=None):
        self.bridge, self.error, self.calls = None, error, 0

    def wait(self, node, index):
        self.calls += 1
        if self.calls == 1:
            return 5, View(100, "b1", "on")
        assert self.bridge.talk.view.grant == 100
        self.bridge._stopping.set()
        if self.error is not None:
            raise self.error
        return 0, None


@pytest.mark.parametrize("error", [None, UnknownMeter, UnknownSession])
def test_a_board_whose_meter_or_stream_is_gone_is_granted_nothing(error):
    given = None if error is None else RpcError("meter-wait", {}, {"code": error.code, "message": "gone"})
    side = Gone(given)
    side.bridge = bridge = Bridge("", KEY, None, side)
    if given is None:
        bridge._follow()
    else:
        with pytest.raises(RpcError):
            bridge._follow()
    assert side.calls == 2 and bridge.talk.view == NOTHING and NOTHING.grant == 0


def test_a_board_keeps_its_grant_while_the_node_is_away():
    side = Gone(RpcError("meter-wait", {}, {"code": -1, "message": "the plugin is starting"}))
    side.bridge = bridge = Bridge("", KEY, None, side)
    with pytest.raises(RpcError):
        bridge._follow()
    assert bridge.talk.view.grant == 100


def test_a_board_that_was_flashed_long_ago_is_taken_and_one_of_another_protocol_is_not():
    """Who only brings the bridge up to date flashes no board: what release 0.1.0 said is understood."""
    hello = json.loads((Path(__file__).parent / "link_vectors.json").read_text())["lines"][1].encode()
    host = Dialogue(KEY)
    host.ask("00112233", 0)
    host.feed(hello, 10)
    assert host.board["fw"] == "0.1.0"
    host.ask("00112234", 20)
    with pytest.raises(BadFrame, match="speaks protocol 2"):
        host.feed(encode(BOARD, KEY, "", "hello", 1, 0, {**host.board, "proto": 2, "nonce": "00112234"}), 30)
