"""Invoices of the service: made on the node, kept with what the shop wants to remember, and marked paid once."""

import json
import re
import time
from collections.abc import Callable, Iterator

import sqlalchemy as sa

from ..core.errors import BadParam, JournalTrouble, WrongState
from ..core.money import MAX_MSAT, msat, whole
from ..core.plain import JsonObject
from ..formatting import readable
from ..node.rpc import Made, Node
from .database import Database, already_there, only
from .events import Events, hook_row
from .ids import new_id
from .rows import InvoiceRow, every, first
from .tables import ABOUT, HOOK, INVOICE, SECRET, SERVICE

LABEL = "bill/"
"""Before the id, in the node's label: the meter plugin lets such invoices pass."""
OPERATOR = "hub"
"""The account that pays an invoice of ours where the node itself paid it: the hub's own."""
INTERNAL = 0
"""The pay_index of what was paid from an account: the node has none for it."""
EXPIRY_S = 3600
DESCRIPTION = "Satmeter invoice"
METADATA_BYTES, METADATA_DEPTH = 16_384, 20
PAGE = 1000
KEPT_S = 30 * 86_400

_ID = re.compile(r"[0-9a-z]{1,32}")


class Invoices:
    """The invoices of one node, in one database. Every invoice belongs to the client (api-token) that made it."""

    def __init__(self, database: Database, node: Node, events: Events, cap_msat: int = 0):
        """cap_msat: most that an invoice may be of; 0: no cap."""
        self._database, self._node, self._events, self._cap = database, node, events, cap_msat
        self.settlers: list[Callable[[sa.Connection, InvoiceRow, str | None], None]] = []
        """Called in the transaction that counts a payment, with the invoice and the account that paid it (None: by the
        node's channels): whatever a payment moves, moves with it or not at all."""

    def make(
        self,
        client: str,
        amount_msat: int | None,
        description: str = DESCRIPTION,
        expiry_s: int = EXPIRY_S,
        metadata: object = None,
        quoted: tuple[str, str] | None = None,
        id: str = "",
        services: tuple[str, ...] = (),
        hook: str = "",
        uses: int = 1,
        hash_only: bool = False,
        redirect_url: str = "",
    ) -> InvoiceRow:
        """Makes an invoice on the node, records it and returns it.

        With an `id` that is in use, the invoice with that id is returned. So a call can be repeated safely
        after a crash between the two steps.

        Args:
            client: The client that owns the invoice.
            amount_msat: The amount in msat; None for any amount.
            description: What the payer's wallet shows.
            expiry_s: Seconds until the invoice expires.
            metadata: Any JSON value that the client wants to find again.
            quoted: The currency and the amount in it that the client gave, as text; None for neither.
            id: The id to use; "" makes a new one.
            services: What a hash token of the invoice is for.
            hook: A URL that is called once the invoice is paid; "" for none.
            uses: How many uses the payment buys.
            hash_only: Whether the invoice has only the hash of the description (as LUD-06 asks for).
            redirect_url: Where the checkout page leads after the payment; "" for nowhere.

        Raises:
            BadParam: The amount is over the operator's cap.
        """
        id = id or new_id()
        known = self.find(id, client)
        if known is not None:
            return known
        check_cap(amount_msat, self._cap)
        now = int(time.time())
        made = self._node.invoice(LABEL + id, amount_msat, description, expiry_s, hash_only)
        row: InvoiceRow = {
            "id": id,
            "client": client,
            "msatoshi": amount_msat,
            "msatoshi_received": None,
            "quoted_currency": quoted[0] if quoted else None,
            "quoted_amount": quoted[1] if quoted else None,
            "rhash": made.hash,
            "payreq": made.bolt11,
            "description": description,
            "created_at": now,
            "expires_at": made.expires_at,
            "pay_index": None,
            "paid_at": None,
            "uses": uses,
            "metadata": json.dumps(metadata),
            "redirect_url": redirect_url,
        }
        try:
            with self._database.writing() as db:
                db.execute(sa.insert(INVOICE), row)
                if services:
                    db.execute(sa.insert(SERVICE), [{"invoice": id, "service": service} for service in services])
                if hook:
                    db.execute(sa.insert(HOOK), hook_row(client, hook, id))
        except JournalTrouble as error:
            known = self.find(id, client) if already_there(error) else None
            if known is None:
                raise
            return known  # the same request came twice at once, and the other one was first
        return row

    def find(self, id: str, client: str = "") -> InvoiceRow | None:
        """Return an invoice; with `client` only if it is theirs."""
        if not _ID.fullmatch(id):
            return None
        return self._one(INVOICE.c.id == id, *([INVOICE.c.client == client] if client else []))

    def by_payreq(self, payreq: str) -> InvoiceRow | None:
        """Found by the hash that stands in it, which is what has an index; None for what is no invoice of ours.

        NodeTrouble where the node can't decode just now: then it is not known whose it is."""
        lower = payreq.lower()
        if not lower.isascii() or not lower.isalnum() or not lower.startswith("ln"):
            return None
        try:
            rhash = str(self._node.decode(lower)["payment_hash"])
        except (BadParam, KeyError):
            return None
        row = self.by_hash(rhash)
        return row if row is not None and row["payreq"] == lower else None

    def by_hash(self, rhash: str) -> InvoiceRow | None:
        """Returns the invoice with a payment hash (64 hex digits, lower case), or None."""
        return self._one(INVOICE.c.rhash == rhash) if re.fullmatch(r"[0-9a-f]{64}", rhash) else None

    def of(
        self, client: str, limit: int = PAGE, before: str = "", status: str = "", since: int = 0
    ) -> list[InvoiceRow]:
        """Returns a client's invoices: the newest ones that match, sorted with the oldest first.

        Args:
            client: The client's name.
            limit: The most that are returned.
            before: An invoice's id; only older ones are returned. "" for no bound.
            status: unpaid, paid or expired; "" for any.
            since: Only those made at this time or later, in seconds since 1970.
        """
        query = sa.select(INVOICE).where(INVOICE.c.client == client, INVOICE.c.created_at >= since)
        paid, over = INVOICE.c.pay_index.is_not(None), INVOICE.c.expires_at <= int(time.time())
        if status:
            query = query.where({"paid": paid, "unpaid": ~paid & ~over, "expired": ~paid & over}[status])
        if before:
            edge = sa.select(INVOICE.c.created_at).where(INVOICE.c.id == before).scalar_subquery()
            same = sa.and_(INVOICE.c.created_at == edge, INVOICE.c.id > before)
            query = query.where(sa.or_(INVOICE.c.created_at < edge, same))
        with self._database.reading() as db:
            newest = query.order_by(INVOICE.c.created_at.desc(), INVOICE.c.id).limit(limit)
            return every(db, newest, InvoiceRow)[::-1]

    def delete(self, row: InvoiceRow, status: str) -> None:
        """Deletes an invoice that has the given status: unpaid, paid or expired.

        One that is not paid is deleted on the node first, so that nobody can pay it; the node is asked for an expired
        one, too: its payment may not be counted yet. Raises BadParam where the invoice has another status, and
        WrongState where its status changed during the call."""
        if status_of(row) != status:
            raise BadParam(f"status: invoice {row['id']} is {status_of(row)}, not {status}", param="status")
        if status != "paid":
            found = self._node.delete_invoice(LABEL + row["id"])
            if found is not None:
                raise WrongState(f"status: invoice {row['id']} is {found.status} by now", param="status")
        with self._database.writing() as db:
            gone = sa.delete(INVOICE).where(INVOICE.c.id == row["id"])
            if status != "paid":
                gone = gone.where(INVOICE.c.pay_index.is_(None))
            if not only(db.execute(gone)):
                raise WrongState(f"status: invoice {row['id']} is paid by now", param="status")
            db.execute(sa.delete(SERVICE).where(SERVICE.c.invoice == row["id"]))
            db.execute(sa.delete(HOOK).where(HOOK.c.invoice == row["id"], HOOK.c.state == "waiting"))

    # --- payments that came in

    def paid(self, label: str, found: Made, in_turn: bool = True, payer: str | None = None) -> InvoiceRow | None:
        """Counts a payment once, and returns the invoice if this call counted it, else None.

        The invoice, its webhooks and the stored pay_index change in one transaction.

        Args:
            label: The invoice's label on the node. For a label of others only the pay_index is stored.
            found: The paid invoice as the node lists it.
            in_turn: Whether every payment with a lower pay_index was counted before. False for an invoice
                that was looked up by its label: the stored pay_index does not change then.
            payer: The account that paid; None for a payment over the node's channels.
        """
        id = label.removeprefix(LABEL)
        with self._database.writing() as db:
            if in_turn:
                self._note_index(db, found.index)
            counted = label.startswith(LABEL) and self._count(db, id, found.index, found.received_msat, payer)
        return self.find(id) if counted else None

    def shut(self, row: InvoiceRow) -> bool:
        """Delete an invoice on the node, so that no wallet can pay it; False where one did, or is just doing so."""
        return self._node.delete_invoice(LABEL + row["id"]) is None

    def count_internal(self, db: sa.Connection, row: InvoiceRow, account: str) -> bool:
        """Count an invoice that was shut as paid in full from an account with us; False where it is paid already."""
        return self._count(db, row["id"], INTERNAL, int(row["msatoshi"] or 0), account)

    def _count(self, db: sa.Connection, id: str, index: int, received: int, payer: str | None) -> bool:
        """Mark an invoice as paid, with all that follows; whether this call was the one that did. The event is last."""
        now = int(time.time())
        mine = sa.update(INVOICE).where(INVOICE.c.id == id, INVOICE.c.pay_index.is_(None))
        values = {"pay_index": index, "paid_at": now, "msatoshi_received": received}
        row = first(db, mine.values(values).returning(*INVOICE.c), InvoiceRow)
        if row is None:
            return False
        due = sa.update(HOOK).where(HOOK.c.invoice == id, HOOK.c.state == "waiting")
        db.execute(due.values(state="due", next_at=now))
        for settle in self.settlers:
            settle(db, row, payer)
        self._events.emit(db, row["client"], "paid", shown(row), f"paid/{id}")
        return True

    def index(self) -> int | None:
        """Return the newest pay_index that was looked at; None in a fresh database."""
        with self._database.reading() as db:
            value = db.execute(sa.select(ABOUT.c.value).where(ABOUT.c.name == "pay_index")).scalar()
        return int(value) if value is not None else None

    def begin_at(self, index: int) -> None:
        """Stores a pay_index as the newest one that was looked at, unless a higher one is stored."""
        with self._database.writing() as db:
            self._note_index(db, index)

    def open(self) -> Iterator[InvoiceRow]:
        """Yield the invoices that may have been paid while nobody looked: unpaid ones, expired a day ago at most."""
        since, after = int(time.time()) - 86_400, ""
        unpaid = sa.select(INVOICE).where(INVOICE.c.pay_index.is_(None), INVOICE.c.expires_at > since)
        while True:
            with self._database.reading() as db:
                page = unpaid.where(INVOICE.c.id > after).order_by(INVOICE.c.id).limit(PAGE)
                rows = every(db, page, InvoiceRow)
            yield from rows
            if len(rows) < PAGE:
                return
            after = rows[-1]["id"]

    def newest_at(self) -> int:
        """Return when the newest invoice was made; 0 where there is none."""
        with self._database.reading() as db:
            return int(db.execute(sa.select(sa.func.max(INVOICE.c.created_at))).scalar() or 0)

    def forget(self, now: int) -> None:
        """Delete clients' invoices that nobody paid, a while after they expired."""
        old = sa.and_(
            INVOICE.c.pay_index.is_(None),
            INVOICE.c.expires_at < now - KEPT_S,
            INVOICE.c.client.in_(sa.select(SECRET.c.name)),
        )
        while True:
            with self._database.writing() as db:
                some = sa.select(INVOICE.c.id).where(old).limit(PAGE).scalar_subquery()
                gone = sa.delete(INVOICE).where(INVOICE.c.id.in_(some), INVOICE.c.pay_index.is_(None))
                ids = list(db.execute(gone.returning(INVOICE.c.id)).scalars())
                db.execute(sa.delete(SERVICE).where(SERVICE.c.invoice.in_(ids)))
                db.execute(sa.delete(HOOK).where(HOOK.c.invoice.in_(ids), HOOK.c.state == "waiting"))
            if len(ids) < PAGE:
                return

    def _note_index(self, db: sa.Connection, index: int) -> None:
        there = db.execute(sa.select(ABOUT.c.value).where(ABOUT.c.name == "pay_index").with_for_update()).scalar()
        if there is None:
            db.execute(sa.insert(ABOUT), {"name": "pay_index", "value": str(index)})
        elif int(there) < index:
            db.execute(sa.update(ABOUT).where(ABOUT.c.name == "pay_index").values(value=str(index)))

    def _one(self, *conditions: sa.ColumnElement[bool]) -> InvoiceRow | None:
        with self._database.reading() as db:
            return first(db, sa.select(INVOICE).where(*conditions), InvoiceRow)


