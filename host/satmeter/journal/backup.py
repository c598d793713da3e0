"""Backups of a journal in SQLite: one file that is whole, taken while the plugin runs, and put back before it starts.

A journal's newest events are in a second file beside it (-wal) until SQLite folds them in; so a copy of the one file
alone is no backup. A journal in PostgreSQL is backed up by PostgreSQL's own tools.
"""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import JournalTrouble

BESIDE = ("-wal", "-shm")
"""How the files are named that SQLite keeps beside a database in use."""


@dataclass(frozen=True, slots=True)
class About:
    """What a journal is: its role ("meter" or "stream"), its node, and how many events it has."""

    role: str
    node_id: str
    events: int


def about(path: Path) -> About:
    """Return what the journal in a file is. JournalTrouble for a file that is none, or that is damaged."""
    if not path.is_file():
        raise JournalTrouble(f"{path}: there is no such file")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            (sound,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if sound != "ok":
                raise JournalTrouble(f"{path}: the database is damaged: {sound}")
            said = dict(db.execute("SELECT name, value FROM satmeter_about").fetchall())
            (events,) = db.execute("SELECT count(*) FROM satmeter_event").fetchone()
            return About(said["role"], said["node_id"], events)
    except (sqlite3.Error, KeyError) as error:
        raise JournalTrouble(f"{path}: this is no journal of Satmeter: {error}") from error


def backup(journal: Path, to: Path) -> About:
    """Write all that is committed to a new file that only its owner can read, whether a plugin runs or not."""
    about(journal)
    if to.exists():
        raise JournalTrouble(f"{to}: there is a file already")
    partial = to.with_name(f"{to.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as source:
            with closing(sqlite3.connect(partial)) as made:
                source.backup(made)
                made.execute("PRAGMA journal_mode=DELETE")  # one file
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        found = about(partial)
        partial.rename(to)
    except (OSError, sqlite3.Error) as error:
        raise JournalTrouble(f"{to}: can't be written: {error}") from error
    return found


def restore(saved: Path, journal: Path) -> About:
    """Put a backup in a journal's place. One that is there is kept beside it. JournalTrouble while it is in use."""
    found = about(saved)
    try:
        if journal.exists():
            present = about(journal)
            if (present.role, present.node_id) != (found.role, found.node_id):
                raise JournalTrouble(f"{saved} is of {found.role} on {found.node_id}, {journal} is another's")
        part = journal.with_name(f"{journal.name}.partial")
        part.unlink(missing_ok=True)
        backup(saved, part)  # first: where there is no room for it, the journal stays as it is
        if journal.exists():
            _let_go(journal)
        for each in BESIDE:  # of a journal that is no more: SQLite would take them for this one's
            journal.with_name(journal.name + each).unlink(missing_ok=True)
        part.rename(journal)
    except (OSError, sqlite3.Error) as error:
        raise JournalTrouble(f"{journal}: can't be written: {error}") from error
    return found


def in_use(journal: Path) -> bool:
    """Return whether another program has a journal open; else all of it is in its one file afterwards."""
    with closing(sqlite3.connect(journal, timeout=0)) as db:
        try:
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            db.execute("BEGIN EXCLUSIVE")
            db.execute("COMMIT")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return bool(db.execute("PRAGMA journal_mode=DELETE").fetchone() != ("delete",))
        except sqlite3.OperationalError:
            return True


def _let_go(journal: Path) -> None:
    """Move a journal aside, all in one file; JournalTrouble while a plugin has it open."""
    if in_use(journal):
        raise JournalTrouble(f"{journal}: in use; stop the plugin first")
    n = 1
    while (aside := journal.with_name(f"{journal.name}.before-{n}")).exists():
        n += 1
    journal.rename(aside)
