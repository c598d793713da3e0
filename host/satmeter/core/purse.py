"""What a buyer has at hand in all that it does: its ledger, its words to a seller, and a refusal with its evidence."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from . import actions as do
from . import events as ev
from . import messages as msg
from .desk import Desk
from .errors import UnknownSession
from .journal import Event
from .purchase import CLOSED, REFUSALS, Ledger, Purchase

Recall = Callable[[str], Purchase | None]
"""Folds a stream that memory has let go from the journal again; its seller may owe something that we never heard of."""


class Purse(Desk):
    """One buyer node; `sellers` are the node ids that it may buy from, empty for any."""

    def __init__(
        self,
        sellers: frozenset[str] = frozenset(),
        max_streams: int = 500,
        ledger: Ledger | None = None,
        recall: Recall = lambda session: None,
        older: bool = False,
    ):
        super().__init__()
        self.recall = recall
        self.older = older
        """Whether the ledger is of an older copy of the journal: what was paid since is not in it."""
        self.sellers = sellers
        self.max_streams = max_streams
        self.ledger = ledger or Ledger()
        self.looked_up: dict[str, int] = {}
        """The newest revisions of receipts that were looked at for streams that memory has let go."""

    def fold(self, e: Event) -> None:
        self.ledger.apply(e)

    def purchase(self, session: str) -> Purchase:
        """Return a live stream by its id, or by its meter's name: the newest one to a meter of that name."""
        if session in self.ledger.purchases:
            return self.ledger.purchases[session]
        named = [p for p in self.ledger.purchases.values() if p.meter == session]
        if not named:
            raise UnknownSession(f"session: no live stream {session!r}; stream-list lists them")
        return max(named, key=lambda p: (p.state != CLOSED, p.opened_at))

    @abstractmethod
    def _bound(self, p: Purchase, reason: str) -> None:
        """Bound what a stream in arrears may still pay (parting.py)."""

    @abstractmethod
    def _release(self, p: Purchase) -> None:
        """Free what an ended stream does not need any more (signing.py)."""

    @abstractmethod
    def _reconcile(self, p: Purchase, text: str) -> None:
        """Learn from a signed receipt what the seller took of what is in flight (signing.py)."""

    def _send(self, p: Purchase, make: Callable[..., msg.Message], **fields: Any) -> None:
        p.seq = max(p.seq + 1, self.now)
        p.asked_at = self.now
        self._do(do.Send(p.seller, make(session=p.id, seq=p.seq, **fields)))

    def _notify(self, p: Purchase, **more: Any) -> None:
        self._do(do.Notify("stream_state", {"session": p.id, "state": p.state, "seller": p.seller, **more}))

    def _refuse(self, p: Purchase, n: int, why: str, evidence: dict[str, Any]) -> None:
        """Record a refusal with its evidence; the same one again is not news, and a seller that goes on is none."""
        if len(p.refusals) < REFUSALS and not any(r["why"] == why for r in p.refusals):
            self._emit(ev.InvoiceRefused(self.now, p.id, n, why[:500], evidence))

    def _end(self, p: Purchase, why: str, code: int = 0) -> None:
        """End a stream that has no receipt to wait for."""
        p.touched_at = self.now
        self._bound(p, why)
        self._emit(ev.StreamClosed(self.now, p.id, code=code, why=why[:500]))
        self._release(p)
        self._notify(p, why=why)
