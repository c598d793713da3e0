"""Growing transactions: what is held, sent, final, and counted.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import pytest
from growing import STEP, Till, Wallet
from world import BUYER_ID, SELLER_ID, SESSION, TARIFF, refold

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core import receipt
from satmeter.core.buyer import policy
from satmeter.core.buyer.policy import Policy
from satmeter.core.errors import OverCap
from satmeter.core.reading import Reading
from satmeter.core.seller import views
from satmeter.core.seller.seller import Seller
from satmeter.core.seller.state import SellerState
from satmeter.core.settlement.onchain_buyer import LEFT_BLOCKS
from satmeter.core.settlement.rules import rules_of
from satmeter.core.settlement.transaction import DUST_SAT, TxInput
from satmeter.core.tariff import Tariff
from statement import statement


def test_a_conflicting_spend_in_no_block_is_final_after_144():
    t = Till()
    t.open()
    t.pay()
    t.read(plugged=False)
    t.seen(known=False, conflict="spent elsewhere", height=100)
    t.seen(known=False, conflict="spent elsewhere", height=243)
    assert not t.sale.onchain.firm
    t.seen(known=False, conflict="spent elsewhere", height=244)
    assert t.sale.onchain.firm and t.sale.onchain.lost_sat == STEP
    assert receipt.read(receipt.text(t.sale, SELLER_ID, 1))["onchain"]["lost_msat"] == 2_000_000


def test_what_grows_is_counted_once_in_what_is_not_final():
    t = Till(unconfirmed_msat=10 * STEP * 1000)
    t.open()
    for _ in range(6):
        t.pay()
        t.read(20)
    assert t.sale.onchain.unconfirmed_msat == 0 and t.sale.onchain.held_msat == 6 * STEP * 1000 and t.sale.out


def test_nothing_is_signed_for_a_stream_that_is_paid_by_lightning():
    w = Wallet(settlement="lightning", hold_msat=0)
    w.ask(STEP)
    assert w.purchase.state == "streaming" and w.purchase.memory.increment is None and not w.signed


def test_what_one_transaction_would_have_cost_is_the_fee_of_the_first():
    t = Till(hold_msat=STEP * 1000)
    t.open()
    t.pay()
    t.seen()
    t.read(20)
    (n,) = t.sale.out
    t.tell(
        cmd.UpdateChecked(
            session=SESSION,
            number=n,
            tx_number=2,
            value_sat=STEP,
            fee_sat=900,
            weight=560,
            txid="f" * 64,
            vout=0,
            raw="raw",
            inputs=[TxInput("c2:0", 10**6, "51")],
        )
    )
    stated = receipt.read(receipt.text(t.sale, SELLER_ID, 1))
    assert (t.sale.onchain.fees_sat, stated["onchain"]["single_fee_msat"]) == (1_300, 400_000)


def test_what_was_spent_twice_is_told_with_its_sum():
    t = Till()
    t.open()
    t.pay()
    t.read(plugged=False)
    t.seen(known=False, conflict="spent elsewhere")
    told = [a.payload["lost_sat"] for a in t.done(do.Notify) if "lost_sat" in a.payload]
    assert told == [STEP]


def test_a_version_is_sent_as_the_wallet_signed_it():
    w = Wallet()
    w.ask(STEP)
    w.ask(2 * STEP, taken=False)
    w.ask(2 * STEP, n=2, taken=False)  # the seller has not heard of it
    sent = [a.message.raw for a in w.did if isinstance(a, do.Send) and isinstance(a.message, msg.Update)]
    assert sent == ["v1-2000", "v1-4000", "v1-4000"]


@pytest.mark.parametrize(("feerate", "sent"), [(2_000, 0), (2_001, 1)])
def test_a_transaction_is_sent_when_fees_are_more_than_twice_what_was_agreed(feerate, sent):
    t = Till()
    t.open()
    t.pay()
    t.seen(sent=False, known=False, feerate=feerate)
    assert len(t.done(do.Broadcast)) == sent


def test_a_transaction_is_held_for_an_hour():
    t = Till()
    t.open()
    t.pay()
    first_at = t.sale.onchain.growing.first_at
    for now, sent in ((first_at + 3_599_999, 0), (first_at + 3_600_000, 1)):
        t.now = now - 10
        t.tell(cmd.Tick())
        assert len(t.done(do.Broadcast)) == sent


def test_a_first_version_that_comes_second_is_not_taken():
    t = Till()
    t.open()
    t.open("77" * 16, "02" + "cc" * 32)
    t.pay()
    t.pay("c2:0", "77" * 16)
    told = t.done(do.Send)[-1].message
    assert (told.session, told.amount_msat) == ("77" * 16, 0) and "77" * 16 not in t.seller.state.sessions


def test_with_the_time_a_further_transaction_is_due():
    p = Policy.from_dict({"max_price_msat": 1000, "budget_msat": 10**9, "unit": "unit", "max_feerate": 5_000})
    t = Tariff.from_dict({**TARIFF, "settlement": "onchain", "quantum_msat": 2_000_000, "hold_s": 3_600})
    m = msg.Increment(SESSION, 1, 1, 2_000_000, 4, 2_000, "to", 1_000, 0, 0, 0)
    policy.check_new_transaction(p, t, m, 4, 0, 3_600_000)
    with pytest.raises(OverCap):
        policy.check_new_transaction(p, t, m, 4, 0, 3_599_999)


@pytest.mark.parametrize(("transactions", "good"), [(7, True), (8, False)])
def test_with_each_half_step_a_further_transaction_is_due(transactions, good):
    """A step each: four halves of 4,000 are paid, and the first one and three early ones are beside them."""
    p = Policy.from_dict({"max_price_msat": 1000, "budget_msat": 10**9, "unit": "unit", "max_feerate": 5_000})
    step = {"quantum_msat": 4_000_000, "low_water_msat": 0, "hold_msat": 4_000_000}
    t = Tariff.from_dict({**TARIFF, "settlement": "onchain", **step})
    m = msg.Increment(SESSION, 1, 1, 4_000_000, transactions + 1, 2_000, "to", 1_000, 0, 0, 0)
    if good:
        policy.check_new_transaction(p, t, m, transactions, 8_000_000, 0)
    else:
        with pytest.raises(OverCap, match="at most 8 are due"):
            policy.check_new_transaction(p, t, m, transactions, 8_000_000, 0)


@pytest.mark.parametrize(("carried", "lost"), [(0, 0), (3_000_000, 0), (0, 500_000), (3_000_000, 500_000)])
def test_a_receipt_counts_the_update_that_nobody_heard_of(carried, lost):
    """Whatever was carried in, and whatever of it was lost to a double spend later: that was taken, too."""
    w = Wallet(carried=carried)
    w.now += 60_000
    w.ask(STEP, ticks=carried // 100_000)
    w.ask(2 * STEP, taken=False, ticks=carried // 100_000 + 20)
    told = {"transactions": 1, "txids": [], "fee_msat": 0, "basic_fee_msat": 0, "single_fee_msat": 0, "lost_msat": lost}
    paid = carried + 2 * STEP * 1000 - lost
    text = statement(session=SESSION, seller=SELLER_ID, carried_in_msat=carried, paid_msat=paid, onchain=told)
    w.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Receipt(SESSION, w.now, text, "sig")))
    assert any(isinstance(a, do.CheckReceipt) for a in w.did)
    w.tell(cmd.ReceiptChecked(session=SESSION, text=text, signature="sig", verified=True, arrivals={}))
    assert (w.purchase.paid_msat, w.purchase.in_flight, w.purchase.astray) == (2 * STEP * 1000, {}, {})
    assert do.Reserve(inputs=("c1:0",), blocks=LEFT_BLOCKS) in w.did


def test_what_is_not_relayed_after_the_end_is_sent_again_and_ends_nothing_twice():
    t = Till()
    t.open()
    t.pay()
    t.read(plugged=False)
    before = [e.kind() for e in t.events].count("session_closing")
    t.seen(known=False)
    assert before == 1 == [e.kind() for e in t.events].count("session_closing")
    assert len(t.done(do.Broadcast)) == 2 and t.sale.reason == "unplugged"


def test_what_is_not_confirmed_is_bounded_over_all_sessions_of_a_meter():
    """Else one stranger takes the bound again with each session that it opens before the next block."""
    bound = 2 * STEP * 1000
    t = Till(hold_msat=STEP * 1000, unconfirmed_msat=bound)
    sessions = [f"{n:02x}" * 16 for n in range(1, 4)]
    for n, session in enumerate(sessions[:2]):
        t.open(session)
        t.pay(f"c{n}:0", session)
        t.tell(cmd.FromPeer(peer=BUYER_ID, message=msg.Close(session, t.now, msg.BUYER, "bye", 0, "")))
        t.tell(cmd.Report(meter="m", reading=Reading("b1", t.register, grant=0)))
    assert t.seller.state.at_risk_msat() == {"m": bound}
    t.open(sessions[2], "02" + "cc" * 32)
    assert sessions[2] not in t.seller.waiting and sessions[2] not in t.seller.state.sessions
    (told,) = [each.message for each in t.done(do.Send) if isinstance(each.message, msg.Close)][-1:]
    assert "try again after the next block" in told.reason
    assert views.meter_status(t.seller.state.meters["m"], None, t.now, 10**9, 0, {}, bound).exposure_msat >= bound
    for session in sessions[:2]:
        at_depth = {"sent": True, "known": True, "refused": "", "conflict": "", "conflict_height": 0}
        at_depth |= {"arrived_sat": STEP, "confirmations": 2, "height": 102, "feerate": 1_000}
        t.tell(cmd.TxSeen(session=session, tx_number=1, **at_depth))
    assert t.seller.state.at_risk_msat().get("m", 0) == 0
    t.open(sessions[2], "02" + "cc" * 32)
    t.pay("c9:0", sessions[2])
    assert t.seller.state.sessions[sessions[2]].paid_msat == STEP * 1000


def test_a_debt_is_asked_for_whatever_others_have_unconfirmed():
    """It was delivered: to ask for it adds nothing to what is at risk, and not to ask would lock an honest buyer."""
    t = Till(mode="arrears", limit_msat=2 * STEP * 1000, hold_msat=STEP * 1000, unconfirmed_msat=STEP * 1000)
    t.open()
    t.tell(cmd.FromPeer(peer=BUYER_ID, message=msg.Agree(SESSION, t.now)))
    t.seller.state.at_risk_msat = lambda: {"m": STEP * 1000}  # other sessions'
    t.read(STEP * 1000 // 100_000)
    assert t.sale.open and not t.sale.out
    t.tell(cmd.FromPeer(peer=BUYER_ID, message=msg.Close(SESSION, t.now, msg.BUYER, "bye", 0, "")))
    t.tell(cmd.Report(meter="m", reading=Reading("b1", t.register, grant=0)))
    t.tell(cmd.Tick())
    assert not t.sale.open and t.sale.debt_msat == STEP * 1000 and list(t.sale.out.values()) == [STEP * 1000]


def test_debts_that_are_too_small_to_be_paid_lock_once_they_come_to_the_limit():
    """On-chain no transaction carries them: session after session, they would be more than was to be trusted."""
    limit = 2_000_000
    t = Till(mode="arrears", limit_msat=limit, price_msat=1_000, lockout_s=86_400)
    taken = 0
    for n in range(1, 9):
        session = f"{n:02x}" * 16
        t.open(session)
        t.tell(cmd.FromPeer(peer=BUYER_ID, message=msg.Agree(session, t.now)))
        if session not in t.seller.state.sessions:
            break
        t.read(545)
        t.tell(cmd.FromPeer(peer=BUYER_ID, message=msg.Close(session, t.now, msg.BUYER, "bye", 0, "")))
        t.tell(cmd.Report(meter="m", reading=Reading("b1", t.register, grant=0)))
        taken += t.seller.state.sessions[session].debt_msat
    assert (n, taken, t.seller.state.meters["m"].state) == (4, 3 * 545_000, "lockout")


def test_one_debt_that_is_too_small_to_be_paid_locks_nobody():
    t = Till(mode="arrears", limit_msat=2_000_000, price_msat=1_000)
    t.open()
    t.tell(cmd.FromPeer(peer=BUYER_ID, message=msg.Agree(SESSION, t.now)))
    t.read(545)
    t.tell(cmd.FromPeer(peer=BUYER_ID, message=msg.Close(SESSION, t.now, msg.BUYER, "bye", 0, "")))
    t.tell(cmd.Report(meter="m", reading=Reading("b1", t.register, grant=0)))
    assert t.seller.state.meters["m"].state == "standby"


def test_opens_whose_first_update_is_refused_grow_ever_slower():
    """Each makes an address and has an update looked at: they are their buyer's doing, as unpaid ones are."""
    t = Till()
    let_in = 0
    for n in range(1, 30):
        session = f"{n:02x}" * 16
        t.open(session)
        if session in t.seller.waiting:
            let_in += 1
            (number,) = t.seller.waiting[session].out
            t.tell(cmd.UpdateRefused(session=session, number=number, tx_number=1, why="not as agreed"))
        t.now += 100
    assert let_in < 10


