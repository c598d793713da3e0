"""The bridge of one board as a process of its own, without what reads command lines: 17 MB less on a small computer.

`satmeter bridge` checks what it was given and becomes this process.
"""

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from ..board.key import load_key
from ..bridge import Bridge, MeterSide, StreamSide
from ..core.errors import BadParam
from ..node.rpc import Node
from .logs import log


@dataclass(frozen=True, slots=True)
class BoardBridge:
    """What `satmeter bridge` was given. One of `meter` and `stream` is ""; `metrics` is HOST:PORT, or ""."""

    port: str
    meter: str
    stream: str
    rpc: Path
    key: Path
    plugin: Path | None
    metrics: str

    def secret(self) -> bytes:
        """Return the board's key; BadParam where there is none to read."""
        try:
            return load_key(self.key)
        except (OSError, ValueError) as error:
            raise BadParam(f"no key for the board: {error}", param="key") from None


def become(given: BoardBridge) -> None:
    """Go on as that process, under the same number; BadParam where there is no key. It does not return."""
    given.secret()
    sys.stdout.flush()
    command = ["-P", "-m", "satmeter.cli.board_bridge", json.dumps(asdict(given), default=str)]
    os.execv(sys.executable, [sys.executable, *command])


def main(given: str) -> None:
    """Run until Ctrl-C; the process ends with a line for the user where the figures' port can't be listened on."""
    told = json.loads(given)
    for path in ("rpc", "key", "plugin"):
        told[path] = Path(told[path]) if told[path] is not None else None
    try:
        run(BoardBridge(**told))
    except BadParam as error:
        sys.exit(f"satmeter: {error}")


def run(given: BoardBridge) -> None:
    """Bridge a board until Ctrl-C; BadParam for a key or a port of the figures that can't be used."""
    log()
    side = MeterSide(given.meter) if given.meter else StreamSide(given.stream)
    running = Bridge(given.port, given.secret(), Node(str(given.rpc)), side, given.plugin)
    if given.metrics:
        _count(running, given.metrics)
    try:
        running.run()
    except KeyboardInterrupt:
        running.stop()


def _count(running: Bridge, where: str) -> None:
    from ..watch.process import Look, ProcessFigures  # several MB that most bridges have no use for
    from ..watch.server import in_background

    about = "Whether a part of the bridge can't do its work: the board's line, reports, or the node's answers."
    troubles = lambda: [(name, bool(value)) for name, value in running.troubles().items()]  # noqa: E731
    in_background(ProcessFigures((Look("satmeter_bridge_trouble", about, "part", troubles),)), where)


if __name__ == "__main__":
    main(sys.argv[1])
