"""A node that is asked through another one, over Lightning: what its rune permits, and where it can't be reached."""

import pytest
from coincurve import PrivateKey
from pyln.client import RpcError

from satmeter.core.errors import BadParam, NodeTrouble, NotPermitted
from satmeter.node import far as far_node
from satmeter.node.far import FarNode
from satmeter.node.rpc import Node, code_of


@pytest.fixture
def near(net):
    return Node(str(net["buyer"].lightning_dir / "lightning-rpc"))


@pytest.fixture
def seller(net):
    """NODEID@HOST:PORT of the seller's node."""
    return f"{net['seller'].id}@{net['seller'].host}:{net['seller'].port}"


def rune(net, *methods):
    restrictions = [[f"method={method}" for method in methods]] if methods else []
    return net["seller"].rpc.call("createrune", {"restrictions": restrictions})["rune"]


def test_what_the_rune_permits_is_answered_as_by_a_node_here(net, near, seller):
    far = FarNode.parse(near, seller, rune(net, "getinfo", "meter-status"))
    assert far.info()["id"] == net["seller"].id
    assert far.call("meter-status") == net["seller"].rpc.call("meter-status")
    with pytest.raises(RpcError) as error:
        far.call("meter-status", name="nowhere")
    assert code_of(error.value) == 2102 and error.value.method == "meter-status"


def test_what_it_does_not_permit_is_refused_in_words(net, near, seller):
    far = FarNode.parse(near, seller, rune(net, "getinfo", "meter-status"))
    with pytest.raises(NotPermitted, match=r"meter-close: node .* does not permit it: .*method is not equal to"):
        far.call("meter-close", name="nowhere")
    stranger = FarNode.parse(near, seller, "AAAA" + rune(net)[4:])
    with pytest.raises(NotPermitted, match=r"does not permit it: .*Not derived from master"):
        stranger.info()


def test_a_node_that_is_not_connected_is_connected_to(net, near, seller):
    permits = rune(net)
    net["buyer"].rpc.call("disconnect", {"id": net["seller"].id, "force": True})
    assert FarNode.parse(near, seller, permits).info()["id"] == net["seller"].id
    nowhere = f"{PrivateKey().public_key.format().hex()}@127.0.0.1:1"
    with pytest.raises(NodeTrouble, match=r"getinfo: node .* can't be reached"):
        FarNode.parse(near, nowhere, permits).info()


def test_a_node_that_never_answers_is_given_up(net, near, seller, monkeypatch):
    monkeypatch.setattr(far_node, "ANSWER_S", 0.3)
    far = FarNode.parse(near, seller, rune(net))
    name = "slow"
    net["seller"].rpc.call(
        "meter-add", {"name": name, "price_msat": 1000, "unit": "Wh", "ticks_per_unit": 10, "quantum_msat": 5000}
    )
    try:
        index = far.call("meter-wait", name=name, timeout=0)["index"]
        with pytest.raises(NodeTrouble, match="has not answered"):
            far.call("meter-wait", name=name, lastindex=index, timeout=30)
        monkeypatch.undo()
        assert far.info()["id"] == net["seller"].id
    finally:
        net["seller"].rpc.call("meter-remove", {"name": name})


@pytest.mark.parametrize(
    "peer", ["", "02ab", "02" + "ab" * 32 + "@host", "02" + "ab" * 32 + "@host:99999", "@h:1", "02" + "ff" * 32]
)
def test_what_is_no_node_is_refused(peer):
    with pytest.raises(BadParam, match="peer: "):
        FarNode.parse(Node("/nowhere"), peer, "A" * 43)


@pytest.mark.parametrize("text", ["", "short", "A" * 43 + '","method":"stop', "A" * 5000])
def test_what_is_no_rune_is_refused(text):
    with pytest.raises(BadParam, match="rune: must be what createrune answers"):
        FarNode.parse(Node("/nowhere"), PrivateKey().public_key.format().hex(), text)
