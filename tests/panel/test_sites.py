"""Pages of several nodes, and who may do what on them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from playwright.sync_api import expect

from running import RunningPanel
from satmeter.core.errors import BadParam, NotPermitted
from satmeter.panel.config import Roles
from satmeter.panel.layout import Panel
from satmeter.panel.login import Logins
from satmeter.panel.poller import SellerView
from satmeter.panel.roles import Role
from satmeter.panel.sell import MeterPage
from satmeter.panel.users import User, load, remove, set_password
from waiting import until

PASSWORDS = {"anna": "the owner's password", "otto": "the operator's one", "vera": "the viewer's one"}
ROLES = {"anna": Role.OWNER, "otto": Role.OPERATOR, "vera": Role.VIEWER}

KEEP_WHAT_IS_SAID = """() => {
  window.said = []
  const keep = changes => changes.forEach(each => window.said.push(each.target.textContent))
  new MutationObserver(keep).observe(document.body, {childList: true, subtree: true, characterData: true})
}"""
"""A page says what went wrong for some seconds only: under load they are over before anybody looks."""


@pytest.fixture(scope="module")
def fleet(net, tmp_path_factory):
    """Pages of both nodes: the buyer's own, and through it the seller's, by a rune."""
    directory = tmp_path_factory.mktemp("fleet")
    buyer, seller = net["buyer"], net["seller"]
    rune = seller.rpc.call("createrune", {"restrictions": [["method^meter-", "method=getinfo"]]})["rune"]
    config = directory / "panel.toml"
    config.write_text(
        f'[sites.home]\nrpc = "{buyer.lightning_dir / "lightning-rpc"}"\n'
        f'[sites.cellar]\npeer = "{seller.id}@{seller.host}:{seller.port}"\nrune = "{rune}"\n'
        f'[sites.away]\nrpc = "{directory}/nowhere"\n'
    )
    config.chmod(0o600)
    for name, password in PASSWORDS.items():
        set_password(directory / "password", password, name, ROLES[name])
    running = RunningPanel(
        directory, buyer.lightning_dir / "lightning-rpc", "--config", str(config), password="who has no name"
    )
    yield running
    running.stop()


def entered(fleet, tab, name):
    page = tab(fleet.url + "/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORDS[name])
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("[data-site=cellar]")).to_be_visible()
    return page


def test_all_sites_are_seen_at_once_and_one_that_is_away_says_so(net, fleet, tab):
    page = entered(fleet, tab, "vera")
    cellar, away = page.locator("[data-site=cellar]"), page.locator("[data-site=away]")
    expect(cellar.locator("[data-fact=meters]")).to_contain_text("of 1 meters deliver")
    expect(page.locator("[data-site=home] [data-fact=state]")).to_have_text("sells nothing")
    expect(away.locator("[data-fact=state]")).to_contain_text("is lightningd running")
    expect(cellar.locator("[data-fact=earned]")).to_contain_text("earned this month")
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    expect(page.get_by_role("link", name="Buy")).not_to_be_attached()
    cellar.click()
    expect(page).to_have_url(f"{fleet.url}/sites/cellar/sell")
    page.get_by_role("link", name="socket").click()
    expect(page.locator("[data-fact=price]")).to_contain_text("a Wh")
    page.get_by_role("link", name="Sites").click()
    expect(cellar).to_be_visible()


def test_a_viewer_sees_and_an_operator_closes_and_the_owner_sets_prices(fleet, tab):
    shown = {"vera": set(), "otto": {"close", "invoice"}, "anna": {"close", "invoice", "tariff"}}
    buttons = {"close": "Close the session", "invoice": "New invoice", "tariff": "Tariff"}
    for name, may in shown.items():
        page = entered(fleet, tab, name)
        page.goto(fleet.url + "/sites/cellar/sell/socket")
        expect(page.locator("[data-fact=price]")).to_contain_text("a Wh")
        for what, text in buttons.items():
            expect(page.get_by_role("button", name=text)).to_be_visible(visible=what in may)
        page.goto(fleet.url + "/sites/home/buy")
        expect(page.locator("[data-fact=total]")).to_have_text("none runs")
        expect(page.locator("[data-part=paste]")).to_be_visible(visible=name == "anna")


def test_what_is_not_shown_is_refused_all_the_same(net, fleet, tab):
    page = entered(fleet, tab, "vera")
    page.goto(fleet.url + "/sites/cellar/sell/socket")
    hidden = page.locator("button", has_text="New invoice")
    expect(hidden).to_be_attached()
    made = len(net["seller"].rpc.call("listinvoices")["invoices"])
    hidden.dispatch_event("click")
    page.get_by_role("button", name="With any wallet").click()
    expect(page.get_by_role("button", name="With any wallet")).to_have_attribute("aria-pressed", "true")
    assert len(net["seller"].rpc.call("listinvoices")["invoices"]) == made


def test_a_page_of_before_acts_no_more_once_its_login_has_ended(net, fleet, tab):
    page = entered(fleet, tab, "anna")
    page.goto(fleet.url + "/sites/cellar/sell/socket")
    expect(page.locator("[data-fact=price]")).to_contain_text("a Wh")
    other = page.context.new_page()
    other.goto(fleet.url + "/")
    other.get_by_role("button", name="Log out").click()
    other.get_by_label("Name").fill("vera")
    other.get_by_label("Password").fill(PASSWORDS["vera"])
    other.get_by_role("button", name="Log in").click()
    expect(other.locator("[data-site=cellar]")).to_be_visible()
    made = len(net["seller"].rpc.call("listinvoices")["invoices"])
    page.evaluate(KEEP_WHAT_IS_SAID)
    ended = "the login of this page has ended; load it again"

    def refused():
        """Nobody hears a click while the page's connection is made anew."""
        page.get_by_role("button", name="New invoice").click()
        page.wait_for_timeout(500)
        return page.evaluate("text => said.some(each => each.includes(text))", ended)

    until(refused)
    assert len(net["seller"].rpc.call("listinvoices")["invoices"]) == made


