"""Compares what the accounts record of outgoing payments with what left the node (listsendpays).

What left is the sum over the parts of a payment, with fees."""

from collections.abc import Callable

import sqlalchemy as sa

from ..billing.database import Database
from ..billing.outgoing_payments import ALARM, COMPLETE
from ..billing.tables import PAYMENT
from ..node.payments import Outcome
from .alarms import PERSON
from .ledger import NODE
from .tables import ENTRY, TRANSFER


def differences(database: Database, outcome: Callable[[str], Outcome]) -> list[str]:
    """Returns a line for each outgoing payment that a person has to look at.

    Those are the alarms that nobody has ended, payments whose recorded amount differs from what left the
    node, and payments that are recorded as complete or failed while parts of them are still pending. A
    payment that the node no longer lists can't be compared. Raises NodeTrouble where the node does not answer."""
    left = sa.select(TRANSFER.c.about, sa.func.sum(ENTRY.c.msat)).join(ENTRY, ENTRY.c.transfer == TRANSFER.c.id)
    left = left.where(ENTRY.c.account == NODE, TRANSFER.c.about.like("payment/%")).group_by(TRANSFER.c.about)
    with database.reading() as db:
        booked = {str(about): int(msat) for about, msat in db.execute(left)}
        rows = db.execute(sa.select(PAYMENT).order_by(PAYMENT.c.created_at, PAYMENT.c.rhash)).all()
    return [line for row in rows if (line := _line(row, booked.get(f"payment/{row.rhash}", 0), outcome(row.rhash)))]


def _line(row: "sa.Row[tuple[object, ...]]", in_ledger: int, found: Outcome) -> str:
    """Return what is wrong with a payment, "" for nothing. Only an account's payments stand in the ledger."""
    what = f"payment {row.rhash} of {row.client}: "
    if row.status == ALARM and row.worker != PERSON:
        return f"{what}alarm: {row.why}"
    if row.status == "pending" or (row.status in (COMPLETE, ALARM) and found.status == "none"):
        return ""
    if found.status == "pending":
        return f"{what}is recorded as {row.status}, but the node still has pending parts of it"
    booked = in_ledger if row.client.startswith("user/") else int(row.sent)
    sent = found.sent_msat if found.status == "complete" else 0
    return f"{what}booked are {booked} msat, {sent} msat left the node" if booked != sent else ""
