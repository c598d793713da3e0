"""The parts around the firmware: counter, inputs, pages, image, lease, boot ROM."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.board import image, lease, rp2040
from satmeter.board.compiler import MAIN
from satmeter.board.rp2040.uf2 import flash_of
from satmeter.board.virtual import VirtualDisplay, firmware
from satmeter.core.errors import BoardTrouble
from satmeter.qr.make import fitted, make

counter, inputs, pages, screen = (firmware(name) for name in ("counter", "inputs", "pages", "screen"))
HOUR_US = 3_600_000_000


def config(**changes):
    return firmware("settings").filled({"full_scale": 3600, **changes})


def test_calibration_points_are_joined_by_lines():
    c = counter.Counter(config(full_scale=10_000, dead_zone=0, calibration=[[1000, 0], [11000, 500], [61000, 1000]]))
    flows = []
    for raw in (500, 1000, 6000, 11000, 36000, 61000, 65535):
        c.sample(raw, False, 0)
        flows.append(c.flow)
    assert flows == [0, 0, 2500, 5000, 7500, 10000, 10000]


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 200_000)), max_size=50))
def test_the_register_never_goes_back_and_no_part_of_a_tick_is_lost(samples):
    c = counter.Counter(config(dead_zone=0, calibration=[[0, 0], [65535, 1000]]))
    exact, last = 0, 0
    for raw, us in samples:
        c.sample(raw, False, us)
        exact += c.flow * us
        assert c.register >= last
        last = c.register
    assert c.register == exact // HOUR_US


def test_a_potentiometer_that_trembles_at_its_dead_zone_counts_nothing():
    c = counter.Counter(config(full_scale=10**9, dead_zone=1000))
    for n in range(1000):
        c.sample(1000 + n % 90, False, 20_000)
    assert c.register == 0


def test_a_contact_counts_once_it_is_quiet():
    d = inputs.Debounced(False, 30)
    levels = [
        d.update(level, ms) for ms, level in ((0, True), (5, False), (10, True), (39, True), (40, True), (41, False))
    ]
    assert levels == [False, False, False, False, True, True]


def heard(signal, ms, every_us=20_000):
    """Return (counted, lost) of a line that changes as a signal [(us, level), ...] says, looked at regularly."""
    p = inputs.Pulses(ms * 1000, lambda a, b: a - b)
    counted, looked = 0, 0
    for us, level in [*signal, (signal[-1][0] + 10**6, None)]:
        while looked + every_us <= us:
            looked += every_us
            p.settle(looked)
            counted, p.count = counted + p.count, 0
        if level is not None:
            p.edge(level, us)
    return counted, p.lost


def square(hz, n):
    half = 500_000 / hz
    return [(int(1000 + k * half), k % 2) for k in range(2 * n)]


@pytest.mark.parametrize(("hz", "ms"), [(7.5, 20), (24, 20), (25, 20), (16, 10), (50, 10), (100, 1), (500, 1)])
def test_pulses_are_counted_up_to_the_highest_frequency(hz, ms):
    assert heard(square(hz, 200), ms) == (200, 0)


@pytest.mark.parametrize(("hz", "ms"), [(26, 20), (30, 20), (100, 20), (1000, 20), (60, 10), (600, 1)])
def test_pulses_that_are_too_fast_are_lost_and_said(hz, ms):
    """None counts in part: a flow that can't be counted is a fault, never a smaller flow."""
    counted, lost = heard(square(hz, 200), ms)
    assert counted <= 1 and lost >= 200 / hz / (5 * ms / 1000) - 2


def test_a_spike_is_no_pulse():
    assert heard([(50_000, 0), (50_050, 1)], 1) == (0, 1)


