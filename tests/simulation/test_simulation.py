"""Thousands of seeds: `pytest tests/simulation --seeds 20000` for more of them, `--seed 7` for one with its trace."""

import os
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import process
import pytest
import scenes
from plan import make
from shrink import shortest
from sim import Simulation

from satmeter.core import effects as do
from satmeter.core.buyer import events as buying
from satmeter.core.buyer import payments, receipts
from satmeter.core.buyer import state as buyer_state
from satmeter.core.buyer.state import BuyerState
from satmeter.core.seller import attention, fold_refunds, metering, peers, refunds, views
from satmeter.core.seller import events as selling
from satmeter.core.seller import payments as seller_payments
from satmeter.core.seller import state as seller_state
from satmeter.core.seller.meter import Meter
from satmeter.core.seller.session import SellerSession
from satmeter.core.seller.state import SellerState
from satmeter.core.seller.wallet_invoices import WalletInvoices
from satmeter.core.settlement.onchain_broadcasts import OnchainBroadcasts
from satmeter.core.settlement.onchain_buyer import OnchainBuyer

CHUNK = 25
MISTAKES = 100
"""Seeds within which the judge has to see a mistake."""
LINES = 120


def failure(plan, trace=None):
    """Run a plan; return what was wrong, "" if nothing."""
    try:
        Simulation(plan, trace).run()
    except Exception as e:
        where = traceback.extract_tb(e.__traceback__)[-1]
        return f"{type(e).__name__} in {where.name}: {e}"
    return ""


def kind(wrong):
    return "".join(c for c in wrong if not c.isdigit())[:60]


def failures(seeds):
    return [(seed, wrong) for seed in seeds if (wrong := failure(make(seed)))]


def story(seed):
    """Return the shortest story of a seed that fails."""
    wrong = failure(make(seed))
    plan = shortest(make(seed), lambda p: kind(failure(p)) == kind(wrong))
    trace = []
    wrong = failure(plan, trace)
    lines = [
        f"seed {seed}: {wrong}",
        f"tariff {plan.tariff}",
        f"policy {plan.policy}",
        f"hostile: {plan.hostile or 'no'}",
    ]
    lines += map(str, plan.happenings)
    lines += [f"... {max(0, len(trace) - LINES)} lines before ...", *trace[-LINES:]]
    return "\n".join([*lines, f"again: pytest tests/simulation --seed {seed}"])


@pytest.mark.timeout(1800)
def test_whatever_happens_nothing_is_lost_and_nothing_is_charged_twice(request):
    one = request.config.getoption("--seed")
    if one is not None:
        wrong = failure(make(one))
        assert not wrong, story(one)
        return
    seeds = range(request.config.getoption("--seeds"))
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = [f for some in pool.map(failures, chunks) for f in some]
    if found:
        every = "\n".join(f"seed {seed}: {wrong}" for seed, wrong in found[:20])
        pytest.fail(f"{len(found)} of {len(seeds)} seeds fail:\n{every}\n\n{story(found[0][0])}", pytrace=False)


def test_a_seed_always_runs_the_same():
    first, again = [], []
    assert failure(make(5), first) == failure(make(5), again)
    assert first == again and len(first) > 10


def _credited_twice(patch):
    def paid(state, e):
        state.invoice_paid(e)
        state.session(e.subject).out[e.number] = e.amount_msat  # so that it can be credited again

    patch.setitem(seller_state._FOLD, selling.InvoicePaid, paid)


def _update_counted_twice(patch):
    def taken(state, e):
        state.update_taken(e)
        state.session(e.subject).paid_msat += e.amount_msat

    patch.setitem(seller_state._FOLD, selling.UpdateTaken, taken)


def _never_broadcast(patch):
    def broadcast(part, s, transaction, why):
        part.emit(selling.TxSent(at=part.now, subject=s.id, tx_number=transaction.number, why=why))

    patch.setattr(OnchainBroadcasts, "_broadcast", broadcast)
    patch.setattr(OnchainBroadcasts, "_look", lambda part, s, transaction: None)


