"""What a picture with several codes has done: an invoice beside a meter's address has to be of that meter's node."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from satmeter.core.errors import BadParam
from satmeter.qr.meaning import Invoice
from satmeter.qr.read import Found
from satmeter.scan import scanner
from satmeter.scan.scanner import Order, Scanner
from satmeter.wire.address import Address

METER, THIRD, STRANGER = "02" + "aa" * 32, "02" + "cc" * 32, "03" + "bb" * 32


class Node:
    """On regtest; pays what it is asked to."""

    def __init__(self):
        self.paid = []

    def info(self):
        return {"network": "regtest"}

    def call(self, method, **params):
        self.paid.append(params)
        return {"payment_preimage": "00", "amount_sent_msat": 20_000}


def invoice(payee):
    return Invoice("lnbcrt1", "regtest", 20_000, payee, "m", int(time.time()) + 60, "11" * 32)


def address(node):
    return Address(node_id=node, host="127.0.0.1", port=9735, meter="m")


@pytest.fixture
def scanned(monkeypatch):
    """Scan a picture that has codes of these meanings, and pay the first; returns what the node was asked to pay."""

    def scan(*meanings, node=""):
        monkeypatch.setattr(scanner, "meaning", dict(enumerate(meanings)).__getitem__)
        monkeypatch.setattr(
            Scanner, "_first", lambda self, source, seconds: [Found(n, ()) for n in range(len(meanings))]
        )
        order = Order(pay=True, max_amount=50_000, node=node, yes=True)
        made = Scanner(Console(file=io.StringIO()), order, Path("/nowhere"))
        made.node = Node()
        made.run("picture.png", pick=1 if len(meanings) > 1 else 0)
        return made.node.paid

    return scan


def test_an_invoice_of_the_meters_node_is_paid(scanned):
    assert len(scanned(invoice(METER), address(METER))) == 1
    assert len(scanned(invoice(STRANGER))) == 1  # alone, it is what the user wants


def test_an_invoice_of_another_node_than_the_meters_is_not_paid(scanned):
    with pytest.raises(BadParam, match=f"the invoice is of {STRANGER}|another node"):
        scanned(invoice(STRANGER), address(METER))


def test_of_two_meters_the_user_has_to_say_whose_invoice_it_is(scanned):
    with pytest.raises(BadParam, match="addresses of two nodes in one picture"):
        scanned(invoice(METER), address(METER), address(THIRD))
    assert len(scanned(invoice(METER), address(METER), address(THIRD), node=METER)) == 1
    with pytest.raises(BadParam):
        scanned(invoice(STRANGER), address(METER), address(THIRD), node=METER)
