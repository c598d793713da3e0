"""Prefetched invoices: the next ones of a session, made ahead while others are paid, so that one can be asked for at
once.

Nobody can pay one before it was told; the buyer is told of the next one only so that its node can look at it ahead.
Nothing of this is recorded: what is left over expires.
"""

from dataclasses import dataclass, field

DEPTH = 2
"""So many are made ahead for each invoice of the window: one that the buyer was told of, and one that is being made."""


@dataclass(slots=True)
class PrefetchedInvoice:
    """bolt11 is empty until the node has made it."""

    number: int
    amount_msat: int
    made_at: int
    bolt11: str = ""
    told: bool = False


@dataclass(slots=True)
class Prefetched:
    """In the order in which they will be used."""

    queue: list[PrefetchedInvoice] = field(default_factory=list)

    def full(self, window: int) -> bool:
        return len(self.queue) >= DEPTH * window

    def tell(self) -> str:
        """Return the next invoice that the buyer was not told of, "" if none is ready."""
        for made in self.queue:
            if made.bolt11 and not made.told:
                made.told = True
                return made.bolt11
        return ""

    def made(self, number: int, bolt11: str) -> None:
        for made in self.queue:
            if made.number == number:
                made.bolt11 = bolt11

    def take(self, amount: int, hurry: bool, made_after: int) -> PrefetchedInvoice | None:
        """Return one that can stand for an invoice of `amount` msat; in a hurry an eighth of it will do. Where the
        next one does not fit, all are forgotten."""
        if not self.queue or not self.queue[0].bolt11:
            return None
        made = self.queue[0]
        fits = made.amount_msat == amount or (hurry and amount // 8 <= made.amount_msat <= amount)
        if not fits or made.made_at < made_after:
            self.queue.clear()
            return None
        return self.queue.pop(0)
