"""Payments in several parts, against a node made of lists: what is given back, what is booked, what is an alarm."""

import asyncio
import time

import pytest
import sqlalchemy as sa

from satmeter.billing import outgoing_payments as module
from satmeter.billing.database import Database
from satmeter.billing.outgoing_payments import ALARM, OutgoingPayments
from satmeter.billing.tables import PAYMENT
from satmeter.core.errors import BadParam, WrongState
from satmeter.journal.url import sqlite_url
from satmeter.market.alarms import attend
from satmeter.market.audit import differences
from satmeter.market.ledger import HUB, NODE, PAYING, Ledger, of_user
from satmeter.market.withdrawals import Withdrawals
from satmeter.node import payments
from satmeter.node.payments import Outcome, fee_cap

OWN, PAYEE, RHASH, USER = "02" * 33, "03" * 33, "ab" * 32, "ann"
ASKED, HELD = 20_000, 20_000 + 1_000 + 200
"""An invoice of 20 sat; with 1 sat of routing at most, and the hub's hundredth."""


class Node:
    """What a node says of one payment hash, look after look; the last one stands."""

    def __init__(self, *outcomes):
        self.said = list(outcomes)
        self.asked_to_pay = 0

    def info(self):
        return {"id": OWN}

    def outcome(self, rhash):
        return self.said.pop(0) if len(self.said) > 1 else self.said[0]

    def pay(self, payee, payreq, rhash, maxfee, maxdelay, again, may):
        """As xpay answers with the preimage: whole, and before all parts have settled."""
        self.asked_to_pay += 1
        return Outcome("complete", ASKED, ASKED), ""


class Hub:
    """An account with money in it, and what sends from it."""

    def __init__(self, tmp_path, node):
        self.node = node
        self.database = Database(sqlite_url(tmp_path / "b.sqlite3"), OWN)
        self.ledger = Ledger(self.database, 10_000)
        self.spending = self.worker()
        with self.database.writing() as db:
            self.ledger.move(db, "deposit", "x", {NODE: -50_000, of_user(USER): 50_000})

    def worker(self):
        made = OutgoingPayments(self.database, self.node, 10**9)
        made._payments = self.node
        sending = Withdrawals(None, made, None, None, self.ledger, None, "")
        made.watchers.append(sending.ended)
        return made

    def send(self, worker=None, payee=PAYEE, expiry=3600):
        decoded = {
            "amount_msat": ASKED, "payment_hash": RHASH, "payee": payee, "created_at": int(time.time()) - 10,
            "expiry": expiry,
        }  # fmt: skip

        def held(db, row):
            self.ledger.move(db, "sending", f"payment/{row['rhash']}", {of_user(USER): -HELD, PAYING: HELD})

        spending = worker or self.spending
        return asyncio.run(spending.ended(spending.send(of_user(USER), "lnbc1", decoded, 200, held)))

    @property
    def balances(self):
        return {name: self.ledger.balance(name) for name in (of_user(USER), PAYING, NODE, HUB)}

    def change(self, **values):
        with self.database.writing() as db:
            db.execute(sa.update(PAYMENT).values(**values))


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(module, "WAIT_S", 2)
    monkeypatch.setattr(payments, "POLL_FIRST_S", 0.01)


NOTHING, UNDER_WAY = Outcome("none"), Outcome("pending", 10_000, 10_000)


def test_all_parts_are_booked_with_their_fees_once_the_last_has_settled(tmp_path):
    hub = Hub(tmp_path, Node(NOTHING, UNDER_WAY, UNDER_WAY, Outcome("complete", ASKED + 30, ASKED)))
    row = hub.send()
    assert row["status"] == "complete" and row["sent"] == ASKED + 30
    assert hub.balances == {of_user(USER): 50_000 - ASKED - 30 - 200, PAYING: 0, NODE: ASKED + 30 - 50_000, HUB: 200}
    assert differences(hub.database, hub.node.outcome) == []


def test_nothing_is_given_back_while_a_part_can_still_settle(tmp_path):
    hub = Hub(tmp_path, Node(NOTHING, UNDER_WAY))
    assert hub.send()["status"] == "pending"
    hub.change(lease_until=1)
    hub.spending._look()
    assert hub.balances[of_user(USER)] == 50_000 - HELD
    hub.node.said = [Outcome("failed")]
    hub.change(lease_until=1)
    hub.spending._look()
    assert hub.balances == {of_user(USER): 50_000, PAYING: 0, NODE: -50_000, HUB: 0}


