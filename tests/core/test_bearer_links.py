"""Bearers' links: each leads to its own purchase, and no other text does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.core.bearer_link import BearerLinks
from satmeter.core.labels import wallet_label

LINKS = BearerLinks(b"key")
LABEL = wallet_label("00c0ffee", "m", 17)


@pytest.mark.parametrize("whole", [False, True])
def test_it_leads_to_its_label_at_its_meter_and_as_what_it_is(whole):
    link = LINKS.of(LABEL, whole)
    assert LINKS.label("m", link, whole) == LABEL
    assert LINKS.label("other", link, whole) == LINKS.label("m", link, not whole) == ""
    assert BearerLinks(b"another").label("m", link, whole) == ""


@given(st.integers(0, 60), st.sampled_from(".!=~ é\n/+"))
def test_a_text_that_a_decoder_forgives_is_no_link(place, more):
    link = LINKS.of(LABEL)
    assert LINKS.label("m", link[:place] + more + link[place:]) == ""


@given(st.text(max_size=80))
def test_any_other_text_is_none(text):
    assert LINKS.label("m", text) == LINKS.label("m", text, whole=True) == ""
