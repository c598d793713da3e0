"""Looks for codes, says what they mean, and pays or opens when that was ordered: what `satmeter scan` does."""

import shutil
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from ..core.errors import BadParam
from ..formatting import amount, visible
from ..node.payments import fee_cap
from ..node.rpc import Node
from ..qr.meaning import Invoice, plausible, understand
from ..qr.read import Found, Picture, read, trouble
from ..qr.source import Frame, frames
from ..wire.address import Address
from .paying import may_pay, open_stream
from .paying import pay as pay_invoice

Meaning = Invoice | Address | str
"""What a code means; a text where it is neither invoice nor address: why not."""

FRAME_S = 0.1
"""The preview is drawn, and a camera's trouble is looked for, no oftener than this."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done with the code, within which caps (msat; None: the default)."""

    pay: bool = False
    open: bool = False
    max_amount: int = 0
    max_fee: int | None = None
    max_price: str = ""
    """With its unit, such as 300sat/kWh."""
    budget: int = 0
    node: str = ""
    yes: bool = False


class Scanner:
    """Runs one scan: out to `console`, payments and streams by the node whose socket is `rpc`."""

    def __init__(self, console: Console, order: Order, rpc: Path):
        self.console, self.order = console, order
        self.node = Node(str(rpc))

    def run(self, source: str, pick: int = 0, seconds: int = 0) -> bool:
        """Scan a source, and do what was ordered; False if no code was one of ours. SatmeterError for what fails."""
        if Path(source).expanduser().is_dir():
            if self.order.pay or self.order.open:
                raise BadParam("source: pay or open from one picture, not from a folder")
            return self._folder(source)
        meanings = list(dict.fromkeys(meaning(entry.text) for entry in self._first(source, seconds)))
        for number, each in enumerate(meanings, 1):
            self._say(each, number if len(meanings) > 1 else 0)
        if self.order.pay or self.order.open:
            self.order = _with_payee(self.order, meanings)
            self._do(_chosen(meanings, pick))
        return any(not isinstance(one, str) for one in meanings)

    def _first(self, source: str, seconds: int) -> list[Found]:
        """Return the codes of the first picture that has some; BadParam with the reason where none has."""
        end = time.monotonic() + seconds if seconds else float("inf")
        why, next_look = "", 0.0
        with Live(console=self.console, transient=True, auto_refresh=False, screen=False) as live:
            for frame in frames(source):
                found = read(frame.picture, plausible, patient=not frame.moving)
                if found:
                    return found
                now = time.monotonic()
                if now >= next_look or not frame.moving:
                    next_look = now + FRAME_S
                    why = trouble(frame.picture)
                    if self.console.is_terminal:
                        live.update(preview(frame, why), refresh=True)
                if now > end:
                    break
        raise BadParam(f"no code found in {source}" + (f": {why}" if why else ""))

    def _folder(self, source: str) -> bool:
        """Say what each file of a folder has; return whether any had a code of ours."""
        files = sorted(
            one for one in Path(source).expanduser().iterdir() if one.is_file() and not one.name.startswith(".")
        )
        if not files:
            raise BadParam(f"{source}: there is no file in it")
        good = False
        for path in files:
            try:
                meanings = [meaning(entry.text) for entry in self._first(str(path), 0)]
            except BadParam as error:
                self.console.print(f"{path.name}: {error}", style="yellow", markup=False, soft_wrap=True)
                continue
            self.console.print(path.name, style="bold", markup=False, soft_wrap=True)
            for each in meanings:
                self._say(each)
                good = good or not isinstance(each, str)
        return good

    def _say(self, what: Meaning, number: int = 0) -> None:
        head = f"{number}. " if number else ""
        for line in [head + describe(what)[0], *describe(what)[1:]]:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _do(self, meaning: Meaning) -> None:
        """Do what was asked for, within the caps, after showing them."""
        if isinstance(meaning, str):
            raise BadParam(meaning)
        if self.order.pay and isinstance(meaning, Invoice):
            self._pay(meaning)
        elif self.order.open and isinstance(meaning, Address):
            self._open(meaning)
        elif self.order.pay:
            raise BadParam("--pay: this code is a meter's address; open it with --open")
        else:
            raise BadParam("--open: this code is an invoice; pay it with --pay")

    def _pay(self, invoice: Invoice) -> None:
        may_pay(self.node, invoice, self.order.max_amount, self.order.node)
        fee = fee_cap(invoice.amount_msat or 0) if self.order.max_fee is None else self.order.max_fee
        self._ask(f"pay {amount(invoice.amount_msat or 0)}, and at most {amount(fee)} of fees")
        paid = pay_invoice(self.node, invoice, self.order.max_amount, fee, self.order.node)
        self.console.print(f"paid: {amount(int(paid['amount_sent_msat']))} with fees", highlight=False)
        self.console.print(f"preimage {paid['payment_preimage']}", highlight=False, soft_wrap=True)

    def _open(self, address: Address) -> None:
        if self.order.node and address.node_id != self.order.node:
            raise BadParam(
                f"another node than the one named: the address is of {address.node_id}, not {self.order.node}"
            )
        caps = f"at most {self.order.max_price}, {amount(self.order.budget)} in all"
        self._ask(f"open a stream at meter {address.meter}: {caps}")
        session = open_stream(self.node, address, self.order.max_price, self.order.budget)["session"]
        self.console.print(f"open: stream {session}", highlight=False, soft_wrap=True)

    def _ask(self, what: str) -> None:
        if self.order.yes:
            self.console.print(what, highlight=False)
        elif not typer.confirm(f"{what}?"):
            raise BadParam("not done: it was not confirmed")


