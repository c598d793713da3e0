"""A Shelly plug with power metering, as its RPC over HTTP shows it: password, energy, and a timer of its own."""

import hashlib
import json
import re
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from ...core.plain import JsonObject

INFO = {"id": "shellyplusplugs-a8032ab1fe78", "mac": "A8032AB1FE78", "model": "SNPL-00112EU", "gen": 2, "ver": "1.4.4"}


class Plug:
    """A plug with power metering; `energy` in Wh, and a timer that switches it off."""

    def __init__(self, password: str = "", info: JsonObject = INFO) -> None:
        self.energy, self.power, self.password, self.info = 1_000.0, 0.0, password, dict(info)
        self.off_at, self.nonce, self.metered = 0.0, secrets.token_hex(8), True
        plug = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, said = plug.answer(self.path, self.headers.get("Authorization", ""))
                body = json.dumps(said).encode()
                self.send_response(status)
                if status == 401:
                    wanted = f'Digest qop="auth", realm="{plug.info["id"]}", nonce="{plug.nonce}", algorithm=SHA-256'
                    self.send_header("WWW-Authenticate", wanted)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.host = f"127.0.0.1:{self._server.server_port}"

    @property
    def on(self) -> bool:
        """Whether it is switched on, by its own timer."""
        return time.monotonic() < self.off_at

    def _known(self, path: str, header: str) -> bool:
        if not self.password:
            return True
        given = dict(re.findall(r'(\w+)="?([^",]+)"?', header))
        if given.get("nonce") != self.nonce:
            return False
        user = _digest(f"admin:{self.info['id']}:{self.password}")
        asked = _digest(f"GET:{path}")
        whole = f"{user}:{given['nonce']}:{given['nc']}:{given['cnonce']}:auth:{asked}"
        return bool(given["response"] == _digest(whole))

    def answer(self, path: str, header: str) -> tuple[int, JsonObject]:
        """Returns the HTTP status and what it says to a request."""
        if not self._known(path, header):
            return 401, {"code": 401}
        asked, query = urlsplit(path), parse_qs(urlsplit(path).query)
        if asked.path == "/rpc/Shelly.GetDeviceInfo":
            return 200, self.info
        if query.get("id") != ["0"]:
            return 404, {"code": 404, "message": "No handler for Switch"}
        if asked.path == "/rpc/Switch.Set":
            was = self.on
            self.off_at = time.monotonic() + float(query["toggle_after"][0]) if query["on"] == ["true"] else 0.0
            return 200, {"was_on": was}
        status = {"id": 0, "source": "http", "output": self.on, "apower": self.power, "voltage": 231.0}
        return 200, {**status, "aenergy": {"total": self.energy, "by_minute": [0.0]}} if self.metered else status

    def close(self) -> None:
        """It is gone."""
        self._server.shutdown()
        self._server.server_close()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
