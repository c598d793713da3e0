"""Whether a journal is whole: its events lead to its states, its receipts hold, and the node has the same payments.

It reads a copy (backup.py), so that the plugin goes on meanwhile.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ..core import receipt
from ..core.audit import EventRow, Proof, audit
from ..core.errors import BadParam, JournalTrouble, SatmeterError
from ..core.journal import decode
from ..core.labels import journal_of, offer_of
from ..core.plain import JsonObject, Plain
from ..core.seller.history import Recorded
from ..core.status import StoredSession
from ..wire.signature import signer
from .compaction import Fold
from .store import Journal

READ, PAGE, MOST = 1_000, 200, 200_000
"""Events, and sessions, that are read at once; of a session with more events than MOST the chain is not proved."""
RECENT_S = 60
"""A payment may arrive as the copy is made: so long before it, it may be in the node alone."""

Call = Callable[..., JsonObject]
"""Calls a method of the node, with its parameters by name."""


@dataclass(frozen=True, slots=True)
class Whose:
    """Of which journal it is: its name, its node's id, and the role.

    `taken_at`: when it was copied, in s since 1970."""

    name: str
    node_id: str
    role: str
    taken_at: float = 0.0


def proofs(journal: Journal, whose: Whose, fold: Callable[[], Fold], call: Call | None) -> Iterator[Proof]:
    """Yields what is proved of a journal, and each thing that is not so.

    Args:
        journal: The journal, or a copy.
        whose: Of which node and role it is.
        fold: Makes the empty state of its role.
        call: Calls its node, to compare payments (the seller's role); None: they are not compared.

    Raises:
        SatmeterError, RpcError: The journal, or the node, can't be read.
    """
    told = Recorded()
    for part in (_states(journal, fold, told), _receipts(journal, whose, told)):
        try:
            yield from part
        except JournalTrouble as error:  # what can't be read is one thing that is not so; the rest may be
            told.whole = False
            yield Proof(False, error.message)
    if call is None or whose.role != "meter":
        yield Proof(None, "payments were not compared with the node's")
    elif not told.whole:
        yield Proof(None, "payments were not compared with the node's: not all events can be read")
    elif (other := str(call("getinfo")["id"])) != whose.node_id:
        yield Proof(False, f"the node asked is {other}, and the journal is of {whose.node_id}")
    else:
        yield from _payments(journal, whose, told, call)


def _states(journal: Journal, fold: Callable[[], Fold], told: Recorded) -> Iterator[Proof]:
    """The events after the base, folded, have to come to what each snapshot says."""
    base, snapshots = journal.base(), {each.upto: each.state for each in journal.snapshots()}
    state, upto = fold(), 0
    if base is not None:
        state.load(_copied(base.state))
        upto = base.upto
        offers = base.state.get("offers") if isinstance(base.state, dict) else None
        told.offers |= set(offers) if isinstance(offers, dict) else set()
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
            if upto in snapshots:
                yield from _differences(upto, state, fold, snapshots[upto])
                agreed += 1
    if newest := [each for each in snapshots if each > upto]:
        told.whole = False
        yield Proof(False, f"events {upto + 1} to {max(newest)} are missing")
        return
    since = f", which go on from event {base.upto}" if base is not None else ""
    yield Proof(True, f"its {events:,} events{since} fold without a gap, and agree with {agreed:,} snapshots")


def _differences(upto: int, state: Fold, fold: Callable[[], Fold], snapshot: Plain) -> Iterator[Proof]:
    """A snapshot may lack what has ended: it is forgotten by its time, and no event says so."""
    other = fold()
    other.load(_copied(snapshot))
    mine: Mapping[str, object] = state.balances()
    for about, told in sorted(other.balances().items()):
        if mine.get(about) != told:
            yield Proof(False, f"after event {upto} {about} comes to {mine.get(about)}, and the snapshot says {told}")


def _copied(state: Plain) -> Plain:
    copied: Plain = json.loads(json.dumps(state))
    return copied


# --- receipts


def _receipts(journal: Journal, whose: Whose, told: Recorded) -> Iterator[Proof]:
    base = journal.base()
    held, chained, before = 0, 0, 0
    seen: set[str] = set()
    while rows := [row for row in journal.sessions("", before, PAGE) if row["id"] not in seen]:
        for row in rows:
            seen.add(row["id"])
            if row["id"] in told.signed and told.signed[row["id"]] != (row["receipt"], row["signature"]):
                yield Proof(False, f"session {row['id']} shows another receipt than the one that was signed last")
            if not row["receipt"]:
                continue
            kept = told.whole and _sells(whose) and row["opened_at"] > told.first_at
            if kept and row["signature"] and row["id"] not in told.signed:
                yield Proof(False, f"session {row['id']} shows a signed receipt, and no event says that it was signed")
            listed = _events(journal, row["id"], base.upto if base is not None else 0) if _sells(whose) else None
            wrong = list(_wrong(row, listed, whose, told))
            yield from wrong
            held += not wrong
            chained += listed is not None and not wrong
        before = rows[-1]["opened_at"]
    for session in told.signed:
        if session not in seen:
            yield Proof(False, f"session {session} is not listed, and has a receipt that is younger than its events")
    chains = f", {chained:,} of them with the chain of their events" if _sells(whose) else ""
    yield Proof(True, f"{held:,} receipts of {len(seen):,} sessions hold{chains}")


def _sells(whose: Whose) -> bool:
    return whose.role == "meter"


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
    seller = whose.node_id if _sells(whose) else row["peer"]
    if stated is not None and (stated["session"], stated["seller"]) != (row["id"], seller):
        yield Proof(False, f"{about}: is of session {stated['session']} of {stated['seller']}")
    for proof in found:
        if proof.holds is not False:
            continue
        if proof.about == "signature" and not row["signature"] and not _sells(whose):
            continue  # a buyer keeps what it was shown, signed or not
        if proof.about == "charge" and row["id"] in told.attended:
            continue  # a person has stated what is owed: what then remains is charged
        yield Proof(False, f"{about}: {proof.words}")


# --- the node's payments


def _payments(journal: Journal, whose: Whose, told: Recorded, call: Call) -> Iterator[Proof]:
    """Each paid invoice of this journal is in one event, and each such event is a paid invoice, of the same amount."""
    left, begins, paid, good, fresh = dict(told.credited), journal.base(), 0, True, 0
    for invoice in _invoices(call):
        hash, is_paid = str(invoice["payment_hash"]), invoice.get("status") == "paid"
        if hash in left:
            received = int(invoice["amount_received_msat"]) if is_paid else 0
            paid += 1
            if left.pop(hash) != received:
                good = False
                yield Proof(False, f"payment {hash}: the node received {received:,} msat, and another sum was credited")
        elif is_paid and hash not in told.credited and _ours(str(invoice["label"]), whose.name, told.offers):
            at, received = int(invoice["paid_at"]), int(invoice["amount_received_msat"])
            if at >= whose.taken_at - RECENT_S > 0:
                fresh += 1
            elif begins is None or at * 1_000 > told.first_at:
                good = False
                yield Proof(False, f"payment {hash} of {received:,} msat ({invoice['label']}) was never credited")
    if fresh:
        yield Proof(None, f"{fresh:,} payments of the last minute are not in it yet; in a minute this can tell")
    if left:
        words = f"{len(left):,} payments, {sum(left.values()):,} msat together, are on record"
        yield Proof(None, f"{words} without an invoice of the node: settled on-chain, or deleted there since")
    if good:
        yield Proof(True, f"{paid:,} paid invoices of the node are on record, each once")
    yield from _refunds(told.refunds, call)


def _refunds(sent: dict[str, int], call: Call) -> Iterator[Proof]:
    good, gone = 0, 0
    for hash, amount in sent.items():
        pays = [each for each in call("listpays", payment_hash=hash)["pays"] if each["status"] == "complete"]
        arrived = sum(int(each.get("amount_msat", amount)) for each in pays)
        if not pays:
            gone += 1
        elif arrived != amount:
            yield Proof(False, f"refund {hash}: the node sent {arrived:,} msat, and {amount:,} are on record")
        else:
            good += 1
    if gone:
        yield Proof(None, f"{gone:,} refunds are on record without a payment of the node: deleted there since")
    yield Proof(True, f"{good:,} refunds were sent by the node, each of its amount")


def _ours(label: str, name: str, offers: set[str]) -> bool:
    return offer_of(label) in offers or journal_of(label) == name


def _invoices(call: Call) -> Iterator[JsonObject]:
    start = 1
    while rows := call("listinvoices", index="created", start=start, limit=READ)["invoices"]:
        yield from rows
        start = int(rows[-1]["created_index"]) + 1
