"""Errors on the pages: in words, with advice that fits."""

import pytest

from satmeter.core import errors
from satmeter.panel.layout import NEXT, words


def test_a_node_that_does_not_answer_is_to_be_looked_at():
    assert words(errors.NodeTrouble("no answer")).endswith(NEXT[errors.NodeTrouble.code])


@pytest.mark.parametrize("refusal", [errors.OverCap, errors.MeterTaken, errors.LockedOut, errors.Refused])
def test_a_refusal_is_no_trouble_of_the_node(refusal):
    said = words(errors.NodeTrouble("not opened: no", code=refusal.code))
    assert NEXT[errors.NodeTrouble.code] not in said and said.startswith("not opened: no")
    assert said.endswith(NEXT.get(refusal.code, "no"))


def test_any_other_error_is_told_as_it_is():
    assert words(OSError("no such file")) == "no such file"
