"""Takes the README's pictures of the pages: a sale on emulated nodes, seen in a real browser."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "web")]

from running import RunningPanel  # noqa: E402

from lanes import chromium  # noqa: E402
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


def main() -> None:
    directory = Path(tempfile.mkdtemp(prefix="satmeter-"))
    with devnet.start("emulated", directory / "net") as net, sync_playwright() as p:
        net["seller"].rpc.call("meter-add", METER)
        rpcs = [net[name].lightning_dir / "lightning-rpc" for name in ("seller", "buyer")]
        panels = [
            RunningPanel(directory, rpcs[0], "--virtual", "socket", "--fiat", "EUR=60000"),
            RunningPanel(directory, rpcs[1], "--fiat", "EUR=60000"),
        ]
        browser = p.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(viewport={"width": 1120, "height": 700})
        seller, buyer = context.new_page(), context.new_page()
        seller.goto(panels[0].url + "/sell/socket")
        address = seller.locator("[data-part=code]").text_content()
        opened = net["buyer"].rpc.call("stream-open", [address, 1000, "2000sat"])
        buyer.goto(panels[1].url + "/buy")
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
        net["buyer"].rpc.call("stream-open", [address, 1000, "2000sat"])
        buyer.wait_for_timeout(3000)
        buyer.screenshot(path=ROOT / "docs" / "buyer.png", full_page=False)
        browser.close()
        for panel in panels:
            panel.stop()


if __name__ == "__main__":
    main()
