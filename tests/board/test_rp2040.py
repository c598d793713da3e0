"""The firmware as it is flashed, on real MicroPython on an emulated RP2040: what it counts, cuts and hears."""

import itertools
import random

import pytest

from lanes import lane
from pico import BUTTON, CONFIG, KEY, LED, PER_S, PLUG, PULSE, RELAY, Host, changed, config, flashed, started
from satmeter.board import flash, image
from waiting import until

pytestmark = pytest.mark.timeout(900)
CUT_MS = 30


@pytest.fixture(autouse=True)
def _lane():
    lane("RP2040 (emulated)")


def off_after(pico, since):
    """Return when the relay went off after it went on."""

    def found():
        pico_edges.extend(pico.edges())
        on = [ms for pin, ms, high, _ in pico_edges if pin == RELAY and high and ms >= since]
        off = [ms for pin, ms, high, _ in pico_edges if pin == RELAY and not high and on and ms > on[0]]
        return (on[0], off[0]) if off else None

    pico_edges = []
    return until(found)


# --- counting and cutting


def test_the_register_is_the_integral_of_the_profile_and_never_goes_back(pico, host):
    start = host.grant(10**9)
    points = [(0, 0), (1000, 0), (2500, 80), (4000, 80), (4300, 15), (6000, 100), (7000, 40), (8000, 0)]
    began = pico.profile(points, noise=12)
    last = host.reading(lambda r: r["uptime"] > began + 9000)
    integral = sum((b - a) * (p + q) / 2 for (a, p), (b, q) in itertools.pairwise(points)) / 100 * PER_S / 1000
    assert last["register"] - start["register"] == pytest.approx(integral, rel=0.005)
    registers = [r["register"] for r in host.readings]
    assert registers == sorted(registers)


@pytest.mark.parametrize("gone", ["silent", "gone"])
def test_at_its_grant_it_cuts_whether_the_host_is_there_or_not(pico, host, gone):
    pico.edges()
    pico.turn(100)
    since = pico.now
    host.grant(host.reading()["register"] + 700)
    if gone == "silent":
        host.silent = True
    else:
        host.leave()
    on, off = off_after(pico, since)
    host.leave()
    assert -CUT_MS <= off - (on + 700 * 1000 / PER_S) <= CUT_MS
    with Host(pico) as back:
        reading = back.reading()
        assert 700 <= reading["register"] <= 700 + CUT_MS * PER_S // 1000
        assert not pico.pin(RELAY)


def test_nothing_is_delivered_without_a_grant_for_this_boot(pico, host):
    pico.turn(100)
    host.send("grant", boot="0badcafe", register=10**6)
    host.reading(lambda r: r["uptime"] > host.readings[0]["uptime"] + 1000)
    assert host.readings[-1]["register"] == 0 and not pico.pin(RELAY)


def test_unplugged_it_lets_go_of_its_grant(pico, host):
    host.grant(10**6)
    until(lambda: pico.pin(RELAY))
    pico.put(PLUG, 1)
    assert host.reading(lambda r: not r["plugged"])["grant"] == 0
    assert not pico.pin(RELAY)
    pico.put(PLUG, 0)
    assert host.reading(lambda r: r["plugged"])["grant"] == 0


def test_the_lamp_in_each_state(pico, host):
    def edges_while(mode, ms=2100):
        host.send("lamp", lamp=mode)
        began = pico.now
        host.reading(lambda r: r["uptime"] > began + 300)
        pico.edges()
        began = pico.now
        until(lambda: pico.now > began + ms)
        return len([1 for pin, *_ in pico.edges() if pin == LED])

    assert edges_while("off") == 0 and not pico.pin(LED)
    assert edges_while("on") in (4, 5)  # nothing is granted: it does not deliver, and waits
    host.grant(10**6)
    assert edges_while("on") == 0 and pico.pin(LED)
    pico.put(PLUG, 1)  # it opens: nothing is plugged in
    host.reading(lambda r: not r["plugged"])
    assert edges_while("slow") in (4, 5)
    assert edges_while("fast") in range(20, 24)
    pico.put(PLUG, 0)


def square(hz, n):
    return [(1000 * k / (2 * hz), k % 2) for k in range(2 * n)]


def test_pulses_count_and_bounces_do_not(image_path):
    with flashed(image_path, source="pulses", full_scale=3600 * 25) as pico, Host(pico) as host:
        host.grant(10**6)
        wave = []
        for n in range(20):
            wave += [(n * 120 + 2 * bounce, level) for bounce, level in enumerate((0, 1, 0, 1, 0))]
            wave += [(n * 120 + 60 + 2 * bounce, level) for bounce, level in enumerate((1, 0, 1))]
        began = pico.now
        pico.wave(PULSE, wave)
        assert host.reading(lambda r: r["uptime"] > began + 2600)["register"] == 20
        host.grant(0)
        pico.put(PULSE, 0)
        assert host.reading(lambda r: r["fault"])["register"] == 21
        pico.put(PULSE, 1)
        pico.wave(PULSE, square(100, 200))  # none lasts as long as a contact's has to
        assert host.reading(lambda r: r["fault"] == "pulses too short")["register"] == 21


