"""Hash tokens: random texts that prove a payment. The holder may use one a number of times, for the services paid for.

Tokens are stored as hashes, so a stolen database opens nothing. They are spent atomically: if two requests at once use
the last use, one passes. The answer for an unknown token is the same as for a token that is used up.
"""

import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import sqlalchemy as sa

from ..core.errors import BadParam, JournalTrouble
from ..formatting import readable
from .api_tokens import SELLER, covers, digest
from .database import Database, already_there, insert_new, only
from .events import Events
from .rows import InvoiceRow
from .tables import INVOICE, ONCE, SERVICE, TOKEN

ISSUED, NOBODY = "issued anew", ""
"""How it is noted in ONCE that a token took another's place: under a name that no client has."""
ANEW_TRIES = 3
SPENT = "uses"
"""What the keys begin with under which uses are noted (idempotency.py forgets them)."""
MOST_SERVICES = 50
LOW = 5
"""A token is low when a fifth of its uses is left, or one."""


Found = sa.Row[tuple[object, ...]]
"""A row of TOKEN."""


@dataclass(frozen=True, slots=True)
class Bought:
    """What a token stands for."""

    invoice: str
    services: tuple[str, ...]
    uses: int
    spent: int
    client: str


@cache
def _one_use(kind: str, own: bool) -> "sa.sql.dml.ReturningUpdate[tuple[object, ...]]":
    """Returns the SQL statement that spends one use of a key for one service.

    It is cached, since building it takes longer than its execution.

    Args:
        kind: "hash" to find the token by its own hash, "rhash" by the payment hash.
        own: True to accept only what the bound `seller` sold; False for all but sellers of the market.
    """
    key: sa.BindParameter[str] = sa.bindparam("key")
    paid = sa.select(INVOICE.c.id).where(INVOICE.c.rhash == key).scalar_subquery()
    which = TOKEN.c.hash == key if kind == "hash" else TOKEN.c.invoice == paid
    sold = TOKEN.c.client == sa.bindparam("seller") if own else TOKEN.c.client.not_like(f"{SELLER}%")
    bought = sa.and_(SERVICE.c.invoice == TOKEN.c.invoice, SERVICE.c.service == sa.bindparam("service"))
    left = sa.and_(which, sold, TOKEN.c.spent < TOKEN.c.uses, sa.exists().where(bought))
    return sa.update(TOKEN).where(left).values(spent=TOKEN.c.spent + 1).returning(*TOKEN.c)


def new_token() -> str:
    """Returns a new hash token: 24 URL-safe characters from 144 random bits."""
    return secrets.token_urlsafe(18)


def services_of(text: object) -> tuple[str, ...]:
    """Return the services of a request: names separated by commas. BadParam for none, too many or odd ones."""
    if not isinstance(text, str):
        raise BadParam("service: is required, names separated by commas", param="service")
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not 1 <= len(found) <= MOST_SERVICES:
        raise BadParam(f"service: must be 1 to {MOST_SERVICES} names separated by commas", param="service")
    for name in found:
        if len(name) > 200 or not readable(name):
            raise BadParam(f"service: a name has at most 200 printable characters, got {name[:60]!r}", param="service")
    return found


@dataclass(frozen=True, slots=True)
class Use:
    """One use that is asked for: of a hash token (hash), or of an invoice by its payment hash (rhash)."""

    kind: str
    which: str
    services: tuple[str, ...]

    @property
    def key(self) -> str:
        """What it is found by."""
        return digest(self.which) if self.kind == "hash" else self.which


def _by_kind(uses: Sequence[Use | None]) -> Iterator[tuple[str, dict[int, Use]]]:
    """Yields the uses of each kind with their places."""
    for kind in ("rhash", "hash"):
        some = {n: use for n, use in enumerate(uses) if use is not None and use.kind == kind}
        if some:
            yield kind, some


_NOTED = sa.select(ONCE.c.fingerprint, ONCE.c.body).where(
    ONCE.c.client == sa.bindparam("of_client"), ONCE.c.key == sa.bindparam("of_key")
)


def _fingerprint(uses: dict[int, Use]) -> str:
    return digest(json.dumps([[n, use.kind, use.key, use.services] for n, use in uses.items()]))


