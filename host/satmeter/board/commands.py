"""`satmeter flash` and `satmeter board`: a maker's commands."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from ..core.errors import SatmeterError
from .ports import find
from .virtual import load_key

board_app = typer.Typer(no_args_is_help=True, help="Boards: real ones on a port, and those without hardware.")
console = Console()

KEY = Path("~/.config/satmeter/board.key")
Port = Annotated[
    str, typer.Option(envvar="SATMETER_PORT", help="serial port of the board; found by itself if it is the only one")
]
Key = Annotated[Path, typer.Option(help="the board's key file (hex, mode 0600)")]
Config = Annotated[Path | None, typer.Option(help="the board's config (TOML); see docs/wiring.md")]


@contextmanager
def failing() -> Iterator[None]:
    """Turn what goes wrong into a line for the user."""
    try:
        yield
    except ModuleNotFoundError as e:
        console.print(f"[red]{e.name} is not installed: pip install 'satmeter\\[board]'[/red]", soft_wrap=True)
        raise typer.Exit(1) from None
    except (SatmeterError, OSError, ValueError) as e:
        console.print(f"[red]{e}[/red]", soft_wrap=True)
        raise typer.Exit(1) from None


def flash_board(port: Port = "", config: Config = None, key: Key = KEY) -> None:
    """Put the firmware and a config onto a board; only what has changed is copied, and its bridge lets go meanwhile."""
    with failing():
        from . import flash, image

        given = image.load_config(config, load_key(key.expanduser(), make=True))
        where = find(port)
        columns = TextColumn("{task.description:22}"), BarColumn(), DownloadColumn()
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(where)

            def say(what: str, done: int, of: int) -> None:
                progress.update(task, description=what, completed=done, total=max(1, of))

            done = flash.flash(where, given, say)
            progress.update(task, completed=1, total=1)
    console.print(f"copied: {', '.join(done.copied) or 'nothing, all of it was there'}")
    _print_hello(done.hello)


def _print_hello(hello: dict[str, object]) -> None:
    console.print("board {board}, firmware {fw}, display {display}, boot {boot}".format(**hello))
    if hello["fault"]:
        console.print(f"[red]fault: {hello['fault']}[/red]")


@board_app.command()
def info(port: Port = "", key: Key = KEY) -> None:
    """Say which board it is and what runs on it. Its bridge lets go of it for a moment."""
    with failing():
        from . import flash
        from .lease import Lease

        where = find(port)
        with Lease(where):
            _print_hello(flash.hello(where, load_key(key.expanduser()), 8))


@board_app.command()
def monitor(
    port: Port = "", key: Key = KEY, seconds: Annotated[float, typer.Option(help="0: until Ctrl-C")] = 0
) -> None:
    """Show a board's readings as they come. Its bridge lets go of it meanwhile, so nothing is granted anew."""
    with failing():
        from . import flash
        from .lease import Lease

        where = find(port)
        secret = load_key(key.expanduser())
        end = time.monotonic() + (seconds or 10**9)
        try:
            with Lease(where), console.status("waiting for the board") as status:
                for r in flash.readings(where, secret, end):
                    plug = "plugged" if r["plugged"] else "unplugged"
                    status.update(
                        f"register {r['register']}  grant {r['grant']}  flow {r['flow']}/h  {plug}  {r['fault']}"
                    )
                    console.print(r)
        except KeyboardInterrupt:
            pass


@board_app.command()
def calibrate(
    port: Port = "",
    key: Key = KEY,
    points: Annotated[int, typer.Option(min=2, max=10, help="how many positions")] = 2,
    pin: Annotated[int, typer.Option(help="the potentiometer's ADC pin")] = 26,
) -> None:
    """Read the potentiometer at a few positions, and print the lines for the board's config."""
    found = []
    with failing():
        from . import flash
        from .lease import Lease

        where = find(port)
        with Lease(where):
            flash.maintain(where, load_key(key.expanduser()))
            with flash.repl(where) as board:
                try:
                    for n in range(points):
                        permille = round(1000 * n / (points - 1))
                        typer.prompt(
                            f"turn it to {permille / 10:g} % of the full flow, then press Enter", "", show_default=False
                        )
                        found.append([flash.read_adc(board, pin), permille])
                finally:  # Ctrl-C at the question, too: a board is not left with a prompt on its line
                    flash.leave(board)
    console.print("for the board's config; it has forgotten its key, and delivers nothing until `satmeter flash`:")
    console.print(f"dead_zone = {max(0, found[0][0] + 200)}\ncalibration = {found}")


@board_app.command()
def reset(port: Port = "", key: Key = KEY) -> None:
    """Restart a board; its relay goes off, its register is kept."""
    with failing():
        from . import flash

        _print_hello(flash.reset(find(port), load_key(key.expanduser())))


@board_app.command("virtual")
def virtual(
    link: Annotated[Path | None, typer.Option(help="make this a link to the board's serial port")] = None,
    key: Annotated[Path, typer.Option(help="key file; made if missing")] = KEY,
    percent: Annotated[int, typer.Option(help="where the potentiometer stands at first, 0 to 100")] = 0,
    rp2040: Annotated[bool, typer.Option("--rp2040", help="MicroPython on an emulated Pico, flashed now")] = False,
) -> None:
    """Run a board in software: keys + and - turn its potentiometer, p plugs and unplugs, r reboots, q ends."""
    from .keys import work
    from .virtual import Board, VirtualBoard

    with failing():
        secret = load_key(key.expanduser(), make=True)
        board: Board
        if rp2040:
            from .rp2040.board import EmulatedBoard

            board = EmulatedBoard(secret)
        else:
            board = VirtualBoard(secret)
    board.turn(percent)
    if link is not None:
        link.unlink(missing_ok=True)
        link.symlink_to(board.port)
    console.print(f"serial port {link or board.port}, key {key}; + - turn, p plug, r reboot, q quit")
    try:
        work(board)
    except KeyboardInterrupt:
        pass
    finally:
        board.close()
        if link is not None:
            link.unlink(missing_ok=True)
