"""The gate before a real server: by hash token, and by L402 as today's clients do."""

import asyncio
import base64
import hashlib
import re
import socket
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import uvicorn
import websockets.sync.client
from hypothesis import given
from hypothesis import strategies as st
from pymacaroons import Macaroon

import gates
from gates import SECRET
from satmeter.core.errors import BadParam
from satmeter.gate import config as gate_config
from satmeter.gate.l402 import L402, TOKEN_HEADERS
from satmeter.gate.owed import OwedUse, OwedUses
from satmeter.gate.prices import parse
from satmeter.gate.upstream import plain_path
from satmeter.http import server as httpd
from satmeter.qr import read
from services import Service, free_port
from waiting import until


def challenged(answer):
    """The macaroon and the invoice of a 402."""
    assert answer.status_code == 402, answer.text
    l402, lsat = answer.headers.get_list("www-authenticate")
    found = re.match(r'L402 version="0", token="([A-Za-z0-9+/]+={0,2})", invoice="([^"]+)"', l402).groups()
    assert l402.endswith(f', invoice="{found[1]}", macaroon="{found[0]}"')
    assert lsat == f'LSAT macaroon="{found[0]}", invoice="{found[1]}"' and len(found[0]) % 4 == 0
    assert answer.headers["cache-control"] == "no-store"
    return found


def paid(net, answer):
    """Pay what a 402 asks for; returns the header that opens the gate."""
    macaroon, invoice = challenged(answer)
    done = net["buyer"].rpc.call("xpay", {"invstring": invoice, "maxfee": 5000})
    return {"Authorization": f"L402 {macaroon}:{done['payment_preimage']}"}


def test_what_is_free_passes_and_what_is_not_sold_does_not(gate):
    assert gate.get("/free/a?b=c").text == "/free/a?b=c"
    assert gate.request("DELETE", "/weather/paris").status_code == 405
    assert gate.get("/").status_code == 402


def test_l402_from_402_to_the_answer_once(net, gate):
    header = paid(net, gate.get("/weather/paris"))
    until(lambda: gate.get("/weather/paris?d=1", headers=header).text == "/weather/paris?d=1")
    assert "Authorization" not in gate.upstream.asked[-1][2] and "authorization" not in gate.upstream.asked[-1][2]
    assert challenged(gate.get("/weather/rome", headers=header))  # one use: used up


PERSON = {"Accept": "text/html,application/xhtml+xml"}


def browser(gate):
    return httpx.Client(base_url=gate.base_url, headers=PERSON, timeout=30)


def test_a_person_gets_a_page_with_a_code_that_opens_once_it_is_paid(net, gate):
    with browser(gate) as one, browser(gate) as other:
        page = one.get("/weather/paris")
        _, invoice = challenged(page)
        assert page.headers["content-type"].startswith("text/html") and page.headers["refresh"]
        assert f'href="lightning:{invoice}"' in page.text and "1 sat" in page.text and "<script" not in page.text
        picture = drawn(page.text)
        assert [f.text for f in read.read(picture)] == [invoice.upper()]
        assert challenged(one.get("/weather/paris"))[1] == invoice  # and not another with each look
        net["buyer"].rpc.call("xpay", {"invstring": invoice, "maxfee": 5000})
        one.cookies.set("theirs", "kept")
        until(lambda: one.get("/weather/paris").text == "/weather/paris")
        passed = {k.lower(): v for k, v in gate.upstream.asked[-1][2].items()}
        assert passed["cookie"] == "theirs=kept"
        assert other.get("/weather/paris").status_code == 402
        assert challenged(one.get("/weather/paris"))[1] != invoice  # one use: used up


def test_a_browsers_use_that_was_given_back_opens_the_page_at_once(net, gate):
    """Its one use is under way when a picture of the page asks by the same cookie, and is refused."""
    with browser(gate) as one:
        page = one.get("/weather/slow-broken")
        net["buyer"].rpc.call("xpay", {"invstring": challenged(page)[1], "maxfee": 5000})
        with ThreadPoolExecutor(1) as thread:
            first = thread.submit(one.get, "/weather/slow-broken")
            until(lambda: any(path == "/weather/slow-broken" for _, path, _, _ in gate.upstream.asked))
            cookie = {"Cookie": f"satmeter-gate={page.cookies['satmeter-gate']}"}
            picture = gate.get("/weather/a.png", headers={"Accept": "image/png", **cookie})
            assert picture.status_code == 402
            gate.upstream.pause.set()
            assert first.result().status_code == 500
        assert one.get("/weather/paris").text == "/weather/paris"


