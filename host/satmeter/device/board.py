"""Boards of ours on a serial line: they count, cut at the grant by themselves, and show lamp, lines and codes.

Nothing flows beyond a grant but what one of their samples counts, bridge or no bridge. `satmeter flash` makes the key.
"""

from pathlib import Path

from ..board.key import load_key
from ..bridge import Bridge, MeterSide
from ..core.errors import BadParam
from ..node.rpc import Node
from .fields import Fields

KEY = "~/.config/satmeter/board.key"


class Board:
    """Fields: port ("": the only board that is connected), key (~/.config/satmeter/board.key)."""

    def __init__(self, fields: Fields) -> None:
        self._port, key = fields.text("port", ""), Path(fields.text("key", KEY)).expanduser()
        self.switches = f"board {self._port}"
        try:
            self._key = load_key(key)
        except (OSError, ValueError) as error:
            raise BadParam(f"key: {key}: {error}", param="key") from None
        self._bridge: Bridge | None = None

    def sell(self, meter: str, rpc: Path) -> None:
        """Begins to relay between the board and its meter; comes back by itself where either was away."""
        self._bridge = Bridge(self._port, self._key, Node(str(rpc)), MeterSide(meter))
        self._bridge.start()

    def stop(self) -> None:
        """Lets the board go: it delivers what is granted, and no more."""
        if self._bridge is not None:
            self._bridge.stop()
