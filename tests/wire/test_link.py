"""The line between host and board, over transports that lose, double, delay, cut and forge."""

import binascii
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.wire import link
from satmeter.wire.link import BOARD, HOST, Link, decode, encode, mac

VECTORS = Path(__file__).parent / "link_vectors.json"
KEY = bytes(range(32))
BOOT, SID = "0badcafe", "5e551d"
EXAMPLES = [
    (HOST, "ask", 1, 0, {"nonce": "00112233"}),
    (
        BOARD,
        "hello",
        1,
        0,
        {
            "proto": 1, "fw": "0.1.0", "board": "b1", "boot": BOOT, "base": 0, "display": "128x64", "uid": "d4f5aa01",
            "fault": "", "nonce": "00112233", "sid": "5e551d",
        },
    ),
    (
        BOARD,
        "reading",
        2,
        1,
        {
            **{"boot": BOOT, "register": 7, "grant": 9, "flow": 3600, "plugged": 1, "uptime": 5},
            **{"fault": "", "presses": "", "position": ""},
        },
    ),
    (HOST, "grant", 2, 2, {"boot": BOOT, "register": 107}),
    (HOST, "lamp", 3, 2, {"boot": BOOT, "lamp": "on"}),
    (HOST, "page", 4, 2, {"boot": BOOT, "n": 0, "text": "socket"}),
    (HOST, "code", 5, 2, {"boot": BOOT, "id": 0, "n": 21, "at": 60, "tag": "c0de", "data": "/v8="}),
    (HOST, "maintain", 6, 2, {"boot": BOOT}),
    (HOST, "restart", 7, 2, {"boot": BOOT}),
    (HOST, "ack", 0, 2, {}),
]  # fmt: skip


def lines():
    return [encode(side, KEY, SID, kind, seq, ack, values).decode() for side, kind, seq, ack, values in EXAMPLES]


def test_golden_vectors_are_fresh():
    written = json.loads(VECTORS.read_text())
    assert written["key"] == KEY.hex() and written["lines"] == lines()


def test_golden_vectors_decode():
    for (side, kind, seq, ack, values), line in zip(EXAMPLES, json.loads(VECTORS.read_text())["lines"]):
        assert decode(side, KEY, SID, line.strip().encode()) == {
            "k": kind, "q": seq, "a": ack, **values,
        }  # fmt: skip


def test_the_longest_hello_fits_into_a_line():
    most = {
        "proto": 1, "fw": "0.10.0", "board": "b" * 16, "boot": "b" * 8, "base": 10**9, "display": "240x240",
        "uid": "a" * 8, "fault": "f" * 12, "nonce": "e" * 16, "sid": "5" * 12,
    }  # fmt: skip
    assert len(encode(BOARD, KEY, "", "hello", 10**9, 0, most)) <= link.MAX_LINE


def test_a_board_that_was_flashed_before_boards_had_an_id_is_understood():
    line = (
        '\n{"k":"hello","q":1,"a":0,"proto":1,"fw":"0.1.0","board":"b1","b":"0badcafe"'
        ',"base":0,"display":"128x64","nonce":"00112233","sid":"5e551d","m":"131a5b62d65ae7ab","c":"114bc030"}\n'
    )
    found = decode(BOARD, KEY, SID, line.strip().encode())
    assert (found["display"], found["uid"], found["board"]) == ("128x64", "", "b1")


