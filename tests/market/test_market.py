"""Accounts and market over HTTP, on both kinds of node: who pays what, who gets it, and who may do what."""

import json
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pyln.client import RpcError

from satmeter.node.payments import PAY_REJECTED
from services import MARKET, Service, books, stranger
from waiting import until

PRICE = 10_000
FEE = 100
"""The hub's hundredth of it, as docs/billing.md says."""


@pytest.fixture(scope="module")
def hub(net):
    running = Service(net.directory / "market", net["seller"], **MARKET)
    yield running
    running.stop()


def test_funds_come_in_and_go_out_and_the_books_agree(net, hub, visitor):
    ann = visitor("ann")
    ann.fund(200_000)
    bought = net["hop"].rpc.call("invoice", [50_000, f"out{ann.name}", "withdrawn"])
    quote = ann.post("/account/quote", to=bought["bolt11"])["quote"]
    assert quote["fee"] == 500 and quote["held"] == 50_000 + 500 + quote["maxfee"]
    sent = ann.post("/account/send", to=bought["bolt11"], once="n1")
    assert sent["status"] == "paid" and sent["fee"] == 500
    assert ann.balance == 200_000 - 50_000 - 500 - sent["routing"]
    again = ann.post("/account/send", to=bought["bolt11"], once="n1")
    assert again["status"] == "paid" and ann.balance == 200_000 - 50_500 - sent["routing"]
    assert net["hop"].rpc.call("listinvoices", [f"out{ann.name}"])["invoices"][0]["status"] == "paid"
    assert [e["kind"] for e in ann.get("/account")["entries"]] == ["sent", "sending", "deposit"]
    assert sum(books(hub).values()) == 0


def test_the_operator_looks_whether_the_books_agree(net, hub, visitor):
    ann = visitor("ann")
    ann.fund(3_000)
    code, out = hub.command("books")
    assert code == 0 and "they agree" in out and "3,000 msat" in out
    with sqlite3.connect(hub.directory / "billing.sqlite3") as db:
        db.execute("UPDATE market_account SET balance = balance + 1 WHERE name = 'node'")
    code, out = hub.command("books")
    with sqlite3.connect(hub.directory / "billing.sqlite3") as db:
        db.execute("UPDATE market_account SET balance = balance - 1 WHERE name = 'node'")
    assert code == 1 and "do not agree" in out


def test_what_an_account_has_not_got_is_not_sent(net, hub, visitor):
    ann = visitor("ann")
    ann.fund(10_000)
    bought = net["hop"].rpc.call("invoice", [10_000, f"much{ann.name}", "x"])
    ann.post("/account/send", status=402, to=bought["bolt11"])
    assert ann.balance == 10_000
    assert net["hop"].rpc.call("listinvoices", [f"much{ann.name}"])["invoices"][0]["status"] == "unpaid"


def test_a_payment_that_fails_comes_back(net, hub, visitor):
    ann = visitor("ann")
    ann.fund(30_000)
    gone = net["hop"].rpc.call("invoice", [5_000, f"gone{ann.name}", "x"])
    net["hop"].rpc.call("delinvoice", [f"gone{ann.name}", "unpaid"])
    failed = ann.post("/account/send", status=402, to=gone["bolt11"])
    assert failed["status"] == "failed" and failed["why"]
    assert ann.balance == 30_000
    assert [e["kind"] for e in ann.get("/account")["entries"]] == ["returned", "sending", "deposit"]
    assert sum(books(hub).values()) == 0


