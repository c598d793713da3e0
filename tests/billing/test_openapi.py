"""Whatever fits the OpenAPI description, or nearly does, is answered, and never by a 5xx (schemathesis)."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from billing import MARKET, Service, Visitor

ENDLESS = ("/payment-stream", "/events", "/checkout/{id}/wait", "/invoice/{id}/wait")
"""Streams, and long polls: those are tried with ids that nobody has."""
EXAMPLES = 15
MAY_FAIL = ("/newaddr", "/pay", "/account/send", "/account/quote", "/login/openid")
"""What asks the node, or another hub, which may refuse (502)."""


@pytest.fixture(scope="module")
def hub(net):
    running = Service(net.directory / "fuzzed", net["seller"], **{**MARKET, "mint_per_minute": 10**6})
    yield running
    running.stop()


@pytest.fixture(scope="module")
def someone(hub, net):
    """Who has every scope, and is logged in: so that what is behind the doors is reached."""
    visitor = Visitor(hub, "schemathesis", net)
    visitor.fund(50_000)
    return visitor


def operations(hub):
    schema = schemathesis.openapi.from_url(f"{hub.url}/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


def test_every_call_is_described_with_examples(hub):
    described = httpx.get(f"{hub.url}/openapi.json").json()["paths"]
    for path, methods in described.items():
        for method, about in methods.items():
            assert about.get("description") or about.get("summary"), (path, method)
            body = about.get("requestBody", {}).get("content", {})
            assert all("example" in content for content in body.values()), (path, method)
    assert {"/invoice", "/pay", "/payment/verify", "/verifyHash", "/refresh", "/market", "/sell"} <= set(described)


def test_nothing_that_comes_in_is_a_server_error(hub, someone):
    auth, cookies = ("api-token", hub.secrets["all"]), dict(someone.http.cookies)
    tried = 0
    for operation in operations(hub):
        if operation.path in ENDLESS or operation.path in ("/logout", "/sell/token"):
            continue

        @settings(
            max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
        )
        @given(case=operation.as_strategy())
        def each(case):
            nonlocal tried
            tried += 1
            answer = case.call(base_url=hub.url, auth=auth, cookies=cookies, timeout=30)
            if answer.status_code >= 500:
                assert answer.status_code == 502 and case.path in MAY_FAIL, (case.method, case.path, answer.text)
            said = answer.headers.get("content-type", [""])[0]
            if answer.status_code >= 400 and "problem+json" in said:
                assert {"type", "title", "status", "detail"} <= set(answer.json())

        each()
    assert tried > 300
    with hub.http() as http:
        assert http.get("/info").status_code == 200  # and it still serves
