"""Outcomes: what became of each payment, as the node says."""

from .. import commands as cmd
from .. import messages as msg
from ..errors import PolicyBreach, WrongState
from ..states import StreamState
from . import events as ev
from .context import Part
from .session import BuyerSession, PaymentInFlight


class Outcomes(Part):
    """A payment that was started is paid, lost or given up."""

    def paid(self, command: cmd.PaymentDone) -> None:
        """The node has paid."""
        stream = self.state.streams.get(command.session)
        payment = self._payment(stream, command.number)
        if stream is not None and payment is not None and payment.payment_hash == command.payment_hash:
            self.emit(
                ev.PaymentSettled(at=self.now, subject=stream.id, number=command.number, sent_msat=command.sent_msat)
            )
            if stream.payments == 1:
                self.context.notify(stream)
            self.landed(stream)

    def landed(self, stream: BuyerSession) -> None:
        """A payment is not in flight any more: a close may have waited for it."""
        if stream.state == StreamState.CLOSING:
            self.context.closing.close_when_landed(stream)

    def give_up(self, command: cmd.GiveUpPayment) -> BuyerSession:
        """stream-giveup."""
        stream = self.context.stream(command.session)
        if command.number not in stream.in_flight or not stream.in_flight[command.number].payment_hash:
            raise WrongState(f"n: stream {stream.id} has no payment {command.number} in flight")
        self.emit(ev.PaymentGivenUp(at=self.now, subject=stream.id, number=command.number))
        self.landed(stream)
        return stream

    def known(self, command: cmd.PaymentKnown) -> None:
        """The node had paid this hash before our first try, for something else: nothing was paid for this invoice."""
        stream = self.state.streams.get(command.session)
        if stream is None or not self._is_newest(stream, command.number, command.attempt):
            return
        known = stream.in_flight[command.number].payment_hash
        why = "the node had paid this hash before"
        self.emit(ev.PaymentFailed(at=self.now, subject=stream.id, number=command.number, why=why))
        breach = PolicyBreach("the invoice has a hash that the node paid before", hash=known)
        self.context.payments.breach(stream, breach, command.number)
        self.landed(stream)

    def lost(self, command: cmd.PaymentLost) -> None:
        """Nothing was paid, or will be."""
        stream = self.state.streams.get(command.session)
        if stream is None or not self._is_newest(stream, command.number, command.attempt):
            return
        self.emit(ev.PaymentFailed(at=self.now, subject=stream.id, number=command.number, why=msg.words(command.why)))
        self.landed(stream)

    def _payment(self, stream: BuyerSession | None, number: int) -> PaymentInFlight | None:
        """Returns the payment of this number that may still be told as paid, or None."""
        if stream is None:
            return None
        return stream.in_flight.get(number) or stream.astray.get(number)

    def _is_newest(self, stream: BuyerSession, number: int, attempt: int) -> bool:
        """Returns whether a try is the one in flight: an answer that comes twice, or late, ends no other try."""
        payment = stream.in_flight.get(number)
        return payment is not None and payment.attempt == attempt
