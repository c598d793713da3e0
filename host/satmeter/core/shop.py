"""A seller's shop: what every part of the seller uses, and what the parts ask of one another."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import actions as do
from . import inputs as inp
from . import messages as msg
from .books import Books
from .desk import Desk
from .journal import Event
from .labels import First
from .meter import Meter
from .sale import OPEN, Sale

RESEND_MS, RESEND_MOST_MS = 2_000, 60_000
NODE_RETRY_MS = 5_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one seller takes on; the plugin's options."""

    meters: int = 1000
    sessions: int = 2000
    sessions_per_peer: int = 50
    offers_per_meter: int = 20
    openings: int = 200
    """Most opens that wait for their first payment."""
    refund_maxfee_msat: int = 2_000
    """A refund may cost this in routing fees, or a hundredth of itself, whichever is more; it bears them itself."""
    silent_ms: int = 15_000
    unheard_ms: int = 600_000
    bump_blocks: int = 6
    """Blocks that a transaction may wait for its first confirmation before a child pays for it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A session that memory has let go, as the journal's index has it."""

    buyer: str
    receipt: str
    signature: str


Recall = Callable[[str], Ended | None]
"""Looks a session up in the journal; the answer to an old session is its receipt, never a new session."""


class Shop(Desk):
    """One seller node. `node_id` is its public key in hex; `books` is the fold of the journal named `journal`."""

    def __init__(
        self,
        node_id: str,
        limits: Limits | None = None,
        books: Books | None = None,
        journal: str = "0",
        recall: Recall = lambda session: None,
        older: int = -1,
    ):
        super().__init__()
        self.node_id = node_id
        self.limits = limits or Limits()
        self.books = books or Books()
        self.journal = journal
        self.recall = recall
        self.older = older
        """Where the books are of an older copy of the journal: the node's newest pay_index. What was paid since up to
        it, delivered and given back is not in them. -1: they are not."""
        self.openings: dict[str, Sale] = {}
        """Sessions that wait for their first payment, by id, the oldest first: in memory only (openings.py)."""
        self.resumed_at = 0
        self.just_paid = ""
        """The session whose payment is being credited: what it asks for next is asked for in a hurry."""

    def fold(self, e: Event) -> None:
        self.books.apply(e)

    def _live(self, session: str) -> Sale | None:
        """Return a session that is open, ending or waiting for its first payment."""
        return self.books.sales.get(session) or self.openings.get(session)

    def _opening_of(self, first: First) -> Sale | None:
        """Return the opening whose first invoice has this label; another under the same id is not it."""
        s = self.openings.get(first.session)
        return s if s is not None and s.first == first else None

    @abstractmethod
    def _paid_before(self, peer: str) -> None:
        """Remember that a buyer has paid (openings.py)."""

    @abstractmethod
    def _open_for(self, s: Sale) -> Sale | None:
        """Open the session of an opening that is paid now; None where its meter is not free (openings.py)."""

    @abstractmethod
    def _look_after_openings(self) -> None:
        """Ask again for first payments, and forget openings whose time is over (openings.py)."""

    @abstractmethod
    def _drop_opening(self, s: Sale, reason: str, tell: bool = True, counts: bool = False) -> None:
        """Forget an opening that was not paid; `counts`: that was its buyer's own doing (openings.py)."""

    @abstractmethod
    def _opening_paid(self, first: First, i: inp.InvoiceSettled, upto: int) -> bool:
        """Credit the first payment of a session, which opens it; False where its meter is unknown (openings.py)."""

    @abstractmethod
    def _advance(self, m: Meter) -> None:
        """Do what a meter's state makes due now (metering.py)."""

    @abstractmethod
    def _end(self, s: Sale, reason: str, tell: bool = True) -> None:
        """Ask for the end of a session; it is closed once its board has stopped (settling.py)."""

    @abstractmethod
    def _close(self, s: Sale, reason: str, tell: bool = True) -> None:
        """Make the charge of a session final (settling.py)."""

    @abstractmethod
    def _ask(self, s: Sale) -> None:
        """Ask for what is due (invoicing.py)."""

    @abstractmethod
    def _settle(self, s: Sale) -> None:
        """Bring a session that ended to its receipt (settling.py)."""

    @abstractmethod
    def _tell_end(self, s: Sale) -> None:
        """Tell the buyer how its session ended (settling.py)."""

    @abstractmethod
    def _lock(self, m: Meter | None, s: Sale, more_s: int = 0) -> None:
        """Lock out the buyer of a session and the meter's plug (metering.py)."""

    @abstractmethod
    def _unlocked(self, m: Meter, why: str) -> None:
        """Lift a lockout (metering.py)."""

    def _send(self, s: Sale, make: Callable[..., msg.Message], **fields: Any) -> None:
        s.seq = max(s.seq + 1, self.now)
        self._do(do.Send(s.buyer, make(session=s.id, seq=s.seq, **fields)))

    def _notify(self, topic: str, m: Meter, **more: Any) -> None:
        self._do(do.Notify(topic, {"meter": m.name, "state": m.state, "session": m.session, "count": m.count, **more}))

    def _unseen(self, s: Sale) -> bool:
        """True after a restart until the board is heard: the count may be behind what was told before."""
        m = self.books.meters.get(s.meter)
        return m is not None and m.session == s.id and not m.seen

    def _after(self, s: Sale) -> None:
        if s.phase == OPEN:
            self._advance(self.books.meter(s.meter))
        else:
            self._settle(s)