@pytest.mark.parametrize(
    ("key", "data", "digest"),
    [  # RFC 4231, cases 1, 2 and 3
        ("0b" * 20, "4869205468657265", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (
            "4a656665",
            "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        ("aa" * 20, "dd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    ],
)
def test_hmac_as_in_rfc_4231(key, data, digest):
    assert mac(bytes.fromhex(key), bytes.fromhex(data)).hex() == digest


@given(st.integers(1, 10_000), st.text(max_size=500))
def test_no_line_is_longer_than_the_most(register, text):
    try:
        line = encode(HOST, KEY, SID, "page", register, 0, {"boot": BOOT, "n": 1, "text": text})
    except ValueError as e:
        assert "at most 256" in str(e)
        return
    assert len(line) <= link.MAX_LINE and line.isascii()
    assert decode(HOST, KEY, SID, line.strip())["n"] == 1


def test_a_flipped_bit_anywhere_is_refused():
    line = encode(HOST, KEY, SID, "grant", 5, 1, {"boot": BOOT, "register": 100}).strip()
    for i in range(len(line)):
        for bit in range(8):
            broken = bytearray(line)
            broken[i] ^= 1 << bit
            with pytest.raises(ValueError):
                decode(HOST, KEY, SID, bytes(broken))


def test_another_key_or_the_other_side_is_refused():
    line = encode(HOST, KEY, SID, "grant", 5, 1, {"boot": BOOT, "register": 100}).strip()
    with pytest.raises(ValueError, match="mac"):
        decode(HOST, bytes(32), SID, line)
    with pytest.raises(ValueError, match="mac"):
        decode(BOARD, KEY, SID, line)
    with pytest.raises(ValueError, match="mac"):
        decode(HOST, KEY, "another", line)


def test_nothing_can_be_slipped_in_after_the_mac():
    line = encode(HOST, KEY, SID, "grant", 5, 1, {"boot": BOOT, "register": 100}).strip()
    for slipped in (b',"r":999', b',"q":99', b',"k":"grant"'):
        cut = line.rfind(b',"c"')
        forged = line[:cut] + slipped
        forged += b',"c":"%08x"}' % (binascii.crc32(forged) & 0xFFFFFFFF)
        with pytest.raises(ValueError):
            decode(HOST, KEY, SID, forged)


class Wire:
    """Two ends and what is between them. `spoil(data, rng)` returns the chunks that arrive."""

    def __init__(self, spoil=lambda data, rng: [data], seed=0):
        self.rng = random.Random(seed)
        self.spoil = spoil
        self.now = 0
        self.host, self.board = Link(HOST, KEY), Link(BOARD, KEY)
        self.boot = BOOT
        self.sids = 0
        self.to_host, self.to_board = [], []
        self.host_got, self.board_got = [], []
        self.recorded = []

    def hello(self, nonce):
        self.sids += 1
        values = {k: v for k, v in EXAMPLES[1][4].items() if k not in ("nonce", "sid")}
        self.board.answer(nonce, f"{self.boot}{self.sids}" if nonce else "", **{**values, "boot": self.boot})

    def step(self, ms=20):
        self.now += ms
        for end, box in ((self.host, self.to_board), (self.board, self.to_host)):
            data = end.pull(self.now)
            if data:
                self.recorded.append((end.side, data))
                box += self.spoil(data, self.rng)
        for end, box, got in ((self.host, self.to_host, self.host_got), (self.board, self.to_board, self.board_got)):
            for chunk in box:
                for frame in end.feed(chunk):
                    if frame["k"] == "ask":
                        self.hello(frame["nonce"])
                    got.append(frame)
            box.clear()

    def run(self, ms=20_000, until=lambda: False):
        end = self.now + ms
        while self.now < end and not until():
            self.step()

    def meet(self):
        self.host.ask("aa11")
        self.run(until=lambda: self.host.trusted)
        assert self.host.trusted


def lost(data, rng):
    return [] if rng.random() < 0.3 else [data]


def doubled(data, rng):
    return [data, data] if rng.random() < 0.5 else [data]


def bytewise(data, rng):
    return [data[i : i + 1] for i in range(len(data))]


def noisy(data, rng):
    junk = bytes(rng.randrange(256) for _ in range(rng.randrange(300)))
    return [junk + data] if rng.random() < 0.3 else [data]


def cut(data, rng):
    return [data[: rng.randrange(len(data))]] if rng.random() < 0.3 else [data]


def flipped(data, rng):
    if rng.random() < 0.7:
        return [data]
    broken = bytearray(data)
    broken[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return [bytes(broken)]


def late():
    held = []

    def spoil(data, rng):
        held.append(data)
        if rng.random() < 0.5:
            return []
        rng.shuffle(held)
        out, held[:] = list(held), []
        return out

    return spoil


@pytest.mark.parametrize("spoil", [lost, doubled, bytewise, noisy, cut, flipped, late], ids=lambda s: s.__name__)
@pytest.mark.parametrize("seed", range(5))
def test_the_newest_fact_gets_through_and_nothing_twice(spoil, seed):
    w = Wire(late() if spoil is late else spoil, seed)
    w.meet()
    for register in range(1, 60):
        w.host.send("grant", boot=BOOT, register=register)
        w.board.send("reading", boot=BOOT, register=register, grant=0, flow=0, plugged=1, uptime=w.now, fault="")
        w.run(w.rng.choice([20, 100, 400]))
    w.run(60_000, until=lambda: last(w.board_got, "grant") == 59 and last(w.host_got, "reading") == 59)
    for got, kind in ((w.board_got, "grant"), (w.host_got, "reading")):
        registers = [f["register"] for f in got if f["k"] == kind]
        assert registers == sorted(set(registers)) and registers[-1] == 59


def last(frames, kind):
    registers = [f["register"] for f in frames if f["k"] == kind]
    return registers[-1] if registers else 0


def test_garbage_costs_at_most_the_line_it_is_in():
    good = encode(HOST, KEY, SID, "grant", 1, 0, {"boot": BOOT, "register": 5})
    for junk in (b"\xff" * 1000, b'{"k":"grant"', b"\x03\x04\n\n\n", b'{"k":"grant","q":1}\n', b'\n{"c":"00000000"}\n'):
        board = Link(BOARD, KEY)
        board.sid = SID
        board.feed(junk)
        frames = board.feed(good)
        assert [f["register"] for f in frames] == [5], junk


def test_nothing_is_trusted_before_the_hello_answers_the_nonce():
    w = Wire()
    w.board.send("reading", boot=BOOT, register=9, grant=0, flow=0, plugged=1, uptime=0, fault="")
    w.run(2_000)
    assert not w.host_got and not w.host.trusted
    w.hello("0000")  # of another conversation
    w.run(2_000)
    assert not w.host.trusted


def test_a_recorded_conversation_played_again_gives_nothing():
    w = Wire()
    w.meet()
    for register in (10, 20, 30):
        w.host.send("grant", boot=BOOT, register=register)
        w.board.send("reading", boot=BOOT, register=register, grant=0, flow=0, plugged=1, uptime=0, fault="")
        w.run(1_000)
    grants, readings = len(w.board_got), len(w.host_got)
    for side, data in w.recorded:
        (w.board if side == HOST else w.host).feed(data)
    assert [f["k"] for f in w.board_got[grants:]] == [] and len(w.host_got) == readings
    fresh_host = Link(HOST, KEY)
    fresh_host.ask("bb22")
    assert not [f for side, data in w.recorded if side == BOARD for f in fresh_host.feed(data) if f["k"] != "hello"]
    assert not fresh_host.trusted


def test_the_host_comes_back_and_is_believed_again():
    w = Wire()
    w.meet()
    w.host.send("grant", boot=BOOT, register=10)
    w.run(1_000)
    w.host = Link(HOST, KEY)
    w.host.ask("cc33")
    w.run(until=lambda: w.host.trusted)
    w.host.send("grant", boot=BOOT, register=20)
    w.run(2_000)
    assert last(w.board_got, "grant") == 20


def test_the_board_restarts_and_the_host_asks_again():
    w = Wire()
    w.meet()
    w.host.send("grant", boot=BOOT, register=10)
    w.run(1_000)
    w.board, w.boot = Link(BOARD, KEY), "0badf00d"
    w.hello("")
    w.run(2_000)
    assert not w.host.trusted
    w.host.ask("dd44")
    w.run(until=lambda: w.host.trusted)
    w.board.send("reading", boot=w.boot, register=1, grant=0, flow=0, plugged=1, uptime=0, fault="")
    w.run(2_000)
    assert w.host_got[-1]["boot"] == "0badf00d"


@pytest.mark.parametrize("rtt_ms", [100, 400, 900, 1800])
def test_a_slow_line_is_only_slow(rtt_ms):
    held = []

    def slow(data, rng):
        held.append((w.now + rtt_ms // 2, data))
        return []

    w = Wire(slow)
    w.host.ask("ee55")
    for register in range(1, 400):
        w.board.send(
            "reading", boot=BOOT, register=register, grant=0, flow=0, plugged=1, uptime=0, fault=""
        ) if w.board.sid else 0
        w.step()
        due = [data for at, data in held if at <= w.now]
        held[:] = [(at, data) for at, data in held if at > w.now]
        for data in due:
            side = next(side for side, sent in w.recorded if sent == data)
            (w.to_board if side == HOST else w.to_host).append(data)
    assert w.host.trusted and last(w.host_got, "reading") > 200


def test_lines_of_an_earlier_session_change_nothing():
    """Grants and acks recorded before the host, or the board, began again: same key, same boot even."""
    for reboot in (False, True):
        w = Wire()
        w.meet()
        for register in range(100, 2000, 100):
            w.host.send("grant", boot=BOOT, register=register)
            w.board.send("reading", boot=BOOT, register=register, grant=0, flow=0, plugged=1, uptime=0, fault="")
            w.run(100)
        old = list(w.recorded)
        if reboot:
            w.board, w.boot = Link(BOARD, KEY), "0badf00d"
        w.host = Link(HOST, KEY)
        w.host.ask("ff66")
        w.run(until=lambda w=w: w.host.trusted)
        w.host.send("grant", boot=w.boot, register=7)
        for side, data in old:
            (w.board if side == HOST else w.host).feed(data) if b'"ask"' not in data and b'"hello"' not in data else 0
        before = len(w.host_got)
        w.run(5_000)
        assert last(w.board_got, "grant") == 7 and len(w.host_got) == before


def test_one_frame_is_out_at_a_time():
    w = Wire()
    w.meet()
    for n in range(4):
        w.host.send("page", key=str(n), boot=BOOT, n=n, text="x" * 32)
    sent = [w.host.pull(w.now + ms) for ms in range(0, 200, 20)]
    assert sum(len(s) for s in sent) <= link.MAX_LINE


def test_a_reading_without_a_fault_spends_no_bytes_on_it():
    values = {"boot": BOOT, "register": 1, "grant": 0, "flow": 0, "plugged": 1, "uptime": 0}
    plain = link.encode(link.BOARD, KEY, "s", "reading", 1, 0, {**values, "fault": ""})
    faulty = link.encode(link.BOARD, KEY, "s", "reading", 1, 0, {**values, "fault": "x"})
    assert len(faulty) - len(plain) == len(b',"e":"x"')


def test_a_grant_goes_before_what_is_only_shown():
    w = Wire()
    w.meet()
    w.board_got.clear()
    for at in range(5):
        w.host.send("code", key=str(at), boot=BOOT, id=0, n=21, at=at, tag="c0de", data="/v8=")
    w.host.send("grant", boot=BOOT, register=107)
    w.run(until=lambda: len(w.board_got) == 6)
    assert [frame["k"] for frame in w.board_got] == ["grant"] + ["code"] * 5
