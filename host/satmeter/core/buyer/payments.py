"""Payments: invoices against the policy. Also what both ways of settlement check before anything is paid.

A payment is PaymentStarted before the node is asked to pay, and stays in flight, counted as spent with its highest fee,
until the node says what became of it (outcomes.py).
"""

from .. import commands as cmd
from .. import effects as do
from .. import messages as msg
from ..errors import ClockWrong, OverCap, PolicyBreach, SatmeterError
from ..settlement.rules import LIGHTNING, payments_at_once
from ..states import StreamState
from ..tariff import Tariff
from . import events as ev
from . import policy
from .context import Part
from .session import BuyerSession

EXPIRED_S, EXPIRED_AGAIN_MS = 10, 10_000
"""A message may take so long; an invoice that expired earlier than that was made by another clock, or is an old one:
then its seller makes another within this time."""


class Payments(Part):
    """What a stream costs, and whether it is paid."""

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
        self.check_count(stream, stream.tariff, message)
        if decoded is None:
            raise PolicyBreach(f"an invoice that the node can't decode: {why}")
        if decoded.expires_at <= self.now:
            self._expired(stream, number, decoded)
        elif not self.context.sensor.silent(stream):
            self._pay(stream, stream.tariff, message, decoded)

    def _pay(self, stream: BuyerSession, tariff: Tariff, message: msg.Invoice, decoded: cmd.DecodedInvoice) -> None:
        known = self.state.hashes.get(decoded.payment_hash)
        try:
            policy.check_invoice(stream.policy, stream.seller, message.amount_msat, decoded)
            if known not in (None, (stream.id, message.number)):
                why = f"the invoice has the hash of one that was asked for before: {known}"
                raise PolicyBreach(why, hash=decoded.payment_hash)
            self.check_due(stream, tariff, message, stream.credited_msat)
            self.check_caps(stream, message.amount_msat, stream.fee_left_msat)
        except OverCap as error:
            self.over_cap(stream, error, message.number)
            return
        try:
            self.check_due(stream, tariff, message, stream.committed_msat)
        except (PolicyBreach, OverCap):
            return  # too much only beside a payment that hangs, which the seller can't know of: it asks again
        stream.memory.expired_number = 0
        self._start(stream, message, decoded, fresh=known is None)

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
                payment_hash=decoded.payment_hash,
                maxfee_msat=fee,
                maxdelay=stream.policy.maxdelay,
                invoice=decoded,
                fresh=fresh,
            )
        )

    def check_count(self, stream: BuyerSession, tariff: Tariff, message: msg.Invoice | msg.Increment) -> None:
        """Check the count that a message states against the newest one told before; messages may overtake another.

        After our restart only the count of the newest payment is known, and not that message's sequence: until as much
        is told again, a message that states less may be an earlier one. What it asks for is due by the known count."""
        memory = stream.memory
        last, since = (memory.told_ticks, memory.told_at) if memory.told_at else (stream.ticks, stream.ticks_at)
        if message.ticks < last and (not memory.told_at or message.seq < memory.told_sequence):
            return
        policy.check_progress(tariff, message.ticks, last, self.now - since)
        policy.check_progress(tariff, message.ticks, 0, self.now - stream.agreed_at)
        memory.told_ticks, memory.told_at = message.ticks, self.now
        memory.told_sequence = max(memory.told_sequence, message.seq)

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
        self.breach(stream, ClockWrong(text), number)

    def check_due(self, stream: BuyerSession, tariff: Tariff, message: msg.Invoice | msg.Increment, paid: int) -> None:
        """Raise PolicyBreach or OverCap for a demand that is not due, with `paid` msat paid without it."""
        ticks = max(message.ticks, stream.memory.told_ticks, stream.ticks)
        charged = max(message.charged_msat, tariff.charge(ticks))
        policy.check_amount(stream.policy, tariff, message.amount_msat, paid, ticks, charged)
        policy.check_pace(stream.policy, tariff, paid + message.amount_msat, self.now - stream.agreed_at)
        if stream.own_ticks is not None and stream.state == StreamState.STREAMING:
            policy.check_sensor(stream.policy, ticks, stream.own_ticks)
        if not tariff.prepaid:
            self._check_debt(stream, tariff, message, charged, paid)

    def _check_debt(
        self, stream: BuyerSession, tariff: Tariff, message: msg.Invoice | msg.Increment, charged: int, paid: int
    ) -> None:
        """Raises PolicyBreach for a demand that is more than can be owed in arrears, OverCap for one that is too late.

        `charged` is the charge so far, in msat, and `paid` what is paid without this one. No more can
        be owed than the limit, since the board cuts there. After a close, nothing that was used later
        is paid, and no more in all than could be owed at the close (AfterClose). A demand over that is
        no breach: until the seller hears of the close, it trusts the buyer for each payment anew."""
        # The board may pass its grant by a sample, which is not charged: by its ticks more may be claimed, by a slice.
        # Somebody else may have paid an invoice of ours.
        most = max(stream.committed_msat, message.paid_msat) + tariff.limit_msat
        if message.charged_msat > most or charged > most + tariff.slice_msat:
            raise PolicyBreach(
                f"{charged} msat claimed; {stream.committed_msat} are paid, and the limit is {tariff.limit_msat}"
            )
        bound = stream.after_close
        if bound is None:
            return
        if paid + message.amount_msat > bound.most_msat:
            left = f"{stream.may_still_pay_msat} of {bound.most_msat} in all are left"
            raise OverCap(f"{message.amount_msat} msat asked after the close; {left}")
        if bound.most_ticks is not None and bound.most_ticks < message.ticks:
            raise PolicyBreach(
                f"{message.ticks} ticks claimed; the own sensor had at most {bound.most_ticks} at the close"
            )

    def check_caps(self, stream: BuyerSession, amount: int, fee: int) -> None:
        """Raise OverCap where `amount` and `fee` (msat) are more than a cap of ours."""
        most = amount + fee
        if amount > stream.policy.max_invoice_msat:
            raise OverCap(f"an invoice of {amount} msat is over the cap of {stream.policy.max_invoice_msat}")
        spent = stream.sent_msat + stream.astray_msat + stream.in_flight_msat
        if spent + most + stream.kept_back_msat > stream.policy.budget_msat:
            raise OverCap(f"the budget of {stream.policy.budget_msat} msat is used up")
        if stream.policy.day_msat and self.state.spent_on(self.now) + most > stream.policy.day_msat:
            raise OverCap(f"the day's budget of {stream.policy.day_msat} msat is used up")

    def breach(self, stream: BuyerSession, error: SatmeterError, number: int, **evidence: str | int) -> None:
        """Stop paying, say why, keep the evidence."""
        self.context.refuse(stream, number, error.message, {**error.data, **evidence, "error": error.name})
        self.context.send(
            stream, msg.Error, by=msg.BUYER, code=error.code, text=msg.words(error.message), number=number
        )
        self.context.notify(stream, why=error.message)
        if stream.state == StreamState.OPENING:
            self.context.closing.end(stream, f"{error.name}: {error.message}", error.code)
        elif stream.running:
            self.context.closing.begin(stream, f"refused: {error.message}")

    def over_cap(self, stream: BuyerSession, error: OverCap, number: int) -> None:
        """A cap of our own is reached: no breach of the seller's. The stream ends; after a close, this is not paid."""
        self.context.refuse(stream, number, error.message, {"error": error.name})
        if stream.state == StreamState.STREAMING:
            self.context.closing.begin(stream, error.message)
