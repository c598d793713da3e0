"""Hash tokens: proof of payment, as random text that whoever holds it may use so many times for the services paid for.

Stored hashed, so that a stolen database opens nothing; spent atomically, so that of two requests at once with a last
use one passes. Who asks for an unknown token and for one that is spent hears the same.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..core.errors import BadParam
from .database import Database, only
from .events import Events
from .invoices import Row
from .secrets import covers, digest
from .tables import INVOICE, SERVICE, TOKEN

MOST_SERVICES = 50
LOW = 5
"""A token is low when a fifth of its uses is left, or one."""


@dataclass(frozen=True, slots=True)
class Bought:
    """What a token stands for."""

    invoice: str
    services: tuple[str, ...]
    uses: int
    spent: int
    client: str


def new_token() -> str:
    return secrets.token_urlsafe(18)


def services_of(text: object) -> tuple[str, ...]:
    """Return the services of a request: names separated by commas. BadParam for none, too many or odd ones."""
    if not isinstance(text, str):
        raise BadParam("service: is required, names separated by commas", param="service")
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not 1 <= len(found) <= MOST_SERVICES:
        raise BadParam(f"service: must be 1 to {MOST_SERVICES} names separated by commas", param="service")
    for name in found:
        if len(name) > 200 or not name.isprintable():
            raise BadParam(f"service: a name has at most 200 printable characters, got {name[:60]!r}", param="service")
    return found


@dataclass(frozen=True, slots=True)
class Use:
    """One use that is asked for: of a hash token (hash), or of an invoice by its payment hash (rhash)."""

    kind: str
    which: str
    services: tuple[str, ...]

    @property
    def order(self) -> tuple[str, str]:
        return self.kind, self.key

    @property
    def key(self) -> str:
        """What it is found by."""
        return digest(self.which) if self.kind == "hash" else self.which


class Tokens:
    def __init__(self, database: Database, events: Events):
        self._database, self._events = database, events

    def store_services(self, invoice: str, services: tuple[str, ...]) -> None:
        """Say what an unpaid invoice is for, once; the same again is fine, another is BadParam."""
        with self._database.writing() as db:
            there = self._services(db, invoice)
            if there and set(there) != set(services):
                raise BadParam("service: this invoice is for other services already", param="service")
            if not there:
                db.execute(sa.insert(SERVICE), [{"invoice": invoice, "service": s} for s in services])

    def issue(self, row: Row, services: tuple[str, ...]) -> str | None:
        """Return a hash token for a paid invoice that is for just these services; None if it is not. It is made anew at
        each call, and an earlier one of the invoice ends: only its hash is kept, so none could be shown again. What was
        spent of it stays spent."""
        token, invoice = new_token(), row["id"]
        with self._database.writing() as db:
            uses = self._paid_for(db, invoice)
            if uses is None or set(self._services(db, invoice)) != set(services):
                return None
            old = db.execute(sa.delete(TOKEN).where(TOKEN.c.invoice == invoice).returning(TOKEN.c.spent)).scalar()
            self.insert(db, token, invoice, row["client"], uses, old or 0)
        return token

    def spend(self, token: str, services: tuple[str, ...], seller: str = "") -> bool:
        """Use a token once for services that are all among those paid for; whether it passed. `seller`: whose sales
        count (secrets.covers): another's service of the same name is another service."""
        return self.spend_all([Use("hash", token, services)], seller)[0]

    def spend_invoice(self, rhash: str, services: tuple[str, ...], seller: str = "") -> bool:
        """Use a paid invoice once, by its payment hash, for who shows in another way (a preimage) that they paid;
        whether it passed. Its uses are those of its hash token."""
        return self.spend_all([Use("rhash", rhash, services)], seller)[0]

    def spend_all(self, uses: Sequence["Use | None"], seller: str = "") -> list[bool]:
        """Use several, in one transaction: whether each passed. They are taken in the order of their hashes, and events
        recorded last, so that no two such transactions wait for each other."""
        passed = [False] * len(uses)
        told: list[tuple[sa.Row[Any, Any], str, tuple[str, ...]]] = []
        with self._database.writing() as db:
            for use, n in sorted(((u, n) for n, u in enumerate(uses) if u is not None), key=lambda each: each[0].order):
                passed[n] = self._use(db, use, seller, told)
            for row, kind, services in told:
                body = {"invoice": row.invoice, "service": ",".join(services), "uses": row.uses}
                body["left"] = row.uses - row.spent
                self._events.emit(db, row.client, kind, body, f"{kind}/{row.hash}")
        return passed

    def _use(
        self, db: sa.Connection, use: "Use", seller: str, told: list[tuple[sa.Row[Any, Any], str, tuple[str, ...]]]
    ) -> bool:
        """Spend one use, if one is left. Of a token with several, "low" and "closed" are told on the way."""
        if use.kind == "hash":
            which = TOKEN.c.hash == use.key
        else:
            invoice = db.execute(sa.select(INVOICE.c.id).where(INVOICE.c.rhash == use.key)).scalar()
            which = TOKEN.c.invoice == invoice
        token = db.execute(sa.select(TOKEN.c.invoice, TOKEN.c.client).where(which)).first()
        if token is None and use.kind == "rhash":
            token = self._first_use(db, invoice)
        if token is None or not covers(seller, token.client):
            return False
        services = self._services(db, token.invoice)
        if not set(use.services) <= set(services):
            return False
        spent = sa.update(TOKEN).where(which, TOKEN.c.spent < TOKEN.c.uses).values(spent=TOKEN.c.spent + 1)
        row = db.execute(spent.returning(*TOKEN.c)).first()
        if row is None:
            return False
        left = row.uses - row.spent
        kind = "closed" if not left else "low" if left == max(1, row.uses // LOW) else ""
        if row.uses > 1 and kind:
            told.append((row, kind, services))
        return True

    def _first_use(self, db: sa.Connection, invoice: str | None) -> "sa.Row[Any, Any] | None":
        """Make the token of a paid invoice of which none was asked for yet; nobody is ever told it."""
        uses = self._paid_for(db, invoice) if invoice is not None else None
        if uses is None or invoice is None:
            return None
        mine = sa.select(TOKEN.c.invoice, TOKEN.c.client).where(TOKEN.c.invoice == invoice)
        if db.execute(mine).first() is None:
            client = db.execute(sa.select(INVOICE.c.client).where(INVOICE.c.id == invoice)).scalar_one()
            self.insert(db, new_token(), invoice, client, uses)
        return db.execute(mine).first()

    def give_back(self, token: str = "", invoice: str = "", seller: str = "") -> bool:
        """Take one use back that was spent and not delivered, of a hash token or of an invoice."""
        which = TOKEN.c.hash == digest(token) if token else TOKEN.c.invoice == invoice
        with self._database.writing() as db:
            row = db.execute(sa.select(TOKEN.c.client).where(which)).first()
            if row is None or not covers(seller, row.client):
                return False
            back = sa.update(TOKEN).where(which, TOKEN.c.spent > 0).values(spent=TOKEN.c.spent - 1)
            return only(db.execute(back))

    def find(self, token: str) -> Bought | None:
        """Return what a token stands for, whether it is spent or not."""
        with self._database.reading() as db:
            row = db.execute(sa.select(TOKEN).where(TOKEN.c.hash == digest(token))).first()
            if row is None:
                return None
            return Bought(row.invoice, self._services(db, row.invoice), row.uses, row.spent, row.client)

    def services_of_invoice(self, invoice: str) -> tuple[str, ...]:
        with self._database.reading() as db:
            return self._services(db, invoice)

    @staticmethod
    def _paid_for(db: sa.Connection, invoice: str) -> int | None:
        """Return how many uses a paid invoice bought, None if it is not paid. Its row is locked, so that of two calls
        at once one comes after the other."""
        paid = sa.select(INVOICE.c.uses).where(INVOICE.c.id == invoice, INVOICE.c.pay_index.is_not(None))
        found = db.execute(paid.with_for_update()).scalar()
        return None if found is None else int(found)

    @staticmethod
    def insert(db: sa.Connection, token: str, invoice: str, client: str, uses: int, spent: int = 0) -> None:
        """Record a token: what it is for stands under the same id (of an invoice, or a purchase)."""
        row = {"hash": digest(token), "invoice": invoice, "client": client, "uses": uses, "spent": spent}
        db.execute(sa.insert(TOKEN), {**row, "created_at": int(time.time())})

    @staticmethod
    def _services(db: sa.Connection, invoice: str) -> tuple[str, ...]:
        return tuple(db.execute(sa.select(SERVICE.c.service).where(SERVICE.c.invoice == invoice)).scalars())
