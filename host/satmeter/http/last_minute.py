"""How often each of many did a thing within the last minute: the limit of what costs us, by whoever asks for it."""

import time
from collections import deque

WITHIN_S = 60


class LastMinute:
    """Counts by name. Not for many threads at once."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}

    def count(self, name: str) -> int:
        """Return how often `name` did it within the last minute."""
        times, since = self._times.get(name, deque()), time.monotonic() - WITHIN_S
        while times and times[0] <= since:
            times.popleft()
        return len(times)

    def add(self, name: str) -> None:
        """Count one more for `name`."""
        now = time.monotonic()
        times = self._times.pop(name, deque())
        times.append(now)
        self._times[name] = times  # now the last: the order is that of the newest times
        while self._times[first := next(iter(self._times))][-1] <= now - WITHIN_S:
            del self._times[first]

    def take(self, name: str, most: int) -> bool:
        """Return whether `name` did it less than `most` times, and count one more if so."""
        allowed = self.count(name) < most
        if allowed:
            self.add(name)
        return allowed
