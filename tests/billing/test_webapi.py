"""The web API: from an invoice token to a hash token, which is good for as many uses as were bought."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from waiting import until

SERVICE = "Objects/ParkingFacilitiesBrussels/75496896-CC7B-463A-96B7-B9868E78EC5B/capacity"


@pytest.fixture(scope="module")
def http(service):
    with service.http() as client:
        yield client


def bought(net, http, service=SERVICE):
    """Make an invoice for a service, have the payer go through checkout and pay; returns the invoice."""
    invoice = http.post("/invoice", data={"msatoshi": 1000, "metadata[service_id]": 12}).json()
    away = http.post("/payment/pay", params={"token": invoice["payreq"], "service": service})
    assert away.status_code == 303 and away.headers["location"].endswith(f"/checkout/{invoice['id']}")
    net["buyer"].rpc.call("xpay", {"invstring": invoice["payreq"], "maxfee": 5000})
    until(lambda: http.get(f"/invoice/{invoice['id']}").json()["status"] == "paid")
    return invoice


def verify(http, invoice, service=SERVICE):
    return http.post("/payment/verify", params={"token": invoice["payreq"], "service": service})


def spend(http, hash_token, service=SERVICE, path="/verifyHash"):
    return http.post(path, params={"hash": hash_token, "service": service}).status_code


@pytest.mark.parametrize("path", ["/verifyHash", "/payment/verifyHash"])
def test_a_hash_token_passes_once(net, http, path):
    token = verify(http, bought(net, http)).json()["hash"]
    assert [spend(http, token, path=path) for _ in range(2)] == [200, 404]


def test_what_is_not_paid_is_not_verified(http):
    invoice = http.post("/invoice", data={"msatoshi": 1000}).json()
    http.post("/payment/pay", params={"token": invoice["id"], "service": SERVICE})
    assert verify(http, invoice).status_code == 404
    assert http.post("/payment/verify", params={"token": "none", "service": SERVICE}).status_code == 404


def test_a_token_is_for_its_services_only_and_strangers_hear_one_answer(net, http):
    invoice = bought(net, http, "a,b,c")
    assert verify(http, invoice, "a,b").status_code == 404
    token = verify(http, invoice, "c,b,a").json()["hash"]
    assert spend(http, token, "d") == spend(http, "nonsense", "a") == spend(http, token, "a,d") == 404
    assert spend(http, token, "a,c") == 200
    assert spend(http, token, "a") == 404


def test_verifying_again_ends_the_earlier_token_and_wins_no_use(net, http):
    invoice = bought(net, http)
    first = verify(http, invoice).json()["hash"]
    second = verify(http, invoice).json()["hash"]
    assert spend(http, first) == 404 and spend(http, second) == 200
    third = verify(http, invoice).json()["hash"]
    assert spend(http, third) == 404


def test_of_many_at_once_one_passes(net, service, http):
    token = verify(http, bought(net, http)).json()["hash"]
    with ThreadPoolExecutor(20) as pool:

        def one(_):
            with service.http() as mine:
                return spend(mine, token)

        assert sorted(pool.map(one, range(40))) == [200] + [404] * 39


def test_many_verifications_at_once_leave_one_good_token(net, service, http):
    invoice = bought(net, http)
    with ThreadPoolExecutor(10) as pool:

        def one(_):
            with service.http() as mine:
                return verify(mine, invoice).json()["hash"]

        tokens = list(pool.map(one, range(20)))
    assert sorted(spend(http, t) for t in tokens) == [200] + [404] * 19


def test_a_token_that_is_used_up_is_refreshed_by_paying_again(net, http):
    token = verify(http, bought(net, http)).json()["hash"]
    left = http.post("/refresh", params={"hash": token})
    assert left.status_code == 400 and "1 of 1 uses left" in left.json()["detail"]
    assert spend(http, token) == 200
    again = http.post("/refresh", params={"hash": token})
    assert again.status_code == 402 and again.json()["msatoshi"] == "1000"
    net["buyer"].rpc.call("xpay", {"invstring": again.json()["payreq"], "maxfee": 5000})
    until(lambda: http.get(f"/invoice/{again.json()['id']}").json()["status"] == "paid")
    fresh = verify(http, again.json()).json()["hash"]
    assert spend(http, fresh) == 200 and http.post("/refresh", params={"hash": "none"}).status_code == 404


def test_only_the_seller_says_what_an_invoice_is_for(service, http):
    invoice = http.post("/invoice", data={"msatoshi": 1000}).json()
    where = {"token": invoice["payreq"], "service": "a"}
    assert httpx.post(service.url + "/payment/pay", params=where).status_code == 403
    assert http.post("/payment/pay", params=where).status_code == 303
    assert httpx.post(service.url + "/payment/pay", params=where).status_code == 303  # the payer's browser, later
    assert http.post("/payment/pay", params={**where, "service": "b"}).status_code == 400
    for path in ("/payment/verify", "/verifyHash", "/refresh"):
        assert httpx.post(service.url + path, params={**where, "hash": "x"}).status_code == 401


def test_the_checkout_page(net, service, http):
    from satmeter.qr.read import load, read

    invoice = http.post("/invoice", json={"msatoshi": 3000, "description": "<b>a cat</b>"}).json()
    http.post("/payment/pay", params={"token": invoice["id"], "service": "cats"})
    page = httpx.get(f"{service.url}/checkout/{invoice['id']}").text
    assert "3 sat" in page and "&lt;b&gt;a cat" in page and "<b>a cat" not in page and "cats" in page
    png = httpx.get(f"{service.url}/checkout/{invoice['id']}/qr.png").content
    assert [f.text for f in read(load(png))] == [f"LIGHTNING:{invoice['payreq'].upper()}"]
    net["buyer"].rpc.call("xpay", {"invstring": invoice["payreq"], "maxfee": 5000})
    assert httpx.get(f"{service.url}/checkout/{invoice['id']}/wait", timeout=30).status_code == 204
    assert "Paid" in httpx.get(f"{service.url}/checkout/{invoice['id']}").text
    assert httpx.get(f"{service.url}/checkout/none").status_code == 404


@pytest.mark.parametrize("service_", ["", ",", "x" * 300, "a\x00b", ",".join(f"s{n}" for n in range(60))])
def test_services_that_are_none_are_refused(http, service_):
    answer = http.post("/verifyHash", params={"hash": "x", "service": service_})
    assert answer.status_code == 400 and answer.json()["detail"].startswith(("service:", "url:"))


def test_several_uses_at_once_each_pass_for_themselves(net, service):
    """As a gate asks under load: one that is unknown, spent or malformed spoils no other."""
    with service.http() as http:
        tokens = []
        for n in range(2):
            made = http.post("/invoice", json={"msatoshi": 1000, "service": f"s{n}"}).json()
            net["buyer"].rpc.call("xpay", {"invstring": made["payreq"], "maxfee": 5000})
            assert http.get(f"/invoice/{made['id']}/wait", params={"timeout": 20}).status_code == 200
            tokens.append((made, http.post("/payment/verify", params={"token": made["id"], "service": f"s{n}"}).json()))
        uses = [
            {"hash": tokens[0][1]["hash"], "service": "s0"},
            {"hash": "unknown", "service": "s0"},
            {"hash": tokens[0][1]["hash"], "service": "s0"},
            {"rhash": tokens[1][0]["rhash"], "service": "x" * 300},
            {"rhash": tokens[1][0]["rhash"], "service": "s0"},
            {"rhash": tokens[1][0]["rhash"], "service": "s1"},
            {"rhash": "zz", "service": "s1"},
        ]
        assert http.post("/payment/uses", json={"uses": uses}).json()["passed"] == [
            True, False, False, False, False, True, False
        ]  # fmt: skip
        for wrong in ({}, {"uses": []}, {"uses": [1]}, {"uses": [{"hash": 1}]}, {"uses": [{}] * 201}, {"uses": "x"}):
            assert http.post("/payment/uses", json=wrong).status_code == 400
