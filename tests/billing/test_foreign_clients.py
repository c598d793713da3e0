"""Clients that others wrote, as PyPI and npm have them, at our gate and our addresses: what they pay for, they get.

Each pays from the buyer's node: by a wallet of its own kind, or by a stand-in for the REST interface of Core Lightning.
What is said of a client here is what it does, not what it should: whether it keeps its credential, and when it pays
anew. l402-requests and bolthub come with the tests. lnurl asks for an older coincurve than ours, and bolt402 lets no
other thread run while it waits; so they get a place and a process of their own, as what comes from npm does.
"""

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading

import bolthub
import httpx
import l402_requests
import pytest

import shop as meters
from satmeter.wire.lnurl import encode
from services import MARKET, Service, free_port, in_a_loop
from waiting import until

pytestmark = pytest.mark.parametrize("net", ["emulated"], indirect=True)

RUNE = "a rune of the buyer's node"
HUB = "https://hub.example"
"""The public name of a hub, for clients that take no address with a port."""


class Wallet:
    """The buyer's node, over HTTP as Core Lightning's clnrest has it; and what it paid."""

    def __init__(self, node):
        self.rpc, self.paid, self.port = node.rpc, [], free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        wallet = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                assert (self.path, self.headers["rune"]) == ("/v1/pay", RUNE)
                body = json.dumps(wallet.pay(asked["bolt11"])).encode()
                self.send_response(201)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def pay(self, invoice):
        done = self.rpc.call("xpay", {"invstring": invoice, "maxfee": 5000})
        self.paid.append(invoice)
        payment_hash = hashlib.sha256(bytes.fromhex(done["payment_preimage"])).hexdigest()
        return {**done, "payment_hash": payment_hash, "status": "complete"}

    def pay_invoice(self, invoice):
        """As bolthub asks its wallets."""
        return self.pay(invoice)["payment_preimage"]


class WalletOfRequests(l402_requests.WalletBase):
    def __init__(self, wallet):
        self.wallet = wallet

    async def pay_invoice(self, bolt11):
        return self.wallet.pay_invoice(bolt11)


@pytest.fixture
def wallet(net):
    made = Wallet(net["buyer"])
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def hub(net):
    running = Service(net.directory / "hub-of-foreign-clients", net["seller"], **{**MARKET, "public_url": HUB})
    yield running
    running.stop()


@pytest.fixture
def ann(visitor):
    made = visitor("ann")
    # Her cookie is for https alone, which a proxy before the hub would speak.
    made.http.headers["cookie"] = "; ".join(f"{c.name}={c.value}" for c in made.http.cookies.jar)
    return made


CAUGHT = {"capture_output": True, "text": True, "timeout": 60}


def installed(command, where, otherwise):
    """Install what is not ours; where the registry does not give it, the test is skipped, and says so."""
    try:
        done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=100)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{otherwise}: no answer in time")
    if done.returncode:
        pytest.skip(f"{otherwise}: {done.stderr[-300:]}")


