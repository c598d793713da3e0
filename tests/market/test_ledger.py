"""The hub's books: double entry, never negative, whatever is moved."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satmeter.billing.database import Database
from satmeter.core.errors import NoCredit
from satmeter.journal.url import sqlite_url
from satmeter.market.ledger import HUB, NODE, PAYING, Ledger

NODE_ID = "02" * 33
ACCOUNTS = ["user/a", "user/b", "user/c", NODE, HUB, PAYING]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return Database(sqlite_url(tmp_path_factory.mktemp("ledger") / "b.sqlite3"), NODE_ID)


@pytest.fixture
def ledger(database):
    return Ledger(database, 10_000)


def move(ledger, database, **entries):
    with database.writing() as db:
        ledger.move(db, "test", "test", {k.replace("_", "/"): v for k, v in entries.items()})


def test_what_an_account_has_not_got_is_not_moved(ledger, database):
    move(ledger, database, node=-1000, user_x=1000)
    with pytest.raises(NoCredit, match=r"has 1 sat, this needs 1\.001 sat"):
        move(ledger, database, user_x=-1001, user_y=1001)
    assert ledger.balance("user/x") == 1000 and ledger.balance("user/y") == 0
    move(ledger, database, user_x=-1000, hub=10, user_y=990)
    assert [e["msat"] for e in ledger.entries("user/x")] == [-1000, 1000]
    assert ledger.sums()["wrong"] == 0


def test_a_transfer_that_does_not_sum_to_nothing_is_a_bug(ledger, database):
    with pytest.raises(AssertionError):
        move(ledger, database, node=-1000, user_x=999)
    assert ledger.sums()["wrong"] == 0


transfers = st.lists(
    st.dictionaries(st.sampled_from(ACCOUNTS), st.integers(-5000, 5000), min_size=1, max_size=4), max_size=12
)


@settings(max_examples=60, deadline=None)
@given(given=transfers)
def test_whatever_is_moved_the_books_agree(database, given):
    """Against a plain dictionary that knows the rule, and nothing of how it is kept."""
    ledger = Ledger(database, 0)
    mirror = {name: ledger.balance(name) for name in ACCOUNTS}
    for entries in given:
        rest = -sum(entries.values())
        balanced = {**entries, "rest": rest}
        after = {name: mirror[name] + entries.get(name, 0) for name in ACCOUNTS}
        fine = all(msat >= 0 for name, msat in after.items() if name.startswith("user/"))
        try:
            with database.writing() as db:
                ledger.move(db, "test", "test", balanced)
            assert fine
            mirror = after
        except NoCredit:
            assert not fine
    assert {name: ledger.balance(name) for name in ACCOUNTS} == mirror
    assert ledger.sums()["wrong"] == 0


def test_many_at_once_give_no_more_than_there_is(ledger, database):
    move(ledger, database, node=-10_000, user_race=10_000)
    done, start = [], threading.Barrier(8)

    def take():
        start.wait(30)
        for _ in range(5):
            try:
                move(ledger, database, user_race=-700, hub=700)
                done.append(1)
            except NoCredit:
                pass

    threads = [threading.Thread(target=take) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert len(done) == 14 and ledger.balance("user/race") == 200
    assert ledger.sums()["wrong"] == 0


@given(msat=st.integers(0, 10**15), ppm=st.integers(0, 500_000))
def test_the_hubs_fee_is_never_more_than_its_part(msat, ppm):
    fee = Ledger(None, ppm).fee(msat)
    assert fee * 1_000_000 <= msat * ppm < (fee + 1) * 1_000_000