def _forked(patch):
    """The buyer signs a lower update, too, after the one that it recorded."""
    was = OnchainBuyer._sign_again

    def again(part, p):
        was(part, p)
        part.act(
            do.SignUpdate(session=p.id, number=p.signed.request, transaction=p.signed, value_sat=p.signed.value_sat - 1)
        )

    patch.setattr(OnchainBuyer, "_sign_again", again)


def _granted_too_much(patch):
    was = views.grant_register
    patch.setattr(views, "grant_register", lambda m, s: was(m, s) + 40 if s is not None and was(m, s) else was(m, s))


def _asked_too_much(patch):
    patch.setattr(SellerSession, "_due_prepaid", lambda s: s.tariff.slice_msat if s.open else 0)


def _paid_too_much(patch):
    patch.setattr(payments.Payments, "check_due", lambda *args: None)
    _asked_too_much(patch)


def _refund_forgotten(patch):
    patch.setattr(SellerSession, "owed_msat", property(lambda s: 0))


def _charged_too_much(patch):
    was = SellerSession.charged_msat.fget
    more = property(lambda s: min(was(s) + 500, s.received_msat) if s.ticks else was(s))
    patch.setattr(SellerSession, "charged_msat", more)


def _numbers_drawn_again(patch):
    def number(s):
        s.memory.newest_number = max(s.next_number - 1, s.memory.newest_number) + 1
        return s.memory.newest_number

    patch.setattr(SellerSession, "draw_number", number)
    patch.setattr(SellerState, "known_payment", lambda state, index: False)


def _told_in_another_order(patch):
    patch.setattr(SellerState, "known_payment", lambda state, index: index <= max((state.pay_index, *state.early)))


def _complete_with_its_first_part(patch):
    def landed(process, payment_hash, ended):
        p = process.sim.money.payments.get((process.node, payment_hash))
        done = p is not None and any(part.status == "complete" for part in p.parts)
        ended("complete" if done else process.sim.money.status(process.node, payment_hash))

    patch.setattr(process.Process, "landed", landed)


def _pays_whatever_is_claimed_after_the_close(patch):
    for check in ("_check_debt", "_check_after_close"):
        patch.setattr(payments.Payments, check, lambda *args: None)


def _refunds_cost_the_seller(patch):
    patch.setattr(refunds, "FEE_SHARE", 1)
    was = fold_refunds.refund_started

    def started(state, e):
        was(state, e)
        state.session(e.subject).refund.borne_msat = e.maxfee_msat

    patch.setitem(seller_state._FOLD, selling.RefundStarted, started)


def _one_hash_under_many_numbers(patch):
    was_started = BuyerState.payment_started

    def started(state, p, e):
        was_started(state, p, e)
        state.hashes.clear()

    patch.setitem(buyer_state._FOLD, buying.PaymentStarted, started)
    was = process.BuyerProcess._pay
    patch.setattr(process.BuyerProcess, "_pay", lambda p, a: was(p, replace(a, fresh=False)))


def _believes_signed_receipts(patch):
    patch.setattr(receipts.Receipts, "_wrong_with_the_rest", lambda *args: "")


def _allowance_again_with_each_session(patch):
    was = SellerState.session_closing

    def closing(state, e):
        s = state.session(e.subject)
        m = state.meters.get(s.meter)
        held, before = m is not None and m.session == s.id, m.period_count if m is not None else 0
        was(state, e)
        if held:
            m.period_count = before + s.ticks

    patch.setitem(seller_state._FOLD, selling.SessionClosing, closing)
    patch.setattr(metering.Metering, "_count_session", lambda part, m, s, said_at: setattr(s, "count", m.count))


def _a_child_costs_whatever_it_needs(patch):
    was = process.SellerProcess._bump
    patch.setattr(process.SellerProcess, "_bump", lambda p, a: was(p, replace(a, budget_sat=10**9)))


def _final_in_its_first_block(patch):
    was = OnchainBroadcasts._seen_sent
    deep = 10**6
    patch.setattr(
        OnchainBroadcasts,
        "_seen_sent",
        lambda part, s, g, seen: was(part, s, g, replace(seen, confirmations=seen.confirmations and deep)),
    )


