"""`satmeter flash` and `satmeter board`: a maker's commands."""

import itertools
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..board.key import keep_key, load_key
from ..board.ports import find
from ..core.errors import BadParam, BoardTrouble
from ..core.plain import JsonObject
from .failing import fail, failing

board_app = typer.Typer(no_args_is_help=True, help="Boards: real ones on a port, and those without hardware.")
console = Console()

KEY = Path("~/.config/satmeter/board.key")
Port = Annotated[
    str, typer.Option(envvar="SATMETER_PORT", help="serial port of the board; found by itself if it is the only one")
]
Key = Annotated[Path, typer.Option(help="the board's key file (hex, mode 0600)")]
Config = Annotated[Path | None, typer.Option(help="the board's config (TOML); see docs/wiring.md")]


def flash_board(
    port: Port = "",
    config: Config = None,
    key: Key = KEY,
    replace: Annotated[
        bool, typer.Option("--replace", help="replace another program's files; they are saved here first")
    ] = False,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="make a new key; the key file changes once the board has it")
    ] = False,
) -> None:
    """Put the firmware and a config onto a board; only what has changed is copied. Its bridge pauses meanwhile."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    bar = Progress(console=console)

    def may(names: list[str]) -> Path | None:
        """Where to save files of another program that would be lost; None: leave them as they are."""
        if not replace and not sys.stdin.isatty():
            return None
        said = f"another program on the board uses {', '.join(names)}"
        bar.stop()  # else the question would be drawn over
        if not replace and not typer.confirm(f"{said}; save them here, and replace them?"):
            return None
        bar.start()
        return Path(f"board-files-{time.strftime('%Y%m%d-%H%M%S')}").absolute()

    with failing("board", ValueError):
        from .. import config_file
        from ..board import flash, image

        file = key.expanduser()
        coming = file.with_name(f"{file.name}.new")
        had = load_key(file) if new_key else None
        if config is not None:
            config_file.read(config)  # before a key is made
        given = image.load_config(config, load_key(coming if new_key else file, make=True))
        where = find(port)
        columns = TextColumn("{task.description:22}"), BarColumn(), DownloadColumn()
        with Progress(*columns, console=console) as progress:
            bar = progress
            task = progress.add_task(where)

            def say(what: str, done: int, of: int) -> None:
                progress.update(task, description=what, completed=done, total=max(1, of))

            done = flash.flash(where, given, say, may, had)
            progress.update(task, completed=1, total=1)
        if new_key:
            keep_key(file)
            coming.replace(file)
    if done.saved is not None:
        console.print(f"what was on the board is in {done.saved}", markup=False, soft_wrap=True)
    console.print(f"copied: {', '.join(done.copied) or 'nothing, all of it was there'}")
    _print_hello(done.hello)


def _print_hello(hello: dict[str, object]) -> None:
    console.print("board {board}, firmware {fw}, display {display}, boot {boot}".format(**hello))
    if hello["fault"]:
        console.print(f"fault: {hello['fault']}", style="red", markup=False)


@board_app.command()
def info(port: Port = "", key: Key = KEY) -> None:
    """Say which board it is and what runs on it. Its bridge pauses for a moment."""
    with failing("board", ValueError):
        from ..board import flash
        from ..board.lease import Lease

        where = find(port)
        with Lease(where):
            _print_hello(flash.hello(where, load_key(key.expanduser()), 8))


@board_app.command()
def monitor(
    port: Port = "", key: Key = KEY, seconds: Annotated[float, typer.Option(help="0: until Ctrl-C")] = 0
) -> None:
    """Show a board's readings as they come. Its bridge pauses meanwhile, so nothing is granted anew."""
    with failing("board", ValueError):
        from ..board import flash
        from ..board.lease import Lease

        where = find(port)
        secret = load_key(key.expanduser())
        end = time.monotonic() + (seconds or 10**9)
        try:
            with Lease(where), console.status("waiting for the board") as status:
                for r in flash.readings(where, secret, end):
                    status.update("Ctrl-C ends this")
                    console.print(_line_of(r), markup=False, highlight=False)
        except KeyboardInterrupt:
            pass


