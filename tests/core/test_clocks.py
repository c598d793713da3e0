"""A seller whose clock is behind makes invoices that expired before they came: both sides are told, nobody is locked
out."""

import pytest
from world import BUYER_ID, SESSION, World

from satmeter.core import commands as cmd
from satmeter.core.errors import ClockWrong
from satmeter.core.seller.context import Limits
from satmeter.core.seller.peers import EXCUSED

SILENT = Limits(silent_ms=10**9)


def alarms(w):
    return [payload["why"] for topic, payload in w.notes if topic == "meter_alarm"]


@pytest.mark.parametrize("hours", [1, 24 * 365])
def test_an_invoice_that_expired_before_it_came_is_told_to_both(hours):
    w = World(limits=SILENT)
    w.seller_behind_ms = hours * 3_600_000
    w.open()
    w.pass_ms(3_000)
    late_s = hours * 3_600 - 600
    told = [payload["why"] for topic, payload in w.notes if topic == "stream_state" and payload.get("why")]
    assert any(f"expired {late_s} s before it came" in why for why in told)
    assert len(alarms(w)) == 1 and f"expired {late_s} s before it came" in alarms(w)[0]
    refused = [e for e in w.buyer_events if e.kind() == "invoice_refused"]
    assert [e.evidence["error"] for e in refused] == [ClockWrong.__name__]
    assert not w.seller.waiting and w.meter.state == "standby" and w.balance == 0


def test_who_could_not_pay_is_served_as_soon_as_the_clock_is_right():
    w = World({"allowance_ticks": 20}, limits=SILENT)
    w.seller_behind_ms = 3_600_000
    for n in range(EXCUSED):
        w.open(session=f"{n:032x}")
        w.report(n)
        w.pass_ms(2_000)
    w.pass_ms(60_000, step=1_000)
    assert w.meter.state == "standby" and BUYER_ID not in w.seller.context.openings.unpaid
    w.seller_behind_ms = 0
    w.open()
    assert w.meter.state == "delivering" and w.meter.session == SESSION


def test_an_invoice_at_the_end_of_its_life_is_no_wrong_clock():
    w = World(limits=SILENT)
    w.seller_behind_ms = 600_000 + 5_000
    w.open()
    assert not alarms(w) and w.first() is not None
    w.seller_behind_ms = 0
    w.pass_ms(10_000)
    assert w.meter.state == "delivering"


def test_an_old_invoice_of_a_running_session_is_no_wrong_clock():
    """It was out while the buyer was away; the next one can be paid."""
    w = World(limits=SILENT)
    w.open()
    w.seller_behind_ms = 700_000
    w.report(90)
    w.seller_behind_ms = 0
    for n in list(w.sale.out):
        w.sell(cmd.InvoiceGone(label=f"satmeter/0/s/{SESSION}/{n}"))
    w.pump()
    w.pass_ms(20_000)
    assert not alarms(w) and w.meter.session == SESSION and w.balance > 10_000


def test_a_stranger_who_says_that_a_clock_is_wrong_again_and_again_waits_like_others():
    w = World(limits=SILENT)
    w.seller_behind_ms = 3_600_000
    for n in range(20):
        w.open(session=f"{n:032x}")
        w.pass_ms(1_000)
    tries, _ = w.seller.context.openings.unpaid[BUYER_ID]
    assert tries >= 3 and len(alarms(w)) == 1


def test_a_clock_that_is_set_back_in_a_session_ends_it_without_a_loss():
    w = World(limits=SILENT)
    w.open()
    assert w.meter.state == "delivering"
    w.seller_behind_ms = 3_600_000
    w.report(90)
    w.pass_ms(20_000)
    assert alarms(w) and w.meter.state == "standby" and w.meter.lock_until == 0
    assert w.balance == 9_000  # 90 ticks at 1,000 msat for ten
