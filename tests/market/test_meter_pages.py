"""A stranger with a phone at a meter: its page, the purchase's own link, and the same by LNURL-pay."""

import hashlib
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import bech32
import httpx
import pytest

import shop as meters
from satmeter.core.bearer_link import SECRET, BearerLinks
from satmeter.core.labels import wallet_label
from satmeter.node.rpc import Node
from services import MARKET, Service, Visitor
from waiting import until

ASKS = {"Accept": "application/json"}
READS = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def public(net, tmp_path_factory):
    """The service of an operator who has made all meters public."""
    opened = Service(tmp_path_factory.mktemp("public"), net["seller"], meters=["*"], hub_hosts=["127.0.0.1"])
    yield opened
    opened.kill()


@pytest.fixture
def meter(net):
    with meters.Shop(net["seller"]) as shop:
        yield shop.add(choices="2sat, 1unit, 0.0025EUR")


@pytest.fixture
def phone(public):
    with httpx.Client(base_url=public.url, headers=ASKS, timeout=30) as http:
        yield http


def bought(phone, meter, **what):
    made = phone.post(f"/m/{meter.name}/buy", data=what)
    assert made.status_code == 200, made.text
    return made.json()["payreq"], httpx.URL(made.json()["next"]).path


def test_from_the_page_to_the_receipt(net, phone, meter, tmp_path):
    found = phone.get(f"/m/{meter.name}").json()
    assert (found["price"], found["choices"][0]["price"]) == ("0.0005 EUR", "0.001 EUR")  # at 50,000 EUR
    assert found["can_deliver"] and [each["msatoshi"] for each in found["choices"]] == [
        2_000,
        1_000,
        5_000,
    ]  # at 50,000 EUR
    bolt11, link = bought(phone, meter, msatoshi="2000")
    assert phone.get(link).json()["status"] == "unpaid"
    assert phone.get(f"{link}/receipt").status_code == phone.get(f"{link}/receipt.json").status_code == 404
    net["far"].rpc.call("xpay", {"invstring": bolt11, "maxfee": 5_000})
    paid = until(lambda: (said := phone.get(link).json())["status"] == "paid" and said["credit"] and said)
    assert paid["credit"] == "2 unit"
    meter.use_all(15)
    until(lambda: phone.get(link).json()["used"] == "1.5 unit")
    meter.unplug()
    ended = until(lambda: (said := phone.get(link).json())["receipt"] and said)
    stated = json.loads(ended["receipt"])
    assert ended["ended"] and (stated["paid_msat"], stated["charged_msat"]) == (2_000, 1_500)
    page = phone.get(f"{link}/receipt", headers=READS).text
    assert "1.5 unit" in page and "yes: the seller" in page and "NO:" not in page
    saved = tmp_path / "receipt.json"
    saved.write_bytes(phone.get(f"{link}/receipt.json").content)
    run = [sys.executable, "-m", "satmeter.cli", "audit", str(saved)]
    proved = subprocess.run(run, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
    assert proved.returncode == 0 and "signed it" in proved.stdout


def test_the_page_works_without_a_script(public, meter):
    with httpx.Client(base_url=public.url, headers=READS, timeout=30, follow_redirects=True) as browser:
        page = browser.get(f"/m/{meter.name}")
        assert "<script" not in page.text and len(page.content) < 20_000
        value = re.search(r'name="msatoshi" value="(\d+)"', page.text)[1]
        bought = browser.post(f"/m/{meter.name}/buy", data={"msatoshi": value})
        assert "<svg" in bought.text and "lightning:ln" in bought.text and "refresh" in bought.text


def test_a_link_is_of_one_purchase_at_one_meter(net, phone, meter):
    _, link = bought(phone, meter, sat="2")
    other = f"/m/other/{link.rsplit('/', 1)[1]}"
    changed = link[:-2] + ("aa" if link[-2:] != "aa" else "bb")
    for wrong in (other, changed, f"/m/{meter.name}/x", f"/m/{meter.name}/{'A' * 400}"):
        assert phone.get(wrong).status_code == 404, wrong


@pytest.mark.parametrize("what", [{}, {"sat": "0"}, {"sat": "-1"}, {"sat": "many"}, {"sat": "11"}, {"msatoshi": "1.5"}])
def test_what_can_not_be_bought_is_refused_in_words(phone, meter, what):
    refused = phone.post(f"/m/{meter.name}/buy", data=what)
    assert refused.status_code == 400 and "sat" in refused.json()["detail"]


def test_what_is_refused_has_a_heading_in_words_and_a_way_back(public, meter):
    with httpx.Client(base_url=public.url, headers=READS, timeout=30) as browser:
        refused = browser.post(f"/m/{meter.name}/buy", data={"sat": "many"})
        gone = browser.get(f"/m/{meter.name}/x")
    assert "<h1>This did not work</h1>" in refused.text and "<h1>Nothing is here</h1>" in gone.text
    for page in (refused, gone):
        assert f'<a href="/m/{meter.name}">Back</a>' in page.text and "BadParam" not in page.text


def test_a_meter_that_can_not_deliver_says_so(phone, meter):
    meter.unplug()
    until(lambda: phone.get(f"/m/{meter.name}").json()["why_not"] == "nothing is plugged in")
    said = phone.get(f"/m/{meter.name}/lnurlp").json()
    assert said["status"] == "ERROR" and "nothing is plugged in" in said["reason"]
    assert (
        "nothing is plugged in" in phone.get(f"/m/{meter.name}/lnurlp/pay", params={"amount": 2_000}).json()["reason"]
    )
    assert phone.post(f"/m/{meter.name}/buy", data={"sat": "2"}).status_code == 503
    assert phone.get("/m/nobody").status_code == 404


def test_a_wallet_pays_the_sticker_by_lnurl(net, phone, meter, public):
    data = phone.get(f"/m/{meter.name}").json()["lnurl"]
    url = bytes(bech32.convertbits(_words(data), 5, 8, False)).decode()
    assert url == f"{public.url}/m/{meter.name}/lnurlp"
    terms = httpx.get(url).json()
    assert terms["tag"] == "payRequest" and (terms["minSendable"], terms["maxSendable"]) == (1_000, 10_000)
    answer = httpx.get(terms["callback"], params={"amount": 3_500})
    assert answer.headers["access-control-allow-origin"] == "*"
    found = net["buyer"].rpc.call("decode", [answer.json()["pr"]])
    assert found["amount_msat"] == 3_500
    assert found["description_hash"] == hashlib.sha256(terms["metadata"].encode()).hexdigest()
    assert not httpx.get(answer.json()["verify"]).json()["settled"]
    net["buyer"].rpc.call("xpay", {"invstring": answer.json()["pr"], "maxfee": 5_000})
    assert httpx.get(answer.json()["verify"]).json()["settled"] and answer.json()["disposable"] is False
    assert httpx.get(answer.json()["verify"][:-9] + "x/verify").json()["status"] == "ERROR"
    by_address = httpx.get(f"{public.url}/.well-known/lnurlp/{meter.name}").json()
    assert by_address == terms and ["text/identifier", f"{meter.name}@127.0.0.1:{public.port}"] in json.loads(
        terms["metadata"]
    )
    assert httpx.get(f"{public.url}/.well-known/lnurlp/nobody").json()["status"] == "ERROR"
    link = httpx.URL(answer.json()["successAction"]["url"]).path
    until(lambda: phone.get(link).json()["status"] == "paid")
    for amount in ("", "0", "10001", "1.5", "abc", "9" * 30):
        assert httpx.get(terms["callback"], params={"amount": amount}).json()["status"] == "ERROR", amount


def _words(text):
    return ["qpzry9x8gf2tvdw0s3jn54khce6mua7l".index(c) for c in text.lower().rpartition("1")[2][:-6]]


def test_a_link_finds_its_purchase_after_a_restart(net, public, phone, meter):
    bolt11, link = bought(phone, meter, sat="2")
    public.kill()
    public.start()
    assert phone.get(link).json()["payreq"] == bolt11


def test_who_topped_up_has_the_receipt_too_when_the_session_is_forgotten(net, phone, plain):
    links = []
    for ticks in (5, 35):  # of 20 and 20: the second one pays before the first is used up
        bolt11, link = bought(phone, plain, msatoshi="2000")
        net["buyer"].rpc.call("xpay", {"invstring": bolt11, "maxfee": 5_000})
        until(lambda link=link: phone.get(link).json()["status"] == "paid")
        plain.use_all(ticks)
        links.append(link)
    plain.unplug()
    until(lambda: all(phone.get(link).json()["receipt"] for link in links))
    net["seller"].stop()
    net["seller"].start()
    until(lambda: plain.tried() and not plain.shop.rpc.call("meter-status", {"name": plain.name})["sessions"])
    receipts = [phone.get(f"{link}/receipt") for link in links]
    assert [receipt.status_code for receipt in receipts] == [200, 200]
    assert receipts[0].json()["receipt"] == receipts[1].json()["receipt"]


def test_what_is_not_public_is_not_named(net, tmp_path, meter):
    some = Service(tmp_path, net["seller"], meters=["ghost"])
    try:
        with httpx.Client(base_url=some.url, headers=ASKS) as stranger:
            for path in ("/m/ghost", "/m/ghost/lnurlp", f"/m/{meter.name}", "/.well-known/lnurlp/ghost"):
                said = stranger.get(path)
                assert meter.name not in said.text.replace(f"'{meter.name}'", ""), path
                assert said.status_code == 404 or said.json()["status"] == "ERROR", path
            assert stranger.post("/m/ghost/buy", data={"sat": "1"}).status_code == 404
    finally:
        some.kill()


def test_where_the_plugin_is_not_loaded_the_node_is_to_blame(net, tmp_path, meter):
    elsewhere = Service(tmp_path, net["hop"], meters=["*"])
    try:
        with httpx.Client(base_url=elsewhere.url, headers=ASKS) as stranger:
            assert stranger.get(f"/m/{meter.name}").status_code == 502
    finally:
        elsewhere.kill()


def test_one_code_for_all_is_a_picture(phone, meter):
    png = phone.get(f"/m/{meter.name}/qr.png")
    assert png.headers["content-type"] == "image/png" and png.content[:4] == b"\x89PNG"


def test_without_the_config_no_meter_is_public(net, service, meter):
    with httpx.Client(base_url=service.url, headers=ASKS) as stranger:
        assert stranger.get(f"/m/{meter.name}").status_code == 404


def left(net, phone, meter):
    """A purchase whose use has ended with 500 of its 2,000 msat used; the path of its link."""
    bolt11, link = bought(phone, meter, msatoshi="2000")
    net["buyer"].rpc.call("xpay", {"invstring": bolt11, "maxfee": 5_000})
    until(lambda: phone.get(link).json()["status"] == "paid")
    meter.use_all(5)
    assert phone.get(f"{link}/withdraw").json() == {
        "status": "ERROR",
        "reason": "the purchase is still in use: end it first",
    }
    assert phone.post(f"{link}/end").status_code == 200
    ended = until(lambda: (said := phone.get(link).json())["ended"] and said["receipt"])
    assert json.loads(ended)["reason"] == "ended by who paid, on the meter's page"
    return link


@pytest.fixture
def plain(net):
    with meters.Shop(net["seller"]) as shop:
        yield shop.add(price_msat=1_000, quantum_msat=10_000)


def invoice_of(node, amount_msat, label):
    return node.rpc.call("invoice", {"amount_msat": amount_msat, "label": label, "description": "back"})["bolt11"]


def test_a_wallet_takes_back_what_is_left_once(net, public, phone, plain):
    link = left(net, phone, plain)
    page = httpx.get(f"{public.url}{link}", headers=READS).text
    data = re.search(r'href="lightning:(LNURL1[0-9A-Z]+)"', page)[1]
    url = bytes(bech32.convertbits(_words(data), 5, 8, False)).decode()
    terms = httpx.get(url).json()
    assert (terms["tag"], terms["minWithdrawable"], terms["maxWithdrawable"]) == ("withdrawRequest", 1_000, 1_000)
    pay = {"k1": terms["k1"]}
    for wrong in ({"k1": "0" * 32, "pr": "lnbcrt1"}, {**pay, "pr": ""}, {**pay, "pr": "lnbc1nonsense"}, {}):
        assert httpx.get(terms["callback"], params=wrong).json()["status"] == "ERROR", wrong
    too_much = invoice_of(net["buyer"], 1_501, f"much-{terms['k1']}")
    assert "at most 1000 msat of 1500" in httpx.get(terms["callback"], params={**pay, "pr": too_much}).json()["reason"]
    own = invoice_of(net["seller"], 1_000, f"own-{terms['k1']}")
    assert "seller's own node" in httpx.get(terms["callback"], params={**pay, "pr": own}).json()["reason"]
    before = meters.settled(net["buyer"])
    asked = [invoice_of(net["buyer"], 1_000, f"back-{terms['k1']}-{n}") for n in range(50)]
    with ThreadPoolExecutor(50) as wallets:
        said = list(wallets.map(lambda pr: httpx.get(terms["callback"], params={**pay, "pr": pr}).json(), asked))
    assert [each["status"] for each in said].count("OK") == 1, said
    ended = until(lambda: (now := phone.get(link).json())["refunded_msat"] and now)
    assert (ended["owed_msat"], ended["rest_msat"]) == (500, 0)
    assert meters.settled(net["buyer"]) - before == 1_000
    assert httpx.get(url).json()["reason"] == "nothing is left to give back"


def test_what_is_left_goes_to_an_invoice_or_a_lightning_address(net, phone, plain, tmp_path):
    link = left(net, phone, plain)
    for wrong in ("", "nonsense", "lnbc1x", "nobody@127.0.0.1:1", "lno1nonsense", "x" * 9_000):
        refused = phone.post(f"{link}/refund", data={"to": wrong})
        assert refused.status_code in (400, 404, 429), wrong
    hub = Service(tmp_path, net["far"], **MARKET)
    try:
        ann = Visitor(hub, "ann", net)
        with httpx.Client(base_url=phone.base_url, headers=ASKS, timeout=60) as other:
            until(lambda: other.post(f"{link}/refund", data={"to": f"Ann@127.0.0.1:{hub.port}"}).status_code == 200)
        until(lambda: ann.balance == 1_000)
    finally:
        hub.kill()
    link = left(net, phone, plain)  # 500 msat of the first are its own still, or went along
    rest = phone.get(link).json()["owed_msat"]
    before = meters.settled(net["buyer"])
    anything = invoice_of(net["buyer"], "any", f"any-{link}")
    assert phone.post(f"{link}/refund", data={"to": f"lightning:{anything.upper()}"}).status_code == 200
    until(lambda: phone.get(link).json()["owed_msat"] == 0)
    assert meters.settled(net["buyer"]) - before == rest


def test_who_pays_into_anothers_use_neither_ends_it_nor_gets_more_than_its_own(net, phone, plain):
    bolt11, link = bought(phone, plain, msatoshi="8000")
    net["buyer"].rpc.call("xpay", {"invstring": bolt11, "maxfee": 5_000})
    until(lambda: phone.get(link).json()["phase"] == "open")
    bolt11, strangers = bought(phone, plain, msatoshi="1000")
    net["far"].rpc.call("xpay", {"invstring": bolt11, "maxfee": 5_000})
    until(lambda: phone.get(strangers).json()["phase"] == "open")
    assert (phone.get(link).json()["may_end"], phone.get(strangers).json()["may_end"]) == (True, False)
    refused = phone.post(f"{strangers}/end")
    assert refused.status_code == 409 and "paid by others" in refused.json()["detail"]
    plain.use_all(5)
    assert phone.post(f"{link}/end").status_code == 200
    until(lambda: phone.get(link).json()["ended"])
    assert (phone.get(link).json()["owed_msat"], phone.get(strangers).json()["owed_msat"]) == (7_500, 1_000)
    too_much = invoice_of(net["far"], 7_000, f"much-{strangers}")
    refused = phone.post(f"{strangers}/refund", data={"to": too_much})
    assert refused.status_code in (400, 409)
    mine = invoice_of(net["buyer"], 7_000, f"mine-{link}")
    assert phone.post(f"{link}/refund", data={"to": mine}).status_code == 200
    until(lambda: phone.get(link).json()["refunded_msat"])
    assert phone.get(strangers).json()["owed_msat"] == 1_000
    for forgiven in (f"{link}....", f"{link}!", f"{link}="):
        assert phone.get(forgiven).status_code == 404


def test_what_was_paid_by_an_offer_comes_back_by_the_code_of_the_display(net, phone, plain):
    offer = net["seller"].rpc.call("meter-offer", {"name": plain.name})["bolt12"]
    invoice = net["far"].rpc.call("fetchinvoice", {"offer": offer, "amount_msat": 5_000})["invoice"]
    net["far"].rpc.call("xpay", {"invstring": invoice, "maxfee": 5_000})
    until(lambda: plain.report()["grant"])
    plain.use_all(10)
    plain.unplug()

    def owing():
        sessions = net["seller"].rpc.call("meter-status", {"name": plain.name})["sessions"]
        return next((each for each in sessions if each["owed_msat"]), None)

    session = until(owing)
    journal = net["seller"].rpc.call("meter-invoice", {"name": plain.name})["label"].split("/")[1]
    label = wallet_label(journal, plain.name, session["fed_by"][0]["number"])
    key = Node(net["seller"].rpc.socket_path).secret(SECRET)
    shown = f"/m/{plain.name}/{BearerLinks(key).of(label, whole=True)}"
    terms = phone.get(f"{shown}/withdraw").json()
    assert terms["maxWithdrawable"] == session["refundable_msat"] == session["owed_msat"] // 1_000 * 1_000 - 1_000
    other = BearerLinks(key).of(wallet_label("0badf00d", plain.name, session["fed_by"][0]["number"]), whole=True)
    said = phone.get(f"/m/{plain.name}/{other}/withdraw").json()  # of a journal that the node had before this one
    assert said["reason"] == "nothing is left to give back"
    assert phone.get(shown).status_code == 404  # it shows no purchase: it gives back, and no more
    back = invoice_of(net["far"], terms["maxWithdrawable"], f"back-{label}")
    said = phone.get(httpx.URL(terms["callback"]).path, params={"k1": terms["k1"], "pr": back}).json()
    assert said == {"status": "OK"}
    until(lambda: (owing() or session)["refunded_msat"])


def test_nothing_comes_back_by_a_link_that_is_wrong(phone, meter):
    for path in (f"/m/{meter.name}/xyz/withdraw", f"/m/{meter.name}/xyz/withdraw/pay?k1=1&pr=lnbc1"):
        assert phone.get(path).json()["status"] == "ERROR"
    assert phone.post(f"/m/{meter.name}/xyz/refund", data={"to": "lnbc1"}).status_code == 404
    assert phone.post(f"/m/{meter.name}/xyz/end").status_code == 404


def test_a_flood_from_one_address_is_bounded_and_others_are_served(net, tmp_path, meter):
    proxied = Service(tmp_path, net["seller"], meters=["*"], proxies=["127.0.0.1"])
    try:
        with httpx.Client(base_url=proxied.url, headers=ASKS, timeout=30) as phones:

            def buys(address, sat="2"):
                headers = {"X-Forwarded-For": address}
                return phones.post(f"/m/{meter.name}/buy", data={"sat": sat}, headers=headers).status_code

            # What is refused makes no invoice, and counts as none.
            assert [buys("203.0.113.9", sat) for sat in ("0", "abc", "999999", "", "-1")] == [400] * 5
            assert [buys("203.0.113.9") for _ in range(10)] == [200] * 4 + [429] * 6
            assert buys("203.0.113.10") == 200
            asked = {"amount": 2_000}
            said = phones.get(f"/m/{meter.name}/lnurlp/pay", params=asked, headers={"X-Forwarded-For": "203.0.113.9"})
            assert said.status_code == 200 and "invoices in a minute" in said.json()["reason"]
    finally:
        proxied.kill()


def test_a_host_header_of_somebody_else_leads_nowhere(net, tmp_path, phone, meter):
    forged = {"Host": "evil.example"}
    assert "public_url" in phone.get(f"/m/{meter.name}", headers=forged).json()["no_wallets"]
    assert "public_url" in phone.get(f"/m/{meter.name}/lnurlp", headers=forged).json()["reason"]
    known = Service(tmp_path, net["seller"], meters=["*"], public_url="https://plugs.example")
    try:
        with httpx.Client(base_url=known.url, headers={**ASKS, **forged}) as asker:
            terms = asker.get(f"/m/{meter.name}/lnurlp").json()
        assert terms["callback"] == f"https://plugs.example/m/{meter.name}/lnurlp/pay"
    finally:
        known.kill()


def test_no_user_of_the_market_takes_a_public_meters_name(net, tmp_path, meter):
    """NAME@HOST is the meter's Lightning Address; a name that is no meter's is free."""
    opened = Service(tmp_path / "both", net["seller"], meters=["*"], market=True)
    try:
        with httpx.Client(base_url=opened.url, headers=ASKS, timeout=30) as http:
            refused = http.post("/register", data={"name": meter.name, "password": "a long password"})
            assert refused.status_code == 400 and "is a meter here" in refused.text
            assert http.post("/register", data={"name": "nobodys", "password": "a long password"}).status_code == 200
    finally:
        opened.kill()
