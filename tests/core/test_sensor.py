"""The buyer's own sensor against the seller's count.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import pytest
from liar import SensorFirst
from world import ARREARS, OTHER, SESSION, Victim, World, invoice_received

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.errors import WrongState


def test_the_own_sensor_catches_a_seller_that_counts_too_much():
    w = World()
    w.open(tolerance_pct=5, tolerance_ticks=5)
    w.buy(cmd.SensorReading(session=SESSION, boot="s1", register=0))
    w.report(80)
    assert not w.purchase.refusals  # a quantum, 100 ticks, may have run before the sensor was first heard
    w.report(160)
    assert "our own sensor 100" in w.purchase.refusals[-1].why


def test_the_own_sensor_is_not_forgotten_over_a_restart():
    w = World()
    w.hold = {do.Send}
    w.open(tolerance_ticks=5)
    w.buy(cmd.SensorReading(session=SESSION, boot="s1", register=7_000))
    w.hold = set()
    w.pump()
    for ticks in (60, 120, 180):
        w.buy(cmd.SensorReading(session=SESSION, boot="s1", register=7_000 + ticks))
        w.report(ticks)
        w.restart_buyer()
        w.pass_ms(3_000)
    assert not w.purchase.refusals and w.purchase.payments > 1
    w.buy(cmd.SensorReading(session=SESSION, boot="s1", register=7_190))
    w.report(270)
    assert "our own sensor 190" in w.purchase.refusals[-1].why


def test_the_own_sensor_within_tolerance_is_fine():
    w = World()
    w.open(tolerance_pct=5, tolerance_ticks=5)
    for ticks in range(0, 400, 40):
        w.buy(cmd.SensorReading(session=SESSION, boot="s1", register=ticks))
        w.report(ticks)
    assert not w.purchase.refusals and w.purchase.payments > 3


@pytest.mark.parametrize("tariff", [{}, ARREARS])
def test_a_count_once_claimed_is_held_against_the_own_sensor_whatever_comes_after(tariff):
    v = Victim(**tariff)
    v.tell(cmd.SensorReading(session=SESSION, boot="s", register=0))
    for n in range(1, 50):
        v.tell(cmd.SensorReading(session=SESSION, boot="s", register=10))
        if n == 1:
            lie = msg.Invoice(SESSION, 10**12, 1, 10_000, "lie", 10**6, 10**8, 0)
            v.tell(invoice_received(lie, 10_000, "h-lie", v.now + 10**6))
        v.invoice(n, 10_000, 10, 1000, seq=1000 + n)
    assert v.paid <= 10_000 and v.purchase.state != "streaming"
    assert any("own sensor" in r.why for r in v.purchase.refusals)


def test_a_restart_forgets_less_of_the_count_than_half_an_invoice_is_worth():
    w = World()
    w.open()
    w.report(51)
    w.report(60)
    w.restart_seller()
    assert (w.meter.count, w.meter.recorded, w.seller.state.sessions[SESSION].count) == (51, 51, 51)


def test_a_sensor_that_is_told_late_accuses_nobody_and_is_as_old_as_it_is():
    """The bridge's call waited for the node: what the sensor said 11 s ago is no reading of now."""
    w = SensorFirst()
    w.sense(0)
    w.ask(0)
    w.now += 12_000
    w.tell(cmd.SensorReading(session=SESSION, boot="s", register=10, age_ms=11_000))
    w.ask(100, amount=5_000)
    assert (w.p.breached, w.p.payments, w.p.memory.waits) == (False, 1, "the own sensor is late")
    w.sense(100)
    w.ask(100, amount=5_000)
    assert (w.p.breached, w.p.payments, w.p.memory.waits) == (False, 2, "")
    w.now += 600_000
    w.tell(cmd.SensorReading(session=SESSION, boot="s", register=150, age_ms=599_000))
    w.ask(150, amount=5_000)
    assert (w.p.payments, w.p.memory.waits) == (2, "the own sensor is silent")
    w.tell(cmd.SensorReading(session=SESSION, boot="s", register=150, age_ms=0))
    w.tell(
        cmd.SensorReading(session=SESSION, boot="s", register=149, age_ms=40_000)
    )  # told late: it is heard all the same
    w.ask(150, amount=5_000)
    assert (w.p.payments, w.p.memory.waits) == (3, "")


def test_a_meter_of_another_seller_gets_no_readings_by_its_name():
    """A seller chooses its meter's name. The first stream keeps its board, and commands ask which is meant."""
    w = World()
    w.open()
    w.now += 1_000
    other = "02" + "cc" * 32
    w.buy(cmd.OpenStream(session=OTHER, seller=other, meter="m", address="h:2", policy=w.policy))
    w.pump()
    w.buy(cmd.SensorReading(session="m", boot="s1", register=0))
    w.buy(cmd.SensorReading(session="m", boot="s1", register=50))
    own = w.buyer.state.streams[SESSION].own_ticks  # a quantum, 100 ticks, may have run before it was first heard
    assert (own, w.buyer.state.streams[OTHER].own_ticks) == (150, None)
    with pytest.raises(WrongState, match="several sellers"):
        w.buy(cmd.PauseStream(session="m"))
    w.buy(cmd.SensorReading(session=f"{other}/m", boot="s2", register=0))
    assert w.buyer.state.streams[OTHER].sensor.boot == "s2"
    w.buy(cmd.CloseStream(session=f"{other}/m"))
    w.buy(cmd.PauseStream(session=SESSION))
