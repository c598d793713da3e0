"""Sums over the receipts of many sessions, by the day or month in which they were opened."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from ..journal.store import StoredSession

FORMATS = {"day": "%Y-%m-%d", "month": "%Y-%m"}
SUMS = (
    "ticks", "payments", "paid_msat", "charged_msat", "refunded_msat", "refund_fee_msat", "owed_msat", "lapsed_msat",
    "debt_msat",
)  # fmt: skip


def of(rows: Iterable[StoredSession], by: str) -> list[dict[str, int | str]]:
    """Returns one line for each day or month (UTC) that has receipts, in the order of `rows`.

    `rows` are sessions as in meter-sessions, `by` is day or month: that in which a session was opened.
    A line has `period`, the number of `sessions`, and the sums of their figures in msat and ticks.
    Sessions without a receipt are not counted."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        if not row["receipt"]:
            continue
        period = datetime.fromtimestamp(row["opened_at"] / 1000, UTC).strftime(FORMATS[by])
        line = found.setdefault(period, {"sessions": 0, **dict.fromkeys(SUMS, 0)})
        figures = json.loads(row["receipt"])
        line["sessions"] += 1
        for name in SUMS:
            line[name] += figures.get(name, 0)  # receipts of before have fewer
    return [{"period": period, **line} for period, line in found.items()]
