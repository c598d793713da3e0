"""`satmeter rpc` reads values as lightning-cli does: numbers, lists and objects, and all else as text."""

import pytest

from satmeter.cli.rpc import _value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("0", 0),
        ("007", "007"),
        ("10sat", "10sat"),
        ("", ""),
        ('[{"name": "tap", "register": 5}]', [{"name": "tap", "register": 5}]),
        ('{"a": [1]}', {"a": [1]}),
        ("[no list", "[no list"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_a_value_is_what_it_can_be_alone(text, value):
    assert _value(text) == value
