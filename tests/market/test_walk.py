"""D3.8's walk: from the search on the marketplace to the O-MI node's answer, in a real browser and by curl.

The seller registers, publishes the parking facilities' capacity, and puts the gate before the O-MI node with the
api-token of the page; the buyer searches, sorts, fills the cart, pays, finds the token on the dashboard, and asks.
"""

import json
import re
import shutil
import subprocess
import sys

import httpx
import pytest

from omi import CAPACITY, CONTRIB, PATH
from services import MARKET, Service, free_port
from waiting import until


@pytest.fixture(scope="module")
def hub(net):
    running = Service(net.directory / "walk", net["seller"], **MARKET)
    yield running
    running.stop()


@pytest.fixture
def parking(tmp_path):
    """Start the O-MI node behind its gate, under a seller's api-token; ports are known before."""
    behind, before = free_port(), free_port()
    url, running = f"http://127.0.0.1:{before}/", []

    def start(hub, token):
        text = (CONTRIB / "gate.toml").read_text().replace("8084", str(behind)).replace("8083", str(before))
        text = text.replace("http://127.0.0.1:9112", hub.url)
        text = re.sub(r'api_token = ".*"', f'api_token = "{token}"', text)
        (tmp_path / "gate.toml").write_text(text)
        commands = [
            [sys.executable, str(CONTRIB / "node.py"), "--port", str(behind)],
            [sys.executable, "-m", "satmeter.cli", "gate", "--config", str(tmp_path / "gate.toml")],
        ]
        with (tmp_path / "log").open("w") as log:
            running.extend(subprocess.Popen(c, stdout=log, stderr=log) for c in commands)

        def answers():
            assert all(p.poll() is None for p in running), (tmp_path / "log").read_text()
            try:
                return httpx.post(url, content=CAPACITY).status_code == 402
            except httpx.HTTPError:
                return False

        until(answers)

    yield url, start
    for p in running:
        p.terminate()
        p.wait(20)


