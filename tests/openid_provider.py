"""An OpenID Connect provider of our own, as discovery describes any."""

import http.server
import json
import threading
import time
from base64 import urlsafe_b64encode
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey


class Provider:
    """Logs everybody in as `who` at once; its tokens are signed, and can be made wrong on purpose."""

    def __init__(self):
        self.key = RSAKey.generate_key(2048, {"kid": "k"}, private=True)
        self.who = {"sub": "7", "preferred_username": "Ann B."}
        self.signs = self.key
        self.unsigned, self.algorithms, self.named = False, ["RS256"], None
        self.nonces = {}
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

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = self.said = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def discovery(self):
        return {
            "issuer": self.named or self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": self.algorithms,
        }

    def id_token(self):
        now = int(time.time())
        claims = {"iss": self.said, "aud": "hub", "iat": now, "exp": now + 60, "nonce": self.nonces["code"], **self.who}
        if self.unsigned:
            parts = ({"alg": "none", "kid": "k"}, claims)
            return ".".join(urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in parts) + "."
        return jwt.encode({"alg": "RS256", "kid": "k"}, claims, self.signs)


@pytest.fixture(scope="module")
def provider():
    running = Provider()
    yield running
    running.server.shutdown()
    running.server.server_close()
