"""The end of a session: from the wish to end it to the receipt. Refunds on the way stand in refunds.py."""

from .. import commands as cmd
from .. import effects as do
from .. import messages as msg
from .. import receipt
from ..commands import SEEN
from ..errors import UnknownSession, WrongState
from ..ratelimit import RESEND_MS
from ..settlement.rules import DUST_MSAT
from ..states import MeterState
from . import events as ev
from .context import NODE_RETRY_MS, Part
from .meter import Meter
from .session import SellerSession

CLAIM_WAIT_MS = 10_000
ASK_AGAIN_MS = 3_600_000
"""A remainder does not lapse sooner after a refund of it has failed."""


class Closing(Part):
    """What follows when a session ends, whoever ended it."""

    def close_session(self, command: cmd.CloseSession) -> SellerSession:
        """meter-close."""
        if command.session in self.context.waiting:
            waiting = self.context.waiting[command.session]
            self.context.openings.drop(waiting, command.reason)
            return waiting
        session = self.state.session(command.session)
        if not session.open or session.ending:
            raise WrongState(f"session {session.id} is ending already")
        self.end(session, command.reason)
        return session

    def end(self, session: SellerSession, reason: str, tell: bool = True) -> None:
        """Ask for the end of a session. It is closed once its board has stopped."""
        meter = self.state.meters.get(session.meter)
        if (
            meter is None
            or meter.session != session.id
            or (self._stopped(meter, session) and not session.reserved_msat)
        ):
            self.close(session, reason, tell)
        elif not session.ending:
            self.emit(ev.CloseAsked(at=self.now, subject=session.id, reason=reason))
            self.context.notify("meter_state", meter, why=reason)

    def _stopped(self, meter: Meter, session: SellerSession) -> bool:
        """Whether the board can't deliver any more of this session: then the count that it told is the last one.

        A board that has stopped reports that it has no grant. A board that states no grant counts as stopped once it is
        unplugged, or when it reports again after a report that was answered without a grant.
        """
        if session.refund.held and (not meter.memory.seen_at or self.state.pay_index < self.state.lost_up_to):
            return False  # of an older copy: what was paid and used since has to be told first
        used_up = meter.count >= session.granted and not session.refund.held  # else it is not known what was granted
        if meter.state == MeterState.NEGOTIATING or used_up:
            return True
        board, ending_at = meter.memory, session.ending_at or self.now
        said_since = board.said_at > ending_at or (not board.plugged and board.said_at == ending_at)
        if board.grant_held is None and board.plugged:
            return board.answered_at > ending_at
        return bool(board.seen_at) and not board.grant_held and said_since

    def close_when_stopped(self, meter: Meter, session: SellerSession) -> None:
        """Close an ending session when its board has stopped and its gates are done.

        After a long silence it is charged, prepaid, as if the board went on to its grant: that was paid for. It is not
        charged before the rating allows that to have flowed: until then the board may be heard, and no buyer believes
        more. In arrears what was not heard of is the seller's risk, as is all that it trusts.
        """
        until = session.granted if session.tariff.prepaid else 0
        waited = self.now - max(session.ending_at, self.context.resumed_at)
        if session.reserved_msat:
            return
        if self._stopped(meter, session):
            self.close(session, session.reason)
        elif waited >= max(self.limits.unheard_ms, session.tariff.soonest_ms(until - session.count)):
            self.close(session, f"{session.reason}; the board was not heard since", until=until)

    def close(self, session: SellerSession, reason: str, tell: bool = True, until: int = 0) -> None:
        """End delivery: the charge becomes final, and what follows is only settling."""
        meter = self.state.meter(session.meter)
        session.count = max(session.count, until)
        boot, register, charged = meter.boot, meter.register, session.charged_msat
        if (
            session.refund.held
        ):  # of an older copy: others may have used what was counted since, so no debt is made of it
            charged = min(charged, session.received_msat)
        self.emit(
            ev.SessionClosing(
                at=self.now,
                subject=session.id,
                reason=reason,
                count=meter.count,
                last_count=until,
                boot=boot,
                register=register,
                charged_msat=charged,
            )
        )
        session.memory.prefetched.queue.clear()
        self.context.settlement(session).cancel(session)
        self.context.notify("meter_state", meter, why=reason)
        if session.debt_msat >= session.dust_msat or self._dust_adds_up(session):
            # Until the debt is paid, but no longer than an unpaid buyer is locked.
            self.context.meters.lock(meter, session, more_s=session.tariff.grace_s)
        if session.buyer and tell:
            self.tell_end(session)
        self.wind_up(session)

    def wind_up(self, session: SellerSession) -> None:
        """Bring a session that ended to its receipt: collect a debt, pay a refund, sign what came of it."""
        if session.open:
            return
        self.ask_debt(session)
        self.context.invoices.resend(session)
        self.context.settlement(session).cancel(session)
        self.context.settlement(session).look_after(session)
        if not self.context.settlement(session).is_settled(session):
            return
        waited = self.now - session.since
        self._unlock_paid(session)
        self._let_lapse(session)
        told = self.state.pay_index >= self.state.lost_up_to
        if session.refund.held and not session.owed_msat and not session.refund.under_way and told:
            self.emit(ev.AlarmEnded(at=self.now, subject=session.id, how=SEEN, amount_msat=0, note="nothing is owed"))
        more_is_coming = session.refund.claimed_msat > session.received_msat and waited < CLAIM_WAIT_MS
        if session.void or session.refund.under_way or more_is_coming:
            return
        if self.context.refunds.due(session):
            self.context.refunds.start(session)
        elif not self._waits_for_buyer(session, waited):
            self._sign(session)

    def _dust_adds_up(self, session: SellerSession) -> bool:
        """Whether debts of a meter that are too small to be paid come to the limit within a lockout time.

        One such debt is accepted; many in a row would be more than limit_msat."""
        if not session.debt_msat or session.tariff.prepaid:
            return False
        since = self.now - session.tariff.lockout_s * 1000
        debts = self.state.meter(session.meter).dust_debts
        recent_msat = sum(each.debt_msat for each in debts if each.ended_at > since)
        return recent_msat + session.dust_msat > session.tariff.limit_msat

    def _unlock_paid(self, session: SellerSession) -> None:
        """Lift the lockout of a session in arrears that owes nothing any more."""
        if session.debt_msat or session.tariff.prepaid:
            return
        for meter in self.state.meters.values():
            if meter.state == MeterState.LOCKOUT and meter.lock_session == session.id:
                self.context.meters.lift_lockout(meter, "the debt is paid")

    def _asked_long_ago(self, session: SellerSession) -> bool:
        """Whether it is a while since a refund that was asked for failed: there is time to give another invoice."""
        failed_at = session.refund.failed_at
        return not failed_at or self.now >= failed_at + ASK_AGAIN_MS

    def _let_lapse(self, session: SellerSession) -> None:
        """Keep a bearer's remainder, or anybody's dust, once its stated time is over."""
        # In all: a buyer believes no more than that.
        dust = session.lapsed_msat + session.owed_msat < DUST_MSAT and not session.refund.under_way
        ends_at = session.since + session.tariff.remainder_s * 1000
        over = self.context.surely >= ends_at and self._asked_long_ago(session)
        kept = bool(session.buyer) or bool(session.refund.bolt11)  # what a bearer asks for back does not lapse
        if session.owed_msat and not session.refund.held and (dust or not kept) and over:
            self.emit(ev.RemainderLapsed(at=self.now, subject=session.id, amount_msat=session.owed_msat))

    def _waits_for_buyer(self, session: SellerSession, waited: int) -> bool:
        """Whether a first receipt waits, for the grace time, for a debt's payment or for an invoice for the refund."""
        if session.revision or waited >= session.tariff.grace_s * 1000:
            return False
        if session.debt_msat:
            return True
        wants_invoice = session.owed_msat and not session.refunded_msat and not session.refund.bolt11
        if not (wants_invoice and session.buyer):
            return False
        if self.now >= session.memory.told_at + RESEND_MS:
            self.tell_end(session)
        return True

    def ask_debt(self, session: SellerSession) -> None:
        """Asks for a debt until its invoice has expired; then once a day, or when the buyer connects.

        Each try is two events of the journal."""
        if self.now >= session.memory.debt_asked_at:
            self.context.settlement(session).ask(session)

    def _sign(self, session: SellerSession) -> None:
        figures = repr(session.figures)
        if receipt.figures(session.receipt) == session.figures:
            return
        if session.memory.signing == figures and self.now < session.memory.signed_at + NODE_RETRY_MS:
            return
        session.memory.signing, session.memory.signed_at = figures, self.now
        revision = session.next_revision
        self.act(
            do.Sign(session=session.id, revision=revision, text=receipt.text(session, self.context.node_id, revision))
        )

    def signed(self, command: cmd.SignatureMade) -> None:
        """The node has signed a receipt."""
        session = self.state.sessions.get(command.session)
        if session is None or command.revision != session.next_revision:
            return
        session.memory.signing, session.memory.touched_at = "", self.now
        self.emit(
            ev.ReceiptSigned(
                at=self.now,
                subject=session.id,
                revision=command.revision,
                text=command.text,
                signature=command.signature,
            )
        )
        self.act(
            do.Notify(
                topic="meter_closed",
                payload={
                    "session": session.id,
                    "meter": session.meter,
                    "reason": session.reason,
                    "receipt": command.text,
                },
            )
        )
        if session.buyer:
            self.tell_end(session)
        self.wind_up(session)

    def tell_end(self, session: SellerSession) -> None:
        """Tell the buyer how its session ended: by its receipt, once there is one."""
        session.memory.told_at = self.now
        if session.void:
            text = "nothing was paid or used; the session is closed"
            self.context.send(session, msg.Error, by=msg.SELLER, code=UnknownSession.code, text=text)
        elif session.receipt:
            self.context.send(session, msg.Receipt, text=session.receipt, signature=session.signature)
        else:
            self.context.send(session, msg.Close, by=msg.SELLER, reason=session.reason)
