"""Events (paid, low, closed) as streams and webhooks; metrics; and logs without secrets."""

import json
import re
import threading

import httpx
import pytest
from standardwebhooks import Webhook

import shop as meters
from satmeter.billing.database import Database
from satmeter.billing.events import Events
from satmeter.billing.meters import Meters
from satmeter.journal.url import sqlite_url
from services import Shop
from waiting import until


class Stream:
    """A reader of /events, until it is closed."""

    def __init__(self, service, name="all", last=None):
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        self.events, self.open = [], threading.Event()
        self.http = service.http(name)
        self.answer = self.http.send(self.http.build_request("GET", "/events", headers=headers), stream=True)
        assert self.answer.status_code == 200
        threading.Thread(target=self._read, daemon=True).start()
        assert self.open.wait(20)

    def _read(self):
        try:
            for line in self.answer.iter_lines():
                self.open.set()
                if line.startswith("data:"):
                    self.events.append(json.loads(line[5:]))
        except httpx.HTTPError:
            pass

    def kinds(self, **having):
        return [e["event"] for e in self.events if having.items() <= e["data"].items()]


def token(net, http, uses, service="e"):
    """Buy a hash token; returns it and its invoice's id."""
    made = http.post("/invoice", json={"msatoshi": 1000, "service": service, "uses": uses}).json()
    net["buyer"].rpc.call("xpay", {"invstring": made["payreq"], "maxfee": 5000})
    assert http.get(f"/invoice/{made['id']}/wait", params={"timeout": 20}).status_code == 200
    return http.post("/payment/verify", params={"token": made["id"], "service": service}).json()["hash"], made["id"]


@pytest.fixture
def other(service):
    if "other" not in service.secrets:
        service.secret("other", "invoice")
    return "other"


def test_a_tokens_life_is_streamed_and_resumed(net, service, other):
    stream, others = Stream(service), Stream(service, other)
    with service.http() as http:
        bought, id = token(net, http, 6)
        for _ in range(6):
            assert http.post("/verifyHash", params={"hash": bought, "service": "e"}).status_code == 200
    until(lambda: stream.kinds(id=id) + stream.kinds(invoice=id) == ["paid", "low", "closed"])
    paid = next(e for e in stream.events if e["data"].get("id") == id)
    assert others.events == []
    again = Stream(service, last=paid["id"])
    until(lambda: again.kinds(invoice=id) == ["low", "closed"])
    low, closed = (e["data"] for e in again.events[:2])
    assert (low["left"], closed["left"], low["uses"]) == (1, 0, 6)
    # A use that is given back, and spent again, closes it no second time.
    with service.http() as http:
        http.post("/payment/return", params={"hash": bought})
        http.post("/verifyHash", params={"hash": bought, "service": "e"})
        _, next_id = token(net, http, 1)
    until(lambda: stream.kinds(id=next_id) == ["paid"])
    assert stream.kinds(invoice=id) == ["low", "closed"]


def test_webhooks_of_all_events_reach_a_receiver_that_was_down(net, service):
    shop = Shop()
    shop.shut()
    with service.http() as http:
        made = http.post("/hooks", json={"url": shop.url, "events": ["closed", "paid"]})
        assert made.status_code == 201 and made.json()["events"] == ["paid", "closed"]
        bought, id = token(net, http, 2, "hooked")
        for _ in range(2):
            http.post("/verifyHash", params={"hash": bought, "service": "hooked"})
        shop.open()
        seen = {}

        def told():
            while not shop.told.empty():
                headers, body = shop.told.get()
                Webhook(made.json()["secret"]).verify(body, headers)
                event = json.loads(body)
                seen.setdefault(event["id"], event)
            mine = [e for e in seen.values() if id in (e["data"].get("id"), e["data"].get("invoice"))]
            return sorted(e["event"] for e in mine) == ["closed", "paid"]

        until(told, 60)
        assert http.delete(f"/hooks/{made.json()['id']}").status_code == 204
        assert http.delete(f"/hooks/{made.json()['id']}").status_code == 404
        assert http.get("/hooks").json() == []
    shop.shut()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "http://127.0.0.1/", "events": []},
        {"url": "http://127.0.0.1/", "events": ["all"]},
        {"url": "http://127.0.0.1/", "events": "paid"},
        {"url": "ftp://x/", "events": ["paid"]},
        {"url": 5, "events": ["paid"]},
    ],
)
def test_webhooks_that_are_none_are_refused(service, body):
    with service.http() as http:
        assert http.post("/hooks", json=body).status_code == 400
        assert http.get("/hooks").json() == []


