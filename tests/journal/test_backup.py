"""Backups of a journal: whole while it is written to, refused in words where they can't be, put back beside the old."""

import os
import sqlite3
from contextlib import closing

import pytest
from typer.testing import CliRunner

from satmeter.cli.main import app
from satmeter.core.errors import JournalTrouble
from satmeter.core.seller import events as selling
from satmeter.journal import backup, move
from satmeter.journal.store import Journal
from satmeter.journal.url import sqlite_url

NODE = "02" + "aa" * 32


def journal(path, role="meter", node=NODE):
    return Journal(sqlite_url(path), role, node)


def counted(n):
    return selling.Counted(at=n, subject="meter/m", count=n)


def counts(path):
    open_ = journal(path)
    found = [e.count for e in open_.load()[1]]
    open_.close()
    return found


def test_a_backup_has_all_that_was_committed_while_the_journal_is_in_use(tmp_path):
    path, to = tmp_path / "j.sqlite3", tmp_path / "saved"
    used = journal(path)
    for n in range(1, 6):
        used.commit([counted(n)])
    assert backup.backup(path, to) == backup.About("meter", NODE, 5)
    used.commit([counted(6)])
    assert counts(to) == [1, 2, 3, 4, 5] and to.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.glob("saved*")] == ["saved"]


def test_after_a_close_all_is_in_one_file_that_only_its_owner_reads(tmp_path):
    path = tmp_path / "j.sqlite3"
    used = journal(path)
    used.commit([counted(n) for n in range(1, 4)])
    used.close()
    alone = tmp_path / "alone"
    alone.write_bytes(path.read_bytes())
    assert counts(alone) == [1, 2, 3] and path.stat().st_mode & 0o777 == 0o600


