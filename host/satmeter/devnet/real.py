"""The real kind: bitcoind and lightningd on regtest, started through pyln-testing."""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.plain import Plain
from . import ChannelSpec, Devnet, DevNode, NodeSpec, Say

if TYPE_CHECKING:
    from pyln.testing.utils import LightningNode

# Builds without the Rust plugins have no --grpc-port, which pyln-testing would pass.
os.environ.setdefault("RUST", "0")
os.environ.setdefault("TIMEOUT", "120")
# Plugins are found by "env python3": it has to be the one that has our packages.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


class RealNode(DevNode):
    """A lightningd process that pyln-testing runs."""

    def __init__(self, name: str, node: "LightningNode"):
        self.name = name
        self.node = node
        self.id = node.info["id"]
        self.host, self.port = "127.0.0.1", node.port
        self.lightning_dir = Path(node.daemon.lightning_dir) / "regtest"

    def stop(self) -> None:
        """Stops lightningd by its `stop` command and waits for its end; ends it if it hangs."""
        self.node.stop()

    def kill(self) -> None:
        """Sends SIGKILL to lightningd and waits for its end; its plugins get no signal."""
        self.node.daemon.proc.send_signal(signal.SIGKILL)
        self.node.daemon.proc.wait()

    def start(self) -> None:
        """Starts lightningd again on the same directory, and waits until it has started."""
        self.node.start()

    def plugin_pid(self, path: Path) -> int:
        """Returns the process id of a plugin, found by file name among lightningd's child processes.

        Raises ProcessLookupError if it does not run."""
        import psutil

        for child in psutil.Process(self.node.daemon.proc.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just died
                if any(part.endswith(path.name) for part in child.cmdline()):
                    return int(child.pid)
        raise ProcessLookupError(f"{path.name} does not run on {self.name}")


COIN = 50
"""BTC that a block of the first 150 brings on regtest; it can be spent 100 blocks later."""


class RealNet(Devnet):
    """A network of lightningd nodes and bitcoind on regtest, run by pyln-testing."""

    kind = "real"

    def __init__(self, directory: Path, nodes: Sequence[NodeSpec], channels: Sequence[ChannelSpec], say: Say):
        from pyln.testing.db import SqliteDbProvider
        from pyln.testing.utils import BitcoinD, LightningNode, NodeFactory, wait_for

        for noisy in ("BitcoinRpcProxy", "ephemeral-port-reserve", "werkzeug", "cheroot"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        self._directory = directory
        self._executor = ThreadPoolExecutor(8)
        say("starting bitcoind (regtest)")
        self.bitcoind = BitcoinD(bitcoin_dir=str(directory))
        self.bitcoind.start()
        coins = max(1, len(channels))  # each channel has a coin of its own, and waits for no change
        self.bitcoind.generate_block(100 + coins)
        wait_for(lambda: float(self.bitcoind.rpc.getbalance()) >= COIN * coins)  # its wallet takes a moment
        self.factory = NodeFactory(
            None,
            "satmeter",
            self.bitcoind,
            self._executor,
            str(directory),
            SqliteDbProvider(str(directory)),
            LightningNode,
            {},
        )
        try:
            self.nodes = self._start_nodes(nodes, say)
            self._open_channels(channels, say)
        except BaseException:
            self.close()
            raise

    def _start_nodes(self, specs: Sequence[NodeSpec], say: Say) -> dict[str, DevNode]:
        say(f"starting {len(specs)} lightningd nodes")
        jobs = []
        for number, spec in enumerate(specs, 1):
            options: Plain = {"log-file": str(self._directory / f"lightning-{number}" / "log"), **spec.options}
            if spec.plugins:
                options["plugin"] = [str(plugin) for plugin in spec.plugins]
            jobs.append(
                self._executor.submit(
                    self.factory.get_node, number, options, may_reconnect=True, may_fail=True, random_hsm=True
                )
            )
        started = [job.result() for job in jobs]
        return {spec.name: RealNode(spec.name, node) for spec, node in zip(specs, started)}

    def _open_channels(self, channels: Sequence[ChannelSpec], say: Say) -> None:
        from pyln.testing.utils import sync_blockheight, wait_for

        raw = {name: value.node for name, value in self.nodes.items() if isinstance(value, RealNode)}
        say(f"funding and opening {len(channels)} channels")
        for channel in channels:
            address = raw[channel.a].rpc.newaddr("bech32")["bech32"]
            self.bitcoind.rpc.sendtoaddress(address, (channel.capacity_sat + 1_000_000) / 10**8)
        self.bitcoind.generate_block(1)
        sync_blockheight(self.bitcoind, list(raw.values()))
        for channel in channels:
            a, b = raw[channel.a], raw[channel.b]
            a.rpc.connect(b.info["id"], "127.0.0.1", b.port)
            self.bitcoind.generate_block(1, wait_for_mempool=self._funded(a, b, channel))
            sync_blockheight(self.bitcoind, [a, b])
        self.bitcoind.generate_block(6)
        say("waiting until the channels are known to all")
        for node in raw.values():
            wait_for(lambda node=node: len(node.rpc.listchannels()["channels"]) >= 2 * len(channels))
        for channel in channels:
            wait_for(lambda channel=channel: raw[channel.a].channel_state(raw[channel.b]) == "CHANNELD_NORMAL")

    def _funded(self, a: "LightningNode", b: "LightningNode", channel: ChannelSpec) -> str:
        """Opens a channel; returns the id of its transaction.

        A tenth of such transactions have a random lock time, and some builds of bitcoind relay none with 21."""
        from pyln.client import RpcError
        from pyln.testing.utils import sync_blockheight

        while True:
            try:
                opened = a.rpc.fundchannel(b.info["id"], channel.capacity_sat, push_msat=channel.push_sat * 1000)
                return str(opened["txid"])
            except RpcError as error:
                if "parasite-cat21" not in str(error):
                    raise
            self.bitcoind.generate_block(1)
            sync_blockheight(self.bitcoind, [a, b])

    def _synced(self) -> None:
        from pyln.testing.utils import sync_blockheight

        sync_blockheight(self.bitcoind, [node.node for node in self.nodes.values() if isinstance(node, RealNode)])

    def mine(self, blocks: int = 1, empty: bool = False) -> None:
        """Makes blocks with bitcoind, and waits until every node knows the newest one."""
        if empty:
            address = self.bitcoind.rpc.getnewaddress()
            for _ in range(blocks):
                self.bitcoind.rpc.generateblock(address, [])
        else:
            self.bitcoind.generate_block(blocks)
        self._synced()

    def fund(self, name: str, *sats: int) -> None:
        """Sends each value (sat) to a new address of the node, and mines a block with them."""
        for sat in sats:
            address = self.nodes[name].rpc.call("newaddr", {"addresstype": "bech32"})["bech32"]
            self.bitcoind.rpc.sendtoaddress(address, sat / 10**8)
        self.mine()

    def reorganise(self, blocks: int, without: Sequence[str] = (), instead: Sequence[str] = ()) -> None:
        """Replaces blocks as in Devnet, and waits until every node knows the newest one."""
        bitcoin = self.bitcoind.rpc
        height = bitcoin.getblockcount()
        bitcoin.invalidateblock(bitcoin.getblockhash(height - blocks + 1))
        address = bitcoin.getnewaddress()
        waiting = [txid for txid in bitcoin.getrawmempool() if txid not in without]
        for number in range(blocks + 1):
            bitcoin.generateblock(address, [*waiting, *instead] if number == 0 else [])
        self._synced()

    def estimate(self, feerate: int) -> None:
        """Sets what every node estimates for 12 blocks, in sat per 1,000 weight units.

        For 2, 6 and 100 blocks it is 2, 1.5 and 0.5 times as much."""
        for node in self.nodes.values():
            assert isinstance(node, RealNode)
            node.node.set_feerates((2 * feerate, 3 * feerate // 2, feerate, feerate // 2))

    def mempool(self) -> list[str]:
        """Returns the ids of the transactions in bitcoind's mempool."""
        return list(self.bitcoind.rpc.getrawmempool())

    def close(self) -> None:
        """Ends every lightningd and bitcoind; what has ended already is no error."""
        logging.raiseExceptions = False  # its threads log to the end, and beyond that of what they log to
        with contextlib.suppress(Exception):  # one that the terminal's Ctrl-C has reached already
            self.factory.killall([False] * len(self.factory.nodes))
        try:
            self.bitcoind.stop()
        except Exception:
            self.bitcoind.kill()
        for proxy in self.bitcoind.proxies:
            proxy.stop()
        self._executor.shutdown(wait=False)