def test_an_owner_may_do_only_what_the_rune_permits(net, fleet, tab):
    page = entered(fleet, tab, "anna")
    page.goto(fleet.url + "/sites/cellar/sell/socket")
    page.get_by_role("button", name="New invoice").click()
    expect(page.get_by_text("invoice made")).to_be_visible()
    expect(page.locator("[data-part=code]")).to_contain_text("LNBCRT")
    page.goto(fleet.url + "/sites/cellar/buy")
    expect(page.get_by_role("alert").first).to_contain_text("does not permit it")


def test_who_has_no_name_logs_in_without_one(fleet, tab):
    page = tab(fleet.url + "/")
    page.get_by_label("Password").fill("who has no name")
    page.get_by_role("button", name="Log in").click()
    page.locator("[data-site=home]").click()
    expect(page).to_have_url(f"{fleet.url}/sites/home/buy")
    expect(page.locator("[data-part=paste]")).to_be_visible()


def test_a_site_that_is_none_is_not_found(fleet, tab):
    page = entered(fleet, tab, "vera")
    assert page.request.get(fleet.url + "/sites/attic/sell").status == 404
    assert page.request.get(fleet.url + "/sites/attic").status == 404


def test_a_call_that_the_role_may_not_make_never_reaches_the_node():
    asked = []

    class Node:
        def call(self, method, **params):
            asked.append(method)
            return {}

    panel = Panel(Node(), {}, None, None, None).seen_by(User("vera", Role.VIEWER), lambda: True)
    with ThreadPoolExecutor(1) as apart:  # the browser's loop runs on this thread
        with pytest.raises(NotPermitted, match="meter-close: a viewer may not do this"):
            apart.submit(asyncio.run, panel.call("meter-close", name="socket")).result()
        apart.submit(asyncio.run, panel.call("meter-status")).result()
        gone = panel.seen_by(User("anna"), lambda: False)
        with pytest.raises(NotPermitted, match="the login of this page has ended"):
            apart.submit(asyncio.run, gone.call("meter-status")).result()
    assert asked == ["meter-status"]


def test_what_a_page_may_not_ask_for_is_left_out_and_ends_nothing():
    """A rune may permit meter-status alone; and a login ends while its page is open."""

    async def refused(method, **params):
        asked.append(method)
        raise NotPermitted("not by this rune")

    asked, page = [], object.__new__(MeterPage)
    page.name, page._session, page.runs = "m", "", SimpleNamespace(client=SimpleNamespace(has_socket_connection=True))
    page.panel = SimpleNamespace(
        sell=SimpleNamespace(view=SellerView({"m": SimpleNamespace(session="s")}), trouble=""), call=refused
    )
    with ThreadPoolExecutor(1) as apart:
        apart.submit(asyncio.run, page._follow_invoices()).result()
    assert asked == ["meter-history"]


@pytest.mark.parametrize("role", Role)
def test_what_no_list_names_is_the_owners(role):
    assert role.may("stream-open") == role.may("close") == (role is Role.OWNER)
    assert role.may("meter-close") == (role is not Role.VIEWER) and role.may("meter-status")


