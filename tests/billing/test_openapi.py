"""Whatever fits the OpenAPI description, or nearly does, is answered, and never by a 5xx (schemathesis)."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from services import MARKET, Service, Visitor

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


def test_who_may_make_a_call_is_described_as_it_is(hub):
    """Without a word of who one is: refused where the description names a way to say so, and nowhere else."""
    open_to_all, closed = [], []
    with httpx.Client(base_url=hub.url, headers={"accept": "application/json"}) as nobody:
        for path, methods in httpx.get(f"{hub.url}/openapi.json").json()["paths"].items():
            for method, about in methods.items():
                if path in ENDLESS and not about.get("security"):
                    continue
                needed = {each["name"]: "x" for each in about.get("parameters", ()) if each.get("required")}
                sent = {"params": {name: {"msatoshi": "1"}.get(name, "0" * 64) for name in needed}}
                sent |= {} if method == "get" else {"data": {}}
                status = nobody.request(method.upper(), path.replace("{id}", "x"), **sent).status_code
                (open_to_all if {} in about.get("security", [{}]) else closed).append((method, path, status))
    assert [each for each in open_to_all if each[2] == 401] == [("post", "/login", 401)]  # no such name
    assert {status for _, _, status in closed} == {401}, closed
    assert len(closed) > 30


def test_answers_have_the_shapes_that_are_described(hub, someone, net):
    described = schemathesis.openapi.from_url(f"{hub.url}/openapi.json")
    auth = ("api-token", hub.secrets["all"])

    def call(method, path, status=200, body=None, **more):
        given = {"body": body, "media_type": "application/json"} if body is not None else {}
        answer = described[path][method].Case(**given, **more).call_and_validate(base_url=hub.url, auth=auth)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    call("GET", "/info")
    made = call("POST", "/invoice", 201, {"msatoshi": "5000", "service": "water", "uses": 2, "metadata": {"order": 1}})
    mine = {"path_parameters": {"id": made["id"]}}
    call("GET", "/invoice/{id}/wait", 402, **mine, query={"timeout": 0.1})
    net["buyer"].rpc.call("xpay", {"invstring": made["payreq"]})
    paid = call("GET", "/invoice/{id}/wait", **mine)
    assert paid["status"] == "paid" and call("GET", "/invoice/{id}", **mine)["msatoshi_received"] == "5000"
    assert made["id"] in [each["id"] for each in call("GET", "/invoices")]
    assert call("GET", "/listinvoice", query={"token": made["id"]})["id"] == made["id"]
    bought = {"token": made["id"], "service": "water"}
    token = call("POST", "/payment/verify", query=bought)["hash"]
    assert call("POST", "/verifyHash", query={"hash": token, "service": "water"})["status"] == "success"
    uses = [{"hash": token, "service": "water"}, {"hash": "none", "service": "water"}]
    assert call("POST", "/payment/uses", body={"uses": uses})["passed"] == [True, False]
    call("POST", "/refresh", 402, query={"hash": token})
    hook = call("POST", "/hooks", 201, {"url": "https://shop.example/paid", "events": ["paid"]})
    assert call("GET", "/hooks/{id}/secret", path_parameters={"id": hook["id"]})["secret"] == hook["secret"]
    assert [each["id"] for each in call("GET", "/hooks")] == [hook["id"]]
    call("DELETE", "/hooks/{id}", 204, path_parameters={"id": hook["id"]})
    call("GET", "/newaddr")
    asked = net["buyer"].rpc.call("invoice", {"amount_msat": 3000, "label": "shaped", "description": "x"})
    assert call("POST", "/pay", body={"payreq": asked["bolt11"]})["completed"]
    call("GET", "/health")
    call("GET", "/.well-known/lnurlp/{name}", path_parameters={"name": "schemathesis"})
    call("GET", "/lnurlp/{name}", path_parameters={"name": "schemathesis"}, query={"amount": "2000"})


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