def test_an_expired_invoice_whose_first_try_is_under_way_is_not_given_back(tmp_path):
    """Its caller fell and it was taken for failed; then a late part of it showed, and it was asked for again."""
    hub = Hub(tmp_path, Node(NOTHING, Outcome("failed")))
    assert hub.send()["status"] == "failed" and hub.balances[of_user(USER)] == 50_000
    hub.node.said = [UNDER_WAY]
    assert hub.send(expiry=1)["status"] == "pending"
    assert hub.balances[of_user(USER)] == 50_000 - HELD and hub.node.asked_to_pay == 1


@pytest.mark.parametrize(
    "odd",
    [
        Outcome("complete", 15_000, 15_000),
        Outcome("complete", 40_000, 40_000),
        Outcome("complete", ASKED + 1_001, ASKED),
    ],
    ids=["less", "twice", "dear"],
)
def test_another_amount_is_an_alarm_and_never_paid_again_nor_given_back(tmp_path, caplog, odd):
    hub = Hub(tmp_path, Node(NOTHING, odd))
    row = hub.send()
    assert row["status"] == ALARM and str(odd.sent_msat) in row["why"] and "20000 msat" in row["why"]
    assert [r.levelname for r in caplog.records if RHASH in r.getMessage()] == ["ERROR"]
    after = {of_user(USER): 50_000 - HELD, PAYING: HELD - odd.sent_msat, NODE: odd.sent_msat - 50_000, HUB: 0}
    assert hub.balances == after
    (line,) = differences(hub.database, hub.node.outcome)
    assert RHASH in line and "alarm" in line
    assert hub.send()["status"] == ALARM and hub.node.asked_to_pay == 1 and hub.balances == after


def test_a_worker_that_lost_a_payment_gives_back_nothing_of_who_has_it(tmp_path):
    hub = Hub(tmp_path, Node(NOTHING, Outcome("failed")))
    other = hub.worker()
    hub.send()
    hub.change(status="pending", worker=other._me, lease_until=int(time.time()) + 60)
    hub.spending._end(RHASH, Outcome("failed"), "it is no longer ours to send")
    assert hub.spending.find(RHASH)["status"] == "pending"
    other._end(RHASH, Outcome("failed"), "no route")
    assert hub.spending.find(RHASH)["status"] == "failed"


def test_the_books_see_what_left_and_was_not_booked(tmp_path):
    hub = Hub(tmp_path, Node(NOTHING, Outcome("failed")))
    hub.send()
    assert differences(hub.database, hub.node.outcome) == []
    hub.node.said = [UNDER_WAY]
    assert "pending parts" in differences(hub.database, hub.node.outcome)[0]
    hub.node.said = [Outcome("complete", ASKED + 5, ASKED)]
    (line,) = differences(hub.database, hub.node.outcome)
    assert "booked are 0 msat, 20005 msat left the node" in line
    assert hub.send()["status"] == "complete"  # found paid, and charged for what left
    assert hub.balances[NODE] == ASKED + 5 - 50_000
    assert differences(hub.database, hub.node.outcome) == []


def test_an_invoice_of_the_own_node_is_refused(tmp_path):
    """A real node would settle it without any channel, and an account be credited for money from nowhere."""
    hub = Hub(tmp_path, Node(NOTHING))
    with pytest.raises(BadParam, match="of this node itself"):
        hub.send(payee=OWN)
    assert hub.spending.find(RHASH) is None and hub.balances[of_user(USER)] == 50_000


@pytest.mark.parametrize(("amount", "most"), [(1, 1_000), (100_000, 1_000), (101_000, 1_010), (10**9, 10**7)])
def test_a_payment_may_cost_a_hundredth_and_a_sat_at_least(amount, most):
    assert fee_cap(amount) == most


