"""Prefetched invoices: the next ones of a session, made ahead while others are paid.

So an invoice can be asked for at once. The buyer receives the next one early only so that its
node can decode it in advance. Before it is asked for, it is not to be paid, and the node's
invoice_payment hook rejects its payment. None of them is recorded: those that are not used
expire."""

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
        """Returns whether as many are made ahead as may be: DEPTH for each invoice of the window."""
        return len(self.queue) >= DEPTH * window

    def tell(self) -> str:
        """Return the next invoice that the buyer was not told of, "" if none is ready."""
        for made in self.queue:
            if made.bolt11 and not made.told:
                made.told = True
                return made.bolt11
        return ""

    def made(self, number: int, bolt11: str) -> None:
        """Stores the invoice that the node made; a number that is not in the queue is ignored."""
        for made in self.queue:
            if made.number == number:
                made.bolt11 = bolt11

    def take(self, amount: int, hurry: bool, made_after: int) -> PrefetchedInvoice | None:
        """Removes and returns the next prefetched invoice for `amount` msat, None where there is none.

        It has to be of that amount; in a hurry, from an eighth of it up to all of it. Where the next
        one does not fit, or was made before `made_after` (ms), all are removed. Where the node has not
        made it yet, all stay."""
        if not self.queue or not self.queue[0].bolt11:
            return None
        made = self.queue[0]
        fits = made.amount_msat == amount or (hurry and amount // 8 <= made.amount_msat <= amount)
        if not fits or made.made_at < made_after:
            self.queue.clear()
            return None
        return self.queue.pop(0)
