"""Lightning settlement on the buyer's side: each invoice that is due is paid, once.

A payment is PaymentStarted before the node is asked to pay, and stays in flight, counted as spent with its highest fee,
until the node says what became of it (buyer/outcomes.py).
"""

from .. import commands as cmd
from .. import effects as do
from .. import messages as msg
from .. import receipt
from ..buyer import events as ev
from ..buyer import policy
from ..buyer.context import Part
from ..buyer.session import BuyerSession
from ..errors import ClockWrong, OverCap, PolicyBreach
from ..states import StreamState
from ..tariff import Tariff
from .rules import LIGHTNING, payments_at_once

EXPIRED_S, EXPIRED_AGAIN_MS = 10, 10_000
"""A message may take so long; an invoice that expired earlier than that was made by another clock, or is an old one:
then its seller makes another within this time."""


class LightningBuyer(Part):
    """See base.BuyerSettlement."""

    def invoice(self, stream: BuyerSession, message: msg.Invoice, decoded: cmd.DecodedInvoice | None, why: str) -> None:
        """Pay an invoice that is due and as agreed; one that is not yet payable is left, since it is sent again.

        Raises:
            PolicyBreach: It is not as agreed.
        """
        number = message.number
        handled = stream.was_handled(number) or number in stream.in_flight
        if handled or stream.tariff is None or not stream.pays:
            return
        if stream.tariff.settlement != LIGHTNING:
            raise PolicyBreach("a Lightning invoice, where on-chain settlement was agreed")
        if len(stream.in_flight) >= payments_at_once(stream.tariff.window):
            return
        self.context.payments.check_count(stream, stream.tariff, message)
        if decoded is None:
            raise PolicyBreach(f"an invoice that the node can't decode: {why}")
        if decoded.expires_at <= self.now:
            self._expired(stream, number, decoded)
        elif not self.context.sensor.waited_for(stream, message.ticks):
            self._pay(stream, stream.tariff, message, decoded)

    def _pay(self, stream: BuyerSession, tariff: Tariff, message: msg.Invoice, decoded: cmd.DecodedInvoice) -> None:
        known = self.state.hashes.get(decoded.payment_hash)
        try:
            policy.check_invoice(stream.policy, stream.seller, message.amount_msat, decoded)
            if known not in (None, (stream.id, message.number)):
                why = f"the invoice has the hash of one that was asked for before: {known}"
                raise PolicyBreach(why, hash=decoded.payment_hash)
            self.context.payments.check_due(stream, tariff, message, stream.credited_msat)
            self.context.payments.check_caps(stream, message.amount_msat, stream.fee_left_msat)
        except OverCap as error:
            self.context.payments.over_cap(stream, error, message.number)
            return
        try:
            self.context.payments.check_due(stream, tariff, message, stream.committed_msat)
        except (PolicyBreach, OverCap):
            return  # too much only beside a payment that hangs, which the seller can't know of: it asks again
        stream.memory.expired_number = 0
        # In the lost part of a journal its payment may have begun: then it is our own.
        self._start(stream, message, decoded, fresh=known is None and not stream.of_older)

    def _start(self, stream: BuyerSession, message: msg.Invoice, decoded: cmd.DecodedInvoice, fresh: bool) -> None:
        fee = stream.fee_left_msat
        self.emit(
            ev.PaymentStarted(
                at=self.now,
                subject=stream.id,
                number=message.number,
                amount_msat=message.amount_msat,
                maxfee_msat=fee,
                payment_hash=decoded.payment_hash,
                ticks=message.ticks,
            )
        )
        self.act(
            do.Pay(
                session=stream.id,
                seller=stream.seller,
                number=message.number,
                attempt=stream.attempts,
                payment_hash=decoded.payment_hash,
                maxfee_msat=fee,
                maxdelay=stream.policy.maxdelay,
                invoice=decoded,
                fresh=fresh,
            )
        )

    def _expired(self, stream: BuyerSession, number: int, decoded: cmd.DecodedInvoice) -> None:
        """Ends the stream with ClockWrong where expired invoices show that the two clocks differ.

        One such invoice may be an old one that was delayed. The clocks differ where it is the first
        invoice of a stream, the second expired one in a row, or still comes after EXPIRED_AGAIN_MS:
        then none can ever be paid. An invoice that is less than EXPIRED_S late, or that comes after a
        close, is ignored."""
        late_s = (self.now - decoded.expires_at) // 1000
        if late_s < EXPIRED_S or stream.state in (StreamState.CLOSING, StreamState.CLOSED):
            return
        memory = stream.memory
        since = memory.expired_at if memory.expired_number == number else self.now
        paid, only = stream.payments or stream.carried_msat, memory.expired_number in (0, number)
        if paid and only and self.now < since + EXPIRED_AGAIN_MS:
            memory.expired_number, memory.expired_at = number, since
            return
        text = f"the invoice expired {late_s} s before it came: the seller's clock is behind, or ours is ahead"
        self.context.payments.breach(stream, ClockWrong(text), number)

    def find_out(self, stream: BuyerSession) -> None:
        """Find out what became of payments that are in flight, or were given up."""
        for number, payment in {**stream.in_flight, **stream.astray}.items():
            self.act(
                do.Pay(
                    session=stream.id,
                    seller=stream.seller,
                    number=number,
                    attempt=payment.attempt,
                    payment_hash=payment.payment_hash,
                    maxfee_msat=payment.maxfee_msat,
                    maxdelay=stream.policy.maxdelay,
                )
            )

    def look_after(self, stream: BuyerSession) -> None:
        """Nothing has to be said again: the node pays, and tells the outcome."""

    def reconcile(self, stream: BuyerSession, stated: receipt.Statement) -> None:
        """What was paid the node knows, whatever a receipt says."""

    def release(self, stream: BuyerSession) -> None:
        """Nothing of the wallet is reserved."""