@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(1, 900), max_size=8)), min_size=1, max_size=30))
def test_bounces_change_no_count(pulses):
    """Each change of the line may bounce for less than the time, and then lasts at least as long."""
    signal, us, expected = [], 100_000, 0
    for slow, bounces in pulses:
        for level in (0, 1):
            settled = level
            for n, gap in enumerate(bounces[: len(bounces) // 2 * 2]):
                signal.append((us, level if n % 2 == 0 else 1 - level))
                us += gap
            signal.append((us, settled))
            us += 60_000 if slow else 20_000
        expected += 1
    assert heard(signal, 20) == (expected, 0)


@pytest.mark.parametrize("every_s", [0.3, 1, 4, 30])
def test_the_flow_of_slow_pulses_is_steady(every_s):
    """A pulse each so many seconds, sampled 50 times a second; the flow falls when they stop."""
    c, flows, due = counter.Counter(config(source="pulses")), [], every_s
    for n in range(int(20 * every_s * 50)):
        t = (n + 1) / 50
        came = int(t >= due)
        due += every_s * came
        c.pulses(came, 20_000)
        if t > 4 * every_s + 4:
            flows.append(c.flow)
    assert min(flows) == pytest.approx(3600 / every_s, rel=0.15) and max(flows) == pytest.approx(min(flows), rel=0.3)
    for _ in range(int(every_s * 500) + 1500):  # thirty seconds and ten times the pause
        c.pulses(0, 20_000)
    assert c.flow <= min(flows) / 5


def test_a_rail_is_a_fault_after_its_time():
    r = inputs.Rail(1000)
    assert not r.stuck(65535, 0) and not r.stuck(65535, 999) and r.stuck(65535, 1000)
    assert not r.stuck(30000, 1001) and not r.stuck(0, 1002) and r.stuck(10, 2002)
    assert not inputs.Rail(0).stuck(65535, 10**9)


class Shown:
    """What a screen needs to know of a board."""

    name, lamp, relay, heard = "b1", "slow", False, True
    lines, faults, flow, register, grant, most, version = ["tap", "standby", "", ""], [], 3600, 40, 100, 80, 1

    def __init__(self, codes):
        self.codes = codes


def drawn(shown, width=128, height=64, now=0):
    display = VirtualDisplay(width, height)
    s = screen.Screen(display)
    pieces = 0
    while s.step(shown, now):
        pieces += 1
    return display, s, pieces


def arrived(text, width, height):
    made = fitted(text, width, height)
    code = pages.Code(made.n, "t")
    for at in range(0, len(made.bits), 75):
        code.put(at, made.bits[at : at + 75])
    assert code.whole
    return made, code


@pytest.mark.parametrize(("width", "height"), [(128, 64), (128, 128), (240, 240)])
@pytest.mark.parametrize("length", [1, 40, 150, 265, 335, 350, 468])
def test_a_code_is_drawn_module_by_module_in_the_middle(width, height, length):
    made, code = arrived("A" * length, width, height)
    display, _, pieces = drawn(Shown({0: code}), width, height)
    k = pages.scale_of(made.n, width, height)
    left, top = (width - k * made.n) // 2, (height - k * made.n) // 2
    assert min(left, top) >= (k if (length, height) == (468, 64) else 2 * k)
    picture = display.picture()
    for y, row in enumerate(made.rows()):
        for x, dark in enumerate(row):
            block = {picture[top + y * k + j][left + x * k + i] for i in range(k) for j in range(k)}
            assert block == {"0" if dark else "1"}
    assert set(picture[0]) == {"1"} and {row[0] for row in picture} == {"1"}
    assert pieces >= height // 8


def test_two_codes_take_turns():
    codes = {n: arrived(text, 128, 64)[1] for n, text in enumerate(("ADDRESS", "INVOICE"))}
    alone = [drawn(Shown({0: code}))[0].picture() for code in codes.values()]
    turns = [drawn(Shown(codes), now=now)[0].picture() for now in (0, 7_999, 8_000, 16_000)]
    assert turns == [alone[0], alone[0], alone[1], alone[0]]


def test_a_code_that_is_taken_off_while_the_button_shows_it_gives_way():
    shown = Shown({0: arrived("INVOICE", 128, 64)[1]})
    display = VirtualDisplay(128, 64)
    s = screen.Screen(display)
    while s.page != len(pages.TEXTS):
        s.turn(shown, 0)
    while s.step(shown, 0):
        pass
    shown.codes, shown.lamp, shown.version = {}, "on", 2
    while s.step(shown, 1000):
        pass
    assert display.picture() == drawn(shown, now=40_000)[0].picture()


def test_a_code_that_is_larger_than_the_display_is_drawn_as_nothing():
    code = pages.Code(73, "t")
    code.put(0, bytes(b"\xff" * 730))
    display, _, _ = drawn(Shown({0: code}), 128, 64)
    assert {pixel for row in display.picture() for pixel in row} == {"1"}


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match="470 characters does not fit 128x64"):
        fitted("A" * 470, 128, 64)
    with pytest.raises(ValueError, match="too long"):
        make("A" * 5000)


def test_pieces_in_any_order_and_twice_make_a_code_and_nonsense_makes_none():
    made = fitted("A" * 300, 240, 240)
    code = pages.Code(made.n, "t")
    places = list(range(0, len(made.bits), 75))
    for at in [*reversed(places), *places]:
        code.put(at, made.bits[at : at + 75])
    assert bytes(code.bits) == made.bits
    for at in (-1, len(made.bits), len(made.bits) - 1):
        with pytest.raises(ValueError):
            code.put(at, b"ab")


def test_only_rows_that_changed_are_sent():
    shown = Shown({})
    display, s, _ = drawn(shown)
    before = list(display.rows)
    shown.register, shown.version, shown.relay = 41, 2, True
    while s.step(shown, 1000):
        pass
    assert [a == b for a, b in zip(before, display.rows)].count(False) < 8


def test_the_button_turns_the_pages_and_they_turn_back():
    _, code = arrived("A", 128, 64)
    shown = Shown({0: code})
    s = screen.Screen(VirtualDisplay(128, 64))
    assert s._wanted(shown, 0) == 3
    seen = []
    for n in range(4):
        s.turn(shown, n)
        seen.append(s._wanted(shown, n))
    assert seen == [0, 1, 2, 3] and s._wanted(shown, 10**6) == 3
    shown.faults = ["display"]
    assert s._wanted(shown, 10**6) == 0


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "5 s"), (65, "1 min 05 s"), (7260, "2 h 01 min"), (864000, "10 days")]
)
def test_times_in_words(seconds, words):
    assert pages.duration(seconds) == words


