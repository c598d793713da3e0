"""A Shelly over HTTP: what its RPC answers here is what the second generation answers, password and all."""

import asyncio
import hashlib
import json
import re
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from satmeter.core.errors import BadParam
from satmeter.device.boundary import DeviceTrouble
from satmeter.device.config import device
from satmeter.device.fields import Fields
from satmeter.device.shelly import Shelly

INFO = {"id": "shellyplusplugs-a8032ab1fe78", "mac": "A8032AB1FE78", "model": "SNPL-00112EU", "gen": 2, "ver": "1.4.4"}


class Plug:
    """A plug with power metering; `energy` in Wh, and a timer that switches it off."""

    def __init__(self, password="", info=INFO):
        self.energy, self.power, self.password, self.info = 1_000.0, 0.0, password, dict(info)
        self.off_at, self.nonce, self.metered = 0.0, secrets.token_hex(8), True
        plug = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, said = plug.answer(self.path, self.headers.get("Authorization", ""))
                body = json.dumps(said).encode()
                self.send_response(status)
                if status == 401:
                    wanted = f'Digest qop="auth", realm="{plug.info["id"]}", nonce="{plug.nonce}", algorithm=SHA-256'
                    self.send_header("WWW-Authenticate", wanted)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.host = f"127.0.0.1:{self._server.server_port}"

    @property
    def on(self):
        return time.monotonic() < self.off_at

    def _known(self, path, header):
        if not self.password:
            return True
        given = dict(re.findall(r'(\w+)="?([^",]+)"?', header))
        if given.get("nonce") != self.nonce:
            return False
        digest = lambda text: hashlib.sha256(text.encode()).hexdigest()  # noqa: E731
        user = digest(f"admin:{self.info['id']}:{self.password}")
        asked = digest(f"GET:{path}")
        whole = f"{user}:{given['nonce']}:{given['nc']}:{given['cnonce']}:auth:{asked}"
        return given["response"] == digest(whole)

    def answer(self, path, header):
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

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def plug():
    made = Plug()
    yield made
    made.close()


def shelly(plug, **more):
    return Shelly(Fields("device", {"host": plug.host, **more}))


def run(act):
    async def whole():
        try:
            return await act()
        finally:
            pass

    return asyncio.run(whole())


def test_it_counts_switches_and_goes_off_by_itself(plug):
    async def act():
        made = shelly(plug, dead_man_s=2)
        before = await made.read()
        plug.energy, plug.power = 1_000.25, 60.5
        after = await made.read()
        assert (after.value - before.value, str(after.power)) == (after.value - 1_000, "60.5")
        await made.allow()
        assert plug.on
        await made.cut()
        assert not plug.on
        await made.allow()
        await asyncio.sleep(2.1)  # its own clock, which is what is tried here
        assert not plug.on
        await made.close()

    run(act)


def test_with_its_password_and_not_with_another():
    plug = Plug(password="secret")
    try:

        async def act():
            assert (await shelly(plug, password="secret").read()).value == 1_000
            for wrong in ({}, {"password": "other"}):
                with pytest.raises(DeviceTrouble, match="wants a password"):
                    await shelly(plug, **wrong).read()

        run(act)
    finally:
        plug.close()


@pytest.mark.parametrize(
    ("change", "more", "words"),
    [
        ({"metered": False}, {}, "with power metering"),
        ({"info": {"type": "SHPLG-S"}}, {}, "second generation"),
        ({}, {"id": "shellyplusplugs-other"}, "has its address changed"),
        ({}, {"channel": 3}, "answered 404"),
        ({"energy": "lots"}, {}, "counts 'lots'"),
    ],
)
def test_what_is_not_as_it_should_be_is_said(plug, change, more, words):
    for name, value in change.items():
        setattr(plug, name, value)

    async def act():
        with pytest.raises(DeviceTrouble, match=words):
            await shelly(plug, **more).read()

    run(act)


def test_one_that_is_not_there_is_said(plug):
    plug.close()

    async def act():
        with pytest.raises(DeviceTrouble, match="is it on, and is that its address"):
            await shelly(plug).read()

    run(act)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "shelly"}, "host: is missing"),
        ({"kind": "shelly", "host": 7}, "host: must be a text"),
        ({"kind": "shelly", "host": "h", "dead_man_s": 1}, "from 2 to 60"),
        ({"kind": "shelly", "host": "h", "pasword": "x"}, "pasword: is no field"),
        ({"kind": "toaster"}, "there is no 'toaster'"),
        ({}, "kind: is missing"),
    ],
)
def test_a_config_names_what_is_wrong(values, words):
    with pytest.raises(BadParam, match=words):
        device("meter socket.device", values)
