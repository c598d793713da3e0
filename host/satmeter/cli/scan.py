"""`satmeter scan`: the command and its options; what it does is in scan/scanner.py."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..core.errors import BadParam
from ..core.money import msat
from ..core.plain import Fields
from ..node import DEFAULT_SOCKET
from .failing import failing

console = Console()


def scan(
    source: Annotated[str, typer.Argument(help="a camera (0, /dev/video0), a picture, a film, or a folder")] = "0",
    pay: Annotated[bool, typer.Option("--pay", help="pay the invoice")] = False,
    open_: Annotated[bool, typer.Option("--open", help="open a stream at the meter's address")] = False,
    max_amount: Annotated[str, typer.Option(help="most that an invoice may be of, such as 500sat")] = "",
    max_fee: Annotated[str, typer.Option(help="most that its payment may cost; default 1 %, at least 1sat")] = "",
    max_price: Annotated[str, typer.Option(help="most that a unit may cost, such as 300sat/kWh")] = "",
    budget: Annotated[str, typer.Option(help="most that a stream may cost in all")] = "",
    node: Annotated[str, typer.Option(help="the seller's node id: codes of others are refused")] = "",
    pick: Annotated[int, typer.Option(help="which of several codes, from the top, counted from 1")] = 0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask before paying or opening")] = False,
    seconds: Annotated[int, typer.Option(help="give up on a camera after so long; 0: never")] = 0,
    rpc: Annotated[Path, typer.Option(help="the node's lightning-rpc socket")] = DEFAULT_SOCKET,
) -> None:
    """Read codes and say what they mean; with --pay or --open, do it within the caps given."""
    try:
        with failing("scan"):
            from ..scan.scanner import Order, Scanner

            given = {"max_amount": max_amount, "max_fee": max_fee, "max_price": max_price, "budget": budget}
            order = Order(pay=pay, open=open_, node=node.lower(), yes=yes, **_caps(pay, open_, given))
            good = Scanner(console, order, rpc.expanduser()).run(source, pick, seconds)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(0 if good else 1)


def _caps(pay: bool, open_: bool, given: dict[str, str]) -> Fields:
    """Return the caps in msat, the price as text with its unit; BadParam where one that is needed is missing."""
    if pay and open_:
        raise BadParam("give either --pay or --open")
    if pay and not given["max_amount"]:
        raise BadParam("--pay needs a cap: --max-amount 500sat")
    if open_ and not (given["max_price"] and given["budget"]):
        raise BadParam("--open needs its caps: --max-price 300sat/kWh --budget 500sat")
    if open_ and "/" not in given["max_price"]:
        raise BadParam(f"--max-price: needs its unit, such as {given['max_price']}/kWh")
    caps = {
        name: msat("--" + name.replace("_", "-"), value)
        for name, value in given.items()
        if value and name != "max_price"
    }
    return {**caps, "max_price": given["max_price"]}
