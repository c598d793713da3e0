"""`satmeter code`: a QR code in the terminal, or as a picture."""

from pathlib import Path
from typing import Annotated

import typer

from .failing import fail, failing, write
from .terminal import encodes


def code(
    text: Annotated[str, typer.Argument(help="an invoice, an address, or any text")],
    out: Annotated[Path | None, typer.Option(help="write a .png or .svg instead of showing it here")] = None,
) -> None:
    """Show a text as a QR code in the terminal, or write it as a picture."""
    with failing("qr", ValueError):
        from ..qr import draw
        from ..qr.make import as_code, make

        made = make(as_code(text))
        if out is None:
            print(draw.blocks(made) if encodes("█") else draw.spaces(made))
        elif out.suffix in (".png", ".svg"):
            write(out, draw.png(made) if out.suffix == ".png" else draw.svg(made).encode())
        else:
            raise fail(f"--out: must end in .png or .svg, got {out}")
