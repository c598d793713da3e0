"""Signed messages, read in this process: a node's `checkmessage` aborts on some of what strangers send.

What is signed: the double SHA-256 of a prefix and the text as it stands between the quotes of the JSON request, for
lightningd's signmessage and checkmessage do not unescape it. What comes of it: one byte (31 and the recovery id) and 64
of signature, in zbase32.
"""

import hashlib
import json

from coincurve import PrivateKey, PublicKey

PREFIX = b"Lightning Signed Message:"
ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"
HEADER = 31
LENGTH = 65
VALUES = {letter: value for value, letter in enumerate(ALPHABET)}


def digest(text: str) -> bytes:
    """Return the 32 bytes that are signed for a text; ValueError for text that no request can carry (a surrogate)."""
    said = json.dumps(text, ensure_ascii=False)[1:-1].encode()
    return hashlib.sha256(hashlib.sha256(PREFIX + said).digest()).digest()


def unpack(zbase: str) -> bytes:
    """Return the 65 bytes of a zbase; ValueError, in lightningd's words, where it has others."""
    # Eight letters are five bytes; lightningd takes no letters that fill no byte.
    if len(zbase) % 8 or not VALUES.keys() >= set(zbase):
        raise ValueError("zbase is not valid zbase32")
    size = len(zbase) * 5 // 8
    if size != LENGTH:
        raise ValueError(f"zbase is too {'short' if size < LENGTH else 'long'}")
    number = 0
    for letter in zbase:
        number = number << 5 | VALUES[letter]
    return number.to_bytes(LENGTH, "big")


def pack(raw: bytes) -> str:
    """Return 65 bytes as zbase."""
    number = int.from_bytes(raw, "big")
    return "".join(ALPHABET[number >> shift & 31] for shift in range(LENGTH * 8 - 5, -1, -5))


def sign(key: bytes, text: str) -> bytes:
    """Return header and signature, as 65 bytes, by a private key of 32."""
    made = PrivateKey(key).sign_recoverable(digest(text), hasher=None)
    return bytes([HEADER + made[64]]) + made[:64]


def signer(text: str, zbase: str) -> str:
    """Return the node id (hex) that signed a text; ValueError for what is no signature."""
    raw = unpack(zbase)
    recovery = raw[0] - HEADER
    if not 0 <= recovery <= 3:
        raise ValueError(f"zbase has recovery id {recovery}; it must be 0 to 3")
    try:
        key = PublicKey.from_signature_and_message(raw[1:] + bytes([recovery]), digest(text), hasher=None)
    except Exception as error:  # the library raises Exception itself where no key can be recovered
        raise ValueError(f"zbase is no signature: {error}") from None
    return key.format().hex()


def is_signature(zbase: str) -> bool:
    """Return whether a text can be a signature at all, whoever made it and over whatever."""
    try:
        return 0 <= unpack(zbase)[0] - HEADER <= 3
    except ValueError:
        return False


def verify(text: str, zbase: str, node_id: str) -> bool:
    """Return whether a node signed a text; False, and no error, for any text at all that is no signature."""
    try:
        return signer(text, zbase) == node_id
    except ValueError:
        return False
