"""Files and URLs of journals: another program's stay as they are, odd paths are kept, and nothing is lost."""

import shutil
import sqlite3
import stat
import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sa

from nobody import as_nobody
from satmeter.core.errors import BadParam, JournalTrouble
from satmeter.core.seller import events as selling
from satmeter.core.tariff import Tariff
from satmeter.journal.backup import about, backup, restore
from satmeter.journal.move import move
from satmeter.journal.store import Journal
from satmeter.journal.tables import SCHEMA
from satmeter.journal.url import check_url, shown, sqlite_url

NODE = "02" + "aa" * 32


def journal(path, count=1):
    made = Journal(sqlite_url(path), "meter", NODE)
    tariff = Tariff(price_msat=1000, ticks_per_unit=10, quantum_msat=5_000)
    made.commit([selling.MeterAdded(at=n + 1, subject=f"meter/m{n}", tariff=tariff) for n in range(count)])
    made.close()
    return path


@pytest.mark.parametrize(
    "url",
    [
        *("sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///j.sqlite3", "sqlite+pysqlite://"),
        *("mysql://x/y", "postgresql://me:S3C@RET@127.0.0.1/x", "what"),
    ],
)
def test_what_keeps_no_journal_is_refused_and_no_part_of_a_password_told(url):
    with pytest.raises(BadParam, match="meter-db: must be sqlite:////PATH or postgresql") as refused:
        check_url("meter-db", url)
    assert "RET" not in str(refused.value)


def test_no_part_of_a_password_is_shown():
    assert "RET" not in shown("postgresql://me:S3C@RET@127.0.0.1:5432/x")


@pytest.mark.parametrize("name", ["q?a", "p%20b", "c#d", "e f", "ü", "a%b?c"])
def test_a_path_may_have_any_letters(tmp_path, name):
    (tmp_path / name).mkdir()
    path = journal(tmp_path / name / "j.sqlite3")
    check_url("meter-db", sqlite_url(path))
    assert path.is_file() and about(path).events == 1
    move(sqlite_url(path), sqlite_url(tmp_path / name / "k"))
    assert about(tmp_path / name / "k").events == 1


def test_another_programs_database_stays_as_it_is(tmp_path):
    path = tmp_path / "theirs"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE cats (name TEXT)")
    db.close()
    path.chmod(0o664)
    before = path.read_bytes()
    with pytest.raises(JournalTrouble, match="tables of another program"):
        Journal(sqlite_url(path), "meter", NODE)
    assert path.read_bytes() == before and stat.S_IMODE(path.stat().st_mode) == 0o664


def test_a_newer_journal_stays_as_it_is(tmp_path):
    path = journal(tmp_path / "j")
    with sqlite3.connect(path) as db:
        db.execute("UPDATE satmeter_about SET value=? WHERE name='schema'", (str(SCHEMA + 1),))
        db.execute("DROP TABLE satmeter_rate")
    db.close()
    before = path.read_bytes()
    with pytest.raises(JournalTrouble, match="use the newer satmeter"):
        Journal(sqlite_url(path), "meter", NODE)
    assert before == path.read_bytes()
    with pytest.raises(JournalTrouble, match="use the newer satmeter"):
        move(sqlite_url(path), sqlite_url(tmp_path / "k"))
    with sqlite3.connect(path) as db:
        assert not db.execute("SELECT 1 FROM sqlite_master WHERE name='satmeter_rate'").fetchone()
    db.close()


def test_its_owner_may_let_the_group_read_it_and_others_never_may(tmp_path):
    path = journal(tmp_path / "j")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for given, kept in ((0o640, 0o640), (0o660, 0o660), (0o644, 0o600), (0o666, 0o600)):
        path.chmod(given)
        Journal(sqlite_url(path), "meter", NODE).close()
        assert stat.S_IMODE(path.stat().st_mode) == kept


@pytest.mark.parametrize("name", ["j.partial", "j.partial-", ".j.partial"])
def test_a_backup_may_have_any_name(tmp_path, name):
    """One that was cut off leaves such a name, perhaps with the only copy."""
    saved = tmp_path / name
    backup(journal(tmp_path / "first", 3), saved)
    restore(saved, tmp_path / "j")
    assert about(saved).events == about(tmp_path / "j").events == 3
    backup(saved, tmp_path / "k")
    left = {each.name for each in tmp_path.iterdir() if not each.name.endswith(("-shm", "-wal"))}
    assert left == {"first", "j", "k", name}


def test_what_is_left_of_a_journal_whose_first_page_is_destroyed_is_kept_beside(tmp_path):
    saved = tmp_path / "saved"
    backup(journal(tmp_path / "j", 5), saved)
    text = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(bytes(1024) + text[1024:])
    restore(saved, tmp_path / "j")
    assert about(tmp_path / "j").events == 5 and (tmp_path / "j.before-1").read_bytes()[1024:] == text[1024:]
    with pytest.raises(JournalTrouble, match="no journal of Satmeter"):
        restore(tmp_path / "j.before-1", tmp_path / "j")


def test_a_missing_driver_is_said_with_what_brings_it(monkeypatch):
    def missing(*_, **__):
        raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")

    monkeypatch.setattr(sa, "create_engine", missing)
    with pytest.raises(JournalTrouble, match=r"psycopg is not installed: .*\[postgresql\]"):
        Journal("postgresql://me@127.0.0.1/x", "meter", NODE)


@pytest.fixture
def closed():
    """A folder that everybody may enter, and in which nobody but its owner, or nobody at all, writes."""
    folder = Path(tempfile.mkdtemp(prefix="satmeter-closed-"))
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(folder)


def test_a_journal_that_nobody_uses_is_read_where_nothing_can_be_written(closed):
    """As from a card that is mounted to be read: SQLite can't make its file beside it."""
    path = journal(closed / "j", 4)
    path.chmod(0o444)
    closed.chmod(0o555)

    def read():
        assert about(path).events == 4

    assert as_nobody(read)
    closed.chmod(0o755)
    path.with_name("j-wal").write_bytes(b"newer events, which can't be read without it")
    path.with_name("j-wal").chmod(0o444)
    closed.chmod(0o555)
    assert not as_nobody(read)
