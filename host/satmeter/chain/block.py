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


def output(block: str, txid: str, vout: int) -> tuple[int, str] | None:
    """Return (value, script) of an output that was made in this block, None where it was not."""
    for tx in transactions(block):
        if bytes(tx.txid()).hex() == txid and vout < len(tx.vout):
            found = tx.vout[vout]
            return found.value, bytes(found.script_pubkey.data).hex()
    return None


def spender(block: str, outpoints: set[str]) -> str:
    """Return the raw transaction of this block that spends one of the outpoints, "" for none."""
    for tx in transactions(block):
        if any(f"{bytes(vin.txid).hex()}:{vin.vout}" in outpoints for vin in tx.vin):
            return bytes(tx.serialize()).hex()
    return ""