# --- the line


def test_random_bytes_do_nothing_and_the_next_good_frame_works(pico, host):
    rng = random.Random(4)
    host.grant(100)
    for _ in range(40):
        host.raw(rng.randbytes(1000))
    before = pico.ask("stat")["resets"]
    host.raw(b"\x03\x03\x04\x01" + host.lines[-1][:40] + b"\n")
    host.raw(host.lines[-1] * 2)
    host.send("grant", register=200)
    host.until(lambda: host.readings[-1]["grant"] == 200, 150)  # what came before has to be read first
    assert host.readings[-1]["register"] == 0
    assert pico.ask("stat")["resets"] == before and len({r["boot"] for r in host.readings}) == 1
    assert {r["grant"] for r in host.readings} <= {0, 100, 200}


def test_a_board_that_is_not_locked_stops_at_ctrl_c_with_its_relay_off(image_path):
    """With a relay that a low level closes."""
    pins = {**CONFIG["pins"], "relay_on": 0}
    with flashed(image_path, locked=False, pins=pins) as pico, Host(pico) as host:
        pico.turn(50)
        assert pico.pin(RELAY)
        host.grant(10**6)
        until(lambda: not pico.pin(RELAY))
        host.raw(b"\x03")
        until(lambda: pico.pin(RELAY))


def test_the_button_held_at_the_start_unlocks(image_path):
    with started(flash=image_path, inputs={BUTTON: 0}) as pico, Host(pico) as host:
        host.grant(10**6)
        host.raw(b"\x03")
        until(lambda: not pico.pin(RELAY))


def test_a_host_that_stops_reading_stops_nothing(pico, host):
    pico.turn(50)
    host.grant(10**6)
    pico.ask("hold")
    began = pico.now
    until(lambda: pico.now > began + 10_000)
    assert pico.pin(RELAY)
    pico.ask("release")
    after = host.reading(lambda r: r["uptime"] > began + 10_000)
    assert after["register"] >= 0.49 * (after["uptime"] - began) * PER_S / 1000
    assert len({r["boot"] for r in host.readings}) == 1


def test_a_line_of_another_session_or_boot_or_changed_is_refused(pico, host):
    boot = host.boot
    host.grant(50)
    old = next(line for line in host.lines if b'"k":"grant"' in line)
    host.link.ask("0011223344556677")  # a new session
    host.until(lambda: host.link.trusted)
    host.grant(60)
    new = next(line for line in reversed(host.lines) if b'"k":"grant"' in line)
    for line in (old, new, new.replace(b'"r":60', b'"r":90'), b"\n" + old.strip()[:-1] + b"}\n"):
        host.raw(line)
    assert host.reading(lambda r: True)["grant"] == 60
    pico.power()
    pico.until_up(2)
    host.until(lambda: host.hellos[-1]["boot"] != boot and host.link.trusted)
    host.raw(new)
    assert host.reading()["grant"] == 0
    heard = host.link.bad
    assert host.link.feed(new.replace(b'"k":"grant"', b'"k":"r"')) == [] and host.link.bad == heard + 1


def test_a_task_that_hangs_is_ended_by_the_watchdog_and_the_register_is_kept(monkeypatch, tmp_path):
    changed(
        monkeypatch,
        tmp_path,
        '    return mode == "on"',
        '    while mode == "hang":\n        pass\n    return mode == "on"',
    )
    with flashed(watchdog_ms=1000) as pico, Host(pico) as host:
        pico.turn(100)
        host.grant(600)
        register = host.reading(lambda r: r["register"] >= 600)["register"]
        boot = host.boot
        host.send("lamp", lamp="hang")
        pico.until_up(3)
        host.until(lambda: host.hellos[-1]["boot"] != boot and host.link.trusted)
        assert host.hellos[-1]["base"] == register
        assert host.reading()["register"] == register and not pico.pin(RELAY)


def test_a_config_that_is_wrong_all_the_same_delivers_nothing_and_names_the_field(image_path):
    with started(flash=str(image_path)) as pico:
        flash.maintain(pico.port, KEY)
        with flash.repl(pico.port) as board:
            board.fs_writefile("config.json", image.as_json(config(full_scale=0)))
        pico.power()
        pico.until_up(2)
        with Host(pico) as host:
            assert host.hello["fault"] == "full_scale"
            pico.turn(100)
            host.send("grant", register=1000)
            reading = host.reading(lambda r: r["grant"] == 1000)
            assert reading["fault"] == "full_scale" and not pico.pin(RELAY)


def test_an_adc_at_its_end_is_a_fault_after_a_while(image_path):
    with flashed(image_path, rail_s=1) as pico, Host(pico) as host:
        pico.turn(50)
        host.reading(lambda r: not r["fault"])
        pico.turn(100)
        assert host.reading(lambda r: r["fault"])["fault"] == "adc at its end"