def curl(*args):
    done = subprocess.run(["curl", "-s", *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ask(url, token):
    """The document's command; returns the answer and its headers."""
    head = ["-i", "-H", "Content-Type: text/xml", "-H", f"Authorization: Bearer {token}", "-X", "POST", url]
    return curl(*head, "-d", CAPACITY)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_walk_in_a_browser(net, hub, parking, tab):
    url, start = parking
    seller = tab(hub.url)
    seller.get_by_role("link", name="Log in").click()
    form = seller.locator("form[action$='/register']")
    form.get_by_label("Name").fill("brussels")
    form.get_by_label("Password").fill("password of brussels")
    form.get_by_role("button").click()
    seller.get_by_role("link", name="Sell").click()
    seller.get_by_role("button", name="Make a new api-token").click()
    token = re.search(r'api_token = "([^"]+)"', seller.locator("pre").inner_text())[1]
    start(hub, token)
    for service, price in ((PATH, "1"), (PATH.replace("capacity", "occupied"), "3")):
        seller.get_by_label("Service").fill(service)
        seller.get_by_label("Node URL").fill(url)
        seller.get_by_label("Price in sat").fill(price)
        seller.get_by_label("Description").fill("Parking facilities in Brussels <script>alert(1)</script>")
        seller.get_by_role("button", name="Publish").click()
    for service in (PATH, PATH.replace("capacity", "occupied")):
        seller.locator(f"[data-service='{service}']").wait_for()

    buyer = tab(hub.url)
    buyer.get_by_label("Search").fill("parking brussels")
    buyer.get_by_role("button", name="Find").click()
    found = buyer.locator(".offer")
    found.nth(1).wait_for()
    assert found.count() == 2 and found.first.get_attribute("data-service") == PATH
    buyer.get_by_role("link", name="Log in").click()
    form = buyer.locator("form[action$='/register']")
    form.get_by_label("Name").fill("bernadette")
    form.get_by_label("Password").fill("password of bernadette")
    form.get_by_role("button").click()
    buyer.get_by_role("link", name="Market").click()
    buyer.get_by_label("Search").fill("parking brussels")
    buyer.get_by_label("sorted by").select_option("price")
    buyer.get_by_role("button", name="Find").click()
    buyer.get_by_role("button", name=f"put {PATH} into the cart").click()
    assert buyer.locator("[data-figure='total']").inner_text() == "1 sat"
    buyer.get_by_role("button", name="Buy").click()
    # No money in the account: funds come in first, from a phone's wallet.
    assert buyer.locator("[data-figure='after']").inner_text() == "1 sat missing"
    checkout = buyer.url
    buyer.get_by_role("link", name="add funds").click()
    buyer.get_by_label("Amount in sat", exact=True).fill("2500")
    buyer.get_by_role("button", name="Show the code").click()
    pay_shown(net, buyer)
    buyer.get_by_text("Paid. Thank you.").wait_for()
    buyer.goto(checkout)
    assert buyer.locator("[data-figure='before']").inner_text() == "2,500 sat"
    assert buyer.locator("[data-figure='after']").inner_text() == "2,499 sat"
    buyer.get_by_role("button", name="Pay from the account").click()
    buyer.get_by_text("Paid. Thank you.").wait_for()
    buyer.get_by_role("link", name="To your tokens").click()
    token = buyer.locator(f"[data-service='{PATH}'] .token").inner_text()

    answer = ask(url, token)
    assert ">311</value>" in answer and 'returnCode="200"' in answer
    assert ask(url, token).startswith("HTTP/1.1 402")
    buyer.reload()
    assert "0 of 1 use left" in buyer.locator("[data-figure='left']").inner_text()
    buyer.get_by_label("How was it?").select_option("4")
    buyer.get_by_role("button", name="Rate").click()
    buyer.get_by_text("You gave it ★★★★").wait_for()
    # The holder asks for renewal: then the same token asked with again is paid for from the account.
    buyer.get_by_label("renew it from the account").fill("2")
    buyer.get_by_role("button", name="Set").click()
    until(lambda: ">311</value>" in ask(url, token), 20, 1)  # a gate asks again after its five seconds
    fresh = re.search(r"(?i)satmeter-token: (\S+)", ask(url, token))[1]
    assert fresh != token and ask(url, token).startswith("HTTP/1.1 402")
    buyer.get_by_role("link", name="Dashboard").click()
    assert buyer.locator("[data-figure='balance']").inner_text() == "2,497 sat"
    assert buyer.locator(".purchase").count() == 3
    buyer.get_by_role("link", name="receipt").first.click()
    buyer.get_by_role("heading", name="Receipt").wait_for()
    seller.get_by_role("link", name="Sell").click()
    assert seller.locator("section", has_text="Sales").last.get_by_role("row").count() == 4
    assert seller.locator("[data-figure='balance']").inner_text() == "2.97 sat"
    assert net["buyer"].rpc.call("listpeerchannels")["channels"]


def pay_shown(net, page):
    """Pay what a checkout page shows, as a wallet that scanned it."""
    href = page.get_by_label("pay with a wallet").get_attribute("href")
    net["buyer"].rpc.call("xpay", {"invstring": href.removeprefix("lightning:"), "maxfee": 5000})


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_walk_by_curl(net, hub, parking, tmp_path):
    url, start = parking
    json_please = ["-H", "Accept: application/json"]

    def visit(who, path, *data):
        jar = str(tmp_path / who)
        form = [part for each in data for part in ("--data-urlencode", each)]
        return json.loads(curl("-b", jar, "-c", jar, *json_please, *form, hub.url + path))

    seller, buyer = f"sue-{free_port()}", f"ben-{free_port()}"
    for who in (seller, buyer):
        visit(who, "/register", f"name={who}", "password=a long password")
    start(hub, visit(seller, "/sell/token", "x=")["api_token"])
    described = f"description=Parking facilities in Brussels, {seller}"
    visit(seller, "/sell", f"service={PATH}", f"node_url={url}", "sat=1", described)
    found = json.loads(
        curl("-G", *json_please, "--data-urlencode", f"q=brussels {seller}", "-d", "sort=price", f"{hub.url}/market")
    )
    (offer,) = found["offers"]
    assert offer["service"] == PATH and offer["checked"] == "answers (403)"
    visit(buyer, "/market/cart", f"offer={offer['id']}")
    order = visit(buyer, "/market/checkout", "x=")
    net["buyer"].rpc.call("xpay", {"invstring": order["payreq"], "maxfee": 5000})
    until(lambda: visit(buyer, f"/checkout/{order['id']}")["status"] == "paid")
    (bought,) = visit(buyer, "/dashboard")["purchases"]
    assert bought["service"] == PATH and bought["node_url"] == url and bought["left"] == 1
    assert ">311</value>" in ask(bought["node_url"], bought["hash"])
    assert ask(url, bought["hash"]).startswith("HTTP/1.1 402")
    assert visit(seller, "/account")["msatoshi"] == 990


def test_the_pages_hold_on_a_small_screen(net, hub, browser):
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    page.goto(hub.url + "/login")
    form = page.locator("form[action$='/register']")
    form.get_by_label("Name").fill("small-screen")
    form.get_by_label("Password").fill("password of small")
    form.get_by_role("button").click()
    page.get_by_role("heading", name="What you bought").wait_for()
    for path in ("/market", "/market/cart", "/dashboard", "/account", "/sell", "/login"):
        page.goto(hub.url + path)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, path
    context.close()
