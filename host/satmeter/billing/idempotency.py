"""Idempotency: a POST that comes again with the same Idempotency-Key is answered as the first time, and done once."""

import hashlib
import time
from dataclasses import dataclass

import sqlalchemy as sa

from ..core.errors import BadParam, JournalTrouble
from .database import Database, already_there
from .ids import new_id
from .tables import ONCE

KEPT_S = 7 * 86_400


def _mark(key: str, what: bytes) -> str:
    """Returns what a request under a key is known by; BadParam for a key that is none."""
    if len(key) > 255 or not key.isascii() or not key.isprintable():
        raise BadParam("Idempotency-Key: must be at most 255 printable ASCII characters", param="Idempotency-Key")
    return hashlib.sha256(what).hexdigest()


@dataclass(frozen=True, slots=True)
class Attempt:
    """An idempotent request: `ref` is the id that every try uses; `status` is 0 until it is answered."""

    client: str
    key: str
    ref: str
    status: int = 0
    body: str = ""


class IdempotencyKeys:
    """The Idempotency-Keys of clients, each with the answer that it got. Kept for KEPT_S (7 days)."""

    def __init__(self, database: Database):
        self._database = database

    def begin(self, client: str, key: str, what: bytes) -> Attempt:
        """Return the attempt of a key: a new one, or the known one. BadParam where the key stood for something else."""
        if not key:
            return Attempt(client, "", new_id())
        mark = _mark(key, what)
        row = {"client": client, "key": key, "fingerprint": mark, "ref": new_id(), "status": 0, "body": ""}
        try:
            with self._database.writing() as db:
                db.execute(sa.insert(ONCE), {**row, "created_at": int(time.time())})
            return Attempt(client, key, str(row["ref"]))
        except JournalTrouble as error:
            if not already_there(error):
                raise
        known = self.known(client, key, what)
        assert known is not None
        return known

    def known(self, client: str, key: str, what: bytes) -> Attempt | None:
        """Return the attempt of a key that was heard of, None for a new one. BadParam as for begin()."""
        mark = _mark(key, what)
        with self._database.reading() as db:
            found = db.execute(sa.select(ONCE).where(ONCE.c.client == client, ONCE.c.key == key)).one_or_none()
        if found is None:
            return None
        if found.fingerprint != mark:
            raise BadParam("Idempotency-Key: was used for another request", param="Idempotency-Key")
        return Attempt(client, key, found.ref, found.status, found.body)

    def end(self, attempt: Attempt, status: int, body: str) -> str:
        """Stores the answer of an attempt, and returns the answer that is stored: the first one.

        Answers with a status of 400 or more are not stored: the client may correct the request and repeat
        it. They are returned as given, like every answer to a request without a key."""
        if not attempt.key or status >= 400:
            return body
        mine = sa.and_(ONCE.c.client == attempt.client, ONCE.c.key == attempt.key)
        with self._database.writing() as db:
            db.execute(sa.update(ONCE).where(mine, ONCE.c.status == 0).values(status=status, body=body))
            return str(db.execute(sa.select(ONCE.c.body).where(mine)).scalar_one())

    def newest_at(self) -> int:
        """Return when the newest key was stored; 0 where there is none."""
        with self._database.reading() as db:
            return int(db.execute(sa.select(sa.func.max(ONCE.c.created_at))).scalar() or 0)

    def forget(self, now: int) -> None:
        """Delete keys that are older than KEPT_S, those of uses as well: a gate may owe one for as long."""
        with self._database.writing() as db:
            db.execute(sa.delete(ONCE).where(ONCE.c.created_at < now - KEPT_S))
