"""Killed plugins and nodes, held payments, a journal that fails: the session goes on by itself, and nothing is lost."""

import json
import os
import signal
import sqlite3
import threading

from processes import kill_plugin, start_plugin

from satmeter import devnet
from satmeter.devnet import ChannelSpec, NodeSpec
from shop import Shop, close, error_of, identity, open_stream, status
from waiting import until


def trade(net, shop, during, buyer="buyer"):
    """Run a stream of 300 ticks, with something happening to it at 100; return its receipt."""
    board = shop.add(grace_s=30)
    session = open_stream(net[buyer], shop, board, max_fee_msat=3_000)
    until(lambda: board.report()["grant"] > 0)
    board.use_all(100)
    during(board, session)

    def heard():
        try:
            return board.report()
        except Exception:
            return None

    until(heard)
    board.use_all(200, timeout_s=80)
    end = close(net[buyer], session)
    receipt = json.loads(end["receipt"])
    assert end["verified"] and not end["why"], end["why"]
    assert receipt["charged_msat"] == 30_000 and receipt["ticks"] == 300 and identity(receipt)
    assert shop.receipt(session) == receipt
    return receipt


def test_the_sellers_plugin_is_killed(net, shop):
    def during(board, session):
        kill_plugin(net["seller"], devnet.METER)
        start_plugin(net["seller"], devnet.METER)

    trade(net, shop, during)


def test_the_buyers_plugin_is_killed(net, shop):
    def during(board, session):
        kill_plugin(net["buyer"], devnet.STREAM)
        start_plugin(net["buyer"], devnet.STREAM)

    trade(net, shop, during)


def test_the_sellers_node_is_killed(net, shop):
    def during(board, session):
        net["seller"].kill()
        net["seller"].start()

    trade(net, shop, during)


def test_the_buyers_node_is_killed(net, shop):
    def during(board, session):
        net["buyer"].kill()
        net["buyer"].start()

    trade(net, shop, during)


def test_a_buyer_without_a_channel_finds_the_seller_again(net, shop):
    """Its connection carries only messages: no node makes it again by itself, so the buyer's plugin does."""

    def during(board, session):
        if net.kind == "emulated":
            net["seller"].kill()
            net["seller"].start()
        else:
            # After a restart payments over the hop failed for longer than a test may wait; we take it for gossip.
            net["seller"].rpc.call("disconnect", {"id": net["far"].id, "force": True})

    trade(net, shop, during, buyer="far")


def test_a_dropped_connection_is_made_again(net, shop):
    def during(board, session):
        net["seller"].rpc.call("disconnect", {"id": net["buyer"].id, "force": True})

    trade(net, shop, during)


def test_autoclean_in_the_middle_of_a_stream(net, shop):
    """What was credited and booked may be forgotten by the nodes, also when the plugins then start anew."""

    def during(board, session):
        until(lambda: not status(net["buyer"], session)["in_flight_msat"])
        for node, subsystem in (("seller", "paidinvoices"), ("buyer", "succeededpays")):
            clean = {"subsystem": subsystem, "age": 1}
            until(lambda n=node, c=clean, s=subsystem: net[n].rpc.call("autoclean-once", c)["autoclean"][s]["cleaned"])
        for node, plugin in (("seller", devnet.METER), ("buyer", devnet.STREAM)):
            kill_plugin(net[node], plugin)
            start_plugin(net[node], plugin)

    trade(net, shop, during)


def test_a_plugin_that_is_away_loses_no_payment(net, shop):
    """CLN fails open: what is paid while the plugin is away is credited when it is back, once."""
    board = shop.add()
    invoice = shop.rpc.call("meter-invoice", {"name": board.name})
    kill_plugin(net["seller"], devnet.METER)
    net["buyer"].rpc.call("xpay", {"invstring": invoice["bolt11"]})
    for _ in range(2):
        start_plugin(net["seller"], devnet.METER)
        board.report()
        until(lambda: shop.rpc.call("meter-status", [board.name])["sessions"])
        (session,) = shop.rpc.call("meter-status", [board.name])["sessions"]
        assert session["paid_msat"] == 10_000 and session["payments"] == 1
        assert board.report()["grant"] == 100
        kill_plugin(net["seller"], devnet.METER)
    start_plugin(net["seller"], devnet.METER)


def test_an_important_plugin_takes_the_node_down_and_its_supervisor_brings_both_back(request, tmp_path):
    for kind in ("emulated", "real"):
        if kind == "real" and devnet.real_missing():
            return
        nodes = (
            NodeSpec("seller", (), {"important-plugin": str(devnet.METER)}),
            NodeSpec("buyer", (devnet.STREAM,)),
        )
        with devnet.start(kind, tmp_path / kind, nodes, (ChannelSpec("buyer", "seller"),)) as net:
            with Shop(net["seller"]) as shop:

                def during(board, session, net=net):
                    os.kill(net["seller"].plugin_pid(devnet.METER), signal.SIGKILL)
                    until(lambda: not answers(net["seller"]))
                    net["seller"].kill()
                    net["seller"].start()

                trade(net, shop, during)


