"""Addresses that clients name: none leads into our own network."""

import asyncio
import gc
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.billing.ssrf import LOOKUPS, Outward, check_url
from satmeter.core.errors import BadParam
from satmeter.journal.url import sqlite_url
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


def test_names_that_no_server_answers_for_hold_up_nobody_else(monkeypatch):
    """Whoever waits for one gives up; the thread that looks it up does not."""
    hangs = threading.Event()

    def getaddrinfo(host, port, **_):
        if host == "slow.example":
            hangs.wait(30)
        return [(0, 0, 0, "", ("8.8.8.8", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    outward = Outward((), "hook_hosts")

    async def act():
        async def given_up():
            async with asyncio.timeout(0.05):
                await outward.address("slow.example", 80, "one client")

        for _ in range(LOOKUPS):
            with pytest.raises(TimeoutError):
                await given_up()
        own = asyncio.create_task(outward.address("good.example", 80, "one client"))
        assert await outward.address("good.example", 80, "another") == "8.8.8.8"
        assert not own.done()
        hangs.set()
        return await own

    assert asyncio.run(asyncio.wait_for(act(), 20)) == "8.8.8.8"


def test_many_names_of_one_client_are_looked_up_in_turn(monkeypatch):
    at_once, most = 0, 0
    lock, said = threading.Lock(), []

    def getaddrinfo(host, port, **_):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        everybody.wait(10)
        with lock:
            at_once -= 1
        raise OSError("not known")

    everybody = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    outward = Outward((), "hook_hosts")

    async def act():
        asyncio.get_running_loop().set_exception_handler(lambda _, about: said.append(about))
        asked = [asyncio.create_task(outward.address(f"h{n}.example", 80, "one")) for n in range(3 * LOOKUPS)]
        await asyncio.wait(asked, timeout=0.05)
        for each in asked[:LOOKUPS]:
            each.cancel()  # whoever asked has gone: what the lookup says then is nobody's trouble
        await asyncio.gather(*asked[:LOOKUPS], return_exceptions=True)
        everybody.set()
        found = await asyncio.gather(*asked[LOOKUPS:], return_exceptions=True)
        gc.collect()
        await asyncio.sleep(0)
        return found

    found = asyncio.run(asyncio.wait_for(act(), 20))
    assert [type(each) for each in found] == [OSError] * (2 * LOOKUPS) and most == LOOKUPS and not said