def test_the_file_of_users_keeps_the_others(tmp_path):
    path = tmp_path / "p"
    set_password(path, "first password")
    set_password(path, "second password", "otto", Role.OPERATOR)
    set_password(path, "third password", "vera", Role.VIEWER)
    set_password(path, "fourth password", "otto", Role.VIEWER)
    assert set_password(path, "fourth password", "otto").role is Role.VIEWER  # as it was
    with pytest.raises(BadParam, match="role: paul is new, and needs one"):
        set_password(path, "fifth password", "paul")
    remove(path, "vera")
    users = load(path)
    assert {name: user.role for name, user in users.items()} == {"": Role.OWNER, "otto": Role.VIEWER}
    assert users["otto"].is_right("fourth password") and not users["otto"].is_right("second password")
    assert users[""].is_right("first password")
    with pytest.raises(BadParam, match=r"has no 'vera'; it has otto, the owner without a name"):
        remove(path, "vera")


def test_many_who_change_the_file_at_once_lose_nobody(tmp_path):
    path = tmp_path / "p"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: set_password(path, "a long password", f"u{n}", Role.VIEWER), range(8)))
    assert set(load(path)) == {f"u{n}" for n in range(8)}
    assert [each.name for each in tmp_path.iterdir()] == ["p"]


def test_who_is_removed_or_has_another_role_is_logged_out(tmp_path):
    path = tmp_path / "p"
    for name in ("anna", "otto"):
        set_password(path, f"password of {name}", name, Role.OWNER)
    logins = Logins(load(path), path)
    anna, otto = (logins.begin(logins.right(f"password of {name}", "192.0.2.1", name)) for name in ("anna", "otto"))
    apart = logins.begin(User("by a provider", Role.VIEWER))
    set_password(path, "password of otto", "otto", Role.VIEWER)
    assert logins.user(otto) is None and logins.user(anna).name == "anna" and logins.user(apart) is not None
    good = path.read_text()
    path.write_text("nonsense is here")
    assert logins.user(anna) is None and logins.user(apart) is not None  # nobody knows whether she still may
    assert logins.right("password of otto", "192.0.2.1", "otto") is None
    path.write_text(good)
    assert logins.user(anna).name == "anna" and logins.right("password of otto", "192.0.2.1", "otto") is not None
    path.unlink()
    assert logins.user(anna) is None


def test_who_is_removed_by_an_editor_that_leaves_the_file_open_is_logged_out_once_it_is_not(tmp_path):
    path = tmp_path / "p"
    for name in ("anna", "otto"):
        set_password(path, f"password of {name}", name, Role.OWNER)
    logins = Logins(load(path), path)
    anna, otto = (logins.begin(logins.right(f"password of {name}", "192.0.2.1", name)) for name in ("anna", "otto"))
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("anna")))
    path.chmod(0o644)
    assert logins.user(anna) is None and logins.right("password of anna", "192.0.2.1", "anna") is None
    path.chmod(0o600)
    assert logins.user(anna) is None and logins.right("password of anna", "192.0.2.1", "anna") is None
    assert logins.user(otto).name == "otto"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("anna owner\n", "line 1: must be a hash"),
        ("a king $argon2id$\n", "line 1: must be a hash, .*; roles are viewer"),
        ("$argon2id$\n\n$argon2id$\n", "line 3: the owner stands there twice"),
        ("\udcff\n", "no text in UTF-8"),
    ],
)
def test_a_line_that_is_no_user_is_refused(tmp_path, text, why):
    path = tmp_path / "p"
    path.write_bytes(text.encode(errors="surrogateescape"))
    path.chmod(0o600)
    with pytest.raises(BadParam, match=why):
        load(path)


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"sub": "1", "email": "Anna@Example.com", "email_verified": True}, Role.OWNER),
        ({"sub": "1", "email": "anna@example.com"}, None),
        ({"sub": "1", "email": "anna@example.com", "email_verified": "true"}, None),
        ({"sub": "Abc"}, Role.OPERATOR),
        ({"sub": "abc"}, None),
        ({"sub": "1", "groups": ["family", "caretakers"]}, Role.VIEWER),
        ({"sub": "1", "groups": "caretakers"}, None),
        ({"sub": "group:caretakers"}, None),
        ({"sub": "Abc", "groups": ["caretakers"]}, Role.OPERATOR),
        ({"sub": "1", "email": "sub:Abc", "email_verified": True}, None),
        ({"sub": "1", "email": "SUB:care@takers", "email_verified": True}, None),
        ({"sub": "1", "email": "\u212aate@example.com", "email_verified": True}, None),
        ({"sub": "1", "groups": [["caretakers"], None, 7]}, None),
    ],
)
def test_a_role_is_what_the_provider_vouches_for(claims, role):
    roles = Roles.parse(
        {
            "owner": ["anna@example.com"],
            "operator": ["sub:Abc", "sub:care@takers", "kate@example.com"],
            "viewer": ["group:caretakers"],
        }
    )
    assert roles.of(claims)[1] is role
