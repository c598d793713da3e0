"""Payments: what both ways of settlement check before anything is paid, and what a refusal leads to."""

from .. import messages as msg
from ..errors import OverCap, PolicyBreach, SatmeterError
from ..states import StreamState
from ..tariff import Tariff
from . import policy
from .context import Part
from .session import BuyerSession


class Payments(Part):
    """What a stream costs, and whether it is paid."""

    def check_count(self, stream: BuyerSession, tariff: Tariff, message: msg.Invoice | msg.Increment) -> None:
        """Check the count that a message states against the newest one told before; messages may overtake another.

        After our restart only the count of the newest payment is known, not its message's sequence. Until the seller
        states that count again, a message with a lower one may be an earlier message: it is due by the known count."""
        memory = stream.memory
        last, since = (memory.told_ticks, memory.told_at) if memory.told_at else (stream.ticks, stream.ticks_at)
        if message.ticks < last and (not memory.told_at or message.seq < memory.told_sequence):
            return
        if memory.resumed and not memory.told_at:
            self._go_on(stream, tariff, message.ticks, last, since)
        else:
            policy.check_progress(tariff, message.ticks, last, self.now - since)
            start, start_at = (memory.rated_from, memory.rated_at) if memory.rated_at else (0, stream.agreed_at)
            policy.check_progress(tariff, message.ticks, start, self.now - start_at)
            memory.told_at = tariff.paced_ms(since, message.ticks - last, self.now)
        memory.told_ticks = message.ticks
        memory.told_sequence = max(memory.told_sequence, message.seq)

    def _go_on(self, stream: BuyerSession, tariff: Tariff, ticks: int, last: int, since: int) -> None:
        """Takes the first count after our restart, from which on the rating holds.

        How much time has passed is not known: a machine may start with the date at which it was switched off. So
        beyond the rating a count is taken up to what was at risk."""
        at_risk = stream.committed_msat + tariff.slice_msat + tariff.limit_msat
        if ticks > tariff.ticks(at_risk):
            policy.check_progress(tariff, ticks, last, self.now - since)
        memory = stream.memory
        memory.told_at = memory.rated_at = tariff.paced_ms(since, ticks - last, self.now)
        memory.rated_from = ticks

    def check_due(self, stream: BuyerSession, tariff: Tariff, message: msg.Invoice | msg.Increment, paid: int) -> None:
        """Raise PolicyBreach or OverCap for a demand that is not due, with `paid` msat paid without it."""
        ticks = max(message.ticks, stream.memory.told_ticks, stream.ticks)
        charged = max(message.charged_msat, tariff.charge(ticks))
        policy.check_amount(stream.policy, tariff, message.amount_msat, paid, ticks, charged)
        policy.check_pace(stream.policy, tariff, paid + message.amount_msat, self.now - stream.agreed_at)
        if stream.own_ticks is not None and stream.state == StreamState.STREAMING:
            policy.check_sensor(stream.policy, ticks, stream.own_ticks)
        if not tariff.prepaid:
            self._check_debt(stream, tariff, message, charged)
            self._check_after_close(stream, tariff, message.amount_msat, paid, tariff.charge(ticks), charged)

    def _check_debt(
        self, stream: BuyerSession, tariff: Tariff, message: msg.Invoice | msg.Increment, charged: int
    ) -> None:
        """Raises PolicyBreach for a demand that is more than can be owed in arrears: the board cuts at the limit.

        `charged` is the charge so far, in msat."""
        # The board may pass its grant by one sample, which is not charged: so its ticks may come to a slice more.
        # `paid_msat` may be higher than ours: somebody else may have paid an invoice of this stream.
        most = max(stream.committed_msat, message.paid_msat) + tariff.limit_msat
        if message.charged_msat > most or charged > most + tariff.slice_msat:
            raise PolicyBreach(
                f"{charged} msat claimed; {stream.committed_msat} are paid, and the limit is {tariff.limit_msat}"
            )

    def _check_after_close(
        self, stream: BuyerSession, tariff: Tariff, amount: int, paid: int, used: int, charged: int
    ) -> None:
        """Raises OverCap where `amount` beside what is `paid` is more than may be paid after a close.

        That is no more than could be owed at the close, and nothing for ticks beyond those of the own
        sensor at the close (AfterClose). A demand over it is no breach: until the seller hears of the
        close it delivers on, and trusts the buyer for each payment anew. All in msat: `used` is the
        charge for the ticks, `charged` has what was spent at gates, too."""
        bound = stream.after_close
        if bound is None:
            return
        most, ticks = bound.most_msat, stream.ticks_after_close
        if ticks is not None:
            most = min(most, charged - used + tariff.charge(max(0, ticks)))
        if paid + amount > most:
            left = most - stream.committed_msat
            raise OverCap(f"{amount} msat asked after the close; {left} of {most} in all are left")

    def check_caps(self, stream: BuyerSession, amount: int, fee: int) -> None:
        """Raise OverCap where `amount` and `fee` (msat) are more than a cap of ours."""
        most = amount + fee
        if amount > stream.policy.max_invoice_msat:
            raise OverCap(f"an invoice of {amount} msat is over the cap of {stream.policy.max_invoice_msat}")
        spent = stream.sent_msat + stream.astray_msat + stream.in_flight_msat
        if spent + most + stream.kept_back_msat > stream.policy.budget_msat:
            raise OverCap(f"the budget of {stream.policy.budget_msat} msat is used up")
        spent_today = self.state.spent_on(self.now)
        if stream.policy.day_msat and spent_today + most + stream.kept_back_msat > stream.policy.day_msat:
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
