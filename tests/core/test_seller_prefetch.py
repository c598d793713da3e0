"""Invoices made ahead.

Figures are worked out by hand: 1,000 msat for 10 ticks (100 msat a tick), a quantum of 10,000 msat is 100 ticks.
"""

from world import World


def test_spares_are_ready_before_they_are_needed():
    w = World({"window": 4})
    w.open()
    assert len(w.sale.memory.prefetched.queue) == 8 and all(spare.bolt11 for spare in w.sale.memory.prefetched.queue)
