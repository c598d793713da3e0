"""What an operator may write as choices, and what each costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.core.choices import Price, parse_choices
from satmeter.core.errors import BadParam
from satmeter.core.money import ticks_for

POWER = Price("Wh", 1_000, 100, 5_000_000)
TIME = Price("min", 50_000, 60, 10_000_000)


@pytest.mark.parametrize(
    ("text", "price", "amounts"),
    [
        ("100sat, 1kWh, 250 Wh", POWER, [100_000, 1_000_000, 250_000]),
        ("1.5kWh", POWER, [1_500_000]),
        ("0.5Wh", POWER, [1_000]),  # half a sat: a wallet pays a whole one
        ("10min,90s, 2h", TIME, [500_000, 75_000, 6_000_000]),
        ("1l", Price("l", 333, 1, 10_000), [1_000]),
        ("3l", Price("l", 333, 1, 999), [999]),  # the quantum is the most, though it is no whole sat
        ("", POWER, [5_000_000]),
        ("", Price("Wh", 1, 1, 900), [900]),
    ],
)
def test_each_choice_has_its_price_in_whole_sat(text, price, amounts):
    assert [each.amount_msat for each in parse_choices(text, price)] == amounts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10min", "neither in sat nor in Wh"),
        ("1Eur", "neither in sat nor in Wh"),
        ("0EURO", "neither in sat nor in Wh"),
        ("1", "no amount such as 100sat or 1Wh"),
        ("sat", "no amount"),
        ("-1sat", "no amount"),
        ("100sat,", "no amount"),
        ("0sat", "buys no whole tick"),
        ("5001sat", "more than the quantum, 5000000 msat"),
        (",".join(["1sat"] * 9), "9 choices"),
    ],
)
def test_what_can_not_be_chosen_is_refused_in_words(text, words):
    with pytest.raises(BadParam, match=words) as refused:
        parse_choices(text, POWER)
    assert refused.value.data["param"] == "choices"


@pytest.mark.parametrize(
    ("text", "rates", "amount"),
    [
        ("1EUR", {}, 0),
        ("1EUR", {"USD": 1_000_000}, 0),
        ("1EUR", {"EUR": 1_634_001}, 1_635_000),  # whole sat
        ("0.25EUR", {"EUR": 1_634_001}, 409_000),
        ("100EUR", {"EUR": 1_634_001}, 0),  # over the quantum by this rate
        ("0.000001EUR", {"EUR": 1}, 1_000),
    ],
)
def test_a_currency_costs_what_it_is_worth_now(text, rates, amount):
    (found,) = parse_choices(text, POWER, frozenset(rates.items()))
    assert (found.amount_msat, found.currency) == (amount, "EUR")


@given(text=st.text(max_size=30), unit=st.sampled_from(["Wh", "min", "l", "m", "kWh"]))
def test_any_text_is_choices_within_the_quantum_or_an_error(text, unit):
    price = Price(unit, 777, 10, 123_456)
    try:
        found = parse_choices(text, price)
    except BadParam:
        return
    for each in found:
        assert 0 < each.amount_msat <= 123_456 and ticks_for(each.amount_msat, 777, 10) > 0