def drawn(page):
    """The code of a page as a picture: its dark runs are rows of modules."""
    side = int(re.search(r'viewBox="0 0 (\d+) ', page)[1])
    picture = np.full((side, side), 255, np.uint8)
    for x, y, run in re.findall(r"M(\d+),(\d+)h(\d+)v1", page.split('<path d="')[1]):
        picture[int(y), int(x) : int(x) + int(run)] = 0
    return np.kron(picture, np.ones((6, 6), np.uint8))


@pytest.mark.parametrize(
    "change", [lambda v: v[:-1] + ("0" if v[-1] != "0" else "1"), lambda v: "a" * 64 + v[64:], str.upper]
)
def test_a_cookie_that_the_gate_did_not_make_opens_nothing(net, gate, change):
    with browser(gate) as one:
        page = one.get("/weather/paris")
        net["buyer"].rpc.call("xpay", {"invstring": challenged(page)[1], "maxfee": 5000})
        value = page.cookies["satmeter-gate"]
        for path, cookie in (("/weather/paris", change(value)), ("/other", value)):
            assert (
                httpx.get(f"{gate.base_url}{path}", headers=PERSON, cookies={"satmeter-gate": cookie}).status_code
                == 402
            )


def test_a_pass_for_one_service_is_none_for_another(net, gate):
    header = paid(net, gate.get("/weather/paris"))
    assert gate.get("/other", headers=header).status_code == 402
    until(lambda: gate.get("/weather/x", headers=header).status_code == 200)


def test_three_uses_are_three_however_many_ask_at_once(net, gate):
    header = paid(net, gate.post("/things", content=b"x"))
    until(lambda: gate.post("/things", headers=header, content=b"hello").text == "/thingshello")
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda n: gate.get(f"/things/{n}", headers=header).status_code, range(20)))
    assert sorted(found) == [200] * 2 + [402] * 18


def test_a_hash_token_opens_it_too(net, gate):
    with gate.service.http() as http_:
        invoice = http_.post("/invoice", json={"msatoshi": 1000, "service": "weather"}).json()
        net["buyer"].rpc.call("xpay", {"invstring": invoice["payreq"], "maxfee": 5000})
        assert http_.get(f"/invoice/{invoice['id']}/wait").status_code == 200
        where = {"token": invoice["id"], "service": "weather"}
        token = http_.post("/payment/verify", params=where).json()["hash"]
    header = {"Authorization": f"Bearer {token}"}
    assert [gate.get("/weather/oslo", headers=header).status_code for _ in range(3)] == [200, 402, 402]


@pytest.mark.parametrize(
    "value",
    [
        "Bearer nonsense",
        "Bearer",
        "L402 x:y",
        "L402 MDA:00",
        "L402 AgEI:00",
        "L402 :",
        "LSAT a",
        "Basic abc",
        "L402 " + "A" * 5000,
        "Bearer \xff",
    ],
)
def test_what_is_no_token_is_asked_to_pay(gate, value):
    assert challenged(gate.get("/weather/x", headers={"Authorization": value.encode("latin-1")}))


def test_what_was_not_delivered_is_not_charged(net, gate):
    header = paid(net, gate.get("/broken"))
    until(lambda: gate.get("/broken", headers=header).status_code == 500)
    assert [gate.get("/broken", headers=header).status_code for _ in range(5)] == [500] * 5
    assert [gate.get("/whole", headers=header).status_code for _ in range(4)] == [200, 200, 200, 402]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/status-404", 404), ("GET", "/status-304", 304), ("HEAD", "/things", 200)]
)
def test_what_gave_nothing_costs_no_use(net, gate, method, path, status):
    header = paid(net, gate.get("/things"))
    for _ in range(5):
        assert gate.request(method, path, headers=header).status_code == status
    assert [gate.get("/things", headers=header).status_code for _ in range(4)] == [200, 200, 200, 402]


