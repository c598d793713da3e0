"""A queue a payee, for payments that wait until a channel takes another one: first come, first served.

A channel takes few payments at once (30 on mainnet), and the node turns away what is beyond. Left to try again by
themselves, some would never get in between the others. Here each payment that ends lets the next one try, in the
order in which they came. Each payee has a queue of its own, since it may be behind another channel.
"""

import itertools
import threading
from collections import defaultdict

PAUSE_FIRST_S, PAUSE_MOST_S = 0.05, 1.0
"""Between tries of the first in line: a slot is free a moment after its payment ended, and others fill channels too."""


class PaymentQueue:
    """The lines of payments of one node, one line for each payee; any thread may call."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lines: dict[str, list[int]] = {}
        self._openings: dict[str, int] = defaultdict(int)
        self._tickets = itertools.count()
        self._going = 0

    def turn(self, payee: str) -> "QueuedPayment":
        """Returns the place of a new payment to `payee`, behind all that asked before it."""
        return QueuedPayment(self, payee, next(self._tickets))


class QueuedPayment:
    """One payment's place: `with turns.turn(payee) as turn`, and turn.again() whenever the channel was full.

    Entering blocks behind those who wait already; leaving lets the next one try.
    """

    def __init__(self, turns: PaymentQueue, payee: str, ticket: int):
        self._all, self._payee, self._ticket = turns, payee, ticket
        self._pause = PAUSE_FIRST_S

    def __enter__(self) -> "QueuedPayment":
        with self._all._changed:
            if self._payee in self._all._lines:
                self._wait()
            self._all._going += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._all._changed:
            self._all._going -= 1
            if self._payee in self._all._lines:
                self._all._openings[self._payee] += 1
                self._all._changed.notify_all()

    def again(self) -> bool:
        """Waits until this payment may be tried again, before all to the same payee that came later.

        Returns whether other payments of ours were under way when the wait began. If not, the channel
        was filled by something else."""
        with self._all._changed:
            self._all._going -= 1
            others = self._all._going > 0
            self._wait()
            self._all._going += 1
            return others

    def _wait(self) -> None:
        line = self._all._lines.setdefault(self._payee, [])
        line.append(self._ticket)
        line.sort()
        while not (line[0] == self._ticket and self._all._openings[self._payee]):
            first = line[0] == self._ticket
            if not self._all._changed.wait(self._pause if first else None) and first and line[0] == self._ticket:
                self._pause = min(PAUSE_MOST_S, 2 * self._pause)
                break
        else:
            self._all._openings[self._payee] -= 1
        line.remove(self._ticket)
        if not line:
            del self._all._lines[self._payee], self._all._openings[self._payee]
        self._all._changed.notify_all()
