"""The host's end of the talk with one board, without I/O: what the board said last, and what it has to know.

Registers are cumulative, so the newest reading of a boot says all, but that the plug was pulled: that is reported, too.
A grant is absolute, so the newest is what counts. But a board that was unplugged gets a grant again only after the
seller has taken a reading that says "unplugged": the session may have ended with it.
"""

import binascii
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ..core.errors import BadFrame
from ..core.plain import JsonObject
from ..core.reading import Reading
from .fit import QUIET_LEAST
from .link import HOST, PROTOCOL, Link

SILENCE_MS = 5_000
"""After such a silence the handshake begins again: the board may have restarted, or the line is out of step."""

PIECE = 75
"""Bytes of a code in a frame: with base64 and all else it has to be within a line."""

Encode = Callable[[str, int, int], tuple[int, bytes]]
"""Returns a text's code for a display of so many pixels: modules a side, packed bits. ValueError if none fits."""


@dataclass(frozen=True, slots=True)
class View:
    """What a board is told: up to which register it may deliver (ticks; 0 cuts), and what it shows.

    `boot` is the one of the board that the grant is for, None for any. `codes` are texts, `link` is what stands
    for one that no display of the board's size has room for."""

    grant: int
    boot: str | None = None
    lamp: str = "off"
    page: Sequence[str] = ()
    codes: Sequence[str] = ()
    link: str = ""

    def grant_of(self, boot: str) -> int | None:
        """Return the grant for a boot of the board, None where it is for another."""
        return self.grant if self.boot in (None, boot) else None


@dataclass(frozen=True, slots=True)
class Unreported:
    """A reading that was not reported yet: its number, and when it was heard (ms)."""

    number: int
    reading: Reading
    heard_at: int

    def said(self, now_ms: int) -> Reading:
        """Returns the reading with its age by now."""
        return self.reading.aged(now_ms - self.heard_at)


def pieces(n: int, bits: bytes) -> Iterator[JsonObject]:
    """Cut a code into what the `code` frames say of it; n of 0 takes a code away."""
    tag = f"{binascii.crc32(bits) & 0xFFFF:04x}"
    for at in range(0, max(1, len(bits)), PIECE):
        data = binascii.b2a_base64(bits[at : at + PIECE], newline=False).decode()
        yield {"n": n, "at": at, "tag": tag, "data": data}


