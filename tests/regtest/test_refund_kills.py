"""What a plain wallet left comes back once, whatever is killed between the wish and the payment."""

import random
import threading

import pytest
from processes import kill_plugin, start_plugin

from satmeter import devnet
from shop import error_of, identity, settled
from waiting import until


def left(net, shop, board):
    """A wallet has paid, used a part and unplugged; returns its session, in which something is owed."""
    invoice = shop.rpc.call("meter-invoice", {"name": board.name})
    net["buyer"].rpc.call("xpay", {"invstring": invoice["bolt11"], "maxfee": 5_000})
    until(lambda: board.report()["grant"] > board.register)
    board.use_all(30)
    board.unplug()
    session = invoice["session"]

    def owed():
        rows = shop.rpc.call("meter-status", [board.name])["sessions"]
        return next((row["owed_msat"] for row in rows if row["session"] == session), 0)

    assert until(owed) == 7_000
    return session


def mine(net, label, amount="any"):
    params = {"amount_msat": amount, "label": label, "description": "back"}
    return net["buyer"].rpc.call("invoice", params)["bolt11"]


@pytest.mark.parametrize("seed", range(6))
def test_kills_between_the_wish_and_the_payment_pay_it_once(net, shop, seed):
    board = shop.add()
    session, before = left(net, shop, board), settled(net["buyer"])
    invoice = mine(net, f"kill {session}")
    after_s = random.Random(seed).random() * 0.15
    threading.Timer(after_s, kill_plugin, (net["seller"], devnet.METER)).start()
    try:
        shop.rpc.call("meter-refund", {"session": session, "invoice": invoice})
    except Exception:
        pass  # it was killed before it could answer
    until(lambda: not alive(net))
    start_plugin(net["seller"], devnet.METER)

    def back():
        # Killed before it was recorded, it was not asked for: then it is asked for again, by the same invoice.
        try:
            shop.rpc.call("meter-refund", {"session": session, "invoice": invoice})
        except Exception:
            pass
        return shop.receipt(session)["owed_msat"] == 0

    until(back)
    receipt = shop.receipt(session)
    assert identity(receipt) and receipt["refunded_msat"] == 7_000
    until(lambda: settled(net["buyer"]) == before + 7_000)
    again = {"session": session, "invoice": mine(net, f"again {session}")}
    assert "owes nothing" in error_of(shop.rpc, "meter-refund", again)["message"] or not live(shop, session)
    assert settled(net["buyer"]) == before + 7_000


def alive(net):
    try:
        net["seller"].plugin_pid(devnet.METER)
    except ProcessLookupError:
        return False
    return True


def live(shop, session):
    return any(row["session"] == session for row in shop.rpc.call("meter-status")["sessions"])


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"session": "0" * 32, "invoice": "x"}, "invoice: "),
        ({"session": "0" * 32}, "invoice"),
        ({"session": "0" * 32, "invoice": ""}, "invoice: must be"),
        ({"session": 7, "invoice": "lnbcrt1" + "q" * 9_000}, "invoice: must be"),
    ],
)
def test_bad_input_is_refused_in_words(net, shop, params, words):
    error = error_of(shop.rpc, "meter-refund", params)
    assert words in error["message"] and error["code"] in (2101, -32602)
