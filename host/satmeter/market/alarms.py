"""Alarms of outgoing payments: a person has looked at one, and says whose the rest is that is still held."""

import sqlalchemy as sa

from ..billing.database import Database
from ..billing.outgoing_payments import ALARM
from ..billing.rows import PaymentRow, first
from ..billing.tables import PAYMENT
from ..core.errors import BadParam, WrongState
from .ledger import HUB, PAYING, Ledger
from .tables import ENTRY, TRANSFER

PERSON = "a person"
"""The worker of an alarm that a person has ended."""
PAYER = "payer"


def attend(database: Database, ledger: Ledger, rhash: str, rest_to: str) -> int:
    """Ends the alarm of a payment, and moves what is still held for it; returns that (msat).

    Below 0 it is what left the node beyond what was held: the hub bears that, whoever the rest would be for.

    Args:
        database: The billing service's.
        ledger: Its accounts.
        rhash: The payment's hash, in hex.
        rest_to: "payer" gives the rest back, "hub" keeps it.

    Raises:
        BadParam: There is no such payment, or `rest_to` is something else.
        WrongState: It is no alarm, or was ended before.
    """
    if rest_to not in (PAYER, HUB):
        raise BadParam(f"rest-to: must be {PAYER} or {HUB}, got {rest_to!r}", param="rest_to")
    about = f"payment/{rhash}"
    with database.writing() as db:
        row = first(db, sa.select(PAYMENT).where(PAYMENT.c.rhash == rhash).with_for_update(), PaymentRow)
        if row is None:
            raise BadParam(f"attend: there is no payment {rhash}", param="rhash")
        if row["status"] != ALARM or row["worker"] == PERSON:
            ended = "was ended before" if row["status"] == ALARM else f"stands as {row['status']}"
            raise WrongState(f"payment {rhash} {ended}: there is no alarm to end")
        db.execute(sa.update(PAYMENT).where(PAYMENT.c.rhash == rhash).values(worker=PERSON))
        held = sa.select(sa.func.sum(ENTRY.c.msat)).join(TRANSFER, ENTRY.c.transfer == TRANSFER.c.id)
        held = held.where(ENTRY.c.account == PAYING, TRANSFER.c.about == about)
        rest = int(db.execute(held).scalar() or 0)
        gets = row["client"] if rest_to == PAYER and rest > 0 else HUB
        ledger.move(db, "attended", about, {PAYING: -rest, gets: rest})
    return rest
