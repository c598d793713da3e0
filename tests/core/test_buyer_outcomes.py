"""What became of the buyer's payments.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

import pytest
from liar import Liar
from world import SESSION, World

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core.buyer.buyer import Buyer
from satmeter.core.buyer.state import BuyerState


def test_what_has_settled_is_on_its_way_no_more():
    w = World({"window": 4})
    w.open()
    w.report(60)
    assert w.sale.payments == 6 and not any(each.arriving for each in w.sale.memory.asking.values())


def test_a_receipt_does_not_end_what_is_known_of_a_payment_in_flight():
    w = Liar(hold=True)
    w.ask(0)
    w.receipt()
    assert w.p.closed and w.p.in_flight and not w.p.done
    w.tell(cmd.PaymentLost(session=SESSION, number=1, attempt=1, why="failed"))
    assert w.p.done


def test_the_newest_number_is_that_of_the_last_payment():
    w = Liar()
    w.ask(0)
    w.ask(100)
    assert w.p.payments == 2 and w.p.newest_number == 2


def pays(w):
    return [each for each in w.told if isinstance(each, do.Pay)]


@pytest.mark.parametrize("answer", [cmd.PaymentLost, cmd.PaymentKnown])
def test_an_answer_that_comes_again_does_not_end_the_next_try(answer):
    """Two threads may ask what became of one payment: the journal failed for a moment, and the core was folded anew."""
    w = Liar(hold=True)
    w.ask(0)
    (first,) = pays(w)
    lost = cmd.PaymentLost(session=SESSION, number=1, attempt=first.attempt, why="failed")
    w.tell(lost)
    w.n = 0
    w.ask(0)
    _, second = pays(w)
    assert second.number == first.number and second.attempt != first.attempt
    late = {"why": "failed"} if answer is cmd.PaymentLost else {}
    w.tell(answer(session=SESSION, number=1, attempt=first.attempt, **late))
    assert w.p.in_flight_msat >= 10_000 and not w.p.breached
    w.tell(cmd.PaymentDone(session=SESSION, number=1, payment_hash=second.payment_hash, sent_msat=10_000))
    assert (w.p.paid_msat, w.p.in_flight_msat) == (10_000, 0)


def test_what_was_paid_by_another_hash_does_not_settle_what_is_in_flight():
    w = Liar(hold=True)
    w.ask(0)
    w.tell(cmd.PaymentDone(session=SESSION, number=1, payment_hash="of another", sent_msat=10_000))
    assert (w.p.paid_msat, w.p.payments) == (0, 0) and w.p.in_flight


def test_a_try_is_the_same_one_after_a_restart():
    w = Liar(hold=True)
    w.ask(0)
    (first,) = pays(w)
    state = BuyerState()
    state.load(w.buyer.state.dump())
    buyer = Buyer(state=state)
    again = [each for each in buyer.resume(w.now).effects if isinstance(each, do.Pay)]
    assert [(each.number, each.attempt, each.invoice) for each in again] == [(1, first.attempt, None)]
