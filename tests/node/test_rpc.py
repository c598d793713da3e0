"""What a node's socket says, and what it means that it says nothing more."""

import json
import socket
import threading

import pytest
from pyln.client import RpcError

from satmeter.core.errors import BadParam, NodeTrouble
from satmeter.node.rpc import Node


@pytest.fixture
def node(tmp_path):
    """A node that answers each call with the bytes of `says`, and hangs up."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "rpc"))
        listener.listen()
        made = Node(str(tmp_path / "rpc"))
        made.says = b""

        def serve():
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                with line:
                    asked = json.loads(line.recv(65536))
                    line.sendall(made.says.replace(b"ID", json.dumps(asked["id"]).encode()))

        threading.Thread(target=serve, daemon=True).start()
        yield made
        listener.shutdown(socket.SHUT_RDWR)


def test_a_node_that_goes_away_in_the_middle_of_a_call_decided_nothing(node):
    for node.says in (b"", b'{"jsonrpc":"2.0","id":ID,"err', b'{"jsonrpc":"2.0","id":ID,"error":"Shutting down"}\n\n'):
        with pytest.raises(NodeTrouble, match="decode: the node at"):
            node.call("decode", string="lnbc1")


def test_a_node_that_says_why_is_told_as_it_says_it(node):
    node.says = b'{"jsonrpc":"2.0","id":ID,"error":{"code":-32602,"message":"no invoice"}}\n\n'
    with pytest.raises(RpcError, match="no invoice"):
        node.call("decode", string="lnbc1")
    with pytest.raises(BadParam, match="no invoice"):
        node.decode("lnbc1")


class Scripted(Node):
    """A node in memory: invoices by label, each (amount, status)."""

    def __init__(self, **invoices):
        self.invoices = invoices

    def call(self, method, **params):
        label = params["label"]
        if method == "invoice":
            if label in self.invoices:
                raise RpcError("invoice", params, {"code": 900, "message": "Duplicate label"})
            self.invoices[label] = (params["amount_msat"], "unpaid")
            return {"bolt11": f"new {params['amount_msat']}", "payment_hash": "11" * 32, "expires_at": 99}
        if method == "delinvoice":
            assert self.invoices.pop(label)[1] == params["status"]
            return {}
        amount, status = self.invoices[label]
        row = {"label": label, "bolt11": f"old {amount}", "payment_hash": "22" * 32, "status": status, "expires_at": 9}
        row |= {"amount_received_msat": amount, "pay_index": 1} if status == "paid" else {}
        return {"invoices": [row | ({} if amount == "any" else {"amount_msat": amount})]}


@pytest.mark.parametrize(
    ("there", "asked", "renew", "bolt11"),
    [
        ((5, "unpaid"), 5, False, "old 5"),
        ((5, "unpaid"), 6, False, "new 6"),  # it was made ahead, for another amount, and nobody has seen it
        ((5, "paid"), 6, True, "old 5"),  # what was paid is never asked for again
        ((5, "expired"), 5, False, "old 5"),
        ((5, "expired"), 5, True, "new 5"),
        ((5, "expired"), 6, False, "new 6"),
        (("any", "unpaid"), None, False, "old any"),
        (("any", "unpaid"), 6, False, "new 6"),
    ],
)
def test_an_invoice_whose_label_is_taken(there, asked, renew, bolt11):
    assert Scripted(l=there).invoice("l", asked, "d", 60, renew=renew).bolt11 == bolt11
