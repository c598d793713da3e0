"""Reading codes out of pictures: a chain of attempts, the quick one first, each on a picture made a little clearer.

A display's code, seen from afar, has modules of two or three camera pixels, a grid of dark lines between its own
pixels, and noise; enlarging it after a slight blur undoes most of that. What each step adds is measured by
tests/bench/codes.py on pictures of a simulated camera (tests/camera.py).
"""

import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import zxingcpp
from cv2.typing import MatLike
from PIL import Image, UnidentifiedImageError

from ..core.errors import BadParam

Picture = MatLike
"""Grey, height x width, 8 bits."""

MOST_BYTES = 32 << 20
MOST_PIXELS = {"JPEG": 200_000_000}
OTHER_PIXELS = 40_000_000
"""JPEG is made smaller while it is read; anything else stands in memory whole, with all its colours."""
MOST_SIDE = 65_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""What cameras and screenshots make. Pillow would know more, and run Ghostscript for one of them."""
OTHER_KINDS = (
    (b"ftypavi", "an AVIF picture"), (b"ftyphei", "a HEIC picture"), (b"ftyphev", "a HEIC picture"),
    (b"ftypmif1", "a HEIC picture"), (b"<svg", "an SVG drawing"), (b"%pdf", "a PDF"),
)  # fmt: skip
BEGINNING = 1024
"""What people have, too, by a mark in its first bytes (in lower case); before an SVG's there may be an XML heading."""
Image.MAX_IMAGE_PIXELS = None  # which would refuse what a good phone makes; the bound is ours, by the header alone
WORK_PIXELS = 24_000_000
"""Larger pictures are made smaller: nobody's code needs them, and enlarging them would take minutes."""
ENLARGED_PIXELS = 12_000_000
SEARCH_PIXELS, MOST_S = 2_000_000, 10.0
"""The size at which a picture is searched by the slow steps, and after how many seconds no other step is begun."""

QRCODES = zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat.QRCode])

Corners = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A code's text, and where it is in the picture (four corners; empty where the reader does not say)."""

    text: str
    corners: Corners = ()


def read(picture: Picture, believe: Callable[[str], bool] = lambda text: True, patient: bool = True) -> list[Found]:
    """Returns the codes of a picture, from top to bottom; an empty list where no step reads one.

    The first step looks at the whole picture. For the others a large picture is made smaller: a code
    that fills a useful part of it can still be read, and at full size all steps would take half a
    minute. No step is begun after 10 s.

    Args:
        picture: in grey, a byte a pixel.
        believe: takes a text; False for one that was misread, such as an invoice with a wrong checksum.
        patient: False leaves the slow steps out, where the next frame of a film comes soon.
    """
    until = time.monotonic() + MOST_S
    steps = STEPS if patient else STEPS[:QUICK]
    for n, step in enumerate(steps):
        if n and time.monotonic() > until:
            break
        looked_at = picture if n == 0 or picture.size <= SEARCH_PIXELS else _shrunk(picture)
        found = [each for each in step(looked_at) if each.text and believe(each.text)]
        if found:
            scale = picture.shape[1] / looked_at.shape[1]
            placed = [Found(one.text, tuple((int(x * scale), int(y * scale)) for x, y in one.corners)) for one in found]
            return sorted(placed, key=lambda f: min((y for _, y in f.corners), default=0))
    return []


