"""Rows as the code reads them, held to the tables that they come from."""

from typing import get_args, get_type_hints

import pytest

from satmeter.billing import rows, tables
from satmeter.market import rows as market_rows
from satmeter.market import tables as market_tables

PAIRS = [
    (rows.InvoiceRow, tables.INVOICE),
    (rows.PaymentRow, tables.PAYMENT),
    (rows.HookRow, tables.HOOK),
    (rows.EventRow, tables.EVENT),
    (rows.SubscriptionRow, tables.SUBSCRIPTION),
    (market_rows.OfferRow, market_tables.OFFER),
    (market_rows.BillRow, market_tables.BILL),
    (market_rows.HoldRow, market_tables.HOLD),
    (market_rows.PurchaseRow, market_tables.PURCHASE),
]


@pytest.mark.parametrize(("row", "table"), PAIRS, ids=lambda each: getattr(each, "name", getattr(each, "__name__", "")))
def test_a_row_has_the_columns_of_its_table(row, table):
    said = {name: set(get_args(kind) or [kind]) for name, kind in get_type_hints(row).items()}
    nothing = {True: {type(None)}, False: set()}
    assert said == {c.name: {c.type.python_type} | nothing[c.nullable] for c in table.columns}
