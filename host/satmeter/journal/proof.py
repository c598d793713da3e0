"""Whether a journal is whole: its events lead to its states, its receipts hold, and the node has the same payments.

It reads a copy (backup.py), so that the plugin goes on meanwhile.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ..core.audit import EventRow, Proof, audit
from ..core.errors import BadParam, SatmeterError
from ..core.labels import parse_label, parse_of_offer, parse_opening
from ..core.plain import JsonObject
from ..wire.signature import signer
from .compaction import Fold
from .store import Journal, StoredSession

READ, PAGE, MOST = 1_000, 200, 1_000_000
CREDITED = ("invoice_paid", "payment_unowned")
"""Events that a payment of an invoice of ours is in, once."""

Call = Callable[..., JsonObject]
"""Calls a method of the node, with its parameters by name."""


@dataclass(frozen=True, slots=True)
class Whose:
    """Of which journal it is: its name, its node's id, and the role."""

    name: str
    node_id: str
    role: str


def proofs(journal: Journal, whose: Whose, fold: Callable[[], Fold], call: Call | None) -> Iterator[Proof]:
    """Yields what is proved of a journal, and each thing that is not so.

    Args:
        journal: The journal, or a copy.
        whose: Of which node and role it is.
        fold: Makes the empty state of its role.
        call: Calls its node, to compare payments (the seller's role); None: they are not compared.
    """
    yield from _states(journal, fold)
    yield from _receipts(journal, whose)
    if call is None or whose.role != "meter":
        yield Proof(None, "payments were not compared with the node's")
    else:
        yield from _payments(journal, whose.name, call)


def _states(journal: Journal, fold: Callable[[], Fold]) -> Iterator[Proof]:
    """The events after the base, folded, have to come to what each snapshot says."""
    base, snapshots = journal.base(), {each.upto: each for each in journal.snapshots()}
    state, upto = fold(), 0
    if base is not None:
        state.load(json.loads(json.dumps(base.state)))
        upto = base.upto
    agreed, events = 0, 0
    while rows := journal.between(upto, upto + READ):
        for at, event in enumerate(rows, upto + 1):
            try:
                state.apply(event)
            except SatmeterError as e:
                yield Proof(False, f"event {at} ({event.kind()}) can't follow the ones before it: {e}")
                return
            events += 1
            if at in snapshots:
                told = fold()
                told.load(json.loads(json.dumps(snapshots[at].state)))
                for about, words in _differences(state.balances(), told.balances()):
                    yield Proof(False, f"after event {at} {about} {words}")
                agreed += 1
        upto += len(rows)
    if upto != journal.last:
        yield Proof(False, f"events are missing after number {upto}: the newest is {journal.last}")
        return
    since = f", which go on from event {base.upto}" if base is not None else ""
    yield Proof(True, f"its {events:,} events{since} fold without a gap, and agree with {agreed:,} snapshots")


def _differences(mine: Mapping[str, object], told: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """A snapshot may lack what has ended: it is forgotten by its time, and no event says so."""
    for about in sorted(told):
        if mine.get(about) != told[about]:
            yield about, f"comes to {mine.get(about)}, and the snapshot says {told.get(about)}"


def _receipts(journal: Journal, whose: Whose) -> Iterator[Proof]:
    base = journal.base()
    held, chained, before = 0, 0, 0
    seen: set[str] = set()
    while rows := [row for row in journal.sessions("", before, PAGE) if row["id"] not in seen]:
        for row in rows:
            seen.add(row["id"])
            if not row["receipt"]:
                continue
            events = journal.history(row["id"], limit=MOST)
            whole = bool(events) and (base is None or events[0]["id"] > base.upto)
            listed = [EventRow(kind=e["kind"], at=e["at"], data=e["data"]) for e in events] if whole else None
            found = list(_receipt(row, listed if whose.role == "meter" else None, whose))
            yield from found
            held += not found
            chained += whole and not found
        before = rows[-1]["opened_at"]
    chains = f", {chained:,} of them with the chain of their events" if whose.role == "meter" else ""
    yield Proof(True, f"{held:,} receipts of {len(seen):,} sessions hold{chains}")


def _receipt(row: StoredSession, events: list[EventRow] | None, whose: Whose) -> Iterator[Proof]:
    """Yields what is not so."""
    try:
        who = signer(row["receipt"], row["signature"]) if row["signature"] else ""
        for proof in audit(row["receipt"], who, events):
            if proof.holds is False and (row["signature"] or "signed it" not in proof.words):
                yield Proof(False, f"receipt of session {row['id']}: {proof.words}")
    except (BadParam, ValueError) as e:
        yield Proof(False, f"receipt of session {row['id']}: {e}")


def _payments(journal: Journal, name: str, call: Call) -> Iterator[Proof]:
    """Each paid invoice of this journal is in one event, and each such event is a paid invoice, of the same amount."""
    credited: dict[str, int] = {}
    after, twice = 0, 0
    sent: dict[str, int] = {}
    while rows := journal.history(after=after, limit=READ):
        for row in rows:
            data = json.loads(row["data"])
            if row["kind"] in CREDITED and data["payment_hash"]:
                if data["payment_hash"] in credited:
                    twice += 1
                    yield Proof(False, f"payment {data['payment_hash']} counts twice (event {row['id']})")
                credited[data["payment_hash"]] = int(data["amount_msat"])
            elif row["kind"] == "refund_paid" and data["payment_hash"]:
                sent[data["payment_hash"]] = int(data["amount_msat"])
        after = rows[-1]["id"]
    begins = journal.base()
    paid, missing = 0, 0
    for invoice in _invoices(call):
        if invoice.get("status") != "paid":
            continue
        hash, received = str(invoice["payment_hash"]), int(invoice["amount_received_msat"])
        if hash in credited:
            paid += 1
            if credited.pop(hash) != received:
                yield Proof(False, f"payment {hash}: the node received {received:,} msat, and another sum was credited")
        elif _ours(str(invoice["label"]), name) and begins is None:
            missing += 1
            yield Proof(False, f"payment {hash} of {received:,} msat ({invoice['label']}) was never credited")
    if credited:
        words = f"{len(credited):,} payments, {sum(credited.values()):,} msat together, are on record"
        yield Proof(None, f"{words} without an invoice of the node: settled on-chain, or deleted there since")
    yield Proof(not twice and not missing, f"{paid:,} paid invoices of the node were credited, each once")
    yield from _refunds(sent, call)


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


def _ours(label: str, name: str) -> bool:
    found = parse_label(label) or parse_opening(label)
    return found is not None and found[0] == name and parse_of_offer(label) is None


def _invoices(call: Call) -> Iterator[JsonObject]:
    start = 1
    while rows := call("listinvoices", index="created", start=start, limit=READ)["invoices"]:
        yield from rows
        start = int(rows[-1]["created_index"]) + 1
