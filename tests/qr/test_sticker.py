"""Stickers are read back by three readers, as they are printed, and none is made that a cheap phone could not read."""

import io

import cv2
import numpy as np
import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from satmeter.billing.meter_pages import MeterPages, sticker_of
from satmeter.core.errors import BadParam
from satmeter.qr.sticker import LEAST_MODULE_MM, Sticker, pdf, png, sheet, svg

PAGE = "https://plugs.example.org/m/socket"


def made(page=PAGE):
    code = f"{page}?lightning=LNURL1DP68GURN8GHJ7URVW4NHXTN90PSKZMTSV4KZUMMJVUHKKTMFDEE82CM0W4MKSETPWQ6XGCT5"
    return Sticker(code, page.partition("://")[2], "socket", "300 sat for a kWh")


def read(picture):
    return {code.text for code in zxingcpp.read_barcodes(picture)}


@pytest.mark.parametrize("mm", [20, 35, 60, 120])
def test_it_is_read_back(mm):
    picture = Image.open(io.BytesIO(png(made(), mm)))
    assert read(picture) == {made().url}
    assert cv2.QRCodeDetector().detectAndDecode(np.asarray(picture.convert("L")))[0] == made().url


def test_half_as_sharp_and_grey_it_is_still_read():
    picture = Image.open(io.BytesIO(png(made(), 40))).convert("L").rotate(7, fillcolor=255, expand=True)
    small = picture.resize((picture.width // 3, picture.height // 3)).point(lambda level: 60 + level // 2)
    assert read(small) == {made().url}


@pytest.mark.parametrize(("paper", "each"), [("A4", 1), ("A4", 8), ("A4", 24), ("A6", 2), ("letter", 6)])
def test_a_sheet_has_as_many_as_asked_for_each_large_enough(paper, each):
    drawn, side = sheet(made(), paper, each)
    assert made().module_mm(side) >= LEAST_MODULE_MM
    assert [code.text for code in zxingcpp.read_barcodes(drawn)] == [made().url] * each


@pytest.mark.parametrize(
    ("paper", "each", "words"),
    [("A3", 1, "paper: must"), ("A4", 100, "phone needs"), ("A6", 40, "a cheap"), ("A4", 0, "each")],
)
def test_what_could_not_be_read_is_refused(paper, each, words):
    with pytest.raises(BadParam, match=words):
        pdf(made(), paper, each)


def test_a_pdf_and_an_svg_are_what_they_say():
    assert pdf(made(), "A4", 8)[0].startswith(b"%PDF")
    text = svg(Sticker(made().url, "x", "<&>", "y"), 60)
    assert "&lt;&amp;&gt;" in text and "<&>" not in text and 'width="60mm"' in text


class Node:
    def secret(self, what):
        return b"k" * 32


@pytest.mark.parametrize("url", ["plugs.example", "http://plugs.example", "ftp://x", "https://", "https://a b"])
def test_an_address_that_no_wallet_would_call_is_refused(url):
    with pytest.raises(BadParam, match="url: must be https"):
        sticker_of(MeterPages(Node(), ("*",)), "socket", url)


WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
"""What names and units can be of."""


@settings(max_examples=30, deadline=None)
@given(name=WORDS, line=WORDS)
def test_any_words_fit(name, line):
    drawn = Image.open(io.BytesIO(png(Sticker(made().url, "p", name, line), 30)))
    assert read(drawn) == {made().url}
