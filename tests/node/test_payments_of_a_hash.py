"""Paying an invoice once, against a node of a few lines; real nodes are tried by regtest/test_payments.py."""

import threading
import time

import pytest
from pyln.client import RpcError

from satmeter.core.errors import NodeTrouble
from satmeter.node import payments as module
from satmeter.node.payments import LastHop, Outcome, Payments
from waiting import until

PAYEE, HASH = "02" + "aa" * 32, "11" * 32
PAID = {"status": "complete", "amount_sent_msat": 5_010, "amount_msat": 5_000}


class Node:
    """Has no channel with the payee, so that all is xpay's. There is no room for a payment while `full`."""

    def __init__(self):
        self.full, self.parts, self.tries = False, [], 0
        self.answer = {"successful_parts": 1, "amount_sent_msat": 5_010, "amount_msat": 5_000}

    def call(self, method, **params):
        if method == "listsendpays":
            return {"payments": list(self.parts)}
        if method == "listpeerchannels":
            return {"channels": []}
        assert method == "xpay", method
        self.tries += 1
        if self.full:
            raise RpcError("xpay", params, {"code": 205, "message": "Too many HTLCs"})
        self.parts.append({**PAID, "created_at": int(time.time())})
        if isinstance(self.answer, RpcError):
            raise self.answer
        return self.answer


@pytest.fixture
def node(monkeypatch):
    monkeypatch.setattr(module, "BEGUN_S", 0)
    return Node()


def test_who_asks_again_waits_for_the_payment_that_waits_for_room(node):
    """A core that was folded again asks what became of a payment that one of our threads has still to begin."""
    payments, found = Payments(node), {}
    node.full = True

    def ask(name, bolt11, fresh):
        found[name] = payments.pay(PAYEE, bolt11, HASH, 0, 100, fresh=fresh)

    first = threading.Thread(target=ask, args=("first", "lnbc1", True))
    first.start()
    until(lambda: node.tries)
    second = threading.Thread(target=ask, args=("second", "", False))
    second.start()
    second.join(0.3)
    assert second.is_alive() and not found
    node.full = False
    first.join(10)
    second.join(10)
    assert {outcome for outcome, _ in found.values()} == {Outcome("complete", 5_010, 5_000)}


def test_a_payment_that_nobody_begins_was_not_begun(node):
    assert Payments(node).pay(PAYEE, "", HASH, 0, 100) == (Outcome("none"), "the payment was not begun")


@pytest.mark.parametrize("parts", [1, 2])
def test_a_date_that_is_set_back_while_it_pays_makes_it_nobody_elses(node, monkeypatch, parts):
    moved = [0.0]
    monkeypatch.setattr(module.time, "time", lambda: 1_790_000_000.0 + moved[0])
    if parts == 1:
        node.answer = RpcError("xpay", {}, {"code": -1, "message": "something else"})
    else:
        node.answer = {**node.answer, "successful_parts": 2}
    answer = node.call

    def call(method, **params):
        if method == "xpay":
            moved[0] = -3_600.0
        return answer(method, **params)

    monkeypatch.setattr(node, "call", call)
    outcome, _ = Payments(node).pay(PAYEE, "lnbc1", HASH, 0, 100, fresh=True)
    assert outcome == Outcome("complete", 5_010, 5_000)


def test_what_was_paid_before_is_known_by_its_time(node):
    node.parts = [{**PAID, "created_at": int(time.time()) - 60}]
    node.answer = RpcError("xpay", {}, {"code": -1, "message": "no route"})
    outcome, _ = Payments(node).pay(PAYEE, "lnbc1", HASH, 0, 100, fresh=True)
    assert outcome.status == "known"


