"""Counters that lie: whatever a source says, no tick is negative, none is beyond the rating, and a lie stops delivery.

One unit of the source is 10 ticks, the rating is 20 ticks a second: in a second of readings 2 units may flow, and 10
more at once (SLACK_S).
"""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satmeter.device.boundary import Count
from satmeter.device.trust import CONFIRMED, JUMPS, JUMPS_S, SLACK_S, STUCK_S, Known, Trust

TICKS, RATING = 10, 20


class Told:
    """A source that is read once a second."""

    def __init__(self, rating=RATING):
        self.trust, self.now = Trust(Fraction(TICKS), rating, "b1"), 1_000.0

    def __call__(self, value, power=None, epoch=""):
        self.now += 1
        self.trust.take(Count(Decimal(str(value)), power, epoch), self.now)
        return self.trust.register, bool(self.trust.fault)


def test_it_counts_from_where_it_is_in_whole_ticks():
    says = Told()
    assert says(1234.5) == (0, False)
    assert says(1235.55) == (10, False)
    assert says(1235.6) == (11, False)  # the halves add up


@pytest.mark.parametrize("lie", ["NaN", "Infinity", "-1", "-0.001", str(2**63), "1e400"])
def test_no_number_is_never_taken_and_the_next_one_is(lie):
    says = Told()
    says(100)
    assert says(lie) == (0, True)
    assert says(101) == (10, False)


def test_a_fall_to_nothing_is_a_restart_and_counts_from_there():
    says = Told()
    says(500)
    assert says(501) == (10, False)
    assert says(0) == (10, False)
    assert says("0.5") == (15, False)


def test_a_new_epoch_is_a_restart_too():
    says = Told()
    says(5, epoch="a")
    assert says(6, epoch="a") == (10, False)
    assert says(1, epoch="b") == (20, False)


def test_nothing_for_a_moment_is_no_restart_and_charges_nothing():
    """A plug that boots, or a sensor that is not ready, says 0 before it says what it has."""
    says = Told()
    says(5)
    for _ in range(30):
        says(0)
        assert says(5) == (0, False)
    says(0)
    assert says(6) == (10, False)  # what flowed meanwhile is


def test_a_little_for_a_moment_is_taken_back_from_what_comes():
    says = Told()
    says(100)
    assert says(2) == (20, False)
    assert says(100) == (20, False)
    assert says(101) == (20, False)
    assert says(103) == (30, False)


def test_a_restart_that_counts_past_where_it_was_is_one():
    says = Told()
    says(4)
    says(0)
    for value in range(1, 8):
        says(value)
    assert says(8) == (80, False)


def test_a_restart_is_one_though_later_a_large_step_reaches_where_it_was():
    """After a gap in which nothing was heard: what flowed since the restart is charged, all of it."""
    says = Told(rating=1_000)
    says(500)
    says(0)
    for value in range(20, 201, 20):
        says.now += 59
        says(value)
    says.now += 1_200
    assert says(520) == (5_200, False)


def test_a_count_that_comes_back_after_more_than_a_moment_had_begun_anew():
    says = Told()
    says(5)
    says(0)
    says.now += 61
    assert says(5) == (50, False)


def test_the_day_after_is_counted_though_its_date_was_told_too_early():
    says = Told(rating=1_000)
    says(100, epoch="monday")
    says(100, epoch="tuesday")
    assert says(20, epoch="tuesday") == (200, False)


def test_a_count_that_may_still_come_back_is_not_kept_for_the_next_bridge():
    says = Told()
    says(5)
    assert says.trust.known("s") is not None
    says(0)
    assert says.trust.known("s") is None
    for _ in range(61):
        says(0)
    assert says.trust.known("s").value == "0"


def test_a_day_that_flaps_between_two_answers_is_charged_once():
    says = Told()
    says(5, epoch="monday")
    for _ in range(20):
        says(5, epoch="tuesday")
        assert says(5, epoch="monday") == (0, False)
    says(5, epoch="tuesday")  # the date rolls over before the day's count does
    assert says(0, epoch="tuesday") == (0, False)
    assert says(1, epoch="tuesday") == (10, False)


def test_power_in_another_unit_than_the_count_is_not_believed():
    trust = Trust(Fraction(1_000), 5, "b1")  # kWh, and W beside it
    for second in range(0, 300, 2):
        trust.take(Count(Decimal("12.00"), Decimal(100)), 1_000.0 + second)
        assert (trust.fault, trust.flow) == ("", 0)