class Dialogue:
    """Bytes in by feed(), out by pull(); readings wait in `pending` until they are reported."""

    def __init__(self, key: bytes, encode: Encode | None = None):
        self.link = Link(HOST, key)
        self._encode = encode
        self._codes: dict[int, str] = {}
        """Texts of the codes that this board was told, by id."""
        self.board: JsonObject = {}
        """The board's last hello."""
        self.view: View | None = None
        self.views = 0
        """How many views were taken. It is noted before a view is asked for; where it has changed when the answer
        comes, that answer may be old, and the view is asked for again."""
        self.pending: dict[str, Unreported] = {}
        """By boot, oldest first: the newest reading that was not reported yet, and before it the last one with nothing
        plugged in, if that was another."""
        self._heard = 0
        self._numbers = 0
        """How many readings there were."""
        self._handed: Unreported | None = None
        """The reading that is being reported."""
        self._asked = 0
        """How many views had been taken when it was handed out."""
        self._said, self._plugged = 0, False
        """The grant that the board said it holds, and whether something is plugged in: of its last reading."""
        self._told = 0
        """The grant that it was told last."""
        self._on_its_way: dict[int, int] = {}
        """Grants that the board has not acknowledged, by sequence: whoever holds one back may let it through later."""
        self._let_go = 0
        """The number of the reading that has to be taken before it is granted anything again; 0: none has to."""

    def ask(self, nonce: str, now_ms: int) -> None:
        """Begin (again). `nonce` is fresh, in hex, at most 16 digits."""
        self._heard = now_ms
        self.link.ask(nonce)

    @property
    def other_key(self) -> bool:
        """Whether the board's lines arrive whole, but are made with another key than ours.

        To be read only once lost() is True, since lines of the board's session with another host look
        the same."""
        return bool(self.link.nonce) and not self.link.trusted and self.link.why == "mac"

    def lost(self, now_ms: int) -> bool:
        """Whether the board has to be asked: it restarted, or was silent for too long."""
        return not self.link.nonce or now_ms > self._heard + SILENCE_MS

    def feed(self, data: bytes, now_ms: int) -> bool:
        """Take bytes from the board; True if a reading is among them. BadFrame for a board of another protocol."""
        news = False
        for frame in self.link.feed(data):
            self._heard = now_ms
            if frame["k"] == "hello" and self.link.trusted:
                self._hello(frame)
            elif frame["k"] == "reading" and frame["boot"] == self.board.get("boot"):
                self._reading(frame)
                news = True
        return news

    def pull(self, now_ms: int) -> bytes:
        """Returns the bytes to write to the board now; empty where nothing is due."""
        out = self.link.pull(now_ms)
        if (sent := self.link.unanswered) is not None and sent[1] == "grant":
            self._on_its_way[sent[0]] = sent[2]["register"]
        return out

    def show(self, view: View, asked: int | None = None) -> bool:
        """Take the newest view.

        `asked` is what `views` was when it was asked for. Returns False where another one was taken since: then it
        may be older than that one, is not taken, and is to be asked for again."""
        if asked is not None and asked != self.views:
            return False
        self.views += 1
        self.view = view
        self._tell()
        return True

    def oldest(self) -> Unreported | None:
        """Return what to report next: the newest reading of the oldest boot."""
        self._handed, self._asked = next(iter(self.pending.values()), None), self.views
        return self._handed

    def reported(self, told: Unreported, view: View | None = None, taken: bool = True) -> None:
        """Removes a reading that was answered from `pending`; a newer one of its boot stays there.

        A board that dropped its grant at unplugging is granted again once a reading that shows this was
        taken, by an answer that is not older than the view that it has.

        Args:
            told: what oldest() gave.
            view: the node's answer, if it is a view.
            taken: False where the node refused the reading.
        """
        number, boot = told.number if told is self._handed else 0, told.reading.boot
        self.pending = {key: each for key, each in self.pending.items() if each is not told}
        if not (taken and 0 < self._let_go <= number and boot == self.board.get("boot")):
            return
        if view is not None and self._asked != self.views:
            return  # the next reading's answer will do
        self._let_go = self._told = 0
        if view is not None:
            self.show(view)
        elif self.view is not None:
            self._tell_grant(boot)

    def _hello(self, frame: JsonObject) -> None:
        if frame["proto"] != PROTOCOL:
            raise BadFrame(f"the board speaks protocol {frame['proto']}, this bridge {PROTOCOL}: flash it again")
        if frame["boot"] != self.board.get("boot"):
            self._said, self._told, self._let_go = 0, 0, 0
        elif self._told:
            self._let_go = self._numbers + 1  # it was not heard for a while: the plug may have been out
        self.board = frame
        self._codes, self._on_its_way = {}, {}  # the board takes nothing of an earlier session
        self._tell()

    def _reading(self, frame: JsonObject) -> None:
        boot, plugged, here = frame["boot"], bool(frame["plugged"]), self.board
        self._numbers += 1
        before = self.pending.pop(boot, None)
        if before is not None and plugged and not before.reading.plugged:
            self.pending[f"{boot} unplugged"] = before
        self._on_its_way = {sequence: grant for sequence, grant in self._on_its_way.items() if sequence > frame["a"]}
        reading = Reading(
            boot=boot,
            register=frame["register"],
            grant=max(frame["grant"], *self._on_its_way.values(), 0),
            base=here["base"],
            flow=frame["flow"],
            plugged=plugged,
            display=here["display"],
            fault=frame["fault"],
            board=here["uid"],
            presses=int(frame.get("presses") or 0),
            position=int(frame.get("position") or 0),
        )
        self.pending[boot] = Unreported(self._numbers, reading, self._heard)
        if frame["grant"] == 0 and self._told and (self._said or not plugged) and not self._let_go:
            self._let_go = self._numbers
            self.link.send("grant", boot=boot, register=0)  # one that is still on its way came too late
        self._said, self._plugged = frame["grant"], plugged
        if plugged and self.view is not None and frame["grant"] != self.view.grant_of(boot):
            self._tell_grant(boot)

    def _tell(self) -> None:
        """Queue what the board has to know."""
        if self.view is None or not self.link.trusted:
            return
        here = self.board["boot"]
        self._tell_grant(here)
        self.link.send("lamp", boot=here, lamp=self.view.lamp)
        for n, text in enumerate(self.view.page):
            self.link.send("page", key=str(n), boot=here, n=n, text=text[:32])
        for which, text in enumerate(self.view.codes):
            if self._codes.get(which, "") != text:
                self._codes[which] = text
                self._show_code(which, text, self.view.link)

    def _tell_grant(self, boot: str) -> None:
        """Queue the view's grant for a boot, if it has one for that, and the board may be granted something."""
        register = self.view.grant_of(boot) if self.view is not None else None
        if register is None or (register and (self._let_go or not self._takes_grants)):
            return
        self._told = register
        self.link.send("grant", boot=boot, register=register)

    @property
    def _takes_grants(self) -> bool:
        """A board takes none while nothing is plugged in; before its first reading nobody knows."""
        return self._plugged or not self._numbers

    def _show_code(self, which: int, text: str, instead: str) -> None:
        """Send a code in pieces, in the size of the board's display.

        Where that has no room for it, the page says so, and `instead` is shown if there is one."""
        size = self.board["display"].split("x")
        if self._encode is None or len(size) != 2:
            return
        here, n, bits = self.board["boot"], 0, b""
        if text:
            try:
                n, bits = self._encode(text, int(size[0]), int(size[1]))
                if not self._draws(n, int(size[0]), int(size[1])):
                    raise ValueError("the board's firmware can't draw it")
            except ValueError:
                n, bits = 0, b""
                said = "code too long for it"
                if instead:
                    with suppress(ValueError):  # then there is a page on which it is whole
                        n, bits = self._encode(instead, int(size[0]), int(size[1]))
                        said = "scan for its page"
                self.link.send("page", key="3", boot=here, n=3, text=said)
        for piece in pieces(n, bits):
            self.link.send("code", key=f"{which}.{piece['at']}", boot=here, id=which, **piece)

    def _draws(self, n: int, width: int, height: int) -> bool:
        """Whether the board's firmware draws a code of n modules: before 0.3 it failed at one with a margin of one."""
        known = tuple(int(part) for part in re.findall(r"\d+", self.board["fw"])[:2])
        return n + 2 * QUIET_LEAST <= min(width, height) or known >= (0, 3)
