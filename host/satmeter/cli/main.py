"""The `satmeter` command."""

import errno
import io
import sys
from typing import Annotated

import typer

from .. import __version__, parts
from . import board, client, device, devnet, hooks, journal
from .audit import audit
from .books import books
from .bridge import bridge
from .code import code
from .failing import fail, failing
from .gate import gate
from .panel import panel
from .rpc import rpc
from .scan import scan
from .serve import serve
from .sticker import sticker
from .watch import doctor, fleet, metrics

app = typer.Typer(no_args_is_help=True, help="Sell and buy metered resources over the Lightning Network.")
app.add_typer(board.board_app, name="board")
app.command("flash")(board.flash_board)
app.command("scan")(scan)
app.command("audit")(audit)
app.command("sticker")(sticker)
app.command("panel")(panel)
app.command("serve")(serve)
app.command("books")(books)
app.command("gate")(gate)
app.command("doctor")(doctor)
app.command("metrics")(metrics)
app.command("fleet")(fleet)
app.command("bridge")(bridge)
app.command("code")(code)
app.command("rpc")(rpc)
app.command("demo")(devnet.demo)
app.add_typer(client.app, name="client")
app.add_typer(device.app, name="device")
app.add_typer(hooks.app, name="hooks")
app.add_typer(devnet.app, name="devnet")
app.add_typer(journal.app, name="journal")


def main() -> None:
    """Run the command; a letter that the terminal does not have is shown as a question mark, and ends nothing."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        app()
    except OSError as error:  # of the output: a disk that is full
        if error.errno != errno.ENOSPC:
            raise
        print(f"satmeter: {error.strerror}", file=sys.stderr)
        sys.stdout = None  # nothing is written at the end
        sys.exit(1)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_say_version, is_eager=True, help="print it")] = False,
) -> None:
    pass


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


@app.command("plugin-path")
def plugin_path(
    role: Annotated[str, typer.Argument(help="meter (sells) or stream (buys)")],
) -> None:
    """Print where a plugin is, for lightningd's config (plugin=…) or `lightning-cli plugin start`."""
    with failing(""):
        path = parts.root() / "plugins" / role / f"{role}.py"
        if role not in ("meter", "stream"):
            raise fail(f"role: must be meter or stream, got {role!r}")
        print(path)


if __name__ == "__main__":
    main()
