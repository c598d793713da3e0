import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.core.errors import BadParam
from satmeter.core.tariff import Tariff, check_name

GOOD = {"price_msat": 1000, "ticks_per_unit": 10, "quantum_msat": 10_000}


def test_defaults():
    t = Tariff.from_dict(GOOD)
    assert (t.mode, t.window, t.low_water_msat, t.slice_msat) == ("prepaid", 1, 2500, 10_000)
    assert Tariff.from_dict(t.to_dict()) == t


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("price_msat", 0),
        ("price_msat", -5),
        ("price_msat", None),
        ("quantum_msat", -1),
        ("quantum_msat", 99),  # buys no whole tick
        ("ticks_per_unit", 0),
        ("window", 0),
        ("window", 31),
        ("limit_msat", 5000),  # without mode=arrears
        ("mode", "barter"),
        ("low_water_msat", 10_001),
        ("grace_s", 0),
        ("unit", "kWh\n"),
        ("unit", 7),
        ("settlement", "cash"),
        ("hold_msat", 5000),  # with invoices
        ("unconfirmed_msat", 5000),
        ("rating_ticks_per_s", 1.5),
        ("colour", "red"),
    ],
)
def test_what_can_not_be_is_refused_by_name(field, value):
    with pytest.raises(BadParam) as e:
        Tariff.from_dict({**GOOD, field: value})
    assert e.value.message.lstrip("'").startswith(field)
    assert e.value.data["param"] == field


def test_a_window_that_leaves_invoices_of_nothing():
    with pytest.raises(BadParam, match="window: 30 invoices of a quantum of 20 msat"):
        Tariff.from_dict({"price_msat": 1, "ticks_per_unit": 1, "quantum_msat": 20, "window": 30})


def test_arrears_need_a_limit_of_an_invoice():
    with pytest.raises(BadParam, match="limit_msat: arrears need"):
        Tariff.from_dict({**GOOD, "mode": "arrears", "limit_msat": 9_999})
    assert Tariff.from_dict({**GOOD, "mode": "arrears", "limit_msat": 10_000}).limit_msat == 10_000


anything = st.one_of(st.integers(), st.text(max_size=8), st.floats(), st.none(), st.lists(st.integers(), max_size=2))


@given(st.dictionaries(st.sampled_from(sorted(Tariff.__dataclass_fields__)), anything))
def test_any_tariff_is_sound_or_refused(values):
    try:
        t = Tariff.from_dict({**GOOD, **values})
    except BadParam as e:
        assert e.data["param"] in Tariff.__dataclass_fields__
        return
    assert t.slice_msat >= 1 and t.ticks(t.slice_msat) >= 1 and 0 <= t.low_water_msat <= t.quantum_msat


@pytest.mark.parametrize("name", ["", "Socket", "a" * 33, "a b", "a/b", None, 5, "ü"])
def test_bad_names(name):
    with pytest.raises(BadParam, match="name: must be"):
        check_name(name)


def test_a_quantum_of_more_ticks_than_a_board_counts_is_refused():
    tariff = {"price_msat": 1, "ticks_per_unit": 10**9, "quantum_msat": 2**53 // 10**9}
    assert Tariff.from_dict(tariff)
    with pytest.raises(BadParam, match="would buy more than 9007199254740992 ticks"):
        Tariff.from_dict({**tariff, "quantum_msat": 2**53 // 10**9 + 1})
