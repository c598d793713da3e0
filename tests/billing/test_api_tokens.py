"""Secrets of clients: made, replaced, and over."""

import pytest

from satmeter.billing import api_tokens as secrets_module
from satmeter.billing.api_tokens import ApiTokens
from satmeter.billing.database import Database
from satmeter.core.errors import BadParam, NameTaken
from satmeter.journal.url import sqlite_url

NODE = "02" * 33


@pytest.fixture
def url(tmp_path):
    return sqlite_url(tmp_path / "b.sqlite3")


def test_secrets(url):
    secrets = ApiTokens(Database(url, NODE))
    secret = secrets.add("shop", ["invoice", "pay"])
    found = secrets.find(secret)
    assert found is not None and found.name == "shop" and found.scopes == {"invoice", "pay"}
    for wrong in ("", secret[:-1], secret + "x", "\ud800"):
        assert secrets.find(wrong) is None
    with pytest.raises(NameTaken):
        secrets.add("shop", ["pay"])
    for name, scopes in (("A", ["pay"]), ("", ["pay"]), ("x", ["root"])):
        with pytest.raises(BadParam):
            secrets.add(name, scopes)
    secrets.revoke("shop")
    assert secrets.find(secret) is None
    with pytest.raises(BadParam):
        secrets.revoke("shop")


def test_a_secret_is_replaced_with_the_earlier_one_good_for_a_while(url, monkeypatch):
    secrets, clock = ApiTokens(Database(url, NODE)), [1_800_000_000]
    monkeypatch.setattr(secrets_module.time, "time", lambda: clock[0])
    first = secrets.add("shop", ["invoice"])
    second = secrets.replace("shop", keep_s=3600)
    assert [secrets.find(s).name for s in (first, second)] == ["shop", "shop"]
    clock[0] += 3601
    assert secrets.find(first) is None and secrets.find(second).scopes == {"invoice"}
    third = secrets.replace("shop")
    assert secrets.find(second) is None and secrets.find(third)
    secrets.revoke("shop")
    fourth = secrets.replace("shop", keep_s=3600)
    assert secrets.find(third) is None and secrets.find(fourth)
    with pytest.raises(BadParam):
        secrets.replace("nobody")
    ended = secrets.add("other", ["invoice"], expires_at=clock[0] + 60)
    secrets.replace("other", keep_s=3600)
    assert secrets.find(ended)
    clock[0] += 61
    assert secrets.find(ended) is None


def test_a_secret_may_have_an_end(url, monkeypatch):
    secrets, clock = ApiTokens(Database(url, NODE)), [1_800_000_000]
    monkeypatch.setattr(secrets_module.time, "time", lambda: clock[0])
    secret = secrets.add("shop", ["invoice"], expires_at=clock[0] + 60)
    assert secrets.find(secret)
    clock[0] += 61
    assert secrets.find(secret) is None
