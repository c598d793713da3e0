"""The journal in a database: SQLite by default, PostgreSQL by URL, one code path (SQLAlchemy Core).

One role (seller or buyer) of one node writes one journal. Its events are append-only, numbered by us: two writers
collide on the number instead of mixing their events. A snapshot of the state stands beside them, so that a start
reads only the events after it; `session` is an index of sessions for lists and for receipts of old ones.
"""

import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TypedDict, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from ..core.errors import JournalTrouble
from ..core.journal import E, Event, decode, encode
from ..core.plain import Plain
from ..core.status import SessionRow, StoredSession
from .engine import check_file, check_version, engine, trouble
from .rates import MOST_MS, Rates, StoredRate
from .tables import ABOUT, EVENT, META, MOVED, OLDEST, RATE, SCHEMA, SESSION, SET_BACK, SNAPSHOT

CHECKPOINT_MS = 86_400_000
"""How far apart the snapshots are that stay, for compaction to begin the journal with one of them."""

Stored = TypeVar("Stored")


class StoredEvent(TypedDict):
    """An event as it is stored: `at` in ms, `data` its fields as JSON."""

    id: int
    at: int
    stream: str
    kind: str
    data: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after the event of an id."""

    upto: int
    state: Plain


class Journal:
    """A journal that is open for one role ("meter" or "stream") of one node."""

    def __init__(self, url: str, role: str, node_id: str, existing: bool = False):
        """existing: whether it was there a moment ago, so that none is begun in its place."""
        self.url = url
        self._path = Path(sa.make_url(url).database or "") if url.startswith("sqlite:///") else None
        if existing and self._path is not None and not self._path.exists():
            raise JournalTrouble(f"the journal's file {self._path} is gone: put it back, or restore a backup")
        self.name = ""
        """A few hex digits, made with the journal; they stand in the labels of its invoices."""
        self.last = 0
        self.newest_at = 0
        """The time of the newest event, in ms."""
        if self._path is not None:
            check_file(self._path)
        try:
            self._engine = engine(url)
            self._open(role, node_id)
            self._file = self._inode()
        except JournalTrouble:
            self._engine.dispose()  # a file that is left open can't be moved or put back
            raise
        except (SQLAlchemyError, OSError, ImportError, ValueError) as error:
            raise trouble(url, error) from error

    def _open(self, role: str, node_id: str) -> None:
        with self._engine.begin() as db:
            META.create_all(db)
            about = {row.name: row.value for row in db.execute(sa.select(ABOUT))}
            wanted = {"schema": str(SCHEMA), "role": role, "node_id": node_id, "name": secrets.token_hex(4)}
            if not about:
                db.execute(sa.insert(ABOUT), [{"name": key, "value": value} for key, value in wanted.items()])
                about = {**wanted}
            elif missing := [name for name in wanted if not about.get(name)]:
                raise JournalTrouble(f"the journal is damaged: it does not say its {', '.join(missing)}")
            elif not about["schema"].isdecimal():
                raise JournalTrouble(f"the journal is damaged: its schema is {about['schema']!r}")
            check_version(int(about["schema"]))
            if int(about["schema"]) < OLDEST:
                raise JournalTrouble(
                    f"the journal has schema {about.get('schema')}, of before version 0.1.0, which is no longer read: "
                    f"end its sessions with the version that made it, keep the file, and begin a new one"
                )
            elif about.get("schema") != str(SCHEMA):
                db.execute(sa.update(ABOUT).where(ABOUT.c.name == "schema").values(value=str(SCHEMA)))
            for name in ("role", "node_id"):
                if about and about.get(name) != wanted[name]:
                    raise JournalTrouble(f"the journal belongs to {name} {about.get(name)}, this is {wanted[name]}")
            if MOVED in about:
                raise JournalTrouble(f"the journal was moved to {about[MOVED]}: name that in {role}-db")
            self.name = about["name"]
            newest = db.execute(sa.select(EVENT.c.id, EVENT.c.at).order_by(EVENT.c.id.desc()).limit(1)).first()
            self.last, self.newest_at = (newest.id, newest.at) if newest else (0, 0)

    def commit(
        self,
        events: Sequence[Event],
        sessions: Iterable[SessionRow] = (),
        snapshot: Plain | None = None,
    ) -> None:
        """Record events (and what goes with them) in one transaction, or raise JournalTrouble and record nothing."""
        rows = [
            {
                "id": self.last + 1 + i,
                "at": event.at,
                "stream": event.subject,
                "kind": event.kind(),
                "data": encode(event),
            }
            for i, event in enumerate(events)
        ]
        last = self.last + len(rows)
        if self._inode() != self._file:  # SQLite would go on writing into a file that no start finds again
            raise JournalTrouble(f"the journal's file {self._path} was removed or replaced while it was in use")
        try:
            with self._engine.begin() as db:
                if rows:
                    db.execute(sa.insert(EVENT), rows)
                for row in sessions:
                    db.execute(sa.delete(SESSION).where(SESSION.c.id == row.id))
                    db.execute(sa.insert(SESSION), {name: getattr(row, name) for name in SessionRow.__slots__})
                if snapshot is not None:
                    kept = [upto for upto, _ in self._checkpoints(db)]
                    db.execute(sa.delete(SNAPSHOT).where(SNAPSHOT.c.upto.not_in([self._base(db), *kept])))
                    db.execute(sa.delete(SNAPSHOT).where(SNAPSHOT.c.upto == last))
                    db.execute(sa.insert(SNAPSHOT), {"upto": last, "state": json.dumps(snapshot)})
                    if events:
                        self._keep_as_checkpoint(db, last, events[-1].at)
                self._check_place(db)  # at the end: the first row that is written waits for a move to be over
        except (SQLAlchemyError, OSError) as error:
            raise trouble(self.url, error) from error
        self.last = last
        self.newest_at = events[-1].at if events else self.newest_at

    def _check_place(self, db: sa.Connection) -> None:
        """It may have been moved since it was opened (move.py): what is written here then would be lost."""
        moved = db.execute(sa.select(ABOUT.c.value).where(ABOUT.c.name == MOVED)).scalar()
        if moved:
            raise JournalTrouble(f"the journal was moved to {moved}")

    def set_back(self, ahead: int) -> None:
        """Moves the times of sessions that a clock in the future has dated back by `ahead` ms.

        This changes the index only. The events stay as they are, since receipts hold their hashes."""
        near = self.newest_at - ahead // 2
        with self._using(write=True) as db:
            self._set_about(db, SET_BACK, "1")
            for column in (SESSION.c.opened_at, SESSION.c.closed_at):
                db.execute(sa.update(SESSION).where(column > near).values({column.name: column - ahead}))

    def was_set_back(self) -> bool:
        """Whether times of the index were ever moved back: they are not those of the events, then."""
        with self._using() as db:
            return db.execute(sa.select(ABOUT.c.value).where(ABOUT.c.name == SET_BACK)).scalar() is not None

    def time_of(self, event: int) -> int | None:
        """Return the time of an event in ms, None for one that is not there, or not any more."""
        rows = self._rows(sa.select(EVENT).where(EVENT.c.id == event), StoredEvent)
        return rows[0]["at"] if rows else None

    def _inode(self) -> int:
        """Which file its path leads to; 0 for none, and where it is no file."""
        try:
            return self._path.stat().st_ino if self._path is not None else 0
        except OSError:
            return 0

    def load(self) -> tuple[Plain | None, list[Event]]:
        """Return the newest snapshot (None if there is none) and the events after it, oldest first."""
        try:
            with self._engine.connect() as db:
                snapshot, events = newest(db)
                self.last = max(self.last, (snapshot.upto if snapshot is not None else 0) + len(events))
                return (snapshot.state if snapshot is not None else None), events
        except SQLAlchemyError as error:
            raise trouble(self.url, error) from error

    def events(self, stream: str, limit: int) -> list[Event]:
        """Return the first `limit` events of a stream, oldest first."""
        return [
            decode(each["kind"], each["at"], each["stream"], each["data"]) for each in self.history(stream, limit=limit)
        ]

    def history(self, stream: str = "", after: int = 0, limit: int = 100, newest: bool = False) -> list[StoredEvent]:
        """Returns up to `limit` events with an id over `after`, oldest first.

        `stream` is a session's id or "meter/NAME"; "" for all. They are the first of these events, or
        with `newest` the last."""
        order = EVENT.c.id.desc() if newest else EVENT.c.id
        query = sa.select(EVENT).where(EVENT.c.id > after).order_by(order).limit(limit)
        if stream:
            query = query.where(EVENT.c.stream == stream)
        rows = self._rows(query, StoredEvent)
        return rows[::-1] if newest else rows

    def latest(self, stream: str, kind: type[E], among: int = 1_000) -> list[E]:
        """Return the events of a kind among the newest of a stream, oldest first."""
        newest = sa.select(EVENT).where(EVENT.c.stream == stream).order_by(EVENT.c.id.desc()).limit(among)
        rows = [row for row in self._rows(newest, StoredEvent) if row["kind"] == kind.kind()]
        events = (decode(row["kind"], row["at"], row["stream"], row["data"]) for row in reversed(rows))
        return [event for event in events if isinstance(event, kind)]

    def sessions(
        self, meter: str = "", before: int = 0, limit: int = 100, since: int = 0, ended: bool = False
    ) -> list[StoredSession]:
        """Returns a page of the index of sessions, newest first.

        It has the sessions opened at `since` or later and before `before` (ms; 0: no bound), of one
        meter or of all. The page has `limit` rows, or more: sessions opened at the same time as the
        last one are on it, so that a next page from that time on misses none. `ended` leaves out
        sessions that run."""
        query = sa.select(SESSION).order_by(SESSION.c.opened_at.desc(), SESSION.c.id)
        if meter:
            query = query.where(SESSION.c.meter == meter)
        if since:
            query = query.where(SESSION.c.opened_at >= since)
        if ended:
            query = query.where(SESSION.c.closed_at > 0)
        rows = self._rows((query.where(SESSION.c.opened_at < before) if before else query).limit(limit), StoredSession)
        if len(rows) == limit:
            last = rows[-1]
            same_time = query.where(SESSION.c.opened_at == last["opened_at"], SESSION.c.id > last["id"])
            rows += self._rows(same_time, StoredSession)
        return rows

    def session(self, session: str) -> StoredSession | None:
        """Returns a session's row of the index by its id, None where there is none."""
        rows = self._rows(sa.select(SESSION).where(SESSION.c.id == session), StoredSession)
        return rows[0] if rows else None

    def add_rate(self, rate: StoredRate) -> None:
        """Record what a bitcoin is worth; JournalTrouble where it can't be. Any thread may call it."""
        if self._inode() != self._file:  # SQLite would make an empty file, which the next start took for a new journal
            raise JournalTrouble(f"the journal's file {self._path} was removed or replaced while it was in use")
        row = {"at": rate.at, "currency": rate.currency, "per_btc": str(rate.per_btc), "source": rate.source}
        with self._using(write=True) as db:
            db.execute(sa.delete(RATE).where(RATE.c.at == rate.at, RATE.c.currency == rate.currency))
            db.execute(sa.insert(RATE), row)

    def rates(self, since: int, before: int) -> Rates:
        """Return the rates, of whatever currency, that may count in a period (ms; `before` 0: to now)."""
        with self._using() as db:
            query = sa.select(RATE).where(RATE.c.at >= since - MOST_MS)
            rows = db.execute((query.where(RATE.c.at <= before) if before else query).order_by(RATE.c.at))
            return Rates([StoredRate(row.at, row.currency, Decimal(row.per_btc), row.source) for row in rows])

    def _rows(self, query: sa.Executable, kind: type[Stored]) -> list[Stored]:
        try:
            with self._engine.connect() as db:
                return [cast(Stored, dict(row._mapping)) for row in db.execute(query)]
        except SQLAlchemyError as error:
            raise trouble(self.url, error) from error

    # --- compaction (compaction.py)

    def _base(self, db: sa.Connection) -> int:
        found = db.execute(sa.select(ABOUT.c.value).where(ABOUT.c.name == "base")).scalar()
        if found and not found.isdecimal():
            raise JournalTrouble(f"the journal is damaged: it begins with event {found!r}")
        return int(found) if found else -1

    def _checkpoints(self, db: sa.Connection, write: bool = False) -> list[tuple[int, int]]:
        """Returns (id of the last event, time in ms) of each snapshot that stays, oldest first.

        `write`: they are to be changed, so that no other writer may change them meanwhile."""
        query = sa.select(ABOUT.c.value).where(ABOUT.c.name == "checkpoints")
        found = db.execute(query.with_for_update() if write else query).scalar()
        return [(upto, at) for upto, at in json.loads(found)] if found else []

    def _keep_as_checkpoint(self, db: sa.Connection, upto: int, at: int) -> None:
        known = self._checkpoints(db, write=True)
        if not known or not known[-1][1] <= at < known[-1][1] + CHECKPOINT_MS:  # the clock may have gone back
            self._set_about(db, "checkpoints", json.dumps([*known, (upto, at)]))

    def _set_about(self, db: sa.Connection, name: str, value: str) -> None:
        if not db.execute(sa.update(ABOUT).where(ABOUT.c.name == name).values(value=value)).rowcount:
            db.execute(sa.insert(ABOUT), {"name": name, "value": value})

    def base(self) -> Snapshot | None:
        """Return the state that the journal begins with; None: it begins at its first event.

        JournalTrouble where it is said to begin with a state that it does not have."""
        with self._using() as db:
            upto = self._base(db)
            found = self._snapshot(db, upto)
        if found is None and upto > 0:
            raise JournalTrouble(f"the journal is damaged: it begins with event {upto}, of which it has no snapshot")
        return found

    def snapshots(self) -> list[Snapshot]:
        """Return the states that it has, oldest first."""
        with self._using() as db:
            rows = db.execute(sa.select(SNAPSHOT).order_by(SNAPSHOT.c.upto))
            return [Snapshot(row.upto, _state(row.upto, row.state)) for row in rows]

    def checkpoint_before(self, at: int) -> Snapshot | None:
        """Return the newest checkpoint of before a time (ms)."""
        with self._using() as db:
            old = [upto for upto, made_at in self._checkpoints(db) if made_at < at]
            return self._snapshot(db, old[-1]) if old else None

    def _snapshot(self, db: sa.Connection, upto: int) -> Snapshot | None:
        row = db.execute(sa.select(SNAPSHOT).where(SNAPSHOT.c.upto == upto)).first()
        return Snapshot(row.upto, _state(row.upto, row.state)) if row else None

    def between(self, after: int, upto: int) -> list[Event]:
        """Return the events with an id over `after`, up to `upto`, oldest first."""
        query = sa.select(EVENT).where(EVENT.c.id > after, EVENT.c.id <= upto).order_by(EVENT.c.id)
        return [decode(row["kind"], row["at"], row["stream"], row["data"]) for row in self._rows(query, StoredEvent)]

    def rebase(self, checkpoint: Snapshot) -> None:
        """Have the journal begin with a checkpoint, which stands for all events up to it."""
        with self._using(write=True) as db:
            later = [(upto, at) for upto, at in self._checkpoints(db, write=True) if upto > checkpoint.upto]
            self._set_about(db, "checkpoints", json.dumps(later))
            self._set_about(db, "base", str(checkpoint.upto))
            db.execute(sa.delete(SNAPSHOT).where(SNAPSHOT.c.upto < checkpoint.upto))

    def forget_checkpoints(self) -> None:
        """Keep the newest only: of a journal that is kept for ever none is begun with."""
        with self._using(write=True) as db:
            known = self._checkpoints(db, write=True)
            old = [upto for upto, _ in known[:-1]]
            if old:
                self._set_about(db, "checkpoints", json.dumps(known[-1:]))
                db.execute(sa.delete(SNAPSHOT).where(SNAPSHOT.c.upto.in_(old)))

    def delete_under_base(self, most: int) -> int:
        """Delete up to `most` of the events that the base stands for, oldest first; returns how many."""
        with self._using(write=True) as db:
            first = db.execute(sa.select(sa.func.min(EVENT.c.id))).scalar() or 0
            upto = min(self._base(db), first + most - 1)
            return int(db.execute(sa.delete(EVENT).where(EVENT.c.id <= upto)).rowcount) if first <= upto else 0

    def delete_sessions(self, before: int) -> None:
        """Delete from the index the sessions, with their receipts, that ended before a time (ms)."""
        with self._using(write=True) as db:
            db.execute(sa.delete(SESSION).where(SESSION.c.closed_at > 0, SESSION.c.closed_at < before))
            db.execute(sa.delete(RATE).where(RATE.c.at < before - MOST_MS))

    @contextmanager
    def _using(self, write: bool = False) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() if write else self._engine.connect() as db:
                yield db
        except (SQLAlchemyError, OSError) as error:
            raise trouble(self.url, error) from error

    def close(self) -> None:
        """Close it; in SQLite all is then in its one file."""
        if self._path is not None and self._inode() == self._file:  # else a connection would make another file there
            with suppress(SQLAlchemyError), self._engine.connect() as db:
                db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        self._engine.dispose()


def _state(upto: int, text: str) -> Plain:
    """Return the state of the snapshot after event `upto`; JournalTrouble where it is damaged."""
    try:
        state = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JournalTrouble(f"the journal is damaged: its snapshot of event {upto} is no JSON: {error}") from None
    if not isinstance(state, dict):
        raise JournalTrouble(f"the journal is damaged: its snapshot of event {upto} is no state")
    return state


def newest(db: sa.Connection) -> tuple[Snapshot | None, list[Event]]:
    """Return the newest snapshot that a journal has (None if there is none) and the events after it, oldest first."""
    row = db.execute(sa.select(SNAPSHOT).order_by(SNAPSHOT.c.upto.desc()).limit(1)).first()
    snapshot = Snapshot(row.upto, _state(row.upto, row.state)) if row else None
    later = sa.select(EVENT).where(EVENT.c.id > (row.upto if row else 0)).order_by(EVENT.c.id)
    return snapshot, [decode(each.kind, each.at, each.stream, each.data) for each in db.execute(later)]
