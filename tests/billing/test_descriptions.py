"""Texts that people write: what is taken, and what is written out for them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.billing import forms as body
from satmeter.billing.invoices import check_description
from satmeter.billing.tokens import services_of
from satmeter.core.errors import BadParam, SatmeterError
from satmeter.market.http import of_a_use


@pytest.mark.parametrize("text", ["20\u00a0€", "👩\u200d🚀", "\u200f\u05e9\u05dc", "a\u2009b"])
def test_text_that_people_write_is_taken(text):
    assert check_description(text) == text and services_of(text) == (text,)


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[31m", "a\x7f", "a\u2028b", "a\ud800b"])
def test_text_that_nobody_can_read_is_refused(text):
    for check in (check_description, services_of):
        with pytest.raises(BadParam):
            check(text)


def test_the_text_of_an_escape_is_text_and_a_nul_is_none():
    fine = body.fields(json.dumps({"metadata": {"\\u0000": ["\\u0000"]}}).encode(), "application/json")
    assert fine == {"metadata": {"\\u0000": ["\\u0000"]}}
    for wrong in ({"metadata": {"a\0": 1}}, {"metadata": [["\0"]]}, {"\0": 1}, {"metadata": "\ud800"}):
        with pytest.raises(BadParam):
            body.fields(json.dumps(wrong).encode(), "application/json")


@given(text=st.text(max_size=80) | st.integers() | st.none())
def test_any_services_are_names_or_an_error(text):
    try:
        found = services_of(text)
    except SatmeterError:
        return
    assert found and all(name.strip() == name and name for name in found)


@pytest.mark.parametrize(
    ("msat", "uses", "shown"),
    [
        (10_000, 1000, "0.01 sat"),
        (1_000, 3, "0.333 sat"),
        (999_600, 1, "1,000 sat"),
        (12_345_600, 1, "12,346 sat"),
        (21_000_000, 2, "10,500 sat"),
        (500_000, 1, "500 sat"),
    ],
)
def test_the_price_of_a_use_is_written_out(msat, uses, shown):
    assert of_a_use(msat, uses) == shown
