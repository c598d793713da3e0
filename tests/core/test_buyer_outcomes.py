"""What became of the buyer's payments.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

from liar import Liar
from world import SESSION, World

from satmeter.core import commands as cmd


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
    w.tell(cmd.PaymentLost(session=SESSION, number=1, why="failed"))
    assert w.p.done


def test_the_newest_number_is_that_of_the_last_payment():
    w = Liar()
    w.ask(0)
    w.ask(100)
    assert w.p.payments == 2 and w.p.newest_number == 2
