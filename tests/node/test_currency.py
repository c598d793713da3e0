"""What a bitcoin is worth, as a node says: what is no rate is none."""

from decimal import Decimal

import pytest
from pyln.client import RpcError

from satmeter.core.errors import NodeTrouble
from satmeter.node.currency import per_btc


class Node:
    def __init__(self, answer):
        self.answer = answer

    def call(self, method, **params):
        assert (method, params) == ("currencyrate", {"currency": "EUR"})
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("said", [61234.567, "61234.567"])
def test_a_rate_is_exact(said):
    assert per_btc(Node({"rate": said}), "EUR") == Decimal("61234.567")


@pytest.mark.parametrize("said", [{}, {"rate": "x"}, {"rate": 0}, {"rate": -1}, {"rate": "NaN"}, {"rate": "Infinity"}])
def test_what_is_no_rate_is_said(said):
    with pytest.raises(NodeTrouble, match="no rate of EUR"):
        per_btc(Node(said), "EUR")


def test_the_nodes_words_are_in_it():
    error = RpcError("currencyrate", {}, {"code": -32601, "message": "Unknown command 'currencyrate'"})
    with pytest.raises(NodeTrouble, match="Unknown command"):
        per_btc(Node(error), "EUR")
