"""Growing transactions: what a seller may ask a buyer to sign, and what a seller takes for money."""

import json
from dataclasses import replace

import pytest
from growing import FEE, STEP, TARIFF, Till, Wallet
from world import BUYER_ID, OTHER, SELLER_ID, SESSION, refold

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.buyer.buyer import Buyer
from satmeter.core.buyer.state import BuyerState
from satmeter.core.errors import BadParam, UnknownSession
from satmeter.core.journal import canonical
from satmeter.core.seller.state import SellerState
from satmeter.core.settlement.transaction import TxInput
from satmeter.core.tariff import Tariff

STRANGER = "02" + "dd" * 32


def test_what_an_honest_seller_asks_for_is_signed():
    w = Wallet()
    for n in range(1, 6):
        w.ask(n * STEP)
    assert w.signed == [(1, n * STEP, ["c1:0"]) for n in range(1, 6)]
    assert w.purchase.paid_msat == 5 * STEP * 1000 and w.purchase.fees_msat == FEE * 1000


@pytest.mark.parametrize(
    "asked",
    [
        {"value": STEP},  # a lower one, as a fork would need
        {"value": 2 * STEP, "step": STEP - 1},  # the value is not one step more
        {"value": 3 * STEP},
        {"value": 2 * STEP, "address": "elsewhere"},
        {"value": 2 * STEP, "feerate": 1_001},
        {"value": STEP, "k": 3},
        {"value": 4 * STEP, "step": 3 * STEP},  # more than a quantum at once
        {"value": 2 * STEP, "ticks": 0},  # for nothing: the last step was not used
    ],
)
def test_what_was_not_agreed_is_not_signed(asked):
    w = Wallet()
    w.ask(STEP)
    w.ask(**asked)
    assert w.signed == [(1, STEP, ["c1:0"])] and w.purchase.breached and w.purchase.state == "closing"


def test_no_more_than_the_maximum_and_the_budget_is_signed():
    w = Wallet()
    for n in range(1, 12):
        w.ask(n * STEP)
    assert max(value for _, value, _ in w.signed) == 10 * STEP and w.purchase.breached
    w = Wallet({"budget_msat": 3 * STEP * 1000})
    for n in range(1, 12):
        w.ask(n * STEP)
    assert max(value for _, value, _ in w.signed) == 2 * STEP and not w.purchase.breached  # the fee is of the budget


def test_a_feerate_over_the_cap_ends_it_before_anything_is_reserved():
    w = Wallet()
    w.ask(STEP, feerate=5_001)
    assert not w.signed and w.purchase.signed is None and w.purchase.state == "closing"


def test_each_transaction_costs_a_fee_so_they_are_counted():
    w = Wallet()
    for k in range(1, 40):
        w.ask(STEP, k=k)
        if w.purchase.state != "streaming":
            break
    assert k <= 9 and not w.purchase.breached and "transaction" in w.purchase.refusals[-1].why


def test_after_a_crash_the_very_same_version_is_signed_again():
    w = Wallet()
    w.ask(STEP)
    w.ask(2 * STEP, taken=False)
    w.restart()
    assert w.signed[1:] == [(1, 2 * STEP, ["c1:0"])] * (len(w.signed) - 1) and len(w.signed) > 2
    w.ask(2 * STEP, n=3)  # another number for the same value: a fork
    assert {value for _, value, _ in w.signed} == {STEP, 2 * STEP} and w.purchase.in_flight


def test_a_version_that_the_seller_does_not_count_stays_spent():
    w = Wallet({"budget_msat": 10**7})
    w.ask(STEP, taken=False)
    before = w.purchase.in_flight_msat
    w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Taken(SESSION, w.now, 1, 1, 0)))
    assert w.purchase.astray_msat == before == (STEP + FEE) * 1000 and not w.purchase.in_flight
    assert w.buyer.state.spent_on(w.now) == before
    w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Taken(SESSION, w.now, 1, 1, STEP * 1000)))  # it counts after all
    assert (
        w.purchase.paid_msat == STEP * 1000 and not w.purchase.astray_msat and w.buyer.state.spent_on(w.now) == before
    )


