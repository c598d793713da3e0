"""Refunds: owed, being paid, paid. What can't be paid yet stays owed, and is tried again."""

from .. import commands as cmd
from .. import effects as do
from .. import messages as msg
from ..errors import BadParam, TooMany, WrongState
from ..ratelimit import backoff_ms
from ..settlement.rules import DUST_MSAT
from . import events as ev
from .context import Part
from .meter import Meter
from .refund import UNRECORDED
from .session import SellerSession

RETRY_MS, RETRY_MOST_MS = 60_000, 21_600_000
FEE_SHARE, LAST_STEP = 100, 2
"""The seller bears fees of a refund up to a hundredth of what the session earned: a payee with a node on the way gains
no more. The rest the refund bears itself: less than 1 sat at first, then up to its cap."""
PER_PEER, BUYERS, BEARERS = 1, 5, 3
"""Refunds under way to one buyer, and, of sessions that earned as much and of those that did not, to buyers and to
bearers. A payee can hold a refund for a day, and node ids cost nothing; so buyers and bearers have limits of their own.
A channel takes 30 payments at once on mainnet: half of them stay free for whatever else the node pays."""
INVOICES = 50
"""Invoices that the refunds of one buyer, or of one wallet invoice, may use up."""
FIRST_MS = 300_000
"""How long after the end only the payer of the largest remainder may ask for it (at most half of the time for which it
is kept). A session has one refund at a time, and the payer of a tiny part could block it."""
USED = "the hash of the refund invoice was paid before, for something else"
OLDER = "the journal is an older copy: what was given back since is not in it"


def _kind(session: SellerSession) -> tuple[bool, bool]:
    """Whether it has a buyer, and whether it earned as much as it gives back: then to hold its refund cost as much."""
    return bool(session.buyer), session.charged_msat >= session.owed_msat


