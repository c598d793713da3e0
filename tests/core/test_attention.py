"""What a person says of an alarm.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import pytest
from world import SESSION, unrefunded

from satmeter.core import commands as cmd
from satmeter.core.errors import BadParam
from satmeter.core.seller import events as selling


def test_what_has_lapsed_was_not_used_where_a_person_says_what_is_owed():
    w = unrefunded()
    for e in (
        selling.RemainderLapsed(at=1, subject=SESSION, amount_msat=500),
        selling.RefundHeld(at=2, subject=SESSION, why="look"),
        selling.AlarmEnded(at=3, subject=SESSION, how=cmd.OWED, amount_msat=6_000, note=""),
    ):
        w.seller.state.apply(e)
    s = w.seller.state.sessions[SESSION]
    assert (s.received_msat, s.charged_msat, s.lapsed_msat, s.owed_msat) == (10_000, 3_500, 500, 6_000)


def test_no_more_is_owed_than_was_paid_and_did_not_come_back():
    w = unrefunded()
    for e in (
        selling.RemainderLapsed(at=1, subject=SESSION, amount_msat=500),
        selling.RefundHeld(at=2, subject=SESSION, why="look"),
    ):
        w.seller.state.apply(e)
    with pytest.raises(BadParam, match="9500"):
        w.sell(cmd.Attend(name=SESSION, how=cmd.OWED, note="", amount_msat=9_501))
    assert w.sell(cmd.Attend(name=SESSION, how=cmd.OWED, note="", amount_msat=9_500))["owed_msat"] == 9_500


def test_what_was_carried_on_was_not_used_either():
    w = unrefunded()
    for e in (
        selling.CreditTaken(at=1, subject=SESSION, amount_msat=2_000, target="07" * 16),
        selling.RefundHeld(at=2, subject=SESSION, why="look"),
        selling.AlarmEnded(at=3, subject=SESSION, how=cmd.OWED, amount_msat=6_000, note=""),
    ):
        w.seller.state.apply(e)
    s = w.seller.state.sessions[SESSION]
    assert (s.received_msat, s.charged_msat, s.taken_msat, s.owed_msat) == (10_000, 2_000, 2_000, 6_000)


def test_no_less_is_owed_than_a_refund_on_its_way_takes_with_its_fee():
    w = unrefunded()
    session = w.seller.state.sessions[SESSION]
    started = {"amount_msat": 6_000, "maxfee_msat": 600, "borne_msat": 100}
    for e in (
        selling.RefundOffered(at=1, subject=SESSION, bolt11="r", claimed_msat=0, invoice_msat=0, number=0),
        selling.RefundStarted(at=2, subject=SESSION, **started),
        selling.RefundHeld(at=3, subject=SESSION, why="look"),
    ):
        if not (isinstance(e, selling.RefundOffered) and session.refund.bolt11):
            w.seller.state.apply(e)
    with pytest.raises(BadParam, match="up to 6500 msat"):
        w.sell(cmd.Attend(name=SESSION, how=cmd.OWED, note="", amount_msat=6_499))
    assert w.sell(cmd.Attend(name=SESSION, how=cmd.OWED, note="", amount_msat=6_500))["owed_msat"] == 6_500
