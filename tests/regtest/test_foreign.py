"""What strangers send never reaches what a node aborts on; the emulated node aborts where lightningd does."""

import pytest
from pyln.client import RpcError

from satmeter import devnet
from satmeter.core import messages as msg
from satmeter.wire import peer, signature
from shop import close, error_of, open_stream, status
from waiting import until

DEADLY = ["d" * 104, signature.pack(b"\x23" + b"\x01" * 64), signature.pack(b"\x1e" + b"\x01" * 64)]
"""65 bytes whose recovery id is not 0 to 3: checkmessage aborts on them."""


@pytest.mark.parametrize("text", ["hello", '{"a":"b\\c"}', "é ☃ 😀", "two\nlines", "", "a\x00b\x7f"])
def test_what_a_node_signs_is_verified_here_and_what_is_signed_here_by_the_node(net, text):
    node = net["seller"]
    made = node.rpc.call("signmessage", [text])
    assert signature.signer(text, made["zbase"]) == node.id and signature.verify(text, made["zbase"], node.id)
    raw = signature.unpack(made["zbase"])
    assert (raw[0] - signature.HEADER, raw[1:].hex()) == (int(made["recid"], 16), made["signature"])
    mine = signature.pack(signature.sign(bytes(31) + b"\x01", text))
    found = net["buyer"].rpc.call("checkmessage", [text, mine, signature.signer(text, mine)])
    assert found == {"pubkey": signature.signer(text, mine), "verified": True}


def test_both_kinds_of_node_say_the_same_of_what_is_no_signature(net):
    node, rpc = net["seller"], net["seller"].rpc
    good = rpc.call("signmessage", ["hello"])["zbase"]
    head, rest = signature.unpack(good)[:1], signature.unpack(good)[1:]
    for zbase, words in (
        (good.upper(), "zbase is not valid zbase32"),
        ("l" * 104, "zbase is not valid zbase32"),
        (good[:-1], "zbase is not valid zbase32"),
        (good + "y", "zbase is not valid zbase32"),
        (good[:-8], "zbase is too short"),
        ("", "zbase is too short"),
        (good + good[:8], "zbase is too long"),
        (signature.pack(head + b"\xff" * 32 + rest[32:]), "cannot parse zbase signature"),
        (signature.pack(head + rest[:32] + b"\xff" * 32), "cannot parse zbase signature"),
    ):
        error = error_of(rpc, "checkmessage", ["hello", zbase, node.id])
        assert (error["code"], error["message"]) == (-32602, words)
    for nothing in (bytes(32) + rest[32:], rest[:32] + bytes(32)):
        assert rpc.call("checkmessage", ["hello", signature.pack(head + nothing), node.id]) == {"verified": False}
    assert error_of(rpc, "checkmessage", ["hello", "d" * 104, "02" + "00" * 32])["code"] == -32602


@pytest.mark.parametrize("zbase", DEADLY)
def test_a_recovery_id_out_of_range_aborts_a_node_that_is_asked(net, zbase):
    node = net["poor"]
    with pytest.raises((RpcError, OSError, ValueError)):
        node.rpc.call("checkmessage", ["hello", zbase, node.id])
    with pytest.raises((OSError, ValueError)):
        until(lambda: not node.rpc.call("getinfo"), 5)
    node.kill()  # what is left of it
    node.start()
    until(lambda: any(p["connected"] for p in node.rpc.call("listpeers")["peers"]))


def test_a_sellers_receipt_signed_with_what_aborts_a_node(net, shop):
    board = shop.add()
    buyer = net["buyer"]
    pid = buyer.plugin_pid(devnet.STREAM)
    session = open_stream(buyer, shop, board)
    until(lambda: status(buyer, session)["payments"] > 0)
    for seq, zbase in enumerate([*DEADLY, "", "é", "d" * 5000], 2**40):
        data = peer.encode(msg.Receipt(session, seq, f'{{"n":{seq}}}', zbase))
        net["seller"].rpc.call("sendcustommsg", {"node_id": buyer.id, "msg": data.hex()})
    refused = until(lambda: len(found := status(buyer, session)["refusals"]) and found)
    assert all(r["why"] == "the signature is not the seller's" for r in refused)
    end = close(buyer, session)
    assert end["verified"] and buyer.rpc.call("getinfo")["id"] == buyer.id
    assert buyer.plugin_pid(devnet.STREAM) == pid