class Refunds(Part):
    """Paid within a fee that they bear themselves, but for a share of what the session earned."""

    def ask(self, command: cmd.AskRefund) -> SellerSession:
        """Takes the invoice by which a bearer gets back what is left of an ended session; one at a time.

        Raises:
            UnknownSession: There is no such live session.
            WrongState: It has a buyer, is not over, owes nothing, its refund is under way or waits for a person, or
                somebody else paid more of what is left and has it first.
            BadParam: The invoice was used before, or asks for more than is owed; no such wallet invoice was paid.
            TooMany: The session has used up as many invoices as it may.
        """
        session = self.state.session(command.session)
        refund = session.refund
        if session.buyer:
            raise WrongState(f"session {session.id} has a buyer, whose node asks for its refund by itself")
        if session.open:
            raise WrongState(f"session {session.id} is not over: close it first")
        if refund.held:
            raise WrongState(f"the refund of session {session.id} waits for its seller: {session.alarm}")
        if refund.bolt11:
            raise WrongState(f"the refund of session {session.id} is being paid already")
        if not session.owed_msat:
            raise WrongState(f"session {session.id} owes nothing")
        if command.bolt11 in refund.used:
            raise BadParam("invoice: was used for a refund of this session before; make a new one", param="invoice")
        if refund.tries.get(command.number, 0) >= INVOICES:
            raise TooMany(f"session {session.id} has used {INVOICES} refund invoices; its seller has to look at it")
        claim = self._claim(session, command.number)
        if command.invoice_msat > claim:
            most = f"at most {session.refundable_msat(command.number)} msat of {claim} can be given back"
            raise BadParam(f"invoice: asks for {command.invoice_msat} msat; {most}", param="invoice")
        self.emit(
            ev.RefundOffered(
                at=self.now,
                subject=session.id,
                bolt11=command.bolt11,
                invoice_msat=command.invoice_msat,
                number=command.number,
                claimed_msat=0,
            )
        )
        session.memory.refund_tried_at = 0
        self.context.closing.wind_up(session)
        return session

    def _claim(self, session: SellerSession, number: int) -> int:
        if number and number not in session.fed_by:
            raise BadParam(f"number: session {session.id} has no payment of wallet invoice {number}", param="number")
        first_ms = min(FIRST_MS, session.tariff.remainder_s * 500)
        claim, wait_ms = session.claim_msat(number), session.closed_at + first_ms - self.now
        if not claim:
            raise WrongState(f"nothing is left of what wallet invoice {number} paid")
        if number and not session.leads(number) and wait_ms > 0:
            soon = f"or in {wait_ms // 1000 + 1} s"
            raise WrongState(
                f"most of what is left was paid by others, who have theirs first: try again after them, {soon}"
            )
        return claim

    def left_at(self, meter: Meter, now: int) -> SellerSession | None:
        """Returns the newest ended wallet session at a free meter whose remainder is its payer's alone yet, or None."""
        if meter.session:
            return None
        since = now - self.limits.remainder_own_ms
        ended = (each for each in self.state.sessions.values() if each.meter == meter.name and each.fed_by)
        kept = [each for each in ended if not each.open and each.closed_at > since and each.refundable_msat()]
        return max(kept, key=lambda each: each.closed_at, default=None)

    def start(self, session: SellerSession) -> None:
        """Pay what is owed. What is kept for the fee, and the fee does not take, stays owed."""
        session.memory.refund_tried_at = self.now
        claim = session.claim_msat(session.refund.number)
        if not claim or session.refund.invoice_msat > claim:  # a person said since that less was owed
            self.emit(ev.RefundFailed(at=self.now, subject=session.id, why=f"{claim} msat are left", final=True))
            return
        cap = max(self.limits.refund_maxfee_msat, claim // 100)
        if session.refund.invoice_msat:
            own = min(cap, claim - session.refund.invoice_msat)
        else:
            own = min((0, DUST_MSAT - 1, cap)[session.memory.refund_step], cap, claim // 2)
        borne = min(self.limits.refund_maxfee_msat, max(0, session.charged_msat // FEE_SHARE - session.fees_borne_msat))
        self.emit(
            ev.RefundStarted(
                at=self.now,
                subject=session.id,
                amount_msat=session.refund.invoice_msat or claim - own,
                maxfee_msat=own + borne,
                borne_msat=borne,
            )
        )
        self.pay(session)

    def pay(self, session: SellerSession) -> None:
        """Have the refund that is under way paid, or found."""
        refund = session.refund
        self.act(
            do.PayRefund(
                session=session.id,
                bolt11=refund.bolt11,
                attempt=refund.attempts,
                amount_msat=refund.amount_msat,
                maxfee_msat=refund.maxfee_msat,
            )
        )

    def claim(self, command: cmd.ClaimRefund) -> cmd.Claimed:
        """Returns whether a payment hash is this refund's to be paid by, and records it before the node is asked.

        A buyer may give an invoice of a hash that was given before, or that the node paid for something
        else. Once the hash is the refund's, what the node knows of it is its own payment."""
        session = self.state.sessions.get(command.session)
        if session is None or not self._is_newest(session, command.bolt11, command.attempt):
            return cmd.Claimed.NO
        if session.refund.payment_hash == command.payment_hash:
            return cmd.Claimed.BEFORE
        # where it may be this refund's own payment: made in the lost part, or by a version that recorded no hash before
        own = session.of_older or session.refund.payment_hash == UNRECORDED
        others = command.known and not own
        if others or command.payment_hash in self.state.refund_hashes:
            self.lost(
                cmd.RefundLost(session=session.id, bolt11=command.bolt11, attempt=command.attempt, why=USED, final=True)
            )
            return cmd.Claimed.NO
        self.emit(ev.RefundClaimed(at=self.now, subject=session.id, payment_hash=command.payment_hash))
        return cmd.Claimed.BEFORE if own else cmd.Claimed.NOW

    def due(self, session: SellerSession) -> bool:
        """Return whether a refund may begin now."""
        if not (session.owed_msat and session.refund.bolt11 and session.final) or session.refund.held:
            return False
        wait = backoff_ms(RETRY_MS, RETRY_MOST_MS, session.memory.refund_fails)
        if self.now < session.memory.refund_tried_at + wait:
            return False
        under_way = [other for other in self.state.sessions.values() if other.refund.under_way]
        mine = sum(1 for other in under_way if other.buyer and other.buyer == session.buyer)
        alike = sum(1 for other in under_way if _kind(other) == _kind(session))
        return mine < PER_PEER and alike < (BUYERS if session.buyer else BEARERS)

    def settled(self, command: cmd.RefundSettled) -> None:
        """The node has paid a refund's invoice, as it was to be or not."""
        session = self.state.session(command.session)
        if not session.refund.under_way or command.bolt11 != session.refund.bolt11:
            return
        session.memory.refund_fails, session.memory.refund_step = 0, 0
        if command.amount_msat == session.refund.amount_msat and command.fee_msat <= session.refund.maxfee_msat:
            self.emit(
                ev.RefundPaid(
                    at=self.now,
                    subject=session.id,
                    amount_msat=command.amount_msat,
                    fee_msat=command.fee_msat,
                    payment_hash=command.payment_hash,
                )
            )
        else:
            self._dispute(session, command.amount_msat, command.fee_msat)
        self.context.closing.wind_up(session)

    def lost(self, command: cmd.RefundLost) -> None:
        """Nothing of a refund was paid: it is tried again, for a higher fee at first, then ever more seldom.

        A bearer's is not tried for ever: who waits for it can give another invoice.
        """
        session = self.state.session(command.session)
        if self._is_newest(session, command.bolt11, command.attempt):
            more = session.memory.refund_step < LAST_STEP and not session.refund.invoice_msat
            final = command.final or not (session.buyer or more)
            self.emit(ev.RefundFailed(at=self.now, subject=session.id, why=msg.words(command.why), final=final))
            if not final and session.memory.refund_step < LAST_STEP:
                session.memory.refund_step, session.memory.refund_tried_at = session.memory.refund_step + 1, 0
            else:
                session.memory.refund_fails, session.memory.refund_step = session.memory.refund_fails + 1, 0
            self.context.closing.wind_up(session)

    def _is_newest(self, session: SellerSession, bolt11: str, attempt: int) -> bool:
        """Returns whether a try is the one under way: an answer that comes twice, or late, ends no other try."""
        refund = session.refund
        return refund.under_way and (bolt11, attempt) == (refund.bolt11, refund.attempts)

    def _dispute(self, session: SellerSession, amount: int, fee: int) -> None:
        """The hash is paid, but not as this refund was to be: a person has to look, and nothing is paid again."""
        was_to_be = session.refund.amount_msat
        why = f"the refund invoice was paid over {amount} msat and a fee of {fee}; the refund was to be {was_to_be}"
        self.emit(
            ev.RefundDisputed(
                at=self.now, subject=session.id, amount_msat=was_to_be, arrived_msat=amount, fee_msat=fee, why=why
            )
        )
        self.context.alarm(session, why)

    def hold(self, session: SellerSession) -> None:
        """What a session owes waits for a person, whom an alarm is for."""
        if not session.refund.held:
            self.emit(ev.RefundHeld(at=self.now, subject=session.id, why=OLDER))
            self.context.alarm(session, OLDER)
