"""Long polls: callers that wait until something has changed, indexed as waitanyinvoice is.

Each change of a key's view gets the next index. The first index of a process is its start in milliseconds, so that
an index from before a restart is older than any after it.
"""

import time
from typing import Any

from ..core.errors import SatmeterError
from .methods import Call


class Waiters:
    """Views by key with the index of their last change, and who waits for the next. Used on one thread."""

    def __init__(self) -> None:
        self._index = time.time_ns() // 1_000_000
        self._views: dict[str, tuple[int, dict[str, Any]]] = {}
        self._waiting: list[tuple[str, int, float, Call]] = []

    def update(self, views: dict[str, dict[str, Any]]) -> None:
        """Take the present views; answer who waits for what changed or whose time is over."""
        for key, view in views.items():
            known = self._views.get(key)
            if known is None or known[1] != view:
                self._index += 1
                self._views[key] = (self._index, view)
        for key in self._views.keys() - views.keys():
            del self._views[key]
        now = time.monotonic()
        self._waiting = [w for w in self._waiting if not self._answer(w, now)]

    def wait(self, key: str, after: int, timeout_s: int, call: Call) -> None:
        """Answer `call` with the view of `key` once its index is beyond `after`, or as it stands after the timeout."""
        waiter = (key, after, time.monotonic() + timeout_s, call)
        if not self._answer(waiter, time.monotonic()):
            self._waiting.append(waiter)

    def fail(self, trouble: SatmeterError) -> None:
        """Tell everyone who waits that nothing can be known now."""
        waiting, self._waiting = self._waiting, []
        for _, _, _, call in waiting:
            call.reply(trouble)

    def _answer(self, waiter: tuple[str, int, float, Call], now: float) -> bool:
        key, after, deadline, call = waiter
        index, view = self._views.get(key, (0, {}))
        if not view:
            call.reply({"index": 0, "gone": True})
        elif index > after or now >= deadline:
            call.reply({"index": index, "gone": False, **view})
        else:
            return False
        return True