def test_what_the_config_charges_all_the_same_is_charged(net, service, tmp_path):
    gate, stop = gates.start(service, tmp_path, 'uncharged = ["HEAD"]\n' + gates.CONFIG)
    try:
        header = paid(net, gate.get("/weather/paris"))
        assert gate.get("/weather/status-404", headers=header).status_code == 404
        assert gate.get("/weather/paris", headers=header).status_code == 402
    finally:
        stop()


def test_a_use_that_came_to_nothing_while_the_service_was_away_is_given_back_later(net, tmp_path):
    """Also where the gate was restarted meanwhile; and the payer is not told that nothing was charged."""
    own = Service(tmp_path / "service", net["seller"])
    gate, stop = gates.start(own, tmp_path)
    gate.upstream.pause = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        header = paid(net, gate.get("/weather/paris"))
        asked = len(gate.upstream.asked)
        slow = pool.submit(gate.get, "/weather/slow", headers=header)
        until(lambda: len(gate.upstream.asked) > asked)
        own.kill()
        answer = slow.result()
    assert answer.status_code == 504 and "given back as soon as the billing service answers" in answer.text
    gate.upstream.pause.set()
    stop()
    kept = sqlite3.connect(gate.path.with_suffix(".owed"))
    assert kept.execute("SELECT count(*) FROM owed").fetchone() == (1,)
    own.start()
    gate, stop = gates.start(own, tmp_path)
    try:
        until(lambda: kept.execute("SELECT count(*) FROM owed").fetchone() == (0,))
        assert gate.get("/weather/paris", headers=header).status_code == 200
        assert gate.get("/weather/paris", headers=header).status_code == 402
    finally:
        stop()
        own.stop()


def test_a_gate_that_is_killed_gives_back_what_it_did_not_answer(net, service, tmp_path):
    """Two uses under way and one that was answered: two are given back at the next start."""
    gate, stop = gates.start(service, tmp_path)
    gate.upstream.pause = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        header = paid(net, gate.get("/rest/first"))
        assert gate.get("/rest/first", headers=header).status_code == 200
        slow = [pool.submit(gate.get, f"/slow/{n}", headers=header) for n in range(2)]
        until(lambda: sum("slow" in asked[1] for asked in gate.upstream.asked) == 2)
        gate.running.kill()
        assert all(isinstance(each.exception(), httpx.HTTPError) for each in slow)
    gate.upstream.pause.set()
    stop()
    kept = sqlite3.connect(gate.path.with_suffix(".owed"))
    assert kept.execute("SELECT count(*) FROM owed").fetchone() == (2,)
    gate, stop = gates.start(service, tmp_path)
    try:
        until(lambda: kept.execute("SELECT count(*) FROM owed").fetchone() == (0,))
        assert [gate.get("/rest/first", headers=header).status_code for _ in range(3)] == [200, 200, 402]
    finally:
        stop()


def test_one_that_cannot_be_given_back_holds_up_no_other(net, service, tmp_path):
    """Credit of a session that nobody knows any more is free, and a use of a token that is unknown is no use."""
    owed = OwedUses(tmp_path / "gate.owed")
    with service.http() as http:
        made = http.post("/invoice", json={"msatoshi": 1000, "service": "weather", "uses": 1}).json()
        net["buyer"].rpc.call("xpay", {"invstring": made["payreq"], "maxfee": 5000})
        use = {"rhash": made["rhash"], "service": "weather"}
        until(lambda: http.post("/payment/spend", params=use).status_code == 200)
        owed.add(OwedUse("1", "credit", "5e" * 16))
        owed.add(OwedUse("2", "hash", "no token"))
        owed.add(OwedUse("3", "rhash", made["rhash"]))
        owed.close()
        _, stop = gates.start(service, tmp_path)
        try:
            until(lambda: http.post("/payment/spend", params=use).status_code == 200)
            kept = sqlite3.connect(tmp_path / "gate.owed")
            until(lambda: kept.execute("SELECT count(*) FROM owed").fetchone() == (0,))
        finally:
            stop()


