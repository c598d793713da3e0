"""What nobody paid is let go of, and what somebody paid never is: whatever the clock says, and whoever counts late."""

import time

import pytest

from satmeter.billing.config import Config
from satmeter.billing.container import Container
from satmeter.core.errors import WrongState
from satmeter.market.container import Market
from satmeter.market.ledger import of_user
from satmeter.market.orders import UNPAID_S

ANN = "ann"


@pytest.fixture
def hub(net, tmp_path):
    """A hub whose follower has not come so far yet, as after a start or before a busy node."""
    rpc = net["seller"].lightning_dir / "lightning-rpc"
    billing = Container(Config(rpc=rpc, database=f"sqlite:///{tmp_path}/hub", market=True))
    billing.follower.begin()
    yield Market(billing)
    billing.hub.stop()


def pay(net, row):
    net["buyer"].rpc.call("xpay", {"invstring": row["payreq"]})


def test_a_deposit_that_was_paid_while_the_hub_was_away_is_not_forgotten_however_long_that_was(net, hub):
    row = hub.orders.deposit(ANN, 1_000_000, "deposit")
    pay(net, row)
    hub.orders.forget(row["expires_at"] + UNPAID_S + 1)
    assert hub.billing.follower.catch_up(hub.billing.invoices.find(row["id"]))
    assert hub.ledger.balance(of_user(ANN)) == 1_000_000


def test_what_a_clock_in_the_future_lets_go_of_can_be_paid_by_nobody(net, hub):
    row = hub.orders.deposit(ANN, 1_000_000, "deposit")
    hub.orders.forget(int(time.time()) + 365 * 86_400)
    assert hub.billing.invoices.find(row["id"]) is None and hub.orders.bill(row["id"]) is None
    with pytest.raises(Exception, match=r"(?i)unknown|incorrect|expired|no such|fail"):
        pay(net, row)


def test_what_is_not_old_stays(hub):
    row = hub.orders.deposit(ANN, 1_000_000, "deposit")
    hub.orders.forget(row["expires_at"] + UNPAID_S)
    assert hub.billing.invoices.find(row["id"]) is not None


def test_an_expired_invoice_that_was_paid_in_time_is_not_deleted(net, hub):
    row = hub.billing.invoices.make("shop", 1_000, expiry_s=2)
    pay(net, row)
    while time.time() <= row["expires_at"]:
        time.sleep(0.1)
    with pytest.raises(WrongState):
        hub.billing.invoices.delete(hub.billing.invoices.find(row["id"]), "expired")
    assert hub.billing.follower.catch_up(hub.billing.invoices.find(row["id"]))
