"""Gates: credit of a session spent on something else than the meter (an API, a door), under the gate's own id."""

from collections.abc import Callable

from . import events as ev
from . import inputs as inp
from .errors import BadParam, NoCredit, TooMany, WrongState
from .metering import Metering
from .sale import OPEN, Sale

RESERVATIONS = 1_000


class Gates(Metering):
    """Reserve, then settle or release; each step may be repeated."""

    def _spend(self, i: inp.Spend) -> Sale:
        s = self.books.sale(i.session)
        steps: dict[str, Callable[[Sale, inp.Spend], None]] = {
            "reserve": self._reserve,
            "settle": self._spend_settle,
            "release": self._release,
        }
        if i.step not in steps:
            raise BadParam(f"step: must be reserve, settle or release, got {i.step!r}", param="step")
        steps[i.step](s, i)
        return s

    def _reserve(self, s: Sale, i: inp.Spend) -> None:
        if i.id in s.settled:
            return
        if i.id in s.reserved and s.reserved[i.id] == i.amount_msat:
            self._check_covered(s, i)
            return
        if s.phase != OPEN or s.ending_at:
            raise WrongState(f"session {s.id} is {s.phase if s.phase != OPEN else 'ending'}")
        if len(s.reserved) >= RESERVATIONS:
            raise TooMany(f"session {s.id} has {RESERVATIONS} reservations that wait to be settled")
        if i.id in s.reserved:
            raise BadParam(f"id: {i.id!r} holds {s.reserved[i.id]} msat already", param="id")
        if i.amount_msat is None or not 1 <= i.amount_msat <= s.credit:
            raise NoCredit(f"amount_msat: {i.amount_msat} msat asked, the credit is {max(0, s.credit)} msat")
        self._emit(ev.CreditReserved(self.now, s.id, i.id, i.amount_msat))
        self._after(s)

    def confirmed(self, s: Sale) -> bool:
        """Whether the board has learned of the reservations, and can't use their credit any more."""
        m = self.books.meters.get(s.meter)
        if m is None or m.session != s.id or m.held is None:
            return True
        return m.seen > 0 and m.offset + m.held <= s.grant_count

    def _check_covered(self, s: Sale, i: inp.Spend) -> None:
        """What the board delivered before it learned of a reservation comes first: then the gate has to do without."""
        if s.tariff.charge(s.ticks) + s.spent + s.on_hold > s.received + s.tariff.limit_msat:
            self._release(s, i)
            raise NoCredit(f"id: the board had used the credit before it learned of {i.id!r}")

    def _spend_settle(self, s: Sale, i: inp.Spend) -> None:
        if i.id in s.settled:
            return
        held = self._held(s, i)
        amount = held if i.amount_msat is None else i.amount_msat
        if amount > held:
            raise BadParam(f"amount_msat: {amount} msat, but {i.id!r} holds {held}", param="amount_msat")
        self._emit(ev.CreditSpent(self.now, s.id, i.id, amount))
        self._after(s)

    def _release(self, s: Sale, i: inp.Spend) -> None:
        if i.id in s.reserved:
            self._emit(ev.CreditReleased(self.now, s.id, i.id))
            self._after(s)

    def _held(self, s: Sale, i: inp.Spend) -> int:
        if i.id not in s.reserved:
            raise NoCredit(f"id: nothing is reserved under {i.id!r}")
        return s.reserved[i.id]
