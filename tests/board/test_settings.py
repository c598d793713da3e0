"""A board's config: what is refused before it reaches the board, and by the board."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.board.image import load_config
from satmeter.board.virtual import HostHal, firmware
from satmeter.core.errors import BadParam

settings = firmware("settings")
KEY = bytes(range(32))


class Hal(HostHal):
    def now_us(self):
        return 0

    def read(self):
        return b""

    def write(self, data):
        return 0


def config(**changes):
    return {"key": KEY.hex(), **changes}


def test_the_defaults_are_good():
    assert settings.problems(config()) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"pins": {"pot": 99}}, "pins.pot"),
        ({"mcu": "pico-w", "display": {"type": "ssd1306"}, "pins": {"sda": "LED"}}, "pins.sda"),
        ({"mcu": "pico-w", "display": {"type": "st7789"}, "pins": {"sck": "LED"}}, "pins.sck"),
        ({"pins": {"pot": 2, "relay": 26}}, "pins.pot"),
        ({"pins": {"relay": 15}}, "pins.relay"),
        ({"pins": {"valve": 3}}, "pins.valve"),
        ({"pins": {"relay": True}}, "pins.relay"),
        ({"pins": {"relay_on": 2}}, "pins.relay_on"),
        ({"pins": [1]}, "pins"),
        ({"full_scale": 0}, "full_scale"),
        ({"full_scale": 1.5}, "full_scale"),
        ({"display": {"type": "crt"}}, "display.type"),
        ({"display": {"type": "ssd1306", "rotation": 90}}, "display.rotation"),
        ({"display": {"type": "ssd1306", "colour": 1}}, "display.colour"),
        ({"display": "ssd1306"}, "display"),
        ({"display": {"type": "ssd1306"}, "pins": {"sda": 5, "scl": 6}}, "pins.scl"),
        ({"display": {"type": "st7789"}, "pins": {"sck": 4}}, "pins.sck"),
        ({"source": "pulses"}, "pins.pulse"),
        ({"source": "wind"}, "source"),
        ({"pulse_sensor": "reed"}, "pulse_sensor"),
        ({"source": "pulses", "full_scale": 91_000, "pins": {"pulse": 6}}, "pulse_debounce_ms"),
        (
            {"source": "pulses", "full_scale": 1_801_000, "pulse_sensor": "hall", "pins": {"pulse": 6}},
            "pulse_debounce_ms",
        ),
        ({"calibration": [[0, 0]]}, "calibration"),
        ({"calibration": [[500, 0], [400, 1000]]}, "calibration"),
        ({"mcu": "z80"}, "mcu"),
        ({"board": "a b"}, "board"),
        ({"key": "00"}, "key"),
        ({"lock": True}, "lock"),
        ({"locked": 1}, "locked"),
        ({"watchdog_ms": 100}, "watchdog_ms"),
        ({"mcu": "esp32-s3", "pins": {"pot": 1, "relay": 19}}, "pins.relay"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_delivered(changes, field):
    wrong = settings.problems({**config(), **changes})
    assert [f for f, _ in wrong][:1] == [field], wrong
    hal = Hal()
    board = firmware("app").App(hal, {**config(), **changes})
    hal.percent = 100
    board.grant = 10**6
    for _ in range(100):
        board.step()
    assert not hal.relay_on and board.fault() == field


@pytest.mark.parametrize(
    ("sensor", "per_s", "ticks"), [("contact", 25, 1), ("s0", 50, 1), ("hall", 500, 1), ("hall", 500, 7)]
)
def test_a_full_scale_that_the_sensor_carries_is_good(sensor, per_s, ticks):
    changes = {"source": "pulses", "pulse_sensor": sensor, "ticks_per_pulse": ticks, "pins": {"pulse": 6}}
    assert settings.problems({**config(), **changes, "full_scale": per_s * 3600 * ticks}) == []
    assert settings.problems({**config(), **changes, "full_scale": (per_s + 1) * 3600 * ticks})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted([*settings.DEFAULTS, "pins", "display", "key"])


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4) | JSON)
def test_any_json_is_a_config_or_a_list_of_what_is_wrong(given_config):
    given_config = json.loads(json.dumps(given_config))
    wrong = settings.problems(given_config)
    board = firmware("app").App(Hal(), given_config)
    assert bool(board.problems) == bool(wrong)
    board.step()
    assert not wrong or not board.relay


def test_a_file_is_refused_with_its_name_the_field_and_why(tmp_path):
    path = tmp_path / "board.toml"
    for text, words in (
        ("full_scale = 0", "full_scale: a whole number"),
        ("full_scale = ", "Invalid"),
        ('key = "00"', "key: the key has a file of its own"),
        ("[pins]\nled = 2", "pins.relay"),
    ):
        path.write_text(text)
        with pytest.raises(BadParam, match=words) as e:
            load_config(path, KEY)
        assert str(path) in str(e.value)
    path.write_text('board = "tap"\nfull_scale = 1200\n[pins]\nplug = 3\n[display]\ntype = "sh1106"\n')
    assert load_config(path, KEY)["display"] == {"type": "sh1106"}
