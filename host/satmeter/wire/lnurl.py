"""LNURL (LUD-01): URLs that a wallet reads from a code, and the pages that they belong to."""

import re

from embit import bech32

from ..core.errors import BadParam

_BASE = re.compile(
    r"https://[^/\s@?#]+(/[^\s?#]*)?|http://[^/\s@?#]+\.onion(:\d+)?(/[^\s?#]*)?|"
    r"http://127\.0\.0\.1(:\d+)?(/[^\s?#]*)?"
)
"""Without a user, a query or a fragment: paths are put behind it."""


def encode(url: str) -> str:
    """Returns a URL as an LNURL, in upper case for a smaller code."""
    words = bech32.convertbits(url.encode(), 8, 5) or []
    return str(bech32.bech32_encode(bech32.Encoding.BECH32, "lnurl", words)).upper()


def check_base(name: str, url: str) -> str:
    """Returns the URL under which pages are reached, without a slash at its end.

    Raises:
        BadParam: Of `name`: a wallet would not call it; LUD-06 asks for https, or an onion.
    """
    base = url.rstrip("/")
    if not _BASE.fullmatch(base):
        raise BadParam(f"{name}: must be https://HOST[/PATH], or http:// of an onion, got {url!r}", param=name)
    return base
