"""The journal on SQLite and PostgreSQL: one code path, and every trouble said in words."""

import sqlite3
from decimal import Decimal

import pytest

from satmeter.core.errors import JournalTrouble
from satmeter.core.seller import events as selling
from satmeter.core.status import SessionRow
from satmeter.journal.rates import MOST_MS, StoredRate
from satmeter.journal.store import Journal
from satmeter.journal.url import sqlite_url

NODE = "02" + "aa" * 32


def events(n, start=0):
    return [
        selling.InvoicePaid(
            at=i,
            subject="s" * 32,
            number=i,
            amount_msat=1000,
            pay_index=i,
            payment_hash="ab" * 32,
            count=7,
            owned_up_to=0,
        )
        for i in range(start, start + n)
    ]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "j.sqlite3")
    base = request.getfixturevalue("postgresql")
    import psycopg

    name = f"t{abs(hash(request.node.name)) % 10**9}"
    with psycopg.connect(base.replace("postgresql://", "postgresql://"), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    return base.replace("/postgres?", f"/{name}?")


def test_what_is_committed_comes_back_in_order(url):
    journal = Journal(url, "meter", NODE)
    journal.commit(events(3))
    journal.commit(events(2, start=3))
    journal.close()
    snapshot, found = Journal(url, "meter", NODE).load()
    assert snapshot is None and found == events(5)


def test_a_snapshot_stands_for_what_was_before_it(url):
    journal = Journal(url, "meter", NODE)
    journal.commit(events(3), snapshot={"x": 1})
    journal.commit(events(1, start=3))
    again = Journal(url, "meter", NODE)
    assert again.load() == ({"x": 1}, events(1, start=3)) and again.name == journal.name


def test_sessions_and_history_are_paged(url):
    journal = Journal(url, "meter", NODE)
    rows = [SessionRow(f"{i:032x}", i, "m", "peer") for i in range(1, 8)]
    journal.commit(events(5), rows)
    journal.commit([], [SessionRow(f"{3:032x}", 3, "m", "peer", 9, "unplugged", "{}", "sig")])
    assert [r["opened_at"] for r in journal.sessions("m", 0, 3)] == [7, 6, 5]
    assert [r["opened_at"] for r in journal.sessions("m", 5, 3)] == [4, 3, 2]
    assert journal.session(f"{3:032x}")["reason"] == "unplugged" and journal.session("no") is None
    assert [r["id"] for r in journal.history(limit=2)] == [1, 2]
    assert [r["id"] for r in journal.history("s" * 32, after=3)] == [4, 5]


def test_two_writers_collide_instead_of_mixing_their_books(url):
    one, two = Journal(url, "meter", NODE), Journal(url, "meter", NODE)
    one.commit(events(1))
    with pytest.raises(JournalTrouble):
        two.commit(events(1))
    assert len(one.history()) == 1


def test_another_node_or_role_is_refused(url):
    Journal(url, "meter", NODE).close()
    with pytest.raises(JournalTrouble, match="belongs to node_id 02aa"):
        Journal(url, "meter", "03" + "bb" * 32)
    with pytest.raises(JournalTrouble, match="belongs to role meter"):
        Journal(url, "stream", NODE)


def test_a_schema_of_before_the_first_release_is_refused_in_words(tmp_path):
    Journal(sqlite_url(tmp_path / "j.sqlite3"), "meter", NODE).close()
    with sqlite3.connect(tmp_path / "j.sqlite3") as db:
        db.execute("UPDATE satmeter_about SET value='5' WHERE name='schema'")
    with pytest.raises(JournalTrouble, match="schema 5, of before version"):
        Journal(sqlite_url(tmp_path / "j.sqlite3"), "meter", NODE)


def test_a_newer_schema_is_refused(tmp_path):
    url = sqlite_url(tmp_path / "j.sqlite3")
    Journal(url, "meter", NODE).close()
    with sqlite3.connect(tmp_path / "j.sqlite3") as db:
        db.execute("UPDATE satmeter_about SET value='99' WHERE name='schema'")
    with pytest.raises(JournalTrouble, match="schema 99, this version knows"):
        Journal(url, "meter", NODE)


def test_an_event_of_a_newer_version_is_refused(tmp_path):
    journal = Journal(sqlite_url(tmp_path / "j.sqlite3"), "meter", NODE)
    with sqlite3.connect(tmp_path / "j.sqlite3") as db:
        db.execute("INSERT INTO satmeter_event VALUES (1, 0, 's', 'teleported', '{}')")
    with pytest.raises(JournalTrouble, match="'teleported'"):
        journal.load()


@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/at/all/j.sqlite3", "postgresql://satmeter@/x?host=/nowhere", "oracle://x", "not a url"]
)
def test_a_database_that_is_not_there(url):
    with pytest.raises(JournalTrouble, match="can't be used"):
        Journal(url, "meter", NODE)


def test_a_password_is_not_shown():
    with pytest.raises(JournalTrouble) as e:
        Journal("postgresql://me:secret@127.0.0.1:1/x", "meter", NODE)
    assert "secret" not in str(e.value)


def test_a_full_database_loses_nothing(tmp_path):
    url = sqlite_url(tmp_path / "j.sqlite3")
    journal = Journal(url, "meter", NODE)
    journal.commit(events(1))
    with journal._engine.connect() as db:
        pages = db.exec_driver_sql("PRAGMA page_count").scalar()
        db.exec_driver_sql(f"PRAGMA max_page_count={pages + 1}")
        db.detach()  # the limit is the connection's own
        journal._engine.dispose()
    import sqlalchemy as sa

    @sa.event.listens_for(journal._engine, "connect")
    def tight(connection, _):
        connection.execute(f"PRAGMA max_page_count={pages + 1}")

    journal._engine.dispose()
    written = 1
    with pytest.raises(JournalTrouble, match="full"):
        for _ in range(500):
            journal.commit(events(20, start=written))
            written += 20
    assert len(Journal(url, "meter", NODE).load()[1]) == written


def test_it_is_not_a_database(tmp_path):
    (tmp_path / "j.sqlite3").write_text("hello" * 1000)
    with pytest.raises(JournalTrouble, match="not a database"):
        Journal(sqlite_url(tmp_path / "j.sqlite3"), "meter", NODE)


def test_a_new_file_has_small_pages_and_no_index_beside_the_events(tmp_path):
    Journal(sqlite_url(tmp_path / "j.sqlite3"), "meter", NODE).close()
    with sqlite3.connect(tmp_path / "j.sqlite3") as db:
        assert db.execute("PRAGMA page_size").fetchone() == (1024,)
        indexes = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE tbl_name = 'satmeter_event'")}
    assert indexes == {"satmeter_event", "satmeter_event_stream"}


def test_a_rate_is_kept_as_long_as_a_session_may_need_it(url):
    journal = Journal(url, "meter", NODE)
    for at in (MOST_MS, 2 * MOST_MS, 3 * MOST_MS):
        journal.add_rate(StoredRate(at, "EUR", Decimal("50000.25"), "test"))
    journal.delete_sessions(3 * MOST_MS)
    rates = journal.rates(0, 0)
    assert rates.at(2 * MOST_MS - 1) is None
    assert rates.at(2 * MOST_MS) == StoredRate(2 * MOST_MS, "EUR", Decimal("50000.25"), "test")
    assert rates.at(3 * MOST_MS).at == 3 * MOST_MS
