"""`satmeter scan` on files as a person gives them, with a node where it pays or opens."""

import builtins
import random
import sys

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import camera
from pictures import invoice, saved
from satmeter.cli.main import app
from satmeter.qr.source import frames
from satmeter.scan.scanner import preview

ADDRESS, *_ = camera.texts()


def scanned(*args):
    result = CliRunner().invoke(app, ["scan", *args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_an_invoice_is_shown_in_words(tmp_path):
    code, out = scanned(saved(tmp_path, invoice(description="a kWh\x1b[31m").upper()))
    assert code == 0 and "invoice of 20 sat" in out and "a kWh\\u001b[31m" in out and "network regtest" in out
    assert "\x1b[31m" not in out


def test_an_address_is_shown_in_words(tmp_path):
    code, out = scanned(saved(tmp_path, ADDRESS))
    assert code == 0 and "meter socket" in out and "192.168.1.20:9735" in out


def test_two_codes_are_numbered(tmp_path):
    code, out = scanned(saved(tmp_path, ADDRESS, invoice().upper()))
    assert code == 0 and "1. meter socket" in out and "2. invoice of 20 sat" in out


def test_beside_addresses_of_two_nodes_no_invoice_is_paid(tmp_path):
    other = ADDRESS.replace("/0282", "/0382")
    picture = saved(tmp_path, ADDRESS, other, invoice().upper())
    code, out = scanned(picture, "--pay", "--max-amount", "20sat", "--pick", "3", "--yes")
    assert code == 1 and "addresses of two nodes" in out


def test_a_folder_says_what_each_file_has(tmp_path):
    saved(tmp_path, ADDRESS)
    saved(tmp_path, invoice().upper())
    (tmp_path / "notes.txt").write_text("no picture")
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((80, 80), 200, np.uint8))
    code, out = scanned(str(tmp_path))
    assert code == 0 and "meter socket" in out and "invoice of 20 sat" in out
    assert "notes.txt: is no picture" in out and "no code found" in out


def film(path, *pictures):
    height, width = pictures[0].shape
    out = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (width, height))
    for picture in pictures:
        out.write(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
    out.release()
    return str(path)


def test_a_film_is_read_until_a_frame_has_a_code(tmp_path):
    dark = np.full((480, 640), 9, np.uint8)
    text, pixels, scale = camera.shows()[4]
    seen = camera.picture(pixels, scale, camera.mild(random.Random(4)))
    code, out = scanned(film(tmp_path / "a.avi", dark, dark, seen, dark))
    assert code == 0 and "meter socket" in out and text == ADDRESS


def test_a_film_that_ends_says_what_was_wrong(tmp_path):
    code, out = scanned(film(tmp_path / "a.avi", *[np.full((480, 640), 9, np.uint8)] * 3))
    assert code == 1 and "too dark" in out
    (tmp_path / "b.mp4").write_bytes(b"no film")
    code, out = scanned(str(tmp_path / "b.mp4"))
    assert code == 1 and "is no film" in out


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["63"], "no camera"),
        (["/dev/video63"], "no camera at /dev/video63"),
        (["/nowhere/shot.png"], "neither a camera"),
        (["0", "--pay"], "--max-amount"),
        (["0", "--open"], "--max-price"),
        (["0", "--pay", "--open"], "either --pay or --open"),
        (["0", "--pay", "--max-amount", "lots"], "lots"),
    ],
)
def test_what_can_not_be_is_said(args, why):
    code, out = scanned(*args)
    assert code == 1 and why in out


def test_a_code_is_shown_in_the_terminal_and_written(tmp_path):
    shown = CliRunner().invoke(app, ["code", ADDRESS.lower()])
    assert shown.exit_code == 0 and len({len(line) for line in shown.output.splitlines()}) == 1
    for kind in ("png", "svg"):
        assert CliRunner().invoke(app, ["code", ADDRESS, "--out", str(tmp_path / f"a.{kind}")]).exit_code == 0
    assert scanned(str(tmp_path / "a.png"))[1].startswith("meter socket")
    assert (tmp_path / "a.svg").read_text().startswith("<svg")
    for wrong in (["x", "--out", str(tmp_path / "a.gif")], ["x" * 5000]):
        found = CliRunner().invoke(app, ["code", *wrong])
        assert found.exit_code == 1 and len(found.output) < 200


def test_the_preview_is_as_wide_as_the_terminal(tmp_path):
    frame = next(frames(saved(tmp_path, ADDRESS)))
    shades, why = preview(frame, "too dark").renderables
    assert "▀" in shades.plain and why.plain == "too dark"
    assert all(len(line) <= 80 for line in shades.plain.split("\n"))


def test_the_command_is_there_without_what_reads_codes(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "cv2":
            raise ModuleNotFoundError("No module named 'cv2'", name="cv2")
        return real(name, *args, **kwargs)

    for name in [n for n in sys.modules if n in ("satmeter.scan.scanner", "satmeter.qr.read", "satmeter.qr.source")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    code, out = scanned("0")
    assert code == 1 and "-m pip install -e '" in out and "[scan]'" in out
