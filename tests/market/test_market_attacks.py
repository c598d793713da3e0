"""What attackers of the market tried, and got, once."""

import gzip
import http.server
import json
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import quote

import httpx
import pytest

from services import MARKET, Service, Visitor, books, stranger
from waiting import until


@pytest.fixture(scope="module")
def hub(net):
    running = Service(net.directory / "attacked", net["seller"], **MARKET, invoice_cap_msat=10_000_000)
    yield running
    running.stop()


def database(service):
    return sqlite3.connect(service.directory / "billing.sqlite3", isolation_level=None)


def held(net, ann, name):
    """Have an account pay an invoice that the payee holds; returns the invoice."""
    hop = net["hop"].rpc
    bought = hop.call("invoice", [20_000, name, "held"])
    hop.call("emulate-fault", {"hang": 1, "settle": False})

    def send():
        with suppress(httpx.HTTPError):  # the service is killed under it
            ann.http.post("/account/send", data={"to": bought["bolt11"]})

    threading.Thread(target=send).start()
    seller = net["seller"].rpc
    until(lambda: seller.call("listsendpays", {"payment_hash": bought["payment_hash"]})["payments"])
    return bought


def only_emulated(net):
    if net.kind != "emulated":
        pytest.skip("holding a payment on demand is the emulated node's")


def test_what_is_being_sent_is_not_given_back(net, hub, visitor):
    """Not even where the node knows nothing of it yet: as long as its worker says that it is at it."""
    ann = visitor("ann")
    ann.fund(50_000)
    bought = net["hop"].rpc.call("invoice", [5_000, f"due{ann.name}", "x"])
    decoded = net["hop"].rpc.call("decode", [bought["bolt11"]])
    with database(hub) as db:  # another worker has recorded it, and is about to send it
        row = (decoded["payment_hash"], "user/x", bought["bolt11"], 5_000, 1_000, "pending", 0, "", 1, 0, 50, "other")
        lease = db.execute("SELECT strftime('%s', 'now') + 60").fetchone()[0]
        db.execute(f"INSERT INTO billing_payment VALUES ({','.join('?' * 12)}, ?)", (*row, lease))
    assert ann.http.post("/account/send", data={"to": bought["bolt11"]}).status_code == 409
    with database(hub) as db:
        status = "SELECT status FROM billing_payment WHERE rhash = ?"
        assert db.execute(status, (decoded["payment_hash"],)).fetchone() == ("pending",)
        db.execute("UPDATE billing_payment SET lease_until = 1 WHERE rhash = ?", (decoded["payment_hash"],))
    assert ann.http.post("/account/send", data={"to": bought["bolt11"]}).status_code == 409
    with database(hub) as db:
        assert db.execute(status, (decoded["payment_hash"],)).fetchone() == ("failed",)
        # That one was of no account at all, so nothing was held for it: out with it, before the books are looked at.
        db.execute("DELETE FROM billing_payment WHERE rhash = ?", (decoded["payment_hash"],))
        db.execute("DELETE FROM market_entry WHERE account = 'user/x'")
    assert ann.balance == 50_000


def test_held_money_comes_back_without_being_asked_for(net, tmp_path):
    """The service is killed while a payee holds a payment, which fails later: nobody asks for that payment again."""
    only_emulated(net)
    hub = Service(tmp_path, net["seller"], **MARKET)
    try:
        ann = Visitor(hub, "ann", net)
        ann.fund(50_000)
        held(net, ann, f"back{hub.port}")
        hub.kill()
        net["hop"].rpc.call("emulate-release")
        with database(hub) as db:
            db.execute("UPDATE billing_payment SET lease_until = 1")
        hub.start()
        until(lambda: ann.balance == 50_000, 60)
        assert sum(books(hub).values()) == 0 and books(hub).get("paying", 0) == 0
    finally:
        net["hop"].rpc.call("emulate-fault", {})
        hub.kill()


