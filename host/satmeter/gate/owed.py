"""What the gate owes while the billing service is away: uses to be given back, credit to be settled or released.

It is kept in a file until that is done.
"""

import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import BadParam

log = logging.getLogger("satmeter.gate")


USES = "uses"
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
        """path: None to keep them in memory only. BadParam where the file can't be used."""
        try:
            self._db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("CREATE TABLE IF NOT EXISTS owed (id TEXT PRIMARY KEY, kind TEXT, which TEXT)")
            self._all = {row[0]: OwedUse(*row) for row in self._db.execute("SELECT id, kind, which FROM owed")}
        except sqlite3.Error as error:
            raise BadParam(f"owed: {path} can't be used: {error}", param="owed") from None
        if path is not None:
            path.chmod(0o600)  # which token it was is in it

    def add(self, use: OwedUse) -> None:
        """Stores a use in memory and in the file. An error of the file is logged and not raised.

        Credit beyond MOST_CREDIT is not stored: it is released by itself ten minutes later, and strangers can ask."""
        if use.kind == "credit" and sum(each.kind == "credit" for each in self._all.values()) >= MOST_CREDIT:
            return
        self._all[use.id] = use
        self._write("INSERT OR REPLACE INTO owed VALUES (?, ?, ?)", (use.id, use.kind, use.which))

    def all(self) -> list[OwedUse]:
        """Returns the uses that are still to be given back."""
        return list(self._all.values())

    def remove(self, id: str) -> None:
        """Removes a use by its id from memory and from the file. File errors are only logged."""
        self._all.pop(id, None)
        self._write("DELETE FROM owed WHERE id = ?", (id,))

    def _write(self, what: str, values: tuple[str, ...]) -> None:
        try:
            self._db.execute(what, values)
        except sqlite3.Error as error:
            log.error("what is owed can't be written down, and would be lost at a restart: %s", error)

    def close(self) -> None:
        """Closes the file."""
        self._db.close()
