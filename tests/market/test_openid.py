"""Signing in with an OpenID Connect provider."""

import httpx
import pytest
from joserfc.jwk import RSAKey

from services import MARKET, Service


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
