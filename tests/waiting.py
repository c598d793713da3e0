"""Waiting for what no event tells."""

import time

DEADLINE_S = 120


def until(what, timeout_s=DEADLINE_S, every_s=0.05):
    """Return what `what()` is as soon as that is true; asks every so often, and fails after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < end, f"not within {timeout_s} s: {getattr(what, '__name__', what)}"
        time.sleep(every_s)
    return found
