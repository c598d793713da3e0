"""The index of sessions, and each receipt in it: it says what the events say, and the receipt holds."""

from collections.abc import Iterator

from ...core import receipt
from ...core.audit import EventRow, Proof, audit
from ...core.errors import BadParam
from ...core.seller.history import Recorded
from ...core.status import SessionRow, StoredSession
from ...wire.signature import signer
from ..store import Journal
from .side import Whose

PAGE, MOST = 200, 200_000
"""Sessions that are read at once; of a session with more events than MOST the chain is not proved."""
DAY_MS = 86_400_000


def receipts(journal: Journal, whose: Whose, told: Recorded) -> Iterator[Proof]:
    """Yields each row of the index that is not as the events have it, and each receipt that does not hold."""
    base, set_back = journal.base(), journal.was_set_back()
    held, chained, before, oldest_end = 0, 0, 0, 0
    seen: set[str] = set()
    while rows := [row for row in journal.sessions("", before, PAGE) if row["id"] not in seen]:
        for row in rows:
            seen.add(row["id"])
            oldest_end = min(filter(None, (oldest_end, row["closed_at"])), default=0)
            wrong = list(_unlike(row, told, set_back))
            listed = None
            if row["receipt"]:
                listed = _events(journal, row["id"], base.upto if base is not None else 0) if whose.sells else None
                wrong += _wrong(row, listed, whose, told)
            yield from wrong
            good = not any(each.holds is False for each in wrong)
            held += good and bool(row["receipt"])
            chained += good and listed is not None
        before = rows[-1]["opened_at"]
    yield from _missing({name: row for name, row in told.rows.items() if name not in seen}, oldest_end, whose)
    chains = f", {chained:,} of them with the chain of their events" if whose.sells else ""
    yield Proof(True, f"{held:,} receipts of {len(seen):,} sessions hold{chains}")


def _unlike(row: StoredSession, told: Recorded, set_back: bool) -> Iterator[Proof]:
    """Yields where a row of the index differs from what its events write there."""
    mine = told.rows.get(row["id"])
    if mine is None:
        if told.whole and row["opened_at"] > told.first_at and not set_back:
            yield Proof(False, f"session {row['id']} is listed, and no event says that it was opened")
        return
    for name in SessionRow.__slots__:
        time = name in ("opened_at", "closed_at")
        listed, recorded = row[name], getattr(mine, name)  # type: ignore[literal-required]
        if listed != recorded and not (time and set_back):
            if name in ("receipt", "signature"):
                words = f"session {row['id']} shows another {name} than its events have"
            else:
                words = f"session {row['id']} is listed with {name} {listed!r}, and its events say {recorded!r}"
            yield Proof(False, words)


def _missing(rows: dict[str, SessionRow], oldest_end: int, whose: Whose) -> Iterator[Proof]:
    """Yields what the index lacks: by its age (meter-keep-receipts-days) only the oldest receipts are deleted."""
    aged = 0
    for name, row in rows.items():
        young = not row.closed_at or row.closed_at > whose.taken_at * 1_000 - DAY_MS
        if young or 0 < oldest_end < row.closed_at:
            yield Proof(False, f"session {name} is not listed, and its events are there")
        else:
            aged += 1
    if aged:
        yield Proof(None, f"{aged:,} sessions are not listed, all older than those that are: deleted by their age")


def _events(journal: Journal, session: str, base: int) -> list[EventRow] | None:
    """Returns all events of a session, None where not all are kept, or there are too many."""
    rows = journal.history(session, limit=MOST)
    if not rows or rows[0]["id"] <= base or rows[0]["kind"] != "session_opened" or len(rows) == MOST:
        return None
    return [EventRow(kind=each["kind"], at=each["at"], data=each["data"]) for each in rows]


def _wrong(row: StoredSession, events: list[EventRow] | None, whose: Whose, told: Recorded) -> Iterator[Proof]:
    """Yields what is not so of a receipt."""
    about = f"receipt of session {row['id']}"
    try:
        who = signer(row["receipt"], row["signature"]) if row["signature"] else ""
        found = audit(row["receipt"], who, events)
    except (BadParam, ValueError) as error:
        yield Proof(False, f"{about}: {error}")
        return
    stated = receipt.read(row["receipt"])
    seller = whose.node_id if whose.sells else row["peer"]
    if stated is not None and (stated["session"], stated["seller"]) != (row["id"], seller):
        yield Proof(False, f"{about}: is of session {stated['session']} of {stated['seller']}")
    for proof in found:
        if proof.holds is not False:
            continue
        if proof.about == "signature":
            if row["signature"] or whose.sells:  # a buyer keeps what it was shown, signed or not
                yield Proof(False, f"{about}: {proof.words}")
        elif not whose.sells:
            yield Proof(None, f"{about}: {proof.words}; so its seller states it, and it is kept as evidence")
        elif proof.about == "charge" and (events is None or row["id"] in told.attended):
            continue  # a person may have stated what is owed: what then remains is charged
        else:
            yield Proof(False, f"{about}: {proof.words}")