def test_a_seller_that_denies_versions_gains_one():
    w = Wallet()
    for k in range(1, 6):
        w.ask(STEP, k=k, taken=False, ticks=0)
        w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Taken(SESSION, w.now, w.n, k, 0)))
    assert len(w.signed) == 2 and w.purchase.state == "closing" and "does not count" in w.purchase.reason


def test_a_session_from_open_to_final():
    t = Till()
    t.open()
    t.pay()
    t.read(20)
    t.pay()
    assert t.sale.onchain.held_msat == 2 * STEP * 1000 and not t.done(do.Broadcast)
    t.read(15)
    t.read(plugged=False)
    (sent,) = t.done(do.Broadcast)
    t.now += 30_000  # its buyer sends no refund invoice
    t.tell(cmd.Tick())
    assert sent.raw == f"raw-1-{2 * STEP}" and t.sale.receipt and not t.sale.done
    assert refold(t.events, SellerState()).sessions[SESSION].onchain.transactions[1].value_sat == 2 * STEP
    t.seen(arrived_sat=2 * STEP, confirmations=2)
    assert t.sale.onchain.firm and t.sale.onchain.lost_sat == 0 and t.sale.owed_msat == 5 * 100_000


def test_one_input_is_under_one_transaction_only():
    t = Till(hold_msat=STEP * 1000)
    t.open()
    t.pay()
    t.seen()
    t.read(20)
    t.pay()  # the same coin again, while the first transaction is on its way
    assert t.sale.payments == 1 and "promised" in t.sale.reason


def test_nothing_new_begins_before_the_node_knows_the_last_one():
    t = Till(hold_msat=STEP * 1000)
    t.open()
    t.pay()
    t.read(20)
    assert t.sale.onchain.count == 1
    t.seen()
    assert t.sale.onchain.count == 2


def test_what_is_not_relayed_ends_the_session():
    t = Till(hold_msat=STEP * 1000)
    t.open()
    t.pay()
    t.seen(known=False, refused="scriptpubkey")
    assert t.sale.ending_at and "not relayed: scriptpubkey" in t.sale.reason


def test_what_is_held_and_not_final_is_capped():
    t = Till(hold_msat=STEP * 1000, unconfirmed_msat=3 * STEP * 1000)
    t.open()
    for k in (1, 2, 3):
        t.pay(f"c{k}:0")
        t.seen(k)
        t.read(20)
    assert t.sale.onchain.unconfirmed_msat == 3 * STEP * 1000 and not t.sale.out
    t.seen(1, arrived_sat=STEP, confirmations=2)
    assert t.sale.out


def test_nothing_is_given_back_before_it_is_final():
    t = Till()
    t.open()
    t.pay()
    t.read(5)
    t.tell(cmd.FromPeer(peer=BUYER_ID, message=msg.Close(SESSION, t.now, msg.BUYER, "bye", STEP * 1000, "refund")))
    t.read(plugged=False)
    assert t.sale.owed_msat and not t.done(do.PayRefund)
    t.open("77" * 16)  # nor carried on
    assert not t.seller.state.sessions.get("77" * 16) or not t.seller.state.sessions["77" * 16].brought_msat
    t.seen(arrived_sat=STEP, confirmations=2)
    (refund,) = t.done(do.PayRefund)
    assert refund.amount_msat == STEP * 1000 - 5 * 100_000


def test_an_older_version_that_confirms_is_a_loss_of_the_rest():
    t = Till()
    t.open()
    t.pay()
    t.read(20)
    t.pay()
    t.tell(
        cmd.TxSeen(
            session=SESSION,
            tx_number=1,
            sent=False,
            known=False,
            refused="",
            conflict="spent",
            conflict_height=0,
            arrived_sat=0,
            confirmations=0,
            height=100,
            feerate=1_000,
        )
    )
    assert t.sale.onchain.transactions[1].state == "sent" and not t.sale.onchain.lost_sat
    t.seen(known=False, refused="spent", conflict="spent by the first version", conflict_height=101, arrived_sat=STEP)
    assert t.sale.onchain.lost_sat == STEP and t.sale.ending_at
    t.seen(known=False, conflict="the same", conflict_height=101, arrived_sat=STEP, height=102)
    assert t.sale.onchain.firm and t.sale.received_msat == STEP * 1000 and t.sale.onchain.lost_sat == STEP


