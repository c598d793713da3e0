"""A machine that starts with a wrong date: its journal is not dated by it for good, and nothing is deleted for it."""

import pytest
from role import Role

from satmeter.core.seller import events as selling
from satmeter.core.seller.state import SellerState
from satmeter.core.snapshot import DAY_MS, dated_back
from satmeter.core.tariff import Tariff
from satmeter.journal.compaction import compact
from satmeter.journal.store import Journal, SessionRow
from satmeter.journal.url import sqlite_url
from satmeter.plugin import clock as clock_module
from satmeter.plugin import runtime as service_module
from satmeter.plugin.clock import Clock
from satmeter.plugin.runtime import Runtime

NODE, HOUR_MS = "02" + "aa" * 32, 3_600_000
NOW = 1_790_000_000_000
TARIFF = {"price_msat": 1000, "ticks_per_unit": 10, "quantum_msat": 10_000, "lockout_s": 60}


class Machine:
    """Its date is `wall`, and is set as a test likes; what it counts since its start goes on."""

    def __init__(self, monkeypatch):
        self.wall, self.up = NOW, 1_000
        for module in (clock_module, service_module):
            monkeypatch.setattr(module, "wall_ms", lambda: self.wall)
        monkeypatch.setattr(clock_module, "_boot_ms", lambda: self.up)

    def passes(self, ms):
        self.wall += ms
        self.up += ms


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def start(path, block=NOW):
    role = Role(path)
    role.block = block
    service = Runtime(role, "test")
    service._recover()
    return service


def record(service, *events):
    for e in events:
        service.core.state.apply(e)
    service.journal.commit(events, [], service.core.state.dump())


@pytest.mark.parametrize("snapshot", [True, False])
def test_one_start_in_the_future_dates_nothing_for_good(machine, tmp_path, snapshot):
    path = tmp_path / "j.sqlite3"
    service = start(path)
    record(service, selling.MeterAdded(at=service.clock.now(), subject="meter/m", tariff=Tariff.from_dict(TARIFF)))
    machine.passes(HOUR_MS)
    years = 12 * 365 * DAY_MS
    machine.wall += years
    service = start(path)
    at = service.clock.now()
    locked = selling.Locked(at=at, subject="meter/m", until=at + 60_000, buyer="02bb", session="5e" * 16)
    if snapshot:
        record(service, locked)
    else:
        service.journal.commit([locked])
    machine.passes(1_000)
    machine.wall -= years
    service = start(path)
    for _ in range(2):  # and at a later start, after a crash, likewise
        assert service.clock.now() == machine.wall
        m = service.core.state.meters["m"]
        assert m.lock_until == machine.wall + 60_000
        service = start(path)
    compact(service.journal, SellerState, machine.wall, 0)


def test_some_hours_are_waited_out_as_ever(machine, tmp_path):
    """Summer time set by hand, a clock that ran fast: time as recorded does not go back."""
    path = tmp_path / "j.sqlite3"
    service = start(path)
    record(service, selling.MeterAdded(at=service.clock.now(), subject="meter/m", tariff=Tariff.from_dict(TARIFF)))
    machine.wall -= 2 * HOUR_MS
    service = start(path)
    assert service.clock.now() == NOW
    assert service.clock.of_wall(machine.wall) == NOW


@pytest.mark.parametrize("block", [0, NOW])
def test_a_machine_that_starts_with_an_old_date_goes_on_from_the_journals_time(machine, tmp_path, block):
    """A Raspberry Pi has no clock of its own, and begins at some date before it hears of the time. The chain knows
    better; where nobody does, nothing is dated back."""
    path = tmp_path / "j.sqlite3"
    service = start(path)
    record(service, selling.MeterAdded(at=service.clock.now(), subject="meter/m", tariff=Tariff.from_dict(TARIFF)))
    row = SessionRow("a" * 32, NOW, "m", "peer", NOW)
    service.journal.commit([], [row])
    machine.wall -= 60 * DAY_MS
    service = start(path, block)
    assert service.clock.now() == NOW
    assert service.journal.session("a" * 32)["closed_at"] == NOW


def test_sessions_and_days_are_dated_back_with_the_rest(tmp_path):
    journal = Journal(sqlite_url(tmp_path / "j.sqlite3"), "stream", NODE)
    ahead = 400 * DAY_MS
    late = NOW + ahead
    rows = [SessionRow("a" * 32, late, "m", "peer", late), SessionRow("b" * 32, NOW, "m", "peer")]
    journal.commit(
        [selling.Counted(at=NOW, subject="meter/m", count=1), selling.Counted(at=late, subject="meter/m", count=2)],
        rows,
    )
    journal.set_back(ahead)
    found = {row["id"][0]: (row["opened_at"], row["closed_at"]) for row in journal.sessions()}
    assert found == {"a": (NOW, NOW), "b": (NOW, 0)}
    state = {"days": {NOW // DAY_MS: 5, late // DAY_MS: 7}, "x": [{"opened_at": late, "since": 5, "n": late}]}
    back = dated_back(state, lambda at: at - ahead if at > NOW else at)
    assert back == {"days": {str(NOW // DAY_MS): 12}, "x": [{"opened_at": NOW, "since": 5, "n": late}]}


def test_a_date_in_the_future_deletes_no_receipt(machine, tmp_path):
    path = tmp_path / "j.sqlite3"
    service = start(path)
    receipt = SessionRow("a" * 32, NOW, "m", "peer", NOW, "", "text", "signature")
    service.core.state.apply(added := selling.MeterAdded(at=NOW, subject="meter/m", tariff=Tariff.from_dict(TARIFF)))
    service.journal.commit([added], [receipt], service.core.state.dump())
    machine.wall += 12 * 365 * DAY_MS
    machine.up += HOUR_MS
    service = start(path)
    assert service.clock.surely() <= NOW + HOUR_MS
    compact(service.journal, SellerState, *[service.clock.surely() - 30 * DAY_MS] * 2)
    assert service.journal.session("a" * 32)["receipt"] == "text"


def test_what_is_kept_ends_by_the_time_that_passed(machine):
    clock = Clock()
    clock.begin(NOW - DAY_MS)
    machine.passes(3 * DAY_MS)
    assert clock.surely() == NOW + 2 * DAY_MS
    machine.wall -= 30 * DAY_MS
    assert clock.surely() == machine.wall
    fresh = Clock()
    fresh.begin(0)
    machine.passes(5)
    assert fresh.surely() == machine.wall


def test_a_journal_that_fails_for_a_moment_reads_no_date_anew(machine, tmp_path):
    service = start(tmp_path / "j.sqlite3")
    record(service, selling.MeterAdded(at=service.clock.now(), subject="meter/m", tariff=Tariff.from_dict(TARIFF)))
    before = service.clock.now()
    machine.wall += 3 * DAY_MS  # the date is put right
    machine.up += 1_000
    service._fail(Exception("database is locked"))
    service._recover()
    assert service.clock.now() == before + 1_000 and service._tick().surely <= before + 1_000
