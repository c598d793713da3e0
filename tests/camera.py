"""A simulated camera: a display's pixels as a phone or a webcam would see them, from far, aslant, in bad light.

A display is a grid of lit squares with gaps (the source of moire), behind a bezel, before a background. It is seen
through a lens (perspective, blur), by a sensor (each of its pixels is an area, shot and read noise, JPEG). What is mild
and what is hard is set by the parameters of a Shot beforehand, not by who can read it.
"""

import contextlib
import math
import random
from dataclasses import dataclass

import cv2
import numpy as np

from satmeter.board.virtual import VirtualDisplay, firmware
from satmeter.devnet.emulated.invoices import sign
from satmeter.qr.make import fitted
from satmeter.wire.address import Address

FINE = 6  # points of the picture's model a display pixel
SUB = 2  # samples of the sensor a camera pixel, each way
EDGE = 10 * FINE
FRAME = (640, 480)


@dataclass(frozen=True)
class Shot:
    """How a picture is taken. `module_px`: camera pixels a module; angles in degrees, blur (sigma) in camera pixels,
    light 1 is daylight, noise and glare in grey levels."""

    module_px: float
    turn: float
    tilt: float
    azimuth: float
    blur: float
    light: float
    noise: float
    glare: float
    gap: float
    shade: float
    jpeg: int
    seed: int


def mild(rng):
    return Shot(
        module_px=rng.uniform(3, 6),
        turn=rng.uniform(0, 360),
        tilt=rng.uniform(0, 25),
        azimuth=rng.uniform(0, 360),
        blur=rng.uniform(0.3, 1.1),
        light=rng.uniform(0.5, 1),
        noise=rng.uniform(4, 18),
        glare=rng.choice((0, 0, 60)),
        gap=rng.uniform(0.0, 0.4),
        shade=rng.uniform(0, 0.3),
        jpeg=rng.randint(60, 95),
        seed=rng.getrandbits(32),
    )


def hard(rng):
    return Shot(
        module_px=rng.uniform(2.0, 3),
        turn=rng.uniform(0, 360),
        tilt=rng.uniform(0, 45),
        azimuth=rng.uniform(0, 360),
        blur=rng.uniform(0.2, 0.9),
        light=rng.uniform(0.25, 1),
        noise=rng.uniform(4, 18),
        glare=rng.choice((0, 0, 90)),
        gap=rng.uniform(0.0, 0.4),
        shade=rng.uniform(0, 0.5),
        jpeg=rng.randint(50, 90),
        seed=rng.getrandbits(32),
    )