def test_a_payment_is_counted_though_a_later_one_was_found_first(net, tmp_path):
    """At its start the service finds an open invoice paid, by its label, and is killed; an older one is not lost."""
    hub = Service(tmp_path, net["seller"], **MARKET)
    try:
        ann = Visitor(hub, "ann", net)
        old = ann.post("/account/deposit", msatoshi=50_000)
        with hub.http() as shop:
            young = shop.post("/invoice", json={"msatoshi": 1000, "expiry": 604_800}).json()
        hub.kill()
        for each in (old, young):
            net["buyer"].rpc.call("xpay", {"invstring": each["payreq"], "maxfee": 5000})
        with database(hub) as db:  # two days go by
            db.execute("UPDATE billing_invoice SET expires_at = expires_at - 172800 WHERE id = ?", (old["id"],))
        code = (
            "import os, sys\nfrom pathlib import Path\nfrom satmeter.billing.config import load\n"
            "from satmeter.billing.container import Container\nfrom satmeter.billing.payment_follower import Follower\n"
            "Follower._run = lambda self: os.kill(os.getpid(), 9)\n"
            "Container(load(Path(sys.argv[1]))).follower.start()\n"
            "import time; time.sleep(20)"
        )
        killed = subprocess.run([sys.executable, "-c", code, str(hub.config)], capture_output=True, timeout=60)
        assert killed.returncode == -9
        hub.start()
        until(lambda: ann.balance == 50_000)
    finally:
        hub.kill()


def test_an_invoice_is_paid_or_deleted_and_never_both(net, hub, visitor):
    ben = visitor("ben")
    ben.fund(20_000)
    paid = 0
    with hub.http() as shop:
        for _ in range(12):
            made = shop.post("/invoice", json={"msatoshi": 1000, "service": "cat"}).json()
            start = threading.Barrier(2)

            def pay(made=made, start=start):
                start.wait(20)
                return ben.http.post(f"/checkout/{made['id']}/pay").status_code

            def delete(made=made, start=start):
                start.wait(20)
                return shop.request("DELETE", f"/invoice/{made['id']}", json={"status": "unpaid"}).status_code

            with ThreadPoolExecutor(2) as pool:
                found = [f.result(60) for f in (pool.submit(pay), pool.submit(delete))]
            assert found in ([200, 409], [200, 400], [200, 404], [409, 204], [404, 204]), found
            paid += found[0] == 200
    assert ben.balance == 20_000 - paid * 1000


def test_who_can_not_pay_shuts_no_invoice(net, hub, visitor):
    """Two invoices at once with money for one: the other stays open to wallets."""
    eve = visitor("eve")
    eve.fund(10_000)
    with hub.http() as shop:
        for _ in range(5):
            made = [shop.post("/invoice", json={"msatoshi": 10_000}).json() for _ in range(2)]
            start = threading.Barrier(2)

            def pay(each, start=start):
                start.wait(20)
                return eve.http.post(f"/checkout/{each['id']}/pay").status_code

            with ThreadPoolExecutor(2) as pool:
                found = list(pool.map(pay, made))
            assert sorted(found) == [200, 402]
            left = made[found.index(402)]
            net["buyer"].rpc.call("xpay", {"invstring": left["payreq"], "maxfee": 5000})
            until(lambda left=left: shop.get(f"/invoice/{left['id']}").json()["status"] == "paid")
            eve.fund(10_000)


