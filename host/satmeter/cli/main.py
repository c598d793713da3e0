"""The `satmeter` command."""

import errno
import io
import json
import logging
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from .. import __version__, parts
from ..formatting import visible
from ..node import DEFAULT_SOCKET
from ..wire.address import endpoint
from . import device
from .audit import audit
from .board import KEY, Port, board_app, flash_board
from .failing import fail, failing, write
from .logs import log
from .panel import panel
from .scan import scan
from .serve import books, client_app, gate, hooks_app, serve
from .sticker import sticker
from .watch import doctor, fleet, metrics

if TYPE_CHECKING:
    from ..journal.backup import About

app = typer.Typer(no_args_is_help=True, help="Sell and buy metered resources over the Lightning Network.")
journal_app = typer.Typer(help="A plugin's journal: back it up, restore, move and check it.")
devnet_app = typer.Typer(help="A private network to try and test on.")
app.add_typer(board_app, name="board")
app.command("flash")(flash_board)
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
app.add_typer(client_app, name="client")
app.add_typer(device.app, name="device")
app.add_typer(hooks_app, name="hooks")
app.add_typer(devnet_app, name="devnet")
app.add_typer(journal_app, name="journal")
console = Console()


def _encodes(text: str) -> bool:
    """Whether the terminal, or what else is written to, has these letters."""
    try:
        text.encode((sys.stdout.encoding if sys.stdout is not None else "") or "ascii")
    except UnicodeEncodeError:
        return False
    return True


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


AUDIT_S = 120.0
"""A node that does not answer one question for so long is away."""
JOURNAL = "the journal, such as ~/.lightning/bitcoin/satmeter-meter.sqlite3, or a database URL"


def _say_journal(where: str, found: "About", what: str = "") -> None:
    text = f"{where}journal of {found.role} on {found.node_id}, {found.events:,} events{what}"
    console.print(text, markup=False, highlight=False, soft_wrap=True)


@journal_app.command("backup")
def journal_backup(
    journal: Annotated[str, typer.Argument(help=JOURNAL)],
    to: Annotated[Path, typer.Argument(help="the file to write")],
) -> None:
    """Write a journal to one file, also while its plugin runs."""
    from ..journal import backup, move

    with failing(""):
        if "://" in journal:
            found = move.copy(move.url_of(journal), move.url_of(str(to)))
        else:
            found = backup.backup(Path(journal).expanduser(), to.expanduser())
    _say_journal(f"{to}: ", found)


@journal_app.command("restore")
def journal_restore(
    saved: Annotated[Path, typer.Argument(help="the backup")],
    journal: Annotated[str, typer.Argument(help="where the journal belongs: a file, or a database URL")],
) -> None:
    """Put a backup in the place of a journal whose plugin does not run; the one that is there is kept beside it."""
    from ..journal import backup, move

    with failing(""):
        if "://" in journal:
            found = move.copy(move.url_of(str(saved)), move.url_of(journal))
        else:
            found = backup.restore(saved.expanduser(), Path(journal).expanduser())
    _say_journal(f"{journal}: ", found)


@journal_app.command("move")
def journal_move(
    journal: Annotated[str, typer.Argument(help=JOURNAL)],
    to: Annotated[str, typer.Argument(help="where it is to be: a database URL, or a new file")],
) -> None:
    """Move a journal whose plugin does not run to another database; name that in meter-db or stream-db then."""
    from ..journal import move

    with failing(""):
        found = move.move(move.url_of(journal), move.url_of(to))
    _say_journal("", found, ", moved")


@journal_app.command("audit")
def journal_audit(
    journal: Annotated[str, typer.Argument(help=JOURNAL)],
    rpc: Annotated[Path | None, typer.Option(help="its node's lightning-rpc socket, to compare payments")] = None,
) -> None:
    """Check that a journal is whole: events, receipts and, with --rpc, the node's payments. Exit code 1: it is not."""
    from pyln.client import RpcError

    from ..node.rpc import Node, words_of
    from .audit import audit_journal

    with failing(""):
        try:
            good = audit_journal(journal, Node(str(rpc.expanduser()), AUDIT_S) if rpc is not None else None)
        except RpcError as error:
            raise fail(f"{rpc}: {words_of(error)}") from None
    raise typer.Exit(0 if good else 1)


@app.command()
def bridge(
    port: Port = "",
    meter: Annotated[str, typer.Option(help="the seller's meter that the board belongs to")] = "",
    stream: Annotated[str, typer.Option(help="the buyer's stream (session id or meter name)")] = "",
    rpc: Annotated[Path, typer.Option(help="the node's lightning-rpc socket")] = DEFAULT_SOCKET,
    key: Annotated[Path, typer.Option(help="the board's key file (hex, mode 0600)")] = KEY,
    plugin: Annotated[Path | None, typer.Option(help="plugin to start again if it has died")] = None,
    config: Annotated[Path | None, typer.Option(help="bridge.toml: meters sold through plugs, meters, MQTT")] = None,
    metrics: Annotated[str, typer.Option(help="HOST:PORT for Prometheus: figures of the bridge itself")] = "",
) -> None:
    """Relay between a board on a serial port and the plugin of its meter or stream; with --config, other devices."""
    if config is not None:
        if meter or stream or port:
            raise fail("give either --config, or a board's --port, --meter and --stream")
        with failing("device", ValueError):
            log()
            for noisy in ("httpx", "pymodbus", "ocpp", "websockets"):
                logging.getLogger(noisy).setLevel(logging.ERROR)
            import asyncio  # 4 MB that no other command here has a use for

            from ..device.run import run

            asyncio.run(run(config.expanduser(), metrics))
        return
    if bool(meter) == bool(stream):
        raise fail("give either --meter NAME (a seller's board) or --stream NAME (a buyer's)")
    from .board_bridge import BoardBridge, become

    if metrics:
        with failing("metrics"):
            import prometheus_client  # noqa: F401  # said now if it is missing

            endpoint("--metrics", metrics)
    with failing("board", ValueError):
        log()
        become(BoardBridge(port, meter, stream, rpc.expanduser(), key.expanduser(), plugin, metrics))