def test_one_payment_for_several_sellers_services(net, hub, visitor, somewhere):
    sue, sam, ben = visitor("sue"), visitor("sam"), visitor("ben")
    first = sue.publish("weather", PRICE, somewhere, uses=2)
    second = sam.publish("traffic", 3_333, somewhere)
    order = ben.buy(first, second)
    shown = ben.get(f"/checkout/{order['id']}")
    assert shown["msatoshi"] == PRICE + 3_333 and shown["before"] == 0 and shown["after"] == -PRICE - 3_333
    assert {p["service"]: p["fee"] for p in shown["purchases"]} == {"weather": FEE, "traffic": 33}
    net["buyer"].rpc.call("xpay", {"invstring": order["payreq"], "maxfee": 5000})
    until(lambda: len(ben.get("/dashboard")["purchases"]) == 2)
    assert (sue.balance, sam.balance, ben.balance) == (PRICE - FEE, 3_333 - 33, 0)
    assert ben.get("/market/cart")["offers"] == []
    tokens = {p["service"]: p["hash"] for p in ben.get("/dashboard")["purchases"]}
    assert len(set(tokens.values())) == 2
    # Each token is good at its own seller's gate, and nowhere else.
    gates = {v.name: stranger(hub) for v in (sue, sam)}
    for v in (sue, sam):
        gates[v.name].auth = ("api-token", v.post("/sell/token")["api_token"])

    def use(seller, service):
        where = {"hash": tokens[service], "service": service}
        return gates[seller.name].post("/verifyHash", params=where).status_code

    assert use(sam, "weather") == 404 and use(sue, "traffic") == 404
    with hub.http() as operator:
        assert operator.post("/verifyHash", params={"hash": tokens["weather"], "service": "weather"}).status_code == 404
    assert [use(sue, "weather") for _ in range(3)] == [200, 200, 404]
    assert [use(sam, "traffic") for _ in range(2)] == [200, 404]
    assert {p["service"]: p["left"] for p in ben.get("/dashboard")["purchases"]} == {"weather": 0, "traffic": 0}
    assert sum(books(hub).values()) == 0


def test_paying_from_the_account_shuts_the_invoice(net, hub, visitor, somewhere):
    sue, ben = visitor("sue"), visitor("ben")
    offer = sue.publish("tides", PRICE, somewhere)
    ben.fund(15_000)
    order = ben.buy(offer)
    shown = ben.get(f"/checkout/{order['id']}")
    assert (shown["before"], shown["after"]) == (15_000, 5_000)
    ben.post(f"/checkout/{order['id']}/pay")
    assert (ben.balance, sue.balance) == (5_000, PRICE - FEE)
    ben.post(f"/checkout/{order['id']}/pay", status=409)
    tapped = ben.http.post(f"/checkout/{order['id']}/pay", headers={"Accept": "text/html"}, follow_redirects=False)
    assert (tapped.status_code, tapped.headers["location"]) == (303, f"/checkout/{order['id']}")  # a second tap
    with pytest.raises(RpcError) as refused:
        net["buyer"].rpc.call("xpay", {"invstring": order["payreq"], "maxfee": 5000})
    assert refused.value.error["code"] == PAY_REJECTED
    assert (ben.balance, sue.balance) == (5_000, PRICE - FEE)
    second = ben.buy(offer)
    ben.post(f"/checkout/{second['id']}/pay", status=402)
    assert ben.get(f"/checkout/{second['id']}")["status"] == "unpaid"


def test_account_and_wallet_at_once_pay_once(net, hub, visitor, somewhere):
    """Whoever is first: the seller gets the price once, and nothing that came in is lost."""
    sue, ben = visitor("sue"), visitor("ben")
    offer = sue.publish("ice", PRICE, somewhere)
    ben.fund(PRICE)
    order = ben.buy(offer)
    start = threading.Barrier(2)

    def by_account():
        start.wait(30)
        return ben.http.post(f"/checkout/{order['id']}/pay").status_code

    def by_wallet():
        start.wait(30)
        try:
            net["buyer"].rpc.call("xpay", {"invstring": order["payreq"], "maxfee": 5000})
        except Exception:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        account, wallet = pool.submit(by_account), pool.submit(by_wallet)
        status, paid = account.result(90), wallet.result(90)
    until(lambda: ben.get(f"/checkout/{order['id']}")["status"] == "paid")
    assert (status == 200) != paid
    assert sue.balance == PRICE - FEE and ben.balance == (PRICE if paid else 0)


def test_a_cancelled_order_is_paid_by_nobody(net, hub, visitor, somewhere):
    sue, ben, eve = visitor("sue"), visitor("ben"), visitor("eve")
    order = ben.buy(sue.publish("fog", PRICE, somewhere))
    eve.post(f"/checkout/{order['id']}/cancel", status=409)
    ben.post(f"/checkout/{order['id']}/cancel")
    ben.get(f"/checkout/{order['id']}", status=404)
    with pytest.raises(RpcError) as refused:
        net["buyer"].rpc.call("xpay", {"invstring": order["payreq"], "maxfee": 5000})
    assert refused.value.error["code"] == PAY_REJECTED
    assert len(ben.get("/market/cart")["offers"]) == 1


