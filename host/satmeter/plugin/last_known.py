"""How far a journal had come, kept in its node's datastore, so that an older copy is recognised.

An older copy, or one that was written to by itself, owes what was given back since, and uses numbers
again that were used. So it is not taken without the operator's consent.

What the node knows follows the journal by up to EVERY_S: a copy that lacks no more than what was
committed in that time is taken for the journal itself. It is not written more often, since each time is
a transaction of the node's database."""

import json
import logging
import threading
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from pyln.client import RpcError

from ..core.errors import JournalTrouble, NodeTrouble
from ..core.plain import Plain
from ..journal.store import Journal
from ..node.rpc import Node

log = logging.getLogger("satmeter")

EVERY_S, LAST_S = 10.0, 1.0


@dataclass(frozen=True, slots=True)
class Reached:
    """The last event of a journal: its id and its time in ms."""

    last: int
    at: int

    @classmethod
    def read(cls, text: str) -> "Reached":
        """Return what the datastore holds; ValueError for what is none."""
        try:
            found = json.loads(text)
            return cls(int(found["last"]), int(found["at"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{text!r} does not say how far a journal had come") from error

    def __str__(self) -> str:
        return f"event {self.last} of {datetime.fromtimestamp(self.at / 1000, UTC):%Y-%m-%d %H:%M} UTC"


class LastKnown:
    """How far the node knows one role's journals to have come; each journal by its name."""

    def __init__(self, node: Node, role: str):
        self._node, self._role = node, role
        self._reached: tuple[str, Reached] | None = None
        self._news = threading.Event()
        threading.Thread(target=self._follow, name="satmeter-last-known", daemon=True).start()

    def is_older(self, journal: Journal, accepted: str) -> bool:
        """Returns whether a journal is an older copy of what it was, accepted as that.

        Args:
            journal: The journal that was opened.
            accepted: The name of the journal of which the operator accepts an older copy, "" for none.

        Raises:
            JournalTrouble: It is an older copy and not accepted.
            NodeTrouble: The node's datastore can't be read.
        """
        name, known = journal.name, self._known(journal.name)
        if self._reached is not None and self._reached[0] == name:
            known = max((each for each in (known, self._reached[1]) if each is not None), key=lambda each: each.last)
        if known is None or journal.time_of(known.last) in ((known.at, None) if journal.last >= known.last else ()):
            return False
        if accepted == name:
            return True
        raise JournalTrouble(
            f"this journal is an older copy: it ends with {Reached(journal.last, journal.newest_at)}, and the node has "
            f"recorded {known}. Put the newer journal back. If that is lost, start with this copy: set "
            f"{self._role}-older-journal={name} (docs/operating.md, The journal, says what is then lost)"
        )

    def reached(self, journal: Journal) -> None:
        """Have the node know, soon, how far a journal has come."""
        self._reached = (journal.name, Reached(journal.last, journal.newest_at))
        self._news.set()

    def write_now(self) -> None:
        """Have the node know now, before the end; what lightningd does not answer any more is not waited for."""
        writing = threading.Thread(target=self._write, daemon=True)
        writing.start()
        writing.join(LAST_S)

    def _key(self, name: str) -> list[str]:
        return ["satmeter", self._role, name]

    def _known(self, name: str) -> Reached | None:
        try:
            rows: list[Plain] = self._node.call("listdatastore", key=self._key(name))["datastore"]
            return Reached.read(str(rows[0]["string"])) if rows else None
        except (RpcError, KeyError) as error:
            raise NodeTrouble(f"the node's datastore can't be read: {error}") from error
        except ValueError as error:
            raise NodeTrouble(f"the node's datastore has, under {'/'.join(self._key(name))}: {error}") from error

    def _follow(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            if not self._write():
                self._news.set()
            time.sleep(EVERY_S)

    def _write(self) -> bool:
        if self._reached is None:
            return True
        name, now = self._reached
        try:
            self._node.call("datastore", key=self._key(name), string=json.dumps(asdict(now)), mode="create-or-replace")
        except (RpcError, NodeTrouble) as error:
            log.warning("the node does not keep how far the journal has come: %s", error)
            return False
        return True
