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