def test_the_image_has_every_module_and_main_last():
    files = image.files()
    assert list(files)[-1] == MAIN and "link.mpy" in files
    frozen = (image.FIRMWARE / "manifest.py").read_text()
    sources = {p.stem for p in image.FIRMWARE.glob("*.py")} - {"main", "manifest"}
    assert {name[:-4] for name in files if name.endswith(".mpy")} == sources | {"fit", "link"}
    named = re.search(r'MODULES = "(.*)"', frozen)
    assert named is not None and set(named[1].split()) == sources
    assert all(data[:2] == b"M\x06" for name, data in files.items() if name.endswith(".mpy"))


def test_a_lease_ends_with_its_process(tmp_path):
    port = str(tmp_path / "tty")
    assert not lease.wanted(port)
    with lease.Lease(port):
        assert lease.wanted(port)
    assert not lease.wanted(port)
    code = f"from satmeter.board.lease import Lease; Lease({port!r}).__enter__(); print(flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    other.stdout.readline()
    assert lease.wanted(port)
    other.kill()
    other.wait()
    assert not lease.wanted(port)


def test_two_who_flash_the_same_board(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "WAIT_S", 0.2)
    with lease.Lease(str(tmp_path / "tty")):
        with pytest.raises(BoardTrouble, match="somebody else"):
            lease.Lease(str(tmp_path / "tty")).__enter__()


def test_the_boot_roms_binary_is_what_its_source_makes(tmp_path):
    compiler = shutil.which("arm-none-eabi-gcc")
    if compiler is None:
        pytest.skip("no arm-none-eabi-gcc; `make board-image` brings it")
    version = subprocess.run([compiler, "-dumpversion"], capture_output=True, text=True).stdout
    if not version.startswith("12."):
        pytest.skip(f"rom.bin comes from gcc 12, this is {version}")
    here = Path(rp2040.__file__).parent
    subprocess.run([here / "build-rom", tmp_path / "rom.bin"], check=True)
    assert (tmp_path / "rom.bin").read_bytes() == (here / "rom.bin").read_bytes()


def block(address, data, family=0xE48BFF56):
    head = [0x0A324655, 0x9E5D5157, 0x2000, address, len(data), 0, 1, family]
    return b"".join(n.to_bytes(4, "little") for n in head) + data.ljust(476, b"\0") + (0x0AB16F30).to_bytes(4, "little")


def test_the_flash_in_a_uf2():
    data = block(0x10000100, b"b" * 256) + block(0x10000000, b"a" * 256) + block(0x10000000, b"x" * 256, family=1)
    assert flash_of(data) == b"a" * 256 + b"b" * 256
    for wrong in (b"", b"x" * 512, data[:-1], block(0x20000000, b"a"), block(0x10000000, b"x", family=1)):
        with pytest.raises(ValueError):
            flash_of(wrong)
