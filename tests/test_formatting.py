"""What strangers write, as it is shown."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.formatting import readable, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("30\u00a0kWh, \u00e9t\u00e9", "30\u00a0kWh, \u00e9t\u00e9"),
        ("photo\u202egnp.exe", "photo\\u202egnp.exe"),
        ("a\u2066b\u200bc\u200e", "a\\u2066b\\u200bc\\u200e"),
        ("\x1b[31mred\x07", "\\u001b[31mred\\u0007"),
        ("two\nlines", "two\nlines"),
        (
            "\U0001f468\u200d\U0001f469\u200d\U0001f467",
            "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        ),  # one emoji, joined
        ("pay\u200dpal", "pay\\u200dpal"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("", ""),
    ],
)
def test_what_acts_instead_of_being_seen_is_written_as_an_escape(text, shown):
    assert visible(text) == shown


@given(st.text())
def test_what_is_shown_is_readable_and_says_what_it_was(text):
    shown = visible(text)
    assert readable(shown.replace("\n", ""))
    assert json.loads(visible(json.dumps(text, ensure_ascii=False))) == text
