"""Sellers: what they say, and how connections to them come and go."""

from collections.abc import Callable

from .. import commands as cmd
from .. import effects as do
from .. import messages as msg
from ..errors import BadParam, BadUpdate, OverCap, Refused, SatmeterError, UnknownSession, Unreachable, by_code
from ..ratelimit import RESEND_MS
from ..states import StreamState
from .context import Part
from .session import BuyerSession

EVIDENCE_MOST = 4_096
"""Characters of an invoice that are kept as evidence: a whole one, so that its signature proves it."""


class Peers(Part):
    """Messages of sellers, and their connections."""

    def lost(self, command: cmd.PeerLost) -> None:
        """The connection to a seller is gone: reach for it again now, and at every ask until it is back."""
        address, due = "", False
        for stream in self.state.streams.values():
            if stream.seller == command.peer and stream.unsettled:
                due = due or not stream.memory.cut_off or self.now >= stream.memory.asked_at + RESEND_MS
                address, stream.memory.cut_off, stream.memory.asked_at = stream.address, True, self.now
        if due:
            self.act(do.Connect(peer=command.peer, address=address))

    def connected(self, command: cmd.PeerConnected) -> None:
        """A seller is back: it is told again what it may have missed."""
        for stream in self.state.streams.values():
            if stream.seller == command.peer and stream.unsettled:
                stream.memory.cut_off = False
                self.context.streams.ask_again(stream)

    def invoice(self, command: cmd.InvoiceReceived) -> None:
        """A seller's invoice, with what our node found in it."""
        stream = self._of(command.peer, command.message)
        if stream is not None:
            self._heard(
                stream,
                command.message,
                lambda: self.context.lightning.invoice(stream, command.message, command.decoded, command.why),
            )

    def message(self, command: cmd.FromPeer) -> None:
        """Any other message of a seller."""
        message = command.message
        if isinstance(message, msg.Receipt) and message.session not in self.state.streams:
            news = self.context.receipts.is_news(command.peer, message)
            old = self.context.receipts.recalled(message.session, command.peer) if news else None
            if old is not None:
                self.context.receipts.check(old, message)
                return
        stream = self._of(command.peer, message)
        if stream is not None:
            self._heard(stream, message, lambda: self._take(stream, message))

    def _of(self, peer: str, message: msg.Message) -> BuyerSession | None:
        """Return the stream of a seller's message; of another's, say that there is none."""
        stream = self.state.streams.get(message.session)
        if stream is not None and stream.seller == peer:
            return stream
        if not isinstance(message, msg.Error):
            text = "no such session here"
            self.act(
                do.Send(peer=peer, message=msg.Error(message.session, self.now, msg.BUYER, UnknownSession.code, text))
            )
        return None

    def _heard(self, stream: BuyerSession, message: msg.Message, take: Callable[[], None]) -> None:
        """Take a message of a live stream. What it breaks stops the payments, with the message as evidence."""
        stream.memory.heard_at, stream.memory.tries, stream.memory.cut_off = self.now, 0, False
        try:
            take()
        except SatmeterError as error:
            number, text = getattr(message, "number", 0), str(getattr(message, "bolt11", ""))[:EVIDENCE_MOST]
            self.context.payments.breach(stream, error, number, message=text)

    def _take(self, stream: BuyerSession, message: msg.Message) -> None:
        if isinstance(message, msg.Terms):
            self.context.terms.told(stream, message)
        elif isinstance(message, msg.Increment):
            self.context.onchain.increment(stream, message)
        elif isinstance(message, msg.Taken):
            self.context.onchain.taken(stream, message)
        elif isinstance(message, msg.Low):
            self._low(stream, message)
        elif isinstance(message, msg.Close):
            self.context.closing.asked_by_seller(stream, message)
        elif isinstance(message, msg.Receipt):
            self.context.receipts.told(stream, message)
        elif isinstance(message, msg.Error):
            self._error(stream, message)

    def _low(self, stream: BuyerSession, message: msg.Low) -> None:
        stream.memory.credit_msat = message.credit_msat
        self.act(
            do.Notify(
                topic="stream_low",
                payload={"session": stream.id, "credit_msat": message.credit_msat, "ticks": message.ticks},
            )
        )

    def _error(self, stream: BuyerSession, message: msg.Error) -> None:
        if message.code == BadUpdate.code and stream.state == StreamState.STREAMING:
            self.context.closing.begin(stream, f"the seller refused an update: {msg.words(message.text)}")
            return
        if stream.state == StreamState.OPENING:
            # What only we can say of ourselves is no word of a seller's.
            code = Refused.code if message.code in (0, OverCap.code, Unreachable.code) else message.code
            self.context.closing.end(stream, f"{by_code(code).__name__}: {msg.words(message.text)}", code)
        elif message.code == UnknownSession.code and not stream.closed and (stream.signed or not stream.in_flight):
            why = f"the seller does not know the session any more: {msg.words(message.text)}"
            self.context.closing.end(stream, why)
        elif message.code == BadParam.code and stream.ending:
            self.context.closing.make_another(stream)
