"""A bearer's link: its holder sees what a wallet invoice came to, and gets back what is left. Nobody can guess it."""

import base64
import binascii
import hashlib
import hmac

from .labels import parse_label, wallet_label

SECRET = "satmeter meter pages"
"""What makesecret of the seller's node is asked for: plugin and pages make the same links."""
MAC = 12
"""Bytes."""


class BearerLinks:
    """The links of one node's bearers; `key` is the node's secret for them."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, label: str) -> str:
        """Returns the link (a word of a URL) of a wallet invoice, by its label."""
        parsed = parse_label(label)
        assert parsed is not None and parsed[1] == "m"
        named = f"{parsed[0]}/{parsed[3]}".encode()
        return base64.urlsafe_b64encode(self._mac(label) + named).decode().rstrip("=")

    def label(self, meter: str, link: str) -> str:
        """Returns the label of the wallet invoice that a link of a meter's leads to, "" for any other link."""
        try:
            raw = base64.urlsafe_b64decode(link + "=" * (-len(link) % 4))
            journal, _, number = raw[MAC:].decode().partition("/")
            label = wallet_label(journal, meter, int(number))
        except (binascii.Error, ValueError):
            return ""
        return label if hmac.compare_digest(raw[:MAC], self._mac(label)) and parse_label(label) is not None else ""

    def word(self, what: str) -> str:
        """Returns a word that nobody else can make, for a use of its own."""
        return hmac.new(self._key, f"word {what}".encode(), hashlib.sha256).hexdigest()[:32]

    def _mac(self, label: str) -> bytes:
        return hmac.new(self._key, label.encode(), hashlib.sha256).digest()[:MAC]
