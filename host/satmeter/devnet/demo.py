"""The demo: both activities of the main job on a devnet, shown live, with the sums proved equal on both sides."""

import importlib.util
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from ..board.rp2040 import missing
from ..core.plain import JsonObject
from ..core.receipt import Statement, read
from ..core.tariff import Tariff
from ..parts import how_to_install
from . import DevNode, real_missing, start
from .ground import DEVICES, Ground, OnBoard, OnDevice, wait_for

METER_NAME = "socket"
PROFILE = ((40, 4.0), (80, 5.0), (20, 4.0), (0, 2.0), (100, 5.0), (60, 3.0))
"""Per cent of the potentiometer, and for how many seconds."""


class Demo:
    """A seller with a board or a device, a buyer, and a table of what happens between them."""

    def __init__(self, kind: str, through: str, console: Console, directory: Path):
        self.console = console
        self.net = start(kind, directory, say=lambda text: console.print(f"  [dim]{text}[/dim]"))
        self.seller, self.buyer = self.net["seller"].rpc, self.net["buyer"].rpc
        rpc, make = self.net["seller"].lightning_dir / "lightning-rpc", OnDevice if through in DEVICES else OnBoard
        self.ground: Ground = make(through, rpc, METER_NAME, directory)
        self.tariff = Tariff.from_dict(self.ground.tariff)
        self.payments = 0
        self.session = ""
        self.failures: list[str] = []

    def close(self) -> None:
        """Stops the bridge, what is sold through, and the network."""
        self.ground.close()
        self.net.close()

    # --- what is shown

    def row(self) -> dict[str, str]:
        """Returns the row of the shown table: the text of each column, by the column's title."""
        meter = self.seller.call("meter-status", {"name": METER_NAME})["meters"][0]
        light = {"on": "[green]● on[/green]", "slow": "[yellow]◐ waiting[/yellow]", "fast": "[red]◍ locked[/red]"}
        flow, grant, lamp = self.ground.shown(meter)
        return {
            "state": str(meter["state"]),
            f"flow {self.tariff.unit}/s": f"{flow / 3600 / self.tariff.ticks_per_unit:.1f}",
            "register": f"{self.ground.register:,}",
            "grant": f"{grant:,}",
            "credit msat": f"{meter['credit_msat']:,}",
            "paid": str(self._payments(meter["session"])),
            "light": light.get(lamp, "○ off"),
        }

    def _payments(self, session: str) -> int:
        for s in self.seller.call("meter-status")["sessions"]:
            if s["session"] == session:
                return int(s["payments"])
        return 0

    def watch(self, title: str, until: Callable[[], bool], timeout_s: float) -> None:
        """Show the table until something is true; a timeout is a failure of the demo."""
        end = time.monotonic() + timeout_s
        with Live(console=self.console, refresh_per_second=5, transient=False) as live:
            while True:
                table = Table(title=title, title_justify="left")
                row = self.row()
                for name in row:
                    table.add_column(name, justify="right", no_wrap=True)
                table.add_row(*row.values())
                live.update(table)
                if until():
                    return
                if time.monotonic() > end:
                    self.failures.append(f"{title}: not within {timeout_s} s")
                    return
                time.sleep(0.2)

    def check(self, what: str, good: bool) -> None:
        """Say a sentence that has to be true, and whether it is."""
        self.console.print(
            f"  {'[green]✓[/green]' if good else '[red]✗[/red]'} {what}", highlight=False, soft_wrap=True
        )
        if not good:
            self.failures.append(what)

    # --- the activities

    def run(self) -> bool:
        """Adds the meter and runs all parts; returns whether every check passed."""
        self.seller.call("meter-add", {"name": METER_NAME, **self.ground.tariff})
        self.ground.start()
        before = balances(self.net["seller"])
        first, stream = self.one_invoice(), self.a_stream()
        offer = self.an_offer() if self.ground.sees_a_plug else 0
        gained = balances(self.net["seller"]) - before
        self.check(
            f"B's channels hold {gained:,} msat more than before: {first:,} of one invoice, {stream:,} of the stream"
            + (f", {offer:,} of the offer" if self.ground.sees_a_plug else ""),
            gained == first + stream + offer,
        )
        return not self.failures

    def one_invoice(self) -> int:
        """Runs the first part, one wallet invoice of a quantum; returns the charge in msat."""
        say = self.console.print
        say("\n[bold]1. One invoice.[/bold] B makes an invoice for a quantum, A pays it, B delivers exactly that.")
        wait_for(lambda: self.state()["board"] == "heard", 20)
        amount = self.tariff.quantum_msat
        invoice = self.seller.call("meter-invoice", {"name": METER_NAME, "amount_msat": amount})
        say(
            f"  B$ lightning-cli meter-invoice {METER_NAME} {amount}\n  A$ lightning-cli xpay {invoice['bolt11'][:60]}…"
        )
        start_register = self.ground.register
        self.ground.turn(60)
        self.buyer.call("xpay", {"invstring": invoice["bolt11"], "maxfee": 1000})
        self.watch("B delivers what was paid", lambda: self.state()["state"] == "suspended", 30)
        self.watch("… and stops", lambda: self.state()["state"] == "standby", 15)
        receipt = self.receipt(invoice["session"])
        delivered = self.ground.register - start_register
        self.ground.turn(0)
        charged, paid_ticks = receipt["charged_msat"], self.tariff.ticks(amount)
        self.check(f"A paid {amount:,} msat, and B charged {charged:,}", charged == amount == receipt["paid_msat"])
        self.check(
            f"{self.ground.at_work} delivered {delivered:,} ticks; {paid_ticks:,} were paid (it may pass that by "
            f"{self.ground.beyond} ticks, at B's cost)",
            -self.ground.step <= delivered - paid_ticks <= self.ground.beyond,
        )
        return int(charged)

    def a_stream(self) -> int:
        """Runs the second part, a session of the buyer; returns paid less refunded, in msat."""
        say = self.console.print
        say("\n[bold]2. A stream.[/bold] A opens a session with a budget and pays as it uses.")
        address = f"satmeter://{self.net['seller'].address}/{self.net['seller'].id}/{METER_NAME}".upper()
        say(f"  A$ lightning-cli stream-open {address[:48]}… 1000/Wh 500sat")
        start_register, counted = self.ground.register, self.state()["count"]
        caps = {"max_price_msat": "1000/Wh", "budget_msat": "500sat"}
        opened = self.buyer.call("stream-open", {"seller": address, **caps})
        turner = threading.Thread(target=self._turn, daemon=True)
        turner.start()
        length = sum(seconds for _, seconds in PROFILE)
        self.watch("A turns the flow; B invoices what is used", lambda: not turner.is_alive(), length + 10)
        wait_for(
            lambda: self.state()["count"] - counted >= self.ground.register - start_register - self.ground.step, 15
        )
        say(f"  A$ lightning-cli stream-close {opened['session']}")
        self.buyer.call("stream-close", [opened["session"]])

        def status() -> JsonObject:
            return dict(self.buyer.call("stream-status", [opened["session"]]))

        self.watch("A closes; what is left comes back", lambda: status()["state"] == "closed", 20)
        mine, theirs = status(), self.receipt(opened["session"])
        receipt = theirs
        say("\n[bold]The receipt[/bold], signed by B's node; A checked it:")
        self.console.print_json(data={name: value for name, value in receipt.items() if name != "tariff"})
        ticks, charged, paid = receipt["ticks"], receipt["charged_msat"], receipt["paid_msat"]
        delivered, price = self.ground.register - start_register, self.tariff.charge(ticks)
        self.check(
            "both sides hold the same receipt",
            mine["receipt"] == json.dumps(theirs, sort_keys=True, separators=(",", ":")),
        )
        self.check("its signature is B's", bool(mine["verified"]))
        good = abs(ticks - delivered) <= max(1, self.ground.step)
        self.check(f"it states {ticks:,} ticks, and {self.ground.at_work} delivered {delivered:,}", good)
        self.check(f"{ticks:,} ticks cost {price:,} msat, and B charged {charged:,}", price == charged)
        self.check(f"A's node paid {mine['paid_msat']:,} msat, and B's received {paid:,}", mine["paid_msat"] == paid)
        refunded, owed = receipt["refunded_msat"], receipt["owed_msat"]
        self.check(
            f"{paid:,} paid = {charged:,} charged + {refunded:,} refunded + {owed:,} still owed",
            paid == charged + refunded + owed,
        )
        return int(paid - refunded)

    def an_offer(self) -> int:
        """Runs the third part: a wallet without a plugin pays an offer, and gets its rest back.

        Returns what stays with the seller, in msat."""
        say = self.console.print
        say("\n[bold]3. Any wallet.[/bold] C, without a plugin, pays the offer on B's sticker, and gets its rest back.")
        wallet, amount = self.net["hop"].rpc, self.tariff.quantum_msat
        bolt12 = self.seller.call("meter-offer", {"name": METER_NAME})["bolt12"]
        say(f"  B$ lightning-cli meter-offer {METER_NAME}\n  C$ lightning-cli xpay {bolt12[:60]}… {amount}")
        start_register = self.ground.register
        wallet.call("xpay", {"invstring": bolt12, "amount_msat": amount, "maxfee": 1000})
        self.watch("B delivers", lambda: self.state()["state"] == "delivering", 15)
        session = str(self.state()["session"])
        self.ground.turn(60)
        self.watch("C uses a part of it", lambda: self.state()["register"] >= start_register + 500, 20)
        self.ground.turn(0)
        self.ground.unplug()
        self.watch("C unplugs", lambda: self.bearer(session)["owed_msat"] > 0, 15)
        made = wallet.call("invoice", {"amount_msat": "any", "label": f"rest {session}", "description": "rest"})
        say(f"  B$ lightning-cli meter-refund {session} {made['bolt11'][:60]}…   (a page and the display give it, too)")
        self.seller.call("meter-refund", {"session": session, "invoice": made["bolt11"]})
        self.watch("the rest returns", lambda: not self.receipt(session)["owed_msat"], 20)
        self.ground.plug()
        receipt = self.receipt(session)
        arrived = int(wallet.call("listinvoices", {"label": f"rest {session}"})["invoices"][0]["amount_received_msat"])
        charged, paid, refunded = receipt["charged_msat"], receipt["paid_msat"], receipt["refunded_msat"]
        self.check(f"C paid {amount:,} msat, and B received {paid:,}", paid == amount)
        ticks = receipt["ticks"]
        self.check(f"{ticks:,} ticks were delivered, and B charged {charged:,}", charged == self.tariff.charge(ticks))
        self.check(f"{paid:,} paid = {charged:,} charged + {refunded:,} refunded", paid == charged + refunded)
        self.check(f"{arrived:,} msat arrived at C again", arrived == refunded - receipt["refund_fee_msat"])
        return int(paid - refunded)

    def bearer(self, session: str) -> JsonObject:
        """Returns a live session as meter-status gives it; {} once it is forgotten."""
        rows = self.seller.call("meter-status", {"name": METER_NAME})["sessions"]
        return next((dict(row) for row in rows if row["session"] == session), {})

    def _turn(self) -> None:
        for percent, seconds in PROFILE:
            self.ground.turn(percent)
            time.sleep(seconds)
        self.ground.turn(0)
        time.sleep(0.6)

    def state(self) -> JsonObject:
        """Returns the demo's meter as meter-status of the seller gives it."""
        return dict(self.seller.call("meter-status", {"name": METER_NAME})["meters"][0])

    def receipt(self, session: str) -> Statement:
        """Returns the receipt of a session; TimeoutError if the seller has none within 15 s."""

        def found() -> Statement | None:
            rows = self.seller.call("meter-sessions", {"name": METER_NAME})["sessions"]
            return next((read(row["receipt"]) for row in rows if row["id"] == session and row["receipt"]), None)

        wait_for(lambda: found() is not None, 15)
        stated = found()
        assert stated is not None
        return stated


