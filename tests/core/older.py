"""A seller, or a buyer, that goes on from an older copy of its journal."""

from collections import deque

from world import SESSION, World, refold

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core.buyer.buyer import Buyer
from satmeter.core.buyer.state import BuyerState


def refunded_since():
    """A session that used 30 of its 100 ticks, and was closed and refunded after the copy was made."""
    w = World()
    w.open()
    w.report(30)
    upto = len(w.seller_events)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    assert sum(w.refunds.values()) == 7_000
    w.replace_seller(upto, 30)
    return w


class Older(World):
    """Payments hang on their way while `hangs`; the node knows their hashes since they began."""

    hangs = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.begun = set()

    def _buyers_node(self, a):
        if isinstance(a, do.Pay):
            if a.fresh and a.payment_hash in self.begun:
                self.buy(cmd.PaymentKnown(session=a.session, number=a.number, attempt=a.attempt))
                return
            self.begun.add(a.payment_hash)
        super()._buyers_node(a)

    def pump(self, most=10_000):
        for side, action in self.todo if self.hangs else ():
            if isinstance(action, do.Pay) and side == "buyer":
                if action.fresh and action.payment_hash in self.begun:
                    continue
                self.begun.add(action.payment_hash)
        self.hold = {do.Pay} if self.hangs else set()
        super().pump(most)

    def replace_buyer(self, upto):
        """The first `upto` events stand in the place of the buyer's journal."""
        self.todo = deque(t for t in self.todo if t[0] != "buyer")
        del self.buyer_events[upto:]
        self.buyer = Buyer(state=refold(self.buyer_events, BuyerState()), older=True)
        self._handle_resume(self.buyer, self.buyer_events, "buyer")
        self.pump()
