"""Whose a journal is, and how its events are read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ...core.buyer import history as bought
from ...core.buyer.state import BuyerState
from ...core.journal import Event
from ...core.seller import history as sold
from ...core.seller.state import SellerState
from ...core.status import SessionRow
from ..compaction import Fold


@dataclass(frozen=True, slots=True)
class Whose:
    """Of which journal it is: its name, its node's id, and the role.

    `taken_at`: when it was copied, in s since 1970."""

    name: str
    node_id: str
    role: str
    taken_at: float = 0.0

    @property
    def sells(self) -> bool:
        """Whether it is a seller's."""
        return self.role == "meter"


@dataclass(frozen=True, slots=True)
class Side:
    """The state of a role, as a fold of its events, and the rows of its index that events write.

    Any: the state that `rows` takes is the one that `fold` makes."""

    fold: Callable[[], Fold]
    rows: Callable[[Any, Iterable[Event]], list[SessionRow]]

    @classmethod
    def of(cls, role: str) -> "Side":
        """Returns the side of a role: of the seller's (meter), or the buyer's (stream)."""
        return cls(SellerState, sold.rows) if role == "meter" else cls(BuyerState, bought.rows)
