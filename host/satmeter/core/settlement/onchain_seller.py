"""On-chain settlement on the seller's side: updates of growing transactions become credit.

The highest update is held, broadcast once, and watched until it is deep enough. See docs/metering.md.

Until a transaction is confirmed, its buyer could spend the inputs elsewhere: what is held is what the
seller risks, and the tariff caps it. A conflicting spend ends delivery, locks the buyer out and is
kept as evidence."""

from .. import commands as cmd
from .. import effects as do
from .. import messages as msg
from ..errors import BadUpdate
from ..labels import FIRST
from ..seller import events as ev
from ..seller.context import NODE_RETRY_MS, Part
from ..seller.session import SellerSession
from ..states import MeterState
from .rules import rules_of
from .transaction import DUST_SAT, FEES_ROSE, GrowingTransaction

GIVE_UP_BLOCKS = 144
"""Blocks after which a conflicting spend that is in none counts as final all the same."""
SPENDER_BLOCKS, BLOCK_MS = 6, 300_000
"""How far back a spend elsewhere is looked for: so many blocks, and one more for each of these times since the first
update: it is half of what a block takes."""
LOOK_MS, LOST_LOOK_MS, UNANSWERED_MS = 3_000, 30_000, 30_000
"""How often a transaction of ours is looked at, where a spend elsewhere would be a loss."""
FULL = "this meter takes no more before earlier payments are confirmed; try again after the next block"


