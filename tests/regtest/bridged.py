"""A virtual board and the program that bridges it to a seller's node."""

import secrets

from satmeter import devnet
from satmeter.board.virtual import VirtualBoard
from satmeter.bridge import Bridge, MeterSide
from satmeter.node.rpc import Node
from shop import TARIFF

FAST = 3_600_000  # ticks an hour: a thousand a second


class Outlet:
    """A meter with a virtual board and a bridge between them."""

    def __init__(self, shop, name, **tariff):
        self.shop, self.name, self.rpc = shop, name, shop.rpc
        self.rpc.call("meter-add", {"name": name, **TARIFF, "quantum_msat": 20_000, "grace_s": 20, **tariff})
        self.key = secrets.token_bytes(32)
        self.board = VirtualBoard(self.key, name, FAST)
        self.bridge = self.new_bridge()

    def new_bridge(self):
        node = Node(str(self.shop.node.lightning_dir / "lightning-rpc"))
        bridge = Bridge(self.board.port, self.key, node, MeterSide(self.name), devnet.METER)
        bridge.start()
        return bridge

    def meter(self):
        return self.rpc.call("meter-status", [self.name])["meters"][0]

    def close(self):
        self.board.unplug()
        self.bridge.stop()
        self.board.close()