def _an_earlier_boot_begins_again(patch):
    patch.setattr(Meter, "check_reporter", lambda m, *said: None)


def _an_older_copy_pays_its_refunds(patch):
    patch.setattr(attention.Attention, "go_on_from_older", lambda part: None)


def _an_older_copy_credits_again(patch):
    patch.setattr(seller_payments.Payments, "_kept", lambda part, label: True)


def _a_rest_that_is_asked_for_goes_along_with_the_next_one(patch):
    patch.setattr(WalletInvoices, "_free", lambda part, left: True)


def _an_offer_is_nobodys(patch):
    patch.setattr(seller_payments, "offer_of", lambda label: "")


def _payments_are_followed_before_offers_are_told(patch):
    was = process.SellerProcess._tell_offers
    patch.setattr(process.SellerProcess, "_tell_offers", lambda p: p.sim.after(1_000, was, p))


def _a_buyer_may_have_any_id(patch):
    patch.setattr(peers, "OWN_SESSION", "none")


def _a_lost_commit_is_acted_on(patch):
    def failed(process):
        process.core.step.events.clear()
        process.broken = False

    patch.setattr(process.Process, "_failed", failed)


def staged(scene, seeds):
    return (plan for plan in map(scene, map(make, seeds)) if plan is not None)


@pytest.mark.parametrize("scene", scenes.EVERY)
def test_in_every_scene_all_is_well(scene):
    assert not [(plan.seed, wrong) for plan in staged(scene, range(10)) if (wrong := failure(plan))]


@pytest.mark.parametrize(
    ("mistake", "scene"),
    [
        (_numbers_drawn_again, scenes.CRASHES),
        (_told_in_another_order, scenes.PAID_WHILE_AWAY),
        (_complete_with_its_first_part, scenes.REFUND_IN_PARTS),
        (_pays_whatever_is_claimed_after_the_close, scenes.CLAIMS),
        (_refunds_cost_the_seller, scenes.DEAR_REFUNDS),
        (_one_hash_under_many_numbers, scenes.THE_SAME_INVOICE_AGAIN),
        (_believes_signed_receipts, scenes.FORGED_RECEIPT),
        (_allowance_again_with_each_session, scenes.LINE_CUT_AS_SESSIONS_BEGIN),
        (_a_rest_that_is_asked_for_goes_along_with_the_next_one, scenes.BACK),
        (_an_offer_is_nobodys, scenes.BACK),
        (_payments_are_followed_before_offers_are_told, scenes.OFFER_LOST),
        (_a_buyer_may_have_any_id, scenes.GUESSED),
        (_a_lost_commit_is_acted_on, scenes.JOURNALS_BREAK),
        (_a_child_costs_whatever_it_needs, scenes.STUCK),
        (_final_in_its_first_block, scenes.BURIED),
        (_an_earlier_boot_begins_again, scenes.OLD_READINGS),
        (_an_older_copy_pays_its_refunds, scenes.SPENT_SINCE),
        (_an_older_copy_credits_again, scenes.SOLD_SINCE),
        (_credited_twice, scenes.whatever),
        (_update_counted_twice, scenes.whatever),
        (_never_broadcast, scenes.whatever),
        (_forked, scenes.whatever),
        (_granted_too_much, scenes.whatever),
        (_asked_too_much, scenes.whatever),
        (_paid_too_much, scenes.whatever),
        (_refund_forgotten, scenes.whatever),
        (_charged_too_much, scenes.whatever),
    ],
)
def test_the_judge_sees_a_mistake(mistake, scene, monkeypatch):
    mistake(monkeypatch)
    assert any(map(failure, staged(scene, range(MISTAKES))))


def test_a_failing_plan_becomes_short(monkeypatch):
    _refund_forgotten(monkeypatch)
    seed, wrong = failures(range(25))[0]
    plan = shortest(make(seed), lambda p: kind(failure(p)) == kind(wrong))
    assert len(plan.happenings) <= min(5, len(make(seed).happenings)) and failure(plan)