def test_a_little_less_is_no_restart():
    says = Told()
    says(500)
    assert says(499) == (0, True)
    assert says(500) == (0, False)
    assert says(501) == (10, False)


def test_a_jump_is_not_charged_and_it_is_believed_again_where_it_stays():
    says = Told()
    says(100)
    for n in range(CONFIRMED - 1):
        assert says(9_000 + n) == (0, True)
    assert says(9_000 + CONFIRMED) == (0, False)
    assert says(9_001 + CONFIRMED) == (10, False)


def test_what_jumps_about_is_never_believed():
    says = Told()
    says(100)
    assert all(says(9_000 + 1_000 * (n % 2) + n)[1] for n in range(50))


def test_a_source_that_does_not_count_while_power_flows_is_stuck():
    says = Told()
    says("100.0", Decimal(50))
    states = [says("100.0", Decimal(50))[1] for _ in range(STUCK_S + 1)]
    assert not any(states[:STUCK_S]) and states[STUCK_S]
    assert says("100.1", Decimal(50)) == (1, False)


def test_one_that_counts_in_coarse_steps_is_not_stuck_by_a_small_load():
    says = Told()
    says(100, Decimal(50))  # 50 W, in whole Wh: a step in 72 s
    assert not any(says(100 + n // 72, Decimal(50))[1] for n in range(600))


@pytest.mark.parametrize("lie", ["1e-3000000", "1e3000000", "0e-3000000"])
def test_a_number_that_takes_minutes_to_work_with_is_none(lie):
    says = Told()
    says(100)
    assert says(lie) == (0, True)
    assert says(101, Decimal(lie)) == (10, False)


def test_without_power_it_may_rest():
    says = Told()
    says(100, Decimal(0))
    assert not any(says(100, Decimal(0))[1] for _ in range(2 * STUCK_S))


def test_what_flowed_while_no_bridge_ran_is_counted():
    says = Told()
    says(100)
    says(101)
    known = says.trust.known("s")
    again = Trust(Fraction(TICKS), RATING, "b2")
    again.resume(known, says.now + 5)
    again.take(Count(Decimal(103)), says.now + 6)
    assert (again.boot, again.register, again.fault) == ("b1", 30, "")


def test_beyond_the_rating_it_is_not():
    again = Trust(Fraction(TICKS), RATING, "b2")
    again.resume(Known("s", "b1", 7, "100", "", 1_000.0), 1_001.0)
    again.take(Count(Decimal(1_000)), 1_002.0)
    assert again.register == 7 and "jumped" in again.fault


VALUES = st.one_of(
    st.decimals(0, 10_000, places=2),
    st.sampled_from([Decimal(text) for text in ("0", "NaN", "Infinity", "-5", "1e30", "9007199254740993")]),
)
TRACES = st.lists(
    st.tuples(VALUES, st.sampled_from([None, Decimal(0), Decimal(5)]), st.sampled_from("aab"), st.integers(0, 30)),
    max_size=60,
)


@given(trace=TRACES, rating=st.sampled_from([1, RATING, 1_000]))
@settings(max_examples=300)
def test_never_back_and_never_beyond_the_rating(trace, rating):
    trust, now, first, before = Trust(Fraction(TICKS), rating, "b1"), 1_000.0, None, 0
    for value, power, epoch, seconds in trace:
        now += seconds
        trust.take(Count(value, power, epoch), now)
        if first is None and trust.known("s") is not None:
            first = now
        assert trust.register >= before and trust.flow >= 0
        before = trust.register
        if first is not None:
            # each reading may bring its slack; in all no more than the time and one slack for each reading
            assert trust.register <= rating * (now - first + SLACK_S * len(trace)) + 1


# --- coarse steps, gaps, and what a restart keeps


def test_a_coarse_counter_is_charged_for_what_flowed_since_its_last_step():
    """Five units at once, a hundred readings apart: more than ten readings' slack, less than what may have flowed."""
    says = Told(rating=2)
    says(0)
    for n in range(1, 5):
        for _ in range(24):
            says(5 * (n - 1))
        assert says(5 * n) == (50 * n, False)


def test_while_nothing_can_flow_no_step_is_saved_up():
    says = Told(rating=2)
    says(0)
    for _ in range(100):
        says.now += 1
        says.trust.take(Count(Decimal(0)), says.now, flowing=False)
    says.now += 1
    says.trust.take(Count(Decimal(5)), says.now)
    assert says.trust.register == 0 and "jumped" in says.trust.fault


def test_who_jumps_again_and_again_sells_nothing_more():
    says = Told()
    says(0)
    for n in range(1, JUMPS + 1):
        for _ in range(CONFIRMED):
            says(1_000 * n)
    assert says(1_000 * JUMPS + 1) == (10, True) and "again and again" in says.trust.fault
    says.now += JUMPS_S
    assert says(1_000 * JUMPS + 2)[1]  # a person has to look, and starts the bridge again


def test_a_digit_less_after_an_idle_minute_is_not_charged_as_a_count_that_began_anew():
    says = Told()
    for _ in range(120):
        says("60.50")
    assert says("60.49")[0] == 0 and "went back" in says.trust.fault
    says.now += 300
    assert says("60.49")[0] == 0


def test_after_a_fall_that_stayed_another_one_is_charged_for_nothing_either():
    says = Told()
    says(100)
    for value in [95] * 8 + [96, 97, 98]:
        says(value)
    register = says.trust.register
    for _ in range(10):
        for _ in range(8):
            says(97)
        says(98)
    assert says.trust.register == register == 30


def test_a_restart_within_a_coarse_step_loses_nothing_of_it():
    says = Told(rating=2)
    says(0)
    for _ in range(23):
        says(0)
    known = says.trust.known("s")
    says.trust = Trust(Fraction(TICKS), 2, "b2")
    says.trust.resume(known, says.now)
    assert says(5) == (50, False)


def test_a_gap_does_not_hide_a_counter_that_stands_still():
    says = Told()
    says(0, power=Decimal(3600))
    says.now += 1_800
    assert not says(1_800, power=Decimal(3600))[1]
    for _ in range(STUCK_S + 2):
        last = says(1_800, power=Decimal(3600))
    assert last[1] and "does not count" in says.trust.fault


def test_what_goes_back_a_little_and_returns_is_not_charged_again():
    says = Told()
    says(100)
    for _ in range(20):
        for _ in range(8):
            says(95)
        assert says(100) == (0, False)
    for _ in range(8):
        says(95)
    assert says(96) == (10, False)
    assert says(101) == (10, False)  # since the fall one unit flowed, and was charged
    assert says(102) == (20, False)


def test_what_really_began_at_a_lower_count_is_charged_from_there():
    says = Told()
    says(100)
    for _ in range(CONFIRMED):
        says(95)
    for n in range(1, 11):
        assert says(95 + n) == (10 * n, False)


def test_what_is_less_than_a_tick_outlives_a_restart():
    says, register = Told(), 0
    says("0.00")
    for n in range(1, 41):
        register, _ = says(Decimal(n) / 20)  # half a tick
        known = says.trust.known("s")
        assert known.sound
        says.trust = Trust(Fraction(TICKS), RATING, "b2")
        says.trust.resume(known, says.now)
    assert register == 20


@pytest.mark.parametrize(("left", "register"), [(300, 300), (299, 0)])
def test_with_a_clock_that_is_behind_what_flowed_is_counted_up_to_the_grant(left, register):
    says = Told()
    says(0)
    known = says.trust.known("s", left)
    trust = Trust(Fraction(TICKS), RATING, "b2")
    trust.resume(known, says.now - 3_600)
    trust.take(Count(Decimal(30)), says.now - 3_599)
    assert trust.register == register and bool(trust.fault) == (register == 0)


@pytest.mark.parametrize("part", ["x", "1", "1/0", "2/1"])
def test_a_state_with_a_part_that_is_none_is_as_none(part):
    assert not Known("s", "b1", 0, "1", "", 1.0, part).sound


def test_a_count_that_was_scaled_shows_no_finer_step_than_it_has():
    """5.001 kWh are 5001 Wh, not 5001.000: a small load needs its time for the first step."""
    says, count = Told(), Count(Decimal("5.001"), Decimal(8)).scaled(1000)
    assert (count.value, count.step) == (5001, 1)
    for _ in range(3 * STUCK_S):
        says.now += 1
        says.trust.take(count, says.now)
    assert not says.trust.fault
