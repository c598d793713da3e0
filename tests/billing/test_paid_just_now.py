"""Who has paid knows it before the service has counted the payment: a good credential is never refused for that."""

import pytest
from pyln.client import RpcError

from satmeter.billing import container as module
from satmeter.billing.config import Config
from satmeter.billing.container import Container
from satmeter.billing.tokens import ISSUED, Use
from satmeter.core.errors import NodeTrouble


@pytest.fixture
def service(net, tmp_path):
    """A service that follows no payments: it knows of none but by looking."""
    opened = Container(
        Config(rpc=net["seller"].lightning_dir / "lightning-rpc", database=f"sqlite:///{tmp_path}/billing")
    )
    opened.follower.begin()
    yield opened
    opened.hub.stop()


def use(row, service="/a"):
    return Use("rhash", row["rhash"], (service,))


def test_a_payment_that_is_not_counted_yet_opens_the_gate_and_counts_once(net, service):
    paid, unpaid = (service.invoices.make("shop", 1_000, services=("/a",), uses=2) for _ in range(2))
    assert service.spend([use(paid), use(unpaid), None]) == [False, False, False]
    net["buyer"].rpc.call("xpay", {"invstring": paid["payreq"]})
    assert service.spend([use(unpaid), use(paid), use(paid, "/b"), None]) == [False, True, False, False]
    assert service.invoices.find(paid["id"])["msatoshi_received"] == 1_000
    assert service.spend([use(paid)]) == [True] and service.spend([use(paid)]) == [False]
    assert service.invoices.find(unpaid["id"])["pay_index"] is None


def test_a_payment_that_is_counted_while_we_look_opens_the_gate(net, service, monkeypatch):
    """The follower, or another worker, counts it after our first try and before we look at the invoice."""
    row = service.invoices.make("shop", 1_000, services=("/a",))
    net["buyer"].rpc.call("xpay", {"invstring": row["payreq"]})
    spend_all = service.tokens.spend_all

    def counted_meanwhile(*asked):
        passed = spend_all(*asked)
        assert service.follower.catch_up(row)
        return passed

    monkeypatch.setattr(service.tokens, "spend_all", counted_meanwhile)
    assert service.spend([use(row)]) == [True] and service.spend([use(row)]) == [False]


def test_its_token_is_given_too(net, service):
    row = service.invoices.make("shop", 1_000, services=("/a",))
    net["buyer"].rpc.call("xpay", {"invstring": row["payreq"]})
    assert service.follower.catch_up(row)
    token = service.tokens.issue(service.invoices.find(row["id"]), ("/a",))
    assert token and service.spend([Use("hash", token, ("/a",))]) == [True]


def test_an_invoice_is_found_by_its_text_and_what_is_none_is_not(service, monkeypatch):
    row = service.invoices.make("shop", 1_000, services=("/a",))
    assert service.invoices.by_payreq(row["payreq"].upper())["id"] == row["id"]
    for other in ("lnbc1nonsense", "lnbcrt1", row["payreq"][:-1] + "q", "nonsense", ""):
        assert service.invoices.by_payreq(other) is None, other

    def away(method, **params):
        raise RpcError(method, params, {"code": -4, "message": "Plugin terminated before replying to RPC call."})

    monkeypatch.setattr(service.node, "call", away)
    with pytest.raises(NodeTrouble):  # whose it is can't be told: it is not taken for another's
        service.invoices.by_payreq(row["payreq"])


def test_many_who_paid_are_all_let_through_at_once(net, service):
    rows = [service.invoices.make("shop", 1_000, services=("/a",)) for _ in range(12)]
    for row in rows:
        net["buyer"].rpc.call("xpay", {"invstring": row["payreq"]})
    assert service.spend([use(row) for row in rows]) == [True] * 12
    assert service.spend([use(row) for row in rows]) == [False] * 12


def test_what_was_counted_late_is_given_back_with_the_rest(net, service):
    counted, late = (service.invoices.make("shop", 1_000, services=("/a",)) for _ in range(2))
    for row in (counted, late):
        net["buyer"].rpc.call("xpay", {"invstring": row["payreq"]})
    assert service.follower.catch_up(counted)
    both = [use(counted), use(late)]
    assert service.spend(both, id="1", who="gate") == [True, True]
    for _ in range(2):
        service.spend(both, id="1", undo=True, who="gate")
    assert service.spend(both) == [True, True] and service.spend(both) == [False, False]