def test_the_nodes_meters_are_heard_of(net, service, other):
    """By who has the scope `meter`: paid, low, and closed with the receipt."""
    stream, others = Stream(service), Stream(service, other)
    with meters.Shop(net["seller"]) as shop:
        board = shop.add()
        until(lambda: net["seller"].rpc.call("meter-history", {"newest": True})["events"])
        session = meters.open_stream(net["buyer"], shop, board)
        until(lambda: stream.kinds(session=session)[:1] == ["paid"])
        board.use_all(180)
        until(lambda: "low" in stream.kinds(session=session))
        meters.close(net["buyer"], session)
        until(lambda: stream.kinds(session=session)[-1:] == ["closed"])
    closed = next(e for e in stream.events if e["event"] == "closed" and e["data"].get("session") == session)
    checked = net["buyer"].rpc.call(
        "checkmessage", [closed["data"]["receipt"], closed["data"]["signature"], net["seller"].id]
    )
    assert checked["verified"] and others.events == []


def test_metrics_tell_what_happened(net, service, other):
    def figures():
        with service.http() as http:
            text = http.get("/metrics").text
        rows = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in rows}

    before = figures()
    with service.http() as http:
        bought, _ = token(net, http, 2)
        http.post("/verifyHash", params={"hash": bought, "service": "e"})
    after = {}

    def grown(name):
        return after[name] - before.get(name, 0)

    def counted():
        after.update(figures())
        return grown('satmeter_token_uses{is="spent"}')

    until(counted)
    assert grown('satmeter_invoices{status="paid"}') == 1
    assert grown('satmeter_received_msat{by="lightning"}') == 1000
    assert grown('satmeter_token_uses{is="bought"}') == 2 and grown('satmeter_token_uses{is="spent"}') == 1
    assert grown('satmeter_requests_total{method="POST",route="/verifyHash",status="200"}') == 1
    with service.http(other) as http:
        assert http.get("/metrics").status_code == 403
    assert httpx.get(service.url + "/metrics").status_code == 401


def test_logs_are_json_and_hold_no_secret(net, service):
    with service.http() as http:
        bought, id = token(net, http, 1)
        http.post("/verifyHash", params={"hash": bought, "service": "e"})
        http.get("/verifyHash", params={"hash": bought}, headers={"Authorization": f"Bearer {bought}"})
        http.post("/hooks", json={"url": f"http://127.0.0.1:1/?key={bought}", "events": ["paid"]})
        token(net, http, 1)
        log = service.directory / "log"
        until(lambda: "webhook" in log.read_text())
        for each in http.get("/hooks").json():
            http.delete(f"/hooks/{each['id']}")
    lines = [line for line in log.read_text().splitlines() if line.startswith("{")]
    rows = [json.loads(line) for line in lines]
    assert {"at", "level", "logger", "message"} <= set(rows[0])
    spent = next(r for r in reversed(rows) if r.get("route") == "/verifyHash" and r["status"] == 200)
    assert spent["method"] == "POST" and spent["ms"] >= 0 and re.match(r"\d{4}-\d\d-\d\dT", spent["at"])
    text = log.read_text()
    for secret in (bought, id, *service.secrets.values(), "a secret of the shop"):
        assert secret not in text


class Journal:
    """A seller's plugin whose journal a test writes."""

    def __init__(self):
        self.rows = []

    def call(self, method, newest=False, limit=0, after=0):
        if method == "meter-status":
            return {"journal": "0", "meters": [], "sessions": [], "unowned": []}
        found = [row for row in self.rows if row["id"] > after]
        return {"events": found[-limit:] if newest else found[:limit]}

    def pays(self, id, at):
        event = {"session": "5e" * 16, "happened": "paid", "amount_msat": id, "payment_hash": "ab" * 32}
        self.rows.append({"id": id, "at": at, "event": event})


def test_events_are_told_after_an_older_copy_of_the_journal_took_its_place(tmp_path):
    """Its ids begin lower, and are used once more: what is new is told all the same, and once."""
    database = Database(sqlite_url(tmp_path / "b.sqlite3"), "02" * 33)
    journal, events = Journal(), Events(database)
    meters = Meters(journal, database, events)
    for id in range(1, 11):
        journal.pays(id, 1_000 + id)
    meters._look()
    journal.pays(11, 1_011)
    meters._look()
    journal.rows = journal.rows[:5]
    meters._look()
    for id in range(6, 13):
        journal.pays(id, 2_000 + id)
        meters._look()
        meters._look()
    assert [json.loads(each["body"])["amount_msat"] for each in events.after(0)] == [11, *range(6, 13)]
