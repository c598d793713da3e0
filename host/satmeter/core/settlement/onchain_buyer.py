"""On-chain settlement on the buyer's side; onchain_seller.py has the seller's side.

Each update of a growing transaction is recorded before the wallet signs it, so that a crash never
leads to a lower or a forked one.

An update is signed only over the inputs of the one before, for exactly one step more, to the address
agreed at the transaction's beginning, at a feerate within the cap, with the change to the buyer. An
update is in flight, and counts as spent, until the seller's answer or its receipt counts it."""

from dataclasses import replace
from itertools import combinations

from .. import commands as cmd
from .. import effects as do
from .. import messages as msg
from .. import receipt
from ..buyer import events as ev
from ..buyer import policy
from ..buyer.context import Part
from ..buyer.session import BuyerSession
from ..errors import OverCap, PolicyBreach
from ..ratelimit import backoff_ms
from ..states import StreamState
from ..tariff import Tariff
from .rules import ONCHAIN
from .transaction import DUST_SAT

RENEW_MS = 1_800_000
RESERVED_BLOCKS, LEFT_BLOCKS = 72, 1008
"""How long inputs stay reserved: while a stream runs (renewed), and after it where the seller can still take them."""
FUND_MS = 10_000
ASTRAY_MOST = 1
MAY_COUNT = 8
"""Updates that a receipt may count though nothing was heard of them; there is seldom more than one."""
SIGN_MS, SIGN_MOST_MS = 2_000, 60_000


