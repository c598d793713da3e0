"""What a meter does in each of its states: an unplug ends every session, an open is taken in standby only."""

import pytest
from world import BUYER_ID, SESSION, World

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core.messages import Error, Open
from satmeter.core.seller import events as selling
from satmeter.core.states import MeterState


def in_state(state):
    w = World()
    if state == MeterState.NEGOTIATING:
        # A session without credit yet, as one is for a moment between its opening and its credit.
        w.seller.state.apply(
            selling.SessionOpened(
                at=w.now,
                subject=SESSION,
                meter="m",
                buyer=BUYER_ID,
                tariff=w.meter.tariff,
                count=w.meter.count,
                boot="b1",
                register=0,
                parked=False,
            )
        )
    if state in (MeterState.DELIVERING, MeterState.SUSPENDED):
        w.open()
        w.hold = {do.Pay}
        if state == MeterState.SUSPENDED:
            w.report(100)
    if state == MeterState.LOCKOUT:
        w.seller.state.apply(
            selling.Locked(at=w.now, subject="meter/m", until=w.now + 60_000, buyer=BUYER_ID, session="")
        )
    assert w.meter.state == state
    return w


@pytest.mark.parametrize("state", MeterState)
def test_unplug_ends_every_session_and_no_lockout(state):
    w = in_state(state)
    w.report(w.meter.register, plugged=False)
    assert w.meter.state == (MeterState.LOCKOUT if state == MeterState.LOCKOUT else MeterState.STANDBY)
    assert w.meter.session == ""


@pytest.mark.parametrize("state", MeterState)
def test_an_open_is_taken_in_standby_only(state):
    w = in_state(state)
    w.buy(
        cmd.OpenStream(session="0f" * 16, seller="02" + "aa" * 32, meter="m", address="", policy=w.policy)
    ) if state == MeterState.STANDBY else None
    stranger = "02" + "cc" * 32
    w.sell(cmd.FromPeer(peer=stranger, message=Open("0e" * 16, 1, "m")))
    answers = [a.message for side, a in w.todo if getattr(a, "peer", "") == stranger]
    assert isinstance(answers[0], Error) == (state != MeterState.STANDBY)
    assert ("0e" * 16 in w.seller.waiting) == (state == MeterState.STANDBY) and "0e" * 16 not in w.seller.state.sessions
    assert SESSION not in w.seller.state.sessions or w.seller.state.sessions[SESSION].buyer == BUYER_ID
