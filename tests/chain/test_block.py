"""Blocks: the first one of Bitcoin, and one of two transactions that was put together here."""

from embit import compact
from embit.script import Script
from embit.transaction import Transaction, TransactionInput, TransactionOutput

from satmeter.chain import block

# The first block of Bitcoin, as every node has it.
FIRST = (
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51"
    "323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c0101000000010000000000000000000000000000000000000000000000000000000000000000"
    "ffffffff4d04ffff001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f6620"
    "7365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6"
    "a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"
)
FIRST_TXID = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"


def a_block(*transactions):
    count = compact.to_bytes(len(transactions))
    return (bytes(block.HEADER_BYTES) + count + b"".join(tx.serialize() for tx in transactions)).hex()


def paying(value, spends):
    inputs = [TransactionInput(bytes.fromhex(txid), vout) for txid, vout in spends]
    return Transaction(vin=inputs, vout=[TransactionOutput(value, Script(b"\x51"))])


def test_the_first_block_has_its_coinbase():
    value, script, coinbase = block.output(FIRST, FIRST_TXID, 0)
    assert (value, coinbase) == (50 * 100_000_000, True) and script.startswith("4104678afdb0fe55")
    assert [tx.txid().hex() for tx in block.transactions(FIRST)] == [FIRST_TXID]


def test_an_output_that_is_not_there_is_none():
    assert block.output(FIRST, FIRST_TXID, 1) is None
    assert block.output(FIRST, "ab" * 32, 0) is None


def test_what_spends_an_output_is_found_by_the_output():
    first, second = paying(1_000, [("11" * 32, 0)]), paying(2_000, [("22" * 32, 1), ("33" * 32, 7)])
    found = a_block(first, second)
    assert block.spender(found, {"33" * 32 + ":7"}).txid() == second.txid()
    assert block.spender(found, {"33" * 32 + ":8", "11" * 32 + ":0"}).txid() == first.txid()
    assert block.spender(found, {"33" * 32 + ":8"}) is None
    assert block.output(found, second.txid().hex(), 0) == (2_000, "51", False)
