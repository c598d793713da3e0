"""Long polls: callers that wait until something has changed, indexed as waitanyinvoice is.

Each change of a key's view gets the next index. The first index of a process is its start in milliseconds, so that
an index from before a restart is older than any after it. A view is made only where somebody waits for it.
"""

import heapq
import itertools
import math
import time
from collections.abc import Callable, Iterable

from ..core.errors import SatmeterError
from ..core.plain import Plain
from ..core.status import answer
from .rpc_methods import Call

FOLLOWS_S = 60
"""A caller counts as following all keys for this time after its last poll: what changes meanwhile is noted."""
View = Callable[[str], object | None]
"""Makes the present view of a key; None where there is none."""


class LongPolls:
    """The last views by key with the index of their change, and who waits for the next. Used on one thread."""

    def __init__(self) -> None:
        self._index = time.time_ns() // 1_000_000
        self._views: dict[str, tuple[int, Plain]] = {}
        self._waiting: dict[str, dict[int, tuple[int, Call]]] = {}
        self._deadlines: list[tuple[float, int, str]] = []
        self._numbers = itertools.count()
        self._for_all: dict[int, tuple[int, Call]] = {}
        """Who waits for any key, by number, with the index that it has seen."""
        self._unlooked: set[str] = set()
        """Keys that may have changed since their views were made, while somebody follows all of them."""
        self._followed_until = -math.inf
        self._gone: dict[str, int] = {}
        """Keys that are no more, with the index of that."""

    def changed(self, keys: Iterable[str], view: View) -> None:
        """Answer who waits for one of `keys` whose view has changed, and whose time is over."""
        now = time.monotonic()
        followed = now < self._followed_until
        for key in keys:
            if key in self._waiting:
                self._answer(key, self._look(key, view))
            if followed:
                self._unlooked.add(key)
        if self._for_all and self._unlooked:
            self._look_at_all(view)
            self._answer_for_all()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, number, key = heapq.heappop(self._deadlines)
            if number in self._for_all:
                self._answer_for_all(only=number)
            elif number in self._waiting.get(key, ()):
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

    def wait_for_all(self, keys: Iterable[str], view: View, after: int, timeout_s: int, call: Call) -> None:
        """Answer `call` with the views of all keys that changed beyond the index `after`, once there are any.

        `keys` are those that there are. After the timeout the answer has no views."""
        now = time.monotonic()
        after = after if after <= self._index else 0  # of a process whose clock was ahead
        if now >= self._followed_until or not after:
            self._unlooked |= {*keys, *self._views}
        self._followed_until = now + timeout_s + FOLLOWS_S
        self._look_at_all(view)
        number = next(self._numbers)
        self._for_all[number] = (after, call)
        if self._index > after or timeout_s <= 0:
            self._answer_for_all(only=number)
        else:
            heapq.heappush(self._deadlines, (now + timeout_s, number, ""))

    def _look_at_all(self, view: View) -> None:
        for key in self._unlooked:
            self._look(key, view)
        self._unlooked.clear()

    def _answer_for_all(self, only: int | None = None) -> None:
        due = [n for n, (after, _) in self._for_all.items() if self._index > after] if only is None else [only]
        for number in due:
            after, call = self._for_all.pop(number)
            views = {k: {"index": index, **view} for k, (index, view) in self._views.items() if index > after}
            call.reply(
                {"index": self._index, "views": views, "gone": [name for name, i in self._gone.items() if i > after]}
            )

    def fail(self, trouble: SatmeterError) -> None:
        """Tell everyone who waits that nothing can be known now."""
        for _, call in self._for_all.values():
            call.reply(trouble)
        self._for_all, self._followed_until = {}, -math.inf
        waiting, self._waiting, self._deadlines = self._waiting, {}, []
        for calls in waiting.values():
            for _, call in calls.values():
                call.reply(trouble)

    def _look(self, key: str, view: View) -> tuple[int, Plain]:
        viewed, known = view(key), self._views.get(key)
        if viewed is None:
            if self._views.pop(key, None) is not None:  # else it never was a key: the id of a session that is over
                self._index += 1
                self._gone[key] = self._index
            return 0, {}
        self._gone.pop(key, None)
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
