"""`satmeter flash` and `satmeter board`, as a maker types them, on an emulated Pico."""

import re

import pytest
from pico import started
from typer.testing import CliRunner

from lanes import lane
from satmeter.board import flash, ports
from satmeter.cli import app

pytestmark = pytest.mark.timeout(300)


def run(*args, typed=None):
    return CliRunner().invoke(app, [str(a) for a in args], input=typed, env={"COLUMNS": "200"})


def test_from_flash_to_calibration(tmp_path):
    lane("RP2040 (emulated)")
    key, config = tmp_path / "keys" / "board.key", tmp_path / "board.toml"
    config.write_text('board = "tap-1"\n[pins]\nplug = 3\n')
    with started() as pico:
        where = ("--port", pico.port, "--key", key)
        done = run("flash", *where, "--config", config)
        assert done.exit_code == 0 and "copied: app.mpy" in done.output and "board tap-1" in done.output, done.output
        assert key.stat().st_mode & 0o777 == 0o600
        again = run("flash", *where, "--config", config)
        assert "copied: config.json" in again.output  # the key, which it forgot before it opened its prompt
        assert "board tap-1, firmware" in run("board", "info", *where).output
        shown = run("board", "monitor", *where, "--seconds", 10)  # of a board that may be slower than a real one
        assert shown.exit_code == 0 and shown.output.count("'register': 0") >= 4
        assert run("board", "reset", *where).exit_code == 0
        pico.turn(50)
        calibrated = run("board", "calibrate", *where, typed="\n\n")
        raw = [int(n) for n in re.findall(r"\[(\d+), (?:0|1000)\]", calibrated.output)]
        assert calibrated.exit_code == 0 and len(raw) == 2 and all(abs(n - 32768) < 300 for n in raw)
        assert "until `satmeter flash`" in " ".join(calibrated.output.split())
        assert run("flash", *where, "--config", config).exit_code == 0
        flash.hello(pico.port, bytes.fromhex(key.read_text()))


def test_what_goes_wrong_is_said_in_words(tmp_path, monkeypatch):
    key, config = tmp_path / "key", tmp_path / "board.toml"
    config.write_text("full_scale = 0\n")
    wrong = run("flash", "--port", tmp_path / "none", "--key", key, "--config", config)
    assert wrong.exit_code == 1 and "full_scale: a whole number from 1" in wrong.output
    monkeypatch.setattr(ports.list_ports, "comports", list)
    none = run("flash", "--key", key)
    assert none.exit_code == 1 and "BOOTSEL" in none.output and ".uf2" in none.output
    gone = run("board", "info", "--port", tmp_path / "none", "--key", key)
    assert gone.exit_code == 1 and "no such port" in gone.output
    key.chmod(0o644)
    assert "chmod 600" in run("flash", "--key", key).output
