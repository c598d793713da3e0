"""An amount in a currency as msat: a shop never gets less than its price."""

from decimal import Decimal

import pytest

from satmeter.billing.rates import converted
from satmeter.core.errors import BadParam


class Node:
    def __init__(self, rate):
        self.rate = rate

    def call(self, method, currency):
        assert (method, currency) == ("currencyrate", "EUR")
        return {"rate": self.rate}


@pytest.mark.parametrize(
    ("rates", "node", "currency", "value", "msat"),
    [
        ({"EUR": Decimal(30_000)}, None, "EUR", "3", 10_000_000),  # 3/30,000 BTC
        ({"EUR": Decimal(30_000)}, None, "EUR", "0.000001", 4),  # 3.33 msat
        ({}, Node(30_000), "EUR", "0.000001", 4),
        ({}, Node(30_000.5), "EUR", "3", 9_999_834),  # 9,999,833.3
        ({}, None, "BTC", "0.000000000001", 1),  # a tenth of a msat
        ({}, None, "BTC", "1", 100_000_000_000),
    ],
)
def test_it_is_exact_and_rounded_up(rates, node, currency, value, msat):
    assert converted(rates, node, currency, Decimal(value)) == msat


@pytest.mark.parametrize("rate", ["NaN", "-1", 0, "abc", None])
def test_what_the_node_says_and_is_no_rate_is_said(rate):
    with pytest.raises(BadParam, match="there is no rate of EUR"):
        converted({}, Node(rate), "EUR", Decimal(3))
