"""On-chain settlement on the seller's side: updates of growing transactions become credit.

The highest update is held, and broadcast once (onchain_broadcasts.py). See docs/metering.md.
"""

from .. import commands as cmd
from .. import effects as do
from .. import messages as msg
from ..errors import BadUpdate
from ..labels import FIRST
from ..seller import events as ev
from ..seller.context import NODE_RETRY_MS, Part
from ..seller.session import SellerSession
from .rules import rules_of
from .transaction import DUST_SAT, GrowingTransaction

QUIET_MS = 60_000
"""Buyers say something every 30 s (buyer/streams.py). After a restart they count as connected for so long."""
FULL = "this meter takes no more before earlier payments are confirmed; try again after the next block"


class OnchainSeller(Part):
    """See base.SellerSettlement."""

    # --- asking

    def begun(self, session: SellerSession, opening: SellerSession) -> None:
        """Records the addresses that the buyer was given."""
        for transaction in opening.onchain.transactions.values():
            self.emit(
                ev.AddressGiven(
                    at=self.now,
                    subject=session.id,
                    tx_number=transaction.number,
                    address=transaction.address,
                    feerate=transaction.feerate,
                )
            )

    def resumed(self, session: SellerSession) -> None:
        """Its buyer counts as there until it is heard, or QUIET_MS are over: else the transaction is broadcast."""
        if session.onchain.transactions:
            session.memory.gone_at = self.context.now + QUIET_MS

    def is_settled(self, session: SellerSession) -> bool:
        """The receipt waits for the broadcast."""
        return not session.onchain.held_msat

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

    def look_after(self, session: SellerSession) -> None:
        """Broadcast what is due, and look after what is on its way."""
        self.context.broadcasts.look_after(session)
