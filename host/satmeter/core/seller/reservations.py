"""Reservations: credit of a session spent on something else than the meter (an API, a door), under a gate's own id."""

from collections.abc import Callable

from .. import commands as cmd
from ..errors import BadParam, NoCredit, TooMany, WrongState
from . import events as ev
from .context import Part
from .session import SellerSession

RESERVATIONS = 1_000
RESERVED_MS = 600_000
"""How long a gate may hold credit without settling: else one that died would hold the meter for good."""


class Reservations(Part):
    """Reserve, then capture or release; each step may be repeated."""

    def spend(self, command: cmd.Spend) -> SellerSession:
        """meter-spend."""
        session = self.state.session(command.session)
        steps: dict[str, Callable[[SellerSession, cmd.Spend], None]] = {
            "reserve": self._reserve,
            "settle": self._capture,
            "release": self._release,
        }
        if command.step not in steps:
            raise BadParam(f"step: must be reserve, settle or release, got {command.step!r}", param="step")
        steps[command.step](session, command)
        return session

    def _reserve(self, session: SellerSession, command: cmd.Spend) -> None:
        if command.id in session.captured:
            return
        if command.id in session.reserved and session.reserved[command.id] == command.amount_msat:
            self._check_covered(session, command)
            return
        if not session.open or session.ending:
            raise WrongState(f"session {session.id} is {session.state}")
        if len(session.reserved) >= RESERVATIONS:
            raise TooMany(f"session {session.id} has {RESERVATIONS} reservations that wait to be settled")
        if command.id in session.reserved:
            raise BadParam(f"id: {command.id!r} holds {session.reserved[command.id]} msat already", param="id")
        if command.amount_msat is None or not 1 <= command.amount_msat <= session.credit_msat:
            raise NoCredit(
                f"amount_msat: {command.amount_msat} msat asked, the credit is {max(0, session.credit_msat)} msat"
            )
        self.emit(ev.CreditReserved(at=self.now, subject=session.id, id=command.id, amount_msat=command.amount_msat))
        self.context.metering.proceed(session)

    def confirmed(self, session: SellerSession) -> bool:
        """Whether the board has learned of the reservations, and can't use their credit any more.

        It has by what it says after them; what it said before, and is told late, says nothing of them. A board that
        states no grant has learned of them by the answer to a report, once it reports again. One that was not heard
        since our start may hold any grant of before."""
        meter = self.state.meters.get(session.meter)
        if meter is None or meter.session != session.id:
            return True
        board = meter.memory
        if board.grant_held is None:
            return board.answered_at > session.reserved_at
        return board.said_at >= session.reserved_at and meter.offset + board.grant_held <= session.grant_count

    def _check_covered(self, session: SellerSession, command: cmd.Spend) -> None:
        """What the board delivered before it learned of a reservation comes first: then the gate has to do without."""
        wanted = session.tariff.charge(session.ticks) + session.spent_msat + session.reserved_msat
        if wanted > session.received_msat + session.tariff.limit_msat:
            self._release(session, command)
            raise NoCredit(f"id: the board had used the credit before it learned of {command.id!r}")

    def _capture(self, session: SellerSession, command: cmd.Spend) -> None:
        if command.id in session.captured:
            return
        held = self._held(session, command)
        amount = held if command.amount_msat is None else command.amount_msat
        if amount > held:
            raise BadParam(f"amount_msat: {amount} msat, but {command.id!r} holds {held}", param="amount_msat")
        self.emit(ev.CreditSpent(at=self.now, subject=session.id, id=command.id, amount_msat=amount))
        self.context.metering.proceed(session)

    def _release(self, session: SellerSession, command: cmd.Spend) -> None:
        if command.id in session.reserved:
            self.emit(ev.CreditReleased(at=self.now, subject=session.id, id=command.id))
            self.context.metering.proceed(session)

    def _held(self, session: SellerSession, command: cmd.Spend) -> int:
        if command.id not in session.reserved:
            raise NoCredit(f"id: nothing is reserved under {command.id!r}")
        return session.reserved[command.id]

    def release_old(self, session: SellerSession) -> None:
        """Release each reservation that its gate has not settled for too long."""
        for held in list(session.reserved):
            since = session.reserved_since.get(held, session.reserved_at)
            if self.now >= max(since, self.context.resumed_at) + RESERVED_MS:
                self.emit(ev.CreditReleased(at=self.now, subject=session.id, id=held))
