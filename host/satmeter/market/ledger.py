"""The ledger of the hub's accounts, in double entry: money moves by transfers.

The entries of a transfer sum to 0. A user's account is never negative; the database checks that, too.
What the hub owes is positive. The account `node` is the other side: what came in over the node's
channels and has not gone out, as a negative amount."""

import time

import sqlalchemy as sa

from ..billing.database import Database, insert_new, only
from ..core.errors import NoCredit
from ..core.plain import JsonObject
from ..formatting import amount
from .tables import ACCOUNT, ENTRY, TRANSFER

NODE, PAYING, HUB = "node", "paying", "hub"
PAGE = 100


def of_user(user: str) -> str:
    """Returns the name of a user's account, by the user's id."""
    return f"user/{user}"


class Ledger:
    """The accounts and transfers in the database, in msat. fee_ppm: the hub's fee in millionths."""

    def __init__(self, database: Database, fee_ppm: int):
        self._database, self.fee_ppm = database, fee_ppm

    def fee(self, msat: int) -> int:
        """Return the hub's part of an amount: rounded down, in the user's favour."""
        return msat * self.fee_ppm // 1_000_000

    def move(self, db: sa.Connection, kind: str, about: str, entries: dict[str, int]) -> None:
        """Records a transfer between accounts in the caller's transaction.

        Accounts change in the order of their names, so that two transfers can't deadlock.

        Args:
            db: The connection of the transaction.
            kind: What sort of transfer it is, such as "deposit".
            about: What it is for, such as "invoice/ID".
            entries: The msat that each account gains (negative: loses). The sum must be 0.

        Raises:
            NoCredit: A user's account has less than it is to give.
        """
        assert sum(entries.values()) == 0, entries
        entries = {name: msat for name, msat in sorted(entries.items()) if msat}
        if not entries:
            return
        row = {"kind": kind, "about": about, "created_at": int(time.time())}
        id = db.execute(sa.insert(TRANSFER).returning(TRANSFER.c.id), row).scalar_one()
        for name, msat in entries.items():
            self._change(db, name, msat)
        db.execute(
            sa.insert(ENTRY), [{"transfer": id, "account": key, "msat": value} for key, value in entries.items()]
        )

    def _change(self, db: sa.Connection, name: str, msat: int) -> None:
        insert_new(db, ACCOUNT, {"name": name, "balance": 0})
        change = sa.update(ACCOUNT).where(ACCOUNT.c.name == name)
        if name.startswith("user/"):
            change = change.where(ACCOUNT.c.balance + msat >= 0)
        if not only(db.execute(change.values(balance=ACCOUNT.c.balance + msat))):
            have = self.in_account(db, name)
            raise NoCredit(f"balance: the account has {amount(have)}, this needs {amount(-msat)}")

    @staticmethod
    def in_account(db: sa.Connection, name: str) -> int:
        """Returns the balance of an account in msat as a transaction sees it, 0 without entries."""
        return int(db.execute(sa.select(ACCOUNT.c.balance).where(ACCOUNT.c.name == name)).scalar() or 0)

    def balance(self, name: str) -> int:
        """Returns the balance of an account in msat, 0 for one without entries."""
        with self._database.reading() as db:
            return self.in_account(db, name)

    def entries(self, name: str, before: int = 0, limit: int = PAGE) -> list[JsonObject]:
        """Return an account's entries, newest first, those before a transfer's id (0: from the newest)."""
        joined = sa.join(ENTRY, TRANSFER, ENTRY.c.transfer == TRANSFER.c.id)
        columns = (TRANSFER.c.id, TRANSFER.c.kind, TRANSFER.c.about, TRANSFER.c.created_at, ENTRY.c.msat)
        query = sa.select(*columns).select_from(joined).where(ENTRY.c.account == name)
        if before:
            query = query.where(TRANSFER.c.id < before)
        with self._database.reading() as db:
            return [dict(row._mapping) for row in db.execute(query.order_by(TRANSFER.c.id.desc()).limit(limit))]

    def totals(self) -> dict[str, int]:
        """Return the hub's own accounts' balances, and all users' together."""
        whose = sa.case((ACCOUNT.c.name.like("user/%"), "users"), else_=ACCOUNT.c.name)
        with self._database.reading() as db:
            query = sa.select(whose, sa.func.sum(ACCOUNT.c.balance)).group_by(whose)
            return {str(name): int(msat) for name, msat in db.execute(query)}

    def sums(self) -> dict[str, int]:
        """Returns the balance of each account in msat, and under "wrong" a count of errors.

        That is the number of accounts whose balance is not the sum of their entries, plus the number of
        transfers that do not sum to 0, plus the absolute sum of all balances. It is 0 in a correct ledger."""
        totals = (
            sa.select(ENTRY.c.account, sa.func.sum(ENTRY.c.msat).label("msat")).group_by(ENTRY.c.account).subquery()
        )
        joined = sa.outerjoin(ACCOUNT, totals, ACCOUNT.c.name == totals.c.account)
        off = sa.select(sa.func.count()).select_from(joined)
        off = off.where(sa.func.coalesce(totals.c.msat, 0) != ACCOUNT.c.balance)
        lame = sa.select(ENTRY.c.transfer).group_by(ENTRY.c.transfer).having(sa.func.sum(ENTRY.c.msat) != 0).subquery()
        with self._database.reading() as db:
            found = {row.name: int(row.balance) for row in db.execute(sa.select(ACCOUNT).order_by(ACCOUNT.c.name))}
            wrong = int(db.execute(off).scalar_one())
            wrong += int(db.execute(sa.select(sa.func.count()).select_from(lame)).scalar_one())
        return {**found, "wrong": wrong + abs(sum(found.values()))}
