"""Attention: alarms and unowned payments that wait for a person, and starts from an older journal."""

from .. import commands as cmd
from ..commands import OWED, PAID, SEEN
from ..errors import BadParam, WrongState
from ..states import MeterState
from . import events as ev
from .context import Part
from .payments import UNOWNED
from .refunds import OLDER
from .session import SellerSession

JOURNAL = "journal"


class Attention(Part):
    """meter-attend, and the start from an older copy of the journal."""

    def go_on_from_older(self) -> None:
        """Ends all sessions where the state is of an older copy of the journal, and holds refunds.

        What the copy records as owed may have been given back since, under another invoice of the same
        buyer. So no session continues, and what each one owes waits for a person. Payments that were made
        after the copy, for sessions that are not in it, are not credited."""
        self.emit(ev.JournalReplaced(at=self.now, subject=JOURNAL, pay_index=self.context.older))
        for session in list(self.state.sessions.values()):
            meter = self.state.meters.get(session.meter)
            if meter is not None and meter.session == session.id and meter.state == MeterState.NEGOTIATING:
                # It may have been paid since, and used.
                self.emit(ev.DeliveryStarted(at=self.now, subject=session.id, count=meter.count))
            if session.owed_msat or session.refund.under_way or session.open:
                self.context.refunds.hold(session)
            if session.open and not session.ending:
                self.context.closing.end(session, OLDER)

    def attend(self, command: cmd.Attend) -> dict[str, str | int]:
        """A person has looked at an alarm."""
        if command.name in self.state.unowned:
            if command.how != SEEN:
                raise WrongState(f"how: a payment without an owner can only be {SEEN}, not {command.how}")
            amount = self.state.unowned[command.name]
            self.emit(ev.UnownedSeen(at=self.now, subject=UNOWNED, label=command.name, note=command.note))
            return {"label": command.name, "amount_msat": amount, "how": command.how}
        session = self.state.session(command.name)
        if not session.alarm:
            raise WrongState(f"session {session.id} has no alarm")
        if (command.how == SEEN) == session.refund.held:
            raise WrongState(
                f"how: the refund of session {session.id} waits to be told {OWED} or {PAID}"
                if session.refund.held
                else f"how: the alarm of session {session.id} can only be {SEEN}, not {command.how}"
            )
        if session.refund.held and session.open:
            raise WrongState(f"session {session.id} has not ended yet: what it owes is not known")
        held = session.refund.held
        amount = self._told_by_person(session, command) if command.how != SEEN else 0
        self.emit(
            ev.AlarmEnded(at=self.now, subject=session.id, how=command.how, amount_msat=amount, note=command.note)
        )
        if held and session.refund.under_way:
            self.context.refunds.pay(session)
        self.context.closing.wind_up(session)
        return {"session": session.id, "meter": session.meter, "owed_msat": session.owed_msat, "how": command.how}

    def _told_by_person(self, session: SellerSession, command: cmd.Attend) -> int:
        """Return how much of a held refund is owed, or was paid."""
        most = session.received_msat - session.refunded_msat - session.taken_msat - session.lapsed_msat
        if command.amount_msat is not None and command.amount_msat > most:
            raise BadParam(
                f"amount_msat: session {session.id} paid {most} msat that did not come back", param="amount_msat"
            )
        amount = session.owed_msat if command.amount_msat is None else command.amount_msat
        refund = session.refund
        cost_msat = refund.amount_msat + refund.maxfee_msat - refund.borne_msat
        if command.how == OWED and refund.under_way and amount < cost_msat:
            why = f"a refund is on its way that takes up to {cost_msat} msat with its fee: at least that is owed"
            raise BadParam(f"amount_msat: {why}", param="amount_msat")
        return amount
