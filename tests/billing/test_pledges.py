"""What is spent under a pledge: at most what its signer allowed, whatever a gate does with its uses."""

import time

import pytest

from satmeter.billing.database import Database
from satmeter.billing.meters import Meters
from satmeter.billing.pledges import Pledges
from satmeter.core.errors import BadParam
from satmeter.journal.url import sqlite_url
from satmeter.wire.pledge import Pledge


@pytest.fixture
def pledges(tmp_path):
    return Pledges(Database(sqlite_url(tmp_path / "b.sqlite3"), "02" * 33))


def pledge(most_msat=2_000):
    return Pledge("5e" * 16, "gate", "/", most_msat, int(time.time()) + 60, "nonce-12")


def test_what_came_to_nothing_is_taken_back_once(pledges):
    assert pledges.count(pledge(), "a", 2_000) and not pledges.count(pledge(), "b", 1)
    for _ in range(2):
        pledges.take_back("a")
    assert pledges.count(pledge(), "b", 2_000) and not pledges.count(pledge(), "c", 1)


def test_what_was_paid_can_not_be_taken_back(pledges):
    """A gate that settles a use and then releases it would charge more than was signed for."""
    assert pledges.count(pledge(), "a", 2_000)
    pledges.settle("a")
    pledges.take_back("a")
    assert not pledges.count(pledge(), "b", 1)


class Released:
    """A node on which a release succeeds, also of what was settled."""

    def call(self, method, **params):
        assert method == "meter-spend"
        return {}


def test_a_gate_that_settles_and_then_releases_frees_nothing(tmp_path):
    database = Database(sqlite_url(tmp_path / "b.sqlite3"), "02" * 33)
    meters, spent = Meters(Released(), database, None), Pledges(database)
    assert spent.count(pledge(), f"{pledge().session}/a", 2_000)
    meters.end(pledge().session, "a", "settle")
    meters.end(pledge().session, "a", "release")
    assert not spent.count(pledge(), "b", 1)


@pytest.mark.parametrize("session", [f"{'5e' * 16}/x", "", "5E" * 16, "5e" * 15])
def test_a_use_can_not_be_written_as_that_of_another_session(tmp_path, session):
    """SESSION/x with the id 0 is SESSION with the id x/0: a release of nothing would free what is held."""
    database = Database(sqlite_url(tmp_path / "b.sqlite3"), "02" * 33)
    meters, spent = Meters(Released(), database, None), Pledges(database)
    assert spent.count(pledge(), f"{pledge().session}/x/0", 2_000)
    with pytest.raises(BadParam, match="session: must be 32 hex digits"):
        meters.end(session, "0", "release")
    assert not spent.count(pledge(), "b", 1)
