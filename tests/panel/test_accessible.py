"""The panel's pages for who can't see them well, or has no mouse: axe-core finds nothing, the keyboard is enough, and
what happens is said. On emulated nodes: the pages are the same on real ones."""

import re

import pytest
from looking import fact, opened, shot
from playwright.sync_api import expect
from pyln.client import RpcError

from accessible import Judge
from running import RunningPanel
from satmeter import devnet
from waiting import until

pytestmark = [pytest.mark.parametrize("net", ["emulated"], indirect=True), pytest.mark.timeout(400)]
DIALOG = ".q-dialog"


@pytest.fixture
def cancel_offers(net):
    """Cancel the invoices for wallets: with one of them out, a meter is given no other price."""

    def priced(msat):
        try:
            return net["seller"].rpc.call("meter-set", {"name": "socket", "price_msat": msat})
        except RpcError:  # they are cancelled now
            return None

    def cancel():
        until(lambda: priced(1001))
        assert priced(1000)

    return cancel


@pytest.fixture
def plugged(panels, tab, cancel_offers):
    """The seller's page with something plugged in; unplugged afterwards."""
    page = tab(panels[0].url + "/sell/socket")
    switch = page.get_by_role("switch", name="Plugged in")
    expect(switch).to_be_visible()
    if switch.get_attribute("aria-checked") != "true":
        switch.press("Space")
    unlock = page.get_by_role("button", name="Unlock")
    if unlock.is_enabled():
        unlock.click()
    expect(fact(page, "state")).to_have_text("standby")
    yield page
    page.keyboard.press("Escape")  # a dialog that is still open
    cancel_offers()
    if switch.get_attribute("aria-checked") == "true":
        switch.press("Space")
    expect(fact(page, "state")).to_have_text("standby", timeout=60_000)


def pasted(buyer, text):
    """Paste a text on the buyer's page, and return the dialog of what it is."""
    paste = buyer.get_by_label("or paste an invoice or address")
    paste.fill(text)
    paste.press("Enter")
    found = buyer.locator("[data-part=found]")
    expect(found).to_be_visible()
    return found


def escaped(page):
    """Esc closes the dialog that is open."""
    page.keyboard.press("Escape")
    expect(page.locator(f"{DIALOG} .q-card")).to_have_count(0)


def test_axe_finds_nothing_at_the_login(net, tab, tmp_path):
    judge = Judge()
    panel = RunningPanel(tmp_path, net["seller"].lightning_dir / "lightning-rpc", password="correct horse")
    try:
        page = tab(panel.url)
        judge.look(page, "login")
        page.get_by_label("Password").fill("wrong horse")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("wrong password")
        judge.look(page, "login, wrong password")
        page.get_by_label("Password").fill("correct horse")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
        judge.look(page, "/sell, logged in")
    finally:
        panel.stop()
    judge.verdict()


def test_axe_finds_nothing_on_idle_pages(net, panels, tab, plugged):
    judge, seller = Judge(), plugged
    page = tab(panels[0].url + "/sell")
    expect(page.get_by_role("link", name="socket")).to_be_visible()
    judge.look(page, "/sell")
    page.get_by_role("button", name="Add a meter").click()
    page.get_by_label("name: a-z, 0-9 and -").wait_for()
    judge.look(page, "a new meter", DIALOG)
    escaped(page)
    judge.look(seller, "/sell/socket")
    seller.get_by_role("button", name="Tariff").click()
    seller.get_by_role("button", name='Expand "more"').click()
    seller.get_by_label("free ticks in standby").wait_for()
    judge.look(seller, "the tariff", DIALOG)
    escaped(seller)
    address = seller.locator("[data-part=code]").text_content()
    seller.get_by_role("button", name="New invoice").click()
    expect(seller.locator("[data-part=code]")).to_contain_text("LNBCRT")
    judge.look(seller, "/sell/socket with an invoice")
    buyer = tab(panels[1].url + "/buy")
    expect(fact(buyer, "total")).to_be_visible()
    judge.look(buyer, "/buy")
    for text, name in (
        (seller.locator("[data-part=code]").text_content(), "an invoice to pay"),
        (address, "an address to open"),
        ("nonsense", "nonsense"),
    ):
        pasted(buyer, text)
        judge.look(buyer, name, DIALOG)
        escaped(buyer)
    judge.verdict()


def test_axe_finds_nothing_in_a_session_and_after(net, panels, tab, plugged):
    judge, seller = Judge(), plugged
    buyer = tab(panels[1].url + "/buy")
    session = opened(buyer, shot(seller))
    expect(fact(seller, "state")).to_have_text("delivering")
    judge.look(seller, "/sell/socket in a session")
    judge.look(buyer, "/buy with a stream")
    for button in ("Budget", "End"):
        buyer.get_by_role("button", name=button, exact=True).click()
        expect(buyer.get_by_role("dialog").get_by_role("button", name="Cancel")).to_be_visible()
        judge.look(buyer, f"{button}'s dialog", DIALOG)
        escaped(buyer)
    seller.get_by_role("button", name="Close the session").click()
    expect(seller.get_by_role("button", name="End it")).to_be_visible()
    judge.look(seller, "close's dialog", DIALOG)
    seller.get_by_role("button", name="End it").click()
    for page, name in ((seller, "/sell/socket with a history"), (buyer, "/buy with a history")):
        expect(page.locator(f"[data-session='{session}']")).to_contain_text("signature checked")
        judge.look(page, name)
    judge.verdict()


