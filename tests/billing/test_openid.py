"""Signing in with an OpenID Connect provider: a small one of our own, as discovery describes any."""

import http.server
import json
import threading
import time
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from billing import MARKET, Service, free_port


class Provider:
    """Logs everybody in as `who` at once; its tokens are signed, and can be made wrong on purpose."""

    def __init__(self):
        self.port, self.key = free_port(), RSAKey.generate_key(2048, {"kid": "k"}, private=True)
        self.who = {"sub": "7", "preferred_username": "Ann B."}
        self.signs = self.key
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.said, self.nonces = self.issuer, {}
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                parts = urlsplit(self.path)
                if parts.path == "/.well-known/openid-configuration":
                    self.answer(provider.discovery())
                elif parts.path == "/jwks":
                    self.answer({"keys": [provider.key.as_dict(private=False)]})
                else:
                    asked = {k: v[0] for k, v in parse_qs(parts.query).items()}
                    assert asked["client_id"] == "hub" and asked["code_challenge"]
                    provider.nonces["code"] = asked["nonce"]
                    self.send_response(302)
                    back = f"{asked['redirect_uri']}?{urlencode({'code': 'code', 'state': asked['state']})}"
                    self.send_header("location", back)
                    self.end_headers()

            def do_POST(self):
                given = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                assert given["code"] == ["code"] and given["code_verifier"]
                self.answer({"access_token": "a", "token_type": "Bearer", "id_token": provider.id_token()})

            def answer(self, body):
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def discovery(self):
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def id_token(self):
        now = int(time.time())
        claims = {"iss": self.said, "aud": "hub", "iat": now, "exp": now + 60, "nonce": self.nonces["code"], **self.who}
        return jwt.encode({"alg": "RS256", "kid": "k"}, claims, self.signs)


@pytest.fixture(scope="module")
def provider():
    running = Provider()
    yield running
    running.server.shutdown()


@pytest.fixture(scope="module")
def hub(net, provider):
    openid = {"name": "Example", "issuer": provider.issuer, "client_id": "hub", "client_secret": "s"}
    running = Service(net.directory / "openid", net["seller"], **MARKET, openid=openid)
    yield running
    running.stop()


def enter(hub):
    """Click through as a browser does; returns the client and where it ended."""
    browser = httpx.Client(base_url=hub.url, follow_redirects=True, timeout=30)
    return browser, browser.get("/login/openid", headers={"accept": "text/html"})


def name_of(browser):
    return browser.get("/account", headers={"accept": "application/json"}).json()["address"].partition("@")[0]


def test_who_comes_again_is_the_same(hub, provider):
    provider.who = {"sub": "7", "preferred_username": "Ann B."}
    assert "Log in with Example" in httpx.get(hub.url + "/login", headers={"accept": "text/html"}).text
    browser, page = enter(hub)
    assert page.status_code == 200 and page.url.path == "/dashboard"
    name = name_of(browser)
    assert name == "ann-b"
    provider.who = {"sub": "7", "preferred_username": "renamed"}
    assert name_of(enter(hub)[0]) == name
    provider.who = {"sub": "8", "preferred_username": "ann b"}
    other = name_of(enter(hub)[0])
    assert other != name and other.startswith("ann-b-")


def test_nobody_logs_in_by_name_and_password_as_one_who_has_none(hub, provider):
    answer = httpx.post(
        hub.url + "/login", data={"name": "ann-b", "password": ""}, headers={"accept": "application/json"}
    )
    assert answer.status_code == 401


def test_what_the_provider_did_not_sign_is_not_believed(hub, provider):
    provider.signs = RSAKey.generate_key(2048, {"kid": "k"}, private=True)
    try:
        assert enter(hub)[1].status_code == 401
    finally:
        provider.signs = provider.key
    provider.said = "https://evil.example"
    try:
        assert enter(hub)[1].status_code == 401
    finally:
        provider.said = provider.issuer


def test_an_answer_that_was_not_asked_for_is_none(hub):
    answer = httpx.get(hub.url + "/login/openid/back", params={"code": "code", "state": "x"})
    assert answer.status_code == 401
