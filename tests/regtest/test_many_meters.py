"""Readings of many meters in one call, and one long poll for all of them, on both kinds of node."""

import json
import secrets
import threading

import pytest

from shop import error_of
from waiting import until


@pytest.fixture
def meters(net, shop):
    names = [f"many-{secrets.token_hex(3)}" for _ in range(5)]
    for name in names:
        terms = {"price_msat": 1000, "ticks_per_unit": 100, "quantum_msat": 10_000}
        shop.rpc.call("meter-add", {"name": name, **terms})
    return names


def reading(name, register, **more):
    return {"name": name, "boot": "b1", "register": register, **more}


def test_each_reading_has_the_answer_that_it_would_have_had_alone(net, shop, meters):
    a, b, c, *_ = meters
    given = [reading(a, 5), reading("no-such-meter", 1), reading(b, -1), {"boot": "b1"}, 7, reading(c, 9, grants=1)]
    answers = shop.rpc.call("meter-reports", {"readings": [*given, reading(c, 2)]})["answers"]
    assert [each.get("error", {}).get("code") for each in answers] == [None, 2102, 2101, 2101, 2101, 2101, None]
    assert answers[0] == shop.rpc.call("meter-report", reading(a, 5))
    assert "grants: not a parameter" in answers[5]["error"]["message"]
    (back,) = shop.rpc.call("meter-reports", {"readings": [reading(a, 1)]})["answers"]
    alone = error_of(shop.rpc, "meter-report", reading(a, 1))
    assert back["error"]["code"] == alone["code"] == 2153 and back["error"]["message"] == alone["message"]
    assert shop.rpc.call("meter-reports", {"readings": []}) == {"answers": []}
    for wrong in ("text", [reading(a, 5)] * 1001, {"name": a}, 5):
        assert error_of(shop.rpc, "meter-reports", {"readings": wrong})["code"] == 2101


def test_one_long_poll_tells_of_every_meter(net, shop, meters):
    a, b, *_ = meters
    shop.rpc.call("meter-reports", {"readings": [reading(name, 0) for name in meters]})
    first = shop.rpc.call("meter-changes")
    assert set(meters) <= set(first["views"]) and not set(meters) & set(first["gone"])  # others' may be gone
    for name in (a, b):
        alone = shop.rpc.call("meter-wait", {"name": name})
        assert {**first["views"][name], "gone": False} == alone
    answers = []

    def wait():
        after = first["index"]
        while not any(a in each["views"] for each in answers):  # other tests' meters may change, too
            answers.append(net["seller"].rpc.call("meter-changes", {"lastindex": after, "timeout": 60}))
            after = answers[-1]["index"]

    waiting = threading.Thread(target=wait)
    waiting.start()
    invoice = shop.rpc.call("meter-invoice", {"name": a})
    net["buyer"].rpc.call("xpay", {"invstring": invoice["bolt11"]})
    until(lambda: shop.rpc.call("meter-report", reading(a, 0))["grant"] == 1000)
    waiting.join(60)
    assert not waiting.is_alive() and all(b not in each["views"] for each in answers)
    newest = shop.rpc.call("meter-changes", {"lastindex": 0, "timeout": 0})
    assert newest["views"][a]["grant"] == 1000

    shop.rpc.call("meter-remove", {"name": b})
    gone = shop.rpc.call("meter-changes", {"lastindex": newest["index"], "timeout": 30})
    assert b in gone["gone"] and b not in gone["views"]
    quiet = shop.rpc.call("meter-changes", {"lastindex": gone["index"], "timeout": 0})
    assert quiet["index"] >= gone["index"] and json.dumps(quiet["views"])