def found(done):
    """What a script says, which ran to its end."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def root(gate):
    return str(gate.base_url).rstrip("/")


# --- l402-requests


def test_l402_requests_keeps_its_credential_until_it_is_spent(gate, wallet):
    client = l402_requests.L402Client(wallet=WalletOfRequests(wallet))
    assert [client.get(root(gate) + "/things").text for _ in range(6)] == ["/things"] * 6
    assert len(wallet.paid) == 2 and client.spending_log.total_spent() == 4
    assert client.post(root(gate) + "/other", content=b"hello").text == "/otherhello"


def test_l402_requests_pays_no_more_than_it_may(gate, wallet):
    budget = l402_requests.BudgetController(max_sats_per_request=1)
    client = l402_requests.L402Client(wallet=WalletOfRequests(wallet), budget=budget)
    assert client.get(root(gate) + "/weather/paris").text == "/weather/paris"
    with pytest.raises(l402_requests.BudgetExceededError):
        client.get(root(gate) + "/things")
    assert len(wallet.paid) == 1


def test_l402_requests_in_a_loop(gate, wallet):
    async def ask():
        async with l402_requests.AsyncL402Client(wallet=WalletOfRequests(wallet)) as client:
            return [(await client.get(root(gate) + "/things")).text for _ in range(3)]

    assert in_a_loop(ask()) == ["/things"] * 3 and len(wallet.paid) == 1


# --- bolthub


def test_bolthub_pays_for_each_request(gate, wallet):
    """It keeps what its own gateway hands out (X-Session-Token), and no L402 credential."""
    seen = []
    with bolthub.L402Client(wallet, budget_sats=4, on_paid=seen.append) as client:
        assert [client.get(root(gate) + "/things").text for _ in range(2)] == ["/things"] * 2
        assert [p["amount"] for p in seen] == [2, 2] and [p["invoice"] for p in seen] == wallet.paid
        assert client.total_spent == 4
        with pytest.raises(bolthub.L402BudgetError):
            client.get(root(gate) + "/things")
        with pytest.raises(bolthub.L402Error, match="nothing was paid"):
            client.buy_credit(root(gate) + "/things", 100)
    assert len(wallet.paid) == 2


def test_bolthub_within_a_client_of_httpx(gate, wallet):
    with httpx.Client(auth=bolthub.L402Auth(wallet, budget_sats=10), base_url=gate.base_url) as client:
        assert client.post("/things", content=b"hello").text == "/thingshello"
    assert len(wallet.paid) == 1


# --- from PyPI, apart

BOLT402 = """
import json, os, sys
from bolt402 import Budget, L402Client

site, wallet = sys.argv[1:]
client = L402Client.with_cln_rest(wallet, os.environ["RUNE"], budget=Budget(per_request_max=2))
asked = [client.get(site + "/things") for _ in range(6)]
out = {"asked": [[a.text(), a.paid, a.cached_token] for a in asked], "spent": client.total_spent()}
out["receipts"] = [[r.amount_sats, r.response_status] for r in client.receipts()]
out["posted"] = client.post(site + "/other", '"hello"').text()
try:
    L402Client.with_cln_rest(wallet, os.environ["RUNE"], budget=Budget(per_request_max=1)).get(site + "/things")
except ValueError as e:
    out["refused"] = str(e)
print(json.dumps(out))
"""

LNURL = f"""
import asyncio, json, sys
import httpx, lnurl, lnurl.core

hub, name, out = sys.argv[1], sys.argv[2], {{}}

class Resolved(httpx.AsyncClient):
    async def get(self, url, **more):
        return await super().get(str(url).replace("{HUB}", hub), **more)

lnurl.core.httpx.AsyncClient = Resolved

async def main():
    code = lnurl.encode(f"{{hub}}/.well-known/lnurlp/{{name}}").bech32
    assert str(lnurl.decode(code).url) == f"{{hub}}/.well-known/lnurlp/{{name}}"
    of_code, terms = await lnurl.handle(code), await lnurl.handle(f"{{name}}@hub.example")
    assert of_code == terms and isinstance(terms, lnurl.LnurlPayResponse)
    out["bounds"] = [terms.min_sats, terms.max_sats]
    out["text"], out["hash"], out["callback"] = terms.metadata.text, terms.metadata.h, str(terms.callback)
    out["pr"] = (await lnurl.execute_pay_request(terms, 5_000)).pr
    out["at once"] = (await lnurl.execute(f"{{name}}@hub.example", "6000")).pr
    nobody = await lnurl.handle("nobody-here@hub.example")
    out["nobody"] = [nobody.ok, nobody.reason]
    terms.minSendable = 1
    try:
        await lnurl.execute_pay_request(terms, 999)
    except lnurl.LnurlResponseException as e:
        out["too little"] = str(e)

