"""The buyer's page scans with the browser's own camera, and with pictures that are good or none."""

import io
import json
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from pictures import invoice
from satmeter.qr import draw
from satmeter.qr.make import make


def filmed(path, *texts):
    """Make the camera see the codes of some texts: an MJPEG of one frame, over and over."""
    frame = np.full((480, 640), 120, np.uint8)
    for n, text in enumerate(texts):
        code = cv2.imdecode(np.frombuffer(draw.png(make(text), 4), np.uint8), cv2.IMREAD_GRAYSCALE)
        y, x = 10, 10 + n * 310
        frame[y : y + code.shape[0], x : x + code.shape[1]] = code
    path.write_bytes(cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))[1].tobytes() * 10)


def sent(url, body, expected):
    """POST /scan; returns its JSON."""
    request = urllib.request.Request(url + "/scan", body, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as e:
        status, text = e.code, e.read()
    assert status == expected, text
    return json.loads(text)


def test_the_browsers_camera_reads_an_invoice(panels, tab, film):
    filmed(film, invoice(description="by camera").upper())
    page = tab(panels[1].url + "/buy", permissions=["camera"])
    page.get_by_role("button", name="Camera").click()
    expect(page.locator("[data-part=found]")).to_contain_text("for by camera")
    expect(page.locator("video.camera")).to_be_hidden()


def test_of_two_codes_the_user_chooses(panels, tab):
    page = tab(panels[1].url + "/buy")
    address = f"SATMETER://127.0.0.1:9735/{'02' + 'ab' * 32}/TAP".upper()
    frame = [cv2.imdecode(np.frombuffer(draw.png(make(t), 4), np.uint8), 0) for t in (address, invoice().upper())]
    height = max(f.shape[0] for f in frame)
    both = np.hstack([np.pad(f, ((0, height - f.shape[0]), (5, 5)), constant_values=255) for f in frame])
    picture = {"name": "two.png", "mimeType": "image/png", "buffer": cv2.imencode(".png", both)[1].tobytes()}
    page.locator("input[type=file]").set_input_files(files=[picture])
    expect(page.get_by_text("2 codes in this picture")).to_be_visible()
    page.get_by_role("button", name="meter tap").click()
    chosen = page.locator("[data-part=found]").last
    expect(chosen).to_contain_text("Meter tap")
    expect(page.get_by_text("2 codes in this picture")).to_have_count(0)
    chosen.locator("[data-part=max-price]").fill("1sat/Wh")  # it is still there when the first one has gone
    chosen.locator("[data-part=budget]").fill("nonsense")
    chosen.get_by_role("button", name="Open a stream").click()
    expect(page.get_by_role("alert").get_by_text("budget_msat: must be an amount")).to_be_visible()


def test_a_picture_without_a_code_is_said(panels, tab):
    page = tab(panels[1].url + "/buy")
    for picture, why in ((b"no picture", "is no picture"), (dark(), "too dark")):
        given = {"name": "x.png", "mimeType": "image/png", "buffer": picture}
        page.locator("input[type=file]").set_input_files(files=[given])
        expect(page.locator("[data-part=scan-says]")).to_contain_text(why)


def dark():
    return cv2.imencode(".png", np.full((200, 200), 8, np.uint8))[1].tobytes()


@pytest.mark.parametrize("text", ["lnbc1junk", "hello", "\x07control", "bitcoin:bc1qxyz?amount=1", "A" * 5000])
def test_a_pasted_text_that_is_no_code_is_refused_in_words(panels, tab, text):
    page = tab(panels[1].url + "/buy")
    page.locator("[data-part=paste]").fill(text)
    page.get_by_role("button", name="Go").click()
    expect(page.locator("[data-part=found] .warning")).to_contain_text("code: ")


def test_what_scan_answers(panels):
    url = panels[1].url
    code = draw.png(make(invoice().upper()))
    assert len(sent(url, code, 200)["texts"]) == 1
    assert sent(url, dark(), 200)["texts"] == [] and "too dark" in sent(url, dark(), 200)["why"]
    assert "is no picture" in sent(url, b"", 400)["why"]
    assert "is no picture" in sent(url, b"\x89PNG\r\n\x1a\n" + bytes(100), 400)["why"]
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    assert "400,000,000 pixels" in sent(url, bomb.getvalue(), 400)["why"]
    assert "bytes" in sent(url, bytes((16 << 20) + 1), 413)["why"]
    assert len(sent(url, code, 200)["texts"]) == 1
