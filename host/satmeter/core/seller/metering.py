"""Metering: what a board's reading and the passing of time make due.

Delivery starts when there is credit, is suspended when it is used up, and ends when it waited too long.
"""

from .. import commands as cmd
from .. import messages as msg
from ..errors import BadParam, Implausible
from ..reading import Reading
from ..states import MeterState
from . import events as ev
from .context import Part
from .meter import Meter
from .session import SellerSession

LINGER_MS = 60_000
IDLE_MS = 600_000
"""So long may a paid session keep its meter without using anything, while its buyer is away or does not pay."""


class Metering(Part):
    """Readings, and what is due."""

    def report(self, command: cmd.Report) -> Meter:
        """Take a board's reading.

        Raises:
            Implausible: Another board's, of an earlier boot, or a register that went back or rose too fast.
            BadParam: The register is under the base of its boot.
        """
        meter, reading = self.state.meter(command.meter), command.reading
        if reading.register < reading.base:
            raise BadParam(
                f"register: {reading.register} is under the base {reading.base} of its boot", param="register"
            )
        try:
            meter.check_reporter(reading.board, reading.boot, self.now - reading.age_ms)
            if reading.board and not meter.board:
                self.emit(ev.BoardBound(at=self.now, subject=meter.subject, board=reading.board))
            fresh_boot = meter.boot != reading.boot
            if fresh_boot:
                self._booted(meter, reading)
            count = meter.count_at(reading.register, self.now)
        except Implausible as error:
            meter.memory.refused, meter.memory.refused_at = error.message, self.now
            raise
        if count != meter.offset + reading.register:
            self._jumped(meter, count, reading.register)
        self.context.self_service.reading(meter, reading, fresh_boot)
        meter.take(reading, self.now)
        self.touch(meter.subject)
        if meter.session:
            self._count_session(meter, self.state.sessions[meter.session], self.now - reading.age_ms)
        self.advance(meter)
        self.context.self_service.look_after(meter)
        self.context.offers.look_after(meter)
        if meter.session and self._unrecorded(meter, self.state.sessions[meter.session]):
            self.emit(ev.Counted(at=self.now, subject=meter.subject, count=meter.count))
        return meter

    def _booted(self, meter: Meter, reading: Reading) -> None:
        """The board has begun a new boot; what it counted before that is not lost where it kept its register."""
        kept, offset = meter.offset, meter.offset_after_boot(reading.base, reading.register, self.now)
        heard = not meter.rebound and meter.memory.seen_at
        jumped = max(0, kept + reading.base - meter.count) if offset != kept and heard else 0
        count = max(meter.count, offset + reading.base)
        self.emit(ev.BoardBooted(at=self.now, subject=meter.subject, boot=reading.boot, offset=offset, count=count))
        if jumped:
            self._tell_jump(meter, reading.base, jumped)

    def _jumped(self, meter: Meter, count: int, register: int) -> None:
        """A register stays where it jumped to: the count goes on as it was, and a person is told."""
        lost = meter.offset + register - count
        self.emit(
            ev.RegisterJumped(at=self.now, subject=meter.subject, offset=count - register, count=count, lost_ticks=lost)
        )
        meter.rate_from_here(self.now)
        self._tell_jump(meter, register, lost)

    def _tell_jump(self, meter: Meter, register: int, lost: int) -> None:
        why = f"the register jumped to {register}, more than the rating allows: {lost} ticks are not counted"
        meter.memory.refused, meter.memory.refused_at = why, self.now
        self.context.notify("meter_alarm", meter, why=why)

    def _count_session(self, meter: Meter, session: SellerSession, said_at: int) -> None:
        """Counts a reading for the session that has the meter.

        The first reading that was said (`said_at`, ms) after the session's start fixes the count that
        its charge starts from. What the board had delivered before and had not reported is the seller's
        loss, bounded by the allowance. Readings that were said before the start count to the allowance,
        also where they are told later."""
        starts = session.start_latest >= 0
        if starts and said_at < min(session.started_at, self.now):  # a clock that went back holds nothing up
            return
        if meter.count != session.count:
            session.memory.used_at = self.now
        session.count = meter.count
        if starts:
            start = max(session.start_count, min(meter.count, session.start_latest))
            self.emit(ev.StartCounted(at=self.now, subject=session.id, count=start))

    def _unrecorded(self, meter: Meter, session: SellerSession) -> bool:
        """Whether a crash now would forget more of the count than half an invoice is worth."""
        return session.tariff.charge(meter.count - meter.recorded) > session.tariff.slice_msat // 2

    def advance(self, meter: Meter) -> None:
        """Do what the meter's state makes due now."""
        if meter.state == MeterState.LOCKOUT and self.now >= meter.lock_until:
            self.context.meters.lift_lockout(meter, "the lockout is over")
        if meter.state == MeterState.STANDBY:
            if meter.period_over(self.now):
                self.emit(ev.AllowanceBegun(at=self.now, subject=meter.subject, count=meter.count))
            return
        session = self.state.sessions.get(meter.session)
        if session is None:
            return
        self.context.reservations.release_old(session)
        if session.ending:
            self.context.closing.close_when_stopped(meter, session)
            return
        why = self._why_end(meter, session)
        if why:
            self.context.closing.end(session, why)
        else:
            self._run(meter, session)

    def _why_end(self, meter: Meter, session: SellerSession) -> str:
        """Return why a session has to end now, "" where it goes on."""
        tariff, board = session.tariff, meter.memory
        if not board.plugged:
            return "unplugged"
        if board.fault_at and self.now - max(board.fault_at, self.context.resumed_at) >= tariff.grace_s * 1000:
            return f"the board can't deliver: {board.fault}"
        if tariff.session_max_s and self.now >= session.opened_at + tariff.session_max_s * 1000:
            return "the longest time of a session is over"
        return ""

    def proceed(self, session: SellerSession) -> None:
        """Do what is due for a session, open or ended."""
        if session.open:
            self.advance(self.state.meter(session.meter))
        else:
            self.context.closing.wind_up(session)

    def _run(self, meter: Meter, session: SellerSession) -> None:
        """Start or suspend delivery, give the low notice, ask for money; end what waited too long."""
        agreed = session.tariff.prepaid or session.memory.agreed or meter.state == MeterState.SUSPENDED
        if meter.state in (MeterState.NEGOTIATING, MeterState.SUSPENDED) and session.deliverable_ticks > 0 and agreed:
            self.emit(ev.DeliveryStarted(at=self.now, subject=session.id, count=meter.count))
            self.context.notify("meter_state", meter)
        elif meter.state == MeterState.DELIVERING and session.deliverable_ticks <= 0:
            self.emit(ev.SessionSuspended(at=self.now, subject=session.id, count=meter.count))
            self.context.notify("meter_state", meter)
            self.context.invoices.urge(session)
        self._low(meter, session)
        self.context.settlement(session).ask(session)
        self._grace(meter, session)

    def _grace(self, meter: Meter, session: SellerSession) -> None:
        """End what has waited for its grace time; our own downtime is not the buyer's, nor what a gate takes."""
        grace_ms = session.tariff.grace_s * 1000
        if session.waits_for_gates:
            session.memory.waited_for_gates_at = self.now
        if self.now - max(session.since, self.context.resumed_at, session.memory.waited_for_gates_at) < grace_ms:
            return
        if meter.state in (MeterState.NEGOTIATING, MeterState.SUSPENDED):
            # Not the buyer's fault where nothing was asked of it, or where the hook would have rejected it.
            theirs = bool(session.asked_for) and not meter.undeliverable(self.now, self.limits.silent_ms)
            used = meter.state == MeterState.SUSPENDED
            why = "credit used up" if used else "not paid in time"
            if session.reserved_msat:  # less than a tick is worth: it takes no more of them, and waits for these
                self.context.closing.end(session, why)
                return
            self.context.closing.close(session, why)
            if used and theirs and session.buyer:
                self.context.meters.lock(meter, session)
        elif not (session.tariff.prepaid or session.charged_msat or session.received_msat or session.reserved_msat):
            self.context.closing.end(session, "opened and not used")
        elif (
            not session.tariff.prepaid
            and session.out
            and self.now - max(session.waiting_since, self.context.resumed_at) >= grace_ms
        ):
            self.context.closing.end(session, "not paid in time")
        elif self._abandoned(session):
            self.context.closing.end(session, "not used any more, and its buyer is gone or does not pay")

    def _abandoned(self, session: SellerSession) -> bool:
        """Whether nothing was used for IDLE_MS, and the buyer was gone, or did not pay what was asked, for as long."""
        if not self._idle(session):
            return False
        before = self.now - self._idle_ms(session)
        gone = 0 < session.memory.gone_at <= before
        return gone or (bool(session.asked_for) and session.waiting_since <= before)

    def make_room(self, session: SellerSession) -> None:
        """Ends a bearer's session that nothing was used of for IDLE_MS, where a buyer asks for its meter.

        A wallet that pays there goes on with that session, and needs no room."""
        if not session.buyer and not session.ending and not session.reserved_msat and self._idle(session):
            self.context.closing.end(session, "not used any more, and a buyer asked for the meter")

    def _idle(self, session: SellerSession) -> bool:
        """Whether nothing was used for IDLE_MS, or the grace time if that is longer."""
        used_at = max(session.memory.used_at, session.reserved_at)
        since = max(session.since, session.opened_at, used_at, self.context.resumed_at)
        return self.now >= since + self._idle_ms(session)

    def _idle_ms(self, session: SellerSession) -> int:
        return max(IDLE_MS, session.tariff.grace_s * 1000)

    def _low(self, meter: Meter, session: SellerSession) -> None:
        if session.memory.low_told and not session.low:
            session.memory.low_told = False
        if session.low and not session.memory.low_told and meter.state in (MeterState.DELIVERING, MeterState.SUSPENDED):
            session.memory.low_told = True
            self.context.notify("meter_low", meter, credit_msat=session.credit_msat)
            if session.buyer:
                self.context.send(session, msg.Low, ticks=session.ticks, credit_msat=session.left_msat)

    def tick(self, _: cmd.Tick) -> None:
        """Time has passed."""
        for meter in self.state.meters.values():
            self.advance(meter)
            self.context.wallet_invoices.look_after(meter)
            self.context.self_service.look_after(meter)
            self.context.offers.look_after(meter)
        for session in list(self.state.sessions.values()):
            if session.open:
                self.context.invoices.resend(session)
                self.context.settlement(session).look_after(session)
            else:
                self.context.closing.wind_up(session)
        self.context.openings.look_after()
        self._forget()

    def _forget(self) -> None:
        """Forget what is over, after a while in which its buyer may still ask for the receipt."""
        over = [each for each in self.state.sessions.values() if each.done]
        for session in over:
            if self.now >= session.memory.touched_at + LINGER_MS:
                del self.state.sessions[session.id]
                self.touch(session.id)