asyncio.run(main())
print(json.dumps(out))
"""


@pytest.fixture
def python(tmp_path):
    """Run a script among what it wants from PyPI, where nothing else sees that, and return what it found."""

    def run(wanted, script, *args):
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--only-binary", ":all:", "-t", tmp_path]
        installed([*command, "--retries", "1", "--timeout", "10", *wanted], tmp_path, f"PyPI does not give {wanted[0]}")
        (tmp_path / "client.py").write_text(script)
        env = {**os.environ, "PYTHONPATH": str(tmp_path), "RUNE": RUNE}
        return found(subprocess.run([sys.executable, "client.py", *args], cwd=tmp_path, env=env, **CAUGHT))

    return run


def test_bolt402_keeps_its_credential_until_it_is_spent(gate, wallet, python):
    out = python(["bolt402==0.1.0"], BOLT402, root(gate), wallet.url)
    kept = [["/things", True, False], ["/things", False, True], ["/things", False, True]]
    assert out["asked"] == kept * 2 and out["spent"] == 4 and out["receipts"] == [[2, 200]] * 2
    assert out["posted"] == '/other"hello"' and "budget" in out["refused"].lower() and len(wallet.paid) == 3


def test_lnurl_asks_an_address_for_invoices(net, hub, ann, python):
    wanted = ["lnurl==2.0.2", "bip32==5.0.0", "pycryptodomex>=3.21,<4"]
    out = python(wanted, LNURL, hub.url, ann.name)
    assert out["bounds"] == [1, 10_000_000] and out["text"] == f"to {ann.name}@hub.example"
    assert out["callback"] == f"{HUB}/lnurlp/{ann.name}"
    assert out["nobody"] == [False, "nobody has that name"] and "amount" in out["too little"]
    for invoice, msat in ((out["pr"], 5_000), (out["at once"], 6_000)):
        decoded = net["buyer"].rpc.call("decode", {"string": invoice})
        assert (decoded["amount_msat"], decoded["description_hash"]) == (msat, out["hash"])
        net["buyer"].rpc.call("xpay", {"invstring": invoice, "maxfee": 5000})
    until(lambda: ann.balance == 11_000)


METERED = """
import asyncio, json, sys
import lnurl

command, code, argument = sys.argv[1:4]

async def main():
    found = await lnurl.handle(code)
    if command == "pay":
        assert isinstance(found, lnurl.LnurlPayResponse), found
        paid = await lnurl.execute_pay_request(found, int(argument))
        return {"pr": paid.pr, "comment": found.commentAllowed, "link": str(paid.successAction.url)}
    if not found.ok:
        return {"reason": found.reason}
    assert isinstance(found, lnurl.LnurlWithdrawResponse), found
    most = int(found.maxWithdrawable)
    done = await lnurl.execute_withdraw(found, argument)
    return {"ok": done.ok, "most": most}