def test_what_is_owed_is_kept_where_it_cannot_be_written_down(tmp_path):
    owed = OwedUses(tmp_path / "gate.owed")
    owed._db.close()
    owed.add(OwedUse("1", "hash", "t"))
    assert owed.all() == [OwedUse("1", "hash", "t")]
    owed.remove("1")
    assert owed.all() == []


def test_a_use_is_given_back_once_under_an_id(net, service):
    with service.http() as http:
        made = http.post("/invoice", json={"msatoshi": 1000, "service": "once", "uses": 3}).json()
        net["buyer"].rpc.call("xpay", {"invstring": made["payreq"], "maxfee": 5000})
        use = {"rhash": made["rhash"], "service": "once"}
        until(lambda: http.post("/payment/spend", params=use).status_code == 200)
        assert http.post("/payment/spend", params=use).status_code == 200
        back = [http.post("/payment/return", params={"rhash": made["rhash"], "id": "a1"}).status_code for _ in range(3)]
        assert back == [200, 200, 200]
        assert [http.post("/payment/spend", params=use).status_code for _ in range(3)] == [200, 200, 404]


def test_a_flood_gets_its_own_invoice_again_and_then_words(net, service, tmp_path):
    gate, stop = gates.start(service, tmp_path, gates.CONFIG.replace("mint_per_minute = 100", "mint_per_minute = 5"))
    try:
        asked = [challenged(gate.get("/weather/paris"))[1] for _ in range(12)]
        assert len(set(asked)) == 5 and asked[4:] == [asked[4]] * 8
        other = gate.get("/things")
        assert other.status_code == 429 and int(other.headers["retry-after"]) > 0
        other.read()
        header = paid(net, gate.get("/weather/paris"))
        assert gate.get("/weather/paris", headers=header).status_code == 200
        assert gate.get("/weather/paris", headers=header).status_code == 429  # and not the invoice that is paid
    finally:
        stop()


def test_a_service_that_makes_no_more_invoices_is_a_429_too(net, tmp_path):
    own = Service(tmp_path / "service", net["seller"], mint_per_minute=3)
    gate, stop = gates.start(own, tmp_path)
    try:
        answers = [gate.get("/weather/paris") for _ in range(5)]
        assert [a.status_code for a in answers] == [402] * 3 + [429] * 2
        assert int(answers[-1].headers["retry-after"]) > 0
    finally:
        stop()
        own.stop()


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_of_ipv6_a_payer_is_its_network(address, network):
    assert httpd.network_of(address) == network


def test_what_a_stranger_says_of_itself_is_not_believed_and_not_passed_on(gate):
    names = "X-Forwarded-For Forwarded X-Real-IP X_Forwarded_For X-Client-IP X-Forwarded-Port X-Original-URL "
    names += "X-Rewrite-URL X-HTTP-Method-Override X-Method-Override"
    claimed = dict.fromkeys(names.split(), "203.0.113.9")
    named = {"Connection": "close, X-Inner", "X-Inner": "1", "X-Outer": "1"}
    assert gate.get("/free/x", headers={**claimed, **named}).status_code == 200
    seen = {name.lower(): value for name, value in gate.upstream.asked[-1][2].items()}
    assert "203.0.113.9" not in str(seen) and "x-inner" not in seen and seen["x-outer"] == "1"
    assert seen["x-forwarded-for"] == "127.0.0.1" and seen["x-forwarded-proto"] == "http"


def test_an_answer_does_not_lead_past_the_gate(gate):
    upstream = f"http://127.0.0.1:{gate.upstream.port}"
    try:
        for said, passed in (
            (f"{upstream}/free/y?z=1", "/free/y?z=1"),
            ("https://example.org/", "https://example.org/"),
        ):
            gate.upstream.headers = {"Location": said, "Connection": "X-Inner", "X-Inner": "1"}
            answer = gate.get("/free/status-302")
            assert answer.headers["location"] == passed and "x-inner" not in answer.headers
    finally:
        gate.upstream.headers = {}


