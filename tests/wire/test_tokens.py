"""Requests are found in a stream as lightningd's parser finds them, however the bytes come and whatever they hold."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.wire.tokens import Requests, depth, members

NASTY = [
    b"007", b"-", b"1{", b"t[[", b'1"', b'"\x01"', b'"a\n\nb"', b"[1,\n\n2]", b"[1:2]", b"[1,]", b'"\\\\"', b'"\\""',
    b'"}"', b'"\\\\\\""', b"[" * 3000 + b"]" * 3000, b"9" * 5000, b'{"id":"z"}',
    b'\n\n{"id":"z","method":"meter-list","params":{}}\n\n',
]  # fmt: skip


def request(token):
    return b'{"jsonrpc":"2.0","id":"x","method":"m","params":[' + token + b'], "id":"y"}'


@pytest.mark.parametrize("token", NASTY, ids=lambda t: repr(t[:20]))
def test_a_request_ends_where_lightningd_ends_it(token):
    texts = [request(token), request(b"1"), request(token)]
    for between in (b"", b"\n\n", b" "):
        assert Requests().feed(between.join(texts)) == texts
        one = Requests()
        assert [t for b in between.join(texts) for t in one.feed(bytes([b]))] == texts
    found = members(texts[0])
    assert texts[0][found[b'"id"']] == b'"x"' and texts[0][found[b'"params"']] == b"[" + token + b"]"


@given(st.binary(), st.lists(st.integers(1, 50)))
def test_any_bytes_are_read_alike_in_any_pieces(data, sizes):
    pieces, at, one = [], 0, Requests()
    for size in [*sizes, len(data)]:
        pieces += one.feed(data[at : at + size])
        at += size
    assert pieces == Requests().feed(data)
    assert all(isinstance(members(text), dict) for text in pieces)


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values, min_size=1), st.sampled_from([None, 1]))
def test_what_is_json_is_read_as_json(value, indent):
    text = json.dumps(value, indent=indent, allow_nan=True).replace("NaN", "null").replace("Infinity", "0").encode()
    assert Requests().feed(text) == [text]
    found = {json.loads(name): json.loads(text[at]) for name, at in members(text).items()}
    assert found == json.loads(text)


def test_depth():
    assert [depth(t) for t in (b"1", b"[]", b'{"a":[[],[1]]}', b'"[[["', b"1[[")] == [0, 1, 3, 0, 0]