def test_enter_does_what_the_form_is_for(net, panels, tab, plugged):
    seller, buyer = plugged, tab(panels[1].url + "/buy")
    found = pasted(buyer, seller.locator("[data-part=code]").text_content())
    found.locator("[data-part=max-price]").fill("1sat/Wh")
    found.locator("[data-part=budget]").fill("1000")
    found.locator("[data-part=budget]").press("Enter")
    card = buyer.locator("[data-stream]").first
    expect(card).to_be_visible()
    card.get_by_role("button", name="Budget").click()
    caps = buyer.get_by_label("budget in all")
    caps.fill("700")
    caps.press("Enter")
    expect(fact(card, "left")).to_contain_text("of 700 sat")
    seller.get_by_role("button", name="Tariff").click()
    risk = seller.get_by_label("most that a buyer has at risk")
    risk.fill("21")
    risk.press("Enter")
    expect(risk).not_to_be_visible()
    net["seller"].rpc.call("meter-set", {"name": "socket", "quantum_msat": 20_000})
    amount = seller.get_by_label("amount (default: a quantum)")
    amount.fill("5")
    amount.press("Enter")
    expect(seller.locator("[data-part=code]")).to_contain_text("LNBCRT")
    card.get_by_role("button", name="End").click()
    buyer.get_by_role("button", name="End it").click()
    expect(card).to_have_count(0)


def test_a_payment_leaves_its_trace_on_the_page(net, panels, tab, plugged):
    made = net["seller"].rpc.call("invoice", {"amount_msat": 7000, "label": "trace", "description": "a \u202ecoffee"})
    buyer = tab(panels[1].url + "/buy")
    pasted(buyer, made["bolt11"]).get_by_role("button", name="Pay").click()
    expect(buyer.locator("[data-part=payments]")).to_contain_text("7 sat, paid")
    again = tab(panels[1].url + "/buy")  # and on a page that is opened later
    expect(again.locator("[data-part=payments]")).to_contain_text("a \\u202ecoffee")
    pasted(again, made["bolt11"]).get_by_role("button", name="Pay").click()
    expect(again.locator("[data-part=payments] li").first).to_contain_text("paid already")


def test_where_the_focus_is_can_be_seen(net, panels, tab):
    for page in (tab(panels[0].url + "/sell/socket"), tab(panels[1].url + "/buy")):
        expect(page.get_by_role("button", name="light or dark")).to_be_visible()
        page.add_style_tag(content="* { transition: none !important }")
        hidden = []
        for _ in range(15):
            page.keyboard.press("Tab")
            seen = page.evaluate(
                "(() => { let e = document.activeElement; if (e === document.body) return true;"
                " e = e.closest('.q-field__control, .file, .q-toggle') || e; const s = getComputedStyle(e);"
                " return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2; })()"
            )
            if not seen:
                hidden.append(page.evaluate("document.activeElement.outerHTML.slice(0, 150)"))
        assert not hidden, hidden


def test_what_happens_is_said_aloud(net, panels, tab, plugged):
    expect(fact(plugged, "state")).to_have_attribute("role", "status")
    net["seller"].rpc.call("plugin", {"subcommand": "stop", "plugin": str(devnet.METER)})
    try:
        expect(plugged.get_by_role("alert").first).to_contain_text("does not run")
        expect(plugged.get_by_role("alert").first).to_contain_text(
            re.compile(r"grey is of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")
        )
        expect(plugged.locator(".stale")).to_have_count(1)
    finally:
        net["seller"].rpc.call("plugin", {"subcommand": "start", "plugin": str(devnet.METER)})
    expect(plugged.locator(".stale")).to_have_count(0)


@pytest.mark.parametrize("seconds", [2, 8])
def test_a_break_of_the_network_takes_nothing_away(net, panels, tab, plugged, seconds):
    buyer = tab(panels[1].url + "/buy")
    loads = []
    buyer.on("load", lambda _: loads.append(1))
    found = pasted(buyer, plugged.locator("[data-part=code]").text_content())
    found.locator("[data-part=max-price]").fill("7sat/Wh")
    buyer.context.set_offline(True)
    buyer.evaluate("window.socket.io.engine.close()")
    buyer.wait_for_timeout(seconds * 1000)
    buyer.context.set_offline(False)
    expect(buyer.locator("#popup")).to_have_attribute("aria-hidden", "true")
    buyer.wait_for_timeout(1500)
    assert not loads
    expect(found.locator("[data-part=max-price]")).to_have_value("7sat/Wh")
    escaped(buyer)


def test_what_acts_instead_of_being_seen_is_an_escape(net, panels, tab):
    said = "a \u202egnp.exe\u2066 \u200bx"
    made = net["seller"].rpc.call("invoice", {"amount_msat": 1000, "label": "escapes", "description": said})
    buyer = tab(panels[1].url + "/buy")
    found = pasted(buyer, made["bolt11"])
    expect(found).to_contain_text("for a \\u202egnp.exe\\u2066 \\u200bx")