def test_a_payment_from_an_account_that_was_cut_off_is_taken_up(net, tmp_path):
    """Killed after the money was set aside: it is paid, or given back, by whoever comes next."""
    hub = Service(tmp_path, net["seller"], **MARKET)
    try:
        ben = Visitor(hub, "ben", net)
        ben.fund(10_000)
        with hub.http() as shop:
            made = shop.post("/invoice", json={"msatoshi": 4_000}).json()
        hub.kill()
        code = (
            "import os, sys\nfrom pathlib import Path\nfrom satmeter.billing.config import load\n"
            "from satmeter.billing.container import Container\nfrom satmeter.billing.invoices import Invoices\n"
            "from satmeter.market.container import Market\nmarket = Market(Container(load(Path(sys.argv[1]))))\n"
            "Invoices.shut = lambda self, row: os.kill(os.getpid(), 9)\n"
            "market.orders.pay(market.users.named('ben').id, market.billing.invoices.find(sys.argv[2]))"
        )
        command = [sys.executable, "-c", code, str(hub.config), made["id"]]
        assert subprocess.run(command, capture_output=True, timeout=60).returncode == -9
        hub.start()
        assert ben.balance == 6_000 and books(hub)["paying"] == 4_000
        until(lambda: books(hub)["paying"] == 0, 100, 1)
        with hub.http() as shop:
            assert shop.get(f"/invoice/{made['id']}").json()["status"] == "paid"
        assert ben.balance == 6_000 and books(hub)["hub"] == 4_000
    finally:
        hub.kill()


def test_nobody_is_charged_for_what_the_node_paid_by_itself(net, hub, visitor):
    ann = visitor("ann")
    ann.fund(50_000)
    bought = net["hop"].rpc.call("invoice", [20_000, f"own{ann.name}", "x"])
    net["seller"].rpc.call("xpay", {"invstring": bought["bolt11"], "maxfee": 5000})
    ann.post("/account/send", status=409, to=bought["bolt11"])
    assert ann.balance == 50_000


def test_the_operators_cap_is_everybodys(hub, visitor):
    visitor("ann").post("/account/deposit", status=400, msatoshi=10_000_001)


def test_a_revoked_seller_stays_revoked(hub, visitor):
    sue = visitor("sue")
    with stranger(hub) as gate:
        gate.auth = ("api-token", sue.post("/sell/token")["api_token"])
        assert gate.post("/hooks", json={"url": "http://127.0.0.1:9/", "events": ["paid"]}).status_code == 201
    name = next(line.split()[1] for line in hub.command("client", "list")[1].splitlines() if "seller/" in line)
    code, out = hub.command("client", "revoke", name)
    assert code == 0, out
    sue.post("/sell/token", status=409)


def test_reputation_is_not_for_nothing(net, hub, visitor, somewhere):
    sue, eve = visitor("sue"), visitor("eve")
    eve.fund(10_000)
    cheap, dear = sue.publish("c", 1, somewhere), sue.publish("d", 1_000, somewhere)
    gate = stranger(hub)
    gate.auth = ("api-token", sue.post("/sell/token")["api_token"])

    def used(offer):
        (bought,) = eve.buy_from_account(offer)
        where = {"hash": bought["hash"], "service": offer["service"]}
        assert gate.post("/verifyHash", params=where).status_code == 200
        return bought["id"]

    eve.post(f"/dashboard/{used(cheap)}/rate", status=409, stars=5)  # no fee, no word
    eve.post(f"/dashboard/{used(dear)}/rate", stars=5)
    eve.post(f"/dashboard/{used(dear)}/rate", status=409, stars=5)  # one buyer, one rating
    other = somewhere.replace("secret=1", "secret=2")
    assert sue.publish("d", 1_000, other)["ratings"] == 0  # another thing under its name


def test_a_seller_takes_no_more_for_a_use_by_renewal(net, hub, visitor, somewhere):
    sue, ben = visitor("sue"), visitor("ben")
    offer = sue.publish("r", 1_000, somewhere, uses=2)
    gate = stranger(hub)
    gate.auth = ("api-token", sue.post("/sell/token")["api_token"])
    ben.fund(60_000)
    (bought,) = ben.buy_from_account(offer)
    ben.post(f"/dashboard/{bought['id']}/renew", msatoshi=50_000)
    for _ in range(2):
        gate.post("/verifyHash", params={"hash": bought["hash"], "service": "r"})
    for price, uses in ((50_000, 2), (1_000, 1)):
        sue.publish("r", price, somewhere, uses=uses)
        assert gate.post("/refresh", params={"hash": bought["hash"], "ask": False}).status_code == 404
    sue.publish("r", 900, somewhere, uses=2)
    assert gate.post("/refresh", params={"hash": bought["hash"], "ask": False}).status_code == 200
    assert ben.balance == 60_000 - 1_000 - 900


