"""What a meter earned, in msat and in money, agrees with receipts, the CSV, and the node's own bookkeeping."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest

from satmeter import devnet
from satmeter.core.money import MSAT_PER_BTC
from shop import close, error_of, open_stream
from waiting import until

RATES = Path(__file__).parent / "rates" / "rates.py"
PER_BTC = Decimal("61234.5")


@pytest.fixture
def priced(net):
    """The seller's plugin with meter-fiat=EUR, and a node that knows a rate."""
    rpc = net["seller"].rpc
    (net["seller"].lightning_dir / "eur").write_text(str(PER_BTC))
    rpc.call("plugin", ["start", str(RATES)])
    rpc.call("plugin", ["stop", devnet.METER.name])
    rpc.call("plugin", {"subcommand": "start", "plugin": str(devnet.METER), "meter-fiat": "eur"})
    yield
    rpc.call("plugin", ["stop", RATES.name])
    rpc.call("plugin", ["stop", devnet.METER.name])
    rpc.call("plugin", ["start", str(devnet.METER)])


def sell(net, shop):
    """A stream with a refund, and a wallet's payment; returns the meter's board and the stream's session."""
    board = shop.add()
    session = open_stream(net["buyer"], shop, board)
    board.use_all(137)
    close(net["buyer"], session)
    until(lambda: shop.receipt(session)["owed_msat"] == 0)
    return board, session


def test_income_in_money_is_by_the_rate_of_its_time_whose_source_is_named(net, priced, shop):
    version = net["seller"].rpc.call("getinfo")["version"]
    board, session = sell(net, shop)

    def fiat():
        (line,) = shop.rpc.call("meter-totals", {"name": board.name, "by": "day"})["totals"]
        return line, line["fiat"].get("EUR")

    until(lambda: fiat()[1])
    line, eur = fiat()
    charged = shop.receipt(session)["charged_msat"]
    assert eur["sessions"] == 1 and eur["sources"] == [f"currencyrate of lightningd {version}"]
    assert abs(Decimal(eur["charged"]) * MSAT_PER_BTC / PER_BTC - charged) < MSAT_PER_BTC / PER_BTC / 10_000
    assert line["charged_msat"] == charged

    table = csv.DictReader(io.StringIO(shop.rpc.call("meter-export", {"name": board.name})["csv"]))
    (row,) = table
    assert row["currency"] == "EUR" and Decimal(row["per_btc"]) == PER_BTC and row["charged_fiat"] == eur["charged"]
    paid, parts = int(row["paid_msat"]), ("charged_msat", "refunded_msat", "owed_msat", "lapsed_msat")
    assert paid == sum(int(row[part]) for part in parts) - int(row["debt_msat"])


def test_a_currency_that_is_none_is_refused_in_words(net):
    rpc = net["poor"].rpc
    rpc.call("plugin", ["stop", devnet.METER.name])
    given = {"subcommand": "start", "plugin": str(devnet.METER), "meter-fiat": "euro"}
    assert "meter-fiat: must be a currency's three letters" in error_of(rpc, "plugin", given)["message"]
    rpc.call("plugin", ["start", str(devnet.METER)])


def test_the_nodes_own_bookkeeping_has_the_same_payments_refunds_and_fees(net, shop):
    """Core Lightning's bookkeeper, which knows nothing of meters; the emulated node has none."""
    if net.kind != "real":
        pytest.skip("an emulated node keeps no books")
    board, session = sell(net, shop)
    table = csv.DictReader(io.StringIO(shop.rpc.call("meter-export", {"name": board.name})["csv"]))
    (row,) = table
    events = shop.rpc.call("meter-history", {"stream": session, "limit": 1000})["events"]
    ours = {each["event"]["payment_hash"] for each in events if each.get("event", {}).get("happened") == "paid"}
    refunds = {json.loads(each["data"])["payment_hash"] for each in events if each["kind"] == "refund_paid"}
    assert ours and refunds

    def booked():
        income = shop.rpc.call("bkpr-listincome", {"consolidate_fees": False})["income_events"]
        return [each for each in income if each.get("payment_id") in ours | refunds]

    until(lambda: {each["payment_id"] for each in booked()} >= ours | refunds)
    credited = sum(each["credit_msat"] for each in booked() if each["tag"] == "invoice")
    assert credited == int(row["paid_msat"])
    sent = sum(each["debit_msat"] for each in booked() if each["payment_id"] in refunds)
    assert sent == int(row["refunded_msat"])