def test_a_question_that_is_asked_again_is_answered_also_when_more_was_paid_meanwhile(net, service):
    first, second = (service.invoices.make("shop", 1_000, services=("/a",)) for _ in range(2))
    net["buyer"].rpc.call("xpay", {"invstring": first["payreq"]})
    both = [use(first), use(second)]
    assert service.spend(both, id="1", who="gate") == [True, False]
    net["buyer"].rpc.call("xpay", {"invstring": second["payreq"]})
    for _ in range(2):
        assert service.spend(both, id="1", who="gate") == [True, True]
    service.spend(both, id="1", undo=True, who="gate")
    assert service.spend(both, id="1", who="gate") == [False, False]
    assert service.spend(both) == [True, True] and service.spend(both) == [False, False]


def test_a_use_is_given_back_also_where_its_token_was_issued_anew(net, service):
    row = service.invoices.make("shop", 1_000, services=("/a",), uses=2)
    net["buyer"].rpc.call("xpay", {"invstring": row["payreq"]})
    assert service.follower.catch_up(row)
    old = Use("hash", service.tokens.issue(service.invoices.find(row["id"]), ("/a",)), ("/a",))
    assert service.spend([old], id="1", who="gate") == [True] and service.spend([old]) == [True]
    new = Use("hash", service.tokens.issue(service.invoices.find(row["id"]), ("/a",)), ("/a",))
    assert service.spend([new]) == [False]
    for _ in range(2):
        service.spend([old], id="1", undo=True, who="gate")
        assert service.tokens.give_back(old.which, id="2") is True
    assert service.spend([new]) == [True] and service.spend([new]) == [True] and service.spend([new]) == [False]


def test_nobody_elses_key_takes_what_is_given_back(net, service):
    row = service.invoices.make("shop", 1_000, services=("/a",))
    others = service.invoices.make("another", 1_000, services=("/a",))
    for each in (row, others):
        net["buyer"].rpc.call("xpay", {"invstring": each["payreq"]})
        assert service.follower.catch_up(each)
    mine = service.tokens.issue(service.invoices.find(others["id"]), ("/a",))
    old = Use("hash", service.tokens.issue(service.invoices.find(row["id"]), ("/a",)), ("/a",))
    assert service.spend([old, Use("hash", mine, ("/a",))]) == [True, True]
    service.once.begin("another", f"{ISSUED} {old.key}", b"x")  # who knows how such a key reads
    new = Use("hash", service.tokens.issue(service.invoices.find(row["id"]), ("/a",)), ("/a",))
    assert service.tokens.give_back(old.which, id="1") is True
    assert service.spend([new]) == [True] and service.spend([Use("hash", mine, ("/a",))]) == [False]


def test_an_id_under_which_nothing_was_given_back_is_good_for_it_later(net, service):
    row = service.invoices.make("shop", 1_000, services=("/a",))
    net["buyer"].rpc.call("xpay", {"invstring": row["payreq"]})
    assert service.follower.catch_up(row)
    token = service.tokens.issue(service.invoices.find(row["id"]), ("/a",))
    assert service.tokens.give_back(token, id="1") is False
    assert service.spend([Use("hash", token, ("/a",))]) == [True]
    assert service.tokens.give_back(token, id="1") is True and service.tokens.give_back(token, id="1") is True
    assert service.spend([Use("hash", token, ("/a",))] * 2) == [True, False]


def test_what_was_used_up_long_ago_is_not_looked_at_again(net, service, monkeypatch):
    row = service.invoices.make("shop", 1_000, services=("/a",))
    net["buyer"].rpc.call("xpay", {"invstring": row["payreq"]})
    assert service.follower.catch_up(row) and service.spend([use(row)]) == [True]
    monkeypatch.setattr(module, "LATE_S", -60)
    asked = []
    monkeypatch.setattr(service.tokens, "spend_all", lambda uses, *_: asked.append(len(uses)) or [False] * len(uses))
    assert service.spend([use(row)] * 50, id="1", who="gate") == [False] * 50 and asked == [50]
