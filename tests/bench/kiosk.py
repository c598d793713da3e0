"""Figures of a meter that serves itself: from the button to the code, from the payment to the light, and its page."""

import secrets
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
from ground import Board, Figure, interleaved, invoice_and_pay, until

from satmeter.board.virtual import VirtualBoard
from satmeter.bridge import Bridge, MeterSide
from satmeter.node.rpc import Node
from services import Service

ROUNDS = 9
METERS, EACH, THREADS = 40, 15, 8


class Kiosk:
    """A meter with a board in software and its bridge; a quantum is a thousand ticks."""

    def __init__(self, net, **tariff):
        self.name, self.seller = f"kiosk-{secrets.token_hex(3)}", net["seller"].rpc
        terms = {"price_msat": 1000, "ticks_per_unit": 100, "quantum_msat": 10_000, "grace_s": 60}
        self.seller.call("meter-add", {"name": self.name, **terms, **tariff})
        key = secrets.token_bytes(32)
        self.board = VirtualBoard(key, self.name)
        rpc = Node(str(net["seller"].lightning_dir / "lightning-rpc"))
        self.bridge = Bridge(self.board.port, key, rpc, MeterSide(self.name))
        self.bridge.start()
        until(lambda: self.meter()["board"] == "heard")

    def meter(self):
        return self.seller.call("meter-status", [self.name])["meters"][0]

    def press(self):
        before = self.board.app.presses
        self.board.hal.is_pressed = True
        until(lambda: self.board.app.presses > before, every_s=0.002)
        self.board.hal.is_pressed = False

    def codes(self):
        return dict(self.board.app.codes)

    def codes_after(self, shown):
        return self.codes() if self.codes() != shown else None

    def lit(self):
        until(lambda: self.board.lamp == "on" and self.board.grant > self.board.register, every_s=0.002)

    def end(self):
        """The session is over, and the board waits for the next one."""
        self.board.unplug()
        until(lambda: self.meter()["state"] == "standby" and self.board.grant == 0)
        self.board.plug()
        until(lambda: self.meter()["plugged"])

    def close(self):
        self.bridge.stop()
        self.board.close()


def kiosk(net, directory):
    """All figures of self-service."""
    yield button_to_code(net)
    yield from payment_to_light(net)
    yield from page(net, directory)


def button_to_code(net):
    here = Kiosk(net, self_service="button", choices="1sat, 2sat, 3sat")
    took = []
    try:
        for _ in range(ROUNDS):
            shown, began = here.codes(), time.monotonic()
            here.press()
            until(partial(here.codes_after, shown), every_s=0.002)
            took.append(time.monotonic() - began)
            until(lambda: not here.board.app._button.level)
    finally:
        here.close()
    return Figure(
        "press of the button to a code, s", statistics.median(took), 1.0, note=f"the slowest {max(took):.2f} s"
    )


def payment_to_light(net):
    here = Kiosk(net)
    offer = net["seller"].rpc.call("meter-offer", {"name": here.name})["bolt12"]
    pay = net["buyer"].rpc

    def wallet():
        shown = here.codes()
        invoice = net["seller"].rpc.call("meter-invoice", {"name": here.name})["bolt11"]
        until(partial(here.codes_after, shown))  # a person has to scan it
        began = time.monotonic()
        pay.call("xpay", {"invstring": invoice, "maxfee": 0})
        here.lit()
        took = time.monotonic() - began
        here.end()
        return took

    def by_offer():
        fetched = pay.call("fetchinvoice", {"offer": offer, "amount_msat": 10_000})["invoice"]
        began = time.monotonic()
        pay.call("xpay", {"invstring": fetched, "maxfee": 0})
        here.lit()
        took = time.monotonic() - began
        here.end()
        return took

    def plain():
        began = time.monotonic()
        invoice_and_pay(net)
        return time.monotonic() - began

    try:
        for what, ours in (("wallet invoice", wallet), ("offer's invoice", by_offer)):
            a, b, ratio = interleaved(ours, plain, ROUNDS)
            yield Figure(f"{what}: payment to light", ratio, 1.2, note=f"{a * 1000:.0f} ms against {b * 1000:.0f} ms")
    finally:
        here.close()


def page(net, directory):
    here = Kiosk(net, choices="1sat, 2sat, 3sat")
    service = Service(Path(directory) / "kiosk", net["seller"], meters=["*"], proxies=["127.0.0.1"])
    try:
        with httpx.Client(base_url=service.url, headers={"Accept": "text/html"}) as browser:
            first = browser.get(f"/m/{here.name}")
            sheets = [browser.get(f"/static/{name}") for name in ("style.css", "market.css")]
            size = sum(answer.num_bytes_downloaded for answer in (first, *sheets)) / 1000
        yield Figure("a meter's page, kB transferred", size, 100)
        yield callbacks(net, service)
    finally:
        service.stop()
        here.close()


def callbacks(net, service):
    """LNURL's callback against bare `invoice`, by as many clients; each meter and address may have few, so there are
    many of both."""
    names = [Board(net["seller"], flow=1).name for _ in range(METERS)]
    jobs = [(name, f"10.{m}.{n}.1") for m, name in enumerate(names) for n in range(EACH)]

    def took(act):
        with ThreadPoolExecutor(THREADS) as clients:
            began = time.monotonic()
            list(clients.map(act, jobs))
            return time.monotonic() - began

    with httpx.Client(base_url=service.url) as wallet:

        def asks(job):
            name, address = job
            asked = {"params": {"amount": 2_000}, "headers": {"X-Forwarded-For": address}}
            answer = wallet.get(f"/m/{name}/lnurlp/pay", **asked).json()
            assert "pr" in answer, answer

        mine = took(asks)
    theirs = took(lambda job: net["seller"].rpc.call("invoice", [2_000, f"bare {job}", "x"]))
    note = f"{len(jobs) / mine:.0f} a second against {len(jobs) / theirs:.0f}, by {THREADS} clients"
    return Figure("LNURL callback, against invoice RPC", theirs / mine, 0.5, least=True, note=note)
