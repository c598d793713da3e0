"""Flashing an emulated RP2040 over its serial line, and what is left on it."""

import json

import pytest
import serial
from typer.testing import CliRunner

from lanes import lane
from pico import BUTTON, CONFIG, KEY, RELAY, Host, changed, config, started
from satmeter.board import flash, image
from satmeter.board.key import load_key
from satmeter.cli.main import app
from satmeter.core.errors import BoardTrouble
from waiting import until

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(autouse=True)
def _lane():
    lane("RP2040 (emulated)")


def test_from_empty_to_hello_and_again_only_what_changed(monkeypatch):
    with started() as pico:
        told = []
        first = flash.flash(pico.port, config(), lambda what, done, of: told.append((done, of)))
        assert set(first.copied) == {*image.files(), flash.CONFIG}
        assert first.hello["board"] == "b1" and first.hello["fault"] == ""
        assert told[-2][0] == told[-2][1] and sorted(told[:-1]) == told[:-1]
        again = flash.flash(pico.port, config())
        assert again.copied == [flash.CONFIG] and again.hello["boot"] != first.hello["boot"]
        assert flash.flash(pico.port, config(full_scale=10)).copied == [flash.CONFIG]
        files = image.files()
        monkeypatch.setattr(flash, "files", lambda: {**files, "main.py": files["main.py"] + b"# changed\n"})
        assert flash.flash(pico.port, config(full_scale=10)).copied == ["main.py", flash.CONFIG]


def test_a_cable_pulled_at_five_points_is_mended_by_the_next_run():
    """Each run goes on from where the last one lost the board, and loses it a fifth later."""
    with started() as pico:
        for fifth in range(5):
            pulled, boots = [], pico.boots

            def say(what, done, of, fifth=fifth, pulled=pulled):
                if done * 5 > (fifth + 0.5) * of and not pulled:
                    pulled.append(what)
                    pico.power()

            with pytest.raises(BoardTrouble, match="run this again"):
                flash.flash(pico.port, config(), say)
            assert pulled
            pico.until_up(boots + 1)
        done = flash.flash(pico.port, config())
        assert done.hello["fault"] == "" and set(done.copied) == {*image.files(), flash.CONFIG}
        assert flash.flash(pico.port, config()).copied == [flash.CONFIG]


def test_a_half_flashed_board_runs_nothing(image_path):
    with started(flash=str(image_path)) as pico:
        flash.maintain(pico.port, KEY)
        with flash.repl(pico.port) as board:
            board.exec(f"open({flash.MARKER!r},'w').close()")
        pico.power()
        pico.until_up(2)
        with pytest.raises(BoardTrouble, match="hello"):
            flash.hello(pico.port, KEY, 2)
        assert flash.flash(pico.port, config()).hello["fault"] == ""


FIND = """
import uctypes
first,second=bytes({first}),bytes({second})
own=[uctypes.addressof(first),uctypes.addressof(second)]
found=0
for at in range(0x20000000,0x20042000-64,1024):
 w=uctypes.bytearray_at(at,1024+16)
 for part in (first,second):
  if part in w:
   for n in range(1024):
    if w[n]==part[0] and at+n not in own and all(w[n+i]==part[i] for i in range(16)): found+=1
print(found)
"""


def copies_in_memory(pico, secret):
    """Return how often the halves of a secret are in a board's memory, looked for at its prompt by halves."""
    with flash.repl(pico.port) as board:
        return int(flash._run(board, FIND.format(first=list(secret[:16]), second=list(secret[16:32]))))


def in_flash(pico, secret, path):
    pico.ask("save", path=str(path))
    return path.read_bytes().count(secret)


def test_who_is_on_the_line_after_maintain_finds_no_key(pico, tmp_path):
    """Neither in a file, nor in what files have left, nor in memory; and nothing is delivered until it is flashed."""
    text, inner = KEY.hex().encode(), bytes(k ^ 0x36 for k in KEY)
    with Host(pico) as host:
        host.grant(10**6)
    assert in_flash(pico, text, tmp_path / "before") >= 1
    assert flash.maintain(pico.port, KEY), (pico.boots, pico.ask("stat"))
    assert [copies_in_memory(pico, secret) for secret in (KEY, text, inner)] == [0, 0, 0]
    assert in_flash(pico, text, tmp_path / "after") == 0
    pico.power()
    pico.until_up(2)
    with pytest.raises(BoardTrouble, match=r"hello|or none yet"):
        flash.hello(pico.port, KEY, 2)
    assert not pico.pin(RELAY)
    assert flash.flash(pico.port, config()).hello["fault"] == ""