def test_who_waits_for_a_payment_again_and_again_holds_no_thread(tmp_path, monkeypatch):
    hub = Hub(tmp_path, Node(NOTHING, UNDER_WAY))
    monkeypatch.setattr(module, "WAIT_S", 60)

    async def act():
        row = hub.spending.find(RHASH)
        waiting = [asyncio.create_task(hub.spending.ended(row)) for _ in range(500)]
        done, left = await asyncio.wait(waiting, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        while len(left) > module.WAITING:
            done, left = await asyncio.wait(left, timeout=5, return_when=asyncio.FIRST_COMPLETED)
            assert done
        hub.node.said = [Outcome("complete", ASKED, ASKED)]
        hub.change(lease_until=1)
        await asyncio.to_thread(hub.spending._look)
        found = await asyncio.wait_for(asyncio.gather(*left), 5)
        assert [each["status"] for each in found] == ["complete"] * module.WAITING
        assert not hub.spending._waiting and not hub.spending._hearers

    monkeypatch.setattr(module, "WAIT_S", 0)
    hub.send()
    monkeypatch.setattr(module, "WAIT_S", 60)
    asyncio.run(act())


@pytest.mark.parametrize(
    ("left", "rest_to", "back", "kept"),
    [(1_000, "payer", HELD - 1_000, 0), (1_000, "hub", 0, HELD - 1_000), (HELD + 700, "payer", 0, -700)],
)
def test_a_person_ends_an_alarm_and_says_whose_the_rest_is(tmp_path, left, rest_to, back, kept):
    """A payee takes one part and lets the others fail; or more left the node than was held, which the hub bears."""
    hub = Hub(tmp_path, Node(NOTHING, Outcome("complete", left, left)))
    assert hub.send()["status"] == ALARM
    assert hub.balances[PAYING] == HELD - left and "alarm" in differences(hub.database, hub.node.outcome)[0]
    for wrong in ((RHASH, "anybody"), ("cd" * 32, "payer")):
        with pytest.raises(BadParam):
            attend(hub.database, hub.ledger, *wrong)
    assert attend(hub.database, hub.ledger, RHASH, rest_to) == HELD - left
    assert hub.balances == {of_user(USER): 50_000 - HELD + back, PAYING: 0, NODE: left - 50_000, HUB: kept}
    assert differences(hub.database, hub.node.outcome) == [] and hub.ledger.sums()["wrong"] == 0
    with pytest.raises(WrongState, match="was ended before"):
        attend(hub.database, hub.ledger, RHASH, rest_to)


def test_what_is_no_alarm_is_not_ended(tmp_path):
    hub = Hub(tmp_path, Node(NOTHING, Outcome("complete", ASKED, ASKED)))
    hub.send()
    before = hub.balances
    with pytest.raises(WrongState, match="stands as complete"):
        attend(hub.database, hub.ledger, RHASH, "payer")
    assert hub.balances == before


@pytest.mark.parametrize("ahead_s", [0, 300, 365 * 86_400])
def test_a_lease_of_a_clock_that_was_ahead_holds_up_nobody(tmp_path, ahead_s):
    """The worker fell between record and call; another asks the node as soon as no true lease can last."""
    hub = Hub(tmp_path, Node(NOTHING))
    hub.spending._send = lambda *given: None
    hub.send(expiry=10**9)
    lease = int(time.time()) + (ahead_s + module.LEASE_S if ahead_s else -1)
    hub.change(lease_until=lease)
    hub.worker()._look()
    assert hub.spending.find(RHASH)["status"] == "failed"
    assert hub.balances[of_user(USER)] == 50_000


def test_a_lease_that_lasts_is_respected(tmp_path):
    hub = Hub(tmp_path, Node(NOTHING))
    hub.spending._send = lambda *given: None
    hub.send(expiry=10**9)
    for left_s in (5, module.LEASE_S, module.LEASE_S + 30):  # the clocks of two workers differ a little
        hub.change(lease_until=int(time.time()) + left_s)
        hub.worker()._look()
        assert hub.spending.find(RHASH)["status"] == "pending"


@pytest.mark.parametrize(("accounts", "mine", "shops"), [(0, 9, 0), (59, 0, 0), (0, 0, 99)])
def test_a_hundred_payments_are_under_way_at_once_sixty_of_accounts_and_ten_of_one(tmp_path, accounts, mine, shops):
    for more, status in ((0, "complete"), (1, "failed")):
        (tmp_path / status).mkdir()
        hub = Hub(tmp_path / status, Node(NOTHING, Outcome("complete", ASKED, ASKED) if not more else NOTHING))
        clients = [
            *(of_user(f"u{n}") for n in range(accounts + more * bool(accounts))),
            *[of_user(USER)] * (mine + more * bool(mine)),
            *["shop"] * (shops + more * bool(shops)),
        ]
        hub.spending._sending = {str(n): client for n, client in enumerate(clients)}
        row = hub.send()
        assert row["status"] == status and hub.node.asked_to_pay == 1 - more
        assert hub.balances[of_user(USER)] == 50_000 - (ASKED + 200) * (1 - more)


def test_another_invoice_of_a_hash_that_was_paid_is_not_told_as_paid(tmp_path):
    hub = Hub(tmp_path, Node(NOTHING, Outcome("complete", ASKED, ASKED)))
    assert hub.send()["status"] == "complete"
    decoded = {"amount_msat": 10 * ASKED, "payment_hash": RHASH, "payee": PAYEE, "created_at": int(time.time())}
    with pytest.raises(WrongState, match="another invoice of the same payment hash"):
        hub.spending.send(of_user(USER), "lnbc2", {**decoded, "expiry": 3600}, 200, None)
