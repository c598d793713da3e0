"""Spares: the next invoices of a session, made ahead while others are paid, so that one can be asked for at once.

Nobody can pay a spare before it was told; the buyer is told of the next one only so that its node can look at it ahead.
Nothing of this is recorded: what is left over expires.
"""

from dataclasses import dataclass, field

DEPTH = 2
"""One that the buyer was told of, and one that is being made."""


@dataclass(slots=True)
class Spare:
    """bolt11 is empty until the node has made it."""

    n: int
    amount: int
    made_at: int
    bolt11: str = ""


@dataclass(slots=True)
class Spares:
    """In the order in which they will be used."""

    queue: list[Spare] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return len(self.queue) >= DEPTH

    @property
    def ahead(self) -> str:
        """The invoice that will be asked for next, if it is known by now."""
        return self.queue[0].bolt11 if self.queue else ""

    def made(self, n: int, bolt11: str) -> None:
        for spare in self.queue:
            if spare.n == n:
                spare.bolt11 = bolt11

    def take(self, amount: int, hurry: bool, made_after: int) -> Spare | None:
        """Return a spare that can stand for an invoice of `amount` msat; in a hurry an eighth of it will do. Where the
        next one does not fit, all are let go of."""
        if not self.ahead:
            return None
        spare = self.queue[0]
        fits = spare.amount == amount or (hurry and amount // 8 <= spare.amount <= amount)
        if not fits or spare.made_at < made_after:
            self.queue.clear()
            return None
        return self.queue.pop(0)