def _invoice_of(db: sa.Connection, hash: str) -> str:
    """Returns the invoice of a token by its hash, also where another took the token's place; "" for none."""
    found = db.execute(sa.select(TOKEN.c.invoice).where(TOKEN.c.hash == hash)).scalar()
    issued = sa.and_(ONCE.c.client == NOBODY, ONCE.c.key == f"{ISSUED} {hash}")
    return str(found or db.execute(sa.select(ONCE.c.ref).where(issued)).scalar() or "")


def _less(db: sa.Connection, counts: Mapping[str, int]) -> int:
    """Takes uses back of the tokens of invoices; returns of how many. None becomes less than unspent.

    They are locked in the order of their hashes, as by those who spend. One that is issued anew meanwhile is looked
    for again: the new one is there once the old one is gone."""
    query = sa.select(TOKEN.c.hash, TOKEN.c.invoice).where(TOKEN.c.invoice.in_(counts))
    for _ in range(ANEW_TRIES):
        found = db.execute(query.order_by(TOKEN.c.hash).with_for_update()).all()
        if len(found) == len(counts):
            break
    changed = 0
    for row in found:
        count = counts[row.invoice]
        mine = sa.update(TOKEN).where(TOKEN.c.hash == row.hash, TOKEN.c.spent >= count)
        changed += only(db.execute(mine.values(spent=TOKEN.c.spent - count)))
    return changed


