"""The amounts spent under each pledge (wire/pledge.py), in the database.

The uses of a pledge together cost at most what its signer allowed, over all gates and workers."""

import hashlib
import time

import sqlalchemy as sa

from ..wire.pledge import Pledge
from .database import Database, insert_new
from .tables import PLEDGE, PLEDGE_USE


class Pledges:
    """The pledges that were used and have not ended, with the msat spent under each."""

    def __init__(self, database: Database):
        self._database = database

    def count(self, pledge: Pledge, use: str, msat: int) -> bool:
        """Counts the cost of one use before delivery; returns False if the pledge is too small.

        Args:
            pledge: The pledge. Its signature was checked before.
            use: The id of the use. The same use is counted once; with another amount the result is False.
            msat: The cost in msat.
        """
        key, now = hashlib.sha256(pledge.line.encode()).hexdigest(), int(time.time())
        with self._database.writing() as db:
            self._forget(db, now)
            insert_new(db, PLEDGE, {"hash": key, "spent": 0, "until": pledge.until_s})
            spent = db.execute(sa.select(PLEDGE.c.spent).where(PLEDGE.c.hash == key).with_for_update()).scalar_one()
            known = db.execute(sa.select(PLEDGE_USE.c.msat).where(PLEDGE_USE.c.id == use)).scalar()
            if known is not None:
                return bool(known == msat)
            if spent + msat > pledge.most_msat:
                return False
            db.execute(sa.insert(PLEDGE_USE), {"id": use, "pledge": key, "msat": msat})
            db.execute(sa.update(PLEDGE).where(PLEDGE.c.hash == key).values(spent=PLEDGE.c.spent + msat))
        return True

    def take_back(self, use: str) -> None:
        """Count a use no longer: nothing came of it. Repeating is harmless."""
        gone = sa.delete(PLEDGE_USE).where(PLEDGE_USE.c.id == use).returning(PLEDGE_USE.c.pledge, PLEDGE_USE.c.msat)
        with self._database.writing() as db:
            row = db.execute(gone).first()
            if row is not None:
                less = sa.update(PLEDGE).where(PLEDGE.c.hash == row.pledge)
                db.execute(less.values(spent=PLEDGE.c.spent - row.msat))

    def settle(self, use: str) -> None:
        """A use was paid: it stays spent, and can't be taken back any more. Repeating is harmless."""
        with self._database.writing() as db:
            db.execute(sa.delete(PLEDGE_USE).where(PLEDGE_USE.c.id == use))

    @staticmethod
    def _forget(db: sa.Connection, now: int) -> None:
        """Delete pledges that are over: they are refused by their time."""
        over = sa.select(PLEDGE.c.hash).where(PLEDGE.c.until < now)
        db.execute(sa.delete(PLEDGE_USE).where(PLEDGE_USE.c.pledge.in_(over)))
        db.execute(sa.delete(PLEDGE).where(PLEDGE.c.until < now))
