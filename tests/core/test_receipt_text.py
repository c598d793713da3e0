"""Receipts come from strangers: what is not one is none."""

import json

import pytest

from satmeter.core import receipt


@pytest.mark.parametrize("reason", ["\ud800", "a\x00b", "x" * 501, "a\u202eb", "two\nlines"])
def test_a_receipt_with_text_that_no_page_may_show_is_none(reason):
    words = {"session": "s", "seller": "s", "buyer": "b", "meter": "m", "reason": "closed", "head": "h"}
    numbers = dict.fromkeys(receipt._WHOLE, 0)
    good = {"format": receipt.FORMAT, "tariff": {}, **numbers, **words}
    assert receipt.read(json.dumps(good)) == good
    assert receipt.read(json.dumps({**good, "reason": reason})) is None


@pytest.mark.parametrize("name", receipt._WHOLE)
@pytest.mark.parametrize("number", [-1, True, 1.0, "1", 10**4_299, 21_000_000 * 10**11 + 1, None])
def test_a_receipt_with_a_number_that_its_kind_can_not_have_is_none(name, number):
    """Sums of them go into the journal: with 10**4299 two of them could not even be written."""
    words = {"session": "s", "seller": "s", "buyer": "b", "meter": "m", "reason": "closed", "head": "h"}
    good = {"format": receipt.FORMAT, "tariff": {}, **dict.fromkeys(receipt._WHOLE, 0), **words}
    assert receipt.read(json.dumps(good)) == good
    assert receipt.read(json.dumps({**good, name: number})) is None


@pytest.mark.parametrize("name", receipt._ONCHAIN)
def test_neither_may_those_of_its_transactions_be_without_bound(name):
    words = {"session": "s", "seller": "s", "buyer": "b", "meter": "m", "reason": "closed", "head": "h"}
    onchain = {**dict.fromkeys(receipt._ONCHAIN, 0), "txids": []}
    good = {"format": receipt.FORMAT, "tariff": {}, **dict.fromkeys(receipt._WHOLE, 0), **words, "onchain": onchain}
    assert receipt.read(json.dumps(good)) == good
    assert receipt.read(json.dumps({**good, "onchain": {**onchain, name: 10**4_299}})) is None
