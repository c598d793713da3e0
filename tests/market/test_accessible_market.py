"""The market's pages, the gate's 402 and /docs for who can't see them well: axe-core finds nothing; what acts instead
of being seen is shown as an escape; a reload sends nothing twice. On emulated nodes: real ones have the same pages."""

import pytest

import gates
import shop as meters
from accessible import Judge
from services import MARKET, Service, Visitor, stranger

pytestmark = [pytest.mark.parametrize("net", ["emulated"], indirect=True), pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def hub(net):
    running = Service(net.directory / "accessible", net["seller"], **MARKET)
    yield running
    running.stop()


@pytest.fixture
def entered(hub, net, tab):
    """Somebody with an account, and a page of a browser that is logged in as them."""

    def enter(name):
        who = Visitor(hub, name, net)
        page = tab(hub.url)
        cookies = [{"name": k, "value": v, "url": hub.url} for k, v in dict(who.http.cookies).items()]
        page.context.add_cookies(cookies)
        return who, page

    return enter


def test_axe_finds_nothing_on_the_market(net, hub, entered, tab):
    judge = Judge()
    page = tab(hub.url + "/login")
    judge.look(page, "login")
    form = page.locator("form[action$='/login']").first
    form.get_by_label("Name").fill("nobody")
    form.get_by_label("Password").fill("wrong wrong")
    page.keyboard.press("Enter")
    page.get_by_role("alert").wait_for()
    judge.look(page, "login, wrong password")
    sue, theirs = entered("sue-seen")
    ann, page = entered("ann-seen")
    ann.fund(50_000)
    url = hub.url + "/health"
    offer = sue.publish("parking/a", 10_000, url, uses=2, description="Parking in Brussels")
    sue.publish("parking/" + "x" * 120, 3_000, url, uses=10, description="Parking " + "long " * 50)
    (bought,) = ann.buy_from_account(offer)
    gate = stranger(hub)
    gate.auth = ("api-token", sue.post("/sell/token")["api_token"])
    gate.post("/verifyHash", params={"hash": bought["hash"], "service": "parking/a"})
    ann.post("/market/cart", offer=offer["id"])
    order = ann.post("/market/checkout")
    for path in (
        "/market",
        "/market?q=nothing",
        f"/market/offer/{offer['id']}",
        "/market/cart",
        f"/checkout/{order['id']}",
        f"/checkout/{bought['invoice']}",
        "/dashboard",
        f"/receipt/{bought['id']}",
        "/account",
        "/nowhere",
    ):
        page.goto(hub.url + path)
        judge.look(page, path)
    page.goto(hub.url + "/account")
    page.get_by_label("To: an invoice").fill(sue.get("/account")["address"])
    page.get_by_label("Amount in sat, for an address").fill("5")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Send", exact=True).wait_for()
    judge.look(page, "what sending costs")
    theirs.goto(hub.url + "/sell")
    judge.look(theirs, "/sell")
    judge.verdict()


def _without_refresh(route):
    """The gate's page comes again every six seconds: not while it is being looked at."""
    answer = route.fetch()
    headers = {k: v for k, v in answer.headers.items() if k != "refresh"}
    route.fulfill(response=answer, headers=headers)


def test_axe_finds_nothing_at_the_gate_and_in_the_docs(net, hub, tab, tmp_path):
    judge = Judge()
    client, stop = gates.start(hub, tmp_path)
    try:
        page = tab(hub.url + "/docs")
        page.route("**/weather/x", _without_refresh)
        page.goto(str(client.base_url).rstrip("/") + "/weather/x")
        page.get_by_role("link", name="Open a wallet").wait_for()
        judge.look(page, "a gate's 402")
    finally:
        stop()
    judge.look(tab(hub.url + "/docs"), "/docs")
    judge.verdict()


def test_what_acts_instead_of_being_seen_is_an_escape(net, hub, entered):
    sue, page = entered("sue-escapes")
    sue.publish("file\u202egpj.exe", 1000, hub.url + "/health", description="d\u2066e\u200bf \x07 \x1b[31m")
    page.goto(hub.url + "/sell")
    text = page.locator(".offer").first.inner_text()
    assert "file\\u202egpj.exe" in text and "d\\u2066e\\u200bf \\u0007 \\u001b[31m" in text


def test_a_reload_after_send_says_what_was_said(net, hub, entered):
    sue, _ = entered("sue-sends")
    ann, page = entered("ann-sends")
    ann.fund(20_000)
    page.goto(hub.url + "/account")
    page.get_by_label("To: an invoice").fill(sue.get("/account")["address"])
    page.get_by_label("Amount in sat, for an address").fill("5")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_text("It is paid.").wait_for()
    page.reload()
    page.get_by_text("It is paid.").wait_for()
    assert sue.balance == 5_000


def test_the_price_that_is_sorted_by_is_shown(net, hub, entered):
    sue, page = entered("sue-sorts")
    for name, msat, uses in (("a", 10_000, 100), ("b", 3_000, 1), ("c", 20_000, 1000)):
        sue.publish(f"zzsort-{name}", msat, hub.url + "/health", uses=uses)
    page.goto(hub.url + "/market?q=zzsort&sort=price")
    each = [found.inner_text() for found in page.locator(".offer .price").all()]
    assert ["0.02 sat" in each[0], "0.1 sat" in each[1], "3 sat" in each[2]] == [True] * 3, each


def test_axe_finds_nothing_on_a_meters_pages_and_they_follow_the_purchase(net, tab):
    public = Service(net.directory / "phones", net["seller"], meters=["*"])
    judge = Judge()
    try:
        with meters.Shop(net["seller"]) as shop:
            board = shop.add(choices="2sat, 0.5unit")
            page = tab(f"{public.url}/m/{board.name}")
            page.set_viewport_size({"width": 360, "height": 740})
            judge.look(page, "a meter")
            page.get_by_role("button", name="2 unit for 2 sat (about 0.001 EUR)").click()
            invoice = page.locator(".code").first.inner_text()
            judge.look(page, "a purchase that is not paid")
            page.evaluate("window.webln = {enable: async () => {}, sendPayment: async (text) => {window.sent = text}}")
            page.locator("a.qr").click()
            page.wait_for_function(f"window.sent === '{invoice}'")  # a wallet in the browser is asked first
            net["buyer"].rpc.call("xpay", {"invstring": invoice, "maxfee": 5_000})
            page.locator("[data-figure=credit]", has_text="2 unit").wait_for()
            board.use_all(7)
            page.locator("[data-figure=used]", has_text="0.7 unit").wait_for()
            judge.look(page, "a purchase that is used")
            board.unplug()
            page.get_by_text("Ended: unplugged.").wait_for()
            page.get_by_text("1 sat left").wait_for()
            judge.look(page, "a purchase that has ended, with a rest")
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            mine = net["buyer"].rpc.call("invoice", {"amount_msat": "any", "label": board.name, "description": "back"})
            page.get_by_label("or to a Lightning Address").fill("nobody")
            page.get_by_role("button", name="Send it there").click()
            page.get_by_text("can't be read").wait_for()
            page.go_back()
            page.get_by_label("or to a Lightning Address").fill(f"lightning:{mine['bolt11'].upper()}")
            page.get_by_role("button", name="Send it there").click()
            page.get_by_text("Given back: 1.3 sat").wait_for()
            judge.look(page, "a purchase whose rest was given back")
            page.get_by_role("link", name="The receipt").click()
            page.get_by_text("the seller's node").wait_for()
            judge.look(page, "a receipt")
            assert page.pdf()[:4] == b"%PDF"
            page.goto(f"{public.url}/m/{board.name}")
            judge.look(page, "a meter that can't deliver")
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
        judge.verdict()
    finally:
        public.kill()
