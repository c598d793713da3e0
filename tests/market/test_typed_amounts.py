"""An amount of sat as people type it into a form means one thing, or is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.core.errors import BadParam
from satmeter.formatting import amount
from satmeter.market.amounts import msat_of, priced


@pytest.mark.parametrize(
    ("typed", "msat"),
    [
        ("1500", 1_500_000),
        (" 1,500 ", 1_500_000),
        (5, 5_000),
        (0.5, 500),
        ("0.001", 1),
        ("0.500", 500),
        ("1.5", 1_500),
        ("1.125", 1_125),
        ("2100000000000000", 2_100_000_000_000_000_000),
    ],
)
def test_what_is_clear_is_taken(typed, msat):
    assert msat_of(typed) == msat


@pytest.mark.parametrize(
    "typed",
    ["", "0", "-1", "1e3", "1_000", "\u0661\u0660", "1,5", "1,50", "1 000", "0.0001", "nan", "inf", "five", "1.2.3",
     "\u00b2", "2100000000000001", "9" * 40, None, True, [1], 1e300],
)  # fmt: skip
def test_what_is_no_amount_is_refused(typed):
    with pytest.raises(BadParam, match=r"^sat: must be"):
        msat_of(typed)


@pytest.mark.parametrize(("typed", "words"), [("1.000", "write 1000, or 1.0"), ("12.500", "write 12500, or 12.5")])
def test_what_means_two_things_is_refused_and_both_are_named(typed, words):
    with pytest.raises(BadParam, match=words):
        msat_of(typed)


@given(st.integers(1, 10**12))
def test_what_a_page_writes_a_field_takes(msat):
    assert msat_of(amount(msat).removesuffix(" sat")) == msat


def test_a_given_msatoshi_stays():
    assert priced({"sat": "5", "msatoshi": "7"}) == {"sat": "5", "msatoshi": "7"}
    assert priced({"sat": "5"})["msatoshi"] == 5_000 and priced({}) == {}
