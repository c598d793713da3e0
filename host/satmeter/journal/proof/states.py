"""The events of a journal, folded, come to what its snapshots, its index and its receipts say."""

from collections.abc import Iterator

from ...core.audit import Proof
from ...core.errors import SatmeterError
from ...core.journal import decode
from ...core.seller.history import Recorded
from ...core.seller.state import SellerState
from ..compaction import unlike
from ..store import Journal
from .side import Side, Whose

READ = 1_000
"""Events that are read at once."""
FOREVER = 2**62


def states(journal: Journal, whose: Whose, side: Side, told: Recorded) -> Iterator[Proof]:
    """Folds the events that it has; yields where a snapshot, or a receipt, says otherwise than they do."""
    base, snapshots = journal.base(), {each.upto: each.state for each in journal.snapshots()}
    state, upto = side.fold(), 0
    if base is not None and min(snapshots) < base.upto:
        told.whole = False
        words = f"it has a snapshot of event {min(snapshots):,}, and is said to begin with event {base.upto:,}"
        yield Proof(False, f"{words}: what is between them would not be looked at, and is deleted next")
        return
    if base is not None and not journal.between(0, 1):  # else all events are there: nothing has to be believed
        state.load(base.state)
        upto, told.first_at = base.upto, FOREVER
        if isinstance(state, SellerState):
            told.offers |= set(state.offers)
            told.attended |= set(state.sessions)
    agreed, events = 0, 0
    while rows := journal.history(after=upto, limit=READ):
        for row in rows:
            if row["id"] != upto + 1:
                told.whole = False
                yield Proof(False, f"events {upto + 1} to {row['id'] - 1} are missing")
                return
            upto, events = row["id"], events + 1
            try:
                event = decode(row["kind"], row["at"], row["stream"], row["data"])
                state.apply(event)
            except SatmeterError as error:
                told.whole = False
                yield Proof(False, f"event {upto} ({row['kind']}) can't follow the ones before it: {error}")
                return
            yield from told.take(upto, event)
            told.rows |= {each.id: each for each in side.rows(state, [event])}
            if isinstance(state, SellerState):
                yield from told.compare(upto, event, state, whose.node_id)
            if upto in snapshots:
                for difference in unlike(state, snapshots[upto], side.fold):
                    yield Proof(False, f"after event {upto} {difference}")
                agreed += 1
    if newest := [each for each in snapshots if each > upto]:
        told.whole = False
        yield Proof(False, f"events {upto + 1} to {max(newest)} are missing")
        return
    told.end(state if isinstance(state, SellerState) else None)
    since = f", which go on from event {base.upto}" if base is not None else ""
    yield Proof(True, f"its {events:,} events{since} fold without a gap, and agree with {agreed:,} snapshots")
