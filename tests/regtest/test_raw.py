"""Requests of raw tokens, which lightningd hands on as they came: an answer to each, and no process ends.

A client can write them by a socket only: pyln-client and lightning-cli make JSON of what they are given.
"""

import json
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from methods import METHODS

from satmeter import devnet

SHIMS = {"seller": devnet.METER, "buyer": devnet.STREAM}
GOOD = {"seller": "meter-list", "buyer": "stream-list"}
SIDES = [(side, method) for side, methods in METHODS.items() for method in (*methods, GOOD[side])]
PASSED = [
    b"007", b"1e999", b"-1e999", b"-0", b"-", b"--1", b"1.2.3", b"0x10", b"1_0", b"1ab", b"tru", b"nan", b"nil", b"1{",
    b"t[[", b'1"', b"1" * 4300, b"1" * 4301, b"-" + b"9" * 10_000, b"1." + b"3" * 5000, b"1e" + b"9" * 50,
    b"0." + b"0" * 400 + b"1", b"[" * 60 + b"]" * 60, b"[" * 600 + b"]" * 600, b"[" * 3000 + b"]" * 3000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000, b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"a\\u0000b"',
    b'{"\\ud800":1}', b'{"\\u0000":1}', b'"\x01"', b'"\x7f"', b'"\t"', b'"a\n\nb"', b'"' + b"x" * 100_000 + b'"',
    b"[1:2]", b"[1,]", b"[,]", b"[1 2]", b'{"a":1,"a":2}', b'{"a":1:2}', b"true", b"false", b"null",
    b"{}", b"[]", b'""', b"1.0", b"1e0", b"9007199254740993",
    b'\n\n{"jsonrpc":"2.0","id":"z","method":"shutdown","params":{}}\n\n',
    b'\n\n{"jsonrpc":"2.0","method":"shutdown","params":{}}\n\n',
]  # fmt: skip
"""What lightningd's parser takes for a value."""
SEVERAL = [b"1 2", b"1,\n\n2", b",1"]
"""What it takes for values in a list."""
REFUSED = [
    b"NaN",
    b"Infinity",
    b"+1",
    b"Truth",
    b"'a'",
    b'"\\x"',
    b'"\xff"',
    b'"\xed\xa0\x80"',
    b'{"a"}',
    b"[1}",
    b"1\x01",
]
"""What it does not: the connection ends."""


def ask(node, text):
    """Write the text of a request, and return what is answered."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(str(node.lightning_dir / "lightning-rpc"))
        s.sendall(text)
        answer = b""
        while not answer.endswith(b"\n\n"):
            more = s.recv(65_536)
            assert more, (text[:300], answer)
            answer += more
    return json.loads(answer.decode(errors="replace"))


def request(method, params):
    return b'{"jsonrpc":"2.0","id":"raw","method":"' + method.encode() + b'","params":' + params + b"}"


def check(net, side, method, params):
    """Make the call: a result or a named error, and the next call is answered."""
    answer = ask(net[side], request(method, params))
    assert answer["id"] == "raw", (method, params[:300], answer)
    if "error" in answer:
        error = answer["error"]
        assert error["code"] in (-32700, -32602) or 2100 <= error["code"] < 2200, (method, params[:300], error)
        assert "traceback" not in error and "internal error" not in error["message"], (method, params[:300], error)
    assert net[side].rpc.call(GOOD[side])


@pytest.fixture
def same(net):
    """Both plugins are the same processes after a test as before it."""
    before = {side: net[side].plugin_pid(shim) for side, shim in SHIMS.items()}
    yield
    assert before == {side: net[side].plugin_pid(shim) for side, shim in SHIMS.items()}


@pytest.mark.parametrize(("side", "method"), SIDES)
def test_every_nasty_token_for_every_method(net, same, side, method):
    for token in (*PASSED, *SEVERAL):
        check(net, side, method, b"[" + token + b"]")
    for token in PASSED:
        check(net, side, method, b'{"name":' + token.strip() + b',"session":"x"}')


@pytest.mark.parametrize("params", [b"007", b"5", b"null", b'"x"', b"true", b"tru"])
def test_parameters_that_are_neither_list_nor_object(net, same, params):
    for side, method in GOOD.items():
        check(net, side, method, params)


@pytest.mark.parametrize("token", REFUSED)
def test_what_is_no_token_ends_the_connection_and_nothing_else(net, same, token):
    answer = ask(net["seller"], request("meter-status", b"[" + token + b"]"))
    assert answer["id"] is None and answer["error"]["code"] == -32600
    assert net["seller"].rpc.call("meter-list")


@pytest.mark.parametrize(
    "text",
    [
        b'{"params":[],"method":"meter-list","jsonrpc":"2.0","id":"raw"}',
        b'{"jsonrpc":"2.0","id":"raw","method":"meter-list","params":[],"id":"other"}',
        b'{"\\u0069d":"other","jsonrpc":"2.0","id":"raw","method":"meter-list","params":[]}',
        b'{"jsonrpc":"2.0","id":"raw","method":"meter-list","params":[],"method":"meter-nowhere","params":5}',
        b'{"jsonrpc":"2.0","id":"raw","method":"meter-list",\n\n"params":[\n\n]\n\n}',
    ],
)
def test_members_in_any_order_and_twice(net, same, text):
    assert "meters" in ask(net["seller"], text)["result"]
    assert ask(net["seller"], text.replace(b'"raw"', b"7"))["id"] == 7


tokens = st.one_of(
    st.sampled_from(PASSED),
    st.from_regex(rb"[-0-9tfn][!-+.-\\^-|~]{0,12}", fullmatch=True),
    st.integers().map(lambda n: b"%d" % n),
    st.text(max_size=12).map(lambda t: json.dumps(t).encode()),
)
params = st.one_of(
    st.lists(tokens, max_size=6).map(lambda each: b"[" + b",".join(each) + b"]"),
    st.lists(st.tuples(st.sampled_from(["name", "session", "limit", "price_msat", "seller", "boot"]), tokens)).map(
        lambda each: b"{" + b",".join(b'"' + name.encode() + b'":' + token for name, token in each) + b"}"
    ),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(side=st.sampled_from(SIDES), params=params)
def test_any_tokens_get_an_answer_or_a_named_error(net, same, side, params):
    check(net, *side, params)
