"""Attempts under an id of the client's own."""

import pytest

from satmeter.billing.database import Database
from satmeter.billing.idempotency import IdempotencyKeys
from satmeter.core.errors import BadParam
from satmeter.journal.url import sqlite_url

NODE = "02" * 33


@pytest.fixture
def url(tmp_path):
    return sqlite_url(tmp_path / "b.sqlite3")


def test_an_attempt_that_was_not_answered_goes_on_under_its_id(url):
    once = IdempotencyKeys(Database(url, NODE))
    first = once.begin("shop", "k", b"body")
    again = once.begin("shop", "k", b"body")
    assert again.ref == first.ref and again.status == 0
    once.end(first, 201, "{}")
    assert (once.begin("shop", "k", b"body").status, once.begin("shop", "k", b"body").body) == (201, "{}")
    assert once.begin("other", "k", b"body").ref != first.ref
    with pytest.raises(BadParam, match="another request"):
        once.begin("shop", "k", b"other")
