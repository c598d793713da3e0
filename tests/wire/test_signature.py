"""Signed messages: read as lightningd reads them, and no text of a stranger's is more than "not signed"."""

import hashlib

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from satmeter.wire import signature as sig

KEY = hashlib.sha256(b"a seller").digest()
NODE = PrivateKey(KEY).public_key.format().hex()
OTHER = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
GOOD = sig.pack(sig.sign(KEY, "hello"))
RECORDED = (
    '{"x":"é"}',
    "rdop1ojabeap9cup3rexmgepmt87o1crazeprbe93iyifyqwoow7wrfjpb4ztj3hd16mdmn8i87a3sas1ok1w9wdjbna1494ses3pcx7",
    "02cbca659f62048a80b33542a2b8e0fc4efba7ce91a5a4122585c4f3f9fc68810c",
)
"""By signmessage of lightningd 26.06.6: it signs the text as it stands in the request, with its backslashes."""
texts = st.text(st.characters(exclude_categories=["Cs"]))


def test_what_lightningd_signed():
    text, zbase, node_id = RECORDED
    assert sig.signer(text, zbase) == node_id


@given(texts)
def test_what_is_signed_is_verified_and_nothing_else_is(text):
    zbase = sig.pack(sig.sign(KEY, text))
    assert len(zbase) == 104 and sig.verify(text, zbase, NODE)
    assert not sig.verify(text + "x", zbase, NODE) and not sig.verify(text, zbase, OTHER)


@given(st.binary(min_size=65, max_size=65))
def test_zbase_there_and_back(raw):
    assert sig.unpack(sig.pack(raw)) == raw


@pytest.mark.parametrize(
    ("zbase", "words"),
    [
        ("d" * 104, "recovery id"),
        (sig.pack(b"\x1e" + sig.unpack(GOOD)[1:]), "recovery id -1"),
        (sig.pack(b"\x23" + sig.unpack(GOOD)[1:]), "recovery id 4"),
        (GOOD.upper(), "not valid zbase32"),
        ("l" * 104, "not valid zbase32"),
        (GOOD[:-1], "not valid zbase32"),
        (GOOD[:-8], "too short"),
        ("", "too short"),
        (GOOD + GOOD[:8], "too long"),
        (GOOD[:-1] + "\ud800", "not valid zbase32"),
        (sig.pack(b"\x1f" + b"\xff" * 64), "no signature"),
        (sig.pack(b"\x1f" + bytes(64)), "no signature"),
    ],
)
def test_what_is_no_signature(zbase, words):
    with pytest.raises(ValueError, match=words):
        sig.signer("hello", zbase)
    assert not sig.verify("hello", zbase, NODE)


letters = st.text(sig.ALPHABET, min_size=104, max_size=104)
anything = st.text(st.characters())  # with surrogates


@given(anything, st.one_of(anything, letters, st.sampled_from([GOOD, "d" * 104])), st.one_of(anything, st.just(NODE)))
def test_any_text_is_answered(text, zbase, node_id):
    assert sig.verify(text, zbase, node_id) == (text == "hello" and zbase == GOOD and node_id == NODE)
