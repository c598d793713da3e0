"""The pages' parts without a browser: amounts, fiat, the mirror of a display."""

import base64
import io
import secrets
import time
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from satmeter.board.virtual import VirtualBoard
from satmeter.bridge import _encoder
from satmeter.core.errors import BadParam
from satmeter.core.money import MAX_MSAT, msat
from satmeter.core.seller import views
from satmeter.core.seller.meter import Meter
from satmeter.core.tariff import Tariff
from satmeter.formatting import UNITS, amount, duration
from satmeter.panel.amounts import Money, Rate
from satmeter.panel.display_preview import DisplayPreview, of_virtual
from satmeter.wire.dialogue import Dialogue, View

KEY = bytes(range(32))


@given(value=st.integers(0, MAX_MSAT), unit=st.sampled_from(sorted(UNITS)))
def test_an_amount_as_text_is_exactly_the_amount(value, unit):
    text = amount(value, unit).replace(",", "").replace(" ", "").lower()
    assert msat("x", text) == value


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1, "sat", "0.001 sat"),
        (20_000, "sat", "20 sat"),
        (1_234_567, "sat", "1,234.567 sat"),
        (-1500, "sat", "-1.5 sat"),
    ],
)
def test_amounts(value, unit, text):
    assert amount(value, unit) == text


def test_durations():
    assert [duration(s) for s in (5, 65, 7320, 180_000)] == ["5 s", "1 min 05 s", "2 h 02 min", "2 days 2 h"]


def test_money_beside_the_amount():
    money = Money(Rate.parse("eur=50000"))
    assert money(20_000) == "20 sat (≈ 0.0100 EUR)" and money(0) == "0 sat"
    assert money(100_000_000_000) == "100,000,000 sat (≈ 50,000.00 EUR)"
    assert Money(Rate.parse(""))(1000) == "1 sat"


@pytest.mark.parametrize("text", ["EURO", "E1R", "EUR=", "EUR=0", "EUR=-3", "EUR=x", "EUR=NaN", "EUR=Infinity", "=5"])
def test_a_rate_that_is_none_is_refused(text):
    with pytest.raises(BadParam, match="fiat"):
        Rate.parse(text)


class Rates:
    """A node whose currencyrate answers, then fails."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def call(self, method, currency):
        assert (method, currency) == ("currencyrate", "EUR")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"rate": answer}


def test_a_rate_of_the_node_that_grows_old_is_not_shown():
    from satmeter.core.errors import NodeTrouble

    rate = Rate.parse("EUR")
    node = Rates(61234.567, NodeTrouble("away"))
    rate.refresh(node)
    assert rate.per_btc == Decimal("61234.567")
    rate.refresh(node)
    assert len(node.answers) == 1  # fresh: it was not asked again
    rate.asked_at = -10_000
    rate.refresh(node)
    assert rate.per_btc is None and "--fiat EUR=RATE" in rate.trouble and rate.about(1000) == ""


def pixels(url):
    with Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))) as image:
        return image.convert("L").tobytes(), image.size


HEARD = views.meter_status(Meter("a", Tariff(1_000, 10, 100_000)), None, 0, 3_000, 0, {})
"""A meter of which a test says more."""
VIEWS = {
    "standby": {"lamp": "off", "page": ["socket", "standby", ""], "codes": []},
    "a code": {
        "lamp": "slow",
        "page": ["socket", "standby", ""],
        "codes": ["SATMETER://1.2.3.4:9735/02" + "AB" * 32 + "/S"],
    },
    "too long a code": {"lamp": "off", "page": ["socket", "standby", "x"], "codes": ["A" * 500]},
    "locked": {"lamp": "fast", "page": ["a-meter-with-a-long-name-it-is", "lockout", "credit 0 msat"], "codes": []},
}


@pytest.mark.parametrize("name", VIEWS)
def test_the_mirror_shows_what_the_board_shows(name):
    """A board in software is told a view over its line, as a bridge would; the mirror is told the same view."""
    import serial

    board, view = VirtualBoard(KEY, "b1"), {**VIEWS[name], "grant": 0}
    talk = Dialogue(KEY, _encoder())
    meter = replace(HEARD, **view, board="heard", plugged=True, display="128x64")
    if name == "too long a code":
        meter = replace(meter, page=[*view["page"], "code too long for it"])  # the bridge's word for it
    try:
        with serial.Serial(board.port, timeout=0.01) as line:
            talk.show(View(**view))
            end = time.monotonic() + 20
            while pixels(of_virtual(board)) != pixels(DisplayPreview().picture(meter)):
                talk.feed(line.read(line.in_waiting or 1), now())
                if talk.lost(now()):
                    talk.ask(secrets.token_hex(8), now())
                line.write(talk.pull(now()))
                assert time.monotonic() < end, board.hal.display.picture()
    finally:
        board.close()


def now():
    return time.monotonic_ns() // 1_000_000


@given(size=st.text(max_size=12))
def test_any_display_that_a_board_claims_can_be_drawn(size):
    meter = replace(HEARD, **VIEWS["a code"], board="heard", flow=1, register=5, grant=9, plugged=True, display=size)
    _, (width, height) = pixels(DisplayPreview().picture(meter))
    assert 32 <= width <= 480 and 32 <= height <= 480
