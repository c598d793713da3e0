"""The RPC methods of the seller's plugin: parameters in, commands to the core, views out.

Amounts are msat (a number, or text such as 5sat), counts ticks, times seconds or (in results, *_at) milliseconds.
"""

import csv
import dataclasses
import inspect
import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..core import commands as cmd
from ..core import receipt
from ..core.errors import BadParam, LocalError, SatmeterError, UnknownSession
from ..core.journal import decode
from ..core.money import MAX_TICKS, flag, msat, whole
from ..core.plain import Plain
from ..core.receipt import Sum
from ..core.seller import views
from ..core.seller.history import session_event
from ..core.seller.seller import Seller
from ..core.seller.session import SellerSession
from ..core.status import answer
from ..core.tariff import Tariff, check_name
from ..journal.rates import Rates
from ..journal.store import Journal, StoredEvent, StoredSession
from . import totals
from .rpc_methods import Call, bind
from .runtime import Answer

if TYPE_CHECKING:
    from ..core.seller.meter import Meter
    from .meter import MeterPlugin

Method = TypeVar("Method", bound=Callable[..., None])
PAGE = 1000
FOREVER_S = 3600
NOTE = 500
METADATA = 2_000
COMMENT = 200


def _tariff(required: bool) -> Callable[[Method], Method]:
    """Give a method the tariff's fields as its parameters; those without a default come first in Tariff, too."""

    def decorate(method: Method) -> Method:
        known = inspect.signature(method)
        fixed = [
            parameter for parameter in known.parameters.values() if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        named = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=inspect.Parameter.empty if required and field.default is dataclasses.MISSING else None,
            )
            for field in dataclasses.fields(Tariff)
        ]
        method.__signature__ = known.replace(parameters=[*fixed, *named])  # type: ignore[attr-defined]
        return method

    return decorate


def _reading(
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
) -> cmd.Reading:
    """The reading that the parameters of meter-report say; BadParam names the one that is wrong."""
    return cmd.Reading(
        check_name(name),
        check_boot(boot),
        whole("register", register, 0, MAX_TICKS),
        whole("base", base, 0, MAX_TICKS),
        whole("flow", flow, 0, MAX_TICKS),
        flag("plugged", plugged),
        whole("grant", grant, 0, MAX_TICKS) if grant is not None else None,
        _word("display", display),
        _word("fault", fault),
        _board(board),
        whole("presses", presses, 0, MAX_TICKS),
        whole("position", position, 0, 1000),
        whole("age", age, 0, MAX_TICKS),
    )


_OF_READING = inspect.signature(_reading)


