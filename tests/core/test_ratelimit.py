"""A peer's quota of messages: bounded in rate, in burst and in memory."""

from hypothesis import given
from hypothesis import strategies as st

from satmeter.core.ratelimit import RateLimit


@given(st.lists(st.integers(0, 50), max_size=300), st.integers(1, 100), st.integers(1, 20))
def test_no_peer_has_more_than_its_rate_and_burst(pauses, per_s, burst):
    quota, now, taken = RateLimit(per_s, burst), 0, 0
    for pause in pauses:
        now += pause
        taken += quota.take("a", now)
    assert taken <= burst + now * per_s // 1000


def test_a_steady_peer_is_never_refused():
    quota = RateLimit(per_s=100, burst=10)
    assert all(quota.take("a", now) for now in range(0, 100_000, 10))


def test_one_peers_flood_costs_another_nothing():
    quota = RateLimit(per_s=10, burst=5)
    assert sum(quota.take("loud", 0) for _ in range(1_000)) == 5
    assert quota.take("quiet", 0)


def test_a_clock_that_goes_back_gives_nothing_away():
    quota = RateLimit(per_s=10, burst=1)
    assert quota.take("a", 10_000) and not quota.take("a", 5_000) and not quota.take("a", 5_050)


def test_memory_is_bounded():
    quota = RateLimit(remembered=10)
    for n in range(1_000):
        quota.take(str(n), 0)
    assert len(quota._left) == 10


def test_a_peer_has_400_messages_at_once_and_then_100_a_second():
    quota = RateLimit()
    assert sum(quota.take("a", 0) for _ in range(1_000)) == 400
    assert sum(quota.take("a", 1_000) for _ in range(1_000)) == 100
