"""Meters added, changed and removed, and who may touch a session.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import pytest
from world import OTHER, SESSION, World

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.errors import (
    BadParam,
    MeterTaken,
    NameTaken,
    UnknownMeter,
    WrongState,
)


def test_meters_are_added_changed_and_removed():
    w = World()
    with pytest.raises(NameTaken):
        w.sell(cmd.AddMeter(meter="m", tariff=w.meter.tariff.to_dict()))
    with pytest.raises(UnknownMeter, match="there are: m"):
        w.sell(cmd.SetMeter(meter="x", tariff={}))
    w.open()
    w.sell(cmd.SetMeter(meter="m", tariff={"price_msat": 2000}))
    assert w.meter.tariff.price_msat == 2000 and w.sale.tariff.price_msat == 1000
    with pytest.raises(WrongState, match="only a meter in standby"):
        w.sell(cmd.RemoveMeter(meter="m"))
    w.report(0, plugged=False)
    w.sell(cmd.RemoveMeter(meter="m"))
    assert not w.seller.state.meters


def test_a_second_session_on_a_taken_meter_is_refused_and_reserves_nothing():
    w = World()
    w.open()
    w.sell(cmd.FromPeer(peer="02" + "cc" * 32, message=msg.Open(OTHER, 1, "m")))
    assert [a.message.code for _, a in w.todo if isinstance(a, do.Send)] == [MeterTaken.code]
    assert OTHER not in w.seller.state.sessions


def test_another_node_can_not_touch_a_session():
    w = World()
    w.open()
    w.sell(cmd.FromPeer(peer="02" + "cc" * 32, message=msg.Close(SESSION, 1, "buyer", "mine now", 0, "refund:thief")))
    assert w.sale.state == "open" and not w.sale.refund.bolt11


def test_a_meter_that_owes_wallets_their_rest_is_not_removed():
    """They ask for it on the meter's page, until remainder_s is over."""
    w = World({"remainder_s": 3_600})
    label, bearer = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=10_000))
    w.pump()
    w.pay(label)
    w.pump()
    w.report(30)
    w.report(30, plugged=False)
    assert w.seller.state.sessions[bearer].owed_msat == 7_000
    with pytest.raises(WrongState, match="owes 7000 msat to wallets"):
        w.sell(cmd.RemoveMeter(meter="m"))
    w.pass_ms(3_700_000, step=100_000)
    w.sell(cmd.RemoveMeter(meter="m"))
    assert not w.seller.state.meters


def test_a_buyer_gets_no_id_of_the_sellers_own_sessions():
    """It could choose that of the next wallet's session, and would get what the wallet pays."""
    w = World()
    label, session = w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=10_000))
    w.pump()
    w.open(session)
    assert [m.code for m in w.sent if isinstance(m, msg.Error)] == [BadParam.code]
    assert w.pay(label)
    w.pump()
    bearer = w.seller.state.sessions[session]
    assert not bearer.buyer and bearer.paid_msat == 10_000