def test_a_journal_that_others_could_read_is_closed_to_them(tmp_path):
    path = tmp_path / "j.sqlite3"
    journal(path).close()
    path.chmod(0o644)
    journal(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_restore_keeps_the_journal_that_was_there(tmp_path):
    path, to = tmp_path / "j.sqlite3", tmp_path / "saved"
    first = journal(path)
    first.commit([counted(1)])
    backup.backup(path, to)
    first.commit([counted(2)])
    with pytest.raises(JournalTrouble, match="in use; stop the plugin first"):
        backup.restore(to, path)
    assert [e.count for e in first.load()[1]] == [1, 2]
    first.close()
    backup.restore(to, path)
    assert counts(path) == [1] and counts(tmp_path / "j.sqlite3.before-1") == [1, 2]
    path.unlink()
    gone = journal(path)
    gone.commit([counted(7)])
    path.unlink()  # what SQLite keeps beside it stays
    assert (tmp_path / "j.sqlite3-wal").stat().st_size
    backup.restore(to, path)
    assert counts(path) == [1]


def test_what_can_not_be_is_refused_and_loses_nothing(tmp_path):
    path, to = tmp_path / "j.sqlite3", tmp_path / "saved"
    with pytest.raises(JournalTrouble, match="no such file"):
        backup.backup(path, to)
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(JournalTrouble, match="no journal of Satmeter"):
        backup.backup(path, to)
    other = tmp_path / "other"
    sqlite3.connect(other).execute("CREATE TABLE x (y)")
    with pytest.raises(JournalTrouble, match="no journal of Satmeter"):
        backup.backup(other, to)
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    journal(mine).close()
    journal(theirs, role="stream").close()
    backup.backup(theirs, to)
    with pytest.raises(JournalTrouble, match="there is a file already"):
        backup.backup(mine, to)
    with pytest.raises(JournalTrouble, match="another's"):
        backup.restore(to, mine)
    assert backup.about(mine).role == "meter" and backup.about(to).role == "stream"


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"*" * (len(data) - len(data) // 2)
    path.write_bytes(data)


def test_a_damaged_journal_is_kept_beside_the_backup_that_takes_its_place(tmp_path):
    path, to = tmp_path / "j.sqlite3", tmp_path / "saved"
    used = journal(path)
    used.commit([counted(n) for n in range(200)])
    backup.backup(path, to)
    used.close()
    size = path.stat().st_size
    damage(path)
    with pytest.raises(backup.Damaged, match="damaged"):
        backup.about(path)
    backup.restore(to, path)
    assert counts(path) == list(range(200))
    assert (tmp_path / "j.sqlite3.before-1").stat().st_size == size
    path.write_bytes(b"")
    with pytest.raises(backup.Damaged, match="empty"):
        backup.about(path)
    backup.restore(to, path)
    assert counts(path) == list(range(200)) and (tmp_path / "j.sqlite3.before-2").exists()


def test_newest_events_of_a_journal_whose_file_was_moved_away_are_kept(tmp_path):
    path, to = tmp_path / "j.sqlite3", tmp_path / "saved"
    used = journal(path)
    used.commit([counted(1)])
    backup.backup(path, to)
    used.commit([counted(2)])
    newest = (tmp_path / "j.sqlite3-wal").read_bytes()
    used.close()
    path.rename(tmp_path / "j.damaged")
    (tmp_path / "j.sqlite3-wal").write_bytes(newest)
    backup.restore(to, path)
    assert counts(path) == [1] and (tmp_path / "j.sqlite3.before-1-wal").read_bytes() == newest


def test_what_fails_leaves_nothing_behind(tmp_path):
    path, to, full = tmp_path / "j.sqlite3", tmp_path / "saved", tmp_path / "none" / "there"
    used = journal(path)
    used.commit([counted(1)])
    backup.backup(path, to)
    before = sorted(each.name for each in tmp_path.iterdir())
    with pytest.raises(JournalTrouble, match=f"{full}: can't be written"):
        backup.backup(path, full)
    with pytest.raises(JournalTrouble, match=f"{full}: can't be written"):
        backup.restore(to, full)
    with pytest.raises(JournalTrouble, match="in use; stop the plugin first"):
        backup.restore(to, path)
    damage(to)
    with pytest.raises(JournalTrouble):
        backup.restore(to, tmp_path / "fresh")
    assert sorted(each.name for each in tmp_path.iterdir()) == before
    used.close()


def test_a_journal_that_was_moved_is_not_backed_up_for_the_one_in_force(tmp_path):
    path, to = tmp_path / "j.sqlite3", tmp_path / "saved"
    used = journal(path)
    used.commit([counted(1)])
    used.close()
    backup.backup(path, to)
    move.move(sqlite_url(path), sqlite_url(tmp_path / "elsewhere"))
    with pytest.raises(JournalTrouble, match=r"was moved to .*elsewhere"):
        backup.backup(path, tmp_path / "stale")


def test_why_a_journal_can_not_be_read_is_said_as_it_is(tmp_path):
    path = tmp_path / "j.sqlite3"
    journal(path).close()
    with pytest.raises(JournalTrouble, match="is a directory"):
        backup.about(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalTrouble, match="another program has it in use"):
            backup.about(path)


def test_by_the_command(tmp_path):
    path, to = tmp_path / "j.sqlite3", tmp_path / "saved"
    used = journal(path)
    used.commit([counted(1)])
    used.close()
    run = CliRunner().invoke
    saved = run(app, ["journal", "backup", str(path), str(to)])
    assert saved.exit_code == 0 and "1 events" in " ".join(saved.output.split())
    again = run(app, ["journal", "backup", str(path), str(to)])
    assert again.exit_code == 1 and "already" in again.output
    assert run(app, ["journal", "restore", str(to), str(path)]).exit_code == 0


def test_a_journal_of_a_later_version_is_refused_in_words(tmp_path):
    path = tmp_path / "j.sqlite3"
    journal(path).close()
    for schema, why in (("99", "use the newer satmeter"), ("5", "of before version 0.1.0")):
        with sqlite3.connect(path) as db:
            db.execute("UPDATE satmeter_about SET value = ? WHERE name = 'schema'", [schema])
        with pytest.raises(JournalTrouble, match=why):
            journal(path)


def test_a_journal_that_is_removed_or_replaced_while_it_is_in_use_takes_nothing_more(tmp_path):
    path, aside = tmp_path / "j.sqlite3", tmp_path / "aside"
    used = journal(path)
    used.commit([counted(1)])
    path.rename(aside)
    for _ in range(2):
        with pytest.raises(JournalTrouble, match="removed or replaced"):
            used.commit([counted(2)])
    with pytest.raises(JournalTrouble, match="is gone: put it back"):
        Journal(sqlite_url(path), "meter", NODE, existing=True)
    assert not path.exists()
    path.write_bytes(aside.read_bytes())
    with pytest.raises(JournalTrouble, match="removed or replaced"):
        used.commit([counted(2)])
    path.unlink()
    aside.rename(path)
    used.commit([counted(2)])
    assert [e.count for e in Journal(sqlite_url(path), "meter", NODE, existing=True).load()[1]] == [1, 2]


def test_closing_a_journal_whose_file_is_gone_makes_no_other(tmp_path):
    path = tmp_path / "j.sqlite3"
    used = journal(path)
    used.commit([counted(1)])
    path.rename(tmp_path / "aside")
    for _ in range(3):  # at each try to open it again
        used.close()
    assert not path.exists()


def test_a_journal_that_was_moved_is_not_put_back_in_its_old_place(tmp_path):
    path, saved, moved = tmp_path / "j.sqlite3", tmp_path / "saved", tmp_path / "moved.sqlite3"
    used = journal(path)
    used.commit([counted(1)])
    used.close()
    backup.backup(path, saved)
    move.move(sqlite_url(path), sqlite_url(moved))
    with pytest.raises(JournalTrouble, match=r"was moved to .*moved\.sqlite3, and is in force there"):
        backup.restore(saved, path)
    assert backup.about(path).moved_to


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_what_root_restores_belongs_to_whom_it_belonged(tmp_path):
    path, saved, fresh = tmp_path / "j.sqlite3", tmp_path / "saved", tmp_path / "theirs"
    used = journal(path)
    used.commit([counted(1)])
    used.close()
    backup.backup(path, saved)
    os.chown(path, 12_345, 12_346)
    backup.restore(saved, path)
    fresh.mkdir()
    os.chown(fresh, 12_345, 12_346)
    backup.restore(saved, fresh / "j.sqlite3")
    move.move(sqlite_url(saved), sqlite_url(fresh / "moved.sqlite3"))
    for each in (path, fresh / "j.sqlite3", fresh / "moved.sqlite3"):
        assert (each.stat().st_uid, each.stat().st_gid, each.stat().st_mode & 0o777) == (12_345, 12_346, 0o600)


def test_an_empty_file_is_in_nobodys_use_and_stays_empty(tmp_path):
    """SQLite would make a database of it, which the next restore then takes for another program's."""
    path = tmp_path / "j.sqlite3"
    path.touch()
    assert not backup.in_use(path) and path.stat().st_size == 0
