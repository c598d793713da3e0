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
    """Return a line for each day or month (UTC) of which there are receipts, in the order of `rows` (as in
    meter-sessions): `period`, how many `sessions`, and the sums of their figures (msat, ticks). A session without a
    receipt is not over, and in none."""
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
