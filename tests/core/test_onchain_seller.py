"""On-chain settlement at the seller: when transactions are sent, looked at and asked for; spends elsewhere.

A tick costs 100 sat, a step is 2,000 sat.
"""

import itertools

import pytest
from growing import STEP, Till
from world import BUYER_ID, SESSION

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.reading import Reading

ARREARS = {"mode": "arrears", "limit_msat": 4 * STEP * 1000, "hold_msat": 10 * STEP * 1000}


def looks(t):
    return len(t.done(do.LookAt))


def at(t, now):
    """The seller's clock ticks at a time."""
    t.now = now - 10
    t.tell(cmd.Tick())


def sent():
    """A session whose transaction was broadcast, and is known to the node."""
    t = Till()
    t.open()
    t.pay()
    t.read(20)
    t.read(plugged=False)
    t.seen()
    return t


def test_what_is_on_its_way_is_looked_at_every_three_seconds():
    t = sent()
    seen_at, before = t.now, looks(t)
    at(t, seen_at + 2_999)
    assert looks(t) == before
    at(t, seen_at + 3_000)
    assert looks(t) == before + 1


def test_what_was_not_answered_is_looked_at_again_after_thirty():
    t = sent()
    at(t, t.now + 3_000)
    asked_at, before = t.now, looks(t)
    at(t, asked_at + 29_999)
    assert looks(t) == before
    at(t, asked_at + 30_000)
    assert looks(t) == before + 1


def test_what_was_spent_elsewhere_is_looked_at_every_thirty_seconds():
    t = sent()
    for _ in range(2):
        t.seen(known=False, conflict="spent elsewhere")
    seen_at, before = t.now, looks(t)
    at(t, seen_at + 29_999)
    assert looks(t) == before
    at(t, seen_at + 30_000)
    assert looks(t) == before + 1


def test_what_the_node_does_not_know_is_sent_again_and_is_not_known():
    t = Till()
    t.open()
    t.pay()
    t.read(20)
    t.read(plugged=False)
    before = len(t.done(do.Broadcast))
    t.seen(known=False, refused="not relayed")
    assert len(t.done(do.Broadcast)) == before + 1 and not t.sale.memory.watch(1).known
    t.seen()
    assert t.sale.memory.watch(1).known


def test_a_spend_elsewhere_after_the_end_locks_the_free_plug():
    t = sent()
    t.now += 30_000
    t.tell(cmd.Tick())
    t.read()
    assert t.seller.state.meters["m"].state == "standby"
    t.seen(known=False, conflict="spent elsewhere")
    assert t.seller.state.meters["m"].state == "lockout" and t.seller.state.meters["m"].lock_session == SESSION


@pytest.mark.parametrize("more_sat", [0, 1])
def test_another_transaction_that_pays_us_as_much_is_no_loss_and_locks_nobody(more_sat):
    t = sent()
    t.now += 30_000
    t.tell(cmd.Tick())
    t.read()
    received_msat = t.sale.received_msat
    arrived_sat = t.sale.onchain.transactions[1].value_sat + more_sat
    t.seen(known=False, conflict="another version", conflict_height=101, arrived_sat=arrived_sat, height=101)
    assert t.sale.onchain.lost_sat == 0 and t.sale.received_msat == received_msat
    assert t.seller.state.meters["m"].state == "standby"


def test_an_address_is_asked_for_again_after_five_seconds():
    t = Till()
    t.seller.handle(cmd.FromPeer(peer=BUYER_ID, message=msg.Open(SESSION, t.now, "m")), t.now)
    asked_at = t.now
    for now, again in ((asked_at + 4_999, 0), (asked_at + 5_000, 1)):
        step = t.seller.handle(cmd.Tick(), now)
        assert sum(isinstance(a, do.GiveAddress) for a in step.effects) == again


def in_debt(**tariff):
    """A session in arrears that ended with a debt beside what it has paid."""
    t = Till(**{**ARREARS, **tariff})
    t.open()
    t.tell(cmd.FromPeer(peer=BUYER_ID, message=msg.Agree(SESSION, t.now)))
    t.read(20)
    t.pay()
    t.read(15)
    t.tell(cmd.FromPeer(peer=BUYER_ID, message=msg.Close(SESSION, t.now, msg.BUYER, "bye", 0, "")))
    t.tell(cmd.Report(meter="m", reading=Reading("b1", t.register, grant=0)))
    assert not t.sale.open and t.sale.debt_msat == 15 * 100_000
    return t


