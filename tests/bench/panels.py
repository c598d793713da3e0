"""Figures of the pages: how soon a reading is on them, and what they weigh."""

import re
import statistics
import tempfile
import threading
import time
from bisect import bisect_left
from pathlib import Path

from ground import Figure, until

from lanes import chromium
from running import RunningPanel
from satmeter.board.virtual import VirtualBoard
from satmeter.bridge import Bridge, MeterSide
from satmeter.node.rpc import Node

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
METER = {"name": "pages", "price_msat": 1000, "ticks_per_unit": 1, "quantum_msat": 10**9, "rating_ticks_per_s": 2000}
WATCH = """() => {
  window.seen = [];
  const cell = document.querySelector("[data-fact=register]");
  new MutationObserver(() => window.seen.push([Date.now(), cell.textContent]))
    .observe(cell, {subtree: true, childList: true, characterData: true});
}"""


def panels(net):
    """All figures of the pages."""
    from playwright.sync_api import sync_playwright

    seller = net["seller"]
    seller.rpc.call("meter-add", METER)
    key = bytes(range(32))
    board = VirtualBoard(key, "pages")
    socket = str(seller.lightning_dir / "lightning-rpc")
    bridge = Bridge(board.port, key, Node(socket), MeterSide("pages"))
    bridge.start()
    with tempfile.TemporaryDirectory(prefix="satmeter-bench-") as directory:
        panel = RunningPanel(Path(directory), socket)
        try:
            with sync_playwright() as p:
                browser = p.chromium.launch(executable_path=chromium(), headless=True, args=FLAGS)
                yield weight(browser, panel)
                yield delay(net, browser, panel, board)
                browser.close()
        finally:
            panel.stop()
            bridge.stop()
            board.close()


def weight(browser, panel):
    """What a browser that was never here loads for the heaviest page, as transferred."""
    page = browser.new_page()
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.enable")
    loaded, foreign = [], []
    devtools.on("Network.loadingFinished", lambda e: loaded.append(e["encodedDataLength"]))
    page.on("request", lambda r: foreign.append(r.url) if not r.url.startswith((panel.url, "data:", "blob:")) else None)
    page.goto(panel.url + "/sell/pages", wait_until="networkidle")
    page.close()
    if foreign:
        raise SystemExit(f"the page asked for {foreign}")
    return Figure(
        "page, first load, MB transferred", sum(loaded) / 1e6, 1, note=f"{len(loaded)} requests, none elsewhere"
    )


def delay(net, browser, panel, board):
    """From a reading on the board to its number on the page, ms at the median."""
    bolt11 = net["seller"].rpc.call("meter-invoice", ["pages", 10**8])["bolt11"]
    net["buyer"].rpc.call("xpay", [bolt11])
    page = browser.new_page()
    page.goto(panel.url + "/sell/pages", wait_until="networkidle")
    until(lambda: board.flowing)
    counted = [(time.time(), board.register)]
    running = True

    def watch():
        while running:
            register = board.register
            if register != counted[-1][1]:
                counted.append((time.time(), register))
            time.sleep(0.001)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    page.evaluate(WATCH)
    board.turn(37)
    page.wait_for_timeout(30_000)  # the measured interval itself
    board.turn(0)
    running = False
    watcher.join()
    registers = [register for _, register in counted]
    took = []
    for at, text in page.evaluate("window.seen"):
        ticks = int(re.search(r"\(([\d,]+) ticks", text)[1].replace(",", ""))
        where = bisect_left(registers, ticks)
        if 0 < where < len(registers):
            took.append(at - counted[where][0] * 1000)
    page.close()
    note = f"of {len(took)} numbers; at most {max(took):.0f}"
    return Figure("reading to page, ms at the median", statistics.median(took), 300, note=note)
