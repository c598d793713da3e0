"""What the parts of a buyer share: its state, its limits, its present step, and one another by name."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import effects as do
from .. import messages as msg
from ..errors import PolicyBreach, UnknownSession, WrongState
from ..journal import Event
from ..machine import Context
from ..settlement.rules import LIGHTNING
from . import events as ev
from .session import BuyerSession, Evidence
from .state import REFUSALS, BuyerState

if TYPE_CHECKING:
    from ..settlement.base import BuyerSettlement
    from ..settlement.lightning_buyer import LightningBuyer
    from ..settlement.onchain_buyer import OnchainBuyer
    from .closing import Closing
    from .outcomes import Outcomes
    from .payments import Payments
    from .peers import Peers
    from .receipts import Receipts
    from .sensor import Sensor
    from .streams import Streams
    from .terms import Terms

Recall = Callable[[str], BuyerSession | None]
"""Loads an ended stream from the journal: its seller may say that it owes something."""


class BuyerContext(Context):
    """One buyer node; `sellers` are the node ids that it may buy from, empty for any."""

    closing: "Closing"
    lightning: "LightningBuyer"
    onchain: "OnchainBuyer"
    outcomes: "Outcomes"
    payments: "Payments"
    peers: "Peers"
    receipts: "Receipts"
    sensor: "Sensor"
    settlements: "dict[str, BuyerSettlement]"
    streams: "Streams"
    terms: "Terms"

    def __init__(
        self, sellers: frozenset[str], max_streams: int, state: BuyerState, recall: Recall, older: bool
    ) -> None:
        super().__init__(state.apply)
        self.sellers, self.max_streams, self.state, self.recall = sellers, max_streams, state, recall
        self.older = older
        """Whether the state is of an older copy of the journal: what was paid since is not in it."""
        self.resumed_at = 0

    def settlement(self, stream: BuyerSession) -> "BuyerSettlement":
        """Returns the way of settlement of the stream's tariff; before terms are agreed nothing is paid, by either."""
        return self.settlements[stream.tariff.settlement if stream.tariff is not None else LIGHTNING]

    def stream(self, session_id: str) -> BuyerSession:
        """Return a live stream by its id, by its meter's name, or by SELLER/METER: the newest one to that meter.

        Raises:
            UnknownSession: There is none.
            WrongState: Streams to several sellers have meters of that name.
        """
        named = self._named(session_id)
        if len({stream.seller for stream in named if not stream.closed}) > 1:
            raise WrongState(
                f"session: several sellers have a meter {session_id!r}; give the stream's id, or SELLER/METER"
            )
        return max(named, key=lambda stream: (not stream.closed, stream.opened_at))

    def stream_of_board(self, session_id: str) -> BuyerSession:
        """Return the stream that a board belongs to, by its id, its meter's name, or SELLER/METER.

        Of several sellers' meters of that name it is the one whose stream ran first: a seller chooses its meter's
        name, and gets by it neither the readings nor the relay of another one's outlet.

        Raises:
            UnknownSession: There is none.
        """
        named = self._named(session_id)
        live = [stream for stream in named if not stream.closed]
        first = min(live, key=lambda stream: stream.opened_at).seller if live else ""
        return max(
            (stream for stream in named if first in ("", stream.seller)),
            key=lambda stream: (not stream.closed, stream.opened_at),
        )

    def _named(self, session_id: str) -> list[BuyerSession]:
        if session_id in self.state.streams:
            return [self.state.streams[session_id]]
        seller, _, meter = session_id.rpartition("/")
        named = [each for each in self.state.streams.values() if each.meter == meter and seller in ("", each.seller)]
        if not named:
            raise UnknownSession(f"session: no live stream {session_id!r}; stream-list lists them")
        return named

    def send(self, stream: BuyerSession, kind: Callable[..., msg.Message], **fields: str | int) -> None:
        """Send the seller a message of its session: its kind and its own fields."""
        memory = stream.memory
        memory.sequence = max(memory.sequence + 1, self.now)
        memory.asked_at = self.now
        self.act(do.Send(peer=stream.seller, message=kind(session=stream.id, seq=memory.sequence, **fields)))

    def notify(self, stream: BuyerSession, **more: str) -> None:
        """Tell whoever subscribed how a stream stands."""
        known = {"session": stream.id, "state": stream.state.value, "seller": stream.seller}
        self.act(do.Notify(topic="stream_state", payload={**known, **more}))

    def refuse(self, stream: BuyerSession, number: int, why: str, evidence: Evidence) -> None:
        """Record a refusal with its evidence. The same one again is not recorded; REFUSALS of a stream are kept.

        The first breach is recorded however many there were: nothing is paid after it."""
        breach = evidence.get("error") == PolicyBreach.__name__ and not stream.breached
        room = len(stream.refusals) < REFUSALS and not any(each.why == why for each in stream.refusals)
        if breach or room:
            kept: Evidence = {
                name: value if isinstance(value, (str, int)) else repr(value) for name, value in evidence.items()
            }
            self.emit(ev.InvoiceRefused(at=self.now, subject=stream.id, number=number, why=why[:500], evidence=kept))


class Part:
    """One subject of a buyer's. Parts call one another by their names in the context."""

    def __init__(self, context: BuyerContext) -> None:
        self.context = context

    @property
    def now(self) -> int:
        """The time of the present step, in ms."""
        return self.context.now

    @property
    def state(self) -> BuyerState:
        """The buyer's state, with the events of the present step folded into it."""
        return self.context.state

    def emit(self, event: Event) -> None:
        """Folds an event into the state, to be committed with this step; may raise LocalError."""
        self.context.emit(event)

    def act(self, effect: do.Effect) -> None:
        """Has an effect carried out once the present step is committed."""
        self.context.act(effect)
