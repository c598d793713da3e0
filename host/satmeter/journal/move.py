"""A journal from one database to another: from SQLite to PostgreSQL, or back, with everything that is in it.

The plugin is stopped for it. When the copy is whole, the one that was moved says where it is now and is never written
to again: two journals that go on from one state would pay refunds twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from ..core.errors import JournalTrouble
from . import tables
from .backup import IN_USE, About, about, give_to_owner, in_use
from .engine import engine, trouble
from .tables import SCHEMA
from .url import check_url, shown, sqlite_url

ROWS = 1_000
"""Rows that are copied at once."""
LONG_S = 86_400
"""How long a copy may take over one connection."""


def url_of(journal: str) -> str:
    """Return the database URL of what a person gives: a URL, or the path of a SQLite file."""
    if "://" not in journal:
        return sqlite_url(Path(journal).expanduser().absolute())
    check_url("journal", journal)
    return journal


def copy(source: str, target: str) -> About:
    """Write all that a journal has, as it is at one moment, into an empty database; the plugin may run meanwhile.

    Args:
        source: The journal: a database URL.
        target: Another: what it names must hold no journal.

    Returns:
        What the copy is.

    Raises:
        JournalTrouble: One of them can't be used, the source is no journal or has another schema, or the target
            has a journal.
    """
    with _reading(source) as read, _writing(target) as write:
        return _copied(source, read, write)


def move(source: str, target: str) -> About:
    """Copy a journal whose plugin does not run, and mark it as moved, so that no plugin writes to it again.

    A plugin that has it open in PostgreSQL all the same waits with its commit, and is refused (Journal.commit).
    Args and errors as of `copy`; JournalTrouble also where a plugin has a SQLite file open.
    """
    path = Path(sa.make_url(source).database or "") if source.startswith("sqlite") else None
    if path is not None:
        about(path)  # before anything is done with what may be another program's
        if in_use(path):
            raise JournalTrouble(IN_USE.format(path))
    with _reading(source, exclusive=True) as read:
        with _writing(target) as write:
            moved = _copied(source, read, write)
        read.execute(sa.insert(tables.ABOUT), {"name": tables.MOVED, "value": shown(target)})
        read.commit()
    return moved


def _copied(source: str, read: sa.Connection, write: sa.Connection) -> About:
    said = {row.name: row.value for row in read.execute(sa.select(tables.ABOUT))}
    if (schema := said.get("schema", "")).isdecimal() and int(schema) > SCHEMA:
        raise JournalTrouble(
            f"the journal at {shown(source)} has schema {schema}, this version knows {SCHEMA}; use the newer satmeter"
        )
    if said.get("schema") != str(SCHEMA):
        raise JournalTrouble(
            f"the journal at {shown(source)} has schema {said.get('schema')}, and this version writes {SCHEMA}: "
            "start its plugin once with this version"
        )
    if tables.MOVED in said:
        raise JournalTrouble(f"the journal at {shown(source)} was moved to {said[tables.MOVED]}")
    events = 0
    there = sa.inspect(read).get_table_names()
    moved = [table for table in tables.TABLES if table.name in there or table is not tables.RATE]  # it is the youngest
    for table in moved:
        chosen = sa.select(table).order_by(*table.primary_key).execution_options(yield_per=ROWS)
        rows = read.execute(chosen)
        for part in rows.mappings().partitions(ROWS):
            write.execute(sa.insert(table), [dict(row) for row in part])
            events += len(part) if table is tables.EVENT else 0
    for table in moved:
        count = sa.select(sa.func.count()).select_from(table)
        if (had := read.execute(count).scalar()) != (has := write.execute(count).scalar()):
            raise JournalTrouble(f"{table.name}: {had} rows were there, and {has} are in the copy")
    return About(said["role"], said["node_id"], events)


@contextmanager
def _reading(url: str, exclusive: bool = False) -> Iterator[sa.Connection]:
    """A connection that sees one state of the database, whatever is written meanwhile."""
    path = sa.make_url(url).database if url.startswith("sqlite") else None
    if path is not None:
        about(Path(path))  # before it is opened as ours: another program's file stays as it is
    with _told(url):
        made = engine(url, limit_s=LONG_S)
        level = "SERIALIZABLE" if path is not None else "REPEATABLE READ"
        try:
            with made.connect().execution_options(isolation_level=level) as db:
                if path is not None:
                    db.exec_driver_sql("BEGIN IMMEDIATE" if exclusive else "BEGIN")  # sqlite3 begins none for a SELECT
                elif exclusive:
                    # Before anything is read: what is read is as it was at the first question, and a plugin that runs
                    # all the same may be in the middle of a commit.
                    db.execute(sa.text(f"LOCK TABLE {tables.EVENT.name} IN SHARE MODE"))
                if not sa.inspect(db).has_table(tables.ABOUT.name):
                    raise JournalTrouble(f"{shown(url)}: this is no journal of Satmeter")
                yield db
        finally:
            made.dispose()


@contextmanager
def _writing(url: str) -> Iterator[sa.Connection]:
    """A connection in one transaction, with the tables made; all of it is there at its end, or nothing."""
    path = Path(sa.make_url(url).database or "") if url.startswith("sqlite") else None
    if path is not None and path.exists():
        raise JournalTrouble(f"{path}: there is a file already; move it away, or give another name")
    with _told(url):
        made = engine(url, limit_s=LONG_S)
        try:
            with made.begin() as db:
                tables.META.create_all(db)
                if db.execute(sa.select(tables.ABOUT)).first() is not None:
                    raise JournalTrouble(
                        f"{shown(url)}: there is a journal already; "
                        "give another database or schema, or drop its satmeter_* tables"
                    )
                yield db
            if path is not None:
                give_to_owner(path, path.parent)
        except BaseException:
            if path is not None:
                made.dispose()
                for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
                    with suppress(OSError):
                        path.with_name(name).unlink()
            raise
        finally:
            made.dispose()


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Says the database's errors in words, without a password."""
    try:
        yield
    except (SQLAlchemyError, OSError, ImportError) as error:
        raise trouble(url, error) from error
