"""What the service records for others: events, webhooks that are due, and bills; each on a database of its own."""

import time

import pytest
import sqlalchemy as sa

from satmeter.billing.api_tokens import ApiTokens
from satmeter.billing.database import Database
from satmeter.billing.events import Events
from satmeter.billing.invoices import Invoices
from satmeter.billing.tables import HOOK
from satmeter.core.errors import NodeTrouble
from satmeter.journal.url import sqlite_url
from satmeter.market.ledger import Ledger
from satmeter.market.orders import Orders
from satmeter.market.tables import BILL, PURCHASE
from satmeter.node.rpc import Node

URL = "https://shop.example/told"


@pytest.fixture
def database(tmp_path):
    return Database(sqlite_url(tmp_path / "b.sqlite3"), "02" * 33)


def rows(database, table):
    with database.reading() as db:
        return [dict(row._mapping) for row in db.execute(sa.select(table))]


def emitted(database, events, client, key):
    with database.writing() as db:
        events.emit(db, client, "paid", {}, key)
    return [row["client"] for row in rows(database, HOOK) if row["state"] != "done"]


@pytest.mark.parametrize("ends_in_s, hears", [(3600, ["meters"]), (-1, [])])
def test_an_api_token_that_has_ended_hears_no_more_of_the_meters(database, ends_in_s, hears):
    events = Events(database)
    ApiTokens(database).add("meters", ["meter"], expires_at=int(time.time()) + ends_in_s)
    events.subscribe("meters", URL, ["paid"])
    assert emitted(database, events, "", "one") == hears


def test_a_subscription_ends_with_all_that_is_due_to_it(database):
    events = Events(database)
    ended, kept = (events.subscribe("shop", f"{URL}/{n}", ["paid"])["id"] for n in range(2))
    assert len(emitted(database, events, "shop", "one")) == 2
    assert not events.unsubscribe("other", ended) and len(rows(database, HOOK)) == 2
    assert events.unsubscribe("shop", ended)
    assert [row["subscription"] for row in rows(database, HOOK)] == [kept]


def test_an_order_without_an_invoice_leaves_no_bill(database, tmp_path):
    """The node is away: nothing listens at its socket."""
    invoices = Invoices(database, Node(str(tmp_path / "nobody")), Events(database))
    orders = Orders(database, invoices, None, None, Ledger(database, 0), None)
    offer = {"id": "o", "seller": "sue", "service": "fog", "msatoshi": 1000, "uses": 1, "node_url": ""}
    with pytest.raises(NodeTrouble):
        orders.order("ben", [offer])
    with pytest.raises(NodeTrouble):
        orders.deposit("ben", 1000, "a deposit")
    assert rows(database, BILL) == [] and rows(database, PURCHASE) == []