class OnchainSeller(Part):
    """See base.SellerSettlement."""

    # --- asking

    def why_full(self, session: SellerSession, amount_msat: int) -> str:
        """Returns why unconfirmed_msat has no room for a session that waits: others may have taken it since."""
        at_risk_msat = self.state.at_risk_msat().get(session.meter, 0)
        fits = rules_of(session.tariff).fitting_msat(session.tariff, amount_msat, 0, at_risk_msat)
        return "" if fits >= amount_msat else FULL

    def ask_first(self, session: SellerSession) -> None:
        """Ask the node for an address, for the first transaction of an opening."""
        session.memory.address_at = self.now
        self.act(do.GiveAddress(session=session.id, tx_number=FIRST))

    def ask_first_again(self, session: SellerSession) -> None:
        """Ask the node once more, or the buyer."""
        if not session.onchain.transactions and self.now >= session.memory.address_at + NODE_RETRY_MS:
            self.ask_first(session)
        else:
            self.context.invoices.resend(session)

    def cancel_first(self, session: SellerSession) -> None:
        """The node knows nothing of it."""

    def make(self, session: SellerSession, number: int) -> None:
        """Repeats the request to the buyer; no invoice has to be made."""
        session.memory.asked(number).asked_at = self.now
        if number in session.out:
            self.tell(session, number)

    def cancel(self, session: SellerSession) -> None:
        """What was dropped can't be paid any more at once: the node knows nothing of it."""
        for number in list(session.dropped):
            self.emit(ev.InvoiceExpired(at=self.now, subject=session.id, number=number))

    def ask(self, session: SellerSession) -> None:
        """Ask for the next update, in a new transaction where the last one grows no more."""
        amount = session.next_amount() and session.next_amount(self._beside_msat(session))
        if not amount:
            return
        transaction = session.onchain.growing
        if transaction is None:
            if self._unknown(session):
                return  # nothing more before the node knows the last one
            if self.now >= session.memory.address_at + NODE_RETRY_MS:
                session.memory.address_at = self.now
                self.act(do.GiveAddress(session=session.id, tx_number=session.onchain.count + 1))
            return
        if transaction.value_sat or amount >= DUST_SAT * 1000:
            number = session.draw_number()
            self.emit(
                ev.InvoiceAsked(at=self.now, subject=session.id, number=number, amount_msat=amount, count=session.count)
            )
            self.tell(session, number)

    def _beside_msat(self, session: SellerSession) -> int:
        """Returns what other sessions at the meter hold or have unconfirmed: one buyer may be behind all of them."""
        return self.state.at_risk_msat().get(session.meter, 0) - session.onchain.at_risk_msat

    def _unknown(self, session: SellerSession) -> bool:
        pending = (each for each in session.onchain.transactions.values() if each.pending)
        return any(not session.memory.watch(each.number).known for each in pending)

    def address_made(self, command: cmd.AddressMade) -> None:
        """The node has made an address: a transaction to it begins."""
        if command.session in self.context.waiting:
            self._first_increment(self.context.waiting[command.session], command)
            return
        session = self.state.sessions.get(command.session)
        if session is None or not (session.open or session.debt_msat):
            return
        if command.tx_number == session.onchain.count + 1 and session.onchain.growing is None:
            session.memory.address_at = 0
            self.emit(
                ev.AddressGiven(
                    at=self.now,
                    subject=session.id,
                    tx_number=command.tx_number,
                    address=command.address,
                    feerate=command.feerate,
                )
            )
            self.context.metering.proceed(session)

    def _first_increment(self, session: SellerSession, command: cmd.AddressMade) -> None:
        """Ask for the first update of an opening, which is in memory only as the opening is."""
        if command.tx_number == session.onchain.count + 1 and not session.onchain.transactions:
            first = GrowingTransaction(command.tx_number, command.address, command.feerate)
            session.onchain.count, session.onchain.transactions = command.tx_number, {command.tx_number: first}
            amount = session.next_amount(self.state.at_risk_msat().get(session.meter, 0))
            if amount:
                session.out = {FIRST: amount}
                self.tell(session, FIRST)
            elif session.tariff.prepaid:
                self.context.openings.drop(session, FULL)

    def tell(self, session: SellerSession, number: int) -> None:
        """Ask the buyer to sign the transaction again, now worth more."""
        transaction = session.onchain.growing
        if transaction is None or self.context.unseen(session):
            return
        amount, asking = session.out[number], session.memory.asked(number)
        asking.text, asking.sent_at, asking.tries = transaction.address, self.now, asking.tries + 1
        self.context.send(
            session,
            msg.Increment,
            number=number,
            amount_msat=amount,
            tx_number=transaction.number,
            value_sat=transaction.value_sat + amount // 1000,
            address=transaction.address,
            feerate=transaction.feerate,
            ticks=session.ticks,
            charged_msat=session.charged_msat,
            paid_msat=session.paid_msat + session.brought_msat,
        )

    # --- updates

    def update(self, session: SellerSession, message: msg.Update) -> None:
        """The buyer has signed one: have it checked."""
        transaction = session.onchain.growing
        if message.number in session.out and transaction is not None and message.tx_number == transaction.number:
            if self.now < session.memory.checking.get(message.number, -NODE_RETRY_MS) + NODE_RETRY_MS:
                return
            session.memory.checking = {message.number: self.now}
            check = do.CheckUpdate(
                session=session.id,
                number=message.number,
                tx_number=message.tx_number,
                raw=message.raw,
                heights=message.heights,
                address=transaction.address,
                value_sat=transaction.value_sat + session.out[message.number] // 1000,
                feerate=transaction.feerate,
                inputs=list(transaction.inputs),
            )
            self.act(check)
        elif message.number not in session.out:
            self._tell_taken(session, message.number, message.tx_number)  # it counts, or came too late

    def _tell_taken(self, session: SellerSession, number: int, tx_number: int) -> None:
        amount = session.onchain.taken_updates.get(number, 0)
        self.context.send(session, msg.Taken, number=number, tx_number=tx_number, amount_msat=amount)

    def update_checked(self, command: cmd.UpdateChecked) -> None:
        """An update is as agreed: it counts, once it is recorded."""
        found = self._asked(command)
        if found is None:
            return
        session, transaction = found
        other = bool(transaction.inputs) and command.inputs != transaction.inputs
        if other or command.value_sat != transaction.value_sat + session.out[command.number] // 1000:
            return  # it was checked against an older one; the buyer is asked again
        if self._promised(session, command):
            why = "an input is promised to another transaction"
            self.update_refused(
                cmd.UpdateRefused(session=command.session, number=command.number, tx_number=command.tx_number, why=why)
            )
            return
        session.memory.checking.clear()
        opened = session if session.id in self.state.sessions else self.context.openings.open_for(session)
        if opened is None:
            self._tell_taken(session, command.number, command.tx_number)  # it is not taken: the meter is not free
        else:
            self._take(opened, command)

    def _asked(self, command: cmd.UpdateChecked | cmd.UpdateRefused) -> tuple[SellerSession, GrowingTransaction] | None:
        """Return what an update is of, None where it is not asked for any more."""
        session = self.context.live(command.session)
        transaction = session.onchain.growing if session is not None else None
        if session is None or transaction is None or command.number not in session.out:
            return None
        return (session, transaction) if transaction.number == command.tx_number else None

    def _take(self, session: SellerSession, command: cmd.UpdateChecked) -> None:
        taken = ev.UpdateTaken(
            at=self.now,
            subject=session.id,
            number=command.number,
            tx_number=command.tx_number,
            amount_msat=session.out[command.number],
            value_sat=command.value_sat,
            fee_sat=command.fee_sat,
            weight=command.weight,
            txid=command.txid,
            vout=command.vout,
            raw=command.raw,
            inputs=command.inputs,
            count=session.count,
        )
        self.emit(taken)
        self.context.invoices.forget(session, command.number)
        self._tell_taken(session, command.number, command.tx_number)
        self.look_after(session)
        self.context.metering.proceed(session)

    def _promised(self, session: SellerSession, command: cmd.UpdateChecked) -> bool:
        """Whether an input of a first update is under another transaction whose fate is open, of whatever session."""
        wanted = {each.outpoint for each in command.inputs}
        others = (
            transaction
            for other in self.state.sessions.values()
            for transaction in other.onchain.transactions.values()
            if other is not session or transaction.number != command.tx_number
        )
        return any(transaction.pending and wanted.intersection(transaction.outpoints) for transaction in others)

    def update_refused(self, command: cmd.UpdateRefused) -> None:
        """An update that is not as agreed: it counts nothing, what is held stays held, and the session ends."""
        found = self._asked(command)
        if found is None:
            return
        session, _ = found
        session.memory.checking.clear()
        why = msg.words(command.why)
        self.context.send(session, msg.Error, by=msg.SELLER, code=BadUpdate.code, text=why, number=command.number)
        if session.id in self.context.waiting:
            self.context.openings.drop(session, f"an update was refused: {why}", counts=True)
        elif session.open and not session.ending:
            self.context.closing.end(session, f"an update was refused: {why}")

    # --- broadcasting

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
            watch.known = False

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