def test_headers_that_do_not_come_are_given_up(monkeypatch):
    monkeypatch.setattr(httpd, "HEADERS_S", 0.3)

    async def app(scope, receive, send):
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await asyncio.sleep(1)  # longer than headers may take
            await send({"type": "websocket.send", "text": "still here"})
            await receive()
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", **httpd.settings("127.0.0.1", port, ())))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        for said in (b"", b"GET / HTTP/1.1\r\nhost: x\r\n", b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HT"):
            with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
                line.sendall(said)
                heard = b""
                while piece := line.recv(1000):
                    heard += piece
                assert heard.startswith(b"HTTP/1.1 200") if said.endswith(b"GET / HT") else heard == b""
        with websockets.sync.client.connect(f"ws://127.0.0.1:{port}/") as ws:
            assert ws.recv(20) == "still here"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.mark.parametrize("wrong", ["127.0.0.1", [1.5], ["example.org"], ["10.0.0.1/8"]])
def test_proxies_are_addresses(wrong):
    with pytest.raises(BadParam, match="proxies"):
        httpd.checked_proxies(wrong)
    assert httpd.checked_proxies(["127.0.0.1", "::1", "10.0.0.0/8"]) == ("127.0.0.1", "::1", "10.0.0.0/8")


def test_an_unpaid_invoice_opens_nothing(gate):
    macaroon, _ = challenged(gate.get("/weather/x"))
    assert gate.get("/weather/x", headers={"Authorization": f"L402 {macaroon}:{'00' * 32}"}).status_code == 402


def test_a_path_that_could_mean_another_is_refused(gate):
    seen = len(gate.upstream.asked)
    tricks = (
        "/free/../weather/x /free/%2e%2e/weather/x /free/..%2fweather //weather/x /free/%5c..%5cx /free/..;/weather/x"
    )
    for path in (*tricks.split(), "/free/..%3b/x", "/free/%2e./x"):
        with socket.create_connection(("127.0.0.1", gate.base_url.port), timeout=10) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert s.recv(100).split()[1] == b"400", path
    assert len(gate.upstream.asked) == seen


def test_too_large_a_body_is_refused(gate):
    assert gate.post("/free/x", content=bytes(100_001)).status_code == 413
    pieces = (bytes(40_000) for _ in range(5))
    assert gate.post("/free/x", content=pieces).status_code == 413
    assert all(len(body) <= 100_000 for _, _, _, body in gate.upstream.asked)
    assert gate.post("/free/x", content=b"ok").text == "/free/xok"


@given(raw=st.binary(max_size=40))
def test_a_plain_path_is_plain(raw):
    from urllib.parse import unquote_to_bytes

    found = plain_path({"path": "/" + unquote_to_bytes(raw).decode("utf-8", "replace"), "raw_path": b"/" + raw})
    assert found is None or not {"..", "."} & set(found.split("/"))


@given(value=st.text(max_size=200) | st.text(max_size=100).map("L402 ".__add__))
def test_any_authorization_is_a_pass_or_none(value):
    assert L402(SECRET).check({"authorization": value}, "weather") is None


@given(name=st.sampled_from(TOKEN_HEADERS), value=st.text(max_size=200) | st.binary(max_size=300).map(bytes.hex))
def test_any_token_header_is_a_pass_or_none(name, value):
    assert L402(SECRET).check({name: value}, "weather") is None


def test_after_a_change_of_secret_what_was_bought_before_is_good():
    preimage, old, new = bytes(32), "the old secret of this gate, long", "the new secret of this gate, long"
    (challenge, _) = L402(old).challenge(hashlib.sha256(preimage).hexdigest(), "lnbc1", "weather", 1000)
    token = re.search('token="([^"]+)"', challenge)[1]
    value = {"authorization": f"L402 {token}:{preimage.hex()}"}
    assert L402(new, [old]).check(value, "weather", 1001) is not None
    assert L402(new, ["another secret that nobody has had"]).check(value, "weather", 1001) is None
    assert L402(old).check(dict(value), "weather", 1001) is not None


def test_l402_holds_for_its_service_and_time_only():
    preimage = bytes(range(32))
    rhash = hashlib.sha256(preimage).hexdigest()
    made = L402(SECRET).challenge(rhash, "lnbc1", "a, b", 1000)
    value = {"authorization": f"L402 {re.search('token=.([^,]+).,', made[0])[1]}:{preimage.hex()}"}
    assert L402(SECRET).check(value, "a, b", 1001).payment_hash == rhash
    assert L402(SECRET).check(value, "a", 1001) is None
    assert L402(SECRET).check(value, "a, b", 1000 + 31 * 86_400) is None
    assert L402(SECRET + "x").check(value, "a, b", 1001) is None


