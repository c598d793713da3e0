"""What the parts of a seller share: its state, its limits, its present step, and one another by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import effects as do
from .. import messages as msg
from ..journal import Event
from ..labels import First
from ..machine import Context
from .meter import Meter
from .session import SellerSession
from .state import SellerState

if TYPE_CHECKING:
    from ..settlement.base import SellerSettlement
    from ..settlement.onchain_broadcasts import OnchainBroadcasts
    from ..settlement.onchain_seller import OnchainSeller
    from .attention import Attention
    from .closing import Closing
    from .invoices import Invoices
    from .metering import Metering
    from .meters import Meters
    from .offers import Offers
    from .openings import Openings
    from .payments import Payments
    from .peers import Peers
    from .refunds import Refunds
    from .reservations import Reservations
    from .self_service import SelfService
    from .wallet_invoices import WalletInvoices

OLD_MS = 10_000
"""A count that was said so long before it was told is an old one."""
NODE_RETRY_MS = 5_000
"""When the node is asked again for what it has not answered."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one seller takes on; the plugin's options."""

    meters: int = 1000
    sessions: int = 2000
    sessions_per_peer: int = 50
    wallet_invoices_per_meter: int = 20
    openings: int = 200
    """Most opens that wait for their first payment."""
    refund_maxfee_msat: int = 2_000
    """A refund may cost this in routing fees, or a hundredth of itself, whichever is more; it bears them itself."""
    remainder_own_ms: int = 0
    """How long what a bearer left is kept for its refund, before the next payment at the meter may take it along."""
    silent_ms: int = 15_000
    unheard_ms: int = 600_000
    bump_blocks: int = 6
    """Blocks that a transaction may wait for its first confirmation before a child pays for it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A session that memory does not have any more, as the journal's index has it."""

    buyer: str
    receipt: str
    signature: str


Recall = Callable[[str], Ended | None]
"""Looks a session up in the journal; the answer to an old session is its receipt, never a new session."""


class SellerContext(Context):
    """One seller node: `node_id` is its public key in hex, `state` the fold of the journal named `journal`."""

    attention: "Attention"
    closing: "Closing"
    invoices: "Invoices"
    metering: "Metering"
    meters: "Meters"
    offers: "Offers"
    openings: "Openings"
    payments: "Payments"
    peers: "Peers"
    refunds: "Refunds"
    reservations: "Reservations"
    self_service: "SelfService"
    wallet_invoices: "WalletInvoices"
    onchain: "OnchainSeller"
    broadcasts: "OnchainBroadcasts"
    settlements: "dict[str, SellerSettlement]"

    def __init__(
        self, node_id: str, limits: Limits, state: SellerState, journal: str, recall: Recall, older: int
    ) -> None:
        super().__init__(state.apply)
        self.node_id, self.limits, self.state, self.journal, self.recall = node_id, limits, state, journal, recall
        self.older = older
        """The node's newest pay_index where the state is of an older copy of the journal: payments up to it, and what
        was delivered and refunded meanwhile, are missing in the copy. Else -1."""
        self.waiting: dict[str, SellerSession] = {}
        """Openings by id, the oldest first: sessions that wait for their first payment, in memory only."""
        self.resumed_at = 0
        self.just_paid = ""
        """The session whose payment is being credited: what it asks for next is asked for in a hurry."""

    def settlement(self, session: SellerSession) -> "SellerSettlement":
        """Returns the way of settlement (Lightning or on-chain) of the session's tariff."""
        return self.settlements[session.tariff.settlement]

    def live(self, session_id: str) -> SellerSession | None:
        """Return a session that is open, ending or waiting for its first payment."""
        return self.state.sessions.get(session_id) or self.waiting.get(session_id)

    def opening_of(self, first: First) -> SellerSession | None:
        """Return the opening whose first invoice has this label; another under the same id is not it."""
        session = self.waiting.get(first.session)
        return session if session is not None and session.first == first else None

    def send(self, session: SellerSession, kind: Callable[..., msg.Message], **fields: str | int) -> None:
        """Send the buyer a message of its session: its kind and its own fields."""
        session.memory.sequence = max(session.memory.sequence + 1, self.now)
        self.act(do.Send(peer=session.buyer, message=kind(session=session.id, seq=session.memory.sequence, **fields)))

    def notify(self, topic: str, meter: Meter, **more: str | int) -> None:
        """Tell whoever subscribed to a topic how a meter stands."""
        known: dict[str, str | int] = {
            "meter": meter.name,
            "state": meter.state.value,
            "session": meter.session,
            "count": meter.count,
        }
        self.act(do.Notify(topic=topic, payload={**known, **more}))

    def alarm(self, session: SellerSession, why: str) -> None:
        """Tell a person to look at a session."""
        self.act(do.Notify(topic="meter_alarm", payload={"session": session.id, "meter": session.meter, "why": why}))

    def unseen(self, session: SellerSession) -> bool:
        """Whether the count is too old to be told to the buyer.

        That is so after a restart until the board is heard, and while a device does not answer. A count that stood
        still meanwhile would jump when the device is back, and the buyer would take that for more than the rating."""
        meter = self.state.meters.get(session.meter)
        if meter is None or meter.session != session.id:
            return False
        board = meter.memory
        return not board.seen_at or board.seen_at - board.said_at > OLD_MS


class Part:
    """One subject of a seller's. Parts call one another by their names in the context."""

    def __init__(self, context: SellerContext) -> None:
        self.context = context

    @property
    def now(self) -> int:
        """The time of the present step, in ms."""
        return self.context.now

    @property
    def state(self) -> SellerState:
        """The fold of the journal, with the events of the present step."""
        return self.context.state

    @property
    def limits(self) -> Limits:
        """The limits that the plugin's options set; they do not change while it runs."""
        return self.context.limits

    def touch(self, subject: str) -> None:
        """Say that a meter or session may look different now, without an event."""
        self.context.step.touched.add(subject)

    def emit(self, event: Event) -> None:
        """Folds an event into the state, for commit; raises LocalError where it can't happen."""
        self.context.emit(event)

    def act(self, effect: do.Effect) -> None:
        """Adds an effect, which is carried out once the events of this step are committed."""
        self.context.act(effect)
