"""`satmeter flash` and `satmeter board`, as a maker types them, on an emulated Pico."""

import re
from types import SimpleNamespace

import pytest
import serial
from typer.testing import CliRunner

from lanes import lane
from pico import started
from satmeter.board import flash, ports
from satmeter.cli import board as commands
from satmeter.cli.main import app
from satmeter.core.errors import BoardTrouble

pytestmark = pytest.mark.timeout(300)


def run(*args, typed=None):
    return CliRunner().invoke(app, [str(a) for a in args], input=typed, env={"COLUMNS": "200"})


def test_from_flash_to_calibration(tmp_path, monkeypatch):
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
        assert (
            shown.exit_code == 0
            and len(re.findall(r"s  register +0  grant +0  flow +\d+/h  plugged", shown.output)) >= 4
        )
        assert run("board", "reset", *where).exit_code == 0
        turns = iter([10, 50])
        monkeypatch.setattr(commands.typer, "prompt", lambda *given, **more: pico.turn(next(turns)))
        calibrated = run("board", "calibrate", *where)
        raw = [int(n) for n in re.findall(r"\[(\d+), (?:0|1000)\]", calibrated.output)]
        assert calibrated.exit_code == 0 and raw == pytest.approx([6553, 32768], abs=300)
        assert "until `satmeter flash`" in " ".join(calibrated.output.split())

        def interrupted(*given, **more):
            raise KeyboardInterrupt

        monkeypatch.setattr(commands.typer, "prompt", interrupted)
        run("board", "calibrate", *where)
        with pytest.raises(BoardTrouble, match=r"hello|another key"):  # it runs, without a prompt
            flash.hello(pico.port, bytes.fromhex(key.read_text()), 3)
        assert run("flash", *where, "--config", config).exit_code == 0
        flash.hello(pico.port, bytes.fromhex(key.read_text()))


PROGRAM = """
import machine, time
led = machine.Pin(15, machine.Pin.OUT)
while True:
    led.toggle()
    print("I am somebody else's program")
    time.sleep_ms(50)
"""


def test_another_program_is_stopped_and_its_files_are_saved_before_they_go(tmp_path, monkeypatch):
    lane("RP2040 (emulated)")
    monkeypatch.chdir(tmp_path)
    key = tmp_path / "board.key"
    with started() as pico:
        where = ("--port", pico.port, "--key", key)
        with flash.repl(pico.port) as board:
            board.fs_writefile("main.py", PROGRAM.encode())
            board.fs_writefile("app.py", b"mine = 1\n")
            board.fs_writefile("data.txt", b"kept\n")
        pico.power()
        pico.until_up(2)
        asked = run("flash", *where)
        assert asked.exit_code == 1 and "main.py" in asked.output and "--replace" in asked.output, asked.output
        done = run("flash", *where, "--replace")
        assert done.exit_code == 0, done.output
        (saved,) = tmp_path.glob("board-files-*")
        assert sorted(f.name for f in saved.iterdir()) == ["app.py", "main.py"]
        assert (saved / "main.py").read_text() == PROGRAM
        other = tmp_path / "other.key"
        other.write_text("ab" * 32)
        other.chmod(0o600)
        monkeypatch.setattr(flash, "REPL_S", 2)
        refused = run("flash", "--port", pico.port, "--key", other)
        assert refused.exit_code == 1 and "another key than this one" in refused.output, refused.output


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (PermissionError(13, "Permission denied"), "group dialout"),
        (OSError(16, "Device or resource busy"), "another program has it open"),
        (
            serial.SerialException("Could not exclusively lock port /dev/x: [Errno 11] ..."),
            "another program has it open",
        ),
        (serial.SerialException("[Errno 13] could not open port /dev/x: Permission denied"), "group dialout"),
        (IsADirectoryError(21, "Is a directory"), "is a folder"),
        (FileNotFoundError(2, "No such file or directory"), "no such port"),
    ],
)
def test_a_port_that_cannot_be_opened_is_told_by_its_cause(trouble, said):
    with pytest.raises(BoardTrouble, match=said), ports.troubles("/dev/x"):
        raise trouble


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([32768, 32774], "it was not turned"),
        ([6000, 40000, 40006], "it was not turned"),
        ([39000, 13000], "turn it the other way"),
        ([6000, 40000, 30000], "turn it the other way"),
    ],
)
def test_a_calibration_that_is_none_is_not_written_down(raw, said):
    points = [[r, round(1000 * n / (len(raw) - 1))] for n, r in enumerate(raw)]
    with pytest.raises(BoardTrouble, match=said):
        commands._check_turned(points)
    commands._check_turned([[600, 0], [30_000, 500], [65_000, 1000]])


def port_of(device, vid):
    return SimpleNamespace(device=device, vid=vid)


def test_boards_of_other_makers_are_found_and_a_pico_goes_first(monkeypatch):
    there = [port_of("/dev/ttyS0", None), port_of("/dev/ttyACM0", 0x239A)]
    monkeypatch.setattr(ports.list_ports, "comports", lambda: there)
    assert ports.find() == "/dev/ttyACM0"
    there.append(port_of("/dev/ttyACM1", 0x2E8A))
    assert ports.find() == "/dev/ttyACM1"
    there.append(port_of("/dev/ttyACM2", 0x2E8A))
    with pytest.raises(BoardTrouble, match=r"ttyACM1 \(Raspberry Pi\), /dev/ttyACM2"):
        ports.find()


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


def test_a_link_is_put_in_nothings_place_and_in_no_files(tmp_path):
    precious, key = tmp_path / "precious", tmp_path / "key"
    precious.write_text("kept")
    done = run("board", "virtual", "--link", precious, "--key", key)
    assert done.exit_code == 1 and "is no link, and is not replaced" in done.output and precious.read_text() == "kept"
    done = run("board", "virtual", "--link", tmp_path / "no" / "link", "--key", key)
    assert done.exit_code == 1 and "can't be made: No such file" in done.output
