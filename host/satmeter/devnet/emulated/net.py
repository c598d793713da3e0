"""A network of emulated nodes in this process: who is there, who is connected to whom, and the post between them."""

import queue
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

from ...chain.update import script_of
from .. import ChannelSpec, Devnet, NodeSpec, Say
from .chain import Chain
from .channels import Channels
from .methods import RpcNode
from .node import Node


class Network:
    """Nodes by id and by no other way; messages between two of them keep their order."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.channels = Channels()
        self.chain = Chain()
        self._lock = threading.RLock()
        self._post: queue.SimpleQueue[tuple[str, str, bytes] | None] = queue.SimpleQueue()
        threading.Thread(target=self._postman, daemon=True, name="devnet-post").start()

    def have_channel(self, one: str, other: str) -> bool:
        """Returns whether two nodes, by id, have a channel with each other."""
        return any(each.other(one) == other for each in self.channels.of(one))

    def connect(self, one: Node, other: Node) -> None:
        """Connects two nodes and notifies the plugins of both; no effect if they are connected."""
        with self._lock:
            if other.id in one.peers:
                return
            one.peers.add(other.id)
            other.peers.add(one.id)
        address = {"type": "ipv4", "address": one.host, "port": other.port}
        one.notify("connect", {"id": other.id, "direction": "out", "address": address})
        other.notify("connect", {"id": one.id, "direction": "in", "address": address})

    def disconnect(self, one: str, other: str) -> None:
        """Disconnects two nodes, by id, and notifies their plugins; no effect if not connected."""
        with self._lock:
            left, right = self.nodes[one], self.nodes.get(other)
            if right is None or other not in left.peers:
                return
            left.peers.discard(other)
            right.peers.discard(one)
        left.notify("disconnect", {"id": other})
        right.notify("disconnect", {"id": one})

    def post(self, source: str, target: str, data: bytes) -> None:
        """Queues a custom message; it is dropped if the nodes are not connected at delivery."""
        self._post.put((source, target, data))

    def _postman(self) -> None:
        while (letter := self._post.get()) is not None:
            source, target, data = letter
            node = self.nodes[target]
            if source in node.peers:  # delivery is not promised
                node.deliver(source, data)

    def close(self) -> None:
        """Ends the thread that delivers custom messages, after those that are queued."""
        self._post.put(None)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


MAX_HTLCS = 483
"""lightningd's default on regtest; max-concurrent-htlcs sets it."""


class EmulatedNet(Devnet):
    """A network of emulated nodes in this process; their plugins are processes of their own."""

    kind = "emulated"

    def __init__(self, directory: Path, nodes: Sequence[NodeSpec], channels: Sequence[ChannelSpec], say: Say):
        self.network = Network()
        made = {each.name: RpcNode(self.network, each, directory / each.name, _free_port()) for each in nodes}
        self.nodes = {**made}
        self.network.nodes = {one.id: one for one in made.values()}
        say(f"opening {len(channels)} channels")
        options = {entry.name: entry.options for entry in nodes}
        for c in channels:
            channel = self.network.channels.open(made[c.a].id, made[c.b].id, c.capacity_sat * 1000, c.push_sat * 1000)
            limits = [options[name].get("max-concurrent-htlcs") or MAX_HTLCS for name in (c.a, c.b)]
            channel.max_htlcs = min(map(int, limits))
        say(f"starting {len(nodes)} emulated nodes")
        try:
            for node in made.values():
                node.start()
        except BaseException:
            self.close()
            raise

    def mine(self, blocks: int = 1, empty: bool = False) -> None:
        """Adds blocks to the shared chain; plugins get one block_added, of the newest block."""
        self.network.chain.mine(blocks, empty)
        self._tell_block()

    def _tell_block(self) -> None:
        chain = self.network.chain
        for node in self.network.nodes.values():
            node.notify("block_added", {"hash": f"{chain.height:064x}", "height": chain.height})

    def fund(self, name: str, *sats: int) -> None:
        """Gives the wallet one output of each value (sat), and mines a block with them."""
        wallet = self.network.nodes[self.nodes[name].id].wallet
        for sat in sats:
            self.network.chain.pay(script_of(wallet.address("bech32")), sat)
        self.mine()

    def reorganise(self, blocks: int, without: Sequence[str] = (), instead: Sequence[str] = ()) -> None:
        """Replaces blocks as in Devnet; plugins get one block_added, of the newest block."""
        self.network.chain.reorganise(blocks, without, instead)
        self._tell_block()

    def estimate(self, feerate: int) -> None:
        """Sets what every node estimates for any target, in sat per 1,000 weight units."""
        self.network.chain.feerate = feerate

    def mempool(self) -> list[str]:
        """Returns the ids of the transactions in the mempool that all nodes share."""
        return list(self.network.chain.waiting)

    def close(self) -> None:
        """Stops every node and its plugins, and ends the delivery of custom messages."""
        for node in self.nodes.values():
            node.stop()
        self.network.close()
