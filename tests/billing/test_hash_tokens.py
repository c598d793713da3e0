"""Hash tokens that are spent, given back and issued anew, all at once: every use is counted once."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa

from satmeter.billing.api_tokens import digest
from satmeter.billing.database import Database
from satmeter.billing.events import Events
from satmeter.billing.idempotency import IdempotencyKeys
from satmeter.billing.tables import INVOICE, ONCE, SERVICE, TOKEN
from satmeter.billing.tokens import Tokens, Use
from satmeter.core.errors import BadParam
from satmeter.journal.url import sqlite_url

WEATHER, GATE = ("weather",), "gate"
PAID = {
    "client": "shop",
    "msatoshi": 1_000,
    "msatoshi_received": 1_000,
    "payreq": "ln",
    "description": "",
    "created_at": 1,
    "expires_at": 1,
    "pay_index": 1,
    "paid_at": 1,
    "metadata": "{}",
    "redirect_url": "",
}


class Shop:
    """Paid invoices and their tokens in one database, and what was spent of each."""

    def __init__(self, url):
        self.database = Database(url, "02" * 33)
        self.tokens = Tokens(self.database, Events(self.database))

    def sell(self, name, uses):
        row = {**PAID, "id": name, "rhash": digest(name), "uses": uses}
        with self.database.writing() as db:
            db.execute(sa.insert(INVOICE), row)
            db.execute(sa.insert(SERVICE), {"invoice": name, "service": "weather"})
        return row, self.tokens.issue(row, WEATHER)

    def spent(self, name):
        with self.database.reading() as db:
            return db.execute(sa.select(TOKEN.c.spent).where(TOKEN.c.invoice == name)).scalar_one()


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request, tmp_path):
    return Shop(sqlite_url(tmp_path / "b") if request.param == "sqlite" else request.getfixturevalue("database"))


def at_once(*jobs):
    """Run jobs, all begun together; return their answers."""
    ready = Barrier(len(jobs))

    def begun(job):
        ready.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as threads:
        return [each.result() for each in [threads.submit(begun, job) for job in jobs]]


def test_a_use_that_is_given_back_while_its_token_is_issued_anew_is_given_back_once(shop):
    for n in range(40):
        row, old = shop.sell(f"i{n}", 2)
        assert shop.tokens.spend(old, WEATHER)
        back, new = at_once(
            lambda old=old, n=n: shop.tokens.give_back(old, id=f"back{n}"), lambda r=row: shop.tokens.issue(r, WEATHER)
        )
        assert back and shop.tokens.give_back(old, id=f"back{n}") and shop.spent(f"i{n}") == 0
        assert shop.tokens.spend_all([Use("hash", new, WEATHER)] * 3) == [True, True, False]


def test_many_tokens_are_spent_and_given_back_at_once_and_some_are_issued_anew_meanwhile(shop):
    rounds = 15
    rows, tokens = zip(*[shop.sell(f"i{n}", 10_000) for n in range(6)], strict=True)
    uses = [Use("hash", token, WEATHER) for token in tokens]
    for n in range(2 * rounds):
        assert all(shop.tokens.spend_all(uses, id=f"u{n}", who=GATE))
    newest = [shop.tokens.issue(row, WEATHER) if n % 2 else tokens[n] for n, row in enumerate(rows)]

    def give_back(first):
        for n in range(first, first + rounds):
            shop.tokens.unspend_all(uses, f"u{n}", GATE)

    def spend():
        again = [Use("hash", token, WEATHER) for token in reversed(newest)]
        return sum(all(shop.tokens.spend_all(again)) for _ in range(rounds))

    spent = at_once(lambda: give_back(0), spend, lambda: give_back(rounds), spend)
    assert spent == [None, rounds, None, rounds]
    assert [shop.spent(row["id"]) for row in rows] == [2 * rounds] * 6


def test_what_is_given_back_by_payment_hash_reaches_a_token_that_was_issued_anew(shop):
    row, _ = shop.sell("i", 3)
    use = Use("rhash", row["rhash"], WEATHER)
    assert shop.tokens.spend_all([use, use], id="u", who=GATE) == [True, True]
    shop.tokens.issue(row, WEATHER)
    at_once(*[lambda: shop.tokens.unspend_all([use, use], "u", GATE)] * 2)
    assert shop.spent("i") == 0


def test_an_id_gives_back_a_use_of_one_invoice(shop):
    tokens = [shop.sell(f"i{n}", 2)[1] for n in range(2)]
    for token in tokens:
        assert shop.tokens.spend(token, WEATHER)
    assert shop.tokens.give_back(tokens[0], id="7")
    with pytest.raises(BadParam, match="id: was used for another return"):
        shop.tokens.give_back(tokens[1], id="7")
    assert [shop.spent(f"i{n}") for n in range(2)] == [0, 1]


@pytest.mark.parametrize("days", [2, 6])
def test_a_use_is_given_back_days_after_it_was_spent(shop, days):
    """The gate owed it, and the service was away for long: the id under which it was spent is still known."""
    _, token = shop.sell("inv", 2)
    uses = [Use("hash", token, WEATHER)]
    assert shop.tokens.spend_all(uses, id="q1", who="gate") == [True] and shop.spent("inv") == 1
    with shop.database.writing() as db:
        db.execute(sa.update(ONCE).values(created_at=ONCE.c.created_at - days * 86_400))
    IdempotencyKeys(shop.database).forget(int(time.time()))
    shop.tokens.unspend_all(uses, "q1", "gate")
    assert shop.spent("inv") == 0
    shop.tokens.unspend_all(uses, "q1", "gate")
    assert shop.spent("inv") == 0


def test_what_is_older_than_a_week_is_forgotten(shop):
    _, token = shop.sell("inv", 2)
    shop.tokens.spend_all([Use("hash", token, WEATHER)], id="q1", who="gate")
    with shop.database.writing() as db:
        db.execute(sa.update(ONCE).values(created_at=ONCE.c.created_at - 8 * 86_400))
    IdempotencyKeys(shop.database).forget(int(time.time()))
    with shop.database.reading() as db:
        assert db.execute(sa.select(sa.func.count()).select_from(ONCE)).scalar_one() == 0


def test_a_token_is_told_of_once_as_low_and_once_as_closed(shop):
    """Of 10 uses a fifth is 2; a use that is given back and spent again is told of no second time."""
    _, token = shop.sell("i", 10)

    def told():
        return [(each["kind"], json.loads(each["body"])["left"]) for each in Events(shop.database).after(0)]

    assert all(shop.tokens.spend(token, WEATHER) for _ in range(7)) and told() == []
    assert shop.tokens.spend(token, WEATHER) and told() == [("low", 2)]
    assert shop.tokens.spend_all([Use("hash", token, WEATHER)] * 3) == [True, True, False]
    assert told() == [("low", 2), ("closed", 0)]
    assert shop.tokens.give_back(token) and shop.tokens.spend(token, WEATHER)
    assert told() == [("low", 2), ("closed", 0)]
