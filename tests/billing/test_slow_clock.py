"""What is deleted by its age: a machine's clock that is ahead, even for once, deletes nothing."""

import time

from satmeter.billing import container
from satmeter.billing.container import slow_clock

DAY = 86_400


class Clock:
    """The machine's two clocks, as a test sets them."""

    def __init__(self, now):
        self.now, self.passed = now, 0.0

    def time(self):
        return self.now

    def monotonic(self):
        return self.passed


def clock(monkeypatch, now=1_000 * DAY):
    made = Clock(now)
    monkeypatch.setattr(container, "time", made)
    return made


def test_a_clock_that_jumps_ahead_makes_nothing_old(monkeypatch):
    machine = clock(monkeypatch)
    now = slow_clock(machine.now - 3_600)
    machine.now += 8 * DAY
    machine.passed += 60
    assert now() == 1_000 * DAY - 3_600 + 60
    machine.now -= 8 * DAY
    assert now() == 1_000 * DAY - 3_600 + 60


def test_as_time_passes_things_grow_old(monkeypatch):
    machine = clock(monkeypatch)
    now = slow_clock(machine.now - 3_600)
    machine.now += 8 * DAY
    machine.passed += 8 * DAY
    assert now() == 1_008 * DAY - 3_600


def test_a_clock_that_is_behind_is_believed_and_nothing_kept_needs_no_time(monkeypatch):
    machine = clock(monkeypatch)
    assert slow_clock(machine.now + DAY)() == machine.now
    assert slow_clock(0)() == machine.now


def test_it_is_the_clock_of_this_machine():
    assert abs(slow_clock(0)() - time.time()) <= 1
