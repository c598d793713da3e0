"""A standing offer (BOLT 12) of a meter: any wallet fetches its invoices by it, as often as it likes."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class OfferMemory:
    """What only memory needs of an offer."""

    active: bool | None = None
    """Whether the node gives invoices for it now; None until the node has said so."""
    asked: bool | None = None
    """What the node was last asked for, at `asked_at` (ms)."""
    asked_at: int = 0


@dataclass(slots=True)
class Offer:
    """An offer as its events leave it: `amount_msat` 0 is any amount; `wanted` is what its operator wants."""

    meter: str
    bolt12: str
    amount_msat: int
    wanted: bool = True
    memory: OfferMemory = field(default_factory=OfferMemory)
