"""Stickers of a meter: one code for cameras and wallets, with its name, its price and its page in letters."""

import io
from dataclasses import dataclass
from html import escape

from PIL import Image, ImageDraw, ImageFont

from ..core.errors import BadParam
from ..wire.fit import QUIET
from . import draw
from .make import make

DOTS_PER_MM = 12
"""About 300 dots an inch."""
LEAST_MODULE_MM = 0.4
"""A cheap phone reads modules of this size from 20 cm; smaller ones it may not."""
PAPERS = {"A4": (210, 297), "A5": (148, 210), "A6": (105, 148), "letter": (216, 279)}
"""Width and height in mm."""
MARGIN_MM, GAP_MM = 8, 4
HOW = "scan with any camera or wallet"
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class Sticker:
    """What one shows: `url` as a code and in letters, the meter's name, and a line such as its price."""

    url: str
    page: str
    name: str
    line: str

    def module_mm(self, side_mm: float) -> float:
        """Returns the size of a module of the code in whole dots, where code and quiet zone are `side_mm` wide."""
        return side_mm * DOTS_PER_MM // (make(self.url).n + 2 * QUIET) / DOTS_PER_MM


def svg(sticker: Sticker, side_mm: int) -> str:
    """Returns a sticker `side_mm` wide as an SVG, its letters as text."""
    code = draw.svg(make(sticker.url)).replace("<svg ", f'<svg width="{side_mm}" height="{side_mm}" ', 1)
    size = side_mm / 14
    lines = [(sticker.name, 1.4), (sticker.line, 1.0), (sticker.page, 0.62), (HOW, 0.8)]
    y, text = float(side_mm), ""
    for words, factor in lines:
        y += size * factor * 1.3
        text += (
            f'<text x="{side_mm / 2}" y="{y:.2f}" font-family="sans-serif" font-size="{size * factor:.2f}" '
            f'text-anchor="middle">{escape(words)}</text>'
        )
    height = y + size
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{side_mm}mm" height="{height:.1f}mm" '
        f'viewBox="0 0 {side_mm} {height:.1f}">{code}{text}</svg>'
    )


def picture(sticker: Sticker, side_mm: int) -> Image.Image:
    """Returns a sticker `side_mm` wide in grey, at DOTS_PER_MM."""
    side, code = side_mm * DOTS_PER_MM, make(sticker.url)
    drawn = Image.open(io.BytesIO(draw.png(code, max(1, side // (code.n + 2 * QUIET))))).convert("L")
    made = Image.new("L", (side, side + side // 3), 255)
    made.paste(drawn, ((side - drawn.width) // 2, 0))
    pen, y = ImageDraw.Draw(made), side
    for words, share in ((sticker.name, 10), (sticker.line, 14), (sticker.page, 22), (HOW, 17)):
        font = _fitting(pen, words, side // share, side * 0.94)
        left, top, right, bottom = pen.textbbox((0, 0), words, font=font)
        pen.text(((side - (right - left)) / 2, y - top), words, fill=0, font=font)
        y += int((bottom - top) * 1.5)
    return made


def _fitting(pen: ImageDraw.ImageDraw, words: str, size: int, width: float) -> Font:
    """Returns the font in the size given, or the largest one in which the words are no wider than `width`."""
    while size > 8 and pen.textlength(words, font=ImageFont.load_default(size)) > width:
        size -= 1
    return ImageFont.load_default(size)


def png(sticker: Sticker, side_mm: int) -> bytes:
    """Returns a sticker as a PNG that states its resolution."""
    out = io.BytesIO()
    picture(sticker, side_mm).save(out, "PNG", dpi=(DOTS_PER_MM * 25.4,) * 2, optimize=True)
    return out.getvalue()


def sheet(sticker: Sticker, paper: str, each: int) -> tuple[Image.Image, int]:
    """Returns a sheet of `each` stickers, and how wide each one is in mm.

    Raises:
        BadParam: The paper is unknown, or so many stickers on it would be too small to be read.
    """
    if paper not in PAPERS:
        raise BadParam(f"paper: must be one of {', '.join(PAPERS)}, got {paper!r}", param="paper")
    if not 1 <= each <= 200:
        raise BadParam(f"each: must be from 1 to 200, got {each}", param="each")
    width, height = PAPERS[paper]
    side, columns = max((_side(width, height, columns, each), columns) for columns in range(1, each + 1))
    if side < 10 or sticker.module_mm(side) < LEAST_MODULE_MM:
        raise BadParam(
            f"each: {each} on {paper} are {max(0, side)} mm wide, with modules of "
            f"{sticker.module_mm(max(0, side)):.2f} mm; a cheap phone needs {LEAST_MODULE_MM} mm",
            param="each",
        )
    drawn = Image.new("L", (width * DOTS_PER_MM, height * DOTS_PER_MM), 255)
    one = picture(sticker, side)
    for number in range(each):
        x, y = number % columns, number // columns
        left = MARGIN_MM * DOTS_PER_MM + x * (one.width + GAP_MM * DOTS_PER_MM)
        drawn.paste(one, (left, MARGIN_MM * DOTS_PER_MM + y * (one.height + GAP_MM * DOTS_PER_MM)))
    return drawn, side


def pdf(sticker: Sticker, paper: str, each: int) -> tuple[bytes, int]:
    """Returns a sheet as a PDF, and how wide each sticker is in mm. BadParam as sheet()."""
    drawn, side = sheet(sticker, paper, each)
    out = io.BytesIO()
    drawn.save(out, "PDF", resolution=DOTS_PER_MM * 25.4)
    return out.getvalue(), side


def _side(width: int, height: int, columns: int, each: int) -> int:
    """Returns how wide a sticker can be, in whole mm, in so many columns; its height is four thirds of that."""
    rows = -(-each // columns)
    across = (width - 2 * MARGIN_MM - (columns - 1) * GAP_MM) // columns
    down = (height - 2 * MARGIN_MM - (rows - 1) * GAP_MM) // rows
    return min(across, down * 3 // 4)
