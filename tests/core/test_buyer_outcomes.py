"""What became of the buyer's payments.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

from world import World


def test_what_has_settled_is_on_its_way_no_more():
    w = World({"window": 4})
    w.open()
    w.report(60)
    assert w.sale.payments == 6 and not any(each.arriving for each in w.sale.memory.asking.values())