def leaves(t, session, buyer=BUYER_ID):
    t.tell(cmd.FromPeer(peer=buyer, message=msg.Close(session, t.now, msg.BUYER, "bye", 0, "")))
    t.tell(cmd.Report(meter="m", reading=Reading("b1", t.register, grant=0)))
    t.tell(cmd.Tick())


def test_in_arrears_a_stranger_takes_the_bound_and_one_limit_at_most():
    """A debt that is paid by an update lifts the lockout; what was paid is not confirmed for all that."""
    limit = 2 * STEP * 1000
    t = Till(mode="arrears", limit_msat=limit, quantum_msat=limit, hold_msat=limit, unconfirmed_msat=limit)
    for n in range(1, 11):
        session = f"{n:02x}" * 16
        t.open(session)
        t.tell(cmd.FromPeer(peer=BUYER_ID, message=msg.Agree(session, t.now)))
        if session not in t.seller.state.sessions:
            break
        for ticks in (10, 10, 10, 9):
            t.read(ticks)
        leaves(t, session)
        coins = iter(range(5))
        while t.seller.state.sessions[session].out:
            t.pay(f"c{n}-{next(coins)}:0", session)
            t.tell(cmd.Tick())
    assert t.seller.state.at_risk_msat()["m"] <= 2 * limit and n == 2
    (told,) = [each.message for each in t.done(do.Send) if isinstance(each.message, msg.Close)][-1:]
    assert "try again after the next block" in told.reason


