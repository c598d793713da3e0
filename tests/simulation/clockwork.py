"""Virtual time: jobs in the order of their time, and for equal times in the order in which they were asked for."""

import heapq
import itertools

START_MS = 1_000_000_000_000


class Clockwork:
    """Times in milliseconds. Whatever happens in a simulation happens in a job of this."""

    def __init__(self):
        self.now = START_MS
        self._jobs = []
        self._numbers = itertools.count()

    def after(self, ms, job, *args):
        heapq.heappush(self._jobs, (self.now + ms, next(self._numbers), job, args))

    def run(self, until):
        """Run all jobs that are due before `until`, then let it be that time."""
        while self._jobs and self._jobs[0][0] < until:
            self.now, _, job, args = heapq.heappop(self._jobs)
            job(*args)
        self.now = until
