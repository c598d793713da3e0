from hypothesis import given
from hypothesis import strategies as st

from satmeter.http import last_minute
from satmeter.http.last_minute import WITHIN_S, LastMinute


@given(
    tries=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40)), max_size=60),
    most=st.integers(1, 4),
)
def test_nobody_does_more_than_the_limit_in_any_minute_and_less_is_never_refused(tries, most):
    clock, real = [0.0], last_minute.time.monotonic
    last_minute.time.monotonic = lambda: clock[0]
    try:
        counted, allowed = LastMinute(), {"a": [], "b": []}
        for name, pause in tries:
            clock[0] += pause
            lately = [at for at in allowed[name] if clock[0] - at < WITHIN_S]
            taken = counted.take(name, most)
            assert taken == (len(lately) < most)
            if taken:
                allowed[name].append(clock[0])
    finally:
        last_minute.time.monotonic = real


def test_names_that_are_silent_are_forgotten(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(last_minute.time, "monotonic", lambda: clock[0])
    counted = LastMinute()
    for number in range(1000):
        counted.add(str(number))
    assert counted.count("999") == 1
    clock[0] = WITHIN_S
    counted.add("new")
    assert counted.count("999") == 0 and len(counted._times) == 1
