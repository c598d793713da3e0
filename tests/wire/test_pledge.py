"""A pledge's line, whatever a stranger sends for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.wire.pledge import LASTS_S, Pledge
from satmeter.wire.signature import ALPHABET as ZBASE
from satmeter.wire.signature import is_signature

SESSION = "2a" * 16
PLEDGE = Pledge(SESSION, "api.example:8083", "/weather", 5000, 1_800_000_000, "7f3a90c1")


def test_a_line_and_back():
    assert PLEDGE.line == f"satmeter-gate {SESSION} api.example:8083 /weather 5000 1800000000 7f3a90c1"
    assert Pledge.parse(PLEDGE.line) == PLEDGE


@pytest.mark.parametrize(
    "wrong",
    [
        PLEDGE.line.replace("api.example", "API.example"),
        PLEDGE.line.replace(" /weather", " weather"),
        PLEDGE.line.replace(" 5000", " 0"),
        PLEDGE.line.replace(" 5000", " -5"),
        PLEDGE.line.replace(" 5000", " 05"),
        PLEDGE.line.replace("7f3a90c1", "short"),
        PLEDGE.line + " ",
        PLEDGE.line + "\n",
        PLEDGE.line.replace(" ", "  ", 1),
        PLEDGE.line.replace("5000", "\u0665000"),
        f"satmeter-gate {SESSION} 1800000000",
    ],
)
def test_any_other_line_is_none(wrong):
    assert Pledge.parse(wrong) is None


@given(text=st.text(max_size=300))
def test_any_text_is_a_line_or_none(text):
    found = Pledge.parse(text)
    assert found is None or found.line == text
    assert not is_signature(text) or len(text) == 104


@pytest.mark.parametrize(
    ("path", "asked", "covered"),
    [
        ("/weather", ("/weather",), True),
        ("/weather", ("/weather/paris",), True),
        ("/weather/", ("/weather/paris",), True),
        ("/weather/", ("/weather",), False),
        ("/weather", ("/weatherman",), False),
        ("/weather", ("/weather/paris", "/traffic"), False),
        ("/", ("/", "/traffic"), True),
    ],
)
def test_a_path_stands_for_itself_and_what_is_below(path, asked, covered):
    pledge = Pledge(SESSION, "a:1", path, 1, 1, "12345678")
    assert pledge.covers("a:1", asked) is covered
    assert not pledge.covers("a:2", asked)


def test_it_runs_for_ten_minutes_at_most():
    assert PLEDGE.is_running(PLEDGE.until_s - 1) and PLEDGE.is_running(PLEDGE.until_s - LASTS_S)
    assert not PLEDGE.is_running(PLEDGE.until_s) and not PLEDGE.is_running(PLEDGE.until_s - LASTS_S - 1)


def test_what_would_abort_the_node_is_no_signature():
    assert is_signature("d" + "b" * 103) is (ZBASE.index("d") << 3 | ZBASE.index("b") >> 2 in range(31, 35))
    assert not is_signature("d" * 104)  # aborts lightningd 26.06
    for recovery in range(256):
        text = ZBASE[recovery >> 3] + ZBASE[(recovery & 7) << 2] + "y" * 102
        assert is_signature(text) is (31 <= recovery <= 34)
