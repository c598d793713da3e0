"""Long polls: callers that wait until something has changed, indexed as waitanyinvoice is.

Each change of a key's view gets the next index. The first index of a process is its start in milliseconds, so that
an index from before a restart is older than any after it. A view is made only where somebody waits for it.
"""

import heapq
import itertools
import time
from collections.abc import Callable, Iterable

from ..core.errors import SatmeterError
from ..core.plain import Plain
from ..core.status import answer
from .rpc_methods import Call

View = Callable[[str], object | None]
"""Makes the present view of a key; None where there is none."""


class Waiters:
    """The last views by key with the index of their change, and who waits for the next. Used on one thread."""

    def __init__(self) -> None:
        self._index = time.time_ns() // 1_000_000
        self._views: dict[str, tuple[int, Plain]] = {}
        self._waiting: dict[str, dict[int, tuple[int, Call]]] = {}
        self._deadlines: list[tuple[float, int, str]] = []
        self._numbers = itertools.count()

    def changed(self, keys: Iterable[str], view: View) -> None:
        """Answer who waits for one of `keys` whose view has changed, and whose time is over."""
        for key in keys:
            if key in self._waiting:
                self._answer(key, self._look(key, view))
        now = time.monotonic()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, number, key = heapq.heappop(self._deadlines)
            if number in self._waiting.get(key, ()):
                self._answer(key, self._look(key, view), only=number)

    def wait(self, key: str, view: View, after: int, timeout_s: int, call: Call) -> None:
        """Answer `call` with the view of `key` once its index is beyond `after`, or as it stands after the timeout."""
        index, _ = found = self._look(key, view)
        number = next(self._numbers)
        self._waiting.setdefault(key, {})[number] = (after, call)
        if not index or index > after or timeout_s <= 0:
            self._answer(key, found, only=number)
        else:
            heapq.heappush(self._deadlines, (time.monotonic() + timeout_s, number, key))

    def fail(self, trouble: SatmeterError) -> None:
        """Tell everyone who waits that nothing can be known now."""
        waiting, self._waiting, self._deadlines = self._waiting, {}, []
        for calls in waiting.values():
            for _, call in calls.values():
                call.reply(trouble)

    def _look(self, key: str, view: View) -> tuple[int, Plain]:
        viewed, known = view(key), self._views.get(key)
        if viewed is None:
            self._views.pop(key, None)
            return 0, {}
        present = answer(viewed)
        if known is None or known[1] != present:
            self._index += 1
            known = self._views[key] = (self._index, present)
        return known

    def _answer(self, key: str, found: tuple[int, Plain], only: int | None = None) -> None:
        """Answer those of a key who have not seen what was found; `only`: this one, whether it has or not."""
        index, view = found
        calls = self._waiting[key]
        due = [n for n, (after, _) in calls.items() if not index or index > after]
        for number in due if only is None else [only]:
            _, call = calls.pop(number)
            call.reply({"index": index, "gone": False, **view} if index else {"index": 0, "gone": True})
        if not calls:
            del self._waiting[key]
