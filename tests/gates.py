"""A gate before a real server."""

import http.server
import re
import secrets
import subprocess
import sys
import threading
import time
from contextlib import suppress

import httpx

from services import free_port
from waiting import until

SECRET = "a secret of the gate, long enough"
CONFIG = """
upstream = "http://127.0.0.1:{upstream}"
service = "{service}"
api_token = "{token}"
secret = "{secret}"
port = {port}
most_bytes = 100000
timeout_s = 2
mint_per_minute = 100

[[price]]
path = "/free/**"
msatoshi = 0

[[price]]
path = "/weather/*"
methods = ["GET"]
service = "weather"
msatoshi = 1000

[[price]]
path = "/**"
methods = ["GET", "POST", "HEAD"]
service = "rest"
msatoshi = "2sat"
uses = 3
"""


class Upstream:
    """What stands behind the gate: it says what it was asked."""

    def __init__(self):
        self.asked, self.port, self.headers = [], free_port(), {}
        self.pause = threading.Event()
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                body = self.body()
                upstream.asked.append((self.command, self.path, dict(self.headers), body))
                if "slow" in self.path:
                    upstream.pause.wait(60)
                found = re.search(r"status-(\d+)", self.path)
                status = 500 if "broken" in self.path else int(found[1]) if found else 200
                self.send_response(status)
                self.send_header("content-type", "text/plain")
                for name, value in upstream.headers.items():
                    self.send_header(name, value)
                if status == 304 or self.command == "HEAD":
                    self.end_headers()
                    return
                self.send_header("content-length", str(len(self.path) + len(body)))
                self.end_headers()
                with suppress(OSError):  # the gate gave up
                    self.wfile.write(self.path.encode() + body)

            def body(self):
                if self.headers.get("transfer-encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("content-length", 0)))
                body = b""
                while size := int(self.rfile.readline() or b"0", 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            do_GET = do_POST = do_HEAD = do_OPTIONS = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def pledge(node, session, gate, path="/", msat=100_000, lasts_s=60, **other):
    """What a buyer puts into the header: a line, signed by its node."""
    name = other.get("name", f"{gate.base_url.host}:{gate.base_url.port}")
    nonce = other.get("nonce", secrets.token_hex(8))
    line = f"satmeter-gate {session} {name} {path} {msat} {int(time.time()) + lasts_s} {nonce}"
    zbase = node.rpc.call("signmessage", [line])["zbase"]
    return {"Authorization": f"Meter {zbase} {other.get('sent', line)}"}


def start(service, directory, config=CONFIG, token=None, program=("-m", "satmeter.cli")):
    """Run `satmeter gate` before an Upstream; returns a client of it and what ends it."""
    upstream, port = Upstream(), free_port()
    path = directory / "gate.toml"
    values = {"upstream": upstream.port, "service": service.url, "token": token or service.secrets["all"]}
    path.write_text(config.format(port=port, secret=SECRET, **values))
    log = path.with_suffix(".log").open("w")
    command = [sys.executable, *program, "gate", "--config", str(path)]
    running = subprocess.Popen(command, stdout=log, stderr=log)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def answers():
        assert running.poll() is None, path.with_suffix(".log").read_text()
        try:
            return client.get("/free/x").status_code == 200
        except httpx.HTTPError:
            return False

    until(answers)
    client.upstream, client.service, client.path, client.running = upstream, service, path, running

    def stop():
        running.terminate()
        running.wait(20)
        log.close()
        upstream.server.shutdown()

    return client, stop
