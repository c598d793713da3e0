"""Limits on how often somebody may do a thing: a token bucket for each of many, and the pause between tries."""

from collections import OrderedDict

PER_S, BURST = 100, 400
"""Messages of one peer. A buyer says a few messages a session, a seller about two a payment: far under this on any
channel."""
RESEND_MS, RESEND_MOST_MS = 2_000, 60_000
"""The pause before a message to the other side is sent again: at first, and at most."""
REMEMBERED = 2_000
"""Of more, the one that was silent the longest begins anew."""


class RateLimit:
    """Token buckets by name: so many tokens a second, and a burst. One flood costs the others nothing."""

    def __init__(self, per_s: int = PER_S, burst: int = BURST, remembered: int = REMEMBERED) -> None:
        self._per_s, self._burst, self._remembered = per_s, burst, remembered
        self._left: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Thousandths of a token that are left, and when that was so."""

    def take(self, name: str, now: int) -> bool:
        """Return whether `name` has a token left at `now` (ms), and take it."""
        left, at = self._left.pop(name, (self._burst * 1000, now))
        left = min(self._burst * 1000, left + max(0, now - at) * self._per_s)
        self._left[name] = (left - 1000 if left >= 1000 else left, now)
        if len(self._left) > self._remembered:
            self._left.popitem(last=False)
        return left >= 1000


def backoff_ms(first_ms: int, most_ms: int, tries: int) -> int:
    """Return the pause before the next try: it doubles with each one, up to `most_ms`."""
    return min(most_ms, first_ms << min(tries, 30))
