"""Decoding sellers' invoices before the buyer's core sees them. One that was told ahead is found in memory."""

import threading
from collections import OrderedDict
from dataclasses import replace

from ..core.commands import DecodedInvoice
from ..core.errors import BadParam
from ..core.plain import keep_newest
from ..node.rpc import Node
from .clock import Clock

REMEMBERED = 1_000
"""Invoices that were decoded ahead, over all streams."""
Decoded = tuple[DecodedInvoice | None, str]
"""What is in an invoice, or why the node can't decode it."""


class Decoder:
    """Asks the node; any thread may call."""

    def __init__(self, node: Node, clock: Clock) -> None:
        self._node, self._clock = node, clock
        self._known: OrderedDict[str, tuple[DecodedInvoice, int]] = OrderedDict()
        """With the wall time (ms) at which each expires: what that is by our clock may change."""
        self._lock = threading.Lock()

    def decode(self, bolt11: str) -> Decoded:
        """Return what is in an invoice; None, and why, for what is no BOLT 11 invoice with an amount.

        NodeTrouble where the node can't tell just now: the seller's message comes again."""
        with self._lock:
            known = self._known.get(bolt11)
        if known is not None:
            return self._dated(*known), ""
        try:
            found = self._node.decode(bolt11)
        except BadParam as error:
            return None, error.message
        if found.get("type") != "bolt11 invoice" or not found.get("valid") or "amount_msat" not in found:
            return None, "not a valid BOLT 11 invoice with an amount"
        decoded = DecodedInvoice(
            bolt11=bolt11,
            payee=found["payee"],
            amount_msat=int(found["amount_msat"]),
            payment_hash=found["payment_hash"],
            expires_at=0,
            final_cltv=int(found.get("min_final_cltv_expiry", 18)),
            payment_secret=found.get("payment_secret", ""),
        )
        expires_wall_ms = (int(found["created_at"]) + int(found["expiry"])) * 1000
        with self._lock:
            self._known[bolt11] = (decoded, expires_wall_ms)
            keep_newest(self._known, REMEMBERED)
        return self._dated(decoded, expires_wall_ms), ""

    def _dated(self, decoded: DecodedInvoice, expires_wall_ms: int) -> DecodedInvoice:
        return replace(decoded, expires_at=self._clock.of_wall(expires_wall_ms))
