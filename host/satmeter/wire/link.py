"""Host <-> board: lines of ASCII JSON over a serial port. This very file runs on MicroPython as well.

A line is {"k":KIND,"q":SEQ,"a":ACK, fields in the order of FIELDS, "m":MAC,"c":CRC}, led and ended by a newline, at
most 256 bytes. c is CRC-32 over all bytes before ,"c" (a broken line is dropped at once); m is HMAC-SHA256, cut to 8
bytes, over the side's letter, the session id and all bytes before ,"m" (a forged one too). Each side has one frame
out at a time and sends it again until an ack covers its sequence; of the same kind only the newest waits, because
every frame states an absolute fact. What is a duplicate or older than the last accepted is acknowledged and dropped.

The host begins with `ask` and a nonce. The board's `hello` answers it, with its boot id and a fresh session id that
goes into the MAC of every other line, in both directions, without being sent again: what was recorded in another
session, of this boot or an earlier one, is refused. Until an ask has come the board says hello unasked, and takes
nothing else.

MicroPython has no hmac, typing or dataclasses, and its dictionaries keep no order; hence the style.
"""

import binascii
import hashlib
import json

PROTOCOL = 1
MAX_LINE = 256
RESEND_MS = 250
RESEND_MOST_MS = 2000

FIELDS = {
    "ask": ("nonce",),
    "hello": ("proto", "fw", "board", "boot", "base", "display", "uid", "fault", "nonce", "sid"),
    "reading": ("boot", "register", "grant", "flow", "plugged", "uptime", "fault", "presses", "position"),
    "grant": ("boot", "register"),
    "lamp": ("boot", "lamp"),
    "page": ("boot", "n", "text"),
    "code": ("boot", "id", "n", "at", "tag", "data"),
    "maintain": ("boot",),
    "restart": ("boot",),
    "ack": (),
}
"""hello: base (the register at boot) in ticks, display WxH in pixels or none, uid of the board itself in hex, fault a
few words or "", nonce and sid empty where nobody asked. reading: grant is the register up to which the board would
deliver now, flow in ticks an hour, uptime in ms, plugged 0 or 1, fault as in hello, presses of the button since the
boot, position of the potentiometer in permille. grant: the register up to which the board may deliver. lamp: off, on,
slow or fast. page: line n of the display. code: the bytes from `at` of the packed QR code `id` of n modules, in base64,
with a tag that all its pieces have; n of 0 takes the code away. maintain: cut, forget the key, and leave the line to
who flashes. restart: cut, and start anew."""

SHORT = {
    "boot": "b",
    "register": "r",
    "grant": "g",
    "flow": "f",
    "plugged": "p",
    "uptime": "u",
    "fault": "e",
    "display": "d",
    "presses": "n",
    "position": "o",
}
"""Names on the line of what comes four times a second, or makes a line long; `reading` itself is `r`."""

OPTIONAL = ("fault", "uid", "presses", "position")
"""Left out where they are empty or 0. Boards that were flashed earlier know of no uid, presses or position, and call a
display by its name."""

READING = "r"
HOST, BOARD = "h", "b"


_pads: dict = {}  # type: ignore[type-arg]


def mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104) of data, whole; key of at most 64 bytes."""
    if key not in _pads:
        _pads.clear()  # on a board there is one key, and its pads take longer to make than the hash
        whole = key + bytes(64 - len(key))
        _pads[key] = bytes(k ^ 0x36 for k in whole), bytes(k ^ 0x5C for k in whole)
    inner_pad, outer_pad = _pads[key]
    inner = hashlib.sha256(inner_pad)
    inner.update(data)
    outer = hashlib.sha256(outer_pad)
    outer.update(inner.digest())
    return outer.digest()


def _hex(data: bytes) -> str:
    return binascii.hexlify(data).decode()


def _text(value) -> str:  # type: ignore[no-untyped-def]
    """Return an int or a text as JSON; what JSON would have to escape becomes a question mark."""
    if isinstance(value, (int, bool)):
        return str(int(value))
    # repr() runs in C: what it shows as it is needs no look at each letter.
    if repr(value) == "'%s'" % value and '"' not in value and len(value.encode()) == len(value):
        return '"%s"' % value
    return '"' + "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in value) + '"'


def _mac_of(side: str, key: bytes, sid: str, kind: str, line: bytes) -> bytes:
    bound = "" if kind in ("ask", "hello") else sid
    return _hex(mac(key, (side + bound).encode() + line)[:8]).encode()


def encode(side, key, sid, kind, seq, ack, values) -> bytes:  # type: ignore[no-untyped-def]
    """Return the whole line, newlines included; ValueError if it would be over MAX_LINE bytes."""
    line = '{"k":"%s","q":%d,"a":%d' % (READING if kind == "reading" else kind, seq, ack)
    for name in FIELDS[kind]:
        if name not in OPTIONAL or values.get(name):
            line += ',"%s":%s' % (SHORT.get(name, name), _text(values[name]))
    line += ',"m":"%s"' % _mac_of(side, key, sid, kind, line.encode()).decode()
    line += ',"c":"%08x"}' % (binascii.crc32(line.encode()) & 0xFFFFFFFF)
    if len(line) + 2 > MAX_LINE:
        raise ValueError("a %s frame would be %d bytes, at most %d" % (kind, len(line) + 2, MAX_LINE))
    return b"\n" + line.encode() + b"\n"


def decode(side, key, sid, line) -> dict:  # type: ignore[no-untyped-def, type-arg]
    """Return the fields of a line that `side` sent (k, q and a among them); ValueError with the reason otherwise.

    MAC and CRC stand at fixed places from the end, and only what the MAC covers is parsed.
    """
    head, m, c = line[:-39], line[-39:-16], line[-16:]
    if len(line) > MAX_LINE or m[:6] != b',"m":"' or m[-1:] != b'"' or c[:6] != b',"c":"' or c[-2:] != b'"}':
        raise ValueError("not a frame")
    if c[6:14] != ("%08x" % (binascii.crc32(head + m) & 0xFFFFFFFF)).encode():
        raise ValueError("crc")
    given = json.loads(head + b"}")
    kind = given.get("k") if isinstance(given, dict) else None
    kind = "reading" if kind == READING else kind
    if not isinstance(kind, str) or kind not in FIELDS:
        raise ValueError("kind")
    right, differ = _mac_of(side, key, sid, kind, head), 0
    for x, y in zip(m[6:22], right):
        differ |= x ^ y
    if differ:
        raise ValueError("mac")
    values = {"k": kind, "q": given.get("q"), "a": given.get("a")}
    for name in FIELDS[kind]:
        values[name] = given.get(SHORT.get(name, name), given.get(name, "" if name in OPTIONAL else None))
    for name in values:
        if values[name] is None:
            raise ValueError("no " + name)
    return values


class Link:
    """One end of the line, with no I/O: put bytes in by feed(), take bytes out by pull()."""

    def __init__(self, side: str, key: bytes):
        self.side = side
        self.other = BOARD if side == HOST else HOST
        self.key = key
        self.seq = 0
        self.got = 0  # last sequence accepted from the other side
        self.sid = ""  # of the session; none is trusted without
        self.nonce = ""  # of the last ask
        self.bad = 0  # lines dropped, for the fault counter
        self.why = ""
        self._buffer = b""
        self._skipping = False
        self._waiting: list = []  # type: ignore[type-arg]
        self._out: tuple | None = None  # type: ignore[type-arg]
        self._out_at = 0
        self._tries = 0
        self._ack_due = False
        self.heard = 0  # lines that could be believed, acks among them

    def send(self, kind: str, key: str = "", **values) -> None:  # type: ignore[no-untyped-def]
        """Queue a frame; a waiting one of the same kind (and key) is replaced. A grant goes before what is shown."""
        slot = kind + key
        self._waiting = [w for w in self._waiting if w[0] != slot]
        self._waiting.insert(0 if kind == "grant" else len(self._waiting), (slot, kind, values))

    @property
    def trusted(self) -> bool:
        """Whether a session is open; until then no frames are taken but ask and hello."""
        return self.sid != ""

    @property
    def unanswered(self):  # type: ignore[no-untyped-def]
        """Return (sequence, kind, values) of the frame that waits for its ack, None where none does."""
        return self._out and (self._out[0], self._out[2], self._out[3])

    def ask(self, nonce: str) -> None:
        """Host: begin (again). Until a hello answers this nonce, nothing from the board is trusted."""
        self.nonce, self.sid = nonce, ""
        self._waiting, self._out = [], None
        self.send("ask", nonce=nonce)

    def answer(self, nonce: str, sid: str, **values) -> None:  # type: ignore[no-untyped-def]
        """Board: answer an ask, with a session id that was never used before; "" and "" where nobody asked."""
        self.nonce, self.sid = nonce, sid
        self.got = 0
        self._waiting, self._out = [], None
        self.send("hello", nonce=nonce, sid=sid, **values)

    def feed(self, data: bytes) -> list:  # type: ignore[type-arg]
        """Take bytes as they come; return the new frames in them, each a dict."""
        frames = []
        self._buffer += data
        while True:
            cut = self._buffer.find(b"\n")
            if cut < 0:
                break
            line, self._buffer = self._buffer[:cut], self._buffer[cut + 1 :]
            if self._skipping:
                self._skipping = False
            elif line.strip():
                frame = self._take(line.strip())
                if frame is not None:
                    frames.append(frame)
        if len(self._buffer) > MAX_LINE:
            self._buffer, self._skipping = b"", True
            self._drop("too long")
        return frames

    def _drop(self, why: str) -> None:
        self.bad += 1
        self.why = why

    def _take(self, line: bytes):  # type: ignore[no-untyped-def]
        try:
            frame = decode(self.other, self.key, self.sid, line)
            seq, ack, kind = int(frame["q"]), int(frame["a"]), frame["k"]
        except (ValueError, TypeError, KeyError) as error:
            self._drop(str(error) or "not a frame")
            return None
        if kind == "ask":
            # The hello to an ask that comes again is under way, or has arrived.
            return frame if self.side == BOARD and frame["nonce"] and frame["nonce"] != self.nonce else None
        if kind == "hello" and self.side == HOST:
            return self._hello(frame, seq)
        if not self.sid:
            return None
        self.heard += 1
        if self._out is not None and self._out[0] <= ack <= self.seq:
            self._out = None
        if kind == "ack":
            return None
        self._ack_due = True
        if seq <= self.got:
            return None
        self.got = seq
        return frame

    def _hello(self, frame, seq: int):  # type: ignore[no-untyped-def]
        if not frame["nonce"]:
            self.nonce = self.sid = ""  # the board restarted (or an old line is replayed): ask it
            return frame
        if frame["nonce"] != self.nonce or not frame["sid"]:
            return None
        self._ack_due = True
        if self.sid:
            self.got = max(self.got, seq)
            return None
        self.sid = frame["sid"]
        self.seq, self.got = 0, seq
        self._waiting, self._out = [], None
        return frame

    def pull(self, now_ms: int) -> bytes:
        """Return the bytes to write now: a new frame, the unanswered one again, an ack, or nothing."""
        if self._out is not None:
            wait = min(RESEND_MOST_MS, RESEND_MS << min(self._tries, 3))
            if now_ms - self._out_at < wait:
                return self._ack()
            self._tries += 1
            if not any(w[0] == self._out[1] for w in self._waiting):
                return self._emit(now_ms)
            # A newer frame of its kind waits: that one goes instead, under a new sequence.
        else:
            self._tries = 0
        if not self._waiting:
            return self._ack()
        slot, kind, values = self._waiting.pop(0)
        self.seq += 1
        self._out = (self.seq, slot, kind, values)
        return self._emit(now_ms)

    def _emit(self, now_ms: int) -> bytes:
        seq, slot, kind, values = self._out  # type: ignore[misc]
        self._out_at, self._ack_due = now_ms, False
        return encode(self.side, self.key, self.sid, kind, seq, self.got, values)

    def _ack(self) -> bytes:
        if not self._ack_due or not self.trusted:
            return b""
        self._ack_due = False
        return encode(self.side, self.key, self.sid, "ack", 0, self.got, {})
