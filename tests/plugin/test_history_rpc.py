"""Cells of the CSV: what a buyer wrote is never a formula in a spreadsheet."""

import pytest

from satmeter.plugin.history_rpc import _cell


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_a_text_that_a_spreadsheet_would_calculate_is_a_text(text):
    assert _cell(text) == f"'{text}"


@pytest.mark.parametrize("value", [-5, 0, "done", "", "a=b", None])
def test_all_else_stays_as_it_is(value):
    assert _cell(value) == value