def shown(text, width, height):
    """Return the display's pixels (0 and 1) as the firmware draws the code of a text, and its scale."""
    pages, fit = firmware("pages"), firmware("fit")
    made = fitted(text, width, height)
    code = pages.Code(made.n, "t")
    code.put(0, made.bits)
    display = VirtualDisplay(width, height)
    for n in range(height // 8):
        *_, row = pages.code_row(code, n, width, height)
        display.row(n, bytes(row))
    pixels = np.array([[int(bit) for bit in line] for line in display.picture()], np.uint8)
    return pixels, fit.scale_of(made.n, width, height)


def picture(pixels, scale, shot, frame=FRAME):
    """Return what the camera gives: a grey picture, as wide and high as its frame."""
    rng = np.random.default_rng(shot.seed)
    thing = _thing(pixels, shot)
    across = pixels.shape[0] / scale  # modules, the margin included: the code stays in the frame, however it is turned
    px = min(shot.module_px, 0.7 * frame[1] / across) / scale
    view = _view(pixels.shape[1], pixels.shape[0], shot, px, frame)
    size = (frame[0] * SUB, frame[1] * SUB)
    seen = cv2.warpPerspective(
        thing, view, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=-1
    )
    table = cv2.resize(rng.uniform(30, 190, (9, 12)).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    seen = np.where(seen < 0, table, seen)
    seen = cv2.resize(seen, frame, interpolation=cv2.INTER_AREA)
    seen = cv2.GaussianBlur(seen, (0, 0), shot.blur)
    return _sensed(seen, shot, rng)


def _thing(pixels, shot):
    """The display in its bezel, in FINE points a pixel: lit squares with gaps between them."""
    lit = np.kron(pixels, np.ones((FINE, FINE), np.float32)) * 225 + 12
    gap = round(shot.gap * FINE / 2)
    if gap:
        line = np.ones(FINE, np.float32)
        line[:gap] = 0.25
        lit *= np.tile(line, pixels.shape[1])[None, :] * np.tile(line, pixels.shape[0])[:, None]
    return cv2.copyMakeBorder(lit, EDGE, EDGE, EDGE, EDGE, cv2.BORDER_CONSTANT, value=18)


def _view(width, height, shot, px, frame):
    """The homography from points of the display to samples of the sensor: turned, tilted, `px` of them a pixel."""
    far = 3.0 * max(width, height)
    turn, tilt, azimuth = (math.radians(a) for a in (shot.turn, shot.tilt, shot.azimuth))
    middle = (EDGE + width * FINE / 2, EDGE + height * FINE / 2)
    corners = []
    for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        x, y = sx * width / 2, sy * height / 2
        along = x * math.cos(azimuth) + y * math.sin(azimuth)
        across = -x * math.sin(azimuth) + y * math.cos(azimuth)
        depth = far / (far + along * math.sin(tilt))
        along, across = along * math.cos(tilt) * depth, across * depth
        x = along * math.cos(azimuth + turn) - across * math.sin(azimuth + turn)
        y = along * math.sin(azimuth + turn) + across * math.cos(azimuth + turn)
        corners.append((frame[0] * SUB / 2 + x * px * SUB, frame[1] * SUB / 2 + y * px * SUB))
    source = [
        (middle[0] + sx * width * FINE / 2, middle[1] + sy * height * FINE / 2)
        for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    return cv2.getPerspectiveTransform(np.float32(source), np.float32(corners))


def _sensed(seen, shot, rng):
    """Light, glare, noise and JPEG."""
    height, width = seen.shape
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = rng.uniform(0, 2 * math.pi)
    slope = (xs / width - 0.5) * math.cos(angle) + (ys / height - 0.5) * math.sin(angle)
    seen = seen * shot.light * (1 + shot.shade * 2 * slope)
    if shot.glare:
        x, y = rng.uniform(0.3, 0.7, 2) * (width, height)
        size = rng.uniform(0.04, 0.12) * width
        seen = seen + shot.glare * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * size**2))
    seen = seen + rng.normal(0, 1, seen.shape) * (shot.noise * np.sqrt(0.3 + 0.7 * np.clip(seen, 0, None) / 128))
    grey = np.clip(seen, 0, 255).astype(np.uint8)
    _, packed = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, shot.jpeg])
    return cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE)


DISPLAYS = ((128, 64), (128, 128), (240, 240))
KEY = "4f" * 32
WORDS = (
    "",
    "socket in the garden, 300 sat a kWh",
    "a charger with a long description of what it is, where it stands, and for whom",
)


def texts():
    """The texts that boards show: a meter's address, and invoices, the shortest with a description of a word."""
    node = "0282295ebe2a73821315c4b1b4dd6d9ea6a5d5ecb2ae8b39b6e0fe0f2c2bd91e1f"
    yield str(Address("192.168.1.20", 9735, node, "socket"))
    for n, words in enumerate(WORDS):
        yield sign(KEY, 20_000 + n, "ab" * 32, "cd" * 32, words or "m", 600, 1_800_000_000).upper()


def shows():
    """Every text on every display that takes it: text, pixels, scale."""
    out = []
    for width, height in DISPLAYS:
        for text in texts():
            with contextlib.suppress(ValueError):  # too long for a small display, which the board says in words
                out.append((text, *shown(text, width, height)))
    return out


def corpus(count, seed):
    """Give `count` times (kind, text, picture), mild and hard in turn, over all displays and texts."""
    rng = random.Random(seed)
    what = shows()
    for n in range(count):
        text, pixels, scale = what[n // 2 % len(what)]
        kind = (mild, hard)[n % 2]
        yield kind.__name__, text, picture(pixels, scale, kind(rng))
