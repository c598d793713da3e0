"""Sums over the receipts of many sessions, by the day or month in which they were opened."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from ..core import receipt
from ..core.plain import Plain
from ..core.receipt import Sum
from ..core.status import StoredSession
from ..journal.rates import Rates

FORMATS = {"day": "%Y-%m-%d", "month": "%Y-%m"}
SUMS: tuple[Sum, ...] = (
    "ticks", "payments", "paid_msat", "charged_msat", "refunded_msat", "refund_fee_msat", "owed_msat", "lapsed_msat",
    "debt_msat", "carried_in_msat",
)  # fmt: skip


def of(rows: Iterable[StoredSession], by: str, rates: Rates) -> list[Plain]:
    """Returns one line for each day or month (UTC) that has receipts, in the order of `rows`.

    `rows` are sessions as in meter-sessions, `by` is day or month: that in which a session was opened.
    A line has `period`, the number of `sessions`, and the sums of their figures in msat and ticks; `earned_msat` is
    what was charged and paid. Sessions without a receipt are not counted. Where the rate of their time is recorded,
    `fiat` has what was charged and earned in money, by currency, of how many sessions that is, and who told the
    rates."""
    found: dict[str, dict[str, int]] = {}
    worth: dict[str, dict[str, _Worth]] = {}
    for row in rows:
        stated = receipt.read(row["receipt"])
        if stated is None:
            continue
        period = datetime.fromtimestamp(row["opened_at"] / 1000, UTC).strftime(FORMATS[by])
        line = found.setdefault(period, {"sessions": 0, **dict.fromkeys((*SUMS, "carried_on_msat", "earned_msat"), 0)})
        line["sessions"] += 1
        for name in SUMS:
            line[name] += stated[name]
        line["carried_on_msat"] += stated.get("carried_on_msat", 0)
        line["earned_msat"] += receipt.earned_msat(stated)
        rate = rates.at(row["closed_at"])
        if rate is not None:
            sums = worth.setdefault(period, {}).setdefault(rate.currency, _Worth())
            sums.charged += rate.worth(stated["charged_msat"])
            sums.earned += rate.worth(receipt.earned_msat(stated))
            sums.sessions += 1
            sums.sources.add(rate.source)
    return [
        {"period": period, **line, "fiat": {name: sums.told() for name, sums in worth.get(period, {}).items()}}
        for period, line in found.items()
    ]


@dataclass(slots=True)
class _Worth:
    """What sessions were charged, and earned, in one currency."""

    charged: Decimal = Decimal(0)
    earned: Decimal = Decimal(0)
    sessions: int = 0
    sources: set[str] = field(default_factory=set)

    def told(self) -> Plain:
        sums = {"charged": money(self.charged), "earned": money(self.earned)}
        return {**sums, "sessions": self.sessions, "sources": sorted(self.sources)}


def money(value: Decimal) -> str:
    """Return an amount of money as text, rounded to a hundredth of a cent: sessions cost less than one."""
    return f"{value:.4f}"
