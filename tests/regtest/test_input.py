"""Bad input by RPC: an error that names the parameter, its value and the bound; nothing reserved, nothing lost."""

import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from methods import METHODS

from shop import TARIFF, balance, error_of

GOOD = {"name": "bad-input", **TARIFF}
STRANGER = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("price_msat", 0, "price_msat: must be from 1"),
        ("quantum_msat", -5, "quantum_msat: must be from 1"),
        ("limit_msat", 5_000, "only mode=arrears has a limit"),
        ("window", 31, "window: must be from 1 to 30, got 31"),
        ("name", "Socket!", "name: must be 1 to 32 of a-z, 0-9 and -"),
        ("colour", "red", "colour: not a parameter of meter-add"),
        ("price_msat", "cheap", "price_msat: must be an amount"),
        ("ticks_per_unit", 1.5, "ticks_per_unit: must be a whole number"),
    ],
)
def test_meter_add(net, field, value, words):
    error = error_of(net["seller"].rpc, "meter-add", {**GOOD, field: value})
    assert words in error["message"] and error["code"] == 2101
    assert "bad-input" not in [m["name"] for m in net["seller"].rpc.call("meter-list")["meters"]]


def test_a_window_that_leaves_invoices_of_nothing(net):
    bad = {"name": "bad-input", "price_msat": 1, "ticks_per_unit": 1, "quantum_msat": 20, "window": 30}
    assert "window: 30 invoices" in error_of(net["seller"].rpc, "meter-add", bad)["message"]


def test_a_name_in_use(net, shop):
    board = shop.add()
    assert "NameTaken" in error_of(shop.rpc, "meter-add", {**GOOD, "name": board.name})["message"]


def test_a_missing_parameter_and_too_many(net):
    rpc = net["seller"].rpc
    assert "quantum_msat: is required" in error_of(rpc, "meter-add", ["x", 1, 1])["message"]
    assert "takes at most" in error_of(rpc, "meter-list", [1])["message"]
    assert "no meter 'x'" in error_of(rpc, "meter-status", ["x"])["message"]
    assert "no live session" in error_of(rpc, "meter-spend", ["ff", "g", "reserve", 1])["message"]


def opening(net, shop, board, **more):
    return {"seller": shop.address(board), "max_price_msat": 1000, "unit": "unit", "budget_msat": 100_000, **more}


def test_stream_open(net, shop):
    board, buyer = shop.add(), net["buyer"].rpc
    before = balance(net["buyer"])
    for params, words in (
        (opening(net, shop, board, seller=STRANGER, meter="m"), "can't reach the seller"),
        (opening(net, shop, board, seller=f"{STRANGER}@127.0.0.1:1", meter="m"), "can't reach the seller"),
        (opening(net, shop, board, seller=net["seller"].id, meter="nowhere"), "UnknownMeter"),
        (opening(net, shop, board, max_price_msat=999), "OverCap: price 1000 msat per unit is over the cap of 999"),
        (opening(net, shop, board, budget_msat=0), "budget_msat: must be from 1"),
        (opening(net, shop, board, seller="http://example"), "seller: must be SATMETER://"),
        (opening(net, shop, board, max_fee_msat=-1), "max_fee_msat: must be from 0"),
    ):
        assert words in error_of(buyer, "stream-open", params)["message"], params
    nobody = error_of(buyer, "stream-open", opening(net, shop, board, seller=f"{STRANGER}@127.0.0.1:1", meter="m"))
    assert nobody["code"] == 2158 and "Refused" not in nobody["message"]  # nobody was there who could refuse
    assert balance(net["buyer"]) == before
    assert not [s for s in buyer.call("stream-list")["streams"] if s["state"] in ("opening", "streaming")]


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        ({"register": -1}, "register: must be from 0"),
        ({"register": "much"}, "register: must be a whole number"),
        ({"boot": "../x"}, "boot: must be 1 to 32 letters and digits"),
        ({"boot": "\u00e4\u0663"}, "boot: must be 1 to 32 letters and digits"),
        ({"board": "\u0663"}, "board: must be an id"),
        ({"register": 1, "base": 2}, "under the base 2"),
    ],
)
def test_meter_report(net, shop, reading, words):
    board = shop.add()
    good = {"name": board.name, "boot": "b1", "register": 5}
    assert words in error_of(shop.rpc, "meter-report", {**good, **reading})["message"]


def test_a_register_that_goes_back(net, shop):
    board = shop.add()
    board.register = 50
    board.report()
    shop.forget(board)
    error = error_of(shop.rpc, "meter-report", {"name": board.name, "boot": "b1", "register": 49})
    assert "went back from 50" in error["message"] and error["code"] == 2153


def test_what_is_not_json_is_answered_and_harms_nothing(net):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(str(net["seller"].lightning_dir / "lightning-rpc"))
        s.sendall(b'{"jsonrpc":"2.0","id":"x","method":"meter-list","params":[Infinity]}')
        assert b'"error"' in s.recv(4096)
    assert net["seller"].rpc.call("meter-list")


floats = st.floats(allow_nan=False, allow_infinity=False)
junk = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.floats(allow_nan=False, allow_infinity=False)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
SIDES = [(side, method) for side, methods in METHODS.items() for method in methods]


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(side=st.sampled_from(SIDES), params=st.lists(junk, max_size=5))
def test_any_parameters_get_an_answer_or_a_named_error(net, side, params):
    node, method = side
    rpc = net[node].rpc
    try:
        rpc.call(method, [p for p in params if p is not None])
    except Exception as e:
        error = e.error
        assert isinstance(error, dict) and error["message"] and "Traceback" not in str(error), error
        assert error["code"] in (-32602, -32600) or 2100 <= error["code"] < 2200, error
        assert "internal error" not in error["message"], (method, params, error)
    assert net[node].rpc.call("meter-list" if node == "seller" else "stream-list")


@pytest.mark.parametrize("method", ["meter-sessions", "meter-export", "meter-totals"])
def test_what_nobody_knows_is_no_empty_answer(net, method):
    """A typo must not look like a meter that earned nothing."""
    error = error_of(net["seller"].rpc, method, {"name": "soket"})
    assert error["code"] == 2102 and "no meter 'soket'" in error["message"]


def test_a_session_that_nobody_knows_is_called_so(net):
    error = error_of(net["seller"].rpc, "meter-close", {"name": "01" * 16})
    assert error["code"] == 2103 and "no meter, and no session" in error["message"]
