"""Figures of the billing service and its gate."""

import asyncio
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import sqlalchemy as sa
from ground import Figure, interleaved, until

from satmeter.billing.tables import INVOICE, SERVICE
from services import Service, free_port

THREADS, CLIENTS, ROUNDS = 8, 100, 5
EVERY_S = 1.0
UPSTREAM = """
import sys, uvicorn
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
uvicorn.run(app, port=int(sys.argv[1]), log_level="error", lifespan="off")
"""
GATE = """
upstream = "http://127.0.0.1:{upstream}"
service = "{service}"
api_token = "{token}"
secret = "the secret of a gate that is measured"
port = {port}
[[price]]
path = "/free"
msatoshi = 0
[[price]]
path = "/sold"
service = "sold"
msatoshi = 1000
uses = 1000000
"""


def services(net, directory):
    """All figures of the service."""
    service = Service(Path(directory) / "billing", net["seller"], mint_per_minute=1_000_000)
    try:
        yield invoices(net, service)
        yield from gate(net, service, Path(directory))
        yield many_tokens(service)
    finally:
        service.stop()


def rate(act, seconds):
    """Times a second that `act` is done by THREADS threads."""
    end, began = time.monotonic() + seconds, time.monotonic()

    def loop(n):
        done, mine = 0, act(n)
        while time.monotonic() < end:
            mine()
            done += 1
        return done

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(loop, range(THREADS))) / (time.monotonic() - began)


def invoices(net, service):
    """POST /invoice against bare `invoice` calls on the same node."""

    def ours(_):
        http = service.http()
        return lambda: http.post("/invoice", json={"msatoshi": 1000}).raise_for_status()

    def bare(n):
        rpc = net["seller"].rpc
        return lambda: rpc.call("invoice", [1000, f"bare{n}-{time.time_ns()}", "x"])

    mine, theirs, ratio = interleaved(lambda: rate(ours, 3), lambda: rate(bare, 3), ROUNDS)
    note = f"{mine:.0f} a second against {theirs:.0f}, by {THREADS} clients"
    return Figure("POST /invoice, against invoice RPC", ratio, 0.5, least=True, note=note)


def gate(net, service, directory):
    """A paid way through the gate against a free one through the same."""
    upstream, port = free_port(), free_port()
    config = directory / "gate.toml"
    config.write_text(GATE.format(upstream=upstream, service=service.url, token=service.secrets["all"], port=port))
    commands = [
        [sys.executable, "-c", UPSTREAM, str(upstream)],
        [sys.executable, "-m", "satmeter.cli", "gate", "--config", str(config)],
    ]
    running = [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for c in commands]
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _answers(url))
        asked = httpx.get(url + "/sold").headers.get_list("www-authenticate")[0]
        macaroon, invoice = re.match(r'L402 version="0", token="([^"]+)", invoice="([^"]+)"', asked).groups()
        preimage = net["buyer"].rpc.call("xpay", [invoice])["payment_preimage"]
        header = {"Authorization": f"L402 {macaroon}:{preimage}"}
        until(lambda: httpx.get(url + "/sold", headers=header).status_code == 200)
        requests = {"/sold": _request("/sold", header), "/free": _request("/free", {})}

        def run(path):
            return asyncio.run(_load(port, requests[path]))[0]

        mine, theirs, ratio = interleaved(lambda: run("/sold"), lambda: run("/free"), ROUNDS)
        note = f"{mine:.0f} a second against {theirs:.0f}, by {CLIENTS} clients as fast as they can"
        yield Figure("gate, paid against free", ratio, 0.7, least=True, note=note)
        p99 = {path: [] for path in requests}
        for _ in range(ROUNDS):
            for path, bytes_ in requests.items():
                took = asyncio.run(_load(port, bytes_, 5, EVERY_S))[1]
                p99[path].append(statistics.quantiles(took, n=100)[98] * 1000)
        sold, free = (statistics.median(p99[path]) for path in ("/sold", "/free"))
        note = f"{sold:.1f} ms against {free:.1f}, {CLIENTS} clients with a request a second each"
        yield Figure("gate, p99 added by the check, ms", sold - free, 5, note=note)
    finally:
        for process in running:
            process.terminate()
            process.wait(20)


def _answers(url):
    try:
        return httpx.get(url + "/free").status_code == 200
    except httpx.HTTPError:
        return False


def _request(path, headers):
    lines = [f"GET {path} HTTP/1.1", "Host: bench", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _load(port, request, seconds=3, every_s=0.0):
    """CLIENTS clients that ask again and again, each on a connection that stays (with `every_s` at that rate, else as
    fast as they are answered); returns requests a second, and how long each took. By hand: a client library takes
    longer than the gate, and then it would be what is measured."""
    took, end = [], time.monotonic() + seconds

    async def client(n):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        due = time.monotonic() + every_s * n / CLIENTS
        while time.monotonic() < end:
            if every_s:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                due += every_s
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))
            took.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(client(n) for n in range(CLIENTS)))
    return len(took) / seconds, took


def many_tokens(service):
    """POST /payment/verify with a million tokens stored, against a thousand."""
    url = f"sqlite:///{service.directory / 'billing.sqlite3'}"
    medians = {}
    have = 0
    for wanted in (1_000, 1_000_000):
        _store(url, have, wanted)
        have = wanted
        with service.http() as http:
            took = []
            for n in range(300):
                where = {"token": f"bench{(n * 997) % 1000}", "service": "s"}
                began = time.perf_counter()
                http.post("/payment/verify", params=where).raise_for_status()
                took.append(time.perf_counter() - began)
            medians[wanted] = statistics.median(took) * 1000
    note = f"{medians[1_000_000]:.1f} ms against {medians[1_000]:.1f}"
    return Figure("verify, a million tokens against 1,000", medians[1_000_000] / medians[1_000], 1.2, note=note)


def _store(url, first, last):
    engine = sa.create_engine(url, connect_args={"timeout": 60})
    now = int(time.time())
    with engine.begin() as db:
        for start in range(first, last, 50_000):
            some = range(start, min(last, start + 50_000))
            row = {"client": "all", "msatoshi": 1000, "created_at": now, "expires_at": now + 999, "paid_at": now}
            rows = [
                {
                    **row,
                    "id": f"bench{n}",
                    "rhash": f"{n:064x}",
                    "payreq": f"lnbench{n}",
                    "description": "x",
                    "pay_index": 10**9 + n,
                    "uses": 1,
                    "metadata": "null",
                    "msatoshi_received": 1000,
                }
                for n in some
            ]
            db.execute(sa.insert(INVOICE), rows)
            db.execute(sa.insert(SERVICE), [{"invoice": f"bench{n}", "service": "s"} for n in some])
            db.execute(
                sa.text("INSERT INTO billing_token VALUES (:hash, :invoice, 1, 0, :at, 'all')"),
                [{"hash": f"{n:064x}", "invoice": f"bench{n}", "at": now} for n in some],
            )
