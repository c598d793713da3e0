"""Addresses that clients name: none leads into our own network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.billing.ssrf import Outward, check_url
from satmeter.core.errors import BadParam
from satmeter.journal.store import sqlite_url
from services import in_a_loop

NODE = "02" * 33


@pytest.fixture
def url(tmp_path):
    return sqlite_url(tmp_path / "b.sqlite3")


@given(url=st.text(max_size=60) | st.text(max_size=40).map(lambda t: "http://" + t) | st.integers())
def test_any_url_is_one_or_an_error(url):
    try:
        assert check_url(url) == url
    except BadParam as e:
        assert str(e).startswith("url:")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "[::1]",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
    ],
)
def test_no_request_leads_into_our_own_network(host):
    with pytest.raises((BadParam, OSError), match=r"private network.*hook_hosts|address"):
        in_a_loop(Outward((), "hook_hosts").address(host.strip("[]"), 80))
    assert in_a_loop(Outward(("127.0.0.1",), "hook_hosts").address("127.0.0.1", 80)) == "127.0.0.1"
