"""What to try on a started devnet: an environment for a shell, and lines to show.

The lines fit a terminal of 80 x 24."""

import shlex
import shutil
import sys
from pathlib import Path

from ..board.key import load_key
from . import METER, Devnet


def _command() -> str:
    """Return how a shell calls this very `satmeter`, wherever it is."""
    beside = Path(sys.executable).parent / "satmeter"
    return shlex.quote(str(beside)) if beside.exists() else f"{shlex.quote(sys.executable)} -m satmeter.cli"


def write(net: Devnet, kind: str, where: Path) -> list[str]:
    """Write the environment to `env` in the devnet's folder; return the lines to show. B sells, A buys.

    The board's key is made here: whoever pastes all lines begins the board and its bridge at one moment.
    """
    load_key(where / "board.key", make=True)
    seller, buyer = net["seller"], net["buyer"]
    satmeter = _command()
    sockets = {name: str(node.lightning_dir / "lightning-rpc") for name, node in (("B", seller), ("A", buyer))}
    cli = shutil.which("lightning-cli")
    lines = [f'satmeter() {{ {satmeter} "$@"; }}', f"DIR={shlex.quote(str(where))}"]
    for name, socket in sockets.items():
        quoted = shlex.quote(socket)
        call = f"{shlex.quote(cli)} --rpc-file={quoted}" if cli else f"{satmeter} rpc --rpc={quoted}"
        lines += [f'{name}() {{ {call} "$@"; }}', f"{name}_RPC={quoted}"]
    lines += [
        f"ADDRESS={f'satmeter://{seller.address}/{seller.id}/socket'.upper()}",
        'board() { satmeter board virtual --link "$DIR/board" --key "$DIR/board.key" --percent 50; }',
        'bridge() { satmeter bridge --port "$DIR/board" --key "$DIR/board.key" --meter socket --rpc "$B_RPC" '
        f"--plugin {shlex.quote(str(METER))}; }}",
        'pages_of_B() { satmeter panel --no-password --rpc "$B_RPC" --virtual socket --key "$DIR/board.key"; }',
        'pages_of_A() { satmeter panel --no-password --rpc "$A_RPC" --port 8421; }',
    ]
    (where / "env").write_text("\n".join(lines) + "\n")
    shown = [
        "Try in another terminal (B sells, A buys):",
        f"  . {shlex.quote(str(where / 'env'))}",
        "  B meter-add socket 1000 100 20000",
        "  board &",
        "  bridge &",
        "  A stream-open $ADDRESS 1000/unit 500sat",
        "  B meter-status socket",
        "  A stream-list",
        "Or, in place of board and bridge, in a browser:",
        "  pages_of_B &          # http://127.0.0.1:8420/, with a board in software",
        "  pages_of_A &          # http://127.0.0.1:8421/",
    ]
    if kind == "emulated":
        shown.append("  B emulate-fault 0 0 1 # the next payment to B hangs")
    return [*shown, "Ctrl-C here ends the network."]
