"""`satmeter serve` as a process, its clients, and a shop that listens."""

import asyncio
import http.server
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx

from waiting import until

CONFIG = {"payment_cap_msat": 50_000, "hook_hosts": ["127.0.0.1"], "hook_secret": "a secret of the shop"}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Service:
    """The service of a node, until stop() or kill()."""

    def __init__(self, directory, node, **config):
        directory.mkdir(parents=True, exist_ok=True)
        self.node, self.directory, self.port = node, directory, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = directory / "billing.toml"
        rpc = node.lightning_dir / "lightning-rpc"
        database = f"sqlite:///{directory / 'billing.sqlite3'}"
        values = {"rpc": str(rpc), "database": database, "port": self.port, **CONFIG, **config}
        values.setdefault("rates", {"EUR": "50000"})
        values = {k: v(self) if callable(v) else v for k, v in values.items()}
        tables = {k: v for k, v in values.items() if isinstance(v, dict)}
        lines = [f"{k} = {json.dumps(v)}" for k, v in values.items() if k not in tables]
        for name, table in tables.items():
            lines += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
        self.config.write_text("\n".join(lines) + "\n")
        self.secrets = {}
        self.secret("all", "invoice", "pay", "verify", "meter", "metrics")
        self.start()

    def command(self, *args):
        """Run a `satmeter` command on this service's database; returns exit code and output."""
        command = [sys.executable, "-m", "satmeter.cli", *args, "--config", str(self.config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "COLUMNS": "200"})
        return done.returncode, done.stdout + done.stderr

    def secret(self, name, *scopes):
        code, out = self.command("client", "add", name, *[part for s in scopes for part in ("--scope", s)])
        assert code == 0, out
        self.secrets[name] = out.strip().splitlines()[-1]
        return self.secrets[name]

    def start(self):
        log = (self.directory / "log").open("a")
        command = [sys.executable, "-m", "satmeter.cli", "serve", "--config", str(self.config)]
        self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        log.close()

        def answers():
            assert self.process.poll() is None, (self.directory / "log").read_text()
            try:
                return httpx.get(self.url + "/openapi.json", timeout=2).status_code == 200
            except httpx.HTTPError:
                return False

        until(answers, 60)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)

    def kill(self):
        """kill -9, workers and all."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def http(self, name="all"):
        return httpx.Client(base_url=self.url, auth=("api-token", self.secrets[name]), timeout=60)


class Shop:
    """Where webhooks go: a server that keeps what it is told, and can be shut."""

    def __init__(self):
        self.told, self.answer, self.port = queue.Queue(), 200, free_port()
        self.url = f"http://127.0.0.1:{self.port}/paid?secret=1"
        self.server = None
        self.open()

    def open(self):
        shop = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(shop.answer)
                self.send_header("content-length", "0")
                self.end_headers()
                shop.told.put((dict(self.headers), body))

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def shut(self):
        self.server.shutdown()
        self.server.server_close()


MARKET = {
    "market": True,
    "sign_ups_per_minute": 1000,
    "public_url": lambda service: service.url,
    "node_hosts": ["127.0.0.1"],
    "hub_hosts": ["127.0.0.1"],
}
"""A hub's config, for Service."""


class Visitor:
    """Somebody with an account, as a program sees the pages: forms and JSON."""

    def __init__(self, service, name, net=None):
        self.service, self.name, self.net = service, name, net
        self.http = httpx.Client(base_url=service.url, headers={"accept": "application/json"}, timeout=60)
        made = self.post("/register", name=name, password=f"password of {name}")
        assert made["name"] == name

    def post(self, path, status=200, **fields):
        answer = self.http.post(path, data=fields)
        assert answer.status_code == status, answer.text
        return answer.json()

    def get(self, path, status=200, **params):
        answer = self.http.get(path, params=params)
        assert answer.status_code == status, answer.text
        return answer.json()

    @property
    def balance(self):
        return self.get("/account")["msatoshi"]

    def fund(self, msat, payer="buyer"):
        """Add funds from a node's wallet."""
        before = self.balance
        made = self.post("/account/deposit", msatoshi=msat)
        self.net[payer].rpc.call("xpay", {"invstring": made["payreq"], "maxfee": 50_000})
        until(lambda: self.balance == before + msat)

    def publish(self, service, msat, url, **more):
        return self.post("/sell", service=service, msatoshi=msat, node_url=url, **more)["offer"]

    def buy(self, *offers):
        """Put offers into the cart and check out; returns the invoice."""
        for offer in offers:
            self.post("/market/cart", offer=offer["id"])
        return self.post("/market/checkout")

    def buy_from_account(self, *offers):
        invoice = self.buy(*offers)
        self.post(f"/checkout/{invoice['id']}/pay")
        return [p for p in self.get("/dashboard")["purchases"] if p["invoice"] == invoice["id"]]


def stranger(service):
    return httpx.Client(base_url=service.url, headers={"accept": "application/json"}, timeout=60)


def books(service):
    """The hub's ledger as its operator sees it."""
    with service.http() as http:
        text = http.get("/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("satmeter_accounts_msat{")]
    return {line.split('"')[1]: int(float(line.rsplit(" ", 1)[1])) for line in lines}


def in_a_loop(coroutine):
    """Run a coroutine on a thread of its own: a browser's tests keep a loop on this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
