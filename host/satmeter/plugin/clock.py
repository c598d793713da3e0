"""The time as the cores see it: it only goes forward, whatever is done to the machine's clock."""

import time

AHEAD_MS = 6 * 3_600_000
"""How far the journal may be ahead of the machine's clock at a start; what is more was recorded by a wrong clock."""


def _boot_ms() -> int:
    # Counts through a suspended machine, where the monotonic clock stands still.
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1_000_000


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Clock:
    """Milliseconds since 1970 as the machine's clock said when this began, counted on from there.

    A clock that is set back or forward while we run would end sessions, lapse money or freeze every wait.
    """

    def __init__(self) -> None:
        self._offset = self._known = wall_ms() - _boot_ms()

    def now(self) -> int:
        return self._offset + _boot_ms()

    def surely(self) -> int:
        """Return a time that has come for sure, for what can't be undone: by the machine's clock, and by the journal's
        newest entry at the start and what has passed since. A machine that starts with a wrong date deletes nothing."""
        return min(wall_ms(), self._known + _boot_ms())

    def begin(self, newest: int) -> None:
        """Begin anew by the machine's clock, and no earlier than `newest`, the newest time in the journal (0: none)."""
        self._offset = max(wall_ms(), newest) - _boot_ms()
        self._known = newest - _boot_ms() if newest else self._offset

    def of_wall(self, at: int) -> int:
        """Return what this clock will show when the machine's shows `at`."""
        return at + self.now() - wall_ms()
