"""Logging in to the pages by an OpenID Connect provider, with the role that the config gives."""

import pytest
from joserfc.jwk import RSAKey
from playwright.sync_api import expect

from running import RunningPanel
from satmeter.core.errors import BadParam
from satmeter.node.rpc import Node
from satmeter.panel.config import load

CONFIG = """
[openid]
name = "Example ID"
issuer = "{issuer}"
client_id = "hub"
client_secret = "s"

[roles]
owner = ["anna@example.com"]
viewer = ["group:caretakers"]
"""


@pytest.fixture(scope="module")
def pages(net, provider, tmp_path_factory):
    directory = tmp_path_factory.mktemp("openid")
    config = directory / "panel.toml"
    config.write_text(CONFIG.format(issuer=provider.issuer))
    config.chmod(0o600)
    rpc = net["seller"].lightning_dir / "lightning-rpc"
    running = RunningPanel(directory, rpc, "--config", str(config), login=True)
    yield running
    running.stop()


def entered(pages, tab):
    page = tab(pages.url + "/")
    expect(page.get_by_label("Password")).not_to_be_attached()
    page.get_by_role("link", name="Log in with Example ID").click()
    return page


def test_who_has_a_role_comes_in_with_it(pages, provider, tab):
    provider.who = {"sub": "1", "email": "anna@example.com", "email_verified": True}
    page = entered(pages, tab)
    expect(page.get_by_role("button", name="Add a meter")).to_be_visible()
    provider.who = {"sub": "2", "groups": ["caretakers"]}
    page = entered(pages, tab)
    expect(page.get_by_role("link", name="socket")).to_be_visible()
    expect(page.get_by_role("button", name="Add a meter")).not_to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in with Example ID")).to_be_visible()


def test_who_has_none_stays_outside(pages, provider, tab):
    provider.who = {"sub": "3", "email": "mallory@example.com", "email_verified": True}
    page = entered(pages, tab)
    expect(page.get_by_role("alert")).to_have_text("mallory@example.com has no role on these pages")
    page.goto(pages.url + "/sell")
    expect(page.get_by_role("link", name="Log in with Example ID")).to_be_visible()


def test_what_the_provider_did_not_sign_lets_nobody_in(pages, provider, tab):
    provider.who = {"sub": "1", "email": "anna@example.com", "email_verified": True}
    provider.signs = RSAKey.generate_key(2048, {"kid": "k"}, private=True)
    try:
        page = entered(pages, tab)
        expect(page.get_by_role("alert")).to_contain_text("Example ID did not say who you are")
    finally:
        provider.signs = provider.key


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nonsense", "panel.toml: "),
        ("site = 1", "site: not a field of the config"),
        ('public_url = "ftp://x"', "public_url: must be http"),
        ("sites = 1", "sites: must be tables"),
        ('[sites.A]\nrpc = "x"', "name: must be 1 to 32 of a-z"),
        ('[sites.a]\nrpc = "x"\npeer = "y"', "sites: a must have rpc, or peer and rune; it has rpc, peer"),
        ('[sites.a]\npeer = "x"\nrune = "y"', "sites: a: rune: must be what createrune answers"),
        ("[sites.a]\nrpc = 5", "sites: a must be a table of texts"),
        ('[roles]\nowner = ["anna@example.com"]', "roles: are of people whom a provider names"),
        (CONFIG.split("[roles]")[0], "roles: nobody who comes from the provider has one"),
        (CONFIG + 'king = ["x@y"]', "role: must be one of viewer, operator, owner, got 'king'"),
        (CONFIG.replace("anna@example.com", "anna"), "roles: owner must be a list of e-mail addresses"),
        (CONFIG.replace("{issuer}", "example.com"), "openid: issuer must be http"),
    ],
)
def test_a_config_that_is_wrong_says_where(tmp_path, text, why):
    path = tmp_path / "panel.toml"
    path.write_text(text.replace("{issuer}", "https://id.example.com"))
    path.chmod(0o600)
    with pytest.raises(BadParam, match=why):
        load(path, Node("/nowhere"))
    path.chmod(0o644)
    with pytest.raises(BadParam, match="must be readable by its owner only"):
        load(path, Node("/nowhere"))
