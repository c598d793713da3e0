import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.core import messages as msg
from satmeter.core.errors import BadMessage
from satmeter.wire import peer

VECTORS = Path(__file__).parent / "peer_vectors.json"
SESSION = "00112233445566778899aabbccddeeff"
EXAMPLES = {
    "open": msg.Open(SESSION, 1, "socket"),
    "terms": msg.Terms(SESSION, 1_763_600_000_000, "socket", '{"price_msat":1000}', 0),
    "invoice": msg.Invoice(SESSION, 253, 7, 2_500, "lnbcrt25n1…", 65_536, 6_553, 10_000),
    "low": msg.Low(SESSION, 252, 2**32, 2**32 - 1),
    "close": msg.Close(SESSION, 2, "buyer", "closed by the buyer", 12_500, "lnbcrt1…"),
    "receipt": msg.Receipt(SESSION, 3, "{}", "d7zbase"),
    "error": msg.Error(SESSION, 4, "seller", 2105, "taken", 0),
    "agree": msg.Agree(SESSION, 5),
    "increment": msg.Increment(SESSION, 6, 2, 2_000_000, 1, 4_000, "bcrt1qaddress", 1_000, 40, 4_000, 2_000_000),
    "update": msg.Update(SESSION, 7, 2, 1, "0200000001", "101,102"),
    "taken": msg.Taken(SESSION, 8, 2, 1, 2_000_000),
}


def test_every_message_has_a_golden_vector():
    assert {type(message) for message in EXAMPLES.values()} == set(peer.TYPES.values())


def test_golden_vectors_are_fresh():
    """docs/wire.md shows these bytes: a change of the encoding is a change of the protocol."""
    written = json.loads(VECTORS.read_text())
    assert written == {name: peer.encode(m).hex() for name, m in EXAMPLES.items()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_golden_vectors_decode(name):
    assert peer.decode(bytes.fromhex(json.loads(VECTORS.read_text())[name])) == EXAMPLES[name]


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "00"), (252, "fc"), (253, "fd00fd"), (65535, "fdffff"), (65536, "fe00010000"), (2**32, "ff0000000100000000")],
)
def test_bigsize_as_in_bolt_1(value, encoded):
    assert peer.bigsize(value).hex() == encoded
    assert peer.read_bigsize(bytes.fromhex(encoded), 0) == (value, len(encoded) // 2)


@pytest.mark.parametrize("bad", ["fd00fc", "fe0000ffff", "ff00000000ffffffff", "fd00", "fdff", "feffff", "ff", ""])
def test_bigsize_refuses_what_bolt_1_refuses(bad):
    with pytest.raises(BadMessage):
        peer.read_bigsize(bytes.fromhex(bad), 0)


def head(kind=45101):
    return kind.to_bytes(2, "big") + bytes.fromhex("0010") + bytes.fromhex(SESSION)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (head(), "no seq, meter"),
        (head() + bytes.fromhex("0201010402613b0a00"), "field 10 is not known here"),
        (head() + bytes.fromhex("02010102 0102"), "field 2 after field 2"),
        (head() + bytes.fromhex("0202 0001"), "seq is not a tu64"),
        (head() + bytes.fromhex("0209 010101010101010101"), "seq is not a tu64"),
        (head() + bytes.fromhex("0201 01 0405 61"), "cut off"),
        (head() + bytes.fromhex("0201 01 0401 ff"), "not UTF-8"),
        (bytes.fromhex("b02d 0001 00"), "16 bytes"),
        (head() + bytes(20_000), "at most 16384 are taken"),
    ],
)
def test_malformed_messages_are_refused(data, why):
    with pytest.raises(BadMessage, match=why):
        peer.decode(data)


def test_an_unknown_odd_field_is_ignored():
    data = peer.encode(EXAMPLES["open"])
    assert peer.decode(data + bytes.fromhex("0b03aabbcc")) == EXAMPLES["open"]


@pytest.mark.parametrize("data", [b"", b"\x80", bytes.fromhex("8001aa"), bytes.fromhex("0010")])
def test_what_is_not_ours_is_none(data):
    assert peer.decode(data) is None


def test_nothing_too_large_is_sent():
    with pytest.raises(BadMessage, match="at most 16384"):
        peer.encode(msg.Receipt(SESSION, 1, "x" * 16_384, ""))


numbers = st.integers(0, 2**64 - 1)
texts = st.text(st.characters(codec="utf-8"), max_size=200)
sessions = st.binary(min_size=16, max_size=16).map(bytes.hex)


@given(sessions, numbers, numbers, numbers, texts, numbers, numbers, numbers)
def test_round_trip(session, seq, n, amount, bolt11, ticks, charged, paid):
    message = msg.Invoice(session, seq, n, amount, bolt11, ticks, charged, paid)
    assert peer.decode(peer.encode(message)) == message


@given(st.sampled_from(sorted(peer.TYPES)), st.binary(max_size=400))
def test_any_bytes_are_a_message_or_badmessage(kind, data):
    try:
        decoded = peer.decode(kind.to_bytes(2, "big") + data)
    except BadMessage:
        return
    assert type(decoded) is peer.TYPES[kind]


def test_types_are_odd_and_outside_the_bolts():
    assert all(number % 2 == 1 and 32768 <= number < 65536 for number in peer.TYPES)


def test_the_docs_show_a_golden_vector():
    text = (Path(__file__).parents[2] / "docs" / "wire.md").read_text()
    assert json.loads(VECTORS.read_text())["open"] in text.replace(" ", "")
    assert all(str(number) in text for number in peer.TYPES)
