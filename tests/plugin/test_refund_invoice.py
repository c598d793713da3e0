"""An invoice by which money is given back: what could never be paid is refused before anything is recorded."""

import secrets

import pytest
from pyln.client import RpcError

from satmeter.core.errors import BadParam, NodeTrouble
from satmeter.devnet.emulated import invoices, offers
from satmeter.devnet.emulated.errors import RpcFault
from satmeter.node.rpc import Node as RpcNode
from satmeter.plugin.clock import Clock
from satmeter.plugin.decoder import Decoder
from satmeter.plugin.refund_invoice import RefundInvoice, check, read

OWN, OTHER, NOW = "02" + "aa" * 32, "02" + "bb" * 32, 1_700_000_000
KEY = "11" * 32


class Node(RpcNode):
    """What a node's decode says."""

    def __init__(self, **changed):
        self.changed = changed

    def call(self, method, string):
        assert method == "decode"
        text = string
        try:
            found = offers.decode(text) if text.startswith("lni1") else invoices.decode(text)
        except RpcFault as fault:
            raise RpcError("decode", {}, {"code": fault.code, "message": fault.message}) from None
        return {**found, **self.changed}


def bolt11(amount_msat=None):
    return invoices.sign(KEY, amount_msat, secrets.token_hex(32), secrets.token_hex(32), "back", 600, NOW)


def bolt12(amount_msat):
    offer = offers.Offers(OTHER).make(None, "mine", None)
    return offers.invoice_text(offer, OTHER, OTHER, "", amount_msat, "ab" * 32, "cd" * 32)


@pytest.mark.parametrize(("made", "amount"), [(bolt11(), 0), (bolt11(5_000), 5_000), (bolt12(7_000), 7_000)])
def test_either_kind_is_read_with_or_without_an_amount(made, amount):
    found = read(Node(), made)
    assert found.amount_msat == amount and len(found.payment_hash) == 64 and len(found.payee) == 66


@pytest.mark.parametrize("wrong", ["", "lnbc1", "x" * 9_000, "lnbc1 \n", "alice@wallet.example", "\u0130nbc1"])
def test_nonsense_is_refused_in_words(wrong):
    with pytest.raises(BadParam, match="invoice: "):
        read(Node(), wrong)


class AwayNode(RpcNode):
    """A node whose plugin for `decode` is not there, or ends in the middle of it."""

    def __init__(self, code):
        self.code = code

    def call(self, method, **params):
        raise RpcError(method, params, {"code": self.code, "message": "Unknown command 'decode'"})


@pytest.mark.parametrize("code", [-32601, -4, -1, -32603])
def test_a_node_that_can_not_decode_just_now_condemns_no_invoice(code):
    """A refund that was paid before a crash would be given up as if it had never been, and be paid again."""
    with pytest.raises(NodeTrouble, match="can't decode"):
        read(AwayNode(code), bolt11())
    with pytest.raises(NodeTrouble, match="can't decode"):
        Decoder(AwayNode(code), Clock()).decode(bolt11(1_000))
    decoded, why = Decoder(Node(), Clock()).decode("lnbc1")
    assert decoded is None and why


@pytest.mark.parametrize("changed", [{"valid": False}, {"type": "bolt12 offer"}, {"type": "rune"}])
def test_what_the_node_reads_as_something_else_is_refused(changed):
    with pytest.raises(BadParam, match="must be a valid BOLT 11 or BOLT 12 invoice"):
        read(Node(**changed), bolt11())


@pytest.mark.parametrize(
    ("payee", "text", "network", "expires_at", "why"),
    [
        (OWN, "lnbcrt1", "regtest", NOW + 9, "own node"),
        (OTHER, "lnbc1", "regtest", NOW + 9, "network, regtest"),
        (OTHER, "lnbcrt1", "bitcoin", NOW + 9, "network, bitcoin"),
        (OTHER, "lntbs1", "testnet", NOW + 9, "network, testnet"),
        (OTHER, "lnbcrt1", "regtest", NOW, "expired"),
    ],
)
def test_what_could_never_be_paid_is_refused(payee, text, network, expires_at, why):
    with pytest.raises(BadParam, match=why):
        check(RefundInvoice(payee, "ab" * 32, 0, expires_at), text, OWN, network, NOW)


@pytest.mark.parametrize(
    ("text", "network"),
    [("lnbc1", "bitcoin"), ("lnbc20m1", "bitcoin"), ("LNTB9U1", "testnet"), ("lntbs1", "signet"), ("lni1x", "bitcoin")],
)
def test_what_can_be_paid_is_taken(text, network):
    check(RefundInvoice(OTHER, "ab" * 32, 0, NOW + 1), text, OWN, network, NOW)