def _shrunk(picture: Picture) -> Picture:
    scale = (SEARCH_PIXELS / picture.size) ** 0.5
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def load(data: bytes, name: str = "picture") -> Picture:
    """Return the picture in a file's bytes. BadParam for one that is no picture, or too large to be one of a code."""
    if len(data) > MOST_BYTES:
        raise BadParam(f"{name}: has {len(data):,} bytes; a picture may have {MOST_BYTES:,}", param="picture")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            pixels, most = image.width * image.height, MOST_PIXELS.get(image.format or "", OTHER_PIXELS)
            if pixels > most or max(image.size) > MOST_SIDE:
                raise BadParam(f"{name}: has {pixels:,} pixels; a {image.format} may have {most:,}", param="picture")
            shrink = 1
            while pixels // shrink**2 > WORK_PIXELS:
                shrink *= 2
            image.draft("L", (image.width // shrink, image.height // shrink))
            return np.asarray(_small(_grey(image)))
    except BadParam:
        raise
    except UnidentifiedImageError:
        kind = next((kind for mark, kind in OTHER_KINDS if mark in data[:BEGINNING].lower()), "")
        what = f"is {kind}, which is not read here" if kind else "is no picture that can be read"
        raise BadParam(f"{name}: {what}; send a screenshot, or a JPEG or PNG", param="picture") from None
    except Exception as error:  # its decoders raise what they meet
        raise BadParam(f"{name}: is no picture that can be read ({error})", param="picture") from None


def _grey(image: Image.Image) -> Image.Image:
    """Returns a picture in 8 bits of grey.

    Transparent parts become white, as on a page. Values of more than 8 bits are scaled so that the
    brightest is 255."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float64)
        return Image.fromarray((values / max(255.0, float(values.max())) * 255).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        solid = image.convert("RGBA")
        ground = Image.new("RGBA", solid.size, "white")
        return Image.alpha_composite(ground, solid).convert("L")
    return image.convert("L")


def _small(image: Image.Image) -> Image.Image:
    """What a draft did not make smaller (only JPEG knows how)."""
    shrink = 1
    while image.width * image.height // shrink**2 > WORK_PIXELS:
        shrink *= 2
    return image.reduce(shrink) if shrink > 1 else image


# --- the steps


def _zxing(picture: Picture) -> list[Found]:
    codes = zxingcpp.read_barcodes(picture, formats=QRCODES)
    return [Found(code.text, _corners(code.position)) for code in codes]


def _corners(position: "zxingcpp.Position") -> Corners:
    return tuple(
        (each.x, each.y)
        for each in (position.top_left, position.top_right, position.bottom_right, position.bottom_left)
    )


def _zbar(picture: Picture) -> list[Found]:
    try:
        from pyzbar import pyzbar
    except ImportError:  # its library is not installed: one step less
        return []
    codes = pyzbar.decode(picture, symbols=[pyzbar.ZBarSymbol.QRCODE])
    return [
        Found(code.data.decode("utf-8", "replace"), tuple((each.x, each.y) for each in code.polygon)) for code in codes
    ]


def _plain(picture: Picture) -> list[Found]:
    return _zxing(picture)


def _enlarged(times: int, sigma: float, reader: Callable[[Picture], list[Found]] = _zxing) -> "Step":
    def step(picture: Picture) -> list[Found]:
        return _at_scale(_soft(picture, sigma), times, reader)

    return step


def _cleaned(picture: Picture) -> list[Found]:
    """Noise taken out by likeness of patches, which keeps edges; slow, so only where the picture is not large."""
    if picture.size > WORK_PIXELS // 12:
        return []
    return _at_scale(cv2.fastNlMeansDenoising(picture, None, 15, 3, 9), 3, _zxing)


def _soft(picture: Picture, sigma: float) -> Picture:
    return cv2.GaussianBlur(picture, (0, 0), sigma)


def _at_scale(picture: Picture, times: float, reader: Callable[[Picture], list[Found]]) -> list[Found]:
    times = min(times, (ENLARGED_PIXELS / picture.size) ** 0.5)
    if times <= 1:
        return reader(picture)
    large = cv2.resize(picture, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    return [
        Found(each.text, tuple((int(x / times), int(y / times)) for x, y in each.corners)) for each in reader(large)
    ]


Step = Callable[[Picture], list[Found]]
STEPS: Sequence[Step] = (
    _plain,
    _enlarged(2, 0.7),
    _enlarged(4, 0.6),
    _enlarged(3, 0.4),
    _cleaned,
    _enlarged(3, 0.8),
    _enlarged(2, 1.0, _zbar),
)
QUICK = 3


# --- what is wrong with a picture in which nothing was read

DARK = 60
"""A picture with hardly anything brighter than this is too dark."""


def trouble(picture: Picture) -> str:
    """Return in words why nothing was read, and what to do: "" where no part of a code is to be seen."""
    if np.percentile(picture, 98) < DARK:
        return "too dark: more light on the code, or a brighter display"
    marks = len(list(_marks(picture)))
    if marks >= 3:
        return "a code is there, but can't be read: closer and still, the whole of it uncovered and sharp"
    if marks:
        return "code cut off: all three of its square marks must be in the picture"
    return ""


def _marks(picture: Picture) -> Iterator[tuple[float, float]]:
    """Find the square marks in a code's corners: three outlines about one middle, of areas 49 : 25 : 9."""
    times = max(1.0, (2_000_000 / picture.size) ** 0.5)
    large = cv2.resize(_soft(picture, 0.7), None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    side = max(31, min(large.shape) // 8 | 1)
    black = cv2.adaptiveThreshold(large, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, side, 5)
    outlines, tree = cv2.findContours(black, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if tree is None:
        return
    areas = [cv2.contourArea(outline) for outline in outlines]
    for n, (_, _, child, _) in enumerate(tree[0]):
        inner = tree[0][child][2] if child >= 0 else -1
        if inner < 0 or areas[inner] < 9:
            continue
        if not (1.2 < areas[n] / max(1, areas[child]) < 3.5 and 1.5 < areas[child] / areas[inner] < 6):
            continue
        (x, y), (width, height), _ = cv2.minAreaRect(outlines[n])
        if min(width, height) > 0.4 * max(width, height):
            yield x / times, y / times