def test_openings_that_wait_beside_one_another_do_not_pass_the_bound_one_by_one():
    bound = STEP * 1000
    t = Till(hold_msat=bound, unconfirmed_msat=bound, grace_s=600)
    sessions = {f"{n:02x}" * 16: "02" + f"{n:02x}" * 32 for n in range(1, 21)}
    for session, buyer in sessions.items():
        t.open(session, buyer)
    assert len(t.seller.waiting) == 20
    for n, (session, buyer) in enumerate(sessions.items()):
        t.pay(f"c{n}:0", session)
        if session in t.seller.state.sessions:
            t.read(20)
            leaves(t, session, buyer)
    assert t.seller.state.at_risk_msat() == {"m": bound}


def test_debts_that_are_too_small_to_be_paid_add_up_over_restarts():
    t = Till(mode="arrears", limit_msat=2 * STEP * 1000, lockout_s=3600)
    taken = 0
    for n in range(1, 30):
        session = f"{n:02x}" * 16
        t.seller = Seller(SELLER_ID, t.seller.limits, refold(t.events, SellerState()))
        t.seller.resume(t.now)
        t.read()
        t.open(session)
        t.tell(cmd.FromPeer(peer=BUYER_ID, message=msg.Agree(session, t.now)))
        if session not in t.seller.state.sessions:
            break
        t.read(5)  # 500,000 msat: under the dust limit of 546 sat
        taken += 500_000
        leaves(t, session)
    assert t.seller.state.meters["m"].state == "lockout" and taken <= 2 * STEP * 1000


