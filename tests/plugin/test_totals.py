"""What sessions come to by day and month, and pages of them within a period."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from satmeter.core.errors import JournalTrouble
from satmeter.core.money import MSAT_PER_BTC
from satmeter.journal.rates import MOST_MS, Rates, StoredRate
from satmeter.journal.store import Journal, SessionRow, sqlite_url
from satmeter.panel.history import ALL, bounds
from satmeter.plugin import totals
from statement import statement

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
        receipt = statement(charged_msat=10**n, paid_msat=2 * 10**n)
        if n == 0:
            receipt = receipt.replace('"refund_fee_msat":0,', "")  # of before
        rows.append(SessionRow(f"{n:032x}", at(day), ("m", "other")[n == 2], "", 1, "", receipt, "s"))
    rows.append(SessionRow("f" * 32, at(DAYS[1]), "m", ""))  # which runs
    made.commit([], sessions=rows)
    return made


def charged(lines):
    return {line["period"]: (line["sessions"], line["charged_msat"], line["paid_msat"]) for line in lines}


def test_months_and_days_are_those_of_utc(journal):
    rows = journal.sessions(limit=100)
    assert charged(totals.of(rows, "month", Rates([]))) == {
        "2026-12": (1, 10_000, 20_000),
        "2026-11": (3, 1_110, 2_220),
        "2026-10": (1, 1, 2),
    }
    assert list(charged(totals.of(rows, "day", Rates([])))) == ["2026-12-01", "2026-11-30", "2026-11-01", "2026-10-31"]


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


def rate(at_ms, per_btc, currency="EUR", source="me"):
    return StoredRate(at_ms, currency, Decimal(per_btc), source)


def sold(n, closed_at, charged):
    receipt = statement(charged_msat=charged)
    return vars_of(SessionRow(f"{n:032x}", at(DAYS[1]), "m", "", closed_at, "", receipt, "s"))


def test_what_was_charged_is_worth_what_it_was_at_the_time_of_the_end():
    rates = Rates([rate(1_000, "50000"), rate(2_000, "100000"), rate(3_000, "1", source="another")])
    rows = [sold(1, 1_999, MSAT_PER_BTC), sold(2, 2_000, MSAT_PER_BTC), sold(3, 999, MSAT_PER_BTC)]
    (line,) = totals.of(rows, "month", rates)
    assert line["sessions"] == 3
    assert line["fiat"] == {"EUR": {"charged": "150000.0000", "sessions": 2, "sources": ["me"]}}


def test_a_rate_counts_for_so_long_and_no_longer():
    rates = Rates([rate(5, "1")])
    assert rates.at(4) is None and rates.at(5).per_btc == rates.at(5 + MOST_MS).per_btc == 1
    assert rates.at(6 + MOST_MS) is None and Rates([]).at(5) is None


def test_a_change_of_currency_hides_nothing_of_before(journal):
    day = at(DAYS[1])
    journal.add_rate(rate(day, "2", "EUR"))
    journal.add_rate(rate(day + MOST_MS, "3", "USD"))
    rates = journal.rates(0, 0)
    assert rates.at(day).currency == "EUR" and rates.at(day + MOST_MS).currency == "USD"


def test_a_rate_makes_no_file_where_the_journals_was_removed(tmp_path):
    made = Journal(sqlite_url(tmp_path / "j"), "meter", NODE)
    (tmp_path / "j").unlink()
    with pytest.raises(JournalTrouble, match="removed or replaced"):
        made.add_rate(rate(1, "2"))
    assert not (tmp_path / "j").exists()


def test_rates_are_kept_in_the_journal_and_go_with_its_receipts(journal):
    day = at(DAYS[1])
    for n in range(3):
        journal.add_rate(rate(day + n * MOST_MS, f"{n + 1}.5"))
    journal.add_rate(rate(day, "9.5"))  # of the same moment: the later one counts
    assert [journal.rates(day, 0).at(day + n * MOST_MS).per_btc for n in range(3)] == [
        Decimal("9.5"), Decimal("2.5"), Decimal("3.5"),
    ]  # fmt: skip
    assert journal.rates(day + 2 * MOST_MS, 0).at(day) is None
    journal.delete_sessions(day + 3 * MOST_MS)
    assert journal.rates(0, 0).at(day) is None and journal.rates(0, 0).at(day + 2 * MOST_MS)


def test_sums_of_parts_of_a_cent_are_exact():
    rates = Rates([rate(1, "61234.50")])
    rows = [sold(n, 2, 1) for n in range(1, 100_001)]
    (line,) = totals.of(rows, "day", rates)
    assert Decimal(line["fiat"]["EUR"]["charged"]) == (Decimal("61234.50") * 100_000 / MSAT_PER_BTC).quantize(
        Decimal("0.0001")
    )
