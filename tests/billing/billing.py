"""`satmeter serve` as a process, its clients, and a shop that listens."""

import http.server
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx

DEADLINE_S = 30
CONFIG = {"payment_cap_msat": 50_000, "hook_hosts": ["127.0.0.1"], "hook_secret": "a secret of the shop"}


def until(what, timeout_s=DEADLINE_S):
    end = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < end, f"not within {timeout_s} s"
        time.sleep(0.05)
    return found


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
        values["rates"] = {"EUR": "50000"}
        lines = [f"{k} = {json.dumps(v)}" for k, v in values.items() if k != "rates"]
        rates = [f"{k} = {json.dumps(v)}" for k, v in values["rates"].items()]
        self.config.write_text("\n".join([*lines, "[rates]", *rates]) + "\n")
        self.secrets = {}
        self.secret("all", "invoice", "pay", "verify")
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
