"""signmessage and checkmessage as lightningd makes them (and lnd before it): zbase32 of a recoverable signature."""

import hashlib

from coincurve import PrivateKey, PublicKey
from pyln.proto import zbase32

PREFIX = b"Lightning Signed Message:"


def _digest(text: str) -> bytes:
    return hashlib.sha256(hashlib.sha256(PREFIX + text.encode()).digest()).digest()


def sign(key: str, text: str) -> tuple[str, int, str]:
    """Return (signature in hex, recovery id, zbase)."""
    made = PrivateKey(bytes.fromhex(key)).sign_recoverable(_digest(text), hasher=None)
    signature, recid = made[:64], made[64]
    return signature.hex(), recid, zbase32.encode(bytes([recid + 31]) + signature).decode()


def recover(text: str, zbase: str) -> str:
    """Return the public key in hex that signed; ValueError for what is no signature."""
    raw = zbase32.decode(zbase)
    if len(raw) != 65:
        raise ValueError("zbase is not 65 bytes")
    try:
        key = PublicKey.from_signature_and_message(raw[1:] + bytes([raw[0] - 31]), _digest(text), hasher=None)
    except Exception as e:
        raise ValueError(str(e)) from None
    return key.format().hex()
