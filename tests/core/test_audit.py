"""What a receipt proves by itself, and what it can't."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sold import changed
from sold import sold as sold
from world import SELLER_ID

from satmeter.core.audit import audit
from satmeter.core.errors import BadParam
from satmeter.core.journal import CHAIN_START, next_head


def test_a_sound_receipt_holds_in_every_sentence(sold):
    proofs = audit(sold[0], SELLER_ID, sold[1])
    assert [proof.holds for proof in proofs] == [True] * 5
    said = " / ".join(proof.words for proof in proofs)
    assert "10,000 msat paid + 0 still to be paid = 4,000 charged + 6,000 given back + 0 lapsed + 0 still owed" in said
    assert "40 ticks at 1,000 msat for 10 (unit) cost 4,000 msat" in said and "from 0 to 40, 40 ticks" in said


def test_what_is_not_at_hand_is_no_proof(sold):
    assert [proof.holds for proof in audit(sold[0], SELLER_ID)] == [True] * 4 + [None]


@pytest.mark.parametrize(
    ("fields", "signer", "words"),
    [
        ({}, "", "nobody signed it"),
        ({}, "02" + "cc" * 32, "and it names"),
        ({"paid_msat": 11_000}, SELLER_ID, "11,000 msat paid"),
        ({"ticks": 39}, SELLER_ID, "39 ticks at"),
        ({"head": "ab" * 32}, SELLER_ID, "none of the"),
        ({"tariff": {"price_msat": -1}}, SELLER_ID, "its tariff can't be"),
    ],
)
def test_what_is_not_so_is_said(sold, fields, signer, words):
    proofs = audit(changed(sold[0], **fields), signer, sold[1])
    assert any(proof.holds is False and words in proof.words for proof in proofs)


def test_events_of_which_one_is_missing_are_not_those_of_the_receipt(sold):
    text, events = sold
    for n in range(3):
        assert audit(text, SELLER_ID, events[:n] + events[n + 1 :])[-1].holds is False
    assert audit(text, SELLER_ID, [{**events[0], "at": events[0]["at"] + 1}, *events[1:]])[-1].holds is False


@given(st.text(max_size=50) | st.dictionaries(st.text(max_size=8), st.integers()).map(json.dumps))
def test_anything_else_is_no_receipt(text):
    with pytest.raises(BadParam, match="is no receipt"):
        audit(text, SELLER_ID)


def test_whole_pages_of_events_without_the_last_one_prove_nothing_and_disprove_nothing(sold):
    """A session of more than 1,000 events: meter-history answers a page at once."""
    text, events = sold
    first = [{"kind": "session_counted", "at": 1, "data": "{}"}] * 1000
    ended = head(first + events)
    whole = changed(text, head=ended)
    assert audit(whole, SELLER_ID, first + events)[-1].holds is True
    assert audit(whole, SELLER_ID, first)[-1].holds is None
    assert audit(whole, SELLER_ID, first[:-1])[-1].holds is False


def head(events):
    found = CHAIN_START
    for event in events:
        found = next_head(found, event["kind"], event["at"], event["data"])
    return found
