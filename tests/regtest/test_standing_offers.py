"""Standing offers (BOLT 12): any wallet that knows them buys, two hops away, as often as it likes; and it survives."""

import secrets
import subprocess
import sys

import pytest
import zxingcpp
from PIL import Image
from processes import kill_plugin, start_plugin
from pyln.client import RpcError

from satmeter import devnet
from shop import balance, error_of, settled
from waiting import until


def offer_of(board, **more):
    return board.shop.rpc.call("meter-offer", {"name": board.name, **more})


def pays(node, offer, amount_msat):
    return node.rpc.call("xpay", {"invstring": offer, "amount_msat": amount_msat, "maxfee": 5_000})


def shown(board):
    return board.shop.rpc.call("meter-status", [board.name])["meters"][0]


def bearers(board):
    return [each for each in board.shop.rpc.call("meter-status", [board.name])["sessions"] if not each["buyer"]]


def test_a_wallet_two_hops_away_pays_twice_and_is_served(net, shop):
    board = shop.add()
    made = offer_of(board)
    assert made["active"] and made == offer_of(board), "one standing offer"
    assert shown(board)["offers"][0]["bolt12"] == made["bolt12"]
    fetched = net["far"].rpc.call(
        "fetchinvoice", {"offer": made["bolt12"], "amount_msat": 3_000, "payer_note": "for the kettle"}
    )
    net["far"].rpc.call("xpay", {"invstring": fetched["invoice"], "maxfee": 5_000})
    until(lambda: board.report()["grant"] == 30)
    pays(net["far"], made["bolt12"], 2_000)
    until(lambda: board.report()["grant"] == 50)
    board.use_all(25)
    board.unplug()
    session = until(lambda: next((s["session"] for s in bearers(board) if s["receipt"]), None))
    receipt = shop.receipt(session)
    assert (receipt["paid_msat"], receipt["charged_msat"], receipt["owed_msat"]) == (5_000, 2_500, 2_500)
    assert [each["note"] for each in receipt["payers"]] == ["for the kettle", ""]
    keys = [each["key"] for each in receipt["payers"]]
    assert all(len(key) == 66 for key in keys)


def test_the_rest_comes_back_by_an_offer(net, shop):
    board = shop.add()
    pays(net["far"], offer_of(board)["bolt12"], 5_000)
    until(lambda: board.report()["grant"] == 50)
    board.use_all(10)
    board.unplug()
    session = until(lambda: next((s["session"] for s in bearers(board) if s["owed_msat"]), None))
    mine = net["far"].rpc.call("offer", {"amount": "any", "description": f"mine {secrets.token_hex(3)}"})["bolt12"]
    refundable = bearers(board)[0]["refundable_msat"]
    assert refundable == 3_000
    before = settled(net["far"])
    invoice = net["seller"].rpc.call("fetchinvoice", {"offer": mine, "amount_msat": refundable})["invoice"]
    shop.rpc.call("meter-refund", {"session": session, "invoice": invoice})
    until(lambda: balance(net["far"]) == before + 3_000)
    until(lambda: shop.receipt(session)["refunded_msat"] >= 3_000)
    assert error_of(shop.rpc, "meter-refund", {"session": session, "invoice": invoice})["code"] in (2101, 2102, 2103)


def test_while_it_can_not_deliver_nobody_can_pay(net, shop):
    board = shop.add()
    made = offer_of(board)
    board.unplug()
    until(lambda: not shown(board)["offers"][0]["active"])
    with pytest.raises(RpcError):
        pays(net["buyer"], made["bolt12"], 2_000)
    board.plugged = True
    until(lambda: board.report() and shown(board)["offers"][0]["active"])
    fetched = net["buyer"].rpc.call("fetchinvoice", {"offer": made["bolt12"], "amount_msat": 2_000})["invoice"]
    board.unplug()
    with pytest.raises(RpcError):  # fetched while it could deliver, and paid when it can't
        net["buyer"].rpc.call("xpay", {"invstring": fetched, "maxfee": 5_000, "retry_for": 5})
    assert not bearers(board)


def test_an_amount_is_within_its_bounds(net, shop):
    board = shop.add()
    any_amount = offer_of(board)["bolt12"]
    fixed = offer_of(board, amount_msat="2sat")
    assert (fixed["amount_msat"], len(shown(board)["offers"])) == (2_000, 2)
    with pytest.raises(RpcError):
        pays(net["buyer"], any_amount, 10_001)
    net["buyer"].rpc.call("xpay", {"invstring": fixed["bolt12"], "maxfee": 5_000})
    until(lambda: board.report()["grant"] == 20)
    for wrong in ({"amount_msat": 10_001}, {"amount_msat": "many"}, {"active": "perhaps"}, {"amount_msat": 99}):
        assert error_of(shop.rpc, "meter-offer", {"name": board.name, **wrong})["code"] == 2101, wrong
    assert "nobody" in error_of(shop.rpc, "meter-offer", {"name": "nobody"})["message"]


def test_an_ended_one_is_not_answered_nor_one_of_a_meter_that_is_gone(net, shop):
    board = shop.add()
    made = offer_of(board)
    offer_of(board, active=False)
    until(lambda: not shown(board)["offers"][0]["active"])
    with pytest.raises(RpcError):
        pays(net["buyer"], made["bolt12"], 2_000)
    offer_of(board)
    until(lambda: shown(board)["offers"][0]["active"])
    shop.forget(board)
    shop.rpc.call("meter-remove", [board.name])
    listed = {"offer_id": made["offer_id"]}
    until(lambda: not net["seller"].rpc.call("listoffers", listed)["offers"][0]["active"])


def test_what_is_paid_while_the_plugin_is_away_is_credited_when_it_is_back(net, shop):
    board = shop.add()
    made = offer_of(board)
    kill_plugin(net["seller"], devnet.METER)
    pays(net["buyer"], made["bolt12"], 4_000)
    start_plugin(net["seller"], devnet.METER)
    until(lambda: board.tried() and bearers(board))
    assert bearers(board)[0]["paid_msat"] == 4_000 and board.report()["grant"] == 40
    assert offer_of(board)["offer_id"] == made["offer_id"]


def test_its_sticker_is_read_back(net, shop, tmp_path):
    board = shop.add()
    run = [
        sys.executable,
        "-m",
        "satmeter.cli",
        "sticker",
        board.name,
        "--rpc",
        net["seller"].lightning_dir / "lightning-rpc",
    ]
    for paper, out in (([], "one.png"), (["--mm", "80"], "one.svg"), (["--each", "6"], "sheet.pdf")):
        done = subprocess.run([*run, "--offer", "--out", tmp_path / out, *paper], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    (code,) = zxingcpp.read_barcodes(Image.open(tmp_path / "one.png"))
    assert code.text == offer_of(board)["bolt12"].upper()
    neither = subprocess.run(run, capture_output=True, text=True)
    assert neither.returncode == 1 and "--offer" in neither.stdout + neither.stderr
