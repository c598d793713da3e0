"""RPC methods for a bridge: what a device counts comes in, what it may deliver goes out."""

import inspect
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..core import commands as cmd
from ..core.errors import BadParam, LocalError, SatmeterError
from ..core.money import MAX_TICKS, flag, whole
from ..core.plain import Plain
from ..core.reading import Reading
from ..core.seller.seller import Seller
from ..core.tariff import check_name
from .params import PAGE, Method, board_id, boot_id, extended, waiting, word
from .rpc_methods import Call, bind
from .runtime import Answer

if TYPE_CHECKING:
    from ..core.seller.meter import Meter
    from .meter import MeterPlugin


def _report(
    name: str,
    boot: str,
    register: int,
    base: int = 0,
    flow: int = 0,
    plugged: bool | int = True,
    grant: int | None = None,
    display: str = "",
    fault: str = "",
    board: str = "",
    presses: int = 0,
    position: int = 0,
    age: int = 0,
) -> cmd.Report:
    """The reading that the parameters of meter-report say; BadParam names the one that is wrong."""
    name = check_name(name)
    reading = Reading(
        boot_id(boot),
        whole("register", register, 0, MAX_TICKS),
        whole("base", base, 0, MAX_TICKS),
        whole("flow", flow, 0, MAX_TICKS),
        flag("plugged", plugged),
        whole("grant", grant, 0, MAX_TICKS) if grant is not None else None,
        word("display", display),
        word("fault", fault),
        board_id(board),
        whole("presses", presses, 0, MAX_TICKS),
        whole("position", position, 0, 1000),
        whole("age", age, 0, MAX_TICKS),
    )
    return cmd.Report(meter=name, reading=reading)


_OF_REPORT = inspect.signature(_report)


def _as_report(method: Method) -> Method:
    """Give a method the parameters of a reading."""
    return extended(method, _OF_REPORT.parameters.values())


class ReadingRpc:
    """Bound to its plugin; every method answers its Call from the core's thread or at once."""

    METHODS = ("report", "reports", "wait", "changes")

    def __init__(self, plugin: "MeterPlugin"):
        self.p = plugin

    @_as_report
    def report(self, call: Call, **given: Any) -> None:  # Any: what a caller sends, checked one by one
        """Report a board's reading: {register} in ticks within {boot}, begun at {base}. Answers the board's view."""
        self.p.runtime.post(_report(**given), call.showing(self._reported))

    def _reported(self, meter: "Meter") -> object:
        return self.p.board_view(self.p.runtime.present, meter.name) or {}

    def reports(self, call: Call, readings: Sequence[object]) -> None:
        """Report up to 1,000 {readings} at once, each an object with the parameters of meter-report.

        Answers `answers`, one for each in their order: the view, or the `error` of that reading, with its code."""
        if not isinstance(readings, Sequence) or isinstance(readings, str) or len(readings) > PAGE:
            raise BadParam(f"readings: must be a list of at most {PAGE} readings", param="readings")
        parsed: list[cmd.Report | SatmeterError] = []
        for each in readings:
            try:
                if not isinstance(each, dict):
                    raise BadParam("readings: each must be an object", param="readings")
                parsed.append(_report(**bind("meter-reports", _OF_REPORT, each)))
            except SatmeterError as error:
                parsed.append(error)
        answers: list[object] = [_refused(each) if isinstance(each, SatmeterError) else {} for each in parsed]
        left = sum(isinstance(each, cmd.Report) for each in parsed)
        if not left:
            call.reply({"answers": answers})

        def answered(at: int, found: Answer) -> None:  # on the core's thread, one after another
            nonlocal left
            answers[at] = _refused(found) if isinstance(found, Exception) else self._reported(found)
            left -= 1
            if not left:
                call.reply({"answers": answers})

        for at, reading in enumerate(parsed):
            if isinstance(reading, cmd.Report):
                self.p.runtime.post(reading, partial(answered, at))

    def wait(self, call: Call, name: str, lastindex: int = 0, timeout: int = 60) -> None:
        """Wait until the grant, lamp or state of a meter has changed since {lastindex}; for its bridge."""
        after, seconds = waiting(lastindex, timeout)

        def look(core: Seller) -> Seller:
            core.state.meter(name)
            return core

        def wait(core: Seller) -> None:
            self.p.long_polls.wait(name, partial(self.p.board_view, core), after, seconds, call)

        self.p.runtime.run(look, call.then(wait))

    def changes(self, call: Call, lastindex: int = 0, timeout: int = 60) -> None:
        """Wait until any meter's grant, lamp or state has changed since {lastindex}; for a bridge of many meters.

        Answers `index`, `views` by meter (as of meter-wait) of those that have changed, and `gone`, the meters that
        are no more. With {lastindex} 0 all of them have."""
        after, seconds = waiting(lastindex, timeout)

        def wait(core: Seller) -> None:
            view = partial(self.p.board_view, core)
            self.p.long_polls.wait_for_all(list(core.state.meters), view, after, seconds, call)

        self.p.runtime.run(lambda core: core, call.then(wait))


def _refused(error: Exception) -> Plain:
    if isinstance(error, SatmeterError):
        return {"error": {"code": error.code, "message": f"{error.name}: {error.message}", "data": error.data}}
    return {"error": {"code": LocalError.code, "message": f"internal error: {type(error).__name__}"}}
