"""Durations are counted in the step that they fall into, and summed exactly."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satmeter.plugin.timings import STEPS_MS, Timings


@given(st.lists(st.integers(0, 10**9)))
def test_each_duration_is_in_one_step_and_the_sum_is_exact(durations):
    timings = Timings()
    for us in durations:
        timings.add(us)
    told = timings.told()
    assert told["sum_us"] == sum(durations) and told["longer"] == sum(us > STEPS_MS[-1] * 1000 for us in durations)
    upto = 0
    for ms, count in told["up_to_ms"].items():
        upto += count
        assert upto == sum(us <= int(ms) * 1000 for us in durations)


def test_what_fails_is_counted_and_threads_lose_nothing():
    timings = Timings()
    with pytest.raises(KeyError), timings.measured():
        raise KeyError
    threads = [threading.Thread(target=lambda: [timings.add(1) for _ in range(2_000)]) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sum(timings.told()["up_to_ms"].values()) == 8_001