def _as_reading(method: Method) -> Method:
    """Give a method the parameters of a reading."""
    known = inspect.signature(method)
    fixed = [
        parameter for parameter in known.parameters.values() if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    method.__signature__ = known.replace(  # type: ignore[attr-defined]
        parameters=[*fixed, *_OF_READING.parameters.values()]
    )
    return method


class MeterRpc:
    """Bound to its plugin; every method answers its Call from the service's thread or at once."""

    def __init__(self, plugin: "MeterPlugin"):
        self.p = plugin

    def methods(self) -> dict[str, Callable[..., None]]:
        """Returns the seller's RPC methods by name, without the prefix "meter-"."""
        names = [
            "add",
            "list",
            "set",
            "remove",
            "report",
            "reports",
            "bind",
            "wait",
            "changes",
            "status",
            "invoice",
            "offer",
            "spend",
            "sessions",
            "history",
            "export",
            "totals",
            "close",
            "refund",
            "unlock",
            "attend",
        ]
        return {name: getattr(self, name) for name in names}

    def _post(self, call: Call, what: cmd.Command, show: Callable[[Answer], object]) -> None:
        """Hand a command to the core; `show` turns its result into the answer, on the core's thread."""

        def reply(found: Answer) -> None:
            try:
                call.reply(found if isinstance(found, Exception) else show(found))
            except Exception as error:
                call.reply(error)

        self.p.runtime.post(what, reply)

    def _look(self, call: Call, look: Callable[[Seller], object]) -> None:
        self.p.runtime.run(look, call.reply)

    def _meter(self, core: Seller, name: str, at_risk_msat: int) -> Plain:
        meter = core.state.meter(name)
        openings = sum(1 for session in core.waiting.values() if session.meter == name)
        now, silent_ms = self.p.runtime.clock.now(), core.limits.silent_ms
        holder = core.state.sessions.get(meter.session)
        shown = views.meter_status(meter, holder, now, silent_ms, openings, core.state.offers, at_risk_msat)
        board = views.board(meter, holder, self.p.codes(core, meter))
        return {**answer(shown), "page": board.page, "codes": board.codes, "address": self.p.address(name)}

    def _shown(self, name: str) -> Plain:
        core = self.p.runtime.present
        return self._meter(core, name, core.state.at_risk_msat().get(name, 0))

    @_tariff(required=True)
    def add(self, call: Call, name: str, **tariff: object) -> None:
        """Add a meter: {price_msat} per unit of {ticks_per_unit} ticks, at most {quantum_msat} at risk."""
        self._post(call, cmd.AddMeter(name, tariff), lambda meter: self._shown(meter.name))

    @_tariff(required=False)
    def set(self, call: Call, name: str, **tariff: object) -> None:
        """Change a meter's tariff. A running session keeps the terms that it was opened with."""
        self._post(call, cmd.SetMeter(name, tariff), lambda meter: self._shown(meter.name))

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

        self._look(call, look)

    def remove(self, call: Call, name: str) -> None:
        """Remove a meter that is in standby. Its sessions stay in the journal."""
        self._post(call, cmd.RemoveMeter(name), lambda meter: {"removed": meter.name})

    @_as_reading
    def report(self, call: Call, **given: Any) -> None:  # Any: what a caller sends, checked one by one
        """Report a board's reading: {register} in ticks within {boot}, begun at {base}. Answers the board's view."""
        self._post(call, _reading(**given), self._reported)

    def _reported(self, meter: "Meter") -> object:
        return self.p.board_view(self.p.runtime.present, meter.name) or {}

    def reports(self, call: Call, readings: Sequence[object]) -> None:
        """Report up to 1,000 {readings} at once, each an object with the parameters of meter-report.

        Answers `answers`, one for each in their order: the view, or the `error` of that reading, with its code."""
        if not isinstance(readings, Sequence) or isinstance(readings, str) or len(readings) > PAGE:
            raise BadParam(f"readings: must be a list of at most {PAGE} readings", param="readings")
        parsed: list[cmd.Reading | SatmeterError] = []
        for each in readings:
            try:
                if not isinstance(each, dict):
                    raise BadParam("readings: each must be an object", param="readings")
                parsed.append(_reading(**bind("meter-reports", _OF_READING, each)))
            except SatmeterError as error:
                parsed.append(error)
        answers: list[object] = [_refused(each) if isinstance(each, SatmeterError) else {} for each in parsed]
        left = sum(isinstance(each, cmd.Reading) for each in parsed)
        if not left:
            call.reply({"answers": answers})

        def answered(at: int, found: Answer) -> None:  # on the service's thread, one after another
            nonlocal left
            answers[at] = _refused(found) if isinstance(found, Exception) else self._reported(found)
            left -= 1
            if not left:
                call.reply({"answers": answers})

        for at, reading in enumerate(parsed):
            if isinstance(reading, cmd.Reading):
                self.p.runtime.post(reading, partial(answered, at))

    def changes(self, call: Call, lastindex: int = 0, timeout: int = 60) -> None:
        """Wait until any meter's grant, lamp or state has changed since {lastindex}; for a bridge of many meters.

        Answers `index`, `views` by meter (as of meter-wait) of those that have changed, and `gone`, the meters that
        are no more. With {lastindex} 0 all of them have."""
        after = whole("lastindex", lastindex, 0, 2**62)
        seconds = whole("timeout", timeout, 0, FOREVER_S)

        def then(core: Answer) -> None:
            if isinstance(core, Exception):
                call.reply(core)
            else:
                view = partial(self.p.board_view, core)
                self.p.long_polls.wait_for_all(list(core.state.meters), view, after, seconds, call)

        self.p.runtime.run(lambda core: core, then)

    def bind(self, call: Call, name: str, board: str = "") -> None:
        """Have only the board with the id {board} count for a meter; without one the next board that reports."""
        self._post(call, cmd.BindBoard(check_name(name), _board(board)), lambda meter: self._shown(meter.name))

    def wait(self, call: Call, name: str, lastindex: int = 0, timeout: int = 60) -> None:
        """Wait until the grant, lamp or state of a meter has changed since {lastindex}; for its bridge."""
        after = whole("lastindex", lastindex, 0, 2**62)
        seconds = whole("timeout", timeout, 0, FOREVER_S)

        def look(core: Seller) -> Seller:
            core.state.meter(name)
            return core

        def then(core: Answer) -> None:
            if isinstance(core, Exception):
                call.reply(core)
            else:
                self.p.long_polls.wait(name, lambda key: self.p.board_view(core, key), after, seconds, call)

        self.p.runtime.run(look, then)

    def status(self, call: Call, name: str | None = None) -> None:
        """Show a meter, or all: state, register, grant, credit, exposure, and its live sessions."""

        def look(core: Seller) -> Plain:
            names = [core.state.meter(name).name] if name is not None else sorted(core.state.meters)
            sessions = [
                views.session_status(session) for session in core.state.sessions.values() if session.meter in names
            ]
            unowned = [{"label": label, "amount_msat": amount} for label, amount in core.state.unowned.items()]
            at_risk = core.state.at_risk_msat()
            shown = [self._meter(core, key, at_risk.get(key, 0)) for key in names]
            return {"meters": shown, "sessions": sessions, "unowned": unowned, "journal": core.context.journal}

        self._look(call, look)

    def invoice(
        self,
        call: Call,
        name: str,
        amount_msat: int | None = None,
        metadata: str = "",
        deliverable: bool | int | str = False,
        note: str = "",
    ) -> None:
        """Make an invoice that any wallet can pay for {amount_msat} of the meter (default: one quantum).

        With {deliverable} true it is refused where the meter can't deliver now. {note} is the payer's, for the
        receipt."""
        amount = msat("amount_msat", amount_msat, 1) if amount_msat is not None else 0

        def reply(found: Answer) -> None:
            if isinstance(found, Exception):
                call.reply(found)
                return
            label, session = found

            def made(bolt11: str | SatmeterError) -> None:
                known = isinstance(bolt11, Exception)
                call.reply(bolt11 if known else {"bolt11": bolt11, "label": label, "session": session})

            self.p.invoices_asked[label] = made

        for param, text, most in (("metadata", metadata, METADATA), ("note", note, COMMENT)):
            if len(text) > most:
                raise BadParam(f"{param}: must be at most {most} characters", param=param)
        asked = cmd.MakeWalletInvoice(name, amount, metadata, flag("deliverable", deliverable), note)
        self.p.runtime.post(asked, reply)

    def offer(self, call: Call, name: str, amount_msat: int | None = None, active: bool | int | str = True) -> None:
        """Make a standing offer (BOLT 12) of a meter, for {amount_msat} or any amount, or end it by {active} false.

        The node answers it while the meter can deliver."""
        amount = msat("amount_msat", amount_msat, 1) if amount_msat is not None else 0

        def show(core: Seller, offer_id: str) -> Plain:
            return {"meter": name, **answer(views.offer_status(offer_id, core.state.offers[offer_id]))}

        def reply(found: Answer) -> None:
            if isinstance(found, Exception):
                call.reply(found)
                return
            label, known = found
            if known:
                call.reply(show(self.p.runtime.present, known))
                return

            def made(offer_id: str | SatmeterError) -> None:
                if isinstance(offer_id, Exception):
                    call.reply(offer_id)
                else:
                    self._look(call, lambda core: show(core, offer_id))

            self.p.offers_asked.setdefault(label, []).append(made)

        self.p.runtime.post(cmd.AskOffer(name, amount, flag("active", active)), reply)

    def spend(self, call: Call, session: str, id: str, step: str, amount_msat: int | None = None) -> None:
        """Spend credit at a gate: {step} reserve holds {amount_msat} under {id}, settle takes, release frees.

        Serve only once `confirmed`: until the board has learned of a reservation, it may still use the credit."""
        if not isinstance(id, (str, int)) or not 0 < len(str(id)) <= 64:
            raise BadParam(f"id: must be 1 to 64 characters, got {id!r}", param="id")
        amount = msat("amount_msat", amount_msat) if amount_msat is not None else None

        def show(spent: SellerSession) -> Plain:
            confirmed = self.p.runtime.present.confirmed(spent)
            return {**answer(views.session_status(spent)), "confirmed": confirmed}

        self._post(call, cmd.Spend(session, str(id), step, amount), show)

    def sessions(self, call: Call, name: str | None = None, before: int = 0, limit: int = 100, since: int = 0) -> None:
        """List sessions, newest first, opened from {since} to before a time in ms; page by the last one's opened_at."""
        before, limit, since = _period(before, limit, since)
        self.p.read(call, lambda journal: {"sessions": journal.sessions(name or "", before, limit, since)})

    def history(
        self,
        call: Call,
        stream: str | None = None,
        after: int = 0,
        limit: int = 100,
        newest: bool | int | str = False,
    ) -> None:
        """Lists events of the journal after an id, oldest first.

        {stream} is a session's id or meter/NAME; without it, all are listed. With {newest} they are the
        last ones, else the first. A row has `event`, what happened to a session, where that is of use
        to others than the seller."""
        after, limit = whole("after", after, 0, 2**62), whole("limit", limit, 1, PAGE)
        last = flag("newest", newest)
        self.p.read(call, lambda journal: {"events": _told(journal.history(stream or "", after, limit, last))})

    def export(self, call: Call, name: str | None = None, before: int = 0, limit: int = 1000, since: int = 0) -> None:
        """Sessions as CSV text, newest first, as in meter-sessions; the next page is before `next` (0: none)."""
        before, limit, since = _period(before, limit, since)

        def read(journal: Journal) -> Plain:
            rows = journal.sessions(name or "", before, limit, since)
            rates = journal.rates(min((row["opened_at"] for row in rows), default=0), 0)
            return {"csv": _csv(rows, rates), "next": rows[-1]["opened_at"] if len(rows) >= limit else 0}

        self.p.read(call, read)

    def totals(self, call: Call, name: str | None = None, by: str = "month", since: int = 0, before: int = 0) -> None:
        """Sums over the receipts of sessions, newest first, {by} day or month (UTC) in which they were opened."""
        if by not in totals.FORMATS:
            raise BadParam(f"by: must be {' or '.join(totals.FORMATS)}, got {by!r}", param="by")
        before, _, since = _period(before, 1, since)

        def read(journal: Journal) -> Plain:
            rows, rates = _pages(journal, name or "", before, since), journal.rates(since, 0)
            return {"totals": totals.of(rows, by, rates)}

        self.p.read(call, read)

    def close(self, call: Call, name: str) -> None:
        """End the session of a meter (by the meter's name or the session's id); unused credit is refunded."""

        def look(core: Seller) -> str:
            if name in core.state.sessions:
                return name
            meter = core.state.meter(name)
            if not meter.session:
                raise UnknownSession(f"name: meter {name} has no session; it is in {meter.state}")
            return meter.session

        def then(found: Answer) -> None:
            if isinstance(found, Exception):
                call.reply(found)
            else:
                self._post(call, cmd.CloseSession(found), views.session_status)

        self.p.runtime.run(look, then)

    def refund(self, call: Call, session: str, invoice: str, number: int | None = None) -> None:
        """Give a bearer back what is left of a {session} that is over, by an {invoice} with or without an amount.

        {number} is a wallet invoice of its fed_by: then no more is given back than what is left of that one's payment.
        """
        of = whole("number", number, 1, 10**15) if number is not None else 0

        def offer() -> None:
            try:
                found = self.p.refund_invoice(invoice)
            except Exception as error:
                call.reply(error)
                return
            self._post(call, cmd.AskRefund(session, invoice, found.amount_msat, of), views.session_status)

        self.p.executor.quick(offer)

    def unlock(self, call: Call, name: str) -> None:
        """Lift the lockout of a meter now."""
        self._post(call, cmd.Unlock(name), lambda meter: self._shown(meter.name))

    def attend(
        self, call: Call, name: str, how: str = cmd.SEEN, note: str = "", amount_msat: int | None = None
    ) -> None:
        """Ends the alarm of a session, or of a payment without an owner (by its label).

        {how} is seen, or owed or paid for a refund that waits since an older copy of the journal
        replaced a newer one. {amount_msat} is how much of that refund was owed or paid (default: all
        that the journal has as owed). {note} is kept in the journal."""
        if how not in (cmd.SEEN, cmd.OWED, cmd.PAID):
            raise BadParam(f"how: must be {cmd.SEEN}, {cmd.OWED} or {cmd.PAID}, got {how!r}", param="how")
        if len(note) > NOTE or not note.isprintable():
            raise BadParam(f"note: must be at most {NOTE} printable characters", param="note")
        amount = msat("amount_msat", amount_msat) if amount_msat is not None else None
        self._post(call, cmd.Attend(name, how, note, amount), lambda done: done)


def _refused(error: Exception) -> Plain:
    if isinstance(error, SatmeterError):
        return {"error": {"code": error.code, "message": f"{error.name}: {error.message}"}}
    return {"error": {"code": LocalError.code, "message": f"internal error: {type(error).__name__}"}}


def _told(rows: "list[StoredEvent]") -> "list[Plain]":
    """Rows of the journal, each with what it says of a session."""
    told = []
    for row in rows:
        event = session_event(decode(row["kind"], row["at"], row["stream"], row["data"]))
        told.append({**row} if event is None else {**row, "event": event})
    return told


def _period(before: int, limit: int, since: int) -> tuple[int, int, int]:
    times = (whole("before", before, 0, 2**62), whole("since", since, 0, 2**62))
    return times[0], whole("limit", limit, 1, PAGE), times[1]


def _pages(journal: Journal, meter: str, before: int, since: int) -> Iterator[StoredSession]:
    """All sessions of a period, newest first."""
    while rows := journal.sessions(meter, before, PAGE, since):
        yield from rows
        before = rows[-1]["opened_at"]


def _word(name: str, text: str) -> str:
    """What a board says of itself: short and printable, because pages show it."""
    if len(text) > 40 or not text.isprintable():
        raise BadParam(f"{name}: must be at most 40 printable characters, got {text[:60]!r}", param=name)
    return text


def _board(board: object) -> str:
    text = str(board)
    if len(text) > 32 or (text and not (text.isascii() and text.isalnum())):
        raise BadParam(f"board: must be an id of up to 32 letters and digits, got {board!r}", param="board")
    return text


def check_boot(boot: object) -> str:
    """Returns a boot id as text; raises BadParam where it is not 1 to 32 letters and digits."""
    text = str(boot)
    if not 1 <= len(text) <= 32 or not text.isascii() or not text.isalnum():
        raise BadParam(f"boot: must be 1 to 32 letters and digits, got {boot!r}", param="boot")
    return text


_COLUMNS = ("id", "meter", "peer", "opened_at", "closed_at", "reason")
_FIGURES: tuple[Sum, ...] = (
    "ticks", "payments", "paid_msat", "charged_msat", "refunded_msat", "owed_msat", "debt_msat", "refund_fee_msat",
    "lapsed_msat",
)  # fmt: skip
_FIAT = ("currency", "per_btc", "charged_fiat", "rate_source")


def _cell(value: object) -> object:
    """A reason may be the buyer's own words, and a spreadsheet take it for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def _csv(rows: "list[StoredSession]", rates: Rates) -> str:
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(_COLUMNS + _FIGURES + _FIAT)
    for row in rows:
        known: Plain = {**row}
        stated = receipt.read(row["receipt"])
        rate = rates.at(row["closed_at"]) if stated else None
        fiat: list[object] = [""] * len(_FIAT)
        if stated and rate is not None:
            worth = totals.money(rate.worth(stated["charged_msat"]))
            fiat = [rate.currency, rate.per_btc, worth, _cell(rate.source)]
        table.writerow(
            [_cell(known[name]) for name in _COLUMNS] + [stated[each] if stated else "" for each in _FIGURES] + fiat
        )
    return out.getvalue()
