"""Letters of 5 by 7 pixels: a byte a column, its lowest bit on top, for ASCII from space to tilde."""

import binascii

WIDTH, CELL = 5, 6

GLYPHS = binascii.unhexlify(
    "0000000000"
    "00005f0000"
    "0003000300"
    "147f147f14"
    "242a7f2a12"
    "2313086462"
    "3649564050"
    "0000030000"  # space to '
    "003e410000"
    "0000413e00"
    "2a1c3e1c2a"
    "08083e0808"
    "0040300000"
    "0008080800"
    "0060600000"
    "6018080603"  # ( to /
    "3e4149413e"
    "00427f4000"
    "6251494946"
    "2241494936"
    "1c12117f10"
    "4f49494931"
    "3e49494932"
    "0101790503"  # 0 to 7
    "3649494936"
    "264949493e"
    "0036360000"
    "0040360000"
    "0008142241"
    "0014141400"
    "4122140800"
    "0201590906"  # 8 to ?
    "3e415d551e"
    "7c1211127c"
    "7f49494936"
    "3e41414122"
    "7f4141413e"
    "7f49494941"
    "7f09090901"
    "3e41495132"  # @ to G
    "7f0808087f"
    "41417f4141"
    "304040403f"
    "7f08142241"
    "7f40404040"
    "7f0204027f"
    "7f020c107f"
    "3e4141413e"  # H to O
    "7f09090906"
    "3e4151615e"
    "7f09192946"
    "2649494932"
    "01017f0101"
    "3f4040403f"
    "0f3040300f"
    "7f2010207f"  # P to W
    "6314081463"
    "0304780403"
    "6151494543"
    "007f414100"
    "0306081830"
    "0041417f00"
    "0402010204"
    "4040404040"  # X to _
    "0001020000"
    "2454547c00"
    "7f44444438"
    "3844444428"
    "384444447f"
    "3854545458"
    "08087e0909"
    "18a4a4a47c"  # ` to g
    "7f04040478"
    "00047d4000"
    "0080847d00"
    "007f102844"
    "00013f4040"
    "7c047c0478"
    "7c04040478"
    "3844444438"  # h to o
    "fc24242418"
    "18242424fc"
    "7c08040404"
    "4854545424"
    "043f444420"
    "3c4040407c"
    "0c3040300c"
    "3c4038403c"  # p to w
    "4428102844"
    "1ca0a0a07c"
    "4464544c44"
    "0808364141"
    "00007f0000"
    "4141360808"
    "1008081810"  # x to ~
)


def columns(text: str) -> bytearray:
    """Return the columns of a line of text, CELL a character; what is not ASCII shows as a question mark."""
    out = bytearray(CELL * len(text))
    at = 0
    for c in text:
        n = ord(c) - 32
        if not 0 <= n < 95:
            n = 31
        out[at : at + WIDTH] = GLYPHS[n * WIDTH : n * WIDTH + WIDTH]
        at += CELL
    return out


# A nibble, each of its bits twice.
_TWICE = bytes(sum(3 << 2 * b for b in range(4) if n >> b & 1) for n in range(16))


def doubled(row, half: int) -> bytearray:  # type: ignore[no-untyped-def]
    """Return the upper (0) or lower (1) half of a row of columns, drawn twice as large."""
    out = bytearray(2 * len(row))
    shift = 4 * half
    for n, column in enumerate(row):
        if column:
            out[2 * n] = out[2 * n + 1] = _TWICE[column >> shift & 15]
    return out
