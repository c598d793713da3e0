"""The buyer's plugin: RPC and notifications translated for core/buyer/, and its effects carried out."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from pyln.client import Plugin, RpcError

from ..core import commands as cmd
from ..core import effects as do
from ..core import messages as msg
from ..core.buyer import history, views
from ..core.buyer.buyer import Buyer
from ..core.buyer.session import BuyerSession
from ..core.buyer.state import BuyerState
from ..core.errors import NodeTrouble
from ..core.journal import Event
from ..core.plain import Plain
from ..core.states import StreamState
from ..core.status import RelayView, SessionRow, StreamStatus
from ..node.payments import LastHop
from ..node.rpc import words_of
from ..wire import signature
from . import stream_options
from .base import Performers, RolePlugin
from .decoder import Decoder
from .onchain_buyer import OnchainEffects
from .rpc_methods import methods_of
from .stream_rpc import StreamRpc

REFUND_EXPIRY_S = 30 * 86400
RECALLED = 5_000
"""Most events that are folded to recall a stream that memory has no more; a longer one is not recalled."""
TOPICS = ("stream_low", "stream_state")


class StreamPlugin(RolePlugin[Buyer, BuyerState]):
    """The buyer's plugin: it joins lightningd, the journal and the buyer's core."""

    role = "stream"
    patient = history.PATIENT
    state = BuyerState

    # What `init` makes.
    options: stream_options.StreamOptions
    onchain: OnchainEffects
    decoder: Decoder

    def __init__(self) -> None:
        self.opening: dict[str, Callable[[StreamStatus | None], None]] = {}
        self._sellers: dict[str, str] = {}
        super().__init__()

    def declare(self, plugin: Plugin) -> None:
        """Adds the buyer's options and notification topics."""
        stream_options.add(plugin)
        for topic in TOPICS:
            plugin.add_notification_topic(topic)

    def methods(self) -> dict[str, Callable[..., None]]:
        """Returns the buyer's RPC methods by name, without the prefix "stream-"."""
        return methods_of(StreamRpc(self))

    # --- start

    def check_options(self) -> None:
        """Takes the buyer's options; raises BadParam that names the one that is wrong."""
        self.options = stream_options.read(self.plugin)

    def prepare(self) -> None:
        """Makes what effects and messages use: the wallet and the decoder."""
        self.onchain = OnchainEffects(self.node)
        self.decoder = Decoder(self.node, self.runtime.clock)

    def build(self, snapshot: Plain | None, events: list[Event], older: bool) -> Buyer:
        """Returns the buyer's core, folded from the journal."""
        state = self.folded(snapshot, events)
        self._publish_sellers(state)
        return Buyer(self.options.sellers, self.options.streams, state, self._recall, older)

    def _publish_sellers(self, state: BuyerState) -> None:
        """Publish whose invoices are decoded, for the thread that takes messages."""
        self._sellers = {stream.id: stream.seller for stream in state.streams.values()}

    def _recall(self, session: str) -> BuyerSession | None:
        """Fold a stream that memory has no more; runs on the core's thread, for unknown ids only."""
        assert self.runtime.journal is not None
        events = self.runtime.journal.events(session, RECALLED)
        whole = len(events) < RECALLED and history.begins(events)
        state: BuyerState = self.folded(None, events if whole else [])
        return state.streams.get(session)

    def dump(self, core: Buyer) -> Plain:
        """Returns the buyer's state as data for a snapshot."""
        return core.state.dump()

    def reload(self, core: Buyer, state: Plain) -> None:
        """Puts a dumped state in place of the core's present one."""
        core.state.load(state)

    def rows(self, core: Buyer, events: Iterable[Event]) -> list[SessionRow]:
        """Returns the index rows of the streams that events opened or closed."""
        return history.rows(core.state, events)

    # --- effects

    def performers(self) -> Performers:
        """Returns what carries out each kind of effect, and on which pool of threads."""
        quick = self.executor.quick
        return {
            do.Send: lambda effect: self.executor.send(effect.peer, effect.message),
            do.Pay: lambda effect: self.executor.payment(self._pay, effect),
            do.Connect: lambda effect: self.executor.slow(self._reach, effect),
            do.MakeRefundInvoice: lambda effect: quick(self._make_refund_invoice, effect),
            do.CheckReceipt: lambda effect: quick(self._check_receipt, effect),
            do.Fund: lambda effect: quick(self._post, self.onchain.fund, effect),
            do.SignUpdate: lambda effect: quick(self._post, self.onchain.sign, effect),
            do.Reserve: lambda effect: quick(self.onchain.reserve, effect),
            do.Notify: lambda effect: self.plugin.notify(effect.topic, dict(effect.payload)),
        }

    def _reach(self, effect: do.Connect) -> None:
        try:
            self.node.connect(effect.peer, effect.address)
        except RpcError as error:
            self.runtime.post(cmd.ConnectFailed(peer=effect.peer, why=words_of(error)))

    def _pay(self, effect: do.Pay) -> None:
        try:
            bolt11, last = "", None
            if effect.invoice is not None:
                bolt11 = effect.invoice.bolt11
                last = LastHop(effect.invoice.amount_msat, effect.invoice.payment_secret, effect.invoice.final_cltv)
            with self.paying.measured():
                outcome, why = self.payments.pay(
                    effect.seller,
                    bolt11,
                    effect.payment_hash,
                    effect.maxfee_msat,
                    effect.maxdelay,
                    fresh=effect.fresh,
                    last=last,
                )
        except NodeTrouble:
            if not effect.fresh:
                raise  # and it is asked again
            # It may have been begun: the node is asked first.
            self.executor.payment(self._pay, replace(effect, fresh=False))
            return
        if outcome.status == "known":
            self.runtime.post(cmd.PaymentKnown(session=effect.session, number=effect.number, attempt=effect.attempt))
        elif outcome.status == "complete":
            self.runtime.post(
                cmd.PaymentDone(
                    session=effect.session,
                    number=effect.number,
                    payment_hash=effect.payment_hash,
                    sent_msat=outcome.sent_msat,
                )
            )
        else:
            self.runtime.post(
                cmd.PaymentLost(
                    session=effect.session,
                    number=effect.number,
                    attempt=effect.attempt,
                    why=why or "the payment failed",
                )
            )

    def _make_refund_invoice(self, effect: do.MakeRefundInvoice) -> None:
        made = self.node.invoice(effect.label, None, "satmeter refund", REFUND_EXPIRY_S)
        self.runtime.post(cmd.RefundInvoiceMade(session=effect.session, bolt11=made.bolt11))

    def _check_receipt(self, effect: do.CheckReceipt) -> None:
        verified = signature.verify(effect.text, effect.signature, effect.seller)
        made = {label: self.node.find_invoice(label) for label in effect.labels} if verified else {}
        arrivals = {label: found.received_msat for label, found in made.items() if found is not None}
        self.runtime.post(
            cmd.ReceiptChecked(
                session=effect.session,
                text=effect.text,
                signature=effect.signature,
                verified=verified,
                arrivals=arrivals,
            )
        )

    # --- messages

    def receive(self, peer_id: str, message: msg.Message) -> None:
        """Hand a message to the core: an invoice once it is decoded, and then the next one is, ahead."""
        if isinstance(message, msg.Invoice) and self._sellers.get(message.session) == peer_id:
            self.executor.quick(self._receive_invoice, peer_id, message)
            if message.ahead:
                self.executor.later(self.decoder.decode, message.ahead)
        else:  # an invoice of nobody's whom we buy from is answered undecoded
            self.runtime.post(cmd.FromPeer(peer=peer_id, message=message))

    def _receive_invoice(self, peer_id: str, message: msg.Invoice) -> None:
        decoded, why = self.decoder.decode(message.bolt11)
        self.runtime.post(cmd.InvoiceReceived(peer=peer_id, message=message, decoded=decoded, why=why))

    def mine(self, message: msg.Message) -> bool:
        """Returns whether a message is for a buyer (both plugins of a node get each message)."""
        if isinstance(message, (msg.Close, msg.Error)):
            return message.by == msg.SELLER
        return not isinstance(message, (msg.Open, msg.Agree, msg.Update))

    def changed(self, core: Buyer, subjects: set[str]) -> None:
        """Answers stream-open once its stream has left opening, and long polls of streams that changed.

        `subjects` are streams' ids."""
        streams = core.state.streams
        if len(streams) != len(self._sellers) or any(subject not in self._sellers for subject in subjects):
            self._publish_sellers(core.state)
        self.long_polls.changed(subjects, lambda session: self.relay_view(core, session))
        for session in list(self.opening):
            stream = streams.get(session)
            if stream is None or stream.state != StreamState.OPENING:
                self.opening.pop(session)(views.stream_status(stream) if stream is not None else None)

    def relay_view(self, core: Buyer, session: str) -> RelayView | None:
        """Return what the buyer's own board has to know of a stream, None where it is no more."""
        stream = core.state.streams.get(session)
        return RelayView(state=stream.state.value, relay=stream.relay) if stream is not None else None


def main() -> None:
    """Runs the buyer's plugin; plugins/stream/stream.py calls it."""
    StreamPlugin().run()
