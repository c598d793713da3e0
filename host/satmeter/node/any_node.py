"""What a node that is asked is to those who need not know where it is."""

from typing import Protocol

from ..core.plain import JsonObject


class AnyNode(Protocol):
    """A node here (Node) or elsewhere (FarNode)."""

    def call(self, method: str, **params: object) -> JsonObject:
        """Calls a method; RpcError from the node, NodeTrouble where it can't be reached or answers nonsense."""

    def info(self) -> JsonObject:
        """Returns the answer of getinfo."""
