"""The cat shop: a page, a unique link, and the cat once it is paid; once by a neighbour, once over two hops."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from services import free_port
from waiting import until

SHOP = Path(__file__).parents[2] / "contrib" / "catshop" / "catshop.py"


@pytest.fixture
def shop(service, tmp_path):
    token, port = tmp_path / "cats.token", free_port()
    token.write_text(service.secrets["all"] + "\n")
    command = [sys.executable, str(SHOP), "--billing", service.url, "--token-file", str(token), "--port", str(port)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert "cats at" in running.stdout.readline()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield client
    running.terminate()
    running.wait(20)


def bought(shop):
    """Buy: returns the unique link, and the invoice on its page."""
    assert "for 100 sat" in shop.get("/").text
    link = shop.post("/buy").headers["location"]
    page = shop.get(link).text
    return link, page.split("lightning:")[1].split('"')[0]


@pytest.mark.parametrize("who", ["hop", "far"])
def test_a_cat_is_bought(net, shop, who):
    before = {name: balance(net[name]) for name in ("seller", who)}
    link, payreq = bought(shop)
    assert "Two cats!" not in shop.get(link).text
    net[who].rpc.call("xpay", {"invstring": payreq, "maxfee": 10_000})
    until(lambda: "Two cats!" in shop.get(link).text)
    until(lambda: balance(net["seller"]) - before["seller"] == 100_000)
    until(lambda: before[who] - balance(net[who]) >= 100_000)
    other, _ = bought(shop)
    assert other != link and "Two cats!" not in shop.get(other).text


def balance(node):
    channels = node.rpc.call("listpeerchannels")["channels"]
    return sum(int(c["to_us_msat"]) for c in channels) if not any(c.get("htlcs") for c in channels) else -1


def test_no_cat_without_its_link(shop):
    for path in ("/cat/", "/cat/nonsense", "/cat/..%2finvoices", "/nowhere"):
        assert shop.get(path).status_code == 404
    assert shop.post("/nowhere").status_code == 404


def test_it_is_small():
    assert len(SHOP.read_text().splitlines()) < 150
