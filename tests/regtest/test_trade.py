"""The main job on nodes: selling and buying, in every state and both modes."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shop import DEADLINE_S, Shop, balance, close, error_of, identity, open_stream, settled, status
from waiting import until


def test_one_invoice_for_any_wallet(net, shop):
    board = shop.add()
    before = settled(net["seller"])
    invoice = shop.rpc.call("meter-invoice", {"name": board.name})
    assert board.report()["grant"] == 0
    net["hop"].rpc.call("xpay", {"invstring": invoice["bolt11"]})  # a wallet with no plugin of ours
    until(lambda: board.report()["grant"] == 100)
    assert board.view["state"] == "delivering" and board.view["lamp"] == "on"
    board.use(500)
    assert board.register == 100 and board.state == "suspended"
    until(lambda: board.state == "standby")
    receipt = shop.receipt(invoice["session"])
    assert (receipt["ticks"], receipt["charged_msat"], receipt["paid_msat"]) == (100, 10_000, 10_000)
    assert identity(receipt) and settled(net["seller"]) - before == 10_000


def test_a_stream_with_refund_and_the_same_receipt_on_both_sides(net, shop):
    board = shop.add()
    before = settled(net["seller"])
    session = open_stream(net["buyer"], shop, board)
    until(lambda: board.report()["grant"] > 0)
    board.use_all(437)
    end = close(net["buyer"], session)
    mine, theirs = json.loads(end["receipt"]), shop.receipt(session)
    assert mine == theirs and end["verified"] and not end["why"]
    assert (mine["ticks"], mine["charged_msat"], mine["owed_msat"]) == (437, 43_700, 0)
    assert mine["paid_msat"] == end["paid_msat"] and mine["refunded_msat"] > 0 and identity(mine)
    assert settled(net["seller"]) - before == 43_700
    answer = net["hop"].rpc.call(
        "checkmessage", {"message": end["receipt"], "zbase": end["signature"], "pubkey": net["seller"].id}
    )
    assert answer["verified"]


def test_delivery_does_not_blink_while_the_buyer_keeps_paying(net, shop):
    board = shop.add()
    session = open_stream(net["buyer"], shop, board)
    until(lambda: board.report()["grant"] > 0)
    states = set()
    for _ in range(60):
        before = status(net["buyer"], session)["payments"]
        states.add(board.use(8)["state"])
        if board.view["grant"] - board.register < 25:  # under the low water an invoice is out: wait for its payment
            until(lambda before=before: status(net["buyer"], session)["payments"] > before)
            until(lambda: board.report()["grant"] - board.register >= 25)
    assert states == {"delivering"} and board.register == 480
    close(net["buyer"], session)


def test_a_window_of_four(net, shop):
    board = shop.add(window=4)
    session = open_stream(net["buyer"], shop, board)
    until(lambda: board.report()["grant"] == 100)
    until(lambda: status(net["buyer"], session)["payments"] == 4)
    board.use_all(200)
    exposure = status(net["buyer"], session)
    assert exposure["exposure_msat"] <= exposure["exposure_bound_msat"]
    receipt = json.loads(close(net["buyer"], session)["receipt"])
    assert receipt["payments"] >= 8 and receipt["charged_msat"] == 20_000
    assert receipt["paid_msat"] <= receipt["payments"] * 2_500


def test_arrears(net, shop):
    board = shop.add(mode="arrears", limit_msat=20_000, window=4)
    before = settled(net["seller"])
    session = open_stream(net["buyer"], shop, board)
    until(lambda: board.report()["grant"] == 200)
    board.use_all(333)
    close(net["buyer"], session)
    # What was used last may still be owed when the session closes; the receipt of the payment follows.
    until(lambda: json.loads(status(net["buyer"], session)["receipt"])["debt_msat"] == 0)
    receipt = json.loads(status(net["buyer"], session)["receipt"])
    assert (receipt["charged_msat"], receipt["paid_msat"]) == (33_300, 33_300)
    assert settled(net["seller"]) - before == 33_300


def test_the_standby_allowance_is_free_and_negotiating_with_it_used_locks(net, shop):
    board = shop.add(allowance_ticks=30)
    assert board.report()["grant"] == 30
    session = open_stream(net["buyer"], shop, board)
    net["buyer"].rpc.call("stream-pause", [session])

    def locked():
        if board.state == "delivering":  # paid before it was paused, or by a payment that was on its way then
            board.use(100)
        elif board.state == "standby":
            board.use(30)  # the allowance, while its first payment is asked for
        return board.state == "lockout"

    until(locked)
    assert board.view["grant"] == 0 and board.view["lamp"] == "fast"
    until(lambda: board.state == "standby")


def test_non_payment_locks_out_buyer_and_plug(net, shop):
    board = shop.add()
    session = open_stream(net["buyer"], shop, board)
    until(lambda: board.report()["grant"] > 0)
    net["buyer"].rpc.call("stream-pause", [session])
    granted = board.report()["grant"]
    board.use(1000)
    assert board.register == granted and board.view["state"] == "suspended"
    until(lambda: board.state == "lockout")
    other = {"seller": shop.address(board), "max_price_msat": "1000/unit", "budget_msat": 100_000}
    assert "LockedOut" in error_of(net["far"].rpc, "stream-open", other)["message"]  # another node, the same plug
    shop.rpc.call("meter-unlock", [board.name])
    assert board.state == "standby"
    assert "not locked" in error_of(shop.rpc, "meter-unlock", [board.name])["message"]


def test_unplug_ends_the_session_and_refunds(net, shop):
    board = shop.add()
    session = open_stream(net["buyer"], shop, board)
    until(lambda: board.report()["grant"] > 0)
    board.use_all(42)
    board.unplug()
    end = until(lambda: (s := status(net["buyer"], session))["state"] == "closed" and s)
    receipt = json.loads(end["receipt"])
    assert receipt["reason"] == "unplugged" and receipt["charged_msat"] == 4_200 and receipt["owed_msat"] == 0


def test_the_seller_closes(net, shop):
    board = shop.add()
    session = open_stream(net["buyer"], shop, board)
    until(lambda: board.report()["grant"] > 0)
    shop.rpc.call("meter-close", [board.name])
    end = until(lambda: (s := status(net["buyer"], session))["state"] == "closed" and s)
    assert json.loads(end["receipt"])["refunded_msat"] == 10_000


def test_the_budget_ends_the_stream(net, shop):
    board = shop.add()
    session = open_stream(net["buyer"], shop, board, budget_msat=25_000, max_fee_msat=0)
    until(lambda: board.report()["grant"] > 0)

    def use():
        board.use(10)
        return status(net["buyer"], session)["state"] == "closed"

    until(use)
    end = status(net["buyer"], session)
    receipt = json.loads(end["receipt"])
    assert receipt["paid_msat"] <= 25_000 and "budget" in end["reason"] and identity(receipt)


def test_a_buyer_two_hops_away(net, shop):
    """Custom messages go over a direct connection, the payments through the hop, the refund back through it."""
    board = shop.add(quantum_msat=50_000)
    session = open_stream(net["far"], shop, board, max_fee_msat=2_000)
    until(lambda: board.report()["grant"] > 0)
    board.use_all(700)
    end = close(net["far"], session)
    receipt = json.loads(end["receipt"])
    assert receipt["charged_msat"] == 70_000 and receipt["owed_msat"] == 0 and end["verified"]
    assert net["far"].rpc.call("listpeerchannels", {"id": net["seller"].id})["channels"] == []
    assert end.get("fees_msat", 1) > 0


def test_many_meters_and_buyers_on_one_seller_and_one_buyer_on_many_sellers(net, shop):
    with Shop(net["hop"]) as other:
        trades = [(net["buyer"], shop, shop.add()), (net["far"], shop, shop.add()), (net["buyer"], other, other.add())]
        trades += [(net["buyer"], shop, shop.add(window=2))]
        sessions = [open_stream(buyer, place, board, max_fee_msat=3_000) for buyer, place, board in trades]
        workers = [threading.Thread(target=board.use_all, args=(150,)) for _, _, board in trades]
        for w in workers:
            w.start()
        for w in workers:
            w.join(DEADLINE_S)
        for (buyer, _, _), session in zip(trades, sessions):
            receipt = json.loads(close(buyer, session)["receipt"])
            assert receipt["charged_msat"] == 15_000 and identity(receipt)


def test_a_full_channel_serves_everybody_in_turn(net, shop):
    """Six streams over a channel that takes two payments at once: all get on, and no payment is given up."""
    boards = [shop.add() for _ in range(6)]
    sessions = [open_stream(net["narrow"], shop, board) for board in boards]
    with ThreadPoolExecutor(len(boards)) as pool:
        list(pool.map(lambda board: board.use_all(400), boards))
    streams = [status(net["narrow"], session) for session in sessions]
    assert all(s["payments"] >= 4 and not s["why"] and not s["trouble"] for s in streams), streams
    receipts = [close(net["narrow"], session) for session in sessions]
    assert all(r["verified"] for r in receipts)
    assert all(shop.receipt(session)["ticks"] == 400 for session in sessions)


def test_a_taken_meter_is_refused_and_nothing_is_reserved(net, shop):
    board = shop.add()
    session = open_stream(net["buyer"], shop, board)
    until(lambda: board.report()["grant"] > 0)  # the first payment takes the meter
    params = {"seller": shop.address(board), "max_price_msat": "1000/unit", "budget_msat": 100_000}
    before = balance(net["far"])
    assert "MeterTaken" in error_of(net["far"].rpc, "stream-open", params)["message"]
    assert balance(net["far"]) == before
    close(net["buyer"], session)


def test_what_the_channel_can_not_carry_yet_stays_owed_and_is_credit_next_time(net):
    """Below the reserve a seller can't pay back; what it owes opens the buyer's next session without a payment."""
    with Shop(net["poor"]) as shop:
        board = shop.add()
        session = open_stream(net["buyer"], shop, board)
        until(lambda: board.report()["grant"] > 0)
        board.use_all(30)
        end = close(net["buyer"], session)
        receipt = json.loads(end["receipt"])
        assert (receipt["owed_msat"], receipt["refunded_msat"]) == (7_000, 0) and identity(receipt)
        owing = next(s for s in shop.rpc.call("meter-status")["sessions"] if s["session"] == session)
        assert owing["owed_msat"] == 7_000 and owing["owed_why"]
        second = open_stream(net["buyer"], shop, board)
        until(lambda: board.report()["grant"] >= board.register + 70)
        assert status(net["buyer"], second)["carried_msat"] == 7_000
        assert shop.receipt(session)["refunded_msat"] == 7_000
        board.use_all(70)
        end = close(net["buyer"], second)
        assert json.loads(end["receipt"])["carried_in_msat"] == 7_000 and identity(json.loads(end["receipt"]))


def test_an_overpayment_counts_in_full(net, shop):
    board = shop.add()
    invoice = shop.rpc.call("meter-invoice", {"name": board.name, "amount_msat": 5_000})
    decoded = net["buyer"].rpc.call("decode", {"string": invoice["bolt11"]})
    channel = net["buyer"].rpc.call("listpeerchannels", {"id": net["seller"].id})["channels"][0]["short_channel_id"]
    route = [{"id": net["seller"].id, "channel": channel, "delay": 20, "amount_msat": 9_999}]
    paid = {"payment_hash": decoded["payment_hash"], "payment_secret": decoded["payment_secret"]}
    net["buyer"].rpc.call("sendpay", {"route": route, "bolt11": invoice["bolt11"], **paid})
    net["buyer"].rpc.call("waitsendpay", {"payment_hash": decoded["payment_hash"], "timeout": 30})
    until(lambda: board.report()["grant"] == 99)
    session = next(s for s in shop.rpc.call("meter-status", [board.name])["sessions"] if s["phase"] == "open")
    assert session["paid_msat"] == 9_999


def test_the_hook_rejects_a_payment_that_can_not_be_delivered(net, shop):
    board = shop.add()
    invoice = shop.rpc.call("meter-invoice", {"name": board.name})
    shop.forget(board)
    until(lambda: shop.rpc.call("meter-status", [board.name])["meters"][0]["board"] == "silent")
    error = error_of(net["buyer"].rpc, "xpay", {"invstring": invoice["bolt11"]})
    assert error["code"] == 203
    own = shop.rpc.call("invoice", {"amount_msat": 1000, "label": f"own-{board.name}", "description": "x"})
    net["buyer"].rpc.call("xpay", {"invstring": own["bolt11"]})  # labels of others pass
    board.report()
    net["buyer"].rpc.call("xpay", {"invstring": invoice["bolt11"]})  # the invoice stayed payable
    assert until(lambda: board.report()["grant"] == 100)


def test_a_gate_spends_the_credit_of_a_session(net, shop):
    board = shop.add()
    session = open_stream(net["buyer"], shop, board, max_spend_msat=10_000)
    until(lambda: board.report()["grant"] == 100)
    held = shop.rpc.call("meter-spend", {"session": session, "id": "g1", "step": "reserve", "amount_msat": 4_000})
    assert held["credit_msat"] == 6_000 and board.report()["grant"] == 60
    assert "NoCredit" in error_of(shop.rpc, "meter-spend", [session, "g2", "reserve", 6_001])["message"]
    spent = shop.rpc.call("meter-spend", [session, "g1", "settle"])
    assert spent["spent_msat"] == 4_000
    receipt = json.loads(close(net["buyer"], session)["receipt"])
    assert receipt["charged_msat"] == receipt["spent_msat"] == 4_000 and identity(receipt)


def test_the_buyers_own_sensor_stops_a_seller_that_counts_too_much(net, shop):
    board = shop.add()
    session = open_stream(net["buyer"], shop, board, tolerance_ticks=10)
    until(lambda: board.report()["grant"] == 100)
    net["buyer"].rpc.call("stream-report", [session, "s1", 0])

    def closed():  # after a quantum, 100 ticks, which may have run before the sensor was first heard
        board.use(20)
        return status(net["buyer"], session)["state"] == "closed"

    until(closed)
    refusals = status(net["buyer"], session)
    assert "refused" in refusals["reason"] and "own sensor" in refusals["reason"]

    def gone():
        return session not in [s["session"] for s in net["buyer"].rpc.call("stream-list")["streams"]]

    until(gone)
    kept = status(net["buyer"], session)["refusals"]  # the evidence outlives the stream
    assert "own sensor" in kept[0]["why"] and kept[0]["evidence"]["own_ticks"] == 100


def test_history_export_and_sessions_are_paged(net, shop):
    board = shop.add()
    session = open_stream(net["buyer"], shop, board)
    until(lambda: board.report()["grant"] > 0)
    close(net["buyer"], session)
    first = shop.rpc.call("meter-history", {"stream": session, "limit": 3})["events"]
    rest = shop.rpc.call("meter-history", {"stream": session, "after": first[-1]["id"]})["events"]
    kinds = [e["kind"] for e in first + rest]
    assert kinds[:2] == ["session_opened", "invoice_asked"] and "receipt_signed" in kinds
    csv = shop.rpc.call("meter-export", {"name": board.name})["csv"].splitlines()
    assert csv[0].startswith("id,meter,peer") and csv[1].startswith(session)
    (total,) = shop.rpc.call("meter-totals", {"name": board.name, "by": "day"})["totals"]
    receipt = shop.receipt(session)
    assert (total["sessions"], total["charged_msat"]) == (1, receipt["charged_msat"])
    assert total["refunded_msat"] == receipt["refunded_msat"] > 0
    opened_at = receipt["opened_at"]
    assert shop.rpc.call("meter-export", {"name": board.name, "since": opened_at, "limit": 1})["next"] == opened_at
    assert not shop.rpc.call("meter-sessions", {"name": board.name, "since": opened_at + 1})["sessions"]
    assert error_of(shop.rpc, "meter-totals", {"by": "week"})["code"] == 2101
    receipts = net["buyer"].rpc.call("stream-receipts", {"limit": 5})["receipts"]
    assert any(r["id"] == session and r["signature"] for r in receipts)


def test_meter_wait_is_indexed_like_waitanyinvoice(net, shop):
    board = shop.add()
    now = shop.rpc.call("meter-wait", {"name": board.name})
    assert now["grant"] == 0 and now["index"] > 0
    again = shop.rpc.call("meter-wait", {"name": board.name, "lastindex": now["index"], "timeout": 0})
    assert again["index"] == now["index"]
    answers = []
    waiter = threading.Thread(
        target=lambda: answers.append(
            net["seller"].rpc.call("meter-wait", {"name": board.name, "lastindex": now["index"], "timeout": 30})
        )
    )
    waiter.start()
    session = open_stream(net["buyer"], shop, board)
    waiter.join(30)
    assert answers[0]["index"] > now["index"] and answers[0]["state"] in ("negotiating", "delivering")
    close(net["buyer"], session)


def test_notification_topics_tell_of_low_credit_states_and_closed_sessions(net, shop):
    listener = Path(__file__).parent / "listener.py"
    shop.rpc.call("plugin", ["start", str(listener)])
    heard = net["seller"].lightning_dir / "heard.jsonl"
    try:
        board = shop.add()
        session = open_stream(net["buyer"], shop, board)
        until(lambda: board.report()["grant"] > 0)
        board.use_all(90)
        close(net["buyer"], session)

        def all_of_it():
            lines = [json.loads(line) for line in heard.read_text().splitlines()] if heard.exists() else []
            mine = [line for line in lines if line["payload"].get("meter") == board.name]
            return mine if any(line["topic"] == "meter_closed" for line in mine) else None

        mine = until(all_of_it)
        states = [line["payload"]["state"] for line in mine if line["topic"] == "meter_state"]
        assert states[:2] == ["negotiating", "delivering"] and states[-1] == "standby"
        assert any(line["topic"] == "meter_low" and line["payload"]["credit_msat"] < 2_500 for line in mine)
        (closed,) = [line["payload"] for line in mine if line["topic"] == "meter_closed"]
        assert closed["session"] == session and json.loads(closed["receipt"])["charged_msat"] == 9_000
    finally:
        shop.rpc.call("plugin", ["stop", listener.name])
