"""`satmeter sticker`: what a seller prints and puts beside a meter."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..core.errors import BadParam
from ..node import DEFAULT_SOCKET
from .failing import failing, write

console = Console()


def sticker(
    meter: Annotated[str, typer.Argument(help="the meter's name")],
    url: Annotated[str, typer.Option(help="where `satmeter serve` is reached: its public_url, https://HOST")] = "",
    offer: Annotated[bool, typer.Option("--offer", help="of the meter's BOLT 12 offer, which needs no page")] = False,
    out: Annotated[Path, typer.Option(help="a .pdf, .png or .svg to write")] = Path("sticker.pdf"),
    paper: Annotated[str, typer.Option(help="of a PDF: A4, A5, A6 or letter")] = "A4",
    each: Annotated[int, typer.Option(help="of a PDF: how many on a sheet")] = 8,
    mm: Annotated[int, typer.Option(help="of a PNG or SVG: how wide, in mm")] = 60,
    rpc: Annotated[Path, typer.Option(help="the seller's lightning-rpc socket")] = DEFAULT_SOCKET,
) -> None:
    """Write the sticker of a meter: a code that a camera opens as the meter's page, and a wallet pays.

    With --offer it is one for wallets alone, without a page: the meter's standing offer."""
    with failing("billing", ValueError):
        from ..billing.meter_pages import ALL, MeterPages, offer_sticker_of, sticker_of
        from ..node.rpc import Node
        from ..qr import sticker as drawn

        node = Node(str(rpc.expanduser()), 10.0)
        if bool(url) == offer:
            raise BadParam("give either --url https://HOST, where the meter's page is, or --offer", param="url")
        made = offer_sticker_of(node, meter) if offer else sticker_of(MeterPages(node, (ALL,)), meter, url)
        if not 20 <= mm <= 400:
            raise BadParam(f"mm: must be from 20 to 400, got {mm}", param="mm")
        kind = out.suffix.lower()
        if kind == ".pdf":
            data, mm = drawn.pdf(made, paper, each)
        elif kind == ".png":
            data = drawn.png(made, mm)
        elif kind == ".svg":
            data = drawn.svg(made, mm).encode()
        else:
            raise BadParam(f"out: must be a .pdf, .png or .svg, got {out}", param="out")
        write(out, data)
    module = made.module_mm(mm)
    console.print(f"{out}: {mm} mm wide, modules of {module:.2f} mm, for {made.page}", highlight=False, soft_wrap=True)
    if module < drawn.LEAST_MODULE_MM:
        console.print(
            f"a cheap phone may not read this: it needs modules of {drawn.LEAST_MODULE_MM} mm", style="yellow"
        )
