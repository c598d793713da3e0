"""The billing service did what the gate asked, and its answer was lost: nothing is paid twice, and nothing is lost."""

import http.server
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import gates
from gates import pledge
from satmeter.billing.config import Config
from satmeter.billing.container import Container
from satmeter.billing.tokens import Use
from satmeter.core.errors import BadParam
from satmeter.gate.owed import MOST_CREDIT, OwedUse, OwedUses
from shop import Shop, close, open_stream, status
from waiting import until


class Between:
    """A service behind a line that carries all questions, and drops an answer where it is told to."""

    def __init__(self, service):
        self.service, self.secrets, self.drop = service, service.secrets, []
        between = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                kept = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "content-length")}
                answer = httpx.post(service.url + self.path, content=body, headers=kept)
                if between.drop and between.drop[0] in self.path:
                    between.drop.pop(0)
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(answer.status_code)
                for name in ("content-type", "content-length"):
                    self.send_header(name, answer.headers.get(name, ""))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_):
                """Says nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def command(self, *words):
        return self.service.command(*words)


@pytest.fixture
def line(service):
    made = Between(service)
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def gate(line, tmp_path):
    client, stop = gates.start(line, tmp_path)
    yield client
    stop()


def bought(net, service, uses=1):
    """A token for the weather."""
    with service.http() as http:
        made = http.post("/invoice", json={"msatoshi": 1000, "service": "weather", "uses": uses}).json()
        net["buyer"].rpc.call("xpay", {"invstring": made["payreq"], "maxfee": 5000})
        asked = {"token": made["id"], "service": "weather"}
        until(lambda: http.post("/payment/verify", params=asked).status_code == 200)
        return {"Authorization": f"Bearer {http.post('/payment/verify', params=asked).json()['hash']}"}


def test_an_answer_that_is_lost_is_asked_for_again_and_the_use_spent_once(net, service, line, gate):
    token = bought(net, service, uses=2)
    line.drop += ["/payment/uses"]
    assert [gate.get("/weather/paris", headers=token).status_code for _ in range(3)] == [200, 200, 402]
    assert not line.drop


def test_where_no_answer_comes_the_use_is_given_back(net, service, line, gate):
    token = bought(net, service)
    line.drop += ["/payment/uses"] * 3
    assert gate.get("/weather/paris", headers=token).status_code == 502
    until(lambda: gate.get("/weather/paris", headers=token).status_code == 200)
    assert gate.get("/weather/paris", headers=token).status_code == 402


@pytest.fixture
def tokens(net, tmp_path):
    """A worker's tokens, and a paid invoice of three uses."""
    rpc = net["seller"].lightning_dir / "lightning-rpc"
    opened = Container(Config(rpc=rpc, database=f"sqlite:///{tmp_path}/billing"))
    opened.follower.begin()
    row = opened.invoices.make("shop", 1_000, services=("/a",), uses=3)
    net["buyer"].rpc.call("xpay", {"invstring": row["payreq"]})
    yield opened, Use("rhash", row["rhash"], ("/a",))
    opened.hub.stop()


def left(opened, use):
    """How many uses are left, by spending them."""
    count = 0
    while opened.spend([use]) == [True]:
        count += 1
    return count


def test_under_an_id_uses_are_spent_once_and_given_back_once(tokens):
    opened, use = tokens
    assert [opened.spend([use, None], id="1") for _ in range(3)] == [[True, False]] * 3
    for _ in range(3):
        opened.spend([use, None], id="1", undo=True)
    assert opened.spend([use, None], id="1") == [False, False] and left(opened, use) == 3


def test_a_question_that_comes_after_it_was_given_up_spends_nothing(tokens):
    opened, use = tokens
    opened.spend([use], id="1", undo=True)
    assert opened.spend([use], id="1") == [False] and left(opened, use) == 3


@pytest.fixture
def session(net):
    """A stream whose credit may be spent at a gate."""
    with Shop(net["seller"]) as shop:
        opened = open_stream(net["buyer"], shop, shop.add(), max_spend_msat=8_000)
        until(lambda: status(net["buyer"], opened)["paid_msat"] >= 10_000)
        yield opened
        close(net["buyer"], opened)


def sold(net, session):
    return next(s for s in net["seller"].rpc.call("meter-status")["sessions"] if s["session"] == session)


def test_reserved_credit_whose_answer_is_lost_is_released(net, line, gate, session):
    line.drop += ["/payment/credit?"]
    assert gate.get("/weather/paris", headers=pledge(net["buyer"], session, gate)).status_code == 502
    assert not line.drop
    until(lambda: not sold(net, session)["reserved_msat"])
    assert not sold(net, session)["spent_msat"]


def test_credit_that_was_settled_while_the_answer_was_lost_is_delivered_for(net, line, gate, session):
    line.drop += ["/payment/credit/settle"]
    assert gate.get("/weather/paris", headers=pledge(net["buyer"], session, gate)).status_code == 200
    assert not line.drop
    until(lambda: (sold(net, session)["spent_msat"], sold(net, session)["reserved_msat"]) == (1_000, 0))


def test_what_is_owed_waits_while_the_service_does_not_know_us(net, service, tmp_path):
    """A token that was revoked, or typed wrong at a new start, empties no list of what payers are owed."""
    path = tmp_path / "gate.owed"
    owed = OwedUses(path)
    owed.add(OwedUse("1", "hash", "token"))
    owed.close()
    _, stop = gates.start(service, tmp_path, token="a wrong one")
    try:
        until(lambda: "401" in (tmp_path / "gate.log").read_text())
    finally:
        stop()
    assert [each.id for each in OwedUses(path).all()] == ["1"]


def test_credit_that_strangers_have_owed_is_bounded(tmp_path):
    owed = OwedUses(None)
    for n in range(3_000):
        owed.add(OwedUse(str(n), "credit", "s"))
    owed.add(OwedUse("payer", "hash", "t"))
    assert len(owed.all()) == MOST_CREDIT + 1


def test_an_id_is_of_its_uses_and_its_client(tokens):
    opened, use = tokens
    assert opened.spend([use], id="1", who="gate") == [True]
    with pytest.raises(BadParam, match="used for other uses"):
        opened.spend([use, use], id="1", who="gate")
    assert opened.spend([use], id="1", who="another") == [True] and left(opened, use) == 1


def test_a_payment_that_is_counted_late_is_spent_once_under_an_id(net, tokens):
    opened, _ = tokens
    row = opened.invoices.make("shop", 1_000, services=("/a",), uses=3)
    late = Use("rhash", row["rhash"], ("/a",))
    net["buyer"].rpc.call("xpay", {"invstring": row["payreq"]})
    assert [opened.spend([late], id="7") for _ in range(3)] == [[True]] * 3 and left(opened, late) == 2


def test_many_workers_give_back_once(postgresql, net):
    rpc = net["seller"].lightning_dir / "lightning-rpc"
    opened = Container(Config(rpc=rpc, database=postgresql))
    opened.follower.begin()
    row = opened.invoices.make("shop", 1_000, services=("/a",), uses=20)
    net["buyer"].rpc.call("xpay", {"invstring": row["payreq"]})
    use = Use("rhash", row["rhash"], ("/a",))
    assert opened.spend([use] * 5, id="kept") == [True] * 5 and opened.spend([use] * 5, id="lost") == [True] * 5
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: opened.spend([use] * 5, id="lost", undo=True), range(12)))
    assert left(opened, use) == 15
    opened.hub.stop()
