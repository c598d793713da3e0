"""On-chain settlement at the buyer: what is signed and sent again, what goes astray, and which inputs stay reserved.

A tick costs 100 sat, a step is 2,000 sat.
"""

import pytest
from growing import FEE, STEP, Wallet
from world import SELLER_ID, SESSION

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.buyer import events as ev
from satmeter.core.buyer.state import EARLIER
from satmeter.core.errors import UnknownSession, WrongState


def updates(w):
    return [a.message.raw for a in w.did if isinstance(a, do.Send) and isinstance(a.message, msg.Update)]


def reserved(w):
    return {outpoint: r.blocks for r in w.did if isinstance(r, do.Reserve) for outpoint in r.inputs}


def gone(w):
    """The seller knows nothing of the session any more."""
    w.tell(
        cmd.FromPeer(peer=SELLER_ID, message=msg.Error(SESSION, w.now, msg.SELLER, UnknownSession.code, "it is over"))
    )


def test_an_update_that_counts_is_not_sent_again():
    w = Wallet()
    w.ask(STEP)
    before = updates(w)
    w.tell(cmd.UpdateMade(session=SESSION, number=1, tx_number=1, raw="v1-2000"))
    assert updates(w) == before


def test_an_update_that_went_astray_is_sent_again_when_it_is_asked_for():
    w = Wallet()
    w.ask(STEP, taken=False)
    w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Taken(SESSION, w.now, 1, 1, 0)))
    before = len(updates(w))
    w.ask(STEP, n=1, taken=False)
    assert updates(w)[before:] == [f"v1-{STEP}"] and len(w.signed) == 1


def test_an_update_that_was_signed_is_sent_again_though_the_own_sensor_is_silent():
    w = Wallet()
    w.tell(cmd.SensorReading(session=SESSION, boot="s", register=0))
    w.ask(STEP, taken=False)
    before = len(updates(w))
    w.now += 60_000
    w.ask(STEP, n=1, taken=False)
    assert updates(w)[before:] == [f"v1-{STEP}"]
    w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Taken(SESSION, w.now, 1, 1, STEP * 1000)))
    w.ask(2 * STEP, n=2, taken=False)
    assert w.purchase.memory.waits and not w.purchase.in_flight  # a new one waits for the sensor


def test_an_update_of_another_transaction_is_none():
    w = Wallet()
    w.ask(STEP)
    signed = ev.UpdateSigned(
        at=w.now, subject=SESSION, number=2, tx_number=2, value_sat=STEP, amount_msat=STEP * 1000, fee_msat=0, ticks=0
    )
    with pytest.raises(WrongState):
        w.buyer.state.apply(signed)
    assert w.purchase.signed.value_sat == STEP and not w.purchase.in_flight


def test_inputs_under_which_nothing_was_signed_are_free_and_those_of_earlier_transactions_are_not():
    w = Wallet(hold_msat=STEP * 1000)
    w.ask(STEP, 1)
    w.ask(STEP, 2, ticks=0)  # for nothing: inputs were chosen, and it is not signed
    assert w.purchase.breached and w.signed == [(1, STEP, ["c1:0"])]
    w.did.clear()
    gone(w)
    assert w.purchase.closed and reserved(w) == {"c2:0": 0, "c1:0": 1008}


def test_inputs_of_the_newest_fifty_transactions_stay_reserved():
    w = Wallet(hold_msat=STEP * 1000, policy={"budget_msat": 10**10})
    for n in range(EARLIER + 3):
        w.now += 10**8
        w.ask(STEP, n + 1)
    assert w.purchase.state == "streaming" and len(w.purchase.earlier_inputs) == EARLIER == 50
    assert w.purchase.earlier_inputs[0] == ("c3:0",)


def test_what_went_astray_is_at_risk_until_it_counts():
    w = Wallet()
    w.ask(STEP, taken=False)
    w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Taken(SESSION, w.now, 1, 1, 0)))
    astray = (STEP + FEE) * 1000
    assert (w.purchase.astray_msat, w.purchase.exposure_msat) == (astray, astray)
    gone(w)
    assert w.purchase.closed and w.purchase.exposure_msat == astray


def test_a_wallet_that_does_not_sign_ends_the_stream_and_signs_nothing_else():
    w = Wallet()
    w.ask(STEP, taken=False)
    w.tell(cmd.UpdateUnsigned(session=SESSION, number=7, tx_number=1, why="locked"))  # of another update
    assert w.purchase.state == "streaming"
    w.tell(cmd.UpdateUnsigned(session=SESSION, number=1, tx_number=1, why="locked"))
    assert w.purchase.state == "closing" and "the wallet does not sign: locked" in w.purchase.reason
    assert w.purchase.in_flight  # it was recorded: no other update of this value may be made