def test_a_debt_can_still_be_paid_by_the_same_transaction_within_the_grace_time():
    t = in_debt()
    assert not t.done(do.Broadcast) and list(t.sale.out.values()) == [15 * 100_000]
    t.pay()
    (broadcast,) = t.done(do.Broadcast)
    assert broadcast.raw == f"raw-1-{STEP + 1_500}" and not t.sale.debt_msat


def test_what_is_held_is_sent_when_the_grace_time_of_a_debt_is_over():
    t = in_debt()
    closed_at = t.sale.since
    for now, broadcast in ((closed_at + 19_999, 0), (closed_at + 20_000, 1)):
        at(t, now)
        assert len(t.done(do.Broadcast)) == broadcast


@pytest.mark.parametrize(("session", "number"), [("77" * 16, 1), (SESSION, 2)])
def test_a_child_of_what_is_not_there_is_none(session, number):
    t = sent()
    before = len(t.events)
    t.tell(cmd.BumpMade(session=session, tx_number=number, tip="child:0", value_sat=STEP - 300, fee_sat=300))
    assert len(t.events) == before


def test_a_child_of_what_is_final_counts_no_more():
    t = sent()
    t.seen(arrived_sat=STEP, confirmations=2)
    before = len(t.events)
    t.tell(cmd.BumpMade(session=SESSION, tx_number=1, tip="child:0", value_sat=STEP - 300, fee_sat=300))
    assert len(t.events) == before


def test_an_update_of_a_transaction_that_was_sent_meanwhile_counts_nothing():
    t = Till()
    t.open()
    t.pay()
    t.read(20)
    (number,) = t.sale.out
    t.seen(sent=False, known=False, conflict="an input was spent")
    checked = cmd.UpdateChecked(
        session=SESSION,
        number=number,
        tx_number=1,
        value_sat=2 * STEP,
        fee_sat=400,
        weight=560,
        txid="f" * 64,
        vout=0,
        raw="raw",
        inputs=[],
    )
    t.tell(checked)
    assert t.sale.paid_msat == STEP * 1000
    t.tell(cmd.UpdateRefused(session=SESSION, number=number, tx_number=1, why="too late"))
    assert not t.sale.ending_at


def test_the_buyer_is_asked_ever_more_seldom():
    t = Till(grace_s=600)
    t.open()
    t.pay()
    t.read(20)
    asked = [t.now]
    for _ in range(64):
        before = len(t.done(do.Send))
        t.now += 990
        t.tell(cmd.Tick())
        asked += [t.now] * sum(isinstance(a.message, msg.Increment) for a in t.done(do.Send)[before:])
    gaps = [round((later - earlier) / 1000) for earlier, later in itertools.pairwise(asked)]
    assert gaps == [4, 8, 16, 32]


def test_a_buyer_that_has_paid_is_no_stranger_any_more():
    t = Till()
    t.open()
    assert not t.seller.context.openings._known(BUYER_ID)
    t.pay()
    assert t.seller.context.openings._known(BUYER_ID)


def test_an_address_for_the_next_transaction_is_asked_for_once_in_five_seconds():
    t = Till(hold_msat=STEP * 1000)
    t.open()
    t.pay()
    t.read(20)
    known = {"sent": True, "known": True, "refused": "", "conflict": "", "conflict_height": 0, "arrived_sat": 0}
    seen = cmd.TxSeen(session=SESSION, tx_number=1, **known, confirmations=0, height=100, feerate=1_000)
    begun = t.now + 10_000
    asked = [
        sum(isinstance(a, do.GiveAddress) for a in t.seller.handle(what, begun + ms).effects)
        for what, ms in ((seen, 0), (cmd.Tick(), 1_000), (cmd.Tick(), 4_999), (cmd.Tick(), 5_000), (cmd.Tick(), 9_999))
    ]
    assert asked == [1, 0, 0, 1, 0]


def test_nothing_is_asked_for_by_a_count_that_may_be_behind():
    """After a restart, until the board is heard: what it counted meanwhile would seem to flow at once."""
    t = Till()
    t.open()
    t.pay()
    t.read(20)
    (number,) = t.sale.out
    t.sale.memory.asking.clear()
    t.seller.state.meters["m"].memory.seen_at = 0
    effects = t.seller.context.step.effects
    before = len(effects)
    t.seller.context.settlement(t.sale).tell(t.sale, number)
    assert len(effects) == before
    t.seller.state.meters["m"].memory.seen_at = t.now
    t.seller.context.settlement(t.sale).tell(t.sale, number)
    assert len(effects) == before + 1
