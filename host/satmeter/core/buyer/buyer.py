"""The buyer: what a node that buys does with terms, invoices, outcomes of payments and the passing of time.

The same shape as the seller (seller/seller.py): handle() takes one command and returns a Step of events (already
folded, to be committed before anything else), effects and a result. Here is the dispatch only; each part has one
subject, shares the context with the others and calls them by name.
"""

from .. import commands as cmd
from .. import effects as do
from ..machine import Handlers, StateMachine
from ..settlement.lightning_buyer import LightningBuyer
from ..settlement.onchain_buyer import OnchainBuyer
from ..settlement.rules import LIGHTNING, ONCHAIN
from ..states import StreamState
from .closing import Closing
from .context import BuyerContext, Recall
from .outcomes import Outcomes
from .payments import Payments
from .peers import Peers
from .receipts import Receipts
from .sensor import Sensor
from .session import BuyerSession
from .state import BuyerState
from .streams import Streams
from .terms import Terms


class Buyer(StateMachine):
    """One buyer node; see BuyerContext for what it is given."""

    def __init__(
        self,
        sellers: frozenset[str] = frozenset(),
        max_streams: int = 500,
        state: BuyerState | None = None,
        recall: Recall = lambda session_id: None,
        older: bool = False,
    ) -> None:
        context = BuyerContext(sellers, max_streams, state or BuyerState(), recall, older)
        self.context = context
        context.closing = Closing(context)
        context.lightning = LightningBuyer(context)
        context.onchain = OnchainBuyer(context)
        context.outcomes = Outcomes(context)
        context.payments = Payments(context)
        context.peers = Peers(context)
        context.receipts = Receipts(context)
        context.sensor = Sensor(context)
        context.settlements = {LIGHTNING: context.lightning, ONCHAIN: context.onchain}
        context.streams = Streams(context)
        context.terms = Terms(context)
        super().__init__(context, _handlers(context), self._repeat)

    @property
    def state(self) -> BuyerState:
        """The fold of the journal."""
        return self.context.state

    def stream(self, session_id: str) -> BuyerSession:
        """Return a live stream by its id or its meter's name; UnknownSession where there is none."""
        return self.context.stream(session_id)

    def stream_of_board(self, session_id: str) -> BuyerSession:
        """Return the stream that a board belongs to, named as in stream(); UnknownSession where there is none."""
        return self.context.stream_of_board(session_id)

    def _repeat(self) -> None:
        """Outcomes of payments first."""
        context = self.context
        context.resumed_at = context.now
        for stream in self.state.streams.values():
            stream.memory.heard_at = stream.memory.touched_at = context.now
            stream.memory.resumed = context.started
            context.settlement(stream).find_out(stream)
            if stream.unsettled:
                context.act(do.Connect(peer=stream.seller, address=stream.address))
                stream.memory.cut_off = stream.closed  # its newer receipts, told meanwhile, did not reach us
            if stream.state == StreamState.CLOSING:
                stream.memory.closing_at = context.now
        if context.older:
            context.streams.go_on_from_older()


def _handlers(context: BuyerContext) -> Handlers:
    return {
        cmd.Tick: context.streams.tick,
        cmd.FromPeer: context.peers.message,
        cmd.InvoiceReceived: context.peers.invoice,
        cmd.PeerConnected: context.peers.connected,
        cmd.PeerLost: context.peers.lost,
        cmd.ConnectFailed: context.streams.connect_failed,
        cmd.OpenStream: context.streams.open,
        cmd.PauseStream: context.streams.pause,
        cmd.ResumeStream: context.streams.resume,
        cmd.SetBudget: context.streams.budget,
        cmd.SensorReading: context.sensor.reading,
        cmd.CloseStream: context.closing.close,
        cmd.RefundInvoiceMade: context.closing.refund_made,
        cmd.ReceiptChecked: context.receipts.checked,
        cmd.PaymentDone: context.outcomes.paid,
        cmd.PaymentLost: context.outcomes.lost,
        cmd.PaymentKnown: context.outcomes.known,
        cmd.GiveUpPayment: context.outcomes.give_up,
        cmd.Funded: context.onchain.funded,
        cmd.FundsShort: context.onchain.funds_short,
        cmd.UpdateMade: context.onchain.update_made,
        cmd.UpdateUnsigned: context.onchain.update_unsigned,
    }
