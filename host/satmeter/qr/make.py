"""Making codes: upper case, in the compact alphanumeric mode, as large on a display as they can be."""

import re
from dataclasses import dataclass

import qrcode
from qrcode.constants import ERROR_CORRECT_H, ERROR_CORRECT_L, ERROR_CORRECT_M, ERROR_CORRECT_Q
from qrcode.exceptions import DataOverflowError

from ..wire.fit import QUIET, QUIET_LEAST, scale_of

LEVELS = (ERROR_CORRECT_H, ERROR_CORRECT_Q, ERROR_CORRECT_M, ERROR_CORRECT_L)


@dataclass(frozen=True, slots=True)
class Code:
    """A code of n modules a side, packed by rows: highest bit first, each row from a new byte, 1 is dark."""

    n: int
    bits: bytes

    def rows(self) -> list[list[bool]]:
        """Returns the modules as rows from top to bottom; True is dark."""
        stride = (self.n + 7) // 8
        return [
            [bool(self.bits[y * stride + (x >> 3)] >> (7 - (x & 7)) & 1) for x in range(self.n)] for y in range(self.n)
        ]


def as_code(text: str) -> str:
    """Returns a text in the form that makes the smallest code.

    bech32 texts (invoices, offers, LNURLs) and our addresses become upper case, which means the same;
    any other text stays as it is."""
    lower = text.lower()
    bech32 = re.fullmatch(r"(lightning:)?ln[a-z0-9]*1[a-z0-9+]+", lower) and text in (lower, text.upper())
    return text.upper() if bech32 or lower.startswith("satmeter:") else text


def make(text: str, level: int = ERROR_CORRECT_L) -> Code:
    """Return the smallest code of a text at an error correction level; ValueError where it is too long for any."""
    code = qrcode.QRCode(error_correction=level, border=0)
    code.add_data(text, optimize=0)
    try:
        code.make(fit=True)
    except (DataOverflowError, ValueError) as error:
        raise ValueError(f"a text of {len(text)} characters is too long for a QR code") from error
    rows = code.get_matrix()
    packed = b"".join(_packed(row) for row in rows)
    return Code(len(rows), packed)


def fitted(text: str, width: int, height: int) -> Code:
    """Returns the code of a text that has the largest modules on a display; sizes are in pixels.

    Of codes with equal modules it takes one with a quiet zone of 4 modules, else of 2, if there is one,
    and then the one with the most error correction (wire/fit.py). The text becomes upper case. Raises
    ValueError where no code fits."""
    text = text.upper()
    best, best_rank = None, (0, 0)
    for level in LEVELS:
        try:
            code = make(text, level)
        except ValueError:
            continue
        scale = scale_of(code.n, width, height)
        rank = scale, sum(scale * (code.n + 2 * quiet) <= min(width, height) for quiet in (QUIET, QUIET_LEAST))
        if rank > best_rank and scale:
            best, best_rank = code, rank
    if best is None:
        raise ValueError(f"a code of {len(text)} characters does not fit {width}x{height} pixels")
    return best


def _packed(row: list[bool]) -> bytes:
    bits = "".join("1" if dark else "0" for dark in row)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