def test_a_spend_elsewhere_that_is_found_in_no_block_any_more_is_final_after_144():
    t = Till()
    t.open()
    t.pay()
    t.read(plugged=False)
    t.now += 30_000
    t.tell(cmd.Tick())
    t.seen(known=False, conflict="other", conflict_height=101, height=101)
    for height in range(102, 250):
        t.seen(known=False, conflict="other; in no block yet", height=height)
    assert t.sale.onchain.firm and t.sale.onchain.lost_sat == STEP


def test_what_is_dust_is_asked_for_only_beside_what_is_held():
    t = Tariff.from_dict({**TARIFF, "settlement": "onchain", "quantum_msat": 2_000_000})
    ask = rules_of(t).fitting_msat
    least = DUST_SAT * 1_000
    assert (ask(t, least - 1_000, 0, 0), ask(t, least, 0, 0), ask(t, 1_000, least, 0)) == (0, least, 1_000)


def test_after_a_loss_nothing_is_left_to_use_and_no_less_than_nothing():
    """Of 2,000 sat that were spent elsewhere 10 ticks (1,000 sat) had been used."""
    t = Till()
    t.open()
    t.pay()
    t.read(10)
    t.read(plugged=False)
    t.seen(known=False, conflict="spent elsewhere")
    assert (t.sale.credit_msat, t.sale.left_msat) == (-1_000_000, 0)