@app.command()
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
            print(draw.blocks(made) if _encodes("█") else draw.spaces(made))
        elif out.suffix in (".png", ".svg"):
            write(out, draw.png(made) if out.suffix == ".png" else draw.svg(made).encode())
        else:
            raise fail(f"--out: must end in .png or .svg, got {out}")


@devnet_app.callback(invoke_without_command=True)
def devnet(
    context: typer.Context,
    kind: Annotated[str, typer.Option(help="real or emulated; default: real where installed")] = "",
    directory: Annotated[Path | None, typer.Option(help="where the nodes live; default: a new temporary one")] = None,
) -> None:
    """Start a seller, a hop and a buyer, connected and funded, and say what to try; Ctrl-C ends them."""
    if context.invoked_subcommand is not None:
        return
    from ..devnet import start, tryout
    from ..devnet.demo import choose

    kind, why = choose(kind)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="satmeter-", ignore_cleanup_errors=True)
        where = directory or Path(stack.enter_context(temporary))
        with failing("devnet"):
            where.mkdir(parents=True, exist_ok=True)
        console.print(f"{kind} nodes ({why}) in {where}", markup=False, highlight=False)
        try:
            with console.status("starting") as status, start(kind, where, say=status.update) as net:
                status.stop()
                for node in net.nodes.values():
                    shown = f"{node.name:6} {node.id[:8]}…{node.id[-4:]} at {node.address}"
                    console.print(shown, markup=False, highlight=False)
                with suppress(KeyboardInterrupt):
                    for line in tryout.write(net, kind, where):
                        console.print(line, markup=False, highlight=False, soft_wrap=True)
                    signal.pause()
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second one would leave nodes behind
                console.print("stopping")
        except KeyboardInterrupt:
            console.print("ended before the network was ready")


@devnet_app.command("record")
def devnet_record(
    folder: Annotated[Path, typer.Argument(help="of the files, one a version")] = Path("tests/regtest/transcripts"),
    kind: Annotated[str, typer.Option(help="real or emulated")] = "real",
) -> None:
    """Record what nodes answer to each RPC that we use; the emulated node is held to what the real one said."""
    from ..devnet import start, transcript

    if kind not in ("real", "emulated"):
        raise fail(f"--kind: must be real or emulated, got {kind!r}")
    if not folder.is_dir():
        raise fail(f"{folder}: there is no such folder")
    with (
        tempfile.TemporaryDirectory(prefix="satmeter-", ignore_cleanup_errors=True) as where,
        start(kind, Path(where), say=console.print) as net,
    ):
        said = transcript.run(net)
        version = net["seller"].rpc.call("getinfo")["version"]
    out = folder / f"{'.'.join(version.split('.')[:2])}.json"
    out.write_text(json.dumps({"version": version, "said": said}, indent=1, sort_keys=True) + "\n")
    console.print(f"{len(said)} answers of {version} in {out}")


@app.command()
def rpc(
    method: Annotated[str, typer.Argument(help="the node's method")],
    params: Annotated[list[str] | None, typer.Argument(help="values by position, or name=value each")] = None,
    socket: Annotated[Path, typer.Option("--rpc", help="the node's lightning-rpc socket")] = DEFAULT_SOCKET,
    keywords: Annotated[bool, typer.Option("-k", help="params are name=value, as of lightning-cli -k")] = False,
) -> None:
    """Call a method of a node and print its answer, where lightning-cli is not installed."""
    from pyln.client import LightningRpc, RpcError

    given = [(name, value) for name, _, value in (each.partition("=") for each in params or [])]
    named = bool(given) and all("=" in one for one in params or [])
    if keywords and not named:
        raise fail("-k: each parameter has to be name=value")
    if not all(_is_text(one) for one in (method, *(params or []))):
        raise fail("a parameter is not UTF-8")
    payload = {name: _value(value) for name, value in given} if named else [_value(param) for param in params or []]
    with failing("board"):
        where = str(socket.expanduser())
    try:
        answer = LightningRpc(where).call(method, payload)
    except RpcError as error:
        print(json.dumps(error.error, indent=3))
        raise typer.Exit(1) from None
    except OSError as error:
        raise fail(f"{socket}: {error}") from None
    print(visible(json.dumps(answer, indent=3, ensure_ascii=not _encodes("\U0001f600"))))


def _is_text(argument: str) -> bool:
    """Whether an argument of the command can be written: what is no UTF-8 has surrogates in it."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _value(text: str) -> Any:
    """A number, a list or an object where the text is one that can be nothing else, as lightning-cli has it."""
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    number = text.isascii() and text.isdecimal() and len(text) < 1_000 and (text == "0" or text[0] != "0")
    return int(text) if number else text


@app.command()
def demo(
    node: Annotated[str, typer.Option(help="real or emulated; default: real where installed")] = "",
    board: Annotated[str, typer.Option(help="virtual, or rp2040: MicroPython on an emulated Pico")] = "",
    through: Annotated[str, typer.Option("--device", help="shelly, modbus, ocpp or tasmota, simulated")] = "",
) -> None:
    """Run the main job in about a minute, and check that all sums agree. Exit code 1: they do not."""
    from ..devnet import demo as show

    began = time.monotonic()
    good = show.main(node, board, through)
    console.print(f"[dim]{time.monotonic() - began:.0f} s[/dim]")
    raise typer.Exit(0 if good else 1)


if __name__ == "__main__":
    main()
