"""Compaction: events that are old enough are deleted, and the journal begins with a state that stands for them.

A journal begins with its base (nothing, or a state that stands for all events before it), and its state is the fold of
the events after that. A snapshot of each day stays as a checkpoint (store.py). Compaction takes the newest one that is
old enough, folds the events from the base up to it, and compares: all that they come to has to be as in the
checkpoint. Only then is that the new base, and the events under it are deleted. So it costs what it deletes, and
not what is kept; it works in small pieces, since the core commits beside it.
"""

import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from ..core.errors import JournalTrouble
from ..core.journal import Event
from ..core.plain import Plain
from ..core.snapshot import differences
from .store import Journal

READ, DELETED = 200, 200
"""Events that are read, and deleted, at once."""
PAUSE_S = 0.02
"""Between two pieces: the core's thread gets the processor, and the database, in between."""


class Fold(Protocol):
    """The state of either role, as a fold of events."""

    def apply(self, event: Event) -> None:
        """Folds one event into the state."""

    def load(self, dumped: Plain) -> None:
        """Takes a dumped state in place of the present one."""

    def dump(self) -> Plain:
        """Returns the whole as data for JSON."""

    def kept(self) -> set[str]:
        """Returns the names of what no snapshot may lack."""


FoldT = TypeVar("FoldT", bound=Fold)


def folded(state: FoldT, snapshot: Plain | None, events: list[Event]) -> FoldT:
    """Return an empty state, made to what a snapshot and the events after it come to."""
    if snapshot is not None:
        state.load(snapshot)
    for event in events:
        state.apply(event)
    return state


def compact(journal: Journal, fold: Callable[[], Fold], before: int, receipts_before: int) -> int:
    """Delete events of before a time, and receipts of before another (ms); returns how many events went.

    JournalTrouble where what they come to is not what the checkpoint says: then nothing has changed.
    """
    if before <= 0:
        journal.forget_checkpoints()
    base, checkpoint = journal.base(), journal.checkpoint_before(before)
    begins = base.upto if base is not None else 0
    if checkpoint is not None and checkpoint.upto > begins:
        state = _restored(fold, base.state if base is not None else None)
        for event in _events(journal, begins, checkpoint.upto):
            state.apply(event)
        for difference in unlike(state, checkpoint.state, fold):
            raise JournalTrouble(f"compaction: {difference}; nothing is deleted")
        journal.rebase(checkpoint)
    gone = 0
    while deleted := journal.delete_under_base(DELETED):
        gone += deleted
        time.sleep(PAUSE_S)
    journal.delete_sessions(receipts_before)
    return gone


def _restored(fold: Callable[[], Fold], state: Plain | None) -> Fold:
    made = fold()
    if state is not None:
        made.load(state)
    return made


def _events(journal: Journal, after: int, upto: int) -> Iterator[Event]:
    while after < upto:
        piece = min(upto, after + READ)
        yield from journal.between(after, piece)
        after = piece
        time.sleep(PAUSE_S)


def unlike(state: Fold, snapshot: Plain, fold: Callable[[], Fold]) -> Iterator[str]:
    """Yields in what a snapshot differs from the state that the events come to (core/snapshot.py)."""
    yield from differences(state.dump(), _restored(fold, snapshot).dump(), snapshot, state.kept())
