"""A journal moved between databases has all that it had, and what it was moved from is not written to again."""

import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from nobody import as_nobody
from satmeter.cli.main import app
from satmeter.core.errors import JournalTrouble
from satmeter.core.seller import events as selling
from satmeter.journal import engine as engine_module
from satmeter.journal import move
from satmeter.journal.backup import in_use
from satmeter.journal.store import Journal, SessionRow
from satmeter.journal.url import sqlite_url

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


def until_somebody_waits(database):
    with psycopg.connect(database, autocommit=True) as db:
        end = time.monotonic() + 20
        while not db.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0]:
            assert time.monotonic() < end


def test_a_commit_during_a_move_out_of_postgresql_is_refused_and_not_lost(database, tmp_path, monkeypatch):
    running, said = filled(database), []

    def commit():
        try:
            said.append(running.commit([counted(8)]))
        except JournalTrouble as e:
            said.append(str(e))

    thread, copied = threading.Thread(target=commit), move._copied

    def slowly(*args):
        thread.start()
        until_somebody_waits(database)
        return copied(*args)

    monkeypatch.setattr(move, "_copied", slowly)
    move.move(database, sqlite_url(tmp_path / "to"))
    thread.join(20)
    assert len(said) == 1 and "was moved to" in said[0]
    assert Journal(sqlite_url(tmp_path / "to"), "meter", NODE).last == 7
    with psycopg.connect(database) as db:
        assert db.execute("SELECT max(id) FROM satmeter_event").fetchone() == (7,)


def test_a_commit_that_a_move_waits_for_is_in_the_copy(database, tmp_path):
    filled(database).close()
    with psycopg.connect(database) as writer:
        writer.execute("INSERT INTO satmeter_event SELECT 8, at, stream, kind, data FROM satmeter_event WHERE id = 7")
        moving = threading.Thread(target=move.move, args=(database, sqlite_url(tmp_path / "to")))
        moving.start()
        until_somebody_waits(database)
        writer.commit()
    moving.join(20)
    assert Journal(sqlite_url(tmp_path / "to"), "meter", NODE).last == 8


def test_a_copy_may_take_longer_than_a_use_of_a_connection_elsewhere(database, tmp_path, monkeypatch):
    monkeypatch.setattr(engine_module.engine, "__defaults__", (2, 0.05))
    filled(sqlite_url(tmp_path / "j")).close()
    copied = move._copied

    def slowly(*args):
        time.sleep(0.3)  # what a large journal takes
        return copied(*args)

    monkeypatch.setattr(move, "_copied", slowly)
    assert move.copy(sqlite_url(tmp_path / "j"), database).events == 7


@pytest.mark.parametrize("role", ["source", "target"])
def test_another_programs_database_stays_as_it_is(role, tmp_path):
    other = tmp_path / "wallet.sqlite3"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE coins (a)")
    other.chmod(0o644)
    was = other.read_bytes(), other.stat().st_mode
    filled(sqlite_url(tmp_path / "j")).close()
    names = {"source": (other, tmp_path / "to"), "target": (tmp_path / "j", other)}[role]
    for action in (move.copy, move.move):
        with pytest.raises(JournalTrouble, match=r"wallet\.sqlite3"):
            action(*map(sqlite_url, names))
    assert (other.read_bytes(), other.stat().st_mode) == was


def test_a_journal_without_rates_moves_too(database, tmp_path):
    """0.1.0's journals of before rates were recorded have no table for them."""
    url = sqlite_url(tmp_path / "j")
    filled(url).close()
    with closing(sqlite3.connect(tmp_path / "j")) as db:
        db.execute("DROP TABLE satmeter_rate")
    assert move.move(url, database).events == 7


def test_one_that_is_in_use_is_not_moved(database, tmp_path):
    used = filled(sqlite_url(tmp_path / "j"))
    with pytest.raises(JournalTrouble, match="in use; stop the plugin first"):
        move.move(sqlite_url(tmp_path / "j"), database)
    used.commit([counted(8)])
    used.close()
    assert move.move(sqlite_url(tmp_path / "j"), database).events == 8


def test_one_that_this_user_may_not_write_is_not_called_in_use():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j.sqlite3"
        filled(sqlite_url(path)).close()
        path.chmod(0o644)
        path.parent.chmod(0o755)

        def look():
            with pytest.raises(JournalTrouble, match="can't be written"):
                in_use(path)

        assert as_nobody(look)
        assert not in_use(path)


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
    for to in ("postgresql://me:secret@127.0.0.1:1/x", "postgresql://127.0.0.1:1/x?user=me&password=secret"):
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


def test_a_copy_with_fewer_rows_than_there_were_is_no_move(tmp_path, monkeypatch):
    filled(sqlite_url(tmp_path / "j")).close()
    real = move.sa.insert
    monkeypatch.setattr(move, "ROWS", 3)
    pieces = []

    def insert(table):
        if table is move.tables.EVENT:
            pieces.append(table)
            if len(pieces) == 2:
                # A database that takes a piece, and does not keep it.
                return move.sa.text("DELETE FROM satmeter_event WHERE id = -:id")
        return real(table)

    monkeypatch.setattr(move.sa, "insert", insert)
    with pytest.raises(JournalTrouble, match="satmeter_event: 7 rows were there, and 4 are in the copy"):
        move.move(sqlite_url(tmp_path / "j"), sqlite_url(tmp_path / "copy"))
    monkeypatch.undo()
    again = Journal(sqlite_url(tmp_path / "j"), "meter", NODE)  # what was there is there, and goes on
    again.commit([counted(8)])
    assert len(again.history()) == 8