def status_of(row: InvoiceRow) -> str:
    """Return unpaid, paid or expired."""
    if row["pay_index"] is not None:
        return "paid"
    return "unpaid" if row["expires_at"] > time.time() else "expired"


def shown(row: InvoiceRow) -> JsonObject:
    """Return an invoice with the fields of Lightning Charge's API: amounts as text, times in seconds."""
    status = status_of(row)
    return {
        "id": row["id"],
        "msatoshi": _text(row["msatoshi"]),
        "msatoshi_received": _text(row["msatoshi_received"]),
        "quoted_currency": row["quoted_currency"],
        "quoted_amount": row["quoted_amount"],
        "rhash": row["rhash"],
        "payreq": row["payreq"],
        "description": row["description"],
        "created_at": row["created_at"],
        "expires_at": row["expires_at"],
        "pay_index": row["pay_index"],
        "paid_at": row["paid_at"],
        "metadata": json.loads(row["metadata"]),
        "status": status,
        "completed": status == "paid",
        **({"redirect_url": row["redirect_url"]} if row["redirect_url"] else {}),
    }


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def check_amount(value: object) -> int | None:
    """Return `msatoshi` of a request: msat, as a number or text; None for any amount."""
    if value is None or value == "":
        return None
    return msat("msatoshi", value, 1)


