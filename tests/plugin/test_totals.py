"""What sessions come to by day and month, and pages of them within a period."""

import json
from datetime import UTC, datetime

import pytest

from satmeter.journal.store import Journal, SessionRow, sqlite_url
from satmeter.panel.history import ALL, bounds
from satmeter.plugin import totals

NODE = "02" + "aa" * 32
DAYS = ("2026-10-31 23:59", "2026-11-01 00:00", "2026-11-01 12:00", "2026-11-30 23:59", "2026-12-01 00:00")


def at(text):
    return int(datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp() * 1000)


def vars_of(row):
    return {name: getattr(row, name) for name in SessionRow.__slots__}


@pytest.fixture
def journal(tmp_path):
    made = Journal(sqlite_url(tmp_path / "j"), "meter", NODE)
    rows = []
    for n, day in enumerate(DAYS):
        figures = dict.fromkeys(totals.SUMS, 0) | {"charged_msat": 10**n, "paid_msat": 2 * 10**n}
        rows.append(SessionRow(f"{n:032x}", at(day), ("m", "other")[n == 2], "", 1, "", json.dumps(figures), "s"))
    rows[0] = SessionRow(
        **{**vars_of(rows[0]), "receipt": json.dumps({"charged_msat": 1, "paid_msat": 2})}
    )  # of before
    rows.append(SessionRow("f" * 32, at(DAYS[1]), "m", ""))  # which runs
    made.commit([], sessions=rows)
    return made


def charged(lines):
    return {line["period"]: (line["sessions"], line["charged_msat"], line["paid_msat"]) for line in lines}


def test_months_and_days_are_those_of_utc(journal):
    rows = journal.sessions(limit=100)
    assert charged(totals.of(rows, "month")) == {
        "2026-12": (1, 10_000, 20_000),
        "2026-11": (3, 1_110, 2_220),
        "2026-10": (1, 1, 2),
    }
    assert list(charged(totals.of(rows, "day"))) == ["2026-12-01", "2026-11-30", "2026-11-01", "2026-10-31"]


def test_a_period_begins_with_its_first_moment_and_ends_before_its_last(journal):
    def ids(**period):
        return [int(row["id"], 16) for row in journal.sessions(limit=100, **period) if row["receipt"]]

    november = {"since": at("2026-11-01 00:00"), "before": at("2026-12-01 00:00")}
    assert ids(**november) == [3, 2, 1] and ids(meter="other", **november) == [2]
    assert ids(since=at(DAYS[4]) + 1) == [] and ids() == [4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("month", "begin", "end"),
    [("2026-11", "2026-11-01 00:00", "2026-12-01 00:00"), ("2026-12", "2026-12-01 00:00", "2027-01-01 00:00")],
)
def test_the_bounds_of_a_month(month, begin, end):
    assert bounds(month) == {"since": at(begin), "before": at(end)} and bounds(ALL) == {}
