"""Every (state, event): the table's moves move, everything else raises and changes nothing."""

import copy

import pytest
from world import BUYER_ID, SESSION, TARIFF, World

from satmeter.core import events as ev
from satmeter.core import inputs as inp
from satmeter.core.errors import WrongState
from satmeter.core.meter import DELIVERING, LOCKOUT, NEGOTIATING, STANDBY, SUSPENDED
from satmeter.core.seller import TABLE
from satmeter.core.tariff import Tariff

STATES = (STANDBY, NEGOTIATING, DELIVERING, SUSPENDED, LOCKOUT)
OTHER = "0f" * 16


def in_state(state):
    from satmeter.core import actions as do

    w = World()
    if state == NEGOTIATING:  # a session without credit yet, as one is for a moment between its opening and its credit
        tariff = Tariff.from_dict(TARIFF).to_dict()
        w.seller.books.apply(ev.SessionOpened(w.now, SESSION, "m", BUYER_ID, tariff, w.meter.count, "b1", 0))
    if state in (DELIVERING, SUSPENDED):
        w.open()
        w.hold = {do.Pay}
        if state == SUSPENDED:
            w.report(100)
    if state == LOCKOUT:
        w.seller.books.apply(ev.Locked(w.now, "meter/m", w.now + 60_000, BUYER_ID, ""))
    assert w.meter.state == state
    return w


def event_of(kind, w):
    tariff = Tariff.from_dict(TARIFF).to_dict()
    session = w.meter.session or OTHER
    return {
        ev.SessionOpened: ev.SessionOpened(w.now, OTHER, "m", BUYER_ID, tariff, w.meter.count, "b1", 0),
        ev.DeliveryStarted: ev.DeliveryStarted(w.now, session, w.meter.count),
        ev.SessionSuspended: ev.SessionSuspended(w.now, session, w.meter.count),
        ev.SessionClosing: ev.SessionClosing(w.now, session, "x", w.meter.count),
        ev.Locked: ev.Locked(w.now, "meter/m", w.now + 1, BUYER_ID, ""),
        ev.Unlocked: ev.Unlocked(w.now, "meter/m", "x"),
    }[kind]


MOVING = (ev.SessionOpened, ev.DeliveryStarted, ev.SessionSuspended, ev.SessionClosing, ev.Locked, ev.Unlocked)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", MOVING, ids=lambda k: k.__name__)
def test_every_state_and_event(state, kind):
    w = in_state(state)
    event = event_of(kind, w)
    if kind in (ev.DeliveryStarted, ev.SessionSuspended, ev.SessionClosing) and not w.meter.session:
        assert (state, kind) not in TABLE  # these belong to a session, and here is none
        return
    before = copy.deepcopy(w.seller.books.dump())
    if (state, kind) in TABLE:
        w.seller.books.apply(event)
        assert w.meter.state == TABLE[state, kind]
    else:
        with pytest.raises(WrongState, match=f"in {state}"):
            w.seller.books.apply(event)
        assert w.seller.books.dump() == before


def test_every_state_can_be_left_and_reached():
    reached = set(TABLE.values()) | {STANDBY}
    left = {state for state, _ in TABLE}
    assert reached == left == set(STATES)


@pytest.mark.parametrize("state", STATES)
def test_unplug_ends_every_session_and_no_lockout(state):
    w = in_state(state)
    w.report(w.meter.register, plugged=False)
    assert w.meter.state == (LOCKOUT if state == LOCKOUT else STANDBY)
    assert w.meter.session == ""


@pytest.mark.parametrize("state", STATES)
def test_an_open_is_taken_in_standby_only(state):
    w = in_state(state)
    w.buy(inp.OpenStream(OTHER, "02" + "aa" * 32, "m", "", w.policy)) if state == STANDBY else None
    from satmeter.core.messages import Error, Open

    stranger = "02" + "cc" * 32
    w.sell(inp.FromPeer(stranger, Open("0e" * 16, 1, "m")))
    answers = [a.message for side, a in w.todo if getattr(a, "peer", "") == stranger]
    assert isinstance(answers[0], Error) == (state != STANDBY)
    assert ("0e" * 16 in w.seller.openings) == (state == STANDBY) and "0e" * 16 not in w.seller.books.sales
    assert SESSION not in w.seller.books.sales or w.seller.books.sales[SESSION].buyer == BUYER_ID
