"""Backups of a journal in SQLite: one file that is whole, taken while the plugin runs, and put back before it starts.

A journal's newest events are in a second file beside it (-wal) until SQLite folds them in; so a copy of the one file
alone is no backup. A journal in PostgreSQL is backed up by PostgreSQL's own tools.
"""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import JournalTrouble
from .tables import MOVED

IN_USE = "{}: in use; stop the plugin first, and a bridge that starts it again"

BESIDE = ("-wal", "-shm")
"""How the files are named that SQLite keeps beside a database in use."""


@dataclass(frozen=True, slots=True)
class About:
    """What a journal is: its role ("meter" or "stream"), its node, and how many events it has.

    `moved_to` is where it was moved to, "" where it is in force."""

    role: str
    node_id: str
    events: int
    moved_to: str = ""


class Damaged(JournalTrouble):
    """A file of SQLite's that can't be read to its end, or one that is empty."""


def about(path: Path) -> About:
    """Return what the journal in a file is.

    Raises:
        Damaged: It is damaged.
        JournalTrouble: There is none, it is no journal, or it can't be read now; the message says which.
    """
    if not path.is_file():
        raise JournalTrouble(f"{path}: is a directory" if path.is_dir() else f"{path}: there is no such file")
    if not os.access(path, os.R_OK):
        raise JournalTrouble(f"{path}: this user may not read it")
    if not path.stat().st_size:
        raise Damaged(f"{path}: the file is empty")
    try:
        with closing(_reading(path)) as db:
            (sound,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if sound != "ok":
                raise Damaged(f"{path}: the database is damaged: {' '.join(sound.split())}")
            said = dict(db.execute("SELECT name, value FROM satmeter_about").fetchall())
            (events,) = db.execute("SELECT count(*) FROM satmeter_event").fetchone()
            return About(said["role"], said["node_id"], events, said.get(MOVED, ""))
    except KeyError as error:
        raise JournalTrouble(f"{path}: this is no journal of Satmeter: it has no {error}") from error
    except sqlite3.Error as error:
        raise _trouble(path, error) from error


def _trouble(path: Path, error: sqlite3.Error) -> JournalTrouble:
    code = _code(error)
    if code == sqlite3.SQLITE_NOTADB:  # or one whose first page is destroyed
        return Damaged(f"{path}: this is no journal of Satmeter: {error}")
    if str(error).startswith("no such table"):
        return JournalTrouble(f"{path}: this is no journal of Satmeter: {error}")
    if code == sqlite3.SQLITE_CORRUPT:
        return Damaged(f"{path}: the database is damaged: {error}")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return JournalTrouble(f"{path}: another program has it in use: {error}; try again")
    return JournalTrouble(f"{path}: can't be read: {error}")


def _reading(path: Path) -> sqlite3.Connection:
    """Opens a database to read it; also one that nobody uses, in a folder where nothing can be written.

    SQLite wants to write beside a database in use (-shm). Without newer events beside it (-wal) all is in the one
    file."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    made = sqlite3.connect(uri, uri=True)
    try:
        made.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as error:  # what else is wrong is said when it is read
        beside = [path.with_name(f"{path.name}-{each}") for each in ("wal", "journal")]
        whole = not any(each.exists() and each.stat().st_size for each in beside)
        if _code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY) and whole:
            made.close()
            made = sqlite3.connect(f"{uri}&immutable=1", uri=True)
    return made


def _code(error: sqlite3.Error) -> int:
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF  # the rest says more of it


def backup(journal: Path, to: Path) -> About:
    """Write all that is committed to a new file that only its owner can read, whether a plugin runs or not.

    Raises:
        JournalTrouble: The journal can't be read or was moved elsewhere, or the file is there or can't be written.
    """
    _check_in_force(about(journal), journal)
    if to.exists():
        raise JournalTrouble(f"{to}: there is a file already")
    with _copied(journal, to) as (made, found):
        made.rename(to)
    return found


def give_to_owner(made: Path, like: Path) -> None:
    """Gives a file that root made to who owns what it stands for, or else its folder: a plugin has to read it."""
    if os.geteuid() == 0:
        owner = (like if like.exists() else like.parent).stat()
        os.chown(made, owner.st_uid, owner.st_gid)


def restore(saved: Path, journal: Path) -> About:
    """Put a backup in a journal's place. What is there, damaged or not, is kept beside it as .before-N.

    Raises:
        JournalTrouble: The journal is in use, was moved elsewhere, is of another role or node or no journal at all, or
            can't be written.
    """
    found = about(saved)
    _check_in_force(found, saved)
    try:
        if journal.exists():
            _check_same(saved, found, journal)
            if in_use(journal):
                raise JournalTrouble(IN_USE.format(journal))
        with _copied(saved, journal) as (made, _):  # first: where there is no room, the journal stays as it is
            _move_aside(journal)
            made.rename(journal)
    except (OSError, sqlite3.Error) as error:
        raise JournalTrouble(f"{journal}: can't be written: {error}") from error
    return found


def _check_in_force(found: About, path: Path) -> None:
    if found.moved_to:
        raise JournalTrouble(f"the journal at {path} was moved to {found.moved_to}, and is in force there")


def _check_same(saved: Path, found: About, journal: Path) -> None:
    """Raises JournalTrouble where what is in a journal's place is another's; what is damaged can't say."""
    try:
        present = about(journal)
    except Damaged:
        return
    if (present.role, present.node_id) != (found.role, found.node_id):
        raise JournalTrouble(f"{saved} is of {found.role} on {found.node_id}, {journal} is another's")
    _check_in_force(present, journal)


@contextmanager
def _copied(source: Path, to: Path) -> Iterator[tuple[Path, About]]:
    """A whole copy of a journal beside `to`, in one file, and what it is; gone afterwards unless it was renamed."""
    partial = None
    try:
        descriptor, name = tempfile.mkstemp(dir=to.parent, prefix=f"{to.name}.partial-")  # mode 0600
        os.close(descriptor)
        partial = Path(name)
        with closing(_reading(source)) as read:
            with closing(sqlite3.connect(partial)) as made:
                read.backup(made)
                made.execute("PRAGMA journal_mode=DELETE")  # one file
        give_to_owner(partial, to)
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        yield partial, about(partial)
    except (OSError, sqlite3.Error) as error:
        raise JournalTrouble(f"{to}: can't be written: {error}") from error
    finally:  # what is left of it would fill the disk of the node
        if partial is not None:
            for each in ("", "-journal", *BESIDE):
                partial.with_name(partial.name + each).unlink(missing_ok=True)


def in_use(journal: Path) -> bool:
    """Return whether another program has a journal open; else all of it is in its one file afterwards.

    A damaged one may stay in several. JournalTrouble where this user may not write it."""
    if not journal.stat().st_size:
        return False  # SQLite would make a database of it, which then is no journal
    with closing(sqlite3.connect(journal, timeout=0)) as db:
        try:
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            db.execute("BEGIN EXCLUSIVE")
            db.execute("COMMIT")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return bool(db.execute("PRAGMA journal_mode=DELETE").fetchone() != ("delete",))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                return True
            raise JournalTrouble(f"{journal}: can't be written: {error}") from error
        except sqlite3.DatabaseError:  # damaged, and nobody's
            return False


def _move_aside(journal: Path) -> None:
    """Keep what is in a journal's place as .before-N, with the newest events that SQLite has beside it."""
    there = [each for each in ("", *BESIDE) if journal.with_name(journal.name + each).exists()]
    n = 1
    while any(journal.with_name(f"{journal.name}.before-{n}{each}").exists() for each in ("", *BESIDE)):
        n += 1
    for each in there:
        journal.with_name(journal.name + each).rename(journal.with_name(f"{journal.name}.before-{n}{each}"))
