"""A block's transactions, to find out whether one is in it, and what spends an output."""

from io import BytesIO

from embit import compact
from embit.transaction import Transaction

HEADER_BYTES = 80


def transactions(block: str) -> list[Transaction]:
    """Return the transactions of a block in hex."""
    stream = BytesIO(bytes.fromhex(block))
    stream.read(HEADER_BYTES)
    return [Transaction.read_from(stream) for _ in range(compact.read_from(stream))]


def output(block: str, txid: str, vout: int) -> tuple[int, str, bool] | None:
    """Return (value, script, whether a coinbase made it) of an output of this block, None where it is not in it."""
    for n, tx in enumerate(transactions(block)):
        if bytes(tx.txid()).hex() == txid and vout < len(tx.vout):
            found = tx.vout[vout]
            return found.value, bytes(found.script_pubkey.data).hex(), n == 0
    return None


def spender(block: str, outpoints: set[str]) -> Transaction | None:
    """Return the transaction of this block that spends one of the outpoints."""
    for tx in transactions(block):
        if any(f"{bytes(vin.txid).hex()}:{vin.vout}" in outpoints for vin in tx.vin):
            return tx
    return None