def test_ours_that_wins_after_all_is_no_loss():
    t = Till()
    t.open()
    t.pay()
    t.read(plugged=False)
    t.seen(known=False, refused="conflict", conflict="spent elsewhere")
    assert t.sale.onchain.lost_sat == STEP and t.sale.debt_msat == t.sale.charged_msat
    t.seen()
    assert not t.sale.onchain.lost_sat
    t.seen(arrived_sat=STEP, confirmations=2, height=103)
    assert t.sale.onchain.firm and not t.sale.onchain.lost_sat and not t.sale.debt_msat


def test_a_version_is_checked_once_at_a_time():
    t = Till()
    t.open()
    (n,) = t.sale.out
    for _ in range(50):
        t.tell(cmd.FromPeer(peer=BUYER_ID, message=msg.Update(SESSION, t.now, n, 1, "00", "1")))
    assert len(t.done(do.CheckUpdate)) == 1


def test_a_child_costs_a_quarter_in_all_at_most():
    t = Till()
    t.open()
    t.pay()
    t.read(plugged=False)
    t.seen(height=100, feerate=5_000)
    t.seen(height=106, feerate=5_000)
    (bump,) = t.done(do.Bump)
    assert bump.budget_sat == STEP // 4
    t.tell(cmd.BumpMade(session=SESSION, tx_number=1, tip="child:0", value_sat=STEP - 300, fee_sat=300))
    t.seen(height=112, feerate=9_000)
    assert t.done(do.Bump)[-1].budget_sat == STEP // 4 - 300
    t.tell(cmd.BumpMade(session=SESSION, tx_number=1, tip="child2:0", value_sat=STEP - 500, fee_sat=200))
    t.seen(height=118, feerate=20_000)
    assert len(t.done(do.Bump)) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 2},
        {"quantum_msat": STEP * 1000 + 1},
        {"quantum_msat": 1_000_000, "hold_msat": 10_000_000},
        {"low_water_msat": STEP * 1000 - 1},
        {"hold_msat": STEP * 1000 - 1000},
        {"hold_msat": STEP * 1500 + 1},
        {"unconfirmed_msat": STEP * 1000},
        {"confirmations": 0},
        {"settlement": "cash"},
        {"settlement": "lightning"},
    ],
)
def test_terms_that_make_no_sense(wrong):
    with pytest.raises(BadParam) as e:
        Tariff.from_dict({**TARIFF, **wrong})
    assert e.value.data["param"] in {*wrong, "hold_msat"}


def test_a_snapshot_is_as_good_as_the_journal():
    w = Wallet()
    w.ask(STEP)
    w.ask(2 * STEP, taken=False)
    revived = BuyerState()
    revived.load(json.loads(canonical(w.buyer.state.dump())))
    assert replace(revived.streams[SESSION].signed) == w.purchase.signed
    assert revived.streams[SESSION].in_flight == w.purchase.in_flight


def test_a_message_that_comes_late_is_no_breach():
    """The seller asked for one more update, broadcast instead, and asked for the next transaction: which came first."""
    w = Wallet()
    w.ask(STEP, n=1)
    w.ask(STEP, k=2, n=3, taken=False)
    w.ask(2 * STEP, n=2, taken=False)  # while the update of the next one is not counted yet
    w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Taken(SESSION, w.now, 3, 2, STEP * 1000)))
    w.ask(2 * STEP, n=2)  # and once more
    assert not w.purchase.breached and w.purchase.state == "streaming"
    assert w.signed == [(1, STEP, ["c1:0"]), (2, STEP, ["c2:0"])]
    w.ask(2 * STEP, k=2, n=4)
    assert w.purchase.paid_msat == 3 * STEP * 1000


def test_an_address_that_the_node_has_not_given_is_asked_for_again():
    t = Till()
    asked = []
    t.seller.handle(cmd.FromPeer(peer=BUYER_ID, message=msg.Open(SESSION, t.now, "m")), t.now)
    for _ in range(4):
        t.now += 2_000
        step = t.seller.handle(cmd.Tick(), t.now)
        asked.append(sum(isinstance(a, do.GiveAddress) for a in step.effects))
    assert asked == [0, 0, 1, 0]


def conflicted(t, height):
    t.seen(conflict="other", conflict_height=height)


