"""A seller that goes on from an older copy of its journal."""

from world import SESSION, World

from satmeter.core import commands as cmd


def refunded_since():
    """A session that used 30 of its 100 ticks, and was closed and refunded after the copy was made."""
    w = World()
    w.open()
    w.report(30)
    upto = len(w.seller_events)
    w.buy(cmd.CloseStream(SESSION))
    w.pump()
    assert sum(w.refunds.values()) == 7_000
    w.replace_seller(upto, 30)
    return w
