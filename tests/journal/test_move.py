"""A journal moved between databases has all that it had, and what it was moved from is not written to again."""

import sqlite3

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from satmeter.cli.main import app
from satmeter.core.errors import JournalTrouble
from satmeter.core.seller import events as selling
from satmeter.journal import move
from satmeter.journal.store import Journal, SessionRow, sqlite_url

NODE = "02" + "aa" * 32


def counted(n):
    return selling.Counted(at=n, subject="meter/m", count=n)


def filled(url, events=7):
    journal = Journal(url, "meter", NODE)
    for n in range(1, events + 1):
        row = SessionRow(f"s{n}", n, "m", "02bb", n + 5, "closed", '{"é": 1}', "sig")
        journal.commit([counted(n)], [row], snapshot={"n": n, "words": "ü"} if n % 3 == 0 else None)
    return journal


def content(journal):
    snapshots = [(each.upto, each.state) for each in journal.snapshots()]
    return journal.name, journal.history(limit=10_000), journal.sessions(limit=10_000), snapshots, journal.load()


@pytest.fixture
def database(postgresql):
    """A new database of the server, by its URL."""
    with psycopg.connect(postgresql, autocommit=True) as db:
        name = f"move{db.execute('SELECT count(*) FROM pg_database').fetchone()[0]}"
        db.execute(f"CREATE DATABASE {name}")
    return postgresql.replace("/postgres?", f"/{name}?")


def test_it_goes_to_postgresql_and_back_with_all_that_it_has(database, tmp_path):
    first = filled(sqlite_url(tmp_path / "j"))
    was = content(first)
    first.close()
    assert move.move(sqlite_url(tmp_path / "j"), database).events == 7
    there = Journal(database, "meter", NODE)
    assert content(there) == was
    there.commit([counted(8)])
    there.close()
    move.move(database, sqlite_url(tmp_path / "back"))
    back = Journal(sqlite_url(tmp_path / "back"), "meter", NODE)
    assert [row["id"] for row in back.history()] == list(range(1, 9)) and back.last == 8
    back.commit([counted(9)])


def test_what_was_moved_is_not_begun_with_again(database, tmp_path):
    url = sqlite_url(tmp_path / "j")
    filled(url).close()
    move.move(url, database)
    with pytest.raises(JournalTrouble, match="was moved to postgresql"):
        Journal(url, "meter", NODE)
    with pytest.raises(JournalTrouble, match="was moved to"):
        move.move(url, sqlite_url(tmp_path / "other"))
    assert not (tmp_path / "other").exists()
    open_all_the_time = Journal(database, "meter", NODE)
    move.move(database, sqlite_url(tmp_path / "back"))
    with pytest.raises(JournalTrouble, match="was moved to"):
        open_all_the_time.commit([counted(8)])
    assert move.copy(sqlite_url(tmp_path / "back"), sqlite_url(tmp_path / "copied")).events == 7


def test_one_that_is_in_use_is_not_moved(database, tmp_path):
    used = filled(sqlite_url(tmp_path / "j"))
    with pytest.raises(JournalTrouble, match="in use; stop the plugin first"):
        move.move(sqlite_url(tmp_path / "j"), database)
    used.commit([counted(8)])
    used.close()
    assert move.move(sqlite_url(tmp_path / "j"), database).events == 8


def test_a_database_that_has_a_journal_is_left_as_it_is(database, tmp_path):
    filled(sqlite_url(tmp_path / "j")).close()
    other = filled(database, events=2)
    with pytest.raises(JournalTrouble, match="there is a journal already"):
        move.move(sqlite_url(tmp_path / "j"), database)
    assert other.last == 2 and len(other.history()) == 2
    assert Journal(sqlite_url(tmp_path / "j"), "meter", NODE).last == 7


@pytest.mark.parametrize("what", ["nothing", "text", "another"])
def test_what_is_no_journal_is_said_in_words_and_makes_none(what, tmp_path):
    path = tmp_path / "j"
    if what == "text":
        path.write_text("no database" * 100)
    elif what == "another":
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE notes (a)")
    done = CliRunner().invoke(app, ["journal", "move", str(path), str(tmp_path / "to")], env={"COLUMNS": "300"})
    assert done.exit_code == 1 and str(path) in done.output and "Traceback" not in done.output
    assert not list(tmp_path.glob("to*")) and path.exists() == (what != "nothing")


def test_the_password_of_a_database_is_not_shown(tmp_path):
    filled(sqlite_url(tmp_path / "j")).close()
    to = "postgresql://me:secret@127.0.0.1:1/x"
    done = CliRunner().invoke(app, ["journal", "move", str(tmp_path / "j"), to], env={"COLUMNS": "300"})
    assert done.exit_code == 1 and "127.0.0.1" in done.output and "secret" not in done.output
    assert Journal(sqlite_url(tmp_path / "j"), "meter", NODE).last == 7


def test_many_journals_are_in_one_database_each_in_a_schema(database, tmp_path):
    made = []
    for name in ("site_a", "site_b"):
        with psycopg.connect(database, autocommit=True) as db:
            db.execute(f"CREATE SCHEMA {name}")
        made.append(filled(f"{database}&options=-csearch_path%3D{name}", events=len(name) + len(made)))
    assert [journal.last for journal in made] == [6, 7] and made[0].name != made[1].name


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20), max_size=30))
def test_any_text_comes_over_as_it_is(tmp_path_factory, texts):
    where = tmp_path_factory.mktemp("texts")
    first = Journal(sqlite_url(where / "j"), "meter", NODE)
    for n, text in enumerate(texts):
        first.commit([counted(n)], [SessionRow(f"s{n}", n, "m", "p", 1, text, text, text)], snapshot={text: text})
    was = content(first)
    first.close()
    move.copy(sqlite_url(where / "j"), sqlite_url(where / "to"))
    assert content(Journal(sqlite_url(where / "to"), "meter", NODE)) == was


def test_a_plugin_that_opened_the_file_as_it_was_moved_writes_nothing_more(tmp_path, monkeypatch):
    """It was started in the moment between the question whether it is in use and the copy."""
    url = sqlite_url(tmp_path / "j")
    filled(url).close()
    opened = []
    monkeypatch.setattr(move, "in_use", lambda path: opened.append(Journal(url, "meter", NODE)))
    move.move(url, sqlite_url(tmp_path / "to"))
    with pytest.raises(JournalTrouble, match="was moved to"):
        opened[0].commit([counted(8)])
    assert Journal(sqlite_url(tmp_path / "to"), "meter", NODE).last == 7