def balances(node: DevNode) -> int:
    """Return what a node has in its channels, in msat."""
    return sum(int(channel["to_us_msat"]) for channel in node.rpc.call("listpeerchannels")["channels"])


def choose(wanted: str) -> tuple[str, str]:
    """Return the kind of node to run on and why: NODE's, or real where installed."""
    if wanted not in ("", "real", "emulated"):
        raise SystemExit(f"NODE is {wanted!r}; it must be real or emulated")
    missing = real_missing()
    if wanted == "real" and missing:
        raise SystemExit(f"NODE=real, but these are not installed: {missing}")
    if wanted:
        return wanted, "as asked"
    return ("emulated", f"not installed: {missing}") if missing else ("real", "bitcoind and lightningd are installed")


def main(wanted: str = "", board: str = "", device: str = "") -> bool:
    """Run the demo; True if every sum agreed."""
    console = Console()
    kind, why = choose(wanted or os.environ.get("NODE", ""))
    board = board or os.environ.get("BOARD", "") or "virtual"
    if board not in ("virtual", "rp2040"):
        raise SystemExit(f"BOARD is {board!r}; it must be virtual or rp2040")
    if board == "rp2040" and missing():
        raise SystemExit(f"BOARD=rp2040, but {missing()}")
    device = device or os.environ.get("DEVICE", "")
    if device and device not in DEVICES:
        raise SystemExit(f"DEVICE is {device!r}; it must be one of {', '.join(DEVICES)}")
    for module in ("qrcode", "bech32", "bolt11"):
        if importlib.util.find_spec(module) is None:
            raise SystemExit(how_to_install(module, "demo"))
    shown = "a virtual board" if board == "virtual" else "an emulated RP2040 that runs MicroPython"
    if device:
        shown = f"a simulated device: {device}"
        try:
            from .devices.simulated import missing as without
        except ImportError as error:
            raise SystemExit(f"DEVICE={device}, but {how_to_install(error.name, 'demo,device')}") from None
        if without(device):
            raise SystemExit(f"DEVICE={device}, but {without(device)}")
    console.print(f"[bold]Satmeter demo[/bold] on [bold]{kind}[/bold] nodes ({why}), with {shown}")
    with tempfile.TemporaryDirectory(prefix="satmeter-", ignore_cleanup_errors=True) as directory:
        demo = Demo(kind, device or board, console, Path(directory))
        try:
            good = demo.run()
        finally:
            demo.close()
    console.print(
        "\n[bold green]All sums agree.[/bold green]" if good else f"\n[bold red]Failed: {demo.failures}[/bold red]"
    )
    return good
