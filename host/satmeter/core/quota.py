"""A quota for each peer: so many messages a second, and a burst. What is beyond is dropped, and said again by who
honours the protocol. One peer's flood costs the others nothing."""

from collections import OrderedDict

PER_S, BURST = 100, 400
"""A buyer says a few messages a session, a seller about two a payment: far under this on any channel."""
PEERS = 2_000
"""Peers that are remembered; of more, the one that was silent the longest begins anew."""


class Quota:
    """Token buckets by peer; times in milliseconds."""

    def __init__(self, per_s: int = PER_S, burst: int = BURST, peers: int = PEERS):
        self._per_s, self._burst, self._peers = per_s, burst, peers
        self._left: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Thousandths of a message that a peer may still say, and when that was so."""

    def take(self, peer: str, now: int) -> bool:
        """Return whether a peer may say one more message now."""
        left, at = self._left.pop(peer, (self._burst * 1000, now))
        left = min(self._burst * 1000, left + max(0, now - at) * self._per_s)
        self._left[peer] = (left - 1000 if left >= 1000 else left, now)
        if len(self._left) > self._peers:
            self._left.popitem(last=False)
        return left >= 1000
