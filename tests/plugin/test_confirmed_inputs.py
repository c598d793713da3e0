"""A seller's look at the inputs of a buyer's transaction: each is in the block that was named, and may be spent."""

import pytest
from embit import compact
from embit.script import Script
from embit.transaction import Transaction, TransactionInput, TransactionOutput

from satmeter.chain import block
from satmeter.core.errors import BadUpdate
from satmeter.core.settlement.transaction import TxInput
from satmeter.plugin.onchain_seller import COINBASE_BLOCKS, OnchainEffects

AT, NOWHERE = 700, 0xFFFFFFFF


def paying(value, txid, vout):
    made = TransactionInput(bytes.fromhex(txid), vout)
    return Transaction(vin=[made], vout=[TransactionOutput(value, Script(b"\x51"))])


REWARD, ANOTHER = paying(5_000, "00" * 32, NOWHERE), paying(3_000, "11" * 32, 0)
BLOCK = bytes(block.HEADER_BYTES) + compact.to_bytes(2) + REWARD.serialize() + ANOTHER.serialize()


class Node:
    def __init__(self, height):
        self.height = height

    def info(self):
        return {"blockheight": self.height}

    def call(self, method, height):
        assert method == "getrawblockbyheight"
        return {"block": BLOCK.hex() if height == AT else None}


def confirmed(tx, height, value=None, script="51", named=str(AT)):
    outpoint = f"{tx.txid().hex()}:0"
    inputs = [TxInput(outpoint, value or tx.vout[0].value, script)]
    OnchainEffects(Node(height))._confirmed(inputs, named)


def test_an_input_in_its_block_is_taken():
    confirmed(ANOTHER, AT)


def test_a_blocks_own_reward_is_taken_once_it_may_be_spent():
    confirmed(REWARD, AT + COINBASE_BLOCKS - 1)
    for height in (AT, AT + COINBASE_BLOCKS - 2):
        with pytest.raises(BadUpdate, match="a block's own reward, and not yet to be spent"):
            confirmed(REWARD, height)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"value": 3_001}, "is not confirmed in block 700"),
        ({"script": "52"}, "is not confirmed in block 700"),
        ({"named": "701"}, "is not confirmed in block 701"),
        ({"named": ""}, "does not say in which block"),
        ({"named": "700,700"}, "does not say in which block"),
        ({"named": "-700"}, "does not say in which block"),
        ({"named": "7" * 10}, "does not say in which block"),
    ],
)
def test_an_input_that_is_not_as_it_was_said_is_refused(given, words):
    with pytest.raises(BadUpdate, match=words):
        confirmed(ANOTHER, AT, **given)
