"""What a display shows: pages of text, a bar, and codes, cut into rows of 8 pixels (a byte a column, low bit on top).

Rows are made one at a time, and a code's rows in smaller pieces still, because the loop has to count in between.
"""

from fit import scale_of

import font

LARGE = 200  # a display as wide as this has its letters twice as large
PIECE = 3  # lines of modules that are drawn in one go


class Code:
    """A QR code as it comes in pieces: n modules a side, packed by rows, high bit first, each row from a new byte."""

    def __init__(self, n: int, tag: str):
        self.n = n
        self.tag = tag
        self.stride = (n + 7) // 8
        self.bits = bytearray(self.stride * n)
        self._missing = len(self.bits)
        self._got = set()

    def put(self, at: int, data: bytes) -> bool:
        """Take a piece; return whether the code is whole. ValueError for one beyond its end."""
        if at < 0 or at + len(data) > len(self.bits):
            raise ValueError("a piece beyond the code")
        if at not in self._got:
            self._got.add(at)
            self.bits[at : at + len(data)] = data
            self._missing -= len(data)
        return self.whole

    @property
    def whole(self) -> bool:
        """Whether all bytes of the code have come."""
        return self._missing <= 0


def duration(seconds: int) -> str:
    """Return a time in words that fit a small display."""
    if seconds < 60:
        return "%d s" % seconds
    if seconds < 3600:
        return "%d min %02d s" % (seconds // 60, seconds % 60)
    if seconds < 100 * 3600:
        return "%d h %02d min" % (seconds // 3600, seconds // 60 % 60)
    return "%d days" % (seconds // 86400)


def state(board) -> list:  # type: ignore[no-untyped-def, type-arg]
    """Name and state as the host says them, what the board does where that differs, and what is wrong, in words."""
    lines = ["=" + (board.lines[0] or board.name), ""] + [line for line in board.lines[1:] if line]
    if board.lamp == "on" and not board.relay:
        lines.append("off: used up")
    if not board.heard:
        lines.append("waiting for the host")
    return lines + ["!" + fault for fault in board.faults]


def use(board) -> list:  # type: ignore[no-untyped-def, type-arg]
    """Returns the lines of the page that shows the flow (ticks an hour) and the register (ticks)."""
    return ["=use", "", "flow", " %d /h" % board.flow, "register", " %d" % board.register]


def credit(board) -> list:  # type: ignore[no-untyped-def, type-arg]
    """What is left of the grant, as a bar of what it was at most, and for how long at this flow."""
    left = max(0, board.grant - board.register)
    lines = ["=credit", "", "#%d/%d" % (left, max(1, board.most)), "%d ticks" % left]
    if board.flow and left:
        lines.append("about " + duration(left * 3600 // board.flow))
    return lines


TEXTS = (state, use, credit)


def text_row(line: str, width: int, large: bool, half: int) -> bytearray:
    """Return a row of a line: = white on black, ! a fault, # a bar of a part of a whole, anything else as it is."""
    if line[:1] == "#":
        part, whole = line[1:].split("/")
        fill = min(width, width * int(part) // int(whole))
        return bytearray(b"\x7e" * fill + b"\x42" * (width - fill))
    chars = width // font.CELL // (2 if large else 1)
    row = font.columns(line.lstrip("=")[:chars])
    if large:
        row = font.doubled(row, half)
    row += bytearray(width - len(row))
    return bytearray(b ^ 0xFF for b in row) if line[:1] == "=" else row


def code_row(code: Code, row: int, width: int, height: int):  # type: ignore[no-untyped-def]
    """Make a row of a code that fills the display, dark on light; yields None between pieces, then the row."""
    k = scale_of(code.n, width, height)
    out = bytearray(b"\xff" * width)
    if not k:  # a host that knows of larger displays only
        yield out
        return
    left, top = (width - k * code.n) // 2, (height - k * code.n) // 2
    first, last = (8 * row - top) // k, (8 * row + 7 - top) // k
    for count, y in enumerate(range(max(0, first), min(code.n - 1, last) + 1)):
        if count and count % PIECE == 0:
            yield None
        light = 0xFF
        for bit in range(max(0, top + y * k - 8 * row), min(8, top + y * k + k - 8 * row)):
            light &= ~(1 << bit)
        x = left
        for byte in code.bits[y * code.stride : (y + 1) * code.stride]:
            at = x
            while byte:
                if byte & 0x80:
                    if k == 1:
                        out[at] &= light
                    else:
                        for i in range(at, at + k):
                            out[i] &= light
                byte = byte << 1 & 0xFF
                at += k
            x += 8 * k
    yield out
