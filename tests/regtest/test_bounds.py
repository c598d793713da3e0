"""Nobody loses more than they chose: a lying seller, strangers without money, a plugin that is away."""

import json
import os
from pathlib import Path

import pytest
from processes import kill_plugin, start_plugin
from pyln.client import RpcError

from satmeter import devnet
from satmeter.core import messages as msg
from satmeter.core.labels import OpeningLabel, SessionLabel, parse
from satmeter.wire import peer
from shop import Shop, close, error_of, identity, open_stream, settled, status
from waiting import until

LYING = Path(__file__).parent / "lying" / "meter.py"
LIMIT = 20_000
STRANGERS = 60


@pytest.fixture
def liar(net):
    """A shop whose plugin lies as the test says."""
    node = net["hop"]
    node.rpc.call("plugin", ["stop", devnet.METER.name])
    start_plugin(node, LYING)
    with Shop(node) as shop:
        shop.trick = node.lightning_dir / "trick"
        yield shop
        shop.trick.unlink(missing_ok=True)
    node.rpc.call("plugin", ["stop", LYING.name])
    start_plugin(node, devnet.METER)


def test_in_arrears_at_most_the_limit_is_paid_after_the_close(net, liar):
    board = liar.add(mode="arrears", limit_msat=LIMIT)
    session = open_stream(net["buyer"], liar, board)
    until(lambda: board.report()["grant"] == 200)
    board.use_all(100)
    until(lambda: status(net["buyer"], session)["paid_msat"] == 10_000)
    before = settled(net["buyer"])
    liar.trick.write_text("goes_on")
    net["buyer"].rpc.call("stream-close", [session])
    shown = until(lambda: (s := status(net["buyer"], session))["refusals"] and s)
    assert any("after the close" in r["why"] for r in shown["refusals"]), shown["refusals"]
    until(lambda: not status(net["buyer"], session)["in_flight_msat"])
    shown = status(net["buyer"], session)
    liar.trick.unlink()
    assert shown["paid_msat"] <= 10_000 + LIMIT and shown["exposure_bound_msat"] >= LIMIT
    assert before - settled(net["buyer"]) <= LIMIT + shown["fees_msat"]


def paid_before(node):
    """What a buyer's streams have paid by now: other tests had the same node today."""
    rows = node.rpc.call("stream-receipts", {"limit": 1000})["receipts"]
    ended = [json.loads(row["receipt"]) for row in rows if row["receipt"]]
    live = node.rpc.call("stream-list")["streams"]
    return sum(each["paid_msat"] for each in (*ended, *(s for s in live if s["state"] != "closed")))


def test_one_invoice_under_many_numbers_is_booked_once(net, liar):
    board = liar.add()
    day_msat = paid_before(net["buyer"]) + 60_000
    session = open_stream(net["buyer"], liar, board, day_msat=day_msat)
    until(lambda: board.report()["grant"] == 100)
    before = settled(net["buyer"])
    liar.trick.write_text("again")
    board.use(100)
    end = until(lambda: (s := status(net["buyer"], session))["refusals"] and s)
    assert "asked for before" in end["refusals"][0]["why"] and end["payments"] == 1
    liar.trick.unlink()
    until(lambda: status(net["buyer"], session)["state"] == "closed")
    assert settled(net["buyer"]) >= before  # nothing more left; the rest came back
    with Shop(net["seller"]) as honest:  # and the day's budget is there for others
        other = open_stream(net["buyer"], honest, honest.add(), day_msat=day_msat)
        until(lambda: status(net["buyer"], other)["payments"] == 1)
        close(net["buyer"], other)


def test_a_signed_receipt_over_a_refund_that_never_came_is_disputed(net, liar):
    board = liar.add()
    session = open_stream(net["buyer"], liar, board)
    until(lambda: board.report()["grant"] == 100)
    board.use_all(70)
    liar.trick.write_text("signs")
    end = close(net["buyer"], session)
    until(lambda: (s := status(net["buyer"], session)).get("disputed") and s)
    end = status(net["buyer"], session)
    assert end["verified"] and "refunded" in end["why"]
    said, known = end["figures"]["receipt"], end["figures"]["own"]
    assert said["refunded_msat"] > known["refunded_msat"] and said["paid_msat"] == known["paid_msat"]


def strangers_open(net, board, count):
    """A node without a channel to the seller, or money of its own, opens again and again and never pays."""
    for _ in range(count):
        session = os.urandom(16).hex()
        said = {"node_id": net["seller"].id, "msg": peer.encode(msg.Open(session, 1, board.name)).hex()}
        try:
            net["narrow"].rpc.call("sendcustommsg", said)
        except RpcError:  # lightningd keeps no connection to a peer without a channel for good
            host, port = net["seller"].address.rsplit(":", 1)
            net["narrow"].rpc.call("connect", {"id": net["seller"].id, "host": host, "port": int(port)})
            net["narrow"].rpc.call("sendcustommsg", said)