def test_a_key_that_is_still_there_would_be_found(image_path, tmp_path):
    """What the test above looks with finds it on a board whose REPL was opened without the frame."""
    with started(flash=image_path, inputs={BUTTON: 0}) as pico, Host(pico) as host:
        assert host.hello
        host.leave()
        assert copies_in_memory(pico, KEY) > 0 and in_flash(pico, KEY.hex().encode(), tmp_path / "flash") > 0


def test_a_new_key_is_in_the_file_when_the_board_has_it(pico, tmp_path):
    """Also where the first try was cut off after the board had changed, and before anybody knew."""
    file, toml = tmp_path / "board.key", tmp_path / "board.toml"
    file.write_text(KEY.hex())
    file.chmod(0o600)
    toml.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in flat(config()).items()))
    run = ["flash", "--port", pico.port, "--config", str(toml), "--key", str(file), "--new-key"]
    assert CliRunner().invoke(app, run).exit_code == 0
    second = load_key(file)
    assert load_key(tmp_path / "board.key.before-1") == KEY  # another board may have it, too
    assert second != KEY and flash.hello(pico.port, second)["fault"] == "" and [*tmp_path.glob("*.new")] == []
    with pytest.raises(BoardTrouble, match="another key"):
        flash.hello(pico.port, KEY, 5)

    coming = load_key(tmp_path / "board.key.new", make=True)
    flash.flash(pico.port, {**config(), "key": coming.hex()}, before=second)  # and here the program was killed
    assert CliRunner().invoke(app, run).exit_code == 0
    assert load_key(file) == coming and flash.hello(pico.port, coming)["fault"] == ""
    flash.flash(pico.port, config(), before=coming)


def flat(value, name=""):
    """A config's fields as dotted keys of TOML; the key has a file of its own."""
    if not isinstance(value, dict):
        return {name: value}
    return {
        k: v
        for each, inner in value.items()
        if each != "key"
        for k, v in flat(inner, f"{name}.{each}".strip(".")).items()
    }


def test_a_restart_opens_no_prompt_and_keeps_the_key(pico, host):
    host.reading()
    host.leave()
    assert flash.reset(pico.port, KEY)["boot"] != host.boot


def low_relay(**changes):
    return config(pins={**CONFIG["pins"], "relay_on": 0}, **changes)


def levels(pico):
    """Return (ms, high, resets) of the relay's pin since the last call."""
    return [(ms, high, resets) for pin, ms, high, resets in pico.edges() if pin == RELAY]


def test_a_relay_that_a_low_level_closes_is_open_as_soon_as_the_program_runs(image_path):
    """Before a module is loaded, whatever else is wrong: with a wrong config, or half flashed. Until then the
    resistor at its input says what is off."""

    def started_again():
        boots, began = pico.boots, pico.now
        levels(pico)
        pico.power()
        pico.until_up(boots + 1)
        until(lambda: pico.now > began + 1500)
        ms, high, _ = levels(pico)[-1]  # ms after the reset; the pin is an output a moment before it has its level
        assert high and pico.pin(RELAY) and ms < 100

    with started(flash=str(image_path)) as pico:
        flash.flash(pico.port, low_relay())
        flash.maintain(pico.port, KEY)
        with flash.repl(pico.port) as board:
            board.fs_writefile(flash.CONFIG, image.as_json(low_relay(full_scale=0)))
        started_again()
        flash.maintain(pico.port, KEY)
        with flash.repl(pico.port) as board:
            board.exec(f"open({flash.MARKER!r},'w').close()")
        started_again()


def test_ctrl_c_from_the_first_moment_on_opens_no_prompt(image_path):
    with started(flash=str(image_path)) as pico:
        pico.power()
        pico.until_up(2)
        with serial.Serial(pico.port, 115200, timeout=0.01) as line:
            heard, end = b"", pico.now + 2000
            while pico.now < end:
                line.write(b"\x03")
                heard += line.read(200)
            assert b">>>" not in heard
        assert flash.hello(pico.port, KEY)["board"] == "b1"


def test_a_locked_board_that_fails_starts_again_and_gives_no_prompt(monkeypatch, tmp_path):
    changed(monkeypatch, tmp_path, "    if relay:", '    if relay and {"on": True, "off": True}[mode]:')
    with started() as pico:
        flash.flash(pico.port, low_relay())
        with Host(pico) as host:
            host.grant(10**6)
            boot, boots = host.boot, pico.boots
            until(lambda: not pico.pin(RELAY))
            levels(pico)
            host.send("lamp", lamp="sideways")
            pico.until_up(boots + 1)
            host.until(lambda: host.hellos[-1]["boot"] != boot and host.link.trusted)
            assert host.reading()["grant"] == 0 and pico.pin(RELAY)
        with pytest.raises(BoardTrouble, match="does not answer as MicroPython"), flash.repl(pico.port):
            pass
