"""Two hubs, each on its node: their users pay one another, and the hubs settle over their channels."""

import httpx
import pytest

from services import MARKET, Service, Visitor, books
from waiting import until


@pytest.fixture(scope="module")
def hubs(net):
    running = {n: Service(net.directory / f"hub-{n}", net[n], **MARKET) for n in ("seller", "hop")}
    yield running
    for hub in running.values():
        hub.stop()


@pytest.fixture(scope="module")
def ann(net, hubs):
    return Visitor(hubs["seller"], "ann", net)


@pytest.fixture(scope="module")
def ben(net, hubs):
    return Visitor(hubs["hop"], "ben", net)


def received(node):
    """What came in over a node's invoices, in all."""
    invoices = node.rpc.call("listinvoices")["invoices"]
    return sum(int(i["amount_received_msat"]) for i in invoices if i["status"] == "paid")


def test_a_user_of_one_hub_pays_a_user_of_the_other(net, hubs, ann, ben):
    ann.fund(100_000)
    before, owed = received(net["hop"]), books(hubs["hop"]).get("users", 0)
    sent = ann.post("/account/send", to=ben.get("/account")["address"], msatoshi=30_000, once="a")
    assert sent["status"] == "paid" and sent["fee"] == 300 and sent["routing"] == 0  # there is a channel between them
    until(lambda: ben.balance == 30_000)  # the other hub counts it once its node tells
    assert ann.balance == 100_000 - 30_000 - 300
    assert received(net["hop"]) - before == 30_000 == books(hubs["hop"])["users"] - owed
    # Sent again with the same key, it is the same payment.
    ann.post("/account/send", to=ben.get("/account")["address"], msatoshi=30_000, once="a")
    assert received(net["hop"]) - before == 30_000 and ann.balance == 69_700
    assert sum(books(hubs["seller"]).values()) == sum(books(hubs["hop"]).values()) == 0


def test_a_wallet_in_a_browser_may_read_an_address(net, hubs, ben):
    for name in ("ben", "nobody-here"):
        answer = httpx.get(f"{hubs['hop'].url}/.well-known/lnurlp/{name}", headers={"Origin": "https://wallet.example"})
        assert answer.headers["access-control-allow-origin"] == "*", answer.text


def test_an_order_at_one_hub_is_paid_from_an_account_at_the_other(net, hubs, ann, ben):
    """Nobody needs a wallet, nor an account at the hub where they buy more than a token's place."""
    ann.fund(50_000)
    sue, buyer = Visitor(hubs["hop"], "sue", net), Visitor(hubs["hop"], "buyer", net)
    offer = sue.publish("radar", 10_000, f"{hubs['hop'].url}/health")
    order = buyer.buy(offer)
    had = ann.balance
    sent = ann.post("/account/send", to=order["payreq"])
    assert sent["status"] == "paid" and ann.balance == had - 10_000 - 100
    until(lambda: buyer.get(f"/checkout/{order['id']}")["status"] == "paid")
    assert sue.balance == 9_900
    assert buyer.get("/dashboard")["purchases"][0]["left"] == 1


def test_the_other_hub_is_not_there(net, hubs, ann, ben):
    address = ben.get("/account")["address"]
    had = ann.balance
    hubs["hop"].stop()
    try:
        ann.post("/account/send", status=400, to=address, msatoshi=5_000)
    finally:
        hubs["hop"].start()
    assert ann.balance == had
    assert ann.post("/account/send", to=address, msatoshi=5_000)["status"] == "paid"
