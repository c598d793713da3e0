"""Whom an OpenID Connect provider's answer lets in: its own client's people, by tokens that it has signed."""

from contextlib import contextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from openid_provider import Provider as Emulated
from satmeter.http.openid import OpenID, Provider

BACK = "http://testserver/back"


@contextmanager
def emulated(**how):
    running = Emulated()
    for name, value in how.items():
        setattr(running, name, value)
    try:
        yield running
    finally:
        running.server.shutdown()
        running.server.server_close()


def log_in(provider, issuer=None):
    """The way of a browser to the provider and back; returns the last answer."""
    ours = Provider(OpenID("Example", issuer or provider.issuer, "hub", "secret"))

    async def away(request):
        return await ours.away(request, BACK)

    async def back(request):
        return JSONResponse(await ours.who(request))

    app = Starlette(
        routes=[Route("/login", away), Route("/back", back)],
        middleware=[Middleware(SessionMiddleware, secret_key="of a test")],
    )
    with TestClient(app, follow_redirects=False) as browser:
        sent = browser.get("/login")
        if sent.status_code != 302:
            return sent
        returned = httpx.get(sent.headers["location"])
        return browser.get(returned.headers["location"])


def test_who_is_signed_for_this_client_comes_in():
    with emulated() as provider:
        answer = log_in(provider)
        assert answer.status_code == 200 and answer.json()["sub"] == "7"
        assert log_in(provider, provider.issuer + "/").status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another"},
        {"aud": "another", "azp": "hub"},
        {"aud": ["another", "one"], "azp": "hub"},
        {"aud": None},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"exp": 1},
        {"nonce": "another"},
    ],
)
def test_what_is_said_to_another_client_by_another_provider_or_long_ago_lets_nobody_in(claims):
    with emulated() as provider:
        provider.who = {**provider.who, **claims}
        assert log_in(provider).status_code == 401


@pytest.mark.parametrize("algorithms", [["RS256"], ["RS256", "none"], ["none"]])
def test_a_token_that_nobody_signed_lets_nobody_in(algorithms):
    with emulated(unsigned=True, algorithms=algorithms) as provider:
        assert log_in(provider).status_code == 401


@pytest.mark.parametrize("named", ["https://evil.example", " "])
def test_a_provider_that_names_another_issuer_than_the_config_lets_nobody_in(named):
    with emulated(named=named) as provider:
        provider.said = named
        assert log_in(provider).status_code == 502
