import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.core.errors import BadParam
from satmeter.wire.address import Address, parse

NODE = "02" + "ab" * 32


def test_the_form_of_the_qr_code():
    address = Address("192.0.2.7", 9735, NODE, "socket-1")
    assert str(address) == f"SATMETER://192.0.2.7:9735/{NODE.upper()}/SOCKET-1"
    assert parse(str(address)) == parse(str(address).lower()) == address
    assert address.reach == "192.0.2.7:9735"


@pytest.mark.parametrize(
    ("text", "meter", "reach"),
    [(NODE, "tap", ""), (f"{NODE}@host.example:9735", "tap", "host.example:9735"), (NODE.upper(), "tap", "")],
)
def test_a_node_id_and_a_meter(text, meter, reach):
    found = parse(text, meter)
    assert (found.node_id, found.meter, found.reach) == (NODE, meter, reach)


@pytest.mark.parametrize(
    ("text", "meter"),
    [
        (NODE, None),
        ("02ab", "tap"),
        ("04" + "ab" * 32, "tap"),
        (f"satmeter://h:0/{NODE}/m", None),
        (f"satmeter://h:70000/{NODE}/m", None),
        (f"satmeter://h/{NODE}/m", None),
        (f"{NODE}@host", "tap"),
        (f"{NODE}@:1", "tap"),
        (f"http://h:1/{NODE}/m", None),
        (f"{NODE}@a b:1", "tap"),
        (f"{NODE}@h:{'9' * 5000}", "tap"),
        (f"satmeter://h:1/{NODE}/m", "other"),
        (7, "tap"),
        ("", "tap"),
    ],
)
def test_what_is_no_address(text, meter):
    with pytest.raises(BadParam):
        parse(text, meter)


hosts = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(lambda ip: f"[{ip}]"), st.just("a-b.example"))


@given(
    hosts, st.integers(1, 65535), st.binary(min_size=32, max_size=32), st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)
)
def test_round_trip(host, port, key, meter):
    address = Address(host, port, "03" + key.hex(), meter)
    assert parse(str(address)) == address


@given(st.text(max_size=120), st.one_of(st.none(), st.text(max_size=40)))
def test_any_text_is_an_address_or_badparam(text, meter):
    try:
        parse(text, meter)
    except BadParam as e:
        assert e.data["param"] in ("seller", "name", "meter")
