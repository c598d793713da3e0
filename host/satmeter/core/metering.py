"""Metering: meters, their boards' readings, and what becomes due as the count and the time go on."""

from . import events as ev
from . import inputs as inp
from . import messages as msg
from .errors import BadParam, Implausible, NameTaken, TooMany, WrongState
from .meter import DELIVERING, LESSER_FAULTS, LOCKOUT, NEGOTIATING, STANDBY, SUSPENDED, Meter
from .sale import OPEN, Sale
from .settling import Settling
from .tariff import Tariff, check_name

RESERVED_MS = 600_000
"""How long a gate may hold credit without settling: else one that died would hold the meter for good."""

LINGER_MS = 60_000


class Metering(Settling):
    """Delivery starts when there is credit, is suspended when it is used up, and ends when it waited too long."""

    def _add(self, i: inp.AddMeter) -> Meter:
        name = check_name(i.meter)
        tariff = Tariff.from_dict(i.tariff)
        if name in self.books.meters:
            raise NameTaken(f"name: there is a meter {name!r} already; meter-set changes it", param="name")
        if len(self.books.meters) >= self.limits.meters:
            raise TooMany(f"this seller has {self.limits.meters} meters, its limit (option meter-max-meters)")
        self._emit(ev.MeterAdded(self.now, f"meter/{name}", tariff.to_dict()))
        return self.books.meters[name]

    def _set(self, i: inp.SetMeter) -> Meter:
        m = self.books.meter(i.meter)
        present = m.tariff.to_dict()
        if m.tariff.low_water_msat == m.tariff.quantum_msat // 4:
            del present["low_water_msat"]  # it was the default, and follows the quantum
        tariff = Tariff.from_dict({**present, **i.tariff})
        old = m.tariff
        if m.offers and (tariff.price_msat, tariff.ticks_per_unit, tariff.mode) != (
            old.price_msat,
            old.ticks_per_unit,
            old.mode,
        ):
            self._cancel_offers(m, "given another price")
        self._emit(ev.MeterChanged(self.now, m.stream, tariff.to_dict()))
        if tariff.rating_ticks_per_s != old.rating_ticks_per_s:
            m.rate_from_here(self.now)
        return m

    def _remove(self, i: inp.RemoveMeter) -> Meter:
        m = self.books.meter(i.meter)
        if m.state != STANDBY:
            raise WrongState(f"meter {m.name} is in {m.state}; only a meter in standby can be removed")
        if m.offers:
            self._cancel_offers(m, "removed")
        waiting = [s for s in self.openings.values() if s.meter == m.name]
        for s in waiting:
            self._drop_opening(s, "the meter is being removed")
        if waiting:
            raise WrongState(f"{len(waiting)} buyers were about to pay at meter {m.name}; they are told, now try again")
        self._emit(ev.MeterRemoved(self.now, m.stream))
        return m

    def _reading(self, i: inp.Reading) -> Meter:
        m = self.books.meter(i.meter)
        if i.register < i.base:
            raise BadParam(f"register: {i.register} is under the base {i.base} of its boot", param="register")
        try:
            m.check_reporter(i.board, i.boot)
            if i.board and not m.board:
                self._emit(ev.BoardBound(self.now, m.stream, i.board))
            if m.boot != i.boot:
                kept, offset = m.offset, m.offset_after_boot(i.base, i.register, self.now)
                jumped = max(0, kept + i.base - m.count) if offset != kept and not m.rebound and m.seen else 0
                self._emit(ev.BoardBooted(self.now, m.stream, i.boot, offset, max(m.count, offset + i.base)))
                if jumped:
                    self._tell_jump(m, i.base, jumped)
            count = m.count_at(i.register, self.now)
        except Implausible as e:
            m.refused, m.refused_at = e.message, self.now
            raise
        if count != m.offset + i.register:
            self._jumped(m, count, i.register)
        m.count, m.flow, m.plugged, m.held = m.offset + i.register, i.flow, i.plugged, i.grant
        m.display, m.fault = i.display, i.fault
        m.fault_at = 0 if m.fault in LESSER_FAULTS else m.fault_at or self.now
        if not m.seen:
            m.rate_from_here(self.now)
        m.jumped = (0, 0, "")
        m.seen = self.now
        self.step.touched.add(m.stream)
        if m.session:
            self._count_session(m, self.books.sales[m.session])
        self._advance(m)
        if m.session and self._unrecorded(m, self.books.sales[m.session]):
            self._emit(ev.Counted(self.now, m.stream, m.count))
        return m

    def _jumped(self, m: Meter, count: int, register: int) -> None:
        """A register stays where it jumped to: the count goes on as it was, and a person is told."""
        lost = m.offset + register - count
        self._emit(ev.RegisterJumped(self.now, m.stream, count - register, count, lost))
        m.rate_from_here(self.now)
        self._tell_jump(m, register, lost)

    def _tell_jump(self, m: Meter, register: int, lost: int) -> None:
        why = f"the register jumped to {register}, more than the rating allows: {lost} ticks are not counted"
        m.refused, m.refused_at = why, self.now
        self._notify("meter_alarm", m, why=why)

    def _bind(self, i: inp.BindBoard) -> Meter:
        m = self.books.meter(i.meter)
        if i.board != m.board:
            self._emit(ev.BoardBound(self.now, m.stream, i.board))
        m.refused = ""
        return m

    def _count_session(self, m: Meter, s: Sale) -> None:
        """Count a reading for the session. Its first one says where it begins: what the board had drawn of the
        allowance before, and had not told, is the seller's; the allowance bounds it, however late that reading
        comes."""
        if m.count != s.count:
            s.used_at = self.now
        s.count = m.count
        if s.start_latest >= 0:
            self._emit(ev.StartCounted(self.now, s.id, max(s.start_count, min(m.count, s.start_latest))))

    def _unrecorded(self, m: Meter, s: Sale) -> bool:
        """Whether a crash now would forget more of the count than half an invoice is worth."""
        return s.tariff.charge(m.count - m.recorded) > s.tariff.slice_msat // 2

    def _unlock(self, i: inp.Unlock) -> Meter:
        m = self.books.meter(i.meter)
        if m.state != LOCKOUT:
            raise WrongState(f"meter {m.name} is in {m.state}, not locked")
        self._unlocked(m, "by hand")
        return m

    def _unlocked(self, m: Meter, why: str) -> None:
        self._emit(ev.Unlocked(self.now, m.stream, why))
        self._notify("meter_state", m, why=why)

    # --- what has become due

    def _advance(self, m: Meter) -> None:
        """Do what the meter's state makes due now."""
        if m.state == LOCKOUT and self.now >= m.lock_until:
            self._unlocked(m, "the lockout is over")
        if m.state == STANDBY:
            if m.period_over(self.now):
                self._emit(ev.AllowanceBegun(self.now, m.stream, m.count))
            return
        s = self.books.sales.get(m.session)
        if s is None:
            return
        self._release_old(s)
        if s.ending_at:
            self._close_when_stopped(m, s)
            return
        if not m.plugged:
            self._end(s, "unplugged")
            return
        if m.fault_at and self.now - max(m.fault_at, self.resumed_at) >= s.tariff.grace_s * 1000:
            self._end(s, f"the board can't deliver: {m.fault}")
            return
        if s.tariff.session_max_s and self.now >= s.opened_at + s.tariff.session_max_s * 1000:
            self._end(s, "the longest time of a session is over")
            return
        self._run(m, s)

    def _run(self, m: Meter, s: Sale) -> None:
        """Start or suspend delivery, give the low notice, ask for money; end what waited too long."""
        agreed = s.tariff.prepaid or s.agreed or m.state == SUSPENDED
        if m.state in (NEGOTIATING, SUSPENDED) and s.deliverable > 0 and agreed:
            self._emit(ev.DeliveryStarted(self.now, s.id, m.count))
            self._notify("meter_state", m)
        elif m.state == DELIVERING and s.deliverable <= 0:
            self._emit(ev.SessionSuspended(self.now, s.id, m.count))
            self._notify("meter_state", m)
            self._urge(s)
        self._low(m, s)
        self._ask(s)
        self._grace(m, s)

    def _grace(self, m: Meter, s: Sale) -> None:
        """End what has waited for its grace time; our own downtime is not the buyer's."""
        grace_ms = s.tariff.grace_s * 1000
        if self.now - max(s.since, self.resumed_at) < grace_ms or s.on_hold:
            return
        if m.state in (NEGOTIATING, SUSPENDED):
            # Not the buyer's fault where nothing was asked of it, or where the hook would have rejected it.
            theirs = bool(s.bolt11) and not m.undeliverable(self.now, self.limits.silent_ms)
            used = m.state == SUSPENDED
            self._close(s, "credit used up" if used else "not paid in time")
            if used and theirs and s.buyer:
                self._lock(m, s)
        elif not s.tariff.prepaid and not s.charged and not s.received:
            self._end(s, "opened and not used")
        elif not s.tariff.prepaid and s.out and self.now - max(s.waiting_since, self.resumed_at) >= grace_ms:
            self._end(s, "not paid in time")

    def _release_old(self, s: Sale) -> None:
        if s.on_hold and self.now >= max(s.reserved_at, self.resumed_at) + RESERVED_MS:
            for held in list(s.reserved):
                self._emit(ev.CreditReleased(self.now, s.id, held))

    def _low(self, m: Meter, s: Sale) -> None:
        if s.low_told and not s.low:
            s.low_told = False
        if s.low and not s.low_told and m.state in (DELIVERING, SUSPENDED):
            s.low_told = True
            self._notify("meter_low", m, credit_msat=s.credit)
            if s.buyer:
                self._send(s, msg.Low, ticks=s.ticks, credit_msat=s.left_msat)

    def _lock(self, m: Meter | None, s: Sale, more_s: int = 0) -> None:
        until = self.now + (s.tariff.lockout_s + more_s) * 1000
        if m is not None and s.tariff.lockout_s and m.state == STANDBY:
            self._emit(ev.Locked(self.now, m.stream, until, s.buyer, s.id))
            self._notify("meter_state", m, until=until)

    def _tick(self, _: inp.Tick) -> None:
        for m in self.books.meters.values():
            self._advance(m)
            self._look_after_offers(m)
        for s in list(self.books.sales.values()):
            if s.phase == OPEN:
                self._resend(s)
                self._send_off(s)
            else:
                self._settle(s)
        self._look_after_openings()
        self._forget()

    def _forget(self) -> None:
        """Let go of what is over, after a while in which its buyer may still ask for the receipt."""
        for s in [s for s in self.books.sales.values() if s.done and self.now >= s.touched_at + LINGER_MS]:
            del self.books.sales[s.id]
