"""Takes the documents' pictures of the pages: sales on emulated nodes, seen in a real browser."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "panel"), str(ROOT / "tests" / "billing")]

from billing import MARKET, Service, Visitor, stranger  # noqa: E402
from lanes import chromium  # noqa: E402
from running import RunningPanel  # noqa: E402
from satmeter import devnet  # noqa: E402

METER = {
    "name": "socket",
    "unit": "Wh",
    "price_msat": 1000,
    "ticks_per_unit": 100,
    "quantum_msat": 20_000,
    "low_water_msat": 10_000,
    "rating_ticks_per_s": 2000,
}


PARKING = "Objects/ParkingFacilitiesBrussels/75496896-CC7B-463A-96B7-B9868E78EC5B"
OFFERS = (
    ("brussels", f"{PARKING}/capacity", 1000, 1, "Parking facilities in Brussels: how many cars fit in"),
    ("brussels", f"{PARKING}/occupied", 3000, 10, "Parking facilities in Brussels: places that are taken"),
    ("meteo", "forecast/brussels", 12_000, 100, "Weather in Brussels, hour by hour"),
)


def market() -> None:
    """A search on the market, by somebody with money in the account."""
    directory = Path(tempfile.mkdtemp(prefix="satmeter-"))
    with devnet.start("emulated", directory / "net") as net, sync_playwright() as p:
        hub = Service(directory / "hub", net["seller"], **MARKET)
        sellers = {name: Visitor(hub, name, net) for name in ("brussels", "meteo")}
        buyer = Visitor(hub, "ann", net)
        buyer.fund(2_500_000)
        url = f"{hub.url}/openapi.json"
        for who, service, price, uses, described in OFFERS:
            offer = sellers[who].publish(service, price, url, uses=uses, description=described)
            (bought,) = buyer.buy_from_account(offer)
            gate = stranger(hub)
            gate.auth = ("api-token", sellers[who].post("/sell/token")["api_token"])
            gate.post("/verifyHash", params={"hash": bought["hash"], "service": service})
            buyer.post(f"/dashboard/{bought['id']}/rate", stars=5 if who == "brussels" else 4)
        browser = p.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 980, "height": 460})
        cookies = dict(buyer.http.cookies)
        page.context.add_cookies([{"name": k, "value": v, "url": hub.url} for k, v in cookies.items()])
        page.goto(f"{hub.url}/market?q=brussels&sort=price")
        page.screenshot(path=ROOT / "docs" / "market.png")
        browser.close()
        hub.stop()


def panels() -> None:
    """A sale, on the panels of both sides."""
    directory = Path(tempfile.mkdtemp(prefix="satmeter-"))
    with devnet.start("emulated", directory / "net") as net, sync_playwright() as p:
        net["seller"].rpc.call("meter-add", METER)
        rpcs = [net[name].lightning_dir / "lightning-rpc" for name in ("seller", "buyer")]
        running = [
            RunningPanel(directory, rpcs[0], "--virtual", "socket", "--fiat", "EUR=60000"),
            RunningPanel(directory, rpcs[1], "--fiat", "EUR=60000"),
        ]
        browser = p.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(viewport={"width": 1120, "height": 700})
        seller, buyer = context.new_page(), context.new_page()
        seller.goto(running[0].url + "/sell/socket")
        address = seller.locator("[data-part=code]").text_content()
        opened = net["buyer"].rpc.call("stream-open", [address, "1000/Wh", "2000sat"])
        buyer.goto(running[1].url + "/buy")
        for percent in (2, 5, 3):
            knob = seller.locator(".q-slider__track-container")
            knob.focus()
            for _ in range(11):
                knob.press("PageDown")
            for _ in range(percent):
                knob.press("PageUp")
            seller.wait_for_timeout(4000)
        seller.mouse.click(5, 690)
        seller.wait_for_timeout(1500)
        seller.screenshot(path=ROOT / "docs" / "seller.png", full_page=False)
        net["buyer"].rpc.call("stream-close", [opened["session"]])
        buyer.locator("[data-session]").wait_for()
        net["buyer"].rpc.call("stream-open", [address, "1000/Wh", "2000sat"])
        buyer.wait_for_timeout(3000)
        buyer.screenshot(path=ROOT / "docs" / "buyer.png", full_page=False)
        browser.close()
        for panel in running:
            panel.stop()


if __name__ == "__main__":
    panels()
    market()
