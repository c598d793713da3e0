"""The host's end of the talk with one board, without I/O: what the board said last, and what it has to know.

Registers are cumulative, so the newest reading of a boot says all; a grant is absolute, so the newest is what counts.
"""

import binascii
from collections.abc import Callable, Iterator
from typing import Any

from ..core.errors import BadFrame
from .link import HOST, PROTOCOL, Link

SILENCE_MS = 5_000
"""A board that is not heard for so long is asked anew: it may have lost the session, or the line its sense."""

PIECE = 75
"""Bytes of a code in a frame: with base64 and all else it has to be within a line."""

Encode = Callable[[str, int, int], tuple[int, bytes]]
"""Returns a text's code for a display of so many pixels: modules a side, packed bits. ValueError if none fits."""

Grant = Callable[[dict[str, Any], str], int | None]
"""Returns the grant that a view holds for a boot of the board, None where it is for another."""


def pieces(n: int, bits: bytes) -> Iterator[dict[str, Any]]:
    """Cut a code into what the `code` frames say of it; n of 0 takes a code away."""
    tag = f"{binascii.crc32(bits) & 0xFFFF:04x}"
    for at in range(0, max(1, len(bits)), PIECE):
        data = binascii.b2a_base64(bits[at : at + PIECE], newline=False).decode()
        yield {"n": n, "at": at, "tag": tag, "data": data}


class Dialogue:
    """Bytes in by feed(), out by pull(); readings wait in `pending` until they are reported."""

    def __init__(self, key: bytes, grant: Grant, encode: Encode | None = None):
        self.link = Link(HOST, key)
        self._encode = encode
        self._codes: dict[int, str] = {}
        """Texts of the codes that this board was told, by id."""
        self.board: dict[str, Any] = {}
        """The board's last hello."""
        self.view: dict[str, Any] = {}
        self.pending: dict[str, dict[str, Any]] = {}
        """The newest reading of each boot that was not reported yet, oldest boot first."""
        self._grant = grant
        self._heard = 0
        self._told = 0
        """The grant that the board was told last."""
        self._let_go = False
        """Whether the board says that it has let go of its grant, and that is not reported yet: the view is of before,
        and the session may have ended with the plug. Until a newer one the board is not granted anything."""

    def ask(self, nonce: str, now_ms: int) -> None:
        """Begin (again). `nonce` is fresh, in hex, at most 16 digits."""
        self._heard = now_ms
        self.link.ask(nonce)

    @property
    def other_key(self) -> bool:
        """Whether what the board says is whole, and made with another key than ours: to be asked once it is lost(),
        since what it said to another host looks the same."""
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
        return self.link.pull(now_ms)

    def show(self, view: dict[str, Any]) -> None:
        """Take the newest view: lamp, page, and what the grant is found in."""
        self.view = view
        self._tell()

    def oldest(self) -> dict[str, Any] | None:
        """Return the reading to report next: the newest of the oldest boot."""
        return next(iter(self.pending.values()), None)

    def reported(self, reading: dict[str, Any], view: dict[str, Any] | None = None, taken: bool = True) -> None:
        """Let go of a reading that was answered, unless a newer one of its boot has come. `view`: the answer, if that
        is one; `taken`: whether it was not refused."""
        newest = self.pending.get(reading["boot"]) is reading
        if newest:
            del self.pending[reading["boot"]]
        waited = self._let_go and newest and taken and reading["boot"] == self.board.get("boot")
        self._let_go = self._let_go and not waited
        if waited:
            self.view = view or self.view
            self._tell()

    def _hello(self, frame: dict[str, Any]) -> None:
        if frame["proto"] != PROTOCOL:
            raise BadFrame(f"the board speaks protocol {frame['proto']}, this bridge {PROTOCOL}: flash it again")
        self._told = self._told if frame["boot"] == self.board.get("boot") else 0
        self.board = frame
        self._codes = {}
        self._tell()

    def _reading(self, frame: dict[str, Any]) -> None:
        boot = frame["boot"]
        self.pending[boot] = {
            "boot": boot,
            "register": frame["register"],
            "grant": frame["grant"],
            "base": self.board["base"],
            "flow": frame["flow"],
            "plugged": bool(frame["plugged"]),
            "display": self.board["display"],
            "fault": frame["fault"],
            "board": self.board["uid"],
        }
        self._let_go = self._let_go or (frame["grant"] == 0 and self._told > 0)
        wanted = self._grant(self.view, boot) if self.view else None
        if frame["plugged"] and wanted is not None and frame["grant"] != wanted:
            self._tell_grant(boot, wanted)

    def _tell(self) -> None:
        """Queue what the board has to know."""
        if not self.view or not self.link.trusted:
            return
        here = self.board["boot"]
        grant = self._grant(self.view, here)
        if grant is not None:
            self._tell_grant(here, grant)
        self.link.send("lamp", boot=here, lamp=self.view["lamp"])
        for n, text in enumerate(self.view.get("page", [])):
            self.link.send("page", key=str(n), boot=here, n=n, text=str(text)[:32])
        for which, text in enumerate(self.view.get("codes", [])):
            if self._codes.get(which, "") != text:
                self._codes[which] = text
                self._show_code(which, text)

    def _tell_grant(self, boot: str, register: int) -> None:
        if not register or not self._let_go:
            self._told = register
            self.link.send("grant", boot=boot, register=register)

    def _show_code(self, which: int, text: str) -> None:
        """Send a code in pieces, in the size of the board's display; what does not fit is said on its page."""
        size = self.board["display"].split("x")
        if self._encode is None or len(size) != 2:
            return
        here, n, bits = self.board["boot"], 0, b""
        if text:
            try:
                n, bits = self._encode(text, int(size[0]), int(size[1]))
            except ValueError:
                self.link.send("page", key="3", boot=here, n=3, text="code too long for it")
        for piece in pieces(n, bits):
            self.link.send("code", key=f"{which}.{piece['at']}", boot=here, id=which, **piece)