def answers(node):
    try:
        return node.rpc.call("getinfo")
    except Exception:
        return None


def test_a_held_payment_blocks_nothing_and_counts_as_spent(net, shop, faults):
    seller, buyer = net["seller"].rpc, net["buyer"].rpc
    board, other = shop.add(), shop.add()
    seller.call("emulate-fault", {"hang": 1})
    session = open_stream(net["buyer"], shop, board)
    until(lambda: status(net["buyer"], session)["in_flight_msat"] == 11_000)
    second = open_stream(net["buyer"], shop, other)
    until(lambda: other.report()["grant"] == 100)
    close(net["buyer"], second)
    assert status(net["buyer"], session)["in_flight_msat"] == 11_000
    seller.call("emulate-release")
    until(lambda: board.report()["grant"] == 100)
    until(lambda: status(net["buyer"], session)["payments"] == 1)
    assert buyer.call("stream-close", [session])
    assert close(net["buyer"], session)["verified"]


def test_failing_payments_are_tried_again(net, shop, faults):
    board = shop.add()
    net["seller"].rpc.call("emulate-fault", {"fail": 2})
    session = open_stream(net["buyer"], shop, board)
    until(lambda: board.report()["grant"] == 100)
    until(lambda: status(net["buyer"], session)["payments"] == 1)
    close(net["buyer"], session)


def test_a_payment_that_settles_late_is_refunded(net, shop, faults):
    board = shop.add()
    net["seller"].rpc.call("emulate-fault", {"hang": 1})
    session = open_stream(net["buyer"], shop, board)
    until(lambda: status(net["buyer"], session)["in_flight_msat"] > 0)
    net["buyer"].rpc.call("stream-close", [session])
    until(lambda: net["seller"].rpc.call("emulate-release").get("released", 1))  # once it hangs
    end = until(lambda: (s := status(net["buyer"], session))["state"] == "closed" and not s["in_flight_msat"] and s)
    receipt = shop.receipt(session)
    assert identity(receipt) and receipt["charged_msat"] == 0 and end


def test_a_journal_that_is_locked_grants_nothing_and_mends_itself(net, shop):
    board = shop.add()
    invoice = shop.rpc.call("meter-invoice", {"name": board.name})
    path = net["seller"].lightning_dir / "satmeter-meter.sqlite3"
    with sqlite3.connect(path, isolation_level=None) as lock:
        lock.execute("BEGIN IMMEDIATE")
        error = error_of(shop.rpc, "meter-invoice", {"name": board.name})
        assert "JournalTrouble" in error["message"] and "locked" in error["message"]
        assert error_of(net["buyer"].rpc, "xpay", {"invstring": invoice["bolt11"]})["code"] == 203
        lock.execute("ROLLBACK")

    assert until(board.tried)["grant"] == 0
    net["buyer"].rpc.call("xpay", {"invstring": invoice["bolt11"]})
    until(lambda: board.report()["grant"] == 100)


NEWEST = "WHERE upto = (SELECT max(upto) FROM satmeter_snapshot)"


def test_a_journal_that_knows_more_payments_than_its_node_is_refused(net, shop):
    """The node's database was rolled back, or the journal is another's: crediting from it would go wrong."""
    board = shop.add()
    path = net["seller"].lightning_dir / "satmeter-meter.sqlite3"
    net["seller"].rpc.call("plugin", ["stop", devnet.METER.name])
    with sqlite3.connect(path) as db:
        (state,) = db.execute(f"SELECT state FROM satmeter_snapshot {NEWEST}").fetchone()
        db.execute(
            f"UPDATE satmeter_snapshot SET state=? {NEWEST}", [json.dumps({**json.loads(state), "pay_index": 10**9})]
        )
    start_plugin(net["seller"], devnet.METER)
    error = error_of(shop.rpc, "meter-status", {})
    assert "JournalTrouble" in error["message"] and "index 1000000000" in error["message"]
    kill_plugin(net["seller"], devnet.METER)
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE satmeter_snapshot SET state=? {NEWEST}", [state])
    start_plugin(net["seller"], devnet.METER)
    assert board.report()["state"] == "standby"


def test_many_at_once_while_the_plugin_is_killed(net, shop):
    boards = [shop.add(grace_s=30) for _ in range(3)]
    sessions = [open_stream(net["buyer"], shop, b, max_fee_msat=3_000) for b in boards]
    workers = [threading.Thread(target=persistently, args=(b, 100)) for b in boards]
    for w in workers:
        w.start()
    kill_plugin(net["seller"], devnet.METER)
    start_plugin(net["seller"], devnet.METER)
    for w in workers:
        w.join(80)
    for board, session in zip(boards, sessions):
        assert board.register == 100
        receipt = json.loads(close(net["buyer"], session)["receipt"])
        assert receipt["charged_msat"] == 10_000 and identity(receipt)


def persistently(board, ticks):
    goal = board.register + ticks

    def step():
        try:
            board.use(min(10, goal - board.register))
        except Exception:
            return False
        return board.register == goal

    until(step, 80)