def test_strangers_who_never_pay_keep_nobody_out(net, shop):
    board = shop.add()
    for _ in range(5):
        strangers_open(net, board, STRANGERS // 5)
        session = open_stream(net["buyer"], shop, board)
        until(lambda: board.report()["grant"] > board.register)
        close(net["buyer"], session)
        until(lambda: board.state == "standby")
    strangers_open(net, board, STRANGERS)
    invoice = shop.rpc.call("meter-invoice", {"name": board.name})
    net["hop"].rpc.call("xpay", {"invstring": invoice["bolt11"]})
    until(lambda: board.report()["state"] == "delivering")
    rows = shop.rpc.call("meter-sessions", {"name": board.name, "limit": 100})["sessions"]
    assert {row["peer"] for row in rows} == {net["buyer"].id, ""}


def of(label):
    """The session that an invoice of the seller's is for."""
    match parse(label):
        case OpeningLabel(_, first):
            return first.session
        case SessionLabel(_, session, _):
            return session
    return ""


def told_ahead(net, session):
    """Unpaid invoices of a session that its seller has made and not asked for."""
    rows = net["seller"].rpc.call("listinvoices")["invoices"]
    mine = [r for r in rows if f"/s/{session}/" in r["label"] and r["status"] == "unpaid"]
    events = net["seller"].rpc.call("meter-history", {"stream": session, "limit": 1000})["events"]
    asked = {json.loads(e["data"])["number"] for e in events if e["kind"] == "invoice_asked"}
    return [r for r in mine if int(r["label"].rsplit("/", 1)[1]) not in asked]


def test_invoices_told_ahead_and_paid_while_the_plugin_was_away_count_once(net, shop):
    board = shop.add(window=4)
    session = open_stream(net["buyer"], shop, board)
    until(lambda: status(net["buyer"], session)["payments"] == 4)
    net["buyer"].rpc.call("stream-pause", [session])
    until(lambda: not status(net["buyer"], session)["in_flight_msat"])
    ahead = until(lambda: told_ahead(net, session))
    kill_plugin(net["seller"], devnet.METER)
    for row in reversed(ahead[-2:]):  # in another order than they were made
        net["hop"].rpc.call("xpay", {"invstring": row["bolt11"]})
    before = sum(int(row["amount_msat"]) for row in ahead[-2:])
    for _ in range(2):
        start_plugin(net["seller"], devnet.METER)
        board.report()
        until(lambda: board.report()["grant"] == (10_000 + before) // 100)
        kill_plugin(net["seller"], devnet.METER)
    start_plugin(net["seller"], devnet.METER)
    until(lambda: board.report()["state"] == "delivering")
    net["buyer"].rpc.call("stream-resume", [session])
    board.use_all(200)
    receipt = json.loads(close(net["buyer"], session)["receipt"])
    assert identity(receipt) and receipt["ticks"] == 200
    paid = [
        r
        for r in net["seller"].rpc.call("listinvoices")["invoices"]
        if r["status"] == "paid" and of(r["label"]) == session
    ]
    assert receipt["paid_msat"] == sum(int(r["amount_received_msat"]) for r in paid)


def test_the_allowance_is_given_once_a_period_however_often_sessions_come_and_go(net, shop):
    board = shop.add(allowance_ticks=15, allowance_period_s=3600, quantum_msat=1_000)
    before = settled(net["seller"])
    for _ in range(4):
        board.register += min(15, board.report()["grant"] - board.register)  # drawn, and not told
        session = open_stream(net["buyer"], shop, board)
        until(lambda session=session: status(net["buyer"], session)["payments"] >= 1)
        close(net["buyer"], session)
        until(lambda: board.report()["state"] == "standby")
    gained = settled(net["seller"]) - before
    assert board.register <= 15 + gained // 100


def test_a_price_cap_without_its_unit_agrees_to_nothing(net, shop):
    board = shop.add(unit="mWh", price_msat=1_000, ticks_per_unit=10)
    params = {"seller": shop.address(board), "max_price_msat": 30_000_000, "budget_msat": "5000sat"}
    error = error_of(net["buyer"].rpc, "stream-open", params)
    assert "1000/mWh" in error["message"] and error["code"] == 2113
    error = error_of(net["buyer"].rpc, "stream-open", {**params, "max_price_msat": "30000000/kWh"})
    assert "not per 'kWh'" in error["message"]
    session = net["buyer"].rpc.call("stream-open", {**params, "max_price_msat": "1sat/mWh"})["session"]
    close(net["buyer"], session)


def test_a_node_does_not_buy_from_itself(net):
    own = f"SATMETER://{net['buyer'].address}/{net['buyer'].id}/M".upper()
    params = {"seller": own, "max_price_msat": "1sat/unit", "budget_msat": "5sat"}
    assert "itself" in error_of(net["buyer"].rpc, "stream-open", params)["message"]
