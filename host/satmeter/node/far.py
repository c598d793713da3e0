"""A node elsewhere, asked through a node here: commando carries the call between the two as messages of Lightning.

The far node opens no port for it. Its owner gives a rune, which says what may be called.
"""

import asyncio
import re
from dataclasses import dataclass

from coincurve import PublicKey
from pyln.client import RpcError

from ..core.errors import BadParam, NodeTrouble, NotPermitted
from ..core.plain import JsonObject
from ..wire import address
from .async_rpc import AsyncNode
from .rpc import Node, code_of, words_of

ANSWER_S = 30.0
"""lightningd waits for ever for the answer of a node that went away."""
NOT_CONNECTED = -32600
NOT_PERMITTED = (19536, 19537)
"""commando's errors for a rune that is none, or that permits something else (0x4c50, 0x4c51)."""
RUNE = re.compile(r"[A-Za-z0-9_-]{43,2000}={0,2}")


@dataclass(frozen=True, slots=True)
class FarNode:
    """The node `peer`, asked through `near`.

    `address` is HOST:PORT where it is reached, "" where it connects by itself. `rune` permits what may be called."""

    near: Node
    peer: str
    address: str
    rune: str

    @classmethod
    def parse(cls, near: Node, peer: str, rune: str) -> "FarNode":
        """Returns the node of NODEID or NODEID@HOST:PORT; BadParam for what is none, and for what is no rune."""
        if not RUNE.fullmatch(rune):
            raise BadParam("rune: must be what createrune answers on that node", param="rune")
        node_id, reach = address.peer("peer", peer)
        try:
            PublicKey(bytes.fromhex(node_id))
        except ValueError:  # a typing error: lightningd would call it a wrong parameter of each method
            raise BadParam(f"peer: {node_id} is no node's id", param="peer") from None
        return cls(near, node_id, reach, rune)

    def call(self, method: str, **params: object) -> JsonObject:
        """Calls a method there; RpcError from that node, NodeTrouble on the way, NotPermitted by its rune."""
        try:
            try:
                return self._ask(method, params)
            except RpcError as error:
                if code_of(error) != NOT_CONNECTED or not self.address:
                    raise
                self.near.connect(self.peer, self.address)
                return self._ask(method, params)
        except TimeoutError:
            raise NodeTrouble(f"{method}: node {self.peer} has not answered for {ANSWER_S:.0f} s") from None
        except RpcError as error:
            if code_of(error) in NOT_PERMITTED:
                raise NotPermitted(f"{method}: node {self.peer} does not permit it: {words_of(error)}") from None
            if error.method != method:  # of the node here, or of the way between the two
                raise NodeTrouble(f"{method}: node {self.peer} can't be reached: {words_of(error)}") from None
            raise

    def info(self) -> JsonObject:
        """Returns the answer of getinfo there."""
        return self.call("getinfo")

    def _ask(self, method: str, params: JsonObject) -> JsonObject:
        asked = {"peer_id": self.peer, "method": method, "params": params, "rune": self.rune}

        async def answered() -> JsonObject:
            async with asyncio.timeout(ANSWER_S):
                return await AsyncNode(self.near.path).call("commando", **asked)

        try:
            return asyncio.run(answered())
        except RpcError as error:
            if code_of(error) == NOT_CONNECTED:
                raise
            raise RpcError(method, params, error.error) from None
