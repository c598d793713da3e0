"""Letting go of old events: what they came to is kept as the journal's new beginning, proved, and only then deleted.

A journal begins with its base (nothing, or a state that stands for all events before it), and its state is the fold of
the events after that. Compaction folds the events that are old enough into a new base, goes on folding up to the newest
snapshot, and compares: every balance and every hash chain has to come out as it did before. Only then does the new base
take the place of the old one, in one transaction, and the events under it are deleted.
"""

import json
from collections.abc import Callable, Collection, Iterator
from typing import Any, Protocol

from .core.errors import JournalTrouble
from .core.journal import Event
from .store import Journal

CHUNK = 2_000
"""Events that are read or deleted at once: the service has to get its commits in between."""


class Fold(Protocol):
    """The books of either role."""

    def apply(self, e: Event) -> None: ...
    def load(self, dumped: dict[str, Any]) -> None: ...
    def dump(self) -> dict[str, Any]: ...
    def let_go(self, keep: Collection[str]) -> None: ...
    def balances(self) -> dict[str, Any]: ...


def compact(journal: Journal, fold: Callable[[], Fold], before: int, receipts_before: int) -> int:
    """Let go of the events before a time, and of the receipts before another (ms); returns how many events went.

    JournalTrouble where the proof fails: then nothing has changed.
    """
    base, newest = journal.snapshots()
    upto = min(journal.last_before(before), newest.upto if newest else 0)
    if newest is not None and upto > (base.upto if base else 0):
        books = _restored(fold, base.state if base else None)
        for e in _events(journal, base.upto if base else 0, upto):
            books.apply(e)
        rebased, later = _proved(journal, fold, books.dump(), upto, newest.upto, newest.state)
        rebased.let_go(later)
        journal.rebase(upto, rebased.dump())
    gone = 0
    while deleted := journal.delete_under_base(CHUNK):
        gone += deleted
    journal.delete_sessions(receipts_before)
    return gone


def _restored(fold: Callable[[], Fold], state: dict[str, Any] | None) -> Fold:
    books = fold()
    if state is not None:
        books.load(json.loads(json.dumps(state)))
    return books


def _events(journal: Journal, after: int, upto: int) -> Iterator[Event]:
    while after < upto:
        chunk = min(upto, after + CHUNK)
        yield from journal.between(after, chunk)
        after = chunk


def _proved(
    journal: Journal, fold: Callable[[], Fold], state: dict[str, Any], upto: int, newest: int, snapshot: dict[str, Any]
) -> tuple[Fold, set[str]]:
    """Return the books of the new base, and the streams that have to stay in them: those that go on after it."""
    books, now = _restored(fold, state), _restored(fold, snapshot).balances()
    later = set(now)
    for e in _events(journal, upto, newest):
        books.apply(e)
        later.add(e.stream)
    found = books.balances()
    for stream, balance in now.items():
        if found.get(stream) != balance:
            other = found.get(stream)
            raise JournalTrouble(
                f"compaction: {stream} would become {other}, it stands at {balance}; nothing is deleted"
            )
    return _restored(fold, state), later
