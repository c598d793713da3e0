"""The billing service's database: opened, brought to this version's schema, and used in short transactions."""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from ..core.errors import JournalTrouble
from ..journal.engine import engine, trouble
from .tables import ABOUT

CONNECTIONS = 8
SAID = "satmeter_said"


class Database:
    """One database of one node's service. JournalTrouble, in words, where it can't be used."""

    def __init__(self, url: str, node_id: str):
        self.url = url
        self.shared = not url.startswith("sqlite")
        """Whether several workers may use it at once."""
        self.hearers: list[Callable[[], None]] = []
        """Called after a transaction in which something was recorded that others wait for (a connection's info has
        SAID)."""
        self._turn: AbstractContextManager[object] = nullcontext() if self.shared else threading.Lock()
        """SQLite has one writer at a time; left to it, the others sleep longer and longer before they look again."""
        try:
            self._engine = engine(url, CONNECTIONS)
            if not self.shared:
                _begin_at_once(self._engine)
            self._migrate()
            self._belongs_to(node_id)
        except (SQLAlchemyError, CommandError, OSError, ImportError, ValueError) as error:
            raise trouble(url, error, "database") from error

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction: all of it is recorded, or nothing."""
        try:
            with self._turn, self._engine.begin() as db:
                yield db
                said = db.info.pop(SAID, False)
            if said:
                for hear in self.hearers:
                    hear()
        except SQLAlchemyError as error:
            raise trouble(self.url, error, "database") from error

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yields a connection for reads; nothing is committed. JournalTrouble if the database fails."""
        try:
            with self._engine.connect().execution_options(satmeter_reads=True) as db:
                yield db
        except SQLAlchemyError as error:
            raise trouble(self.url, error, "database") from error

    def close(self) -> None:
        """Closes the pooled connections. A later use of the database opens new ones."""
        self._engine.dispose()

    def _migrate(self) -> None:
        config = AlembicConfig()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        known = {each.revision for each in ScriptDirectory.from_config(config).walk_revisions()}
        with self._engine.begin() as db:
            if self.shared:  # workers that start together do this one after the other
                db.execute(sa.text("SELECT pg_advisory_xact_lock(720576)"))
            found = MigrationContext.configure(db, opts={"version_table": "billing_version"}).get_current_revision()
            if found is not None and found not in known:
                raise JournalTrouble(f"the database has schema {found}, which this version does not know; it is newer")
            config.attributes["connection"] = db
            command.upgrade(config, "head")

    def _belongs_to(self, node_id: str) -> None:
        """A database follows the payments of one node: another's would be credited wrongly. "": that is not asked."""
        if not node_id:
            return
        with self.writing() as db:
            found = db.execute(sa.select(ABOUT.c.value).where(ABOUT.c.name == "node_id")).scalar()
            if found is None:
                db.execute(sa.insert(ABOUT), {"name": "node_id", "value": node_id})
            elif found != node_id:
                raise JournalTrouble(f"the database belongs to node {found}, this is {node_id}")


def _begin_at_once(made: sa.Engine) -> None:
    """Makes SQLite take the write lock at the start of each writing transaction.

    By default SQLite takes it at the first change, and what was read before could be outdated by then."""

    @sa.event.listens_for(made, "connect")
    def _manual(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(made, "begin")
    def _begin(db: sa.Connection) -> None:
        db.exec_driver_sql("BEGIN" if db.get_execution_options().get("satmeter_reads") else "BEGIN IMMEDIATE")


def only(result: sa.CursorResult[tuple[object, ...]]) -> bool:
    """Whether a statement changed the one row that it was about."""
    return result.rowcount == 1


def insert_new(db: sa.Connection, table: sa.Table, row: Mapping[str, object]) -> bool:
    """Insert a row, unless one with its key is there; whether it was inserted."""
    insert = postgresql.insert if db.dialect.name == "postgresql" else sqlite.insert
    kept = {"preserve_rowcount": True}  # of an INSERT, psycopg's count is gone with its cursor
    return only(db.execute(insert(table).on_conflict_do_nothing(), row, execution_options=kept))


def already_there(trouble: JournalTrouble) -> bool:
    """Whether a transaction failed because a row with the same key was recorded before."""
    return isinstance(trouble.__cause__, IntegrityError)