def test_who_has_a_token_spends_no_more_than_its_holder_allowed(net, hub, visitor, somewhere):
    """The seller's own gate among them, which sees every token: in all, in a day, in a minute, for that service."""
    sue, ben = visitor("sue"), visitor("ben")
    offer = sue.publish("r", 1_000, somewhere)
    gate = stranger(hub)
    gate.auth = ("api-token", sue.post("/sell/token")["api_token"])
    ben.fund(100_000)
    (bought,) = ben.buy_from_account(offer)

    def drain():
        """Use up and renew, as often as it goes; returns what that took from the account."""
        token, before = bought["hash"], ben.balance
        while True:
            gate.post("/verifyHash", params={"hash": token, "service": "r"})
            answer = gate.post("/refresh", params={"hash": token, "ask": False})
            if answer.status_code != 200:
                return before - ben.balance
            token = answer.json()["hash"]

    def renew(status=200, **fields):
        ben.post(f"/dashboard/{bought['id']}/renew", status=status, **fields)

    def days_go_by(days):
        with database(hub) as db:
            sql = "UPDATE market_purchase SET paid_at = paid_at - ? WHERE service = 'r' AND paid_at > 0"
            db.execute(sql, (days * 86_400,))

    assert drain() == 0  # nothing is renewed that nobody allowed
    renew(msatoshi=6_000, day_msatoshi=4_000)
    assert drain() == 4_000 and drain() == 0
    (newest,) = (p for p in ben.get("/dashboard")["purchases"] if not p["renewed"])
    assert (newest["renew_msat"], newest["renew_day_msat"]) == (2_000, 4_000)
    days_go_by(1)
    assert drain() == 2_000
    days_go_by(1)
    assert drain() == 0
    renew(msatoshi=90_000)  # by the first purchase, though it was renewed: ten times the price a day
    assert drain() == 10_000
    renew(msatoshi=90_000, day_sat="90")
    assert drain() == 0  # ten in a minute
    with database(hub) as db:
        db.execute("UPDATE market_purchase SET paid_at = paid_at - 60 WHERE service = 'r' AND paid_at > 0")
    sue.publish("r", 1_000, somewhere.replace("secret=1", "secret=2"))
    assert drain() == 0  # another place under its name
    sue.publish("r", 1_001, somewhere, uses=2)
    assert drain() == 0  # cheaper for a use, but dearer
    sue.publish("r", 1_000, somewhere)
    renew(sat="0")
    assert drain() == 0
    renew(status=400, msatoshi=1, day_sat="-1")
    visitor("eve").post(f"/dashboard/{bought['id']}/renew", status=409, msatoshi=90_000)


def test_a_small_answer_that_unpacks_to_a_large_one_is_refused(hub, visitor):
    packed = gzip.compress(bytes(50_000_000))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-encoding", "gzip")
            self.send_header("content-length", str(len(packed)))
            self.end_headers()
            self.wfile.write(packed)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    said = visitor("sue").post("/sell", status=400, service="x", msatoshi=1, node_url=url)
    assert "compressed" in said["detail"]
    server.shutdown()


def test_many_logins_at_once_stop_nothing_else(hub, visitor):
    visitor("ann")
    stop, slow = threading.Event(), []

    def knock(n):
        with stranger(hub) as who:
            statuses = set()
            while not stop.is_set():
                statuses.add(who.post("/login", data={"name": f"n{n}", "password": "a password"}).status_code)
            return statuses

    with ThreadPoolExecutor(40) as pool:
        knocking = [pool.submit(knock, n) for n in range(40)]
        with hub.http() as gate:
            for _ in range(10):
                answer = gate.post("/verifyHash", params={"hash": "x", "service": "y"})
                slow.append(answer.elapsed.total_seconds())
        stop.set()
        assert set().union(*(k.result(60) for k in knocking)) <= {401, 429}
    assert sorted(slow)[5] < 5  # it was half a minute