print(json.dumps(asyncio.run(main())))
"""


def test_lnurl_buys_at_a_meter_and_takes_back_what_is_left(net, tmp_path, python):
    wanted = ["lnurl==2.0.2", "bip32==5.0.0", "pycryptodomex>=3.21,<4"]
    public = Service(tmp_path / "public", net["seller"], meters=["*"])
    try:
        with meters.Shop(net["seller"]) as shop, httpx.Client(headers={"Accept": "application/json"}) as http:
            board = shop.add()
            page = f"{public.url}/m/{board.name}"
            bought = python(wanted, METERED, "pay", http.get(page).json()["lnurl"], "8000")
            assert bought["comment"] == 200
            net["buyer"].rpc.call("xpay", {"invstring": bought["pr"], "maxfee": 5_000})
            until(lambda: board.report()["grant"] == 80)
            board.use_all(20)
            board.unplug()
            link = httpx.URL(bought["link"]).path
            back = until(lambda: (said := http.get(f"{public.url}{link}/withdraw").json()).get("tag") and said)
            before = meters.settled(net["buyer"])
            invoice = {"amount_msat": back["maxWithdrawable"], "label": f"lnurl {board.name}", "description": "back"}
            mine, code = net["buyer"].rpc.call("invoice", invoice)["bolt11"], encode(f"{public.url}{link}/withdraw")
            assert python(wanted, METERED, "back", code, mine) == {"ok": True, "most": 5_000}
            until(lambda: meters.balance(net["buyer"]) == before + 5_000)
            assert "nothing is left" in python(wanted, METERED, "back", code, mine)["reason"]
    finally:
        public.kill()


# --- from npm

WALLET = """
const [site, url, name] = process.argv.slice(2);
const paid = [];
async function payInvoice({ invoice }) {
  const headers = { rune: process.env.RUNE, 'content-type': 'application/json' };
  const answer = await fetch(url + '/v1/pay', { method: 'POST', headers, body: JSON.stringify({ bolt11: invoice }) });
  paid.push(invoice);
  return { preimage: (await answer.json()).payment_preimage };
}
"""

ALBY = """
const { fetchWithL402, fetch402, Invoice } = require('@getalby/lightning-tools');
async function main(out) {
  const wallet = { payInvoice };
  const first = await fetchWithL402(site + '/things', {}, { wallet });
  const { credentials, amountSat, preimage } = first.payment;
  out.bodies = [await first.text()];
  for (let n = 0; n < 2; n++) {
    out.bodies.push(await (await fetchWithL402(site + '/things', {}, { wallet, credentials })).text());
  }
  out.spent = (await fetchWithL402(site + '/things', {}, { wallet, credentials })).status;
  out.payments = [amountSat, paid.length];
  const posted = { method: 'POST', body: 'hello' };
  out.anew = await (await fetch402(site + '/things', posted, { wallet, maxAmount: 2 })).text();
  const refused = await fetch402(site + '/things', {}, { wallet, maxAmount: 1 }).catch((e) => e);
  out.refused = [refused.name, refused.paid, refused.amountSat, String(refused.cause)];
  const invoice = new Invoice({ pr: paid[0] });
  out.invoice = [invoice.paymentRequest, invoice.paymentHash, invoice.satoshi, invoice.description, invoice.expiry];
  out.checked = [invoice.validatePreimage(preimage), invoice.validatePreimage('00'.repeat(32)), invoice.hasExpired()];
  out.isPaid = [await new Invoice({ pr: paid[0], preimage }).isPaid()];
  out.isPaid.push(await new Invoice({ pr: paid[1], preimage }).isPaid());
}
"""

ADDRESS = f"""
const {{ LightningAddress }} = require('@getalby/lightning-tools');
async function main(out) {{
  const ours = fetch;
  globalThis.fetch = (where, ...more) => ours(String(where).replace('{HUB}', site), ...more);
  const address = new LightningAddress(name + '@hub.example', {{ proxy: false }});
  await address.fetch();
  const {{ min, max, description, identifier, metadataHash, callback, domain }} = address.lnurlpData;
  Object.assign(out, {{ min, max, description, identifier, metadataHash, callback, domain }});
  const invoice = await address.requestInvoice({{ satoshi: 7, comment: 'thanks' }});
  out.invoice = [invoice.paymentRequest, invoice.satoshi, invoice.description, invoice.verify];
  const {{ preimage }} = await payInvoice({{ invoice: invoice.paymentRequest }});
  out.unknown = await invoice.isPaid().catch((e) => e.message);
  invoice.preimage = preimage;
  out.isPaid = await invoice.isPaid();
  out.refused = await address.requestInvoice({{ satoshi: 100000000 }}).catch((e) => e.message);
}}
"""

LSAT = """
const { Lsat, Caveat } = require('lsat-js');
async function main(out) {
  const get = async (lsat) => {
    const answer = await fetch(site + '/things', { headers: { Authorization: lsat.toToken() } });
    return answer.status === 200 ? await answer.text() : answer.status;
  };
  const lsat = Lsat.fromHeader((await fetch(site + '/things')).headers.get('www-authenticate'));
  out.asked = [lsat.invoiceAmount, lsat.isPending(), lsat.isExpired()];
  out.hash = [lsat.paymentHash, Lsat.fromMacaroon(lsat.baseMacaroon, lsat.invoice).paymentHash];
  out.caveats = lsat.getCaveats().map((c) => c.encode());
  const narrowed = (caveat) => {
    const other = Lsat.fromToken(lsat.toToken(), lsat.invoice);
    other.addFirstPartyCaveat(Caveat.decode(caveat));
    return other;
  };
  out.unpaid = await get(lsat);
  lsat.setPreimage((await payInvoice(lsat)).preimage);
  out.satisfied = [lsat.isSatisfied(), Lsat.fromToken(lsat.toToken()).isSatisfied()];
  out.wrong = [await get(narrowed('services=weather:0')), await get(narrowed('valid_until=1'))];
  out.right = [await get(lsat), await get(narrowed('services=rest:0')), await get(narrowed('who=somebody'))];
  out.spent = await get(lsat);
}
"""

RUN = """
const out = {};
main(out).then(() => console.log(JSON.stringify(out)), (e) => { console.error(e); process.exit(1); });
"""


@pytest.fixture(scope="session")
def npm(tmp_path_factory):
    if shutil.which("npm") is None:
        pytest.skip("node and npm are not installed: `make board-image` brings them")
    where = tmp_path_factory.mktemp("npm")
    # One dependency of lsat-js is named by an address of git; npm has what that was forked from.
    clients = {"lsat-js": "2.0.6", "@getalby/lightning-tools": "9.0.1"}
    (where / "package.json").write_text(json.dumps({"dependencies": clients, "overrides": {"macaroon": "3.0.4"}}))
    patience = ["--fetch-retries", "1", "--fetch-timeout", "10000"]
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *patience]
    installed(command, where, f"npm does not give {' and '.join(clients)}")
    return where


@pytest.fixture
def node(npm, wallet):
    """Run a script, which pays from the wallet, and return what it found."""

    def run(script, *args):
        (npm / "client.js").write_text(WALLET + script + RUN)
        command = ["node", "client.js", args[0], wallet.url, *args[1:]]
        return found(subprocess.run(command, cwd=npm, env={**os.environ, "RUNE": RUNE}, **CAUGHT))

    return run


def test_alby_s_tools_pay_once_for_three(net, gate, wallet, node):
    out = node(ALBY, root(gate))
    assert out["bodies"] == ["/things"] * 3 and out["spent"] == 402 and out["payments"] == [2, 1]
    assert out["anew"] == "/thingshello" and len(wallet.paid) == 2
    assert out["refused"][:3] == ["Fetch402InterruptedError", False, 2] and "exceeds maxAmount" in out["refused"][3]
    decoded = net["buyer"].rpc.call("decode", {"string": wallet.paid[0]})
    expected = [wallet.paid[0], decoded["payment_hash"], 2, decoded["description"], decoded["expiry"]]
    assert out["invoice"] == expected
    assert out["checked"] == [True, False, False] and out["isPaid"] == [True, False]


def test_alby_s_tools_pay_an_address(net, hub, ann, wallet, node):
    out = node(ADDRESS, hub.url, ann.name)
    assert (out["min"], out["max"], out["domain"]) == (1_000, 10_000_000_000, "hub.example")
    assert (out["description"], out["identifier"]) == (f"to {ann.name}@hub.example", f"{ann.name}@hub.example")
    invoice, *more = out["invoice"]
    assert more == [7, None, None] and out["isPaid"] is True and out["refused"] == "Invalid amount"
    assert out["unknown"] == "Could not verify payment"  # we have no LUD-21
    assert net["buyer"].rpc.call("decode", {"string": invoice})["description_hash"] == out["metadataHash"]
    until(lambda: ann.balance == 7_000)


def test_lsat_js_reads_narrows_and_spends_what_it_bought(net, gate, wallet, node):
    out = node(LSAT, root(gate))
    payment_hash = net["buyer"].rpc.call("decode", {"string": wallet.paid[0]})["payment_hash"]
    assert out["asked"] == [2, True, False] and out["hash"] == [payment_hash] * 2
    assert out["caveats"][0] == "services=rest:0" and out["caveats"][1].startswith("valid_until=")
    assert out["unpaid"] == 402 and out["satisfied"] == [True, True] and out["wrong"] == [402, 402]
    assert out["right"] == ["/things"] * 3 and out["spent"] == 402 and len(wallet.paid) == 1
