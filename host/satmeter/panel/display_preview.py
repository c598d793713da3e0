"""A board's display as the board draws it: by the firmware's own drawing, from what its seller knows of it.

The button's turning of pages is the one thing that a board does not tell. A virtual board's pixels are taken as they
are.
"""

import base64
import functools
import io
import time

from PIL import Image

from ..board.virtual import VirtualBoard, VirtualDisplay, firmware
from ..core.status import MeterStatus
from ..qr.make import fitted

SIZE = (128, 64)
"""Where a board has no display, or did not say: what its page would be on the commonest one."""
LIGHT, DARK = (196, 235, 255), (8, 14, 20)


class _Board:
    """What the firmware's pages ask of a board."""

    name = ""
    version = 0
    faults: list[str]
    lines: list[str]
    codes: dict[int, object]
    lamp = "off"
    heard = relay = False
    flow = register = grant = most = 0


class DisplayPreview:
    """The display of one meter's board, drawn anew when what is on it has changed."""

    def __init__(self) -> None:
        self._board = _Board()
        self._key: tuple[object, ...] = ()
        self._png = ""
        self._texts: tuple[tuple[str, ...], tuple[int, int]] = ((), (0, 0))

    def picture(self, meter: MeterStatus) -> str:
        """Return the display as a data: URL of a PNG."""
        size = _size(meter.display)
        now = time.monotonic_ns() // 1_000_000
        count = (meter.grant, meter.register, meter.flow)
        key = (meter.board, meter.fault, meter.page, meter.codes, meter.lamp, meter.plugged, count)
        turn = now // int(firmware("screen").CODE_MS)
        if (size, turn, *key) != self._key:
            self._key = (size, turn, *key)
            self._take(meter, size)
            self._png = png(self._draw(size, now))
        return self._png

    def _take(self, meter: MeterStatus, size: tuple[int, int]) -> None:
        board = self._board
        left = meter.grant - meter.register
        board.most = max(left, board.most) if left > 0 else 0
        board.lines = [str(line)[:32] for line in [*meter.page, "", "", "", ""][:4]]
        board.heard = meter.board == "heard"
        board.faults = [meter.fault] if meter.fault else []
        board.flow, board.register, board.grant, board.lamp = (
            meter.flow,
            meter.register,
            meter.grant,
            meter.lamp,
        )
        board.relay = bool(meter.plugged) and left > 0
        if (tuple(meter.codes), size) != self._texts:
            self._texts = (tuple(meter.codes), size)
            board.codes = {n: code for n, text in enumerate(meter.codes) if (code := _code(text, size)) is not None}

    def _draw(self, size: tuple[int, int], now: int) -> list[str]:
        display = VirtualDisplay(*size)
        screen = firmware("screen").Screen(display)
        while screen.step(self._board, now):
            pass
        return display.picture()


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if width.isdecimal() and height.isdecimal() and 32 <= int(width) <= 480 and 32 <= int(height) <= 480:
        return int(width), int(height) // 8 * 8
    return SIZE


@functools.lru_cache(maxsize=64)
def _code(text: str, size: tuple[int, int]) -> object:
    if not text:
        return None
    try:
        made = fitted(text, *size)
    except ValueError:
        return None
    code = firmware("pages").Code(made.n, "")
    code.put(0, made.bits)
    return code


def of_virtual(board: VirtualBoard) -> str:
    """Return a virtual board's display as it is."""
    display = board.hal.display
    return png(display.picture()) if display is not None else ""


def png(lines: list[str]) -> str:
    """Return lines of 0 and 1 as a data: URL of a PNG in a display's colours."""
    width, height = len(lines[0]), len(lines)
    image = Image.new("P", (width, height))
    image.putpalette([*DARK, *LIGHT])
    image.putdata([int(each) for line in lines for each in line])
    out = io.BytesIO()
    image.save(out, "PNG", bits=1, optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