def test_search_by_words_sorted_by_price_and_reputation(net, hub, visitor, somewhere):
    sue, sam, ben = visitor("sue"), visitor("sam"), visitor("ben")
    word = f"word{sue.name}"
    dear = sue.publish("parking-a", 5_000, somewhere, description=f"Brussels {word}")
    cheap = sam.publish("parking-b", 2_000, somewhere, description=f"BRUSSELS 100%_ {word}")
    sam.publish("parking-c", 1_000, somewhere, description="Ghent")

    def found(q, sort="price"):
        return [o["service"] for o in stranger(hub).get("/market", params={"q": q, "sort": sort}).json()["offers"]]

    assert found(f"brussels {word}") == ["parking-b", "parking-a"]
    assert found(f"100%_ {word}") == ["parking-b"] and found(f"{word} nothing") == []
    gate = stranger(hub)
    gate.auth = ("api-token", sue.post("/sell/token")["api_token"])
    ben.fund(5_000)
    (bought,) = ben.buy_from_account(dear)
    ben.post(f"/dashboard/{bought['id']}/rate", status=409, stars=5)  # not used yet: nothing to tell
    assert gate.post("/verifyHash", params={"hash": bought["hash"], "service": "parking-a"}).status_code == 200
    ben.post(f"/dashboard/{bought['id']}/rate", status=400, stars=6)
    ben.post(f"/dashboard/{bought['id']}/rate", stars=5)
    ben.post(f"/dashboard/{bought['id']}/rate", status=409, stars=1)
    assert found(word, "reputation") == ["parking-a", "parking-b"]
    rated = ben.get(f"/market/offer/{dear['id']}")["offer"]
    assert rated["reputation"] == 50 and rated["ratings"] == 1
    sam.post("/sell/show", offer=cheap["id"], shown="0")
    assert found(word) == ["parking-a"]
    ben.post("/market/cart", status=400, offer=cheap["id"])
    sue.post("/market/cart", status=400, offer=dear["id"])  # nobody buys (and rates) their own


def test_a_used_up_token_is_renewed_from_the_account_of_who_asked_for_that(net, hub, visitor, somewhere):
    sue, ben = visitor("sue"), visitor("ben")
    offer = sue.publish("snow", PRICE, somewhere)
    gate = stranger(hub)
    gate.auth = ("api-token", sue.post("/sell/token")["api_token"])
    ben.fund(3 * PRICE)
    (bought,) = ben.buy_from_account(offer)

    def use(token):
        return gate.post("/verifyHash", params={"hash": token, "service": "snow"}).status_code

    assert gate.post("/refresh", params={"hash": bought["hash"]}).status_code == 400  # it has a use left
    assert use(bought["hash"]) == 200
    asked = gate.post("/refresh", params={"hash": bought["hash"]})
    assert asked.status_code == 402 and asked.json()["msatoshi"] == str(PRICE)  # nobody asked for renewal
    assert gate.post("/refresh", params={"hash": bought["hash"], "ask": False}).status_code == 404
    ben.post(f"/dashboard/{bought['id']}/renew", msatoshi=PRICE)
    renewed = gate.post("/refresh", params={"hash": bought["hash"]}).json()["hash"]
    assert gate.post("/refresh", params={"hash": bought["hash"]}).json()["hash"] == renewed  # paid once
    assert ben.balance == PRICE and sue.balance == 2 * (PRICE - FEE)
    assert use(renewed) == 200 and use(renewed) == 404 and use(bought["hash"]) == 404
    assert gate.post("/refresh", params={"hash": bought["hash"]}).status_code == 402  # for no more than was allowed
    assert ben.balance == PRICE
    # The invoice that was asked for, paid by a wallet, is a purchase of the same holder's.
    net["buyer"].rpc.call("xpay", {"invstring": asked.json()["payreq"], "maxfee": 5000})
    until(lambda: [p["left"] for p in ben.get("/dashboard")["purchases"]].count(1) == 1)
    assert sum(books(hub).values()) == 0


def test_a_sellers_own_invoices_go_to_their_account(net, hub, visitor):
    """What a seller's gate asks for (L402) is paid to the hub's node, and is the seller's less the fee."""
    sue = visitor("sue")
    gate = stranger(hub)
    gate.auth = ("api-token", sue.post("/sell/token")["api_token"])
    made = gate.post("/invoice", json={"msatoshi": PRICE, "service": "rain"}).json()
    preimage = net["buyer"].rpc.call("xpay", {"invstring": made["payreq"], "maxfee": 5000})["payment_preimage"]
    until(lambda: sue.balance == PRICE - FEE)
    assert len(preimage) == 64
    assert gate.post("/payment/spend", params={"rhash": made["rhash"], "service": "rain"}).status_code == 200
    assert gate.get("/newaddr").status_code == 403 and gate.post("/pay", content=made["payreq"]).status_code == 403


