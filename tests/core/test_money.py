import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter import formatting as text
from satmeter.core.errors import BadParam
from satmeter.core.money import MAX_MSAT, charge_msat, flag, msat, ticks_for, typed_in_sat, whole

prices = st.integers(1, 10**12)
units = st.integers(1, 10**9)


@pytest.mark.parametrize(
    ("ticks", "price", "per", "charge"), [(0, 1000, 10, 0), (1, 1000, 3, 333), (2, 1000, 3, 666), (3, 1000, 3, 1000)]
)
def test_charge_is_rounded_down_once(ticks, price, per, charge):
    assert charge_msat(ticks, price, per) == charge


@given(st.integers(0, 10**15), prices, units)
def test_what_an_amount_buys_never_costs_more_than_it(amount, price, per):
    ticks = ticks_for(amount, price, per)
    assert charge_msat(ticks, price, per) <= amount
    assert (ticks + 1) * price > amount * per  # and one tick more is not paid for


@given(st.lists(st.integers(0, 10**6), max_size=20), prices, units)
def test_the_whole_is_never_less_than_its_rounded_parts(parts, price, per):
    whole_charge = charge_msat(sum(parts), price, per)
    rounded_parts = sum(charge_msat(p, price, per) for p in parts)
    assert rounded_parts <= whole_charge <= rounded_parts + len(parts)


@pytest.mark.parametrize(
    ("given_", "amount"),
    [
        (5, 5),
        ("5", 5),
        ("5msat", 5),
        ("5sat", 5000),
        ("0.001btc", 100_000_000),
        ("1.5sat", 1500),
        (" 7SAT ", 7000),
        ("1 sat", 1000),
        ("1,500 sat", 1_500_000),
        ("21,000,000 BTC", MAX_MSAT),
        ("0.5 sat", 500),
        ("1,000", 1000),
    ],
)
def test_amounts(given_, amount):
    assert msat("x", given_) == amount


@pytest.mark.parametrize(
    "bad",
    [
        1.0,
        True,
        None,
        "-1",
        "1.0001sat",
        "sat",
        "1e3",
        "",
        [],
        10**20,
        "0x10",
        "٣",
        "1,5 sat",
        "0,500 sat",
        "1,0000",
        "1  sat",
        ",5",
        "1,000,00",
    ],
)
def test_bad_amounts_name_the_parameter(bad):
    with pytest.raises(BadParam) as e:
        msat("limit", bad)
    assert e.value.message.startswith("limit: ")


@pytest.mark.parametrize(
    ("typed", "amount"),
    [("30", 30_000), (" 0.5 ", 500), ("1,500", 1_500_000), ("30msat", 30), ("2 BTC", 200_000_000_000), ("1 sat", 1000)],
)
def test_a_number_alone_in_a_field_of_sat_is_of_sat(typed, amount):
    assert msat("x", typed_in_sat(typed)) == amount
    assert typed_in_sat(f"{typed}/kWh") == f"{typed_in_sat(typed)}/kWh"


@given(st.integers(0, MAX_MSAT))
def test_what_a_page_writes_its_fields_read(amount):
    assert msat("x", text.amount(amount)) == msat("x", text.amount(amount, "BTC")) == amount
    assert msat("x", typed_in_sat(text.amount(amount).removesuffix(" sat"))) == amount


@pytest.mark.parametrize("typed", ["nonsense", "-5", "1e3", "", "5 apples"])
def test_what_is_no_amount_in_a_field_is_none(typed):
    with pytest.raises(BadParam):
        msat("x", typed_in_sat(typed))


@given(st.one_of(st.integers(), st.text(max_size=30), st.floats(), st.none(), st.booleans()))
def test_whole_gives_a_number_in_bounds_or_badparam(value):
    try:
        assert 3 <= whole("n", value, 3, 9) <= 9
    except BadParam as e:
        assert "n: must be" in e.message


@pytest.mark.parametrize("value", [True, 1, "true", "True", "1"])
def test_a_flag_is_set(value):
    assert flag("refuse_debt", value) is True


@pytest.mark.parametrize("value", [False, 0, "false", "0"])
def test_a_flag_is_not_set(value):
    assert flag("refuse_debt", value) is False


@pytest.mark.parametrize("value", ["yes", "no", "", 2, None, 1.0, [True], {"true": 1}])
def test_what_is_no_flag_is_refused_by_name(value):
    with pytest.raises(BadParam, match="refuse_debt: must be true or false"):
        flag("refuse_debt", value)