def check_expiry(value: object) -> int:
    """Returns `expiry` of a request in s, EXPIRY_S without one. BadParam unless 1 s to 365 days."""
    return whole("expiry", value, 1, 31_536_000) if value not in (None, "") else EXPIRY_S


def check_description(value: object) -> str:
    """Returns `description` of a request, or DESCRIPTION where it is None or "". A number becomes text.

    Raises BadParam for more than 639 bytes (the most that BOLT 11 can hold), or control characters."""
    if value in (None, ""):
        return DESCRIPTION
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value.encode("utf-8", "replace")) > 639 or not readable(value):
        raise BadParam("description: must be text of at most 639 bytes without control characters", param="description")
    return value


def check_metadata(value: object) -> object:
    """Metadata is any JSON that is not too large."""
    try:
        size = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except (ValueError, RecursionError):
        raise BadParam("metadata: is no JSON that every client could read", param="metadata") from None
    if size > METADATA_BYTES or _depth(value) > METADATA_DEPTH:
        raise BadParam(
            f"metadata: may have {METADATA_BYTES:,} bytes as JSON, nested {METADATA_DEPTH} deep", param="metadata"
        )
    return value


def _depth(value: object) -> int:
    level, deep = [value], 0
    while level and deep <= METADATA_DEPTH:
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list))]
        level = [item for items in inner for item in items]
        deep += 1
    return deep


def check_cap(amount: int | None, most: int) -> int | None:
    """Refuse an amount over the operator's cap."""
    if amount is not None and amount > (most or MAX_MSAT):
        raise BadParam(f"msatoshi: may be at most {most}, got {amount}", param="msatoshi")
    return amount
