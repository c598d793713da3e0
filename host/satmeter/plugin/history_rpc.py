"""RPC methods that read the journal: sessions that are over, events, sums, and CSV."""

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..core import receipt
from ..core.errors import BadParam, UnknownMeter
from ..core.journal import decode
from ..core.money import flag, whole
from ..core.plain import Plain
from ..core.receipt import Sum
from ..core.seller.history import session_event
from ..core.status import StoredSession
from ..journal.rates import Rates
from ..journal.store import Journal, StoredEvent
from . import totals
from .params import PAGE, page, period
from .rpc_methods import Call

if TYPE_CHECKING:
    from .meter import MeterPlugin

_COLUMNS = ("id", "meter", "peer", "opened_at", "closed_at", "reason")
_FIGURES: tuple[Sum, ...] = (
    "ticks", "payments", "paid_msat", "charged_msat", "refunded_msat", "owed_msat", "debt_msat", "refund_fee_msat",
    "lapsed_msat", "carried_in_msat",
)  # fmt: skip
_MORE = ("carried_on_msat", "earned_msat")
_FIAT = ("currency", "per_btc", "charged_fiat", "rate_source")


class HistoryRpc:
    """Bound to its plugin; every method answers its Call from the core's thread or at once."""

    METHODS = ("sessions", "history", "export", "totals")

    def __init__(self, plugin: "MeterPlugin"):
        self.p = plugin

    def sessions(self, call: Call, name: str | None = None, before: int = 0, limit: int = 100, since: int = 0) -> None:
        """List sessions, newest first, opened from {since} to before a time in ms; page by the last one's opened_at."""
        (since, before), limit = period(since, before), page(limit)

        def read(journal: Journal) -> Plain:
            self._check_known(journal, name)
            return {"sessions": journal.sessions(name or "", before, limit, since)}

        self.p.read(call, read)

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
        after, limit = whole("after", after, 0, 2**62), page(limit)
        last = flag("newest", newest)
        self.p.read(call, lambda journal: {"events": _told(journal.history(stream or "", after, limit, last))})

    def export(self, call: Call, name: str | None = None, before: int = 0, limit: int = 1000, since: int = 0) -> None:
        """Sessions as CSV text, newest first, as in meter-sessions; the next page is before `next` (0: none)."""
        (since, before), limit = period(since, before), page(limit)

        def read(journal: Journal) -> Plain:
            self._check_known(journal, name)
            rows = journal.sessions(name or "", before, limit, since)
            rates = journal.rates(min((row["opened_at"] for row in rows), default=0), 0)
            return {"csv": _csv(rows, rates), "next": rows[-1]["opened_at"] if len(rows) >= limit else 0}

        self.p.read(call, read)

    def totals(self, call: Call, name: str | None = None, by: str = "month", since: int = 0, before: int = 0) -> None:
        """Sums over the receipts of sessions, newest first, {by} day or month (UTC) in which they were opened."""
        if by not in totals.FORMATS:
            raise BadParam(f"by: must be {' or '.join(totals.FORMATS)}, got {by!r}", param="by")
        since, before = period(since, before)

        def read(journal: Journal) -> Plain:
            self._check_known(journal, name)
            rows, rates = _pages(journal, name or "", before, since), journal.rates(since, 0)
            return {"totals": totals.of(rows, by, rates)}

        self.p.read(call, read)

    def _check_known(self, journal: Journal, name: str | None) -> None:
        """Raises UnknownMeter for a meter that is not there and never had a session."""
        if name is not None and name not in self.p.runtime.present.state.meters and not journal.sessions(name, limit=1):
            raise UnknownMeter(f"name: there is no meter {name!r}, and there was no session of one", param="name")


def _told(rows: "list[StoredEvent]") -> "list[Plain]":
    """Rows of the journal, each with what it says of a session."""
    told = []
    for row in rows:
        event = session_event(decode(row["kind"], row["at"], row["stream"], row["data"]))
        told.append({**row} if event is None else {**row, "event": event})
    return told


def _pages(journal: Journal, meter: str, before: int, since: int) -> Iterator[StoredSession]:
    """All sessions of a period, newest first."""
    while rows := journal.sessions(meter, before, PAGE, since):
        yield from rows
        before = rows[-1]["opened_at"]


def _cell(value: object) -> object:
    """A reason may be the buyer's own words, and a spreadsheet take it for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def _csv(rows: "list[StoredSession]", rates: Rates) -> str:
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(_COLUMNS + _FIGURES + _MORE + _FIAT)
    for row in rows:
        known: Plain = {**row}
        stated = receipt.read(row["receipt"])
        rate = rates.at(row["closed_at"]) if stated else None
        fiat: list[object] = [""] * len(_FIAT)
        if stated and rate is not None:
            worth = totals.money(rate.worth(stated["charged_msat"]))
            fiat = [rate.currency, rate.per_btc, worth, _cell(rate.source)]
        figures: list[object] = [stated[each] if stated else "" for each in _FIGURES]
        figures += [stated.get("carried_on_msat", 0), receipt.earned_msat(stated)] if stated else ["", ""]
        table.writerow([_cell(known[name]) for name in _COLUMNS] + figures + fiat)
    return out.getvalue()
