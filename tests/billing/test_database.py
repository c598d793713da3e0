"""The billing service's database: its migrations, what is refused, and what ends."""

import time

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from satmeter.billing import tables
from satmeter.billing.api_tokens import ApiTokens
from satmeter.billing.database import Database, insert_new
from satmeter.billing.events import Events, hook_row
from satmeter.billing.invoices import Invoices
from satmeter.billing.ssrf import Outward
from satmeter.billing.tables import ABOUT
from satmeter.billing.webhooks import Webhooks
from satmeter.core.errors import JournalTrouble
from satmeter.journal.engine import engine
from satmeter.journal.url import sqlite_url
from satmeter.market.tables import META

NODE = "02" * 33


@pytest.fixture
def url(tmp_path):
    return sqlite_url(tmp_path / "b.sqlite3")


def test_the_migrations_make_the_tables(url):
    Database(url, NODE)
    with engine(url).connect() as db:
        context = MigrationContext.configure(db, opts={"version_table": "billing_version"})
        assert compare_metadata(context, META) == []


def test_a_database_of_another_node_or_a_newer_version_is_refused(url):
    database = Database(url, NODE)
    with pytest.raises(JournalTrouble, match="belongs to node"):
        Database(url, "03" * 33)
    with database.writing() as db:
        db.execute(sa.text("UPDATE billing_version SET version_num = '9999'"))
    with pytest.raises(JournalTrouble, match="is newer"):
        Database(url, NODE)


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all/b.sqlite3", "postgresql://x@/y?host=/nowhere", "what"])
def test_a_database_that_is_not_there_is_said(url):
    with pytest.raises(JournalTrouble, match="can't be used"):
        Database(url, NODE)


@pytest.mark.parametrize(
    "url", ["postgresql://me:hunter2@127.0.0.1:1/x", "postgresql://me@127.0.0.1:1/x?password=hunter2"]
)
def test_a_password_of_the_database_is_shown_to_nobody(url):
    with pytest.raises(JournalTrouble) as error:
        Database(url, NODE)
    assert "127.0.0.1" in str(error.value) and "hunter2" not in str(error.value)


def test_what_fails_half_way_is_not_recorded(url):
    database = Database(url, NODE)
    with pytest.raises(JournalTrouble):
        with database.writing() as db:
            db.execute(sa.insert(ABOUT), {"name": "x", "value": "1"})
            db.execute(sa.insert(ABOUT), {"name": "x", "value": "2"})
    with database.reading() as db:
        assert db.execute(sa.select(ABOUT).where(ABOUT.c.name == "x")).first() is None


def stored(database, table, rows):
    with database.writing() as db:
        db.execute(sa.insert(table), rows)


def count(database, table):
    with database.reading() as db:
        return db.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def invoice_row(id, client="shop", pay_index=None, expires_at=0):
    empty = {c.name: None if c.nullable else ("" if isinstance(c.type, sa.String) else 0) for c in tables.INVOICE.c}
    given = {
        "id": id,
        "client": client,
        "rhash": id,
        "pay_index": pay_index,
        "expires_at": expires_at,
        "metadata": "{}",
    }
    return {**empty, **given}


def test_what_is_over_has_an_end_and_what_is_not_stays(url):
    database, now = Database(url, NODE), int(time.time())
    ApiTokens(database).add("shop", ["invoice"])
    long_ago, month = now - 40 * 86_400, 30 * 86_400
    stored(
        database,
        tables.INVOICE,
        [
            *(invoice_row(f"old{n}", expires_at=long_ago) for n in range(2500)),
            invoice_row("paid", pay_index=7, expires_at=long_ago),
            invoice_row("open", expires_at=now + 60),
            invoice_row("fresh", expires_at=now - month + 3600),
            invoice_row("order", client="a hub's own", expires_at=long_ago),
        ],
    )
    stored(database, tables.SERVICE, [{"invoice": "old3", "service": "x"}, {"invoice": "open", "service": "x"}])
    invoices = Invoices(database, None, Events(database), 0)
    assert [row["id"] for row in invoices.open()] == ["open"]
    hooks = [
        {**hook_row("shop", "http://x/", id), "state": state, "created_at": at}
        for id, state, at in (
            ("old1", "waiting", long_ago), ("open", "waiting", long_ago), ("paid", "done", long_ago),
            ("paid", "done", now), ("paid", "dead", long_ago),
        )
    ]  # fmt: skip
    stored(database, tables.HOOK, hooks)
    invoices.forget(long_ago)  # by a clock that is wrong nothing is old
    assert count(database, tables.INVOICE) == 2504
    invoices.forget(now)
    with database.reading() as db:
        assert sorted(db.execute(sa.select(tables.INVOICE.c.id)).scalars()) == ["fresh", "open", "order", "paid"]
    assert count(database, tables.SERVICE) == 1
    Webhooks(database, invoices, Events(database), b"x", Outward((), "hook_hosts")).forget()
    assert count(database, tables.HOOK) == 3


def test_open_invoices_are_read_by_the_page(url):
    database = Database(url, NODE)
    stored(database, tables.INVOICE, [invoice_row(f"i{n:05}", expires_at=int(time.time()) + 60) for n in range(2300)])
    found = [row["id"] for row in Invoices(database, None, Events(database), 0).open()]
    assert len(found) == len(set(found)) == 2300


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_row_is_inserted_once_and_that_is_known(kind, url, request):
    if kind == "postgresql":
        url = request.getfixturevalue("postgresql")
        with psycopg.connect(url, autocommit=True) as server:
            server.execute("CREATE DATABASE inserted_once")
        url = url.replace("/postgres?", "/inserted_once?")
    database = Database(url, NODE)
    row = {"name": "x", "value": "1"}
    with database.writing() as db:
        assert [insert_new(db, ABOUT, row) for _ in range(3)] == [True, False, False]
