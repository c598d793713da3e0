"""What the gate owes while the billing service is away: uses to be given back, credit to be settled or released.

It is kept in a file until that is done. In that file are the uses of requests under way as well: where the gate falls
before it answers them, they are given back at its next start.
"""

import fcntl
import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..core.errors import BadParam

log = logging.getLogger("satmeter.gate")


USES = "uses"
INSERT = "INSERT OR REPLACE INTO owed VALUES (?, ?, ?)"
MOST_CREDIT = 1_000
STEPS = {"credit": "release", "settle": "settle"}
"""What is done to a reservation, by the kind of what is owed."""


@dataclass(frozen=True, slots=True)
class OwedUse:
    """A use that has to be given back, or reserved credit that has to be released.

    kind: hash or rhash (one use), uses (of a question whose answer was lost), credit (to be released), settle.
    which: the hash token, the payment hash, the uses as JSON, or the session.
    id: under this id it is given back once; the one that the uses were spent under, or of the reservation."""

    id: str
    kind: str
    which: str


class OwedUses:
    """In memory as well: a disk that is full loses nothing while the gate runs."""

    def __init__(self, path: Path | None):
        """path: None to keep them in memory only. BadParam where the file can't be used, or another gate uses it."""
        self._lock: BinaryIO | None = None
        try:
            if path is not None:
                self._lock = path.open("ab")
                path.chmod(0o600)  # which token it was is in it
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
            # With WAL, a row that is over is deleted without waiting for the disk.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS owed (id TEXT PRIMARY KEY, kind TEXT, which TEXT)")
            self._all = {row[0]: OwedUse(*row) for row in self._db.execute("SELECT id, kind, which FROM owed")}
        except BlockingIOError:
            raise BadParam(f"owed: {path} is used by another gate that runs", param="owed") from None
        except (sqlite3.Error, OSError) as error:
            raise BadParam(f"owed: {path} can't be used: {error}", param="owed") from None

    def begin(self, uses: Sequence[OwedUse], instead_of: str = "") -> None:
        """Notes uses of requests under way in the file alone, so that they are owed if the gate falls now.

        Args:
            uses: Each until `add` or `remove` of its id.
            instead_of: The id of what is removed in the same transaction; "" for none.
        """
        rows = [(use.id, use.kind, use.which) for use in uses]
        self._write(bool(rows), ("DELETE FROM owed WHERE id = ?", [(instead_of,)]), (INSERT, rows))

    def add(self, use: OwedUse) -> None:
        """Stores a use in memory and in the file. An error of the file is logged and not raised.

        Credit beyond MOST_CREDIT is not stored: it is released by itself ten minutes later, and strangers can ask."""
        if use.kind == "credit" and sum(each.kind == "credit" for each in self._all.values()) >= MOST_CREDIT:
            return
        self._all[use.id] = use
        self._write(True, (INSERT, [(use.id, use.kind, use.which)]))

    def all(self) -> list[OwedUse]:
        """Returns the uses that are still to be given back."""
        return list(self._all.values())

    def remove(self, id: str) -> None:
        """Removes a use by its id from memory and from the file. File errors are only logged."""
        self._all.pop(id, None)
        self._write(False, ("DELETE FROM owed WHERE id = ?", [(id,)]))

    def _write(self, durable: bool, *steps: tuple[str, Sequence[tuple[str, ...]]]) -> None:
        """Write in one transaction; where that is `durable`, it outlives a power cut when this returns."""
        try:
            self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:
                for statement, rows in steps:
                    self._db.executemany(statement, rows)
        except sqlite3.Error as error:
            log.error("the uses to give back can't be saved; a restart would lose them: %s", error)

    def close(self) -> None:
        """Closes the file. What was begun and not ended is owed from now on."""
        self._db.close()
        if self._lock is not None:
            self._lock.close()