class OnchainBuyer(Part):
    """See base.BuyerSettlement: updates of growing transactions, and the inputs under them."""

    def increment(self, stream: BuyerSession, message: msg.Increment) -> None:
        """The seller asks for an update: sign it where it is due and as agreed.

        Raises:
            PolicyBreach: It is not as agreed.
        """
        tariff = stream.tariff
        if tariff is None or tariff.settlement != ONCHAIN:
            return
        signed = message.number in stream.in_flight or message.number in stream.astray
        if not stream.pays or (stream.was_handled(message.number) and not signed):
            return
        if not signed and (
            message.number < stream.newest_number or self.context.sensor.waited_for(stream, message.ticks)
        ):
            return  # a message may come late: the seller has asked for another since, and waits for this one no more
        self.context.payments.check_count(stream, tariff, message)
        if signed:
            self._sign_again(stream)
        elif stream.in_flight:
            stream.memory.later = message  # it waits until the last update is counted
            self._sign_again(stream)
        elif stream.signed is not None and message.tx_number == stream.signed.number:
            self._sign(stream, tariff, message)
        elif stream.memory.increment is None or self.now >= stream.memory.funding_at + FUND_MS:
            self._fund(stream, tariff, message)

    def _counts(self, stream: BuyerSession, number: int) -> None:
        payment = stream.in_flight[number] if number in stream.in_flight else stream.astray[number]
        self.emit(ev.PaymentSettled(at=self.now, subject=stream.id, number=number, sent_msat=payment.most_msat))
        if stream.payments == 1:
            self.context.notify(stream)

    def _gone_astray(self, stream: BuyerSession) -> None:
        """Marks updates in flight as astray: the seller does not count them, and they stay spent.

        They can still be broadcast. It happens with an honest seller, too, that broadcasts while an
        update is on its way. More than ASTRAY_MOST such updates end the stream."""
        for number in list(stream.in_flight):
            self.emit(ev.UpdateStrayed(at=self.now, subject=stream.id, number=number))
        if len(stream.astray) > ASTRAY_MOST and stream.state == StreamState.STREAMING:
            self.context.closing.begin(stream, f"the seller has {len(stream.astray)} updates that it does not count")

    def taken(self, stream: BuyerSession, message: msg.Taken) -> None:
        """The seller says what the update in flight counts for."""
        known = stream.in_flight.get(message.number) or stream.astray.get(message.number)
        if known is not None and message.amount_msat == known.amount_msat:
            self._counts(stream, message.number)
        elif message.number in stream.in_flight:
            self._gone_astray(stream)
        later, stream.memory.later = stream.memory.later, None
        if later is not None:
            self.increment(stream, later)
        if stream.state == StreamState.CLOSING and not stream.in_flight:
            self.context.closing.close_when_landed(stream)

    def _fund(self, stream: BuyerSession, tariff: Tariff, message: msg.Increment) -> None:
        if message.tx_number != stream.transactions + 1:
            raise PolicyBreach(
                f"transaction {message.tx_number} is asked for; {stream.transactions} were signed so far",
                number=message.tx_number,
            )
        elapsed_ms = self.now - stream.agreed_at
        policy.check_new_transaction(
            stream.policy, tariff, message, stream.transactions, stream.credited_msat, elapsed_ms
        )
        stream.memory.funding_at, stream.memory.increment = self.now, message
        self.act(
            do.Fund(
                session=stream.id,
                tx_number=message.tx_number,
                address=message.address,
                maximum_sat=self._maximum(stream, tariff),
                feerate=message.feerate,
            )
        )

    def _maximum(self, stream: BuyerSession, tariff: Tariff) -> int:
        """What the next transaction may come to, in sat: no more of the wallet than the budget has left."""
        return min(tariff.hold_msat, max(0, stream.policy.budget_msat - stream.sent_msat - stream.astray_msat)) // 1000

    def funded(self, command: cmd.Funded) -> None:
        """The wallet has found inputs: the transaction can begin, if it is still wanted."""
        stream = self.state.streams.get(command.session)
        message = stream.memory.increment if stream is not None else None
        if stream is None or stream.tariff is None or message is None or not self._wanted(stream, message, command):
            self.act(do.Reserve(inputs=tuple(each.outpoint for each in command.inputs), blocks=0))
            return
        maximum = self._maximum(stream, stream.tariff)
        event = ev.InputsChosen(
            at=self.now,
            subject=stream.id,
            tx_number=command.tx_number,
            address=message.address,
            feerate=message.feerate,
            fee_sat=command.fee_sat,
            maximum_sat=maximum,
            change=command.change,
            inputs=command.inputs,
        )
        self.emit(event)
        stream.memory.increment, stream.memory.renewed_at = None, self.now
        try:
            self._sign(stream, stream.tariff, message)
        except (PolicyBreach, OverCap) as error:
            self.context.payments.breach(stream, error, message.number)

    def _wanted(self, stream: BuyerSession, message: msg.Increment, command: cmd.Funded) -> bool:
        same = message.tx_number == command.tx_number == stream.transactions + 1
        return same and stream.pays and not stream.was_handled(message.number)

    def funds_short(self, command: cmd.FundsShort) -> None:
        """The wallet has too little: the stream ends."""
        stream = self.state.streams.get(command.session)
        if stream is None or stream.state != StreamState.STREAMING:
            return
        if stream.memory.increment is not None and stream.memory.increment.tx_number == command.tx_number:
            stream.memory.increment = None
            self.context.closing.begin(stream, f"no funds: {msg.words(command.why)}")

    # --- an update

    def _sign(self, stream: BuyerSession, tariff: Tariff, message: msg.Increment) -> None:
        transaction = stream.signed
        if transaction is None or stream.in_flight:
            return
        step, odd = divmod(message.amount_msat, 1000)
        if (message.address, message.feerate) != (transaction.address, transaction.feerate):
            raise PolicyBreach(
                f"transaction {transaction.number} goes to {transaction.address} at {transaction.feerate}; "
                f"asked for {message.address}"
            )
        if odd or step < 1 or message.value_sat != transaction.value_sat + step:
            raise PolicyBreach(
                f"an update of {message.value_sat} sat after one of {transaction.value_sat}, for a step of {step}"
            )
        fee = 0 if transaction.value_sat else transaction.fee_sat * 1000
        try:
            self.context.payments.check_due(stream, tariff, message, stream.credited_msat)
            self.context.payments.check_caps(stream, message.amount_msat, fee)
            if transaction.maximum_sat < message.value_sat <= tariff.hold_msat // 1000:
                raise OverCap(f"the budget had {transaction.maximum_sat} sat for this transaction when it began")
        except OverCap as error:
            self.context.payments.over_cap(stream, error, message.number)
            return
        if not DUST_SAT <= message.value_sat <= transaction.maximum_sat:
            raise PolicyBreach(
                f"an update of {message.value_sat} sat; from {DUST_SAT} to {transaction.maximum_sat} was agreed"
            )
        self.emit(
            ev.UpdateSigned(
                at=self.now,
                subject=stream.id,
                number=message.number,
                tx_number=transaction.number,
                value_sat=message.value_sat,
                amount_msat=message.amount_msat,
                fee_msat=fee,
                ticks=message.ticks,
            )
        )
        stream.memory.raw, stream.memory.update_tries = "", 0
        self._sign_again(stream)

    def _sign_again(self, stream: BuyerSession) -> None:
        """Send the update in flight; its signature is made again where we have it no more."""
        transaction = stream.signed
        if transaction is None or not self._out(stream, transaction.request):
            return
        if stream.memory.raw:
            self._send_update(stream)
        else:
            self.act(
                do.SignUpdate(
                    session=stream.id,
                    number=transaction.request,
                    transaction=replace(transaction),
                    value_sat=transaction.value_sat,
                )
            )

    def _out(self, stream: BuyerSession, number: int) -> bool:
        return number in stream.in_flight or number in stream.astray

    def update_made(self, command: cmd.UpdateMade) -> None:
        """The wallet has signed."""
        stream = self.state.streams.get(command.session)
        transaction = stream.signed if stream is not None else None
        if stream is None or transaction is None or not self._out(stream, command.number):
            return
        if (transaction.number, transaction.request) == (command.tx_number, command.number):
            stream.memory.raw = command.raw
            self._send_update(stream)

    def _send_update(self, stream: BuyerSession) -> None:
        transaction = stream.signed
        assert transaction is not None
        heights = ",".join(str(each.height) for each in transaction.inputs)
        stream.memory.update_at, stream.memory.update_tries = self.now, stream.memory.update_tries + 1
        self.context.send(
            stream,
            msg.Update,
            number=transaction.request,
            tx_number=transaction.number,
            raw=stream.memory.raw,
            heights=heights,
        )

    def update_unsigned(self, command: cmd.UpdateUnsigned) -> None:
        """The wallet does not sign. What was recorded stays: no other update of this value may be made."""
        stream = self.state.streams.get(command.session)
        if stream is not None and stream.state == StreamState.STREAMING and command.number in stream.in_flight:
            self.context.closing.begin(stream, f"the wallet does not sign: {msg.words(command.why)}")

    def find_out(self, stream: BuyerSession) -> None:
        """The seller says what it counts; until then an update is sent again (look_after)."""

    def look_after(self, stream: BuyerSession) -> None:
        """Say again what was not answered, and keep the inputs reserved."""
        if stream.signed is None:
            return
        wait = backoff_ms(SIGN_MS, SIGN_MOST_MS, stream.memory.update_tries)
        if stream.in_flight and not stream.closed and self.now >= stream.memory.update_at + wait:
            stream.memory.update_at, stream.memory.update_tries = self.now, stream.memory.update_tries + 1
            self._sign_again(stream)
        if not stream.closed and self.now >= stream.memory.renewed_at + RENEW_MS:
            self._renew(stream, RESERVED_BLOCKS)

    def _renew(self, stream: BuyerSession, blocks: int) -> None:
        """Keep the inputs reserved, those of earlier transactions, too: they may be stuck, and no double spends."""
        if stream.signed is not None:
            stream.memory.renewed_at = self.now
            earlier = tuple(outpoint for outpoints in stream.earlier_inputs for outpoint in outpoints)
            if blocks:
                self.act(do.Reserve(inputs=(*earlier, *stream.signed.outpoints), blocks=blocks))
            else:
                self.act(do.Reserve(inputs=stream.signed.outpoints, blocks=0))
                self.act(do.Reserve(inputs=earlier, blocks=LEFT_BLOCKS))

    def reconcile(self, stream: BuyerSession, stated: receipt.Statement) -> None:
        """A signed receipt says what the seller took: what it does not count, it did not take."""
        lost = stated["onchain"]["lost_msat"] if "onchain" in stated else 0
        left = stated["paid_msat"] + lost - stream.carried_msat - stream.paid_msat
        amounts = {number: each.amount_msat for number, each in {**stream.in_flight, **stream.astray}.items()}
        for number in _adding_up(left, amounts):
            self._counts(stream, number)
        self._gone_astray(stream)

    def release(self, stream: BuyerSession) -> None:
        """Keeps or frees the reserved inputs of a stream that ended.

        Inputs under an update that the seller may hold stay reserved for LEFT_BLOCKS more; others are
        freed. Without a receipt, an update in flight counts as taken. An older copy of the journal does not know what
        was signed since."""
        if stream.signed is None:
            return
        for number, payment in [] if stream.closing.receipt else list(stream.in_flight.items()):
            self.emit(ev.PaymentSettled(at=self.now, subject=stream.id, number=number, sent_msat=payment.most_msat))
        self._renew(stream, LEFT_BLOCKS if stream.signed.value_sat or self.context.older else 0)


def _adding_up(total: int, amounts: dict[int, int]) -> list[int]:
    """Return the numbers of those amounts that add up to a total, [] where none do; there are few."""
    newest = list(amounts.items())[-MAY_COUNT:]
    for size in range(1, len(newest) + 1):
        for some in combinations(newest, size):
            if sum(amount for _, amount in some) == total:
                return [number for number, _ in some]
    return []
