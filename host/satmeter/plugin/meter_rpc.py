"""RPC methods of the meters themselves: add, change, show and remove.

In every method of the seller's plugin amounts are msat (a number, or text such as 5sat), counts ticks, times seconds
or (in results, *_at) milliseconds.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import __version__
from ..core import commands as cmd
from ..core.plain import Plain
from ..core.seller import views
from ..core.seller.seller import Seller
from ..core.status import MeterStatus, SellerStatus, UnownedPayment
from ..core.tariff import Tariff, check_name
from .params import Method, board_id, extended
from .rpc_methods import Call

if TYPE_CHECKING:
    from ..core.seller.meter import Meter
    from .meter import MeterPlugin


def _tariff(required: bool) -> Callable[[Method], Method]:
    """Give a method the tariff's fields as its parameters; those without a default come first in Tariff, too."""

    def decorate(method: Method) -> Method:
        named = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=inspect.Parameter.empty if required and field.default is dataclasses.MISSING else None,
            )
            for field in dataclasses.fields(Tariff)
        ]
        return extended(method, named)

    return decorate


class MeterRpc:
    """Bound to its plugin; every method answers its Call from the core's thread or at once."""

    METHODS = ("add", "list", "set", "remove", "bind", "status", "unlock")

    def __init__(self, plugin: "MeterPlugin"):
        self.p = plugin

    def _meter(self, core: Seller, name: str, at_risk_msat: int) -> MeterStatus:
        meter = core.state.meter(name)
        openings = sum(1 for session in core.waiting.values() if session.meter == name)
        now, silent_ms = self.p.runtime.clock.now(), core.limits.silent_ms
        holder = core.state.sessions.get(meter.session)
        codes, address = self.p.codes(core, meter), self.p.address(name)
        return views.meter_status(
            meter, holder, now, silent_ms, openings, core.state.offers, at_risk_msat, codes, address
        )

    def _shown(self, meter: "Meter") -> MeterStatus:
        core = self.p.runtime.present
        return self._meter(core, meter.name, core.state.at_risk_msat().get(meter.name, 0))

    def _change(self, call: Call, what: cmd.Command) -> None:
        """Has the core change a meter, and answers with how it stands then."""
        self.p.runtime.post(what, call.showing(self._shown))

    @_tariff(required=True)
    def add(self, call: Call, name: str, **tariff: object) -> None:
        """Add a meter: {price_msat} per unit of {ticks_per_unit} ticks, at most {quantum_msat} at risk."""
        self._change(call, cmd.AddMeter(meter=name, tariff=tariff))

    @_tariff(required=False)
    def set(self, call: Call, name: str, **tariff: object) -> None:
        """Change a meter's tariff. A running session keeps the terms that it was opened with."""
        self._change(call, cmd.SetMeter(meter=name, tariff=tariff))

    def list(self, call: Call) -> None:
        """List the meters: name, state, price and address of each."""

        def look(core: Seller) -> Plain:
            return {
                "meters": [
                    {
                        "name": meter.name,
                        "state": meter.state,
                        "price_msat": meter.tariff.price_msat,
                        "unit": meter.tariff.unit,
                        "address": self.p.address(meter.name),
                    }
                    for meter in core.state.meters.values()
                ]
            }

        self.p.runtime.run(look, call.reply)

    def remove(self, call: Call, name: str) -> None:
        """Remove a meter that is in standby. Its sessions stay in the journal."""
        self.p.runtime.post(cmd.RemoveMeter(meter=name), call.showing(lambda meter: {"removed": meter.name}))

    def bind(self, call: Call, name: str, board: str = "") -> None:
        """Have only the board with the id {board} count for a meter; without one the next board that reports."""
        self._change(call, cmd.BindBoard(meter=check_name(name), board=board_id(board)))

    def status(self, call: Call, name: str | None = None) -> None:
        """Show a meter, or all: state, register, grant, credit, exposure, and its live sessions."""

        def look(core: Seller) -> SellerStatus:
            names = [core.state.meter(name).name] if name is not None else sorted(core.state.meters)
            sessions = [  # without a name, those of meters that were removed as well
                views.session_status(session)
                for session in core.state.sessions.values()
                if name is None or session.meter == name
            ]
            unowned = [UnownedPayment(label=label, amount_msat=amount) for label, amount in core.state.unowned.items()]
            at_risk = core.state.at_risk_msat()
            shown = [self._meter(core, key, at_risk.get(key, 0)) for key in names]
            return SellerStatus(
                meters=shown, sessions=sessions, unowned=unowned, journal=core.context.journal, version=__version__
            )

        self.p.runtime.run(look, call.reply)

    def unlock(self, call: Call, name: str) -> None:
        """Lift the lockout of a meter now."""
        self._change(call, cmd.Unlock(meter=name))
