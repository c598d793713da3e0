"""How long commits and payments take, counted in steps as Prometheus' histograms are."""

import threading
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from ..core.plain import Plain

STEPS_MS = (2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000)


class Timings:
    """Counts durations since the plugin's start; any thread may add one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = [0] * (len(STEPS_MS) + 1)
        self._sum_us = 0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Count how long the block takes, whatever it comes to."""
        began = monotonic()
        try:
            yield
        finally:
            self.add(round((monotonic() - began) * 1_000_000))

    def add(self, us: int) -> None:
        """Count a duration of so many microseconds."""
        with self._lock:
            self._counts[bisect_left(STEPS_MS, us / 1000)] += 1
            self._sum_us += us

    def told(self) -> Plain:
        """Return how many took up to each step (ms), those over the last one, and the sum in microseconds."""
        with self._lock:
            counts, total = list(self._counts), self._sum_us
        return {"up_to_ms": dict(zip(map(str, STEPS_MS), counts)), "longer": counts[-1], "sum_us": total}