def narrowed(token, *caveats):
    macaroon = Macaroon.deserialize(token)
    for caveat in caveats:
        macaroon.add_first_party_caveat(caveat)
    return base64.b64encode(base64.urlsafe_b64decode(macaroon.serialize() + "==")).decode()


def test_every_form_that_is_in_the_field_is_read():
    """Facts: the L402 specification, aperture's header.go, and what clients send."""
    preimage, other = bytes(range(32)), "00" * 32
    rhash = hashlib.sha256(preimage).hexdigest()
    l402 = L402(SECRET)
    token = re.search('token="([^"]+)"', l402.challenge(rhash, "lnbc1", "a", 1000)[0])[1]
    raw, secret = base64.b64decode(token, validate=True), preimage.hex()
    unsafe = base64.urlsafe_b64encode(raw).decode()
    carried = base64.b64decode(narrowed(token, f"preimage={secret}")).hex()
    good = [
        {"authorization": f"L402 {token}:{secret}"},
        {"authorization": f"LSAT {token}:{secret}"},
        {"authorization": f"l402  {token}:{secret.upper()} "},
        {"authorization": f"L402 {unsafe}:{secret}"},
        {"authorization": f"L402 {unsafe.rstrip('=')}:{secret}"},
        {"authorization": f"L402 {token.rstrip('=')}:{secret}"},
        {"authorization": f"L402 AgEI,{token}:{secret}"},
        {"authorization": f"L402 {narrowed(token, 'who=somebody')}:{secret}"},
        {"authorization": f"L402 {narrowed(token, 'valid_until=2000', 'services=b:0,a:0')}:{secret}"},
        *({name: carried} for name in TOKEN_HEADERS),
    ]
    assert [
        each for each in good if (found := l402.check(each, "a", 1001)) is None or found.payment_hash != rhash
    ] == []
    bad = [
        {"authorization": f"L402 {token}:{other}"},
        {"authorization": f"L402 {narrowed(token, 'valid_until=1000')}:{secret}"},
        {"authorization": f"L402 {narrowed(token, 'services=b:0')}:{secret}"},
        {"authorization": f"Bearer {token}:{secret}"},
        {"macaroon": raw.hex()},
        {"macaroon": base64.b64decode(narrowed(token, f"preimage={other}")).hex()},
    ]
    assert [each for each in bad if l402.check(each, "a", 1001) is not None] == []


def test_a_token_goes_no_further_than_the_gate(net, gate):
    token, invoice = challenged(gate.get("/weather/paris"))
    preimage = net["buyer"].rpc.call("xpay", {"invstring": invoice, "maxfee": 5000})["payment_preimage"]
    header = {"Grpc-Metadata-Token": base64.b64decode(narrowed(token, f"preimage={preimage}")).hex(), "Token": "mine"}
    assert gate.get("/weather/paris", headers=header).status_code == 200
    passed_on = {name.lower(): value for name, value in gate.upstream.asked[-1][2].items()}
    assert "grpc-metadata-token" not in passed_on and passed_on["token"] == "mine"


@pytest.mark.parametrize(
    "given_",
    [
        [],
        None,
        [{"path": "x", "msatoshi": 0}],
        [{"path": "/x"}],
        [{"path": "/x", "msatoshi": -1, "service": "a"}],
        [{"path": "/x", "msatoshi": 1}],
        [{"path": "/x", "msatoshi": 1, "service": "a,b"}],
        [{"path": "/x", "msatoshi": 1, "service": "a", "uses": 0}],
        [{"path": "/x", "msatoshi": 0, "methods": ["FETCH"]}],
        [{"path": "/x", "msatoshi": 0, "colour": 1}],
    ],
)
def test_prices_that_are_wrong_are_refused(given_):
    with pytest.raises(BadParam, match="price"):
        parse(given_)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"upstream": "x"}, "upstream"),
        ({"secret": "short"}, "secret"),
        ({"port": 0}, "port"),
        ({"colour": 1}, "colour"),
        ({"api_token": ""}, "api_token"),
        ({"host": 5}, "host"),
        ({"name": "HOST.example"}, "name"),
    ],
)
def test_a_config_that_is_wrong_is_refused(change, why):
    good = {"upstream": "http://a", "service": "http://b", "api_token": "t", "secret": SECRET}
    good["price"] = [{"path": "/x", "msatoshi": 0}]
    assert gate_config.checked(good).port == 8083
    with pytest.raises(BadParam, match=why):
        gate_config.checked({**good, **change})


