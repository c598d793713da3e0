"""The backend API: an invoice's life as clients of Lightning Charge see it, and what the deliverable adds."""

import asyncio
import json
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import psutil
import pytest
import websockets.sync.client
from fastapi import HTTPException, Request
from markupsafe import escape
from pyln.client import RpcError
from standardwebhooks import Webhook, WebhookVerificationError

from satmeter.billing import forms as body
from satmeter.billing.api_tokens import Client
from satmeter.billing.config import Config
from satmeter.billing.container import Container
from satmeter.billing.routes import charge
from satmeter.billing.ssrf import TIMEOUT_S
from satmeter.core.errors import BadParam
from satmeter.http import request_body
from satmeter.node.payments import PAY_REJECTED
from services import Service, Shop, in_a_loop
from waiting import until


@pytest.fixture(scope="module")
def http(service):
    with service.http() as client:
        yield client


def pay(net, payreq):
    return net["buyer"].rpc.call("xpay", {"invstring": payreq, "maxfee": 5000})


def made(http, **fields):
    answer = http.post("/invoice", json=fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_info_tells_the_node(net, http):
    found = http.get("/info").json()
    assert found["id"] == net["seller"].id and found["network"] == "regtest" and found["port"] == net["seller"].port
    assert {"version", "blockheight", "address"} <= set(found)


def test_an_invoice_from_unpaid_to_paid(net, http):
    invoice = made(http, msatoshi=7000, description="a cat", metadata={"customer_id": 9817, "products": [593, 182]})
    assert invoice["msatoshi"] == "7000" and invoice["status"] == "unpaid" and invoice["completed"] is False
    assert invoice["metadata"] == {"customer_id": 9817, "products": [593, 182]} and invoice["paid_at"] is None
    decoded = net["buyer"].rpc.call("decode", [invoice["payreq"]])
    assert decoded["payment_hash"] == invoice["rhash"] and decoded["description"] == "a cat"
    assert decoded["created_at"] + decoded["expiry"] == invoice["expires_at"]
    assert http.get(f"/invoice/{invoice['id']}").json() == invoice
    pay(net, invoice["payreq"])
    paid = http.get(f"/invoice/{invoice['id']}/wait", params={"timeout": 20}).json()
    assert paid["status"] == "paid" and paid["msatoshi_received"] == "7000" and paid["pay_index"] > 0
    assert abs(paid["paid_at"] - time.time()) < 60
    assert paid in http.get("/invoices").json()
    for token in (invoice["id"], invoice["payreq"]):
        assert http.get("/listinvoice", params={"token": token}).json() == paid


def test_invoices_are_found_by_status_and_time_and_say_where_more_are(http, net):
    made = [http.post("/invoice", json={"msatoshi": 1000 + n, "expiry": 600}).json() for n in range(4)]
    net["buyer"].rpc.call("xpay", {"invstring": made[1]["payreq"], "maxfee": 5000})
    assert http.get(f"/invoice/{made[1]['id']}/wait").status_code == 200
    mine, since = {each["id"] for each in made}, min(each["created_at"] for each in made)

    def found(**params):
        return [row["id"] for row in http.get("/invoices", params=params).json() if row["id"] in mine]

    assert found(status="paid", since=since) == [made[1]["id"]] and made[1]["id"] not in found(status="unpaid")
    assert found(since=since + 10**6) == [] and found(status="expired") == []
    answer = http.get("/invoices", params={"limit": 2, "status": "unpaid"})
    more = answer.links["next"]["url"]
    assert {row["id"] for row in http.get(more).json()}.isdisjoint(row["id"] for row in answer.json())
    assert "next" not in http.get("/invoices", params={"since": since, "status": "paid"}).links
    assert http.get("/invoices", params={"status": "open"}).status_code == 400


def test_from_the_checkout_there_is_a_way_back_to_the_shop(http, net):
    back = 'https://shop.example/order/7?a=1&b="x"'
    made = http.post("/invoice", json={"msatoshi": 1000, "redirect_url": back}).json()
    assert made["redirect_url"] == back and "redirect_url" not in http.post("/invoice", json={"msatoshi": 1000}).json()
    net["buyer"].rpc.call("xpay", {"invstring": made["payreq"], "maxfee": 5000})
    assert http.get(f"/invoice/{made['id']}/wait").json()["redirect_url"] == back
    page = http.get(f"/checkout/{made['id']}", headers={"Accept": "text/html"}).text
    assert f'href="{escape(back)}"' in page and "Back to the shop" in page
    for wrong in ("javascript:alert(1)", "//shop.example", 7):
        answer = http.post("/invoice", json={"msatoshi": 1000, "redirect_url": wrong})
        assert answer.status_code == 400 and "redirect_url" in answer.json()["detail"]


def test_the_list_of_calls_needs_no_other_host(http):
    page = http.get("/docs")
    assert page.status_code == 200 and "GET /invoice/{id}/wait" in page.text and 'href="openapi.json"' in page.text
    assert "http://" not in page.text and "https://" not in page.text and "<script" not in page.text


@pytest.mark.parametrize(
    ("form", "metadata"),
    [
        (
            {"metadata[customer_id]": "9817", "metadata[product_id]": "7189"},
            {"customer_id": "9817", "product_id": "7189"},
        ),
        ({"metadata[a][b]": "1", "metadata[a][c]": "2"}, {"a": {"b": "1", "c": "2"}}),
        ({"metadata[]": ["x", "y"]}, ["x", "y"]),
        ({"metadata": "order 123"}, "order 123"),
    ],
)
def test_forms_with_nested_names(http, form, metadata):
    answer = http.post("/invoice", data={"msatoshi": "5000", **form})
    assert answer.status_code == 201 and answer.json()["metadata"] == metadata and answer.json()["msatoshi"] == "5000"


def test_no_amount_and_an_amount_in_money(net, http):
    free = http.post("/invoice").json()
    assert free["msatoshi"] is None
    net["buyer"].rpc.call("xpay", {"invstring": free["payreq"], "amount_msat": 3000, "maxfee": 5000})
    paid = http.get(f"/invoice/{free['id']}/wait").json()
    assert paid["msatoshi_received"] == "3000"
    quoted = http.post("/invoice", data={"currency": "EUR", "amount": "0.5"}).json()
    assert (quoted["quoted_currency"], quoted["quoted_amount"]) == ("EUR", "0.5")
    assert quoted["msatoshi"] == "1000000"  # half a euro at 50,000 a bitcoin is 1,000 sat


def test_wait_for_what_is_not_paid(http):
    invoice = made(http, msatoshi=1000, expiry=600)
    assert http.get(f"/invoice/{invoice['id']}/wait", params={"timeout": 0.2}).status_code == 402
    short = made(http, msatoshi=1000, expiry=1)
    assert http.get(f"/invoice/{short['id']}/wait", params={"timeout": 9}).status_code == 410
    assert http.get(f"/invoice/{short['id']}").json()["status"] == "expired"
    assert http.post(f"/invoice/{short['id']}/webhook", json={"url": "http://127.0.0.1/x"}).status_code == 410


def test_delete_wants_the_status_that_it_is_in(net, http):
    invoice = made(http, msatoshi=1000)
    path = f"/invoice/{invoice['id']}"
    assert http.request("DELETE", path, data={"status": "paid"}).status_code == 400
    assert http.request("DELETE", path, data={"status": "unpaid", "force": "1"}).status_code == 400
    assert http.request("DELETE", path).status_code == 400
    assert http.request("DELETE", path, data={"status": "unpaid"}).status_code == 204
    assert http.get(path).status_code == 404
    with pytest.raises(RpcError) as refused:
        pay(net, invoice["payreq"])
    assert refused.value.error["code"] == PAY_REJECTED


def test_payments_by_stream_and_websocket(net, service, http):
    told = []

    def listen():
        with service.http() as mine, mine.stream("GET", "/payment-stream") as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    told.append(json.loads(line[5:]))
                    return
                if line == ": hello":
                    ready.set()

    ready = threading.Event()
    reader = threading.Thread(target=listen, daemon=True)
    reader.start()
    assert ready.wait(20)
    auth = httpx.BasicAuth("api-token", service.secrets["all"])._auth_header
    with websockets.sync.client.connect(
        service.url.replace("http", "ws") + "/ws", additional_headers={"Authorization": auth}
    ) as ws:
        invoice = made(http, msatoshi=2000)
        pay(net, invoice["payreq"])
        assert json.loads(ws.recv(20))["id"] == invoice["id"]
    reader.join(20)
    assert told[0]["id"] == invoice["id"] and told[0]["status"] == "paid"


def test_a_webhook_that_was_down_is_told_in_the_end(net, service, http):
    shop = Shop()
    shop.shut()
    invoice = made(http, msatoshi=1500, webhook=shop.url, metadata={"order": 7})
    pay(net, invoice["payreq"])
    until(lambda: "Connect" in (service.directory / "log").read_text() or "attempts failed" in _log(service))
    shop.open()
    headers, body = shop.told.get(timeout=60)
    assert json.loads(body) == http.get(f"/invoice/{invoice['id']}").json()
    secret = http.get("/hooks/secret").json()["secret"]
    Webhook(secret).verify(body, headers)
    if "stranger" not in service.secrets:
        service.secret("stranger", "invoice")
    with service.http("stranger") as other, pytest.raises(WebhookVerificationError):
        Webhook(other.get("/hooks/secret").json()["secret"]).verify(body, headers)
    assert http.post(f"/invoice/{invoice['id']}/webhook", json={"url": shop.url}).status_code == 405
    shop.shut()


class SlowShop:
    """A shop that takes connections and never answers."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/paid"


def test_a_slow_shop_holds_up_nobody_else(net, service, http):
    """Sixty webhooks of a shop that never answers are due before another shop's."""
    slow, quick = SlowShop(), Shop()
    invoice = made(http, msatoshi=1000)
    for _ in range(60):
        assert http.post(f"/invoice/{invoice['id']}/webhook", json={"url": slow.url}).status_code == 201
    pay(net, invoice["payreq"])
    until(lambda: http.get(f"/invoice/{invoice['id']}").json()["status"] == "paid")
    bought = made(http, msatoshi=1000, webhook=quick.url)
    began = time.monotonic()
    pay(net, bought["payreq"])
    _, body = quick.told.get(timeout=60)
    assert json.loads(body)["id"] == bought["id"] and time.monotonic() - began < TIMEOUT_S
    quick.shut()
    slow.socket.close()


def test_health_and_heads_are_for_everybody(service, http):
    assert httpx.get(service.url + "/health").json() == {"status": "ok", "wrong": []}
    assert httpx.head(service.url + "/health").status_code == 200
    invoice = made(http, msatoshi=1000)
    head = http.head(f"/invoice/{invoice['id']}")
    assert head.status_code == 200 and head.content == b"" and int(head.headers["content-length"]) > 100
    assert httpx.head(f"{service.url}/invoice/{invoice['id']}").status_code == 401


def test_a_currency_without_a_rate_is_the_callers_mistake(http):
    answer = http.post("/invoice", json={"currency": "XQX", "amount": "1"})
    assert answer.status_code == 400 and "no rate of XQX" in answer.text


def test_at_its_end_the_service_ends_waits_and_streams_in_order(net, tmp_path):
    own = Service(tmp_path / "own", net["seller"])
    with own.http() as http, ThreadPoolExecutor(2) as pool:
        invoice = made(http, msatoshi=1000)
        wait = pool.submit(httpx.get, f"{own.url}/invoice/{invoice['id']}/wait?timeout=60", auth=http.auth, timeout=60)
        began = threading.Event()

        def stream():
            with httpx.stream("GET", own.url + "/events", auth=http.auth, timeout=60) as answer:
                for _ in answer.iter_lines():
                    began.set()
            return "ended"

        streamed = pool.submit(stream)
        assert began.wait(30)
        for _ in range(20):  # what was asked before these has begun
            assert http.get(f"/invoice/{invoice['id']}").status_code == 200
        own.stop()
        assert wait.result().status_code == 402 and streamed.result() == "ended"
    assert "Traceback" not in (own.directory / "log").read_text()


def _log(service):
    return (service.directory / "log").read_text()


def test_pay_and_its_cap(net, http):
    bought = net["hop"].rpc.call("invoice", [4000, f"b{time.time_ns()}", "a thing"])
    answer = http.post("/pay", content=bought["bolt11"])
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["completed"] is True and found["status"] == "paid" and found["msatoshi"] == "4000"
    assert found["payhash"] == bought["payment_hash"] and abs(found["paid_at"] - time.time()) < 60
    capped = http.post("/pay", json={"payreq": bought["bolt11"], "max_msatoshi": 1})
    assert capped.status_code == 400 and "max_msatoshi: is no field" in capped.text
    again = http.post("/pay", data={"payreq": bought["bolt11"]}).json()
    assert again == found
    paid = net["seller"].rpc.call("listpays", {"payment_hash": bought["payment_hash"]})["pays"]
    assert len(paid) == 1
    dear = net["hop"].rpc.call("invoice", [50_001, f"c{time.time_ns()}", "dear"])
    assert http.post("/pay", json={"payreq": dear["bolt11"]}).status_code == 403
    for wrong in ("lnbcrt1nonsense", "", "hello"):
        assert http.post("/pay", data={"payreq": wrong}).status_code == 400, wrong


def test_newaddr(http):
    assert http.get("/newaddr").json()["address"].startswith("bcrt1")


def test_an_idempotency_key_makes_one_invoice(http):
    headers = {"Idempotency-Key": f"k{time.time_ns()}"}
    first = http.post("/invoice", json={"msatoshi": 1000}, headers=headers)
    again = http.post("/invoice", json={"msatoshi": 1000}, headers=headers)
    assert first.status_code == again.status_code == 201 and first.json() == again.json()
    other = http.post("/invoice", json={"msatoshi": 2000}, headers=headers)
    assert other.status_code == 400 and "another request" in other.json()["detail"]


def test_an_answer_is_given_again_whatever_became_of_the_cap(tmp_path, net):
    config = Config(rpc=net["seller"].lightning_dir / "lightning-rpc", database=f"sqlite:///{tmp_path}/billing")
    opened, shop = Container(config), Client("shop", frozenset({"invoice"}))
    asked = json.dumps({"msatoshi": 5000}).encode()
    first = charge._make(opened, shop, asked, "application/json", "k1")
    opened.config = replace(config, invoice_cap_msat=4000)
    assert charge._make(opened, shop, asked, "application/json", "k1").body == first.body
    with pytest.raises(BadParam, match="at most 4000"):
        charge._make(opened, shop, asked, "application/json", "k2")
    opened.hub.stop()


def test_a_request_that_is_refused_uses_up_no_idempotency_key(http):
    headers = {"Idempotency-Key": f"refused {time.time_ns()}"}
    most = 21_000_000 * 10**11
    assert http.post("/invoice", json={"msatoshi": most + 1}, headers=headers).status_code == 400
    assert http.post("/invoice", json={"msatoshi": -1}, headers=headers).status_code == 400
    assert http.post("/invoice", json={"msatoshi": 1000}, headers=headers).status_code == 201


@pytest.mark.parametrize("path", ["/payment-stream", "/events"])
def test_the_head_of_a_stream_is_no_stream(http, path):
    answer = http.head(path, timeout=10)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    assert http.get("/info", timeout=10).status_code == 200  # on the same connection


def test_the_least_amount_of_bitcoin_is_a_millisatoshi_and_a_number_may_describe(http):
    assert http.post("/invoice", json={"currency": "BTC", "amount": "1e-16"}).json()["msatoshi"] == "1"
    assert http.post("/invoice", json={"msatoshi": 1000, "description": 1984}).json()["description"] == "1984"


@pytest.mark.parametrize(
    ("content", "kind", "status", "words"),
    [
        (b'{"msatoshi": 1000}', "application/x-www-form-urlencoded", 400, "send Content-Type: application/json"),
        (b'{"msatoshi": 1000}', "", 400, "send Content-Type: application/json"),
        (b"--x\r\n\r\n1\r\n--x--", "multipart/form-data; boundary=x", 415, "multipart/form-data"),
        (b"<msatoshi>1000</msatoshi>", "application/xml", 415, "application/xml"),
        (b'{"amount": "19.99"}', "application/json", 400, "currency: is required"),
        (b"amount=19.99", "application/x-www-form-urlencoded", 400, "currency: is required"),
        (b'{"msatoshis": 1000}', "application/json", 400, "did you mean msatoshi?"),
        (b'{"msat": 1000, "service": "a"}', "application/json", 400, "msat: is no field"),
        (b'{"msatoshi": 1000, "servcie": "a"}', "application/json", 400, "did you mean service?"),
        (b'{"service": "a", "uses": 5}', "application/json", 400, "msatoshi: is required"),
        (b'{"uses": 5}', "application/json", 400, "msatoshi: is required"),
        (b'{"q": 1, "msatoshi": 1000}', "application/json", 400, "they are msatoshi"),
    ],
)
def test_a_mistaken_request_makes_no_invoice_of_any_amount(http, content, kind, status, words):
    before = len(http.get("/invoices").json())
    answer = http.post("/invoice", content=content, headers={"Content-Type": kind} if kind else {})
    assert answer.status_code == status and words in answer.text, answer.text
    assert len(http.get("/invoices").json()) == before


def test_what_stands_in_the_address_is_not_ignored(http):
    answer = http.post("/invoice?msatoshi=1000", json={})
    assert answer.status_code == 400 and answer.json()["detail"].startswith("msatoshi: is in the URL")
    assert http.post("/invoice", json={}).json()["msatoshi"] is None  # asked for: whatever the payer likes


def test_the_same_key_at_once_makes_one_invoice_and_all_are_told_it(http):
    headers = {"Idempotency-Key": f"at once {time.time_ns()}"}
    before = len(http.get("/invoices").json())
    with ThreadPoolExecutor(12) as pool:
        ask = lambda _: http.post("/invoice", json={"msatoshi": 1000}, headers=headers)  # noqa: E731
        answers = list(pool.map(ask, range(12)))
    assert {a.status_code for a in answers} == {201} and len({a.text for a in answers}) == 1
    assert len(http.get("/invoices").json()) == before + 1


@pytest.mark.parametrize(
    "fields",
    [
        {"msatoshi": 0},
        {"msatoshi": -5},
        {"msatoshi": "many"},
        {"msatoshi": 1.5},
        {"msatoshi": 10**30},
        {"msatoshi": True},
        {"currency": "EURO", "amount": 1},
        {"msatoshi": 1000, "currency": "EUR", "amount": "1"},
        {"msatoshi": 1000, "amount": "1"},
        {"currency": "EUR"},
        {"currency": "EUR", "amount": "NaN"},
        {"currency": "EUR", "amount": -1},
        {"msatoshi": 1000, "expiry": 0},
        {"msatoshi": 1000, "expiry": "soon"},
        {"msatoshi": 1000, "description": "\x00"},
        {"msatoshi": 1000, "description": "x" * 700},
        {"msatoshi": 1000, "webhook": "ftp://x"},
        {"msatoshi": 1000, "webhook": 5},
        {"msatoshi": 1000, "metadata": {"x": "y" * 20_000}},
        {"msatoshi": 1000, "metadata": [[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]},
    ],
)
def test_a_wrong_field_is_named(http, fields):
    answer = http.post("/invoice", json=fields)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["type"] == "urn:satmeter:error:2101" and found["detail"].split(":")[0] in {*fields, "amount"}


@pytest.mark.parametrize("metadata", [b'"\\ud83d"', b"NaN", b"[" * 450 + b"]" * 450])
def test_metadata_that_nobody_could_read_back_is_refused(http, metadata):
    content = b'{"msatoshi": 1000, "metadata": ' + metadata + b"}"
    answer = http.post("/invoice", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and http.get("/invoices").status_code == 200


def test_pages_of_invoices_of_one_second(http):
    for _ in range(4):
        made(http, msatoshi=1000)
    everything = [i["id"] for i in http.get("/invoices").json()]
    paged, before = [], ""
    while page := http.get("/invoices", params={"limit": 1, "before": before}).json():
        paged.insert(0, page[0]["id"])
        before = page[0]["id"]
    assert sorted(paged) == sorted(everything)


@pytest.mark.parametrize("body", [b"{", b"[1]", b"\xff\xfe", b'{"a":' * 5000, b"x" * 70_000])
def test_a_body_that_is_none_is_refused(http, body):
    assert http.post("/invoice", content=body, headers={"Content-Type": "application/json"}).status_code == 400


def test_who_may_do_what(service, http):
    if "reader" not in service.secrets:
        service.secret("reader", "verify")
        service.secret("other", "invoice")
    invoice = made(http, msatoshi=1000)
    assert httpx.get(service.url + "/invoices").status_code == 401
    assert "WWW-Authenticate" in httpx.get(service.url + "/invoices").headers
    assert httpx.get(service.url + "/invoices", auth=("api-token", "wrong")).status_code == 401
    assert httpx.get(service.url + "/invoices", auth=("root", service.secrets["all"])).status_code == 401
    with service.http("reader") as reader, service.http("other") as other:
        assert reader.post("/invoice", json={"msatoshi": 1}).status_code == 403
        assert reader.post("/pay", json={"payreq": "x"}).status_code == 403
        assert other.get(f"/invoice/{invoice['id']}").status_code == 404
        assert invoice["id"] not in [i["id"] for i in other.get("/invoices").json()]
        assert other.get("/newaddr").status_code == 403


def test_a_revoked_secret_is_good_for_nothing(service):
    secret = service.secret(f"gone{time.time_ns() % 10**6}", "invoice")
    name = next(n for n, s in service.secrets.items() if s == secret)
    with service.http(name) as client:
        assert client.get("/invoices").status_code == 200
        assert service.command("client", "revoke", name)[0] == 0
        until(lambda: client.get("/invoices").status_code == 401)
    code, out = service.command("client", "list")
    assert code == 0 and name in out and secret not in out
    files = [path.read_bytes() for path in service.directory.glob("billing.sqlite3*")]
    assert any(name.encode() in data for data in files) and not any(secret.encode() in data for data in files)
    assert service.command("client", "revoke", name)[0] == 1


def test_what_was_paid_while_nobody_looked_is_counted_at_the_start(net, service):
    with service.http() as http:
        invoice = made(http, msatoshi=2500)
        service.kill()
        pay(net, invoice["payreq"])
        service.start()
        until(lambda: http.get(f"/invoice/{invoice['id']}").json()["status"] == "paid")


def test_a_payment_that_is_held_holds_nobody_up(net, service, http):
    if net.kind != "emulated":
        pytest.skip("holding a payment on demand is the emulated node's")
    hop = net["hop"].rpc
    bought = [hop.call("invoice", [1000, f"h{time.time_ns()}{n}", "held"]) for n in range(3)]
    hop.call("emulate-fault", {"hang": 3})
    found = [http.post("/pay", content=b["bolt11"]) for b in bought]
    assert [f.status_code for f in found] == [202] * 3 and found[0].json()["status"] == "pending"
    assert http.get("/info").status_code == 200
    hop.call("emulate-release")
    until(lambda: all(http.post("/pay", content=b["bolt11"]).json()["status"] == "paid" for b in bought))


def test_a_stop_lets_what_is_under_way_end(net, tmp_path):
    """A long poll that has begun is answered, and then the service is gone, with nothing wrong."""
    running = Service(tmp_path, net["seller"])
    with running.http() as http, ThreadPoolExecutor(1) as pool:
        made = http.post("/invoice", json={"msatoshi": 1000}).json()
        waiting = pool.submit(http.get, f"/invoice/{made['id']}/wait", params={"timeout": 3})
        until(lambda: f":{running.port}" in _connections(running.process.pid))
        net["buyer"].rpc.call("xpay", {"invstring": made["payreq"], "maxfee": 5000})
        running.process.send_signal(signal.SIGTERM)
        assert waiting.result(30).status_code in (200, 402)
    assert running.process.wait(20) in (0, -signal.SIGTERM)  # uvicorn ends by the signal, once all is in order
    assert "Traceback" not in (tmp_path / "log").read_text()


def _connections(pid):
    """The service's established connections, as text."""
    found = psutil.Process(pid).net_connections(kind="tcp")
    return " ".join(f":{c.laddr.port}" for c in found if c.status == psutil.CONN_ESTABLISHED)


def test_a_body_that_stops_coming_is_given_up():
    async def half():
        sent = [{"type": "http.request", "body": b"{", "more_body": True}]

        async def receive():
            return sent.pop() if sent else await asyncio.sleep(60)

        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        with pytest.raises(HTTPException) as e:
            await body.raw(request)
        return e.value.status_code

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request_body, "SLOW_S", 0.1)
        assert in_a_loop(half()) == 408


def test_the_annexes_calls_field_by_field(net, http):
    """D3.8, annex 1: what stands there of each answer stands here; amounts as text, fields of metadata as they came."""
    info = http.get("/info").json()
    assert {"id", "port", "address", "version", "blockheight", "network"} <= set(info)
    assert info["id"] == net["seller"].id and info["network"] == "regtest" and info["port"] == int(info["port"]) > 0
    assert set(http.get("/newaddr").json()) == {"address"}
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = http.post("/invoice", content=b"msatoshi=10000&metadata[service_id]=12", headers=form)
    invoice = answer.json()
    said = {"id", "msatoshi", "rhash", "payreq", "expires_at", "created_at", "metadata", "completed", "status"}
    assert answer.status_code == 201 and said <= set(invoice)
    assert invoice["msatoshi"] == "10000" and invoice["metadata"] == {"service_id": "12"}
    assert invoice["completed"] is False and invoice["status"] == "unpaid"
    assert invoice["expires_at"] - invoice["created_at"] == 3600 and len(invoice["rhash"]) == 64
    bought = net["buyer"].rpc.call("invoice", [10_000, f"annex{time.time_ns()}", "from another node"])
    paid = http.post("/pay", content=bought["bolt11"]).json()
    assert {"id", "msatoshi", "payhash", "completed", "paid_at", "status"} <= set(paid)
    assert paid["msatoshi"] == "10000" and paid["completed"] is True and paid["status"] == "paid"
    listed = http.get("/listinvoice", params={"token": invoice["payreq"]}).json()
    assert listed["id"] == invoice["id"] and listed["status"] == "unpaid"
