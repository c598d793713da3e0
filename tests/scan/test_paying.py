"""What is done with a scanned code within caps: every reason against it is said, and nothing beyond a cap is asked of
the node."""

import time

import pytest
from pyln.client import RpcError

from satmeter.core.errors import BadParam, NodeTrouble, OverCap
from satmeter.qr.meaning import Invoice
from satmeter.scan.paying import may_pay, open_stream, pay
from satmeter.wire.address import Address

SELLER, OTHER = "02" + "aa" * 32, "03" + "bb" * 32


class Node:
    """On regtest; answers what it is told to, and keeps what it was asked."""

    def __init__(self, answer=None):
        self.answer, self.asked = answer or {"payment_preimage": "00"}, []

    def info(self):
        return {"network": "regtest"}

    def call(self, method, **params):
        self.asked.append((method, params))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def invoice(amount_msat=20_000, network="regtest", payee=SELLER, in_s=60):
    return Invoice("lnbcrt1", network, amount_msat, payee, "kiosk", int(time.time()) + in_s, "11" * 32)


def test_every_reason_against_it_is_said_at_once():
    wrong = invoice(amount_msat=None, network="bitcoin", payee=OTHER, in_s=-5)
    with pytest.raises(BadParam) as error:
        may_pay(Node(), wrong, 10**9, payee=SELLER)
    for words in ("wrong network", "expired", "no amount", "another node"):
        assert words in error.value.message


def test_a_cap_is_the_most_that_is_paid():
    node = Node()
    may_pay(node, invoice(20_000), 20_000)
    with pytest.raises(OverCap, match="20000 msat, the cap 19999"):
        pay(node, invoice(20_000), 19_999)
    assert not node.asked


@pytest.mark.parametrize(("given", "maxfee"), [(None, 1_000), (0, 0), ("5sat", 5_000)])
def test_a_fee_has_a_cap_too(given, maxfee):
    node = Node()
    pay(node, invoice(20_000), "20sat", given)
    ((method, params),) = node.asked
    assert method == "xpay" and params["invstring"] == "lnbcrt1" and params["maxfee"] == maxfee


@pytest.mark.parametrize(
    ("code", "words"), [(203, "plugged in"), (205, "no route"), (-3, "under way already"), (999, "why")]
)
def test_what_to_do_is_said_where_it_fails(code, words):
    node = Node(RpcError("xpay", {}, {"code": code, "message": "why"}))
    with pytest.raises(NodeTrouble, match=words):
        pay(node, invoice(), 20_000)


def test_a_stream_is_opened_with_its_caps_in_msat_and_a_unit():
    node = Node({"session": "s"})
    address = Address("127.0.0.1", 9735, SELLER, "socket")
    assert open_stream(node, address, "300sat/kWh", "1000sat") == {"session": "s"}
    ((method, params),) = node.asked
    assert method == "stream-open" and params["seller"] == str(address)
    assert (params["max_price_msat"], params["unit"], params["budget_msat"]) == (300_000, "kWh", 1_000_000)
    with pytest.raises(BadParam, match="needs its unit"):
        open_stream(node, address, "300sat", "1000sat")
    assert len(node.asked) == 1
