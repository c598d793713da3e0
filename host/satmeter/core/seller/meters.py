"""Meters: adding, changing and removing them, which board is theirs, and their lockouts."""

from .. import commands as cmd
from ..errors import NameTaken, TooMany, WrongState
from ..states import MeterState
from ..tariff import Tariff, check_name
from . import events as ev
from .context import Part
from .meter import Meter
from .session import SellerSession


class Meters(Part):
    """What an operator does with meters."""

    def add(self, command: cmd.AddMeter) -> Meter:
        """meter-add."""
        name = check_name(command.meter)
        tariff = Tariff.from_dict(command.tariff)
        if name in self.state.meters:
            raise NameTaken(f"name: there is a meter {name!r} already; meter-set changes it", param="name")
        if len(self.state.meters) >= self.limits.meters:
            raise TooMany(f"this seller has {self.limits.meters} meters, its limit (option meter-max-meters)")
        self.emit(ev.MeterAdded(at=self.now, subject=f"meter/{name}", tariff=tariff))
        return self.state.meters[name]

    def change(self, command: cmd.SetMeter) -> Meter:
        """meter-set: what is not named stays."""
        meter = self.state.meter(command.meter)
        present = meter.tariff.to_dict()
        if meter.tariff.low_water_msat == meter.tariff.quantum_msat // 4:
            del present["low_water_msat"]  # it was the default, and follows the quantum
        tariff = Tariff.from_dict({**present, **command.tariff})
        old = meter.tariff
        if meter.wallet_invoices and not tariff.priced_as(old):
            self.context.wallet_invoices.cancel_all(meter, "given another price")
        self.emit(ev.MeterChanged(at=self.now, subject=meter.subject, tariff=tariff))
        if tariff.rating_ticks_per_s != old.rating_ticks_per_s:
            meter.rate_from_here(self.now)
        return meter

    def remove(self, command: cmd.RemoveMeter) -> Meter:
        """meter-remove."""
        meter = self.state.meter(command.meter)
        if meter.state != MeterState.STANDBY:
            raise WrongState(f"meter {meter.name} is in {meter.state}; only a meter in standby can be removed")
        if meter.wallet_invoices:
            self.context.wallet_invoices.cancel_all(meter, "removed")
        left = [each for each in self.state.sessions.values() if each.meter == meter.name and not each.buyer]
        if owed_msat := sum(each.owed_msat for each in left):  # they ask for it on the meter's page
            raise WrongState(
                f"meter {meter.name} owes {owed_msat} msat to wallets that paid there, until they have it back, or "
                f"remainder_s of its tariff ({meter.tariff.remainder_s} s) is over; then it can be removed"
            )
        waiting = [session for session in self.context.waiting.values() if session.meter == meter.name]
        for session in waiting:
            self.context.openings.drop(session, "the meter is being removed")
        if waiting:
            raise WrongState(
                f"{len(waiting)} buyers were about to pay at meter {meter.name}; they were told that it ends; try again"
            )
        self.context.offers.end_all(meter)
        self.emit(ev.MeterRemoved(at=self.now, subject=meter.subject))
        return meter

    def bind(self, command: cmd.BindBoard) -> Meter:
        """meter-bind."""
        meter = self.state.meter(command.meter)
        if command.board != meter.board:
            self.emit(ev.BoardBound(at=self.now, subject=meter.subject, board=command.board))
        meter.memory.refused = ""
        return meter

    def unlock(self, command: cmd.Unlock) -> Meter:
        """meter-unlock."""
        meter = self.state.meter(command.meter)
        if meter.state != MeterState.LOCKOUT:
            raise WrongState(f"meter {meter.name} is in {meter.state}, not locked")
        self.lift_lockout(meter, "by hand")
        return meter

    def lift_lockout(self, meter: Meter, why: str) -> None:
        """End a lockout before its time, or at it."""
        self.emit(ev.Unlocked(at=self.now, subject=meter.subject, why=why))
        self.context.notify("meter_state", meter, why=why)

    def lock(self, meter: Meter | None, session: SellerSession, more_s: int = 0) -> None:
        """Lock out the buyer of a session and the meter's plug, `more_s` seconds longer than the tariff says."""
        until = self.now + (session.tariff.lockout_s + more_s) * 1000
        if meter is not None and session.tariff.lockout_s and meter.state == MeterState.STANDBY:
            self.emit(
                ev.Locked(at=self.now, subject=meter.subject, until=until, buyer=session.buyer, session=session.id)
            )
            self.context.notify("meter_state", meter, until=until)