def test_a_shops_invoice_is_paid_from_an_account(net, hub, visitor):
    """The operator's shop sells by its api-token; who has an account here pays from it, on the same checkout page."""
    ben = visitor("ben")
    ben.fund(PRICE)
    with hub.http() as shop:
        made = shop.post("/invoice", json={"msatoshi": 4_000, "service": "cat"}).json()
        before = books(hub)["hub"]
        ben.post(f"/checkout/{made['id']}/pay")
        assert shop.get(f"/invoice/{made['id']}").json()["status"] == "paid"
        assert shop.post("/payment/verify", params={"token": made["id"], "service": "cat"}).status_code == 200
    assert ben.balance == PRICE - 4_000 and books(hub)["hub"] == before + 4_000


def test_users_pay_one_another_by_address(net, hub, visitor):
    ann, ben = visitor("ann"), visitor("ben")
    ann.fund(20_000)
    address = ben.get("/account")["address"]
    assert ann.post("/account/send", to=address, msatoshi=7_000, once="k")["status"] == "paid"
    assert ann.post("/account/send", to=address, msatoshi=7_000, once="k", status=409)
    assert (ann.balance, ben.balance) == (13_000, 7_000)
    ann.post("/account/send", status=400, to=f"nobody@{hub.url.removeprefix('http://')}", msatoshi=1_000)
    ann.post("/account/send", status=400, to=address, msatoshi=10)  # under what an address takes
    ann.post("/account/send", status=400, to="ben@localhost:1", msatoshi=1_000)
    assert ann.balance == 13_000


def test_receipts_are_signed_by_the_node(net, hub, visitor, somewhere):
    sue, ben, eve = visitor("sue"), visitor("ben"), visitor("eve")
    ben.fund(PRICE)
    (bought,) = ben.buy_from_account(sue.publish("wind", PRICE, somewhere))
    receipt = ben.get(f"/receipt/{bought['id']}")
    text = json.loads(receipt["text"])
    assert text["seller"] == sue.name and text["msatoshi"] == PRICE and text["paid_by"] == "account"
    checked = net["buyer"].rpc.call("checkmessage", [receipt["text"], receipt["signature"], net["seller"].id])
    assert checked["verified"]
    eve.get(f"/receipt/{bought['id']}", status=404)


INWARD = (
    "http://localhost:1/",
    "http://10.0.0.1/",
    "http://169.254.169.254/x",
    "http://[::1]/",
    "file:///etc/passwd",
    "x",
)


@pytest.mark.parametrize("url", INWARD)
def test_a_sellers_node_url_leads_into_no_private_network(hub, visitor, url):
    sue = visitor("sue")
    answer = sue.post("/sell", status=400, service="x", msatoshi=1, node_url=url)
    assert "node_url" in answer["detail"] or "url" in answer["detail"]
    assert sue.get("/sell")["offers"] == []


def test_a_node_that_does_not_answer_is_not_published(hub, visitor):
    sue = visitor("sue")
    answer = sue.post("/sell", status=400, service="x", msatoshi=1, node_url="http://127.0.0.1:1/")
    assert "does not answer" in answer["detail"]


@pytest.mark.parametrize(
    "field",
    [{"msatoshi": "-1"}, {"sat": "0.0001"}, {"sat": "1e999"}, {"sat": "NaN"}, {"msatoshi": ""}, {"msatoshi": "9" * 19}],
)
def test_amounts_that_are_none_are_refused(hub, visitor, field):
    ann = visitor("ann")
    ann.post("/account/deposit", status=400, **field)
    ann.post("/sell", status=400, service="x", node_url="http://127.0.0.1:1/", **field)


def test_what_the_node_pays_itself_makes_no_money(net, hub, visitor):
    """A node settles its own invoice without any channel: nobody's balance may come of that, but the hub's own."""
    ann = visitor("ann")
    made = ann.post("/account/deposit", msatoshi=9_000)
    with hub.http() as shop:
        refused = shop.post("/pay", content=made["payreq"])
        assert refused.status_code == 400 and "this node itself" in refused.json()["detail"]
    before = books(hub)
    net["seller"].rpc.call("xpay", {"invstring": made["payreq"], "maxfee": 5000})  # the operator, by hand
    until(lambda: ann.balance == 9_000)
    after = books(hub)
    assert after["node"] == before["node"] and after.get("hub", 0) == before.get("hub", 0) - 9_000
    code, out = hub.command("books")
    assert code == 0, out


