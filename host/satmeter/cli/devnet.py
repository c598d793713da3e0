"""`satmeter devnet` and `satmeter demo`: a private network to try and test on, and the main job on it."""

import json
import signal
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .failing import fail, failing

app = typer.Typer(help="A private network to try and test on.")
console = Console()


@app.callback(invoke_without_command=True)
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


@app.command("record")
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
