"""The time as the cores see it: it only goes forward, whatever is done to the machine's clock."""

import time

AHEAD_MS = 6 * 3_600_000
"""How far the journal may be ahead of the machine's clock at a start; what is more was recorded by a wrong clock."""


def _boot_ms() -> int:
    # Counts through a suspended machine, where the monotonic clock stands still.
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1_000_000


def wall_ms() -> int:
    """Returns the machine's clock in ms since 1970; it can be wrong, and be set at any time."""
    return time.time_ns() // 1_000_000


class Clock:
    """Milliseconds since 1970 as the machine's clock said when this began, counted on from there.

    A clock that is set back or forward while we run would end sessions, lapse money or freeze every wait.
    """

    def __init__(self) -> None:
        self._offset = self._known = wall_ms() - _boot_ms()

    def now(self) -> int:
        """Returns ms since 1970; changes of the machine's clock since begin() have no effect."""
        return self._offset + _boot_ms()

    def surely(self) -> int:
        """Returns a time (ms since 1970) that has come for sure, for what can't be undone.

        It is the earlier of two: the machine's clock, and the journal's newest entry at the start plus
        the time since then. So a machine that starts with a wrong date deletes nothing too early."""
        return min(wall_ms(), self._known + _boot_ms())

    def begin(self, newest: int) -> None:
        """Begin anew by the machine's clock, and no earlier than `newest`, the newest time in the journal (0: none)."""
        self._offset = max(wall_ms(), newest) - _boot_ms()
        self._known = newest - _boot_ms() if newest else self._offset

    def of_wall(self, at: int) -> int:
        """Return what this clock will show when the machine's shows `at`."""
        return at + self.now() - wall_ms()