@pytest.mark.parametrize("head", ["Content-Length: 10", "Transfer-Encoding: chunked"])
def test_a_body_that_stops_coming_is_given_up(gate, head):
    with socket.create_connection((gate.base_url.host, gate.base_url.port), timeout=30) as s:
        s.sendall(f"POST /free/x HTTP/1.1\r\nHost: gate\r\n{head}\r\n\r\n".encode())
        s.sendall(b"3\r\nabc\r\n" if "chunked" in head else b"abc")
        status = s.recv(1000).split()[1]
    # An upstream that does not wait for the body, as this one in chunks, may have answered by then.
    assert status == b"408" or (status == b"200" and "chunked" in head)
    assert gate.post("/free/x", content=b"ok").text == "/free/xok"


def test_scripts_of_other_pages_may_use_the_gate_and_a_preflight_costs_nothing(net, gate):
    page = {"Origin": "https://shop.example"}
    header = paid(net, gate.get("/weather/paris"))
    seen = len(gate.upstream.asked)
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    for extra in ({}, header):
        preflight = gate.options("/weather/paris", headers={**page, **asks, **extra})
        assert preflight.status_code == 200 and preflight.headers["access-control-allow-origin"] == "*"
        assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    assert len(gate.upstream.asked) == seen
    asked = gate.get("/weather/rome", headers=page)
    assert asked.status_code == 402 and "WWW-Authenticate" in asked.headers["access-control-expose-headers"]
    answer = gate.get("/weather/paris", headers={**page, **header})
    assert answer.status_code == 200 and answer.headers.get_list("access-control-allow-origin") == ["*"]


@pytest.mark.parametrize("origins", ["*", ["shop.example"], [7], ["https://shop.example/path"]])
def test_origins_are_checked(origins):
    given = {"upstream": "http://u", "service": "http://s", "api_token": "t", "secret": SECRET, "price": []}
    with pytest.raises(BadParam, match="origins: must be a list"):
        gate_config.checked({**given, "price": [{"path": "/**", "service": "a", "msatoshi": 1}], "origins": origins})


def test_the_least_of_each_bound_is_taken():
    given = {"upstream": "http://u", "service": "http://s", "api_token": "t", "secret": SECRET}
    least = {"port": 1, "most_bytes": 0, "timeout_s": 1, "mint_per_minute": 1}
    price = [{"path": "/**", "service": "a", "msatoshi": 1}]
    found = gate_config.checked({**given, **least, "price": price})
    assert {name: getattr(found, name) for name in least} == least


def invoice_of(answer):
    return re.search(r'invoice="(ln[a-z0-9]+)"', answer.headers["www-authenticate"])[1]


def test_what_a_person_pays_for_is_nobody_elses_behind_the_same_address(net, service, tmp_path):
    """A page's cookie is good for what is bought, whoever pays: its invoice is shown to nobody else."""
    gate, stop = gates.start(service, tmp_path, gates.CONFIG.replace("mint_per_minute = 100", "mint_per_minute = 2"))
    try:
        with httpx.Client(base_url=gate.base_url) as ann, httpx.Client(base_url=gate.base_url) as other:
            page = {"accept": "text/html"}
            hers = invoice_of(ann.get("/weather/paris", headers=page))
            assert invoice_of(other.get("/weather/paris")) != hers
            assert other.get("/weather/paris", headers=page).status_code == 429
            again = other.get("/weather/paris")
            assert again.status_code == 402 and invoice_of(again) != hers
            net["buyer"].rpc.call("xpay", {"invstring": hers})
            assert other.get("/weather/paris", headers=page).status_code == 429
            assert ann.get("/weather/paris", headers=page).status_code == 200
    finally:
        stop()


def test_what_is_sold_for_another_method_is_said_so(gate):
    answer = gate.request("PATCH", "/weather/paris")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")
