"""Broadcasting on the seller's side: when the highest update of a transaction is sent, and what becomes of it.

Until a transaction is confirmed, its buyer could spend the inputs elsewhere: what is held is what the
seller risks, and the tariff caps it. A conflicting spend ends delivery, locks the buyer out and is
kept as evidence.
"""

from .. import commands as cmd
from .. import effects as do
from .. import messages as msg
from ..seller import events as ev
from ..seller.context import Part
from ..seller.session import SellerSession
from ..states import MeterState
from .transaction import FEES_ROSE, GrowingTransaction

GIVE_UP_BLOCKS = 144
"""Blocks after which a conflicting spend that is in none counts as final all the same."""
SPENDER_BLOCKS, BLOCK_MS = 6, 300_000
"""How far back a spend elsewhere is looked for: so many blocks, and one more for each of these times since the first
update: it is half of what a block takes."""
LOOK_MS, LOST_LOOK_MS, UNANSWERED_MS = 3_000, 30_000, 30_000
"""How often a transaction of ours is looked at, where a spend elsewhere would be a loss."""


class OnchainBroadcasts(Part):
    """One broadcast for each growing transaction, watched until it is as deep as agreed."""

    def look_after(self, session: SellerSession) -> None:
        """Broadcast the growing transaction where that is due, and look after those that are on their way."""
        transaction = session.onchain.growing
        why = self._why_send(session, transaction) if transaction is not None else ""
        if transaction is not None and why:
            self._broadcast(session, transaction, why)
        for each in session.onchain.transactions.values():
            if each.pending and self.now >= session.memory.watch(each.number).look_at:
                self._look(session, each)

    def _why_send(self, session: SellerSession, transaction: GrowingTransaction) -> str:
        tariff = session.tariff
        gone_for = self.now - session.memory.gone_at if session.memory.gone_at else 0
        if not transaction.value_sat:
            return ""
        if transaction.value_sat * 1000 + tariff.slice_msat > tariff.hold_msat:
            return "the maximum is reached"
        if self.now >= transaction.first_at + tariff.hold_s * 1000:
            return "held for as long as agreed"
        if not session.open and (session.debt_msat < 1000 or self.now >= session.since + tariff.grace_s * 1000):
            return "the session is over"
        if gone_for >= tariff.grace_s * 1000:
            return "the buyer is gone"
        return ""

    def _broadcast(self, session: SellerSession, transaction: GrowingTransaction, why: str) -> None:
        self.emit(ev.TxSent(at=self.now, subject=session.id, tx_number=transaction.number, why=why))
        for number in list(session.out):
            # It asked for an update of what grows no more.
            self.emit(ev.InvoiceExpired(at=self.now, subject=session.id, number=number))
            self.context.invoices.forget(session, number)
        self.act(
            do.Broadcast(
                session=session.id, tx_number=transaction.number, raw=transaction.raw, inputs=transaction.inputs
            )
        )
        self._look(session, transaction)

    def block_added(self, _: cmd.BlockAdded) -> None:
        """Look at all that is on its way."""
        for session in list(self.state.sessions.values()):
            for transaction in session.onchain.transactions.values():
                if transaction.pending:
                    self._look(session, transaction)

    def _look(self, session: SellerSession, transaction: GrowingTransaction) -> None:
        session.memory.watch(transaction.number).look_at = self.now + UNANSWERED_MS
        self.act(
            do.LookAt(
                session=session.id,
                tx_number=transaction.number,
                raw=transaction.raw,
                txid=transaction.txid,
                vout=transaction.vout,
                address=transaction.address,
                outpoints=transaction.outpoints,
                sent=not transaction.growing,
                tip=transaction.tip,
                conflict_at=transaction.lost_height,
                blocks=min(SPENDER_BLOCKS + (self.now - transaction.first_at) // BLOCK_MS, GIVE_UP_BLOCKS),
            )
        )

    def seen(self, command: cmd.TxSeen) -> None:
        """How a transaction stands on the chain."""
        session = self.state.sessions.get(command.session)
        transaction = session.onchain.transactions.get(command.tx_number) if session is not None else None
        if session is None or transaction is None or not transaction.pending:
            return
        watch = session.memory.watch(transaction.number)
        watch.look_at = self.now + (LOST_LOOK_MS if transaction.lost_sat else LOOK_MS)
        if command.sent == transaction.growing:
            self._look(session, transaction)
        elif transaction.growing:
            self._seen_growing(session, transaction, command)
        else:
            self._seen_sent(session, transaction, command)

    def _seen_sent(self, session: SellerSession, transaction: GrowingTransaction, command: cmd.TxSeen) -> None:
        watch = session.memory.watch(transaction.number)
        if watch.seen_height is None:
            watch.seen_height = command.height
        if command.known and not watch.known:
            watch.known = True
            self.context.metering.proceed(session)
        if command.conflict:
            self._conflicted(session, transaction, command)
        elif command.arrived_sat and command.confirmations >= session.tariff.confirmations:
            self._final(session, transaction, command.arrived_sat)
        elif transaction.lost_sat and command.known:
            self._lost(session, transaction, 0, 0, "")  # ours is the one that stands, after all
        elif not command.known:
            self.act(
                do.Broadcast(
                    session=session.id, tx_number=transaction.number, raw=transaction.raw, inputs=transaction.inputs
                )
            )
            if session.open and not session.ending:
                why = f"transaction {transaction.number} is not relayed: {msg.words(command.refused)}"
                self.context.closing.end(session, why)
        elif not command.confirmations and command.height >= watch.seen_height + self.limits.bump_blocks:
            self._bump(session, transaction, command)
        else:
            return
        self.context.metering.proceed(session)

    def _seen_growing(self, session: SellerSession, transaction: GrowingTransaction, command: cmd.TxSeen) -> None:
        if command.conflict:
            # By ours, maybe: the buyer may broadcast it, too.
            self._broadcast(session, transaction, "an input was spent")
        elif command.feerate > FEES_ROSE * transaction.feerate:
            self._broadcast(session, transaction, "fees rose")
            self.context.metering.proceed(session)

    def _final(self, session: SellerSession, transaction: GrowingTransaction, arrived_sat: int) -> None:
        self.emit(ev.TxSettled(at=self.now, subject=session.id, tx_number=transaction.number, arrived_sat=arrived_sat))

    def _lost(
        self, session: SellerSession, transaction: GrowingTransaction, lost_sat: int, height: int, evidence: str
    ) -> None:
        self.emit(
            ev.TxConflicted(
                at=self.now,
                subject=session.id,
                tx_number=transaction.number,
                lost_sat=lost_sat,
                height=height,
                evidence=evidence,
            )
        )

    def _conflicted(self, session: SellerSession, transaction: GrowingTransaction, command: cmd.TxSeen) -> None:
        """Another transaction has the inputs: a loss, and a final one when that is as deep as ours would have to be."""
        lost, arrived = max(0, transaction.value_sat - command.arrived_sat), command.arrived_sat
        if transaction.lost_height and not command.conflict_height:
            # It was in a block, and is not found there now: what is known of it stays.
            arrived = transaction.value_sat - transaction.lost_sat
        elif lost != transaction.lost_sat or command.conflict_height != transaction.lost_height:
            first = not transaction.lost_sat
            self._lost(session, transaction, lost, command.conflict_height, command.conflict)
            if first and lost:
                self._stop_for(session, transaction, lost)
        since = command.conflict_height
        deep = since and command.height >= since + session.tariff.confirmations - 1
        watch = session.memory.watch(transaction.number)
        if deep or command.height >= (watch.seen_height or 0) + GIVE_UP_BLOCKS:
            self._final(session, transaction, arrived)

    def _stop_for(self, session: SellerSession, transaction: GrowingTransaction, lost: int) -> None:
        """End the session whose buyer spent twice, and lock it out."""
        why = f"an input of transaction {transaction.number} was spent elsewhere; {lost} sat are lost"
        meter = self.state.meters.get(session.meter)
        if meter is not None:
            self.context.notify("meter_state", meter, why=why, txid=transaction.txid, lost_sat=lost)
        if session.open:
            self.context.closing.end(session, why)
        elif meter is not None and meter.state == MeterState.STANDBY:
            self.context.meters.lock(meter, session)

    def _bump(self, session: SellerSession, transaction: GrowingTransaction, command: cmd.TxSeen) -> None:
        """A child pays for what is stuck, and a further one for it if need be; at most a quarter of its value."""
        tip, value = transaction.tip, transaction.tip_value_sat
        if not tip:
            tip, value = f"{transaction.txid}:{transaction.vout}", transaction.value_sat
        budget = value - transaction.value_sat * 3 // 4
        if command.feerate <= transaction.feerate or budget <= 0:
            return
        session.memory.watch(transaction.number).seen_height = command.height
        self.act(
            do.Bump(
                session=session.id,
                tx_number=transaction.number,
                tip=tip,
                value_sat=value,
                weight=transaction.weight,
                fee_sat=transaction.fee_sat + transaction.bump_fee_sat,
                feerate=command.feerate,
                budget_sat=budget,
            )
        )

    def bumped(self, command: cmd.BumpMade) -> None:
        """A child that pays for a stuck transaction was made."""
        session = self.state.sessions.get(command.session)
        transaction = session.onchain.transactions.get(command.tx_number) if session is not None else None
        if session is not None and transaction is not None and transaction.pending:
            self.emit(
                ev.TxBumped(
                    at=self.now,
                    subject=session.id,
                    tx_number=command.tx_number,
                    tip=command.tip,
                    value_sat=command.value_sat,
                    fee_sat=command.fee_sat,
                )
            )
