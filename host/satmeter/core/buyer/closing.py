"""The end of a stream: from the wish to close it to the close that its seller is told."""

from .. import commands as cmd
from .. import effects as do
from .. import messages as msg
from ..errors import Refused
from ..labels import refund_label
from ..states import StreamState
from . import events as ev
from . import policy
from .context import Part
from .session import UNHEARD, BuyerSession

LAND_MS = 10_000
REFUNDS = 50
"""Refund invoices of a stream that a seller may have made by its word that it can't pay the last one."""
REFUND_MS = 29 * 86_400_000
"""Refund invoices are made for 30 days (plugin/stream.py)."""


class Closing(Part):
    """What follows when a stream ends, whoever ended it."""

    def close(self, command: cmd.CloseStream) -> BuyerSession:
        """stream-close."""
        stream = self.context.stream(command.session)
        if stream.state == StreamState.OPENING:
            self.context.send(stream, msg.Close, by=msg.BUYER, reason=command.reason)
            self.end(stream, command.reason)
        elif stream.running:
            self.begin(stream, command.reason)
        if command.refuse_debt and stream.arrears and not stream.debt_refused:
            self.emit(ev.DebtRefused(at=self.now, subject=stream.id))
            self.context.notify(stream, why="nothing more is paid")
        return stream

    def begin(self, stream: BuyerSession, reason: str) -> None:
        """Begin to close a running stream."""
        self._closing(stream, reason)
        stream.memory.closing_at = self.now
        self.context.notify(stream, why=reason)
        self.close_when_landed(stream)

    def bound(self, stream: BuyerSession, reason: str) -> None:
        """However a stream in arrears comes to its end: from here on what it may pay is bounded."""
        if stream.arrears and stream.after_close is None:
            self._closing(stream, reason)

    def _closing(self, stream: BuyerSession, reason: str) -> None:
        most_msat, most_ticks = self._most_after_close(stream)
        self.emit(
            ev.StreamClosing(
                at=self.now, subject=stream.id, reason=reason[:300], most_msat=most_msat, most_ticks=most_ticks
            )
        )

    def _most_after_close(self, stream: BuyerSession) -> tuple[int | None, int | None]:
        """Returns the most that a stream may pay after its close (msat), and up to which count.

        Both are None in prepaid, and before terms are agreed. The msat are of the whole stream, paid and
        in flight included. The buyer does not pay for use after the close: at most the tariff's limit is
        added, and no ticks beyond its own sensor's, within the tolerance. The count is None without such
        a sensor. It is UNHEARD where the sensor was heard before our restart and not since: then nothing
        is paid until its first reading, which is the count."""
        tariff = stream.tariff
        if tariff is None or tariff.prepaid:
            return None, None
        most_ticks = UNHEARD if stream.sensor.boot else None
        if stream.own_ticks is not None:
            most_ticks = policy.most_ticks(stream.policy, stream.own_ticks)
        return stream.committed_msat + tariff.limit_msat, most_ticks

    def close_when_landed(self, stream: BuyerSession) -> None:
        """Sends close to the seller once no payment is in flight, or after LAND_MS of waiting.

        In arrears it is sent at once, since use goes on to be owed until the seller knows of the close.
        If no refund invoice can be sent, the node is asked to make one first. Nothing is done before
        the stream closes."""
        prepaid = stream.tariff is not None and stream.tariff.prepaid
        waits = stream.in_flight and self.now < stream.memory.closing_at + LAND_MS and prepaid
        if stream.state not in (StreamState.CLOSING, StreamState.CLOSED) or waits:
            return
        if self.refundable(stream):
            self._say_close(stream)
        else:
            self.act(do.MakeRefundInvoice(label=refund_label(stream.id, stream.refund_made), session=stream.id))

    def refundable(self, stream: BuyerSession) -> bool:
        """Whether the seller can still pay the refund invoice that it has, or may be sent."""
        usable = stream.refund_bolt11 not in ("", stream.memory.refund_refused)
        return usable and self.now < stream.refund_at + REFUND_MS

    def make_another(self, stream: BuyerSession) -> None:
        """The seller has used up the refund invoice that it was given: our node makes another."""
        if stream.refund_made < REFUNDS:
            stream.memory.refund_refused = stream.refund_bolt11
            self.close_when_landed(stream)

    def refund_made(self, command: cmd.RefundInvoiceMade) -> None:
        """Our node has made the invoice by which a refund can reach us."""
        stream = self.state.streams.get(command.session)
        if stream is None or self.refundable(stream):
            return
        self.emit(ev.RefundInvoiced(at=self.now, subject=stream.id, bolt11=command.bolt11))
        self._say_close(stream)

    def _say_close(self, stream: BuyerSession) -> None:
        self.context.send(
            stream,
            msg.Close,
            by=msg.BUYER,
            reason=stream.reason,
            paid_msat=stream.credited_msat,
            bolt11=stream.refund_bolt11,
        )

    def asked_by_seller(self, stream: BuyerSession, message: msg.Close) -> None:
        """The seller ends the session."""
        if stream.state == StreamState.OPENING:
            self.end(stream, f"the seller closed: {msg.words(message.reason)}", Refused.code)
        elif stream.running:
            self.begin(stream, msg.words(message.reason))
        else:
            self.close_when_landed(stream)

    def end(self, stream: BuyerSession, why: str, code: int = 0) -> None:
        """End a stream that has no receipt to wait for."""
        stream.memory.touched_at = self.now
        self.bound(stream, why)
        self.emit(
            ev.StreamClosed(
                at=self.now,
                subject=stream.id,
                code=code,
                revision=0,
                text="",
                signature="",
                verified=False,
                why=why[:500],
                arrivals_msat={},
                carried_on_msat=0,
            )
        )
        self.context.settlement(stream).release(stream)
        self.context.notify(stream, why=why)
