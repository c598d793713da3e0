"""Wrong passwords: who has given many of them waits, by address and not by name, so that nobody locks another out."""

import time

from .core.errors import TooMany

OF_ADDRESS, ALL, WITHIN_S = 5, 100, 60
"""So many from one address (of IPv6: one /64), and from everywhere, within so long."""


class Tries:
    """Wrong passwords of the last minute. Not for many threads at once: passwords are looked at one at a time."""

    def __init__(self) -> None:
        self._wrong: dict[str, list[float]] = {}

    def check(self, who: str) -> None:
        """Raise TooMany where no password from `who` is looked at now."""
        since = time.monotonic() - WITHIN_S
        self._wrong = {w: left for w, ats in self._wrong.items() if (left := [at for at in ats if at > since])}
        if len(self._wrong.get(who, [])) >= OF_ADDRESS or sum(map(len, self._wrong.values())) >= ALL:
            raise TooMany(f"too many wrong passwords; try again in {WITHIN_S} s")

    def was_wrong(self, who: str) -> None:
        self._wrong.setdefault(who, []).append(time.monotonic())
