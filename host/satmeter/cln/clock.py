"""The time as the cores see it: it only goes forward, whatever is done to the machine's clock."""

import time


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
        self._offset = wall_ms() - _boot_ms()

    def now(self) -> int:
        return self._offset + _boot_ms()

    def at_least(self, at: int) -> None:
        """Begin no earlier than `at`, the newest time in the journal."""
        self._offset += max(0, at - self.now())

    def of_wall(self, at: int) -> int:
        """Return what this clock will show when the machine's shows `at`."""
        return at + self.now() - wall_ms()
