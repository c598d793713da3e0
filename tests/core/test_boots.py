"""What a bridge tells late of an earlier boot was counted when the next one began: it counts once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import SESSION, World

from satmeter.core import commands as cmd
from satmeter.core.errors import Implausible
from satmeter.core.reading import Reading
from satmeter.core.seller import views
from satmeter.core.seller.context import Limits


def test_a_reading_of_an_earlier_boot_is_refused_and_counts_nothing():
    w = World()
    w.report(50)
    w.report(60, boot="b2", base=50)
    for restarted in (False, True):
        if restarted:
            w.restart_seller()
        with pytest.raises(Implausible, match="boot b1 of meter m was before its boot b2"):
            w.report(55)
        w.report(60, boot="b2", base=50)
        assert w.meter.count == 60 and w.meter.boot == "b2"
    w.report(70, boot="b2", base=50)
    assert w.meter.count == 70


def test_a_boot_that_was_never_heard_of_is_earlier_where_it_spoke_before_the_present_one():
    """Board: b1 to 50; b2, kept, unheard; b3, not kept. Then another bridge tells what it still has of b2."""
    w = World()
    w.report(50)
    w.now += 10_000
    w.report(18, boot="b3")
    w.now += 250
    for restarted in (False, True):
        if restarted:
            w.restart_seller()
        with pytest.raises(Implausible, match="boot b2 of meter m was before its boot b3"):
            w.sell(cmd.Report(meter="m", reading=Reading("b2", 50, 50, age_ms=5_000)))
        w.report(30, boot="b3")
        assert (w.meter.boot, w.meter.count) == ("b3", 80)
    w.now += 1_000
    w.sell(
        cmd.Report(meter="m", reading=Reading("b4", 30, 30, age_ms=900))
    )  # told late, and later than the present one: it restarted
    assert (w.meter.boot, w.meter.count) == ("b4", 80)


def test_earlier_boots_are_remembered_over_many():
    w = World()
    for n in range(2, 40):
        w.report(n, boot=f"b{n}", base=n)
    for n in (1, 2, 38):
        with pytest.raises(Implausible):
            w.report(100, boot=f"b{n}")
    assert w.meter.count == 39


def test_a_reading_of_an_earlier_boot_of_the_own_sensor_is_refused_and_counts_nothing():
    w = World()
    w.open()
    sense = lambda boot, register: w.buy(cmd.SensorReading(session=SESSION, boot=boot, register=register))  # noqa: E731
    sense("s1", 0)
    sense("s1", 30)
    sense("s2", 5)
    own = w.buyer.state.streams[SESSION].own_ticks
    for restarted in (False, True):
        if restarted:
            w.restart_buyer()
        with pytest.raises(Implausible, match="boot s1 of the sensor was before its boot s2"):
            sense("s1", 30)
    sense("s2", 6)
    assert w.buyer.state.streams[SESSION].own_ticks - own <= 1


def test_a_boot_of_the_own_sensor_that_was_never_heard_of_is_earlier_where_it_spoke_before_the_present_one():
    w = World()
    w.open()
    w.buy(cmd.SensorReading(session=SESSION, boot="s1", register=0))
    w.now += 10_000
    w.buy(cmd.SensorReading(session=SESSION, boot="s3", register=5))
    own = w.buyer.state.streams[SESSION].own_ticks
    w.now += 250
    for restarted in (False, True):
        if restarted:
            w.restart_buyer()
        with pytest.raises(Implausible, match="boot s2 of the sensor was before its boot s3"):
            w.buy(cmd.SensorReading(session=SESSION, boot="s2", register=300, age_ms=5_000))
        stream = w.buyer.state.streams[SESSION]
        assert stream.sensor.boot == "s3" and stream.own_ticks == (None if restarted else own)


def test_that_two_report_is_shown_as_the_meters_fault_while_they_do():
    w = World(limits=Limits(silent_ms=3_000))
    w.report(5)
    w.report(0, boot="b2")
    with pytest.raises(Implausible):
        w.report(6)
    w.report(1, boot="b2")
    shown = lambda: views.meter_status(w.meter, None, w.now, 3_000, 0, {}).fault  # noqa: E731
    assert "two boards, or two bridges, report" in shown()
    w.pass_ms(4_000)
    assert shown() == ""


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50)), max_size=40))
def test_however_readings_of_several_boots_mix_no_more_is_counted_than_each_added(told):
    w, registers, added = World(), dict.fromkeys(range(4), 0), 0
    for boot, ticks in told:
        registers[boot] += ticks
        try:
            w.report(registers[boot], boot=f"x{boot}")
        except Implausible:
            continue
        added = sum(registers.values())
        assert w.meter.count <= added
