"""The reading chain on pictures of displays, and on pictures that are none."""

import io
import os
import random
import subprocess
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import cv2
import numpy as np
import pytest
import qrcode
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import camera
from satmeter.core.errors import BadParam
from satmeter.qr import draw, read
from satmeter.qr.make import as_code, fitted, make
from satmeter.qr.meaning import plausible

PICTURES, SEED = 1000, 20260


def tried(part):
    """Read a part of the corpus: how many of each kind were there, were read, and were read wrong."""
    count, seed = part
    found = Counter()
    for kind, text, picture in camera.corpus(count, seed):
        texts = [f.text for f in read.read(picture, plausible)]
        found[kind] += 1
        found[kind, "read"] += text in texts
        found["wrong"] += bool(texts) and texts != [text]
    return found


def test_the_corpus_is_read():
    parts = [(PICTURES // 8, SEED + n) for n in range(8)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = sum(pool.map(tried, parts), Counter())
    assert found["wrong"] == 0
    assert found["mild", "read"] / found["mild"] >= 0.99
    assert found["hard", "read"] / found["hard"] >= 0.80


def grey(code, scale=8):
    return read.load(draw.png(code, scale))


def framed(*pictures):
    """Pictures one above the other, with white around."""
    width = max(p.shape[1] for p in pictures)
    padded = [np.pad(p, ((20, 20), (20, 20 + width - p.shape[1])), constant_values=255) for p in pictures]
    return np.vstack(padded)


ADDRESS, *INVOICES = camera.texts()


def packed(image, kind, **how):
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


def on_nothing():
    """A code whose light modules and ground are transparent, and black under that, as drawing programs export it."""
    dark = np.kron(np.array(make(ADDRESS).rows(), np.uint8), np.ones((6, 6), np.uint8))
    dark = np.pad(dark, 40)
    return Image.fromarray(np.dstack([*[np.zeros_like(dark)] * 3, dark * 255]), "RGBA")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF"])
def test_what_is_transparent_is_read_on_white(kind):
    how = {"lossless": True} if kind == "WEBP" else {}
    assert [f.text for f in read.read(read.load(packed(on_nothing(), kind, **how)))] == [ADDRESS]


@pytest.mark.parametrize("top", [65535, 4095])
def test_sixteen_bits_of_grey_are_read(top):
    """As scanners and some cameras give them, whole or with twelve bits that count."""
    values = (np.pad(grey(make(ADDRESS)), 8, constant_values=255) / 255 * top).astype(np.uint16)
    assert [f.text for f in read.read(read.load(packed(Image.fromarray(values), "PNG")))] == [ADDRESS]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0\0\0\x1cftypheic\0\0\0\0", "a HEIC picture"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF picture"),
        (b"<?xml version='1.0'?><svg/>", "an SVG drawing"),
        (b"<svg xmlns='x'/>", "an SVG drawing"),
        (b"%PDF-1.7 ...", "a PDF"),
        (b"no picture", "is no picture"),
    ],
)
def test_what_is_not_read_is_called_by_its_name(data, kind):
    with pytest.raises(BadParam, match=f"{kind}.*send a screenshot") as e:
        read.load(data)
    assert "object at 0x" not in str(e.value)


