"""The buyer's wallet and the inputs of a growing transaction: they stay reserved for as long as they are needed."""

import pytest

from satmeter.core import effects as do
from satmeter.plugin.onchain_buyer import FREED_BLOCKS, OnchainEffects

HEIGHT, TX = 800, "ab" * 32


class Node:
    """A wallet of one output, reserved up to a block (0: free)."""

    def __init__(self, reserved_to):
        self.reserved_to, self.spent = reserved_to, False

    def info(self):
        return {"blockheight": HEIGHT}

    def call(self, method, **params):
        if method == "listfunds":
            output = {"txid": TX, "output": 1, "reserved": self.reserved_to > HEIGHT}
            output |= {"reserved_to_block": self.reserved_to} if self.reserved_to > HEIGHT else {}
            return {"outputs": [] if self.spent else [output]}
        if method == "utxopsbt":
            assert params["utxos"] == [f"{TX}:1"]
            self.reserved_to = max(self.reserved_to, HEIGHT) + params["reserve"]
            return {"psbt": "p"}
        assert (method, params) == ("unreserveinputs", {"psbt": "p", "reserve": FREED_BLOCKS})
        self.reserved_to = 0
        return {}


def reserve(node, blocks):
    OnchainEffects(node).reserve(do.Reserve(inputs=(f"{TX}:1",), blocks=blocks))


@pytest.mark.parametrize(
    ("reserved_to", "blocks", "after"),
    [
        (0, 144, HEIGHT + 144),
        (HEIGHT + 10, 144, HEIGHT + 144),  # it was about to run out
        (HEIGHT + 143, 144, HEIGHT + 144),
        (HEIGHT + 144, 144, HEIGHT + 144),
        (HEIGHT + 300, 144, HEIGHT + 300),
        (HEIGHT + 300, 0, 0),
        (0, 0, 0),
    ],
)
def test_an_input_stays_reserved_for_at_least_so_many_blocks(reserved_to, blocks, after):
    node = Node(reserved_to)
    reserve(node, blocks)
    assert node.reserved_to == after


def test_an_input_that_is_spent_is_left_out():
    node = Node(0)
    node.spent = True
    reserve(node, 144)
    assert node.reserved_to == 0