def test_one_account_does_not_fill_the_line(net, tmp_path):
    only_emulated(net)
    hub, hop = Service(tmp_path, net["seller"], **MARKET), net["hop"].rpc
    try:
        ben, eve = Visitor(hub, "ben", net), Visitor(hub, "eve", net)
        ben.fund(100_000)
        eve.fund(10_000)
        hop.call("emulate-fault", {"hang": 30})
        made = [hop.call("invoice", [1000, f"line{hub.port}-{n}", "x"])["bolt11"] for n in range(14)]
        with ThreadPoolExecutor(14) as pool:
            found = [f.result(60) for f in [pool.submit(ben.http.post, "/account/send", data={"to": m}) for m in made]]
        assert sorted(f.status_code for f in found) == [202] * 10 + [402] * 4
        hop.call("emulate-fault", {})
        hop.call("emulate-release")
        last = hop.call("invoice", [1000, f"last{hub.port}", "x"])["bolt11"]
        assert eve.post("/account/send", to=last)["status"] == "paid"
    finally:
        hop.call("emulate-fault", {})
        hop.call("emulate-release")
        hub.kill()


def test_taken_names_shut_nobody_out(net, tmp_path):
    hub = Service(tmp_path, net["seller"], **{**MARKET, "sign_ups_per_minute": 3})
    try:
        ann = Visitor(hub, "ann", net)
        for _ in range(5):
            ann.post("/register", status=400, name="ann", password="a password")
        Visitor(hub, "ben", net)
        Visitor(hub, "carl", net)
        ann.post("/register", status=429, name="dora", password="a password")
    finally:
        hub.kill()


JSON = {"content-type": "application/json"}
ODD = ["\x00", "a\x00b", "\ud800", "€" * 50, "9" * 400, "1e999999", "[" * 5000, "{'a':" * 900]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_odd_text_anywhere_is_an_error_and_no_breakdown(hub, visitor, odd):
    ann = visitor("ann")
    fields = (
        "name",
        "password",
        "offer",
        "service",
        "node_url",
        "description",
        "sat",
        "msatoshi",
        "to",
        "stars",
        "once",
    )
    paths = (
        "/login", "/register", "/market/cart", "/market/cart/remove", "/sell", "/sell/show", "/account/deposit",
        "/account/send", "/account/quote", "/dashboard/x/rate", "/dashboard/x/renew", "/checkout/x/pay",
    )  # fmt: skip
    body = dict.fromkeys(fields, odd)
    for path in paths:
        for answer in (
            ann.http.post(path, content=json.dumps(body), headers=JSON),
            ann.http.post(path, data=_encodable(body)),
        ):
            assert answer.status_code < 500, (path, answer.text)
    with hub.http() as client:
        text = odd.encode("utf-8", "replace").decode()[:2000]
        for path in ("/verifyHash", "/refresh", "/payment/verify", "/payment/credit"):
            params = dict.fromkeys(
                ("hash", "service", "token", "session", "pledge", "signature", "id", "msatoshi"), text
            )
            assert client.post(path, params=params).status_code < 500
        for path in ("/market/offer/", "/receipt/", "/invoice/", "/checkout/", "/.well-known/lnurlp/", "/lnurlp/"):
            quoted = f"{hub.url}{path}{quote(text[:100], safe='')}"
            for accept in ("application/json", "text/html"):
                assert stranger(hub).get(quoted, headers={"accept": accept}).status_code < 500
        assert client.get("/invoices", params={"before": text}).status_code < 500
    for origin in ("http://[", "null", odd[:20].encode("ascii", "ignore").decode().replace("\0", "")):
        answer = ann.http.post("/account/deposit", data={"sat": "1"}, headers={"origin": origin})
        assert answer.status_code in (200, 403) if not origin else answer.status_code == 403


def _encodable(body):
    return {k: v.encode("utf-8", "replace").decode() for k, v in body.items()}