def test_a_large_picture_is_searched_small_and_not_for_ever(monkeypatch):
    """After a look at all of it; what is found is placed in the picture as it is."""
    sizes, clock = [], [0.0]

    def step(picture):
        sizes.append(picture.size)
        clock[0] += 4
        found = len(sizes) == 3 and [read.Found("x", ((0, 0), (picture.shape[1] - 1, 0)))]
        return found or []

    monkeypatch.setattr(read.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(read, "STEPS", [step] * 7)
    photo = np.full((3000, 4000), 200, np.uint8)
    ((_, corner),) = (f.corners for f in read.read(photo))
    assert sizes[0] == photo.size and max(sizes[1:]) <= read.SEARCH_PIXELS * 1.01 and corner[0] > 3950
    sizes.clear()
    sizes += [0] * 10
    assert read.read(photo) == [] and len(sizes) == 10 + 3  # begun at 0, 4 and 8 s


@pytest.mark.parametrize("text", [ADDRESS, *INVOICES])
def test_what_is_drawn_is_read(text):
    assert [f.text for f in read.read(grey(make(text)))] == [text]


def test_an_svg_and_half_blocks_hold_the_same_modules():
    code = fitted(ADDRESS, 240, 240)
    rows = code.rows()
    svg = draw.svg(code)
    dark = sum(int(part.split("v")[0]) for part in svg.split('<path d="')[1].split("h")[1::2] if "v" in part)
    assert dark == sum(map(sum, rows))
    lines = draw.blocks(code).split("\n")
    assert len(lines) == (code.n + 8 + 1) // 2 and {len(line) for line in lines} == {code.n + 8}
    pixels = [[c in above for c in line] for line in lines for above in ("▀█", "▄█")]
    shown = np.kron(np.array(pixels[: code.n + 8], np.uint8) * 255, np.ones((4, 4), np.uint8))
    assert [f.text for f in read.read(shown)] == [ADDRESS]


def test_a_terminal_that_has_no_half_blocks_shows_the_same_modules():
    """On a light or dark ground, two spaces a module."""
    command = [sys.executable, "-m", "satmeter.cli", "code", ADDRESS]
    told = subprocess.run(command, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, capture_output=True, check=True)
    rows = [line.split(b"\x1b[")[1:-1] for line in told.stdout.rstrip().split(b"\n")]
    dark = [[module == b"40m  " for module in row] for row in rows]
    assert {module for row in rows for module in row} == {b"40m  ", b"107m  "}
    assert [row[4:-4] for row in dark[4:-4]] == [list(map(bool, row)) for row in make(as_code(ADDRESS)).rows()]


def test_two_codes_come_from_top_to_bottom():
    picture = framed(grey(make(INVOICES[0]), 4), grey(make(ADDRESS), 4))
    assert [f.text for f in read.read(picture)] == [INVOICES[0], ADDRESS]


def test_a_text_that_is_not_believed_was_not_read():
    spoilt = INVOICES[0][:-1] + ("P" if INVOICES[0][-1] != "P" else "Q")
    assert read.read(grey(make(spoilt)), plausible) == []
    assert [f.text for f in read.read(grey(make(spoilt)))] == [spoilt]


@pytest.mark.parametrize(
    "junk",
    ["x" * 2900, "1" * 4000, "\x00\x1b[31m\x07" * 20, "ünïcödé ⚡" * 30],
    ids=["long", "digits", "control", "utf8"],
)
def test_junk_is_read_as_it_is_or_not_at_all(junk):
    code = qrcode.QRCode(border=4, box_size=4, error_correction=qrcode.constants.ERROR_CORRECT_L)
    code.add_data(junk.encode())
    picture = np.asarray(code.make_image().get_image().convert("L"))
    assert all(f.text for f in read.read(picture, plausible, patient=False))


@given(data=st.binary(max_size=300) | st.binary(max_size=300).map(lambda b: b"\x89PNG\r\n\x1a\n" + b))
def test_what_is_no_picture_is_said(data):
    with pytest.raises(BadParam, match=r"shot\.png: is (no picture|an? \w+( \w+)?, which is not read)"):
        read.load(data, "shot.png")


def test_a_picture_cut_short_is_said():
    with pytest.raises(BadParam, match="is no picture"):
        read.load(draw.png(make(ADDRESS))[:300])


def encoded(width, height, kind):
    out = io.BytesIO()
    image = Image.new("L", (width, height), 255)
    image.paste(Image.fromarray(grey(make(ADDRESS), 20)), (width // 3, height // 3))
    image.save(out, kind, **({"quality": 80} if kind == "JPEG" else {}))
    return out.getvalue()


@pytest.mark.parametrize(("kind", "size"), [("JPEG", (12_000, 8_400)), ("PNG", (7_000, 5_000))])
def test_what_is_very_large_is_made_smaller_and_read(kind, size):
    picture = read.load(encoded(*size, kind))
    assert picture.size <= read.WORK_PIXELS
    assert [f.text for f in read.read(picture)] == [ADDRESS]


@pytest.mark.parametrize("mode", ["1", "P", "RGBA"])
def test_every_kind_of_colours_is_read(mode):
    out = io.BytesIO()
    Image.fromarray(grey(make(ADDRESS))).resize((6000, 6000)).convert(mode).save(out, "PNG")
    assert [f.text for f in read.read(read.load(out.getvalue()))] == [ADDRESS]


def test_what_would_be_run_is_no_picture():
    with pytest.raises(BadParam, match="is no picture"):
        read.load(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{ } loop\n")
    out = io.BytesIO()
    Image.new("1", (66_000, 8)).save(out, "PNG")
    with pytest.raises(BadParam, match="pixels"):
        read.load(out.getvalue())


def test_more_pixels_than_anybody_has_are_refused_unseen():
    header = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(header, "PNG")
    with pytest.raises(BadParam, match="400,000,000 pixels"):
        read.load(header.getvalue())
    with pytest.raises(BadParam, match="bytes"):
        read.load(bytes(read.MOST_BYTES + 1))


def test_why_nothing_was_read_is_said():
    picture = framed(grey(make(INVOICES[0]), 4))
    assert "too dark" in read.trouble((picture // 8).astype(np.uint8))
    assert "cut off" in read.trouble(picture[:, : picture.shape[1] // 2])
    assert "cut off" in read.trouble(picture[picture.shape[0] // 2 :])
    rng = np.random.default_rng(1)
    thumb = cv2.circle(picture.copy(), (picture.shape[1] // 2, picture.shape[0] // 2), 60, 128, -1)
    assert read.read(thumb) == [] and "can't be read" in read.trouble(thumb)
    wall = cv2.resize(rng.integers(90, 160, (12, 16), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    assert read.read(wall) == [] and read.trouble(wall) == ""


def test_without_patience_the_quick_steps_are_all():
    kinds = [p for kind, _, p in camera.corpus(60, 5) if kind == "hard"]
    quick = sum(bool(read.read(p, patient=False)) for p in kinds)
    assert 0 < quick <= sum(bool(read.read(p)) for p in kinds)


def test_the_simulated_camera_is_the_same_for_the_same_seed():
    shot = camera.hard(random.Random(9))
    text, pixels, scale = camera.shows()[0]
    assert text == ADDRESS
    assert (camera.picture(pixels, scale, shot) == camera.picture(pixels, scale, shot)).all()
