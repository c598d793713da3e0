"""Gates: credit of a session spent on something else than the meter (an API, a door), under the gate's own id."""

from collections.abc import Callable

from . import events as ev
from . import inputs as inp
from .errors import BadParam, NoCredit, WrongState
from .metering import Metering
from .sale import OPEN, Sale


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
        if s.phase != OPEN:
            raise WrongState(f"session {s.id} is {s.phase}")
        if i.id in s.settled or s.reserved.get(i.id) == i.amount_msat:
            return
        if i.id in s.reserved:
            raise BadParam(f"id: {i.id!r} holds {s.reserved[i.id]} msat already", param="id")
        if i.amount_msat is None or not 1 <= i.amount_msat <= s.credit:
            raise NoCredit(f"amount_msat: {i.amount_msat} msat asked, the credit is {max(0, s.credit)} msat")
        self._emit(ev.CreditReserved(self.now, s.id, i.id, i.amount_msat))
        self._after(s)

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