def preview(frame: Frame, why: str) -> RenderableType:
    """A frame in half blocks as wide as the terminal, and what is wrong with it."""
    size = shutil.get_terminal_size()
    return Group(
        _shades(frame.picture, size.columns, size.lines - 3), Text(why or "looking for a code", style="yellow")
    )


def _shades(picture: Picture, columns: int, lines: int) -> Text:
    scale = min(columns / picture.shape[1], 2 * lines / picture.shape[0])
    size = max(1, int(picture.shape[1] * scale)), max(2, int(picture.shape[0] * scale) // 2 * 2)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    out = Text()
    for above, below in zip(small[::2], small[1::2]):
        for a, b in zip(above.tolist(), below.tolist()):
            out.append("▀", style=f"rgb({a},{a},{a}) on rgb({b},{b},{b})")
        out.append("\n")
    return out


def meaning(text: str) -> Meaning:
    """Return what a text means, or in words why it means nothing to us."""
    try:
        return understand(text)
    except BadParam as error:
        return str(error)


def describe(meaning: Meaning) -> list[str]:
    """Return the lines that tell a person what a code means."""
    if isinstance(meaning, str):
        return [meaning]
    if isinstance(meaning, Address):
        return ["meter " + meaning.meter, f"  node    {meaning.node_id}", f"  address {meaning.host}:{meaning.port}"]
    expires = datetime.fromtimestamp(meaning.expires_at, UTC)
    left = meaning.expires_at - int(time.time())
    return [
        "invoice of " + ("any amount" if meaning.amount_msat is None else amount(meaning.amount_msat)),
        f"  payee   {meaning.payee}",
        f"  for     {_printable(meaning.description)}",
        f"  network {meaning.network}",
        f"  expires {expires:%Y-%m-%d %H:%M:%S} UTC ({f'in {left} s' if left > 0 else f'{-left} s ago'})",
    ]


def _printable(text: str) -> str:
    """A description comes from a stranger: what is no letter must not reach the terminal."""
    return visible(text[:640]).replace("\n", "\\n")


def _chosen(meanings: list[Meaning], pick: int) -> Meaning:
    """Return the one that is meant; of several, the user chooses."""
    if len(meanings) == 1:
        return meanings[0]
    if not pick and sys.stdin.isatty():
        pick = typer.prompt("which one", type=int)
    if not 1 <= pick <= len(meanings):
        raise BadParam(f"{len(meanings)} codes in one picture: say which with --pick 1 to {len(meanings)}")
    return meanings[pick - 1]


def _with_payee(order: Order, meanings: list[Meaning]) -> Order:
    """Where the picture names a meter as well, its invoice has to be of that meter's node."""
    nodes = {each.node_id for each in meanings if isinstance(each, Address)}
    if order.pay and len(nodes) > 1 and not order.node:
        raise BadParam("addresses of two nodes in one picture: say by --node whose invoice is to be paid")
    return replace(order, node=nodes.pop()) if len(nodes) == 1 and not order.node else order
