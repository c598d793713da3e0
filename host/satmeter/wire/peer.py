"""Buyer <-> seller: each message of `core/messages.py` as a Lightning custom message. See docs/wire.md.

A message is a 16-bit type, odd and from the range that BOLT 1 leaves to applications, and a TLV stream (BOLT 1:
BigSize type, BigSize length, value; types strictly increasing). Unknown odd fields are ignored, unknown even fields
refused. Numbers are tu64 (big-endian without leading zeros), texts UTF-8, a session is 16 bytes.
"""

import re
from dataclasses import fields

from ..core import messages as msg
from ..core.errors import BadMessage
from ..core.plain import Fields, Plain

MAX_BYTES = 16_384
"""Of a whole message, type included. lightningd's connectd aborts on 65,536 and more, so nothing comes near."""

TYPES: dict[int, type[msg.Message]] = {
    45101: msg.Open,
    45103: msg.Terms,
    45105: msg.Invoice,
    45107: msg.Low,
    45109: msg.Close,
    45111: msg.Receipt,
    45113: msg.Error,
    45115: msg.Agree,
    45117: msg.Increment,
    45119: msg.Update,
    45121: msg.Taken,
}
HEX_TYPES = tuple(f"{number:04x}" for number in TYPES)
"""How our messages begin, in hex."""
NUMBERS = {cls: number for number, cls in TYPES.items()}
FIELDS: dict[type[msg.Message], dict[str, int]] = {
    cls: {f.name: 2 * i for i, f in enumerate(fields(cls))} for cls in NUMBERS
}
"""Field numbers follow the order of declaration. All are even, so all must be there and be understood; a field that
comes later gets an odd number of its own and a default, so that versions go on understanding each other."""

LENGTHS = {"meter": 32, "by": 8, "reason": 1_000, "text": 12_000, "signature": 200}
LENGTHS |= {"bolt11": 4_096, "ahead": 4_096, "tariff": 4_096}
LENGTHS |= {"raw": 12_000, "heights": 400, "address": 100}
"""The most characters that a text may have."""

_KINDS: dict[type[msg.Message], Plain] = {cls: {field.name: field.type for field in fields(cls)} for cls in NUMBERS}
_SESSION = re.compile(r"[0-9a-f]{32}")


def bigsize(value: int) -> bytes:
    """Encode a BigSize (BOLT 1)."""
    if value < 0xFD:
        return bytes([value])
    if value < 0x10000:
        return b"\xfd" + value.to_bytes(2, "big")
    if value < 0x100000000:
        return b"\xfe" + value.to_bytes(4, "big")
    return b"\xff" + value.to_bytes(8, "big")


def read_bigsize(data: bytes, at: int) -> tuple[int, int]:
    """Return (value, next position); BadMessage where it is cut off or not minimal."""
    if at >= len(data):
        raise BadMessage("a number is cut off")
    size = {0xFD: 2, 0xFE: 4, 0xFF: 8}.get(data[at], 0)
    if not size:
        return data[at], at + 1
    if at + 1 + size > len(data):
        raise BadMessage("a number is cut off")
    value = int.from_bytes(data[at + 1 : at + 1 + size], "big")
    if value < {2: 0xFD, 4: 0x10000, 8: 0x100000000}[size]:
        raise BadMessage("a number is not in its shortest form")
    return value, at + 1 + size


def _tu64(value: int) -> bytes:
    if not 0 <= value < 2**64:
        raise BadMessage(f"{value} is not a 64-bit number")
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def encode(message: msg.Message) -> bytes:
    """Return the bytes for sendcustommsg; BadMessage if they would be too many or a value has no encoding."""
    cls = type(message)
    out = NUMBERS[cls].to_bytes(2, "big")
    for name, number in FIELDS[cls].items():
        value = getattr(message, name)
        if name == "session":
            raw = _session_bytes(value)
        else:
            raw = _tu64(value) if isinstance(value, int) else value.encode(errors="replace")
        out += bigsize(number) + bigsize(len(raw)) + raw
    if len(out) > MAX_BYTES:
        raise BadMessage(f"{cls.__name__} would be {len(out)} bytes; at most {MAX_BYTES} are sent")
    return out


def _session_bytes(session: str) -> bytes:
    if not _SESSION.fullmatch(session):
        raise BadMessage(f"a session is 32 hex digits, not {session!r}")
    return bytes.fromhex(session)


def decode(data: bytes) -> msg.Message | None:
    """Return the message, None for a type that is not ours; BadMessage for one of ours that is malformed."""
    if len(data) < 2:
        return None
    cls = TYPES.get(int.from_bytes(data[:2], "big"))
    if cls is None:
        return None
    if len(data) > MAX_BYTES:
        raise BadMessage(f"{cls.__name__} has {len(data)} bytes; at most {MAX_BYTES} are taken")
    names = {number: name for name, number in FIELDS[cls].items()}
    values: Fields = {}
    at, last = 2, -1
    while at < len(data):
        number, at = read_bigsize(data, at)
        size, at = read_bigsize(data, at)
        if number <= last:
            raise BadMessage(f"{cls.__name__}: field {number} after field {last}")
        if size > len(data) - at:
            raise BadMessage(f"{cls.__name__}: field {number} is cut off")
        raw, at, last = data[at : at + size], at + size, number
        if number in names:
            name = names[number]
            values[name] = _value(cls, name, raw)
        elif number % 2 == 0:
            raise BadMessage(f"{cls.__name__}: field {number} is not known here, and must be")
    missing = [name for name in FIELDS[cls] if name not in values]
    if missing:
        raise BadMessage(f"{cls.__name__}: no {', '.join(missing)}")
    return cls(**values)


def _value(cls: type[msg.Message], name: str, raw: bytes) -> object:
    if name == "session":
        if len(raw) != 16:
            raise BadMessage(f"{cls.__name__}: a session has 16 bytes, not {len(raw)}")
        return raw.hex()
    if _KINDS[cls][name] is int:
        if len(raw) > 8 or raw[:1] == b"\0":
            raise BadMessage(f"{cls.__name__}: {name} is not a tu64")
        return int.from_bytes(raw, "big")
    if len(raw) > 4 * LENGTHS[name]:
        raise BadMessage(f"{cls.__name__}: {name} has {len(raw)} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadMessage(f"{cls.__name__}: {name} is not UTF-8") from None