def test_accounts_pay_invoices_of_their_own_hub_without_a_fee_or_a_payment(net, hub, visitor):
    """From account to account, the own one too: nothing is made, nothing is lost."""
    ann, sue = visitor("ann"), visitor("sue")
    ann.fund(20_000)
    own = ann.post("/account/deposit", msatoshi=5_000)
    assert ann.post("/account/send", to=own["payreq"])["status"] == "paid" and ann.balance == 20_000
    gate = stranger(hub)
    gate.auth = ("api-token", sue.post("/sell/token")["api_token"])
    sold = gate.post("/invoice", json={"msatoshi": PRICE, "service": "rain"}).json()
    assert ann.post("/account/send", to=sold["payreq"])["fee"] == 0
    assert (ann.balance, sue.balance) == (20_000 - PRICE, PRICE - FEE)
    mine = gate.post("/invoice", json={"msatoshi": 1_000, "service": "rain"}).json()
    assert sue.post("/account/send", to=mine["payreq"])["status"] == "paid"  # her own: it costs her the hub's fee
    assert sue.balance == PRICE - FEE - 10 and sum(books(hub).values()) == 0
    elsewhere = net["seller"].rpc.call("invoice", [1_000, f"other{ann.name}", "of the node, not of the hub"])
    ann.post("/account/send", status=400, to=elsewhere["bolt11"])
    assert not net["seller"].rpc.call("listsendpays", {"payment_hash": sold["rhash"]})["payments"]


def test_nobody_sees_or_moves_what_is_anothers(net, hub, visitor, somewhere):
    sue, ben, eve = visitor("sue"), visitor("ben"), visitor("eve")
    offer = sue.publish("hail", PRICE, somewhere)
    ben.fund(PRICE)
    (bought,) = ben.buy_from_account(offer)
    for path in (f"/dashboard/{bought['id']}/rate", f"/dashboard/{bought['id']}/renew"):
        eve.post(path, status=409, stars=1, msatoshi=1_000)
    eve.post("/sell/show", status=404, offer=offer["id"], shown="0")
    with stranger(hub) as nobody:
        for path in ("/dashboard", "/account", "/sell", "/market/cart", f"/receipt/{bought['id']}"):
            assert nobody.get(path).status_code == 401
        for path in ("/market/cart", "/account/send", "/account/deposit", "/sell", "/sell/token", "/market/checkout"):
            assert nobody.post(path, data={"offer": offer["id"]}).status_code == 401
        page = nobody.get("/dashboard", headers={"accept": "text/html"})
        assert page.status_code == 303 and page.headers["location"] == "/login?next=/dashboard"


def test_a_page_of_another_site_changes_nothing(hub, visitor):
    ann = visitor("ann")
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        answer = ann.http.post("/account/deposit", data={"sat": "1"}, headers=headers)
        assert answer.status_code == 403
    assert ann.http.post("/account/deposit", data={"sat": "1"}, headers={"origin": hub.url}).status_code == 200


def test_logging_in_and_out(hub, visitor):
    ann = visitor("ann")
    with stranger(hub) as who:
        assert who.post("/login", data={"name": ann.name, "password": "wrong password"}).status_code == 401
        assert who.post("/login", data={"name": "nobody-here", "password": "wrong password"}).status_code == 401
        assert who.get("/account").status_code == 401
        right = {"name": ann.name, "password": f"password of {ann.name}", "next": "https://evil.example/"}
        entered = who.post("/login", data=right)
        assert entered.status_code == 200 and entered.json()["next"] == hub.url + "/dashboard"
        assert who.get("/account").status_code == 200
        cookie = dict(who.cookies)
        who.post("/logout")
        with stranger(hub) as old:
            old.cookies.update(cookie)
            assert old.get("/account").status_code == 401
        for _ in range(5):
            last = who.post("/login", data={"name": ann.name, "password": "wrong password"})
        assert last.status_code in (401, 429)
        assert who.post("/login", data=right).status_code == 429
    ann.post("/register", status=400, name=ann.name, password="another password")
    ann.post("/register", status=400, name="x y", password="another password")
    ann.post("/register", status=400, name="short-one", password="short")
