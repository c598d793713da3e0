"""Rows of the billing service's tables, as queries return them. A test holds them to tables.py, which says more."""

from typing import TypedDict, TypeVar, cast

import sqlalchemy as sa

Row = TypeVar("Row")


class InvoiceRow(TypedDict):
    """An invoice. Amounts in msat; times in seconds since 1970; pay_index None: unpaid."""

    id: str
    client: str
    msatoshi: int | None
    msatoshi_received: int | None
    quoted_currency: str | None
    quoted_amount: str | None
    rhash: str
    payreq: str
    description: str
    created_at: int
    expires_at: int
    pay_index: int | None
    paid_at: int | None
    uses: int
    metadata: str
    redirect_url: str


class PaymentRow(TypedDict):
    """A payment that a client has the node make. Amounts in msat; times in seconds since 1970."""

    rhash: str
    client: str
    payreq: str
    msatoshi: int
    maxfee: int
    status: str
    sent: int
    why: str
    created_at: int
    done_at: int
    fee: int
    worker: str
    lease_until: int


class HookRow(TypedDict):
    """A webhook that is waiting, due, done or dead. Times in seconds since 1970."""

    id: str
    invoice: str
    url: str
    state: str
    tries: int
    next_at: int
    said: str
    created_at: int
    event: int | None
    client: str
    subscription: str


class EventRow(TypedDict):
    """Something that happened; `body` is JSON. Times in seconds since 1970."""

    id: int
    key: str
    client: str
    kind: str
    body: str
    created_at: int


class SubscriptionRow(TypedDict):
    """A webhook for every event of some kinds, which stand in `kinds` with blanks between."""

    id: str
    client: str
    url: str
    kinds: str
    created_at: int


def every(db: sa.Connection, query: sa.Executable, row: type[Row]) -> list[Row]:
    """Return all rows that a query finds, as `row` says what they hold."""
    return [cast(Row, dict(each)) for each in db.execute(query).mappings()]


def first(db: sa.Connection, query: sa.Executable, row: type[Row]) -> Row | None:
    """Return the first row that a query finds, as `row` says what it holds; None where it finds none."""
    found = db.execute(query).mappings().first()
    return None if found is None else cast(Row, dict(found))