def test_while_a_payment_is_tried_again_nobody_says_that_it_was_not_begun(node):
    """The node was away for a moment: who has the invoice asks once more, and meanwhile the outcome is not known."""
    payments, away = Payments(node), [True]
    answer = node.call

    def call(method, **params):
        if away[0] and method == "xpay":
            raise NodeTrouble("away")
        return answer(method, **params)

    node.call = call
    with pytest.raises(NodeTrouble):
        payments.pay(PAYEE, "lnbc1", HASH, 0, 100, fresh=True)
    with pytest.raises(NodeTrouble, match="tried again"):
        payments.pay(PAYEE, "", HASH, 0, 100)
    away[0] = False
    assert payments.pay(PAYEE, "lnbc1", HASH, 0, 100)[0].status == "complete"
    assert payments.pay(PAYEE, "", HASH, 0, 100)[0] == Outcome("complete", 5_010, 5_000)


def test_what_was_asked_for_before_may_begin_late(node, monkeypatch):
    """xpay looks for a way for some seconds, and goes on after who asked for it has died."""
    monkeypatch.setattr(module, "BEGUN_S", 60)
    payments, asked = Payments(node), []
    answer = node.call

    def call(method, **params):
        if method == "listsendpays":
            asked.append(1)
            if len(asked) == 3:
                node.parts = [{**PAID, "created_at": int(time.time())}]
        return answer(method, **params)

    monkeypatch.setattr(node, "call", call)
    outcome, _ = payments.pay(PAYEE, "", HASH, 0, 100)
    assert outcome == Outcome("complete", 5_010, 5_000) and node.tries == 0


@pytest.mark.parametrize("known", ["failed", None])
def test_what_is_asked_for_the_first_time_waits_for_nothing(node, monkeypatch, known):
    monkeypatch.setattr(module, "BEGUN_S", 3_600)
    node.parts = [{"status": known, "created_at": 1}] if known else []
    outcome, _ = Payments(node).pay(PAYEE, "lnbc1", HASH, 0, 100, again=False)
    assert outcome.status == "complete" and node.tries == 1


def test_the_node_stops_to_look_for_a_way_before_nothing_more_is_expected(node, monkeypatch):
    told, answer = [], node.call
    monkeypatch.setattr(
        node, "call", lambda method, **params: told.append((method, params)) or answer(method, **params)
    )
    Payments(node).pay(PAYEE, "lnbc1", HASH, 0, 100, fresh=True)
    (params,) = [params for method, params in told if method == "xpay"]
    monkeypatch.undo()
    assert 0 < params["retry_for"] < module.BEGUN_S


def test_a_node_that_started_with_us_begins_nothing_late(node, monkeypatch):
    monkeypatch.setattr(module, "BEGUN_S", 3_600)
    assert Payments(node, node_was_there=False).pay(PAYEE, "", HASH, 0, 100)[0] == Outcome("none")


@pytest.mark.parametrize(("code", "asked"), [(203, ["sendpay"]), (204, ["sendpay", "xpay"])])
def test_what_the_payee_itself_refuses_is_not_tried_another_way(node, code, asked):
    """203: the HTLC reached the payee, which said no; 204: it failed before that."""
    channel = {
        **{"state": "CHANNELD_NORMAL", "peer_connected": True, "short_channel_id": "1x1x1", "spendable_msat": 9_000},
        **{"minimum_htlc_out_msat": 0, "maximum_htlc_out_msat": 9_000},
    }
    answer, tried = node.call, []

    def call(method, **params):
        if method in ("sendpay", "xpay"):
            tried.append(method)
        if method == "listpeerchannels":
            return {"channels": [channel]}
        if method == "sendpay":
            return {"status": "pending"}
        if method == "waitsendpay":
            raise RpcError(method, params, {"code": code, "message": "failed"})
        return answer(method, **params)

    node.call = call
    last = LastHop(5_000, "22" * 32, 18)
    outcome, _ = Payments(node).pay(PAYEE, "lnbc1", HASH, 0, 100, fresh=True, last=last)
    assert tried == asked and outcome.status == ("none" if code == 203 else "complete")