class Tokens:
    """The hash tokens in the database: made for paid invoices, spent, given back and looked up."""

    def __init__(self, database: Database, events: Events):
        self._database, self._events = database, events

    def store_services(self, invoice: str, services: tuple[str, ...]) -> None:
        """Say what an unpaid invoice is for, once; the same again is fine, another is BadParam."""
        with self._database.writing() as db:
            there = self._services(db, invoice)
            if there and set(there) != set(services):
                raise BadParam("service: this invoice is for other services already", param="service")
            if not there:
                db.execute(sa.insert(SERVICE), [{"invoice": invoice, "service": service} for service in services])

    def issue(self, row: InvoiceRow, services: tuple[str, ...]) -> str | None:
        """Makes a new hash token for an invoice; returns None if it is unpaid or for other services.

        `services` must be exactly those of the invoice. An earlier token of the invoice ends: only its hash is
        stored, so it can't be shown again. The uses that were spent of it stay spent."""
        token, invoice = new_token(), row["id"]
        with self._database.writing() as db:
            uses = self._paid_for(db, invoice)
            if uses is None or set(self._services(db, invoice)) != set(services):
                return None
            gone = sa.delete(TOKEN).where(TOKEN.c.invoice == invoice).returning(TOKEN.c.hash, TOKEN.c.spent)
            old = db.execute(gone).first()
            self.insert(db, token, invoice, row["client"], uses, old.spent if old is not None else 0)
            if old is not None:  # a use that was spent by it may be given back yet
                self._once(db, NOBODY, f"{ISSUED} {old.hash}", invoice)
        return token

    def spend(self, token: str, services: tuple[str, ...], seller: str = "") -> bool:
        """Spends one use of a hash token and returns whether it passed.

        It passes if the token has a use left, all `services` are among those paid for, and `seller` covers
        the token's sale (api_tokens.covers). Services of two sellers with the same name are different."""
        return self.spend_all([Use("hash", token, services)], seller)[0]

    def spend_all(self, uses: Sequence["Use | None"], seller: str = "", id: str = "", who: str = "") -> list[bool]:
        """Spends several uses and returns for each whether it passed, in the same order.

        All uses of one kind are one transaction. It locks tokens in the order of their hashes and records
        events last, so that two such transactions can't deadlock. `seller` is as for spend(). With an `id` of the
        client `who` they are spent once: the same call again returns the same. BadParam for other uses under it."""
        passed = [False] * len(uses)
        for kind, some in _by_kind(uses):
            with self._database.writing() as db:
                known = self._spent_under(db, who, f"{id} {kind}", some) if id else None
                good = self._alone(db, some, seller) or self._spend(db, kind, some, seller) if known is None else known
                # A payment that is counted in a moment is tried again under another id, once: so "none" is noted, too.
                if id and known is None and (good or kind == "rhash"):
                    self._note_spent(db, who, f"{id} {kind}", some, good)
            for n in good:
                passed[n] = True
        return passed

    def unspend_all(self, uses: Sequence["Use | None"], id: str, who: str) -> None:
        """Gives back what was spent under an id, once; should the spending come late, it spends nothing."""
        for kind, some in _by_kind(uses):
            try:
                self._unspend(kind, some, f"{id} {kind}", who)
            except JournalTrouble as error:
                if not already_there(error):
                    raise
                self._unspend(kind, some, f"{id} {kind}", who)  # another worker has noted something just now

    def _unspend(self, kind: str, some: dict[int, "Use"], key: str, who: str) -> None:
        with self._database.writing() as db:
            good = self._spent_under(db, who, key, some)
            if good is None:
                self._note_spent(db, who, key, some, [])
            elif self._take_note(db, who, key, good):
                self._give_back(db, kind, [some[n].key for n in good])

    @staticmethod
    def _give_back(db: sa.Connection, kind: str, keys: list[str]) -> None:
        """Takes one use back of each key: the hash of a token, or the hash of the payment for it."""
        if kind == "hash":
            invoices = {key: _invoice_of(db, key) for key in set(keys)}
        else:
            paid = sa.select(INVOICE.c.rhash, INVOICE.c.id).where(INVOICE.c.rhash.in_(set(keys)))
            invoices = {row.rhash: row.id for row in db.execute(paid)}
        _less(db, Counter(invoice for key in keys if (invoice := invoices.get(key))))

    @staticmethod
    def _spent_under(db: sa.Connection, who: str, key: str, uses: dict[int, "Use"]) -> list[int] | None:
        """Returns the places of the uses that were spent under an id, None where it was not heard of."""
        row = db.execute(_NOTED, {"of_client": who, "of_key": f"{SPENT} {key}"}).first()
        if row is None:
            return None
        if row.fingerprint != _fingerprint(uses):
            raise BadParam("id: was used for other uses before", param="id")
        return [int(n) for n in json.loads(row.body)]

    @staticmethod
    def _note_spent(db: sa.Connection, who: str, key: str, uses: dict[int, "Use"], good: list[int]) -> None:
        row = {"client": who, "key": f"{SPENT} {key}", "fingerprint": _fingerprint(uses), "ref": "", "status": 200}
        db.execute(sa.insert(ONCE), {**row, "body": json.dumps(good), "created_at": int(time.time())})

    @staticmethod
    def _take_note(db: sa.Connection, who: str, key: str, good: list[int]) -> bool:
        """Notes that what was spent under an id is given back; False where another worker does just that."""
        mine = sa.update(ONCE).where(ONCE.c.client == who, ONCE.c.key == f"{SPENT} {key}")
        return bool(good) and only(db.execute(mine.where(ONCE.c.body == json.dumps(good)).values(body="[]")))

    def _alone(self, db: sa.Connection, uses: dict[int, "Use"], seller: str) -> list[int]:
        """Spends one use in one SQL statement where it is the only one and of one service.

        Returns the number of the use if it passed, else []; then _spend has to decide. Most requests are of
        this kind."""
        ((n, use), *others) = uses.items()
        if others or len(use.services) != 1:
            return []
        given = {"key": use.key, "service": use.services[0]} | ({"seller": seller} if seller else {})
        token = db.execute(_one_use(use.kind, bool(seller)), given).first()
        if token is None:
            return []
        self._tell(db, token, token.spent - 1, 1, set(use.services))
        return [n]

    def _spend(self, db: sa.Connection, kind: str, uses: dict[int, "Use"], seller: str) -> list[int]:
        """Return which of the uses passed."""
        tokens = self._tokens(db, kind, {use.key for use in uses.values()})
        passed: list[int] = []
        granted: dict[str, int] = {}
        for n, use in uses.items():
            token, services = tokens.get(use.key, (None, set()))
            if token is None or not covers(seller, token.client) or not set(use.services) <= services:
                continue
            if token.spent + granted.get(token.hash, 0) < token.uses:
                granted[token.hash] = granted.get(token.hash, 0) + 1
                passed.append(n)
        if granted:
            more = sa.update(TOKEN).where(TOKEN.c.hash == sa.bindparam("which"))
            more = more.values(spent=TOKEN.c.spent + sa.bindparam("more"))
            db.execute(more, [{"which": hash, "more": count} for hash, count in granted.items()])
        for token, services in tokens.values():
            self._tell(db, token, token.spent, granted.get(token.hash, 0), services)
        return passed

    def _tokens(self, db: sa.Connection, kind: str, keys: set[str]) -> dict[str, tuple[Found, set[str]]]:
        """Return tokens, locked, and what each is for, by the hash (of the token, or the payment) they are found by."""
        column = TOKEN.c.hash if kind == "hash" else INVOICE.c.rhash
        query = sa.select(TOKEN, SERVICE.c.service, column.label("key")).join(
            SERVICE, SERVICE.c.invoice == TOKEN.c.invoice
        )
        if kind == "rhash":
            query = query.join(INVOICE, INVOICE.c.id == TOKEN.c.invoice)
        query = query.where(column.in_(keys)).order_by(TOKEN.c.hash).with_for_update(of=TOKEN)
        found: dict[str, tuple[Found, set[str]]] = {}
        for row in db.execute(query):
            found.setdefault(row.key, (row, set()))[1].add(row.service)
        unasked = keys - found.keys() if kind == "rhash" else set()
        if unasked:
            invoices = sa.select(INVOICE.c.id).where(INVOICE.c.rhash.in_(unasked)).order_by(INVOICE.c.id)
            made = [self._first_use(db, invoice) for invoice in db.execute(invoices).scalars().all()]
            return self._tokens(db, kind, keys) if any(made) else found
        return found

    def _tell(self, db: sa.Connection, token: Found, spent: int, more: int, services: set[str]) -> None:
        """Of a token with several uses, tell when it becomes low, and when it is closed: by `more` after `spent`."""
        left = token.uses - spent
        if not more or token.uses == 1:
            return
        body = {"invoice": token.invoice, "service": ",".join(sorted(services)), "uses": token.uses}
        for kind, mark in (("low", max(1, token.uses // LOW)), ("closed", 0)):
            if left > mark >= left - more:
                self._events.emit(db, token.client, kind, {**body, "left": mark}, f"{kind}/{token.hash}")

    def _first_use(self, db: sa.Connection, invoice: str) -> bool:
        """Make the token of a paid invoice of which none was asked for yet; nobody is ever told it. Whether it did."""
        uses = self._paid_for(db, invoice)
        if uses is None or not self._services(db, invoice):
            return False
        if db.execute(sa.select(TOKEN.c.hash).where(TOKEN.c.invoice == invoice)).first() is not None:
            return False
        client = db.execute(sa.select(INVOICE.c.client).where(INVOICE.c.id == invoice)).scalar_one()
        self.insert(db, new_token(), invoice, client, uses)
        return True

    def give_back(self, token: str = "", invoice: str = "", seller: str = "", id: str = "") -> bool:
        """Take one use back that was spent and not delivered, of a hash token or of an invoice; under an id once.

        BadParam where a use of another invoice was given back under the id."""
        with self._database.writing() as db:
            invoice = _invoice_of(db, digest(token)) if token else invoice
            client = db.execute(sa.select(TOKEN.c.client).where(TOKEN.c.invoice == invoice)).scalar()
            if client is None or not covers(seller, client):
                return False
            key = f"returned {id}"
            if id and not self._once(db, client, key, invoice):
                noted = sa.select(ONCE.c.ref).where(ONCE.c.client == client, ONCE.c.key == key)
                if db.execute(noted).scalar() != invoice:
                    raise BadParam("id: was used for another return before", param="id")
                return True
            if _less(db, {invoice: 1}):
                return True
            if id:  # nothing was given back under it
                db.execute(sa.delete(ONCE).where(ONCE.c.client == client, ONCE.c.key == key))
            return False

    @staticmethod
    def _once(db: sa.Connection, client: str, key: str, ref: str = "") -> bool:
        """Record that something is done; False where it was before."""
        row = {"client": client, "key": key, "fingerprint": "", "ref": ref, "status": 200, "body": ""}
        return insert_new(db, ONCE, {**row, "created_at": int(time.time())})

    def find(self, token: str) -> Bought | None:
        """Return what a token stands for, whether it is spent or not."""
        with self._database.reading() as db:
            row = db.execute(sa.select(TOKEN).where(TOKEN.c.hash == digest(token))).first()
            if row is None:
                return None
            return Bought(row.invoice, self._services(db, row.invoice), row.uses, row.spent, row.client)

    def services_of_invoice(self, invoice: str) -> tuple[str, ...]:
        """Returns the services that an invoice, or a purchase of the market, is for; () for none."""
        with self._database.reading() as db:
            return self._services(db, invoice)

    @staticmethod
    def _paid_for(db: sa.Connection, invoice: str) -> int | None:
        """Returns how many uses a paid invoice bought, or None if the invoice is not paid.

        Locks the invoice's row, so that of two calls at once one comes after the other."""
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
