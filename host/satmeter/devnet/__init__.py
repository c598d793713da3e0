"""A private Lightning network to try and test on: emulated nodes, or real bitcoind + lightningd where installed.

Both kinds are one `Devnet`: named nodes with a lightning-rpc socket each, running the very same plugin executables,
connected, funded and balanced above the reserve.
"""

import importlib.util
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyln.client import LightningRpc

from ..parts import how_to_install, root

METER = root() / "plugins" / "meter" / "meter.py"
STREAM = root() / "plugins" / "stream" / "stream.py"
CAPACITY_SAT = 1_000_000

Say = Callable[[str], None]
"""Told each step of a start, so that whoever waits sees it move."""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node to be: its name, the plugins to load (paths), and options of node or plugins."""

    name: str
    plugins: tuple[Path, ...] = ()
    options: Mapping[str, str | int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """A channel between two named nodes; each side gets half unless `push` says how much of it b has (sat)."""

    a: str
    b: str
    capacity_sat: int = CAPACITY_SAT
    push_sat: int = CAPACITY_SAT // 2


class DevNode(ABC):
    """One node of either kind."""

    name: str
    id: str
    host: str
    port: int
    lightning_dir: Path
    """Where lightning-rpc and the plugins' journals are."""

    @property
    def rpc(self) -> LightningRpc:
        """A client of the node's lightning-rpc socket, a new one at each access."""
        return LightningRpc(str(self.lightning_dir / "lightning-rpc"))

    @property
    def address(self) -> str:
        """The node's address for its peers, as host:port."""
        return f"{self.host}:{self.port}"

    @abstractmethod
    def stop(self) -> None:
        """Stop in order; its plugins are told."""

    @abstractmethod
    def kill(self) -> None:
        """Ends the node at once with SIGKILL; its plugins get no shutdown notification."""

    @abstractmethod
    def start(self) -> None:
        """Start again after stop() or kill()."""

    @abstractmethod
    def plugin_pid(self, path: Path) -> int:
        """Return the process id of a running plugin."""


class Devnet(ABC):
    """A running network; close it to end every process of it."""

    kind: str
    nodes: dict[str, DevNode]

    def __getitem__(self, name: str) -> DevNode:
        return self.nodes[name]

    @abstractmethod
    def close(self) -> None:
        """Ends every node and process of the network."""

    @abstractmethod
    def mine(self, blocks: int = 1, empty: bool = False) -> None:
        """Make blocks of what the mempool has (or of nothing), and wait until every node knows them."""

    @abstractmethod
    def fund(self, name: str, *sats: int) -> None:
        """Give a node's wallet confirmed outputs of these values, in sat."""

    @abstractmethod
    def reorganise(self, blocks: int, without: Sequence[str] = (), instead: Sequence[str] = ()) -> None:
        """Replaces the newest blocks of the chain by one block more than that.

        The first new block has the transactions of the replaced blocks and of the mempool. The others
        are empty.

        Args:
            blocks: How many of the newest blocks are replaced; at least 1.
            without: Ids of transactions to leave out. They wait in the mempool, unless `instead` spends
                their inputs.
            instead: Further transactions of the first new block, as raw hex.
        """

    @abstractmethod
    def estimate(self, feerate: int) -> None:
        """Have every node estimate this feerate (sat per 1,000 weight units) for the next dozen of blocks."""

    @abstractmethod
    def mempool(self) -> list[str]:
        """Return the ids of the transactions that wait for a block."""

    def __enter__(self) -> "Devnet":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def real_missing() -> str:
    """Return what the real kind lacks here, "" if nothing."""
    missing = [program for program in ("bitcoind", "bitcoin-cli", "lightningd") if shutil.which(program) is None]
    return ", ".join(missing or ([] if _installed("pyln.testing") else ["pyln-testing (the extra devnet)"]))


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


TRIO = (
    NodeSpec("seller", (METER,)),
    NodeSpec("hop"),
    NodeSpec("buyer", (STREAM,)),
)
TRIO_CHANNELS = (ChannelSpec("buyer", "seller"), ChannelSpec("buyer", "hop"), ChannelSpec("hop", "seller"))


def start(
    kind: str,
    directory: Path,
    nodes: Sequence[NodeSpec] = TRIO,
    channels: Sequence[ChannelSpec] = TRIO_CHANNELS,
    say: Say = lambda text: None,
) -> Devnet:
    """Start a network of kind "real" or "emulated" under `directory` and return it when payments work."""
    if not METER.is_file():
        raise SystemExit(f"{METER} is not there: a devnet needs a checkout of satmeter, and runs from it")
    os.makedirs(directory, exist_ok=True)
    if kind == "real":
        from .real import RealNet

        return RealNet(directory, nodes, channels, say)
    try:
        import bech32  # noqa: F401 - else the first invoice would find that it is not there
        import bolt11  # noqa: F401

        from .emulated.net import EmulatedNet
    except ModuleNotFoundError as error:
        raise SystemExit(how_to_install(error.name, "devnet")) from None
    return EmulatedNet(directory, nodes, channels, say)