def test_a_double_spend_that_moves_to_another_block_is_told_once():
    t = Till()
    t.open()
    t.pay()
    t.read(plugged=False)
    t.now += 30_000
    t.tell(cmd.Tick())
    for height in (101, 102):
        conflicted(t, height)
    told = [a for a in t.done(do.Notify) if "spent elsewhere" in str(a.payload)]
    assert len(told) == 1 and sum(e.kind() == "tx_conflicted" for e in t.events) == 2


def test_a_double_spend_does_not_lock_the_plug_of_who_came_after():
    t = Till()
    t.open()
    t.pay()
    t.read(plugged=False)
    t.now += 30_000
    t.tell(cmd.Tick())
    t.read()
    t.open(session=OTHER, buyer=STRANGER)
    t.pay(coin="c9:0", session=OTHER)
    assert t.seller.state.meters["m"].session == OTHER
    conflicted(t, 101)
    assert t.sale.onchain.lost_sat == STEP
    assert t.seller.state.meters["m"].state == "delivering" and t.seller.state.sessions[OTHER].open


def test_coins_for_what_is_wanted_no_more_are_not_taken():
    """The wallet has chosen them meanwhile; the seller's request was for another transaction, or the stream is over."""
    for number, closes in ((2, False), (1, True)):
        w = Wallet()
        m = msg.Increment(SESSION, w.now + 1, 1, STEP * 1000, 1, STEP, "to", 1_000, 0, 0, 0)
        w.buyer.handle(cmd.FromPeer(peer=SELLER_ID, message=m), w.now + 1)
        if closes:
            w.buyer.handle(cmd.CloseStream(session=SESSION), w.now + 2)
        coin = TxInput("c1:0", 10**7, "5120" + "11" * 32, 100)
        step = w.buyer.handle(
            cmd.Funded(session=SESSION, tx_number=number, fee_sat=FEE, change="51", inputs=[coin]), w.now + 3
        )
        assert not [a for a in step.effects if isinstance(a, do.SignUpdate)], (number, closes)


def reserved(w):
    return {outpoint: r.blocks for r in w.did if isinstance(r, do.Reserve) for outpoint in r.inputs}


def test_the_inputs_of_an_earlier_transaction_stay_reserved():
    """It may be stuck: spent for anything else, they would make an honest buyer a double spender."""
    w = Wallet(hold_msat=STEP * 1000)
    w.ask(STEP, 1)
    w.ask(STEP, 2)
    w.did.clear()
    w.now += 1_800_001
    w.tell(cmd.Tick())
    assert reserved(w) == {"c1:0": 72, "c2:0": 72}
    w.restart()
    w.did.clear()
    w.tell(cmd.CloseStream(session=SESSION, reason="done"))
    w.tell(
        cmd.FromPeer(peer=SELLER_ID, message=msg.Error(SESSION, w.now, msg.SELLER, UnknownSession.code, "it is over"))
    )
    assert w.purchase.closed and reserved(w)["c1:0"] == reserved(w)["c2:0"] == 1008


def test_an_older_copy_of_the_buyers_journal_frees_no_inputs():
    """What was signed over them since the copy was made is not in it."""
    w = Wallet()
    w.ask(STEP)
    chosen = [e.kind() for e in w.events].index("inputs_chosen")
    w.buyer, w.did = Buyer(state=refold(w.events[: chosen + 1], BuyerState()), older=True), []
    w.done(w.buyer.resume(w.now))
    w.tell(
        cmd.FromPeer(peer=SELLER_ID, message=msg.Error(SESSION, w.now, msg.SELLER, UnknownSession.code, "it is over"))
    )
    assert w.purchase.closed and reserved(w) == {"c1:0": 1008}


def test_what_is_over_the_budget_of_a_transactions_beginning_is_no_breach():
    w = Wallet(policy={"budget_msat": 3 * STEP * 1000 + 400_000, "max_fee_msat": 0})
    w.ask(STEP)
    w.ask(2 * STEP)
    w.tell(cmd.SetBudget(session=SESSION, policy={"budget_msat": 10**9}))
    w.ask(3 * STEP)
    w.ask(4 * STEP)
    assert [value for _, value, _ in w.signed][-1] == 3 * STEP
    assert not w.purchase.breached and "when it began" in w.purchase.reason
