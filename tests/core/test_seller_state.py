"""Single events of a seller, folded: what each of them leaves.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import pytest
from world import BUYER_ID, SESSION, TARIFF

from satmeter.core.seller import events as ev
from satmeter.core.seller.meter import Meter
from satmeter.core.seller.session import SellerSession
from satmeter.core.seller.state import SellerState
from satmeter.core.states import MeterState, SessionState
from satmeter.core.tariff import Tariff

TERMS = Tariff.from_dict(TARIFF)


def holding(meter=MeterState.DELIVERING, **fields):
    """A seller whose meter has counted 40 ticks, and has a session."""
    found = SellerState()
    found.meters["m"] = Meter("m", TERMS, state=meter, session=SESSION, count=40)
    found.sessions[SESSION] = SellerSession(SESSION, "m", BUYER_ID, TERMS, 1, **fields)
    return found


def paid(**fields):
    given = {"number": 1, "amount_msat": 10_000, "pay_index": 1, "payment_hash": "h", "count": 0, "owned_up_to": 1}
    return ev.InvoicePaid(at=7, subject=SESSION, **{**given, **fields})


def test_a_payment_moves_the_count_of_its_meter_up_and_never_down():
    state = holding()
    state.apply(paid(count=55))
    assert state.meters["m"].count == state.sessions[SESSION].count == 55
    state.apply(paid(number=2, pay_index=2, count=50))
    assert state.meters["m"].count == state.sessions[SESSION].count == 55


@pytest.mark.parametrize(("charged_msat", "then"), [(0, SessionState.CLOSING), (500, SessionState.CLOSED)])
def test_a_session_that_ended_with_nothing_closes_again_when_it_is_paid(charged_msat, then):
    """One that has its receipt stays closed: a newer receipt states what came late."""
    ended = {"state": SessionState.CLOSED, "final_charge_msat": charged_msat, "revision": 1 if charged_msat else 0}
    state = holding(**ended)
    state.meters["m"].session, state.meters["m"].state = "", MeterState.STANDBY
    state.apply(paid())
    assert state.sessions[SESSION].state == then


def test_of_a_wallets_payments_the_smallest_is_forgotten_first():
    state = SellerState()
    state.sessions[SESSION] = SellerSession(SESSION, "m", "", TERMS, 1)
    for number in range(1, 66):
        state.apply(paid(number=number, pay_index=number, amount_msat=5_000 if number == 3 else 9_000 + number))
    fed_by = state.sessions[SESSION].fed_by
    assert len(fed_by) == 64 and 3 not in fed_by and fed_by[1] == 9_001


def test_delivery_that_goes_on_has_begun_anew():
    """The grace time of a session that was suspended counts from the next time that its credit is used up."""
    state = holding(MeterState.SUSPENDED, since=5, start_count=10, started_at=2)
    state.apply(ev.DeliveryStarted(at=900, subject=SESSION, count=44))
    session = state.sessions[SESSION]
    assert (session.since, session.start_count, session.started_at, state.meters["m"].count) == (900, 10, 2, 44)
