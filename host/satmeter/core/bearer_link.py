"""A bearer's link: its holder sees what a wallet invoice came to, and gets back what is left. Nobody can guess it."""

import base64
import binascii
import hashlib
import hmac

from .labels import wallet_label, wallet_of

SECRET = "satmeter meter pages"
"""What makesecret of the seller's node is asked for: plugin and pages make the same links."""
MAC = 12
"""Bytes."""


class BearerLinks:
    """The links of one node's bearers; `key` is the node's secret for them."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, label: str, whole: bool = False) -> str:
        """Returns the link (a word of a URL) of a wallet invoice, by its label.

        `whole`: the one to all that is left of the session that the invoice fed, and to nothing else."""
        invoice = wallet_of(label)
        assert invoice is not None
        named = f"{invoice.journal}{'+' if whole else '/'}{invoice.number}"
        return base64.urlsafe_b64encode(self._mac(f"{label}{'+' * whole}") + named.encode()).decode().rstrip("=")

    def label(self, meter: str, link: str, whole: bool = False) -> str:
        """Returns the label of the wallet invoice that a link of a meter's leads to, "" for any other link."""
        try:
            raw = base64.urlsafe_b64decode(link + "=" * (-len(link) % 4))
            journal, _, number = raw[MAC:].decode().partition("+" if whole else "/")
            label = wallet_label(journal, meter, int(number))
        except (binascii.Error, ValueError):
            return ""
        # Base64 has several spellings of the same bytes; only the one that we write is the link.
        known = wallet_of(label) is not None and link.isascii()
        return label if known and hmac.compare_digest(self.of(label, whole), link) else ""

    def word(self, what: str) -> str:
        """Returns a word that nobody else can make, for a use of its own."""
        return hmac.new(self._key, f"word {what}".encode(), hashlib.sha256).hexdigest()[:32]

    def _mac(self, label: str) -> bytes:
        return hmac.new(self._key, label.encode(), hashlib.sha256).digest()[:MAC]
