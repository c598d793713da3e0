"""The engine of a journal's database, set up to lose nothing, and what a user is told of its trouble."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from ..core.errors import JournalTrouble
from ..parts import how_to_install
from . import stalls
from .tables import ABOUT, SCHEMA
from .url import shown

BUSY_MS = 2000
PAGE_BYTES = 1024
"""A commit writes whole pages, of which it changes two or three: small ones wear out less of a card. Of new files."""
WAL_BYTES = 4_096_000
"""How large the write-ahead log becomes, before it is written into the file."""


def trouble(url: str, error: Exception, what: str = "journal") -> JournalTrouble:
    """Return a database's error in words, without the password of its URL; `what`: what the database is to us."""
    where = shown(url) if "://" in url else url
    cause = (str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, ModuleNotFoundError):
        cause = how_to_install(error.name, "postgresql")
    return JournalTrouble(f"the {what} at {where} can't be used: {cause}")


def check_file(path: Path) -> None:
    """Raises JournalTrouble for a file that is another program's, or of a newer version: it stays as it is."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            names = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
            if names and ABOUT.name not in names:
                raise JournalTrouble(f"{path}: this is no journal of Satmeter: it has tables of another program")
            found = db.execute(f"SELECT value FROM {ABOUT.name} WHERE name='schema'").fetchone() if names else None
    except sqlite3.Error:
        return  # there is none yet; or it can't be read, which is said when it is opened
    if found and str(found[0]).isdecimal():
        check_version(int(found[0]))


def check_version(schema: int) -> None:
    """Raises JournalTrouble for the schema of a newer version."""
    if schema > SCHEMA:
        raise JournalTrouble(f"the journal has schema {schema}, this version knows {SCHEMA}; use the newer satmeter")


def _private(path: str | None) -> None:
    """Lets nobody but its owner read a new database's file, and what SQLite puts beside it.

    Its owner may let the group read it later (an audit as another user); others never may."""
    if path and path != ":memory:" and Path(path).parent.is_dir():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        mode = stat.S_IMODE(Path(path).stat().st_mode)
        if mode & 0o007:
            Path(path).chmod(0o600)


def engine(url: str, connections: int = 2, limit_s: int = stalls.LIMIT_S) -> sa.Engine:
    """Return the engine of a database URL (sqlite:///PATH, postgresql://...), set up to lose nothing.

    `limit_s`: how long one use of a connection may take where the database is a server's."""
    if url.startswith("postgresql:"):
        url = "postgresql+psycopg" + url[len("postgresql") :]
    if not url.startswith("sqlite"):
        waits = stalls.arguments(url) if url.startswith("postgresql") else {}
        shared = sa.create_engine(url, connect_args=waits, pool_size=connections, max_overflow=2, pool_timeout=10)
        stalls.Stalls(shared, limit_s)
        return shared
    _private(sa.make_url(url).database)
    made = sa.create_engine(url, connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False})

    @sa.event.listens_for(made, "connect")
    def _settings(connection: sqlite3.Connection, _: object) -> None:
        # FULL: what is committed before a payment must survive a power cut.
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode=WAL")
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA wal_autocheckpoint={WAL_BYTES // page}")
        connection.execute("PRAGMA synchronous=FULL")

    return made
