"""Counts that come late, and then at once: a report that hangs, a connection that stalls, a sensor that is late."""

import pytest
from liar import SensorFirst
from world import World

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core.errors import Implausible
from satmeter.core.reading import Reading


def flow(w, seconds, register, a_second=10):
    """A device at so many ticks a second, as far as it is granted; returns its register."""
    for _ in range(seconds * 2):
        w.now += 500
        register = max(register, min(w.grant(), register + a_second // 2))
        w.sell(cmd.Report(meter="m", reading=Reading("b1", register, 0, a_second)))
        w.sell(cmd.Tick())
        w.buy(cmd.Tick())
        w.pump()
    return register


def test_a_report_that_hangs_loses_no_tick():
    w = World({"rating_ticks_per_s": 10, "quantum_msat": 40_000})
    w.open()
    for n in range(1, 5):
        w.now += 500
        w.report(5 * n)
    w.now += 10_000  # the report of 25 ticks hangs, and the device runs on at its rating
    w.report(25)
    w.now += 500
    w.report(125)
    assert w.sale.ticks == 125 and "register_jumped" not in [e.kind() for e in w.seller_events]


def test_but_no_more_than_a_minute_can_have_been_held_back():
    w = World({"rating_ticks_per_s": 10, "quantum_msat": 10**7})
    w.open()
    w.now += 300_000
    w.report(0)
    with pytest.raises(Implausible, match="allows 650"):
        w.report(651)
    w.report(650)
    with pytest.raises(Implausible, match="allows 50"):
        w.report(701)


@pytest.mark.parametrize(("stall_s", "a_second"), [(12, 10), (30, 10), (40, 6)])
def test_a_connection_that_stalls_makes_no_breach(stall_s, a_second):
    w = World({"rating_ticks_per_s": 10, "quantum_msat": 100_000, "low_water_msat": 90_000})
    w.open()
    register = flow(w, 20, 0, a_second)
    w.hold = {do.Send}
    register = flow(w, stall_s, register, a_second)
    w.hold = set()
    w.pump()
    flow(w, 2, register, a_second)
    assert w.purchase.state == "streaming" and not w.purchase.breached and not w.purchase.refusals


@pytest.mark.parametrize("honest", [True, False])
def test_a_sensor_that_is_late_stops_payment_and_accuses_nobody_until_it_is_heard(honest):
    w = SensorFirst()
    w.sense(0)
    w.ask(0)
    w.now += 12_000
    w.ask(100, amount=5_000)
    assert (w.p.payments, w.p.breached, w.p.memory.waits) == (1, False, "the own sensor is late")
    w.sense(100 if honest else 10)
    w.ask(100, amount=5_000)
    assert (w.p.payments, w.p.breached) == ((2, False) if honest else (1, True))


def test_what_flowed_while_a_device_was_away_is_counted_when_it_is_back():
    """Its bridge says how old the count is: half an hour at the rating may have flowed since."""
    w = World({"rating_ticks_per_s": 1, "quantum_msat": 200_000, "grace_s": 3_600})
    w.open()
    w.now += 10_000
    w.report(10)
    for minute in range(1, 31):
        w.now += 60_000
        w.sell(cmd.Report(meter="m", reading=Reading("b1", 10, age_ms=minute * 60_000, fault="away", grant=2_000)))
    w.report(1_810)
    assert w.meter.count == 1_810


def test_a_device_that_was_heard_all_the_time_and_jumps_is_not_believed():
    w = World({"rating_ticks_per_s": 1, "quantum_msat": 200_000, "grace_s": 3_600})
    w.open()
    w.now += 10_000
    w.report(10)
    for _ in range(30):
        w.now += 60_000
        w.report(10)
    with pytest.raises(Implausible):
        w.report(1_810)


def test_while_a_device_is_away_its_old_count_is_told_to_nobody():
    """Told again and again, it would seem to the buyer that all has flowed at once when the device is back."""
    w = World({"rating_ticks_per_s": 1, "quantum_msat": 200_000, "low_water_msat": 200_000, "grace_s": 3_600})
    w.open()
    w.fail = 10**9  # no payment gets through just now
    for second in range(1, 21):
        w.now += 1_000
        w.report(second)
    assert w.unpaid()
    for ten in range(1, 13):
        w.sell(cmd.Report(meter="m", reading=Reading("b1", 20, age_ms=ten * 10_000, fault="away", grant=2_000)))
        w.pass_ms(10_000, step=1_000)
    w.fail = 0
    w.report(140)
    w.pass_ms(60_000, step=1_000)
    assert w.meter.count == 140 and not w.purchase.breached and w.purchase.state == "streaming"


def test_a_seller_that_starts_while_a_device_is_away_charges_what_flowed():
    w = World({"rating_ticks_per_s": 1, "quantum_msat": 200_000, "grace_s": 7_200})
    w.open()
    w.now += 10_000
    w.report(10)
    w.now += 600_000
    w.restart_seller()
    for minute in range(10, 31):
        w.sell(cmd.Report(meter="m", reading=Reading("b1", 10, age_ms=minute * 60_000, fault="away", grant=2_000)))
        w.now += 60_000
    w.report(1_800)
    assert w.meter.count == 1_800
