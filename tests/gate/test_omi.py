"""D3.8's example to its end: a hash token, the curl command of the document, and the O-MI answer."""

import re
import shutil
import subprocess
import sys

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omi import CAPACITY, CONTRIB, PATH, READ
from satmeter.core.errors import BadParam
from satmeter.gate.omi import asked
from services import free_port
from waiting import until


@pytest.fixture
def node(service, tmp_path):
    """The O-MI node and its gate; returns the gate's URL."""
    behind, before = free_port(), free_port()
    text = (CONTRIB / "gate.toml").read_text().replace("8084", str(behind)).replace("8083", str(before))
    text = text.replace("http://127.0.0.1:9112", service.url)
    text = re.sub(r'api_token = ".*"', f'api_token = "{service.secrets["all"]}"', text)
    (tmp_path / "gate.toml").write_text(text)
    commands = [
        [sys.executable, str(CONTRIB / "node.py"), "--port", str(behind)],
        [sys.executable, "-m", "satmeter.cli", "gate", "--config", str(tmp_path / "gate.toml")],
    ]
    with (tmp_path / "log").open("w") as log:
        running = [subprocess.Popen(c, stdout=log, stderr=log) for c in commands]
    url = f"http://127.0.0.1:{before}/"

    def answers():
        assert all(p.poll() is None for p in running), (tmp_path / "log").read_text()
        try:
            return httpx.post(url, content=CAPACITY).status_code == 402
        except httpx.HTTPError:
            return False

    until(answers)
    yield url
    for p in running:
        p.terminate()
        p.wait(20)


def bought(net, service, services):
    with service.http() as http:
        invoice = http.post("/invoice", data={"msatoshi": 1000, "metadata[service_id]": 12}).json()
        http.post("/payment/pay", params={"token": invoice["payreq"], "service": services})
        net["buyer"].rpc.call("xpay", {"invstring": invoice["payreq"], "maxfee": 5000})
        assert http.get(f"/invoice/{invoice['id']}/wait").status_code == 200
        return http.post("/payment/verify", params={"token": invoice["payreq"], "service": services}).json()["hash"]


def test_the_curl_command_of_the_document(net, service, node):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    token = bought(net, service, PATH)
    command = ["curl", "-s", "-H", "Content-Type: text/xml", "-H", f"Authorization: Bearer {token}", "-X", "POST", node]
    said = subprocess.run([*command, "-d", CAPACITY], capture_output=True, text=True, timeout=30).stdout
    assert 'returnCode="200"' in said and ">311</value>" in said and 'name="capacity"' in said
    again = subprocess.run([*command, "-d", CAPACITY, "-w", "%{http_code}"], capture_output=True, text=True, timeout=30)
    assert again.stdout.endswith("402")


def test_a_token_for_one_item_reads_no_other(net, service, node):
    token = {"Authorization": f"Bearer {bought(net, service, PATH)}"}
    both = READ.format(items='<InfoItem name="capacity"/><InfoItem name="occupied"/>')
    assert httpx.post(node, content=READ.format(items='<InfoItem name="occupied"/>'), headers=token).status_code == 402
    assert httpx.post(node, content=both, headers=token).status_code == 402
    assert httpx.post(node, content=READ.format(items=""), headers=token).status_code == 402
    assert "311" in httpx.post(node, content=CAPACITY, headers=token).text


def test_two_items_at_once_are_paid_at_once(net, node):
    both = READ.format(items='<InfoItem name="capacity"/><InfoItem name="occupied"/>')
    answer = httpx.post(node, content=both)
    macaroon, invoice = re.match(
        r'L402 version="0", token="([^"]+)", invoice="([^"]+)"', answer.headers.get_list("www-authenticate")[0]
    ).groups()
    assert net["buyer"].rpc.call("decode", [invoice])["amount_msat"] == 2000
    preimage = net["buyer"].rpc.call("xpay", {"invstring": invoice, "maxfee": 5000})["payment_preimage"]
    header = {"Authorization": f"L402 {macaroon}:{preimage}"}
    until(lambda: (found := httpx.post(node, content=both, headers=header)).status_code == 200 and "204" in found.text)


def test_what_is_not_sold_or_no_envelope_is_refused(node):
    other = CAPACITY.replace("ParkingFacilitiesBrussels", "Elsewhere")
    assert httpx.post(node, content=other).status_code == 403
    assert httpx.get(node).status_code in (400, 403)
    assert httpx.post(node, content=b"<x/>").status_code == 400


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]>' + CAPACITY.replace("capacity", "&c;")
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + CAPACITY.replace("capacity", "&x;")


@pytest.mark.parametrize(
    "envelope",
    [
        "",
        "no xml",
        "<a/>",
        BOMB,
        OUTSIDE,
        CAPACITY.replace("read", "write"),
        CAPACITY.replace("<read ", '<read interval="5" '),
        CAPACITY.replace("<read ", '<read newest="100000" '),
        CAPACITY.replace("<read ", '<read begin="2020-01-01T00:00:00Z" '),
        CAPACITY.replace('name="capacity"', 'name="a/b"'),
        CAPACITY.replace('name="capacity"', 'name="a,b"'),
        CAPACITY.replace('name="capacity"', ""),
        CAPACITY.replace("<id>ParkingFacilitiesBrussels</id>", ""),
        READ.format(items="<Script/>"),
        READ.format(items="".join(f'<InfoItem name="i{n}"/>' for n in range(60))),
        READ.format(items="<Object><id>x</id>" * 40 + "</Object>" * 40),
        "<omiEnvelope>" + "x" * 100_001,
    ],
)
def test_an_envelope_that_is_none_is_refused(envelope):
    with pytest.raises(BadParam, match="envelope"):
        asked(envelope.encode())


def test_what_an_envelope_asks_for():
    assert asked(CAPACITY.encode()) == (PATH,)
    said = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="ReadRequest" targetType="node"'
    assert asked(CAPACITY.replace("<read ", f"<read {said} ").encode()) == (PATH,)
    assert asked(READ.format(items="").encode()) == (PATH.rpartition("/")[0],)
    two = READ.format(items='<InfoItem name="a"/><!-- x --><InfoItem name="b"/><InfoItem name="a"/>')
    assert [p.rpartition("/")[2] for p in asked(two.encode())] == ["a", "b"]


@given(data=st.binary(max_size=200) | st.text(max_size=200).map(lambda t: CAPACITY.replace("capacity", t).encode()))
def test_any_bytes_are_paths_or_an_error(data):
    try:
        assert all(path.startswith("Objects") for path in asked(data))
    except BadParam as e:
        assert str(e).startswith("envelope:")
