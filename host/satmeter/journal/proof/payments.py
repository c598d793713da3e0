"""The node's payments: each paid invoice of a seller's journal is on record, once, and so is each refund."""

from collections.abc import Callable, Iterator

from ...core.audit import Proof
from ...core.labels import journal_of, offer_of
from ...core.plain import JsonObject
from ...core.seller.history import Recorded
from ...core.snapshot import part, revive
from ..store import Journal, Snapshot
from .side import Whose

READ = 1_000
"""Invoices that are read at once."""
RECENT_S = 60
"""A payment may arrive as the copy is made: so long before it, it may be in the node alone."""

Call = Callable[..., JsonObject]
"""Calls a method of the node, with its parameters by name."""


def payments(journal: Journal, whose: Whose, told: Recorded, call: Call) -> Iterator[Proof]:
    """Yields where paid invoices of this journal and its events differ, and where refunds do."""
    left, begins, paid, good, fresh, newest = dict(told.credited), journal.base(), 0, True, 0, 0
    for invoice in _invoices(call):
        hash, is_paid = str(invoice["payment_hash"]), invoice.get("status") == "paid"
        ours = _ours(str(invoice["label"]), whose.name, told.offers)
        received = int(invoice["amount_received_msat"]) if is_paid else 0
        newest = max(newest, int(invoice.get("pay_index", 0)))
        if hash in left:
            paid += 1
            credited, index = left.pop(hash), int(invoice.get("pay_index", 0))
            if credited.amount_msat != received:
                good = False
                words = f"the node received {received:,} msat; {credited.amount_msat:,} were credited"
                yield Proof(False, f"payment {hash}: {words}")
            if is_paid and credited.pay_index != index:
                good = False
                words = f"its pay_index is {index:,} at the node, and {credited.pay_index:,} on record"
                yield Proof(False, f"payment {hash}: {words}")
            if not ours:
                good = False
                yield Proof(False, f"payment {hash} ({invoice['label']}) is of another journal than {whose.name}")
        elif is_paid and hash not in told.credited and ours:
            at = int(invoice["paid_at"])
            if at >= whose.taken_at - RECENT_S > 0:
                fresh += 1
            elif begins is None or at * 1_000 > told.first_at or not _before(begins, int(invoice["pay_index"])):
                good = False
                yield Proof(False, f"payment {hash} of {received:,} msat ({invoice['label']}) was never credited")
    created = int(call("wait", subsystem="invoices", indexname="created", nextvalue=0)["created"])
    if told.newest_index > created:
        good = False
        words = f"it goes on after payment {told.newest_index:,}, and the node made {created:,} invoices in all"
        yield Proof(False, f"{words}: later payments would not be credited")
    elif told.newest_index > newest:
        words = f"it goes on after payment {told.newest_index:,}, and the newest that the node has is {newest:,}"
        yield Proof(None, words)
    if fresh:
        yield Proof(None, f"{fresh:,} payments of the last minute are not in it yet; in a minute this can tell")
    if left:
        words = (
            f"{len(left):,} payments, {sum(each.amount_msat for each in left.values()):,} msat together, are on record"
        )
        yield Proof(None, f"{words} without an invoice of the node: settled on-chain, or deleted there since")
    if good:
        yield Proof(True, f"{paid:,} paid invoices of the node are on record, each once")
    yield from _refunds(told.refunds, call)
    yield from _under_way(told.under_way, whose, call)


def _before(begins: Snapshot, index: int) -> bool:
    """Whether the state that the journal begins with has a payment, by its index, already."""
    early = revive(list[int], part(begins.state, "early"))
    return index <= revive(int, part(begins.state, "pay_index")) or index in early


def _refunds(sent: dict[str, int], call: Call) -> Iterator[Proof]:
    good, gone = 0, 0
    for hash, amount in sent.items():
        pays = _complete(hash, call)
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


def _under_way(claimed: dict[str, str], whose: Whose, call: Call) -> Iterator[Proof]:
    """Refunds that began: one that the node has paid for a while is missing, as in an older copy of the journal."""
    fresh = 0
    for hash, session in claimed.items():
        pays = _complete(hash, call)
        ended = max((int(each.get("completed_at", 0)) for each in pays), default=0)
        if pays and ended >= whose.taken_at - RECENT_S > 0:
            fresh += 1
        elif pays:
            sent = sum(int(each.get("amount_msat", 0)) for each in pays)
            yield Proof(False, f"refund {hash} of session {session}: the node sent {sent:,} msat, and no event says so")
    if fresh:
        yield Proof(None, f"{fresh:,} refunds of the last minute are not in it yet; in a minute this can tell")


def _complete(hash: str, call: Call) -> list[JsonObject]:
    return [each for each in call("listpays", payment_hash=hash)["pays"] if each["status"] == "complete"]


def _ours(label: str, name: str, offers: set[str]) -> bool:
    return offer_of(label) in offers or journal_of(label) == name


def _invoices(call: Call) -> Iterator[JsonObject]:
    start = 1
    while rows := call("listinvoices", index="created", start=start, limit=READ)["invoices"]:
        yield from rows
        start = int(rows[-1]["created_index"]) + 1
