"""The flash contents in a .uf2 file, the form in which MicroPython is published: uf2.py FILE.uf2 OUT.bin."""

import struct
import sys
from pathlib import Path

MAGIC = 0x0A324655, 0x9E5D5157, 0x0AB16F30
RP2040 = 0xE48BFF56
BLOCK, FLASH = 512, 0x10000000
NOT_MAIN_FLASH, HAS_FAMILY = 0x1, 0x2000


def flash_of(data: bytes) -> bytes:
    """Return the bytes from the flash's beginning; ValueError with what is wrong with the file."""
    if not data or len(data) % BLOCK:
        raise ValueError(f"a .uf2 has blocks of {BLOCK} bytes, this file {len(data)} bytes")
    out = bytearray()
    for at in range(0, len(data), BLOCK):
        first, second, flags, address, size, _, _, family = struct.unpack_from("<8I", data, at)
        (last,) = struct.unpack_from("<I", data, at + BLOCK - 4)
        if (first, second, last) != MAGIC or size > 476:
            raise ValueError(f"no UF2 block at byte {at}")
        if flags & NOT_MAIN_FLASH or (flags & HAS_FAMILY and family != RP2040):
            continue
        start = address - FLASH
        if not 0 <= start <= 2 * 1024 * 1024 - size:
            raise ValueError(f"a block for address {address:#x}, which is not in the flash of a Pico")
        out += b"\xff" * (start + size - len(out))
        out[start : start + size] = data[at + 32 : at + 32 + size]
    if not out:
        raise ValueError("nothing in it is for an RP2040")
    return bytes(out)


if __name__ == "__main__":
    try:
        Path(sys.argv[2]).write_bytes(flash_of(Path(sys.argv[1]).read_bytes()))
    except (OSError, ValueError) as error:
        sys.exit(f"{sys.argv[1]}: {error}")