def _line_of(reading: JsonObject) -> str:
    """Return a reading as a line."""
    plug = "plugged" if reading["plugged"] else "unplugged"
    up, fault = f"{reading['uptime'] / 1000:9.1f} s", f"  fault: {reading['fault']}" if reading["fault"] else ""
    counts = f"register {reading['register']:>10}  grant {reading['grant']:>10}  flow {reading['flow']:>8}/h"
    return f"{up}  {counts}  {plug}{fault}"


LEAST_TURN = 1000
"""Readings (of 65,535) by which a potentiometer has to turn between two points: less is noise, or a loose wire."""


def _check_turned(found: list[list[int]]) -> None:
    """Raise BoardTrouble for points that are none: they stand still, or go the wrong way."""
    for (low, _), (high, permille) in itertools.pairwise(found):
        if abs(high - low) < LEAST_TURN:
            raise BoardTrouble(
                f"from {low} to {high} of 65,535 at {permille / 10:g} %: it was not turned, or its wiper is not on "
                "that pin; there is no calibration to print"
            )
    if any(low > high for (low, _), (high, _) in itertools.pairwise(found)):
        said = ", ".join(str(raw) for raw, _ in found)
        raise BoardTrouble(f"the readings must rise ({said}): turn it the other way, or swap the wires of its two ends")


@board_app.command()
def calibrate(
    port: Port = "",
    key: Key = KEY,
    points: Annotated[int, typer.Option(min=2, max=10, help="how many positions")] = 2,
    pin: Annotated[int, typer.Option(help="the potentiometer's ADC pin")] = 26,
) -> None:
    """Read the potentiometer at a few positions, and print the lines for the board's config."""
    found = []
    with failing("board", ValueError):
        from ..board import flash
        from ..board.lease import Lease

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
        _check_turned(found)
    console.print("for the board's config; it has forgotten its key, and delivers nothing until `satmeter flash`:")
    console.print(f"dead_zone = {max(0, found[0][0] + 200)}\ncalibration = {found}", markup=False)


@board_app.command()
def reset(port: Port = "", key: Key = KEY) -> None:
    """Restart a board; its relay goes off, its register is kept."""
    with failing("board", ValueError):
        from ..board import flash

        _print_hello(flash.reset(find(port), load_key(key.expanduser())))


@board_app.command("virtual")
def virtual(
    link: Annotated[Path | None, typer.Option(help="make this a link to the board's serial port")] = None,
    key: Annotated[Path, typer.Option(help="key file; made if missing")] = KEY,
    percent: Annotated[int, typer.Option(min=0, max=100, help="where the potentiometer stands at first")] = 0,
    rp2040: Annotated[bool, typer.Option("--rp2040", help="MicroPython on an emulated Pico, flashed now")] = False,
) -> None:
    """Run a board in software: keys + and - turn its potentiometer, p plugs and unplugs, r reboots, q ends."""
    from ..board.keys import work
    from ..board.virtual import Board, VirtualBoard

    with failing("board", ValueError):
        if link is not None and link.exists() and not link.is_symlink():
            raise BadParam(f"--link: {link} is no link, and is not replaced", param="link")
        secret = load_key(key.expanduser(), make=True)
        board: Board
        if rp2040:
            from ..board.rp2040.board import EmulatedBoard

            board = EmulatedBoard(secret)
        else:
            board = VirtualBoard(secret)
    board.turn(percent)
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.default_int_handler)
    if link is not None:
        try:
            link.unlink(missing_ok=True)
            link.symlink_to(board.port)
        except OSError as error:
            raise fail(f"--link: {link} can't be made: {error.strerror}") from None
    console.print(f"serial port {link or board.port}, key {key}; + - turn, p plug, r reboot, q quit")
    try:
        work(board)
    except KeyboardInterrupt:
        pass
    finally:
        board.close()
        if link is not None and link.is_symlink() and os.readlink(link) == board.port:  # another board may have it now
            link.unlink(missing_ok=True)
