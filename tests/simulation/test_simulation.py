"""Thousands of seeds: `pytest tests/simulation --seeds 20000` for more of them, `--seed 7` for one with its trace."""

import os
import traceback
from concurrent.futures import ProcessPoolExecutor

import pytest
from plan import make
from shrink import shortest
from sim import Simulation

from satmeter.core import actions, books, events, sale, view
from satmeter.core.buyer import Buyer
from satmeter.core.seller import Seller

CHUNK = 25
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
    assert first == again and len(first) > 20


def _credited_twice(patch):
    def paid(ledger, e):
        ledger.invoice_paid(e)
        ledger.sale(e.stream).out[e.n] = e.amount  # so that it can be credited again

    patch.setitem(books._FOLD, events.InvoicePaid, paid)


def _version_counted_twice(patch):
    def taken(ledger, e):
        ledger.version_taken(e)
        ledger.sale(e.stream).paid += e.amount

    patch.setitem(books._FOLD, events.VersionTaken, taken)


def _never_broadcast(patch):
    patch.setattr(Seller, "_broadcast", lambda self, s, g, why: self._emit(events.TxSent(self.now, s.id, g.k, why)))
    patch.setattr(Seller, "_look", lambda self, s, g: None)


def _forked(patch):
    """The buyer signs a lower version, too, after the one that it recorded."""
    was = Buyer._sign_again

    def again(buyer, p):
        was(buyer, p)
        buyer._do(actions.SignVersion(p.id, p.signed.n, p.signed, p.signed.value - 1))

    patch.setattr(Buyer, "_sign_again", again)


def _granted_too_much(patch):
    was = view.grant_register
    patch.setattr(view, "grant_register", lambda m, s: was(m, s) + 40 if s is not None and was(m, s) else was(m, s))


def _asked_too_much(patch):
    patch.setattr(sale.Sale, "_due_prepaid", lambda s: s.tariff.slice_msat if s.phase == "open" else 0)


def _paid_too_much(patch):
    patch.setattr(Buyer, "_check_due", lambda *args: None)
    _asked_too_much(patch)


def _refund_forgotten(patch):
    patch.setattr(sale.Sale, "owed", property(lambda s: 0))


def _charged_too_much(patch):
    was = sale.Sale.charged.fget
    patch.setattr(sale.Sale, "charged", property(lambda s: min(was(s) + 500, s.received) if s.ticks else was(s)))


@pytest.mark.parametrize(
    "mistake",
    [
        _credited_twice,
        _version_counted_twice,
        _never_broadcast,
        _forked,
        _granted_too_much,
        _asked_too_much,
        _paid_too_much,
        _refund_forgotten,
        _charged_too_much,
    ],
)
def test_the_judge_sees_a_mistake(mistake, monkeypatch):
    mistake(monkeypatch)
    assert failures(range(25))


def test_a_failing_plan_becomes_short(monkeypatch):
    _refund_forgotten(monkeypatch)
    seed, wrong = failures(range(25))[0]
    plan = shortest(make(seed), lambda p: kind(failure(p)) == kind(wrong))
    assert len(plan.happenings) <= min(5, len(make(seed).happenings)) and failure(plan)
