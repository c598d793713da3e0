"""The accountant of a simulation: wallets and boards only. What left and what arrived, what truly flowed, and what each
side had chosen to risk; never what a core believes.

It looks after every step. At the end the books have to come to what the wallets came to, to the msat.
"""

from money import BUYER, SELLER

from satmeter.core.settlement.transaction import DUST_SAT
from satmeter.core.tariff import Tariff

OVERSHOOT = 20
"""Ticks that flow between two samples of a board, at the most (judge.py), with some more for a slow one."""


class Accountant:
    def __init__(self, sim, that):
        self.sim, self.that = sim, that
        self.tariff = Tariff.from_dict(sim.plan.tariff)
        """The terms that the seller chose; its price only ever rises."""
        self.began = sim.now
        self._gain = (-1, 0)
        self.sessions = 0
        """How many sessions were ever opened: in arrears each of them is trusted with the limit."""

    @property
    def sellers_gain(self):
        """What its wallet gained; what is still on its way out counts as gone."""
        money = self.sim.money
        if self._gain[0] != money.changes:
            gain = money.sold() - money.left(SELLER, "complete", "pending")
            self._gain = (money.changes, gain)
        return self._gain[1]

    def look(self):
        """What flowed is paid, but for what the seller chose to risk: the allowance of each period, in arrears the
        limit of each session, what flows between two samples at each cut, what a board forgets with its power, and of
        what it earned a hundredth for the fees of refunds."""
        if self.tariff.settlement != "onchain":
            self._look(self.sellers_gain, 0)

    def _look(self, gain, beside):
        t, outlets = self.tariff, self.sim.outlets.values()
        if self.sim.judge.older and any(o.boots > 1 for o in outlets):
            return  # what a boot counted that ended in the lost part, nobody knows
        delivered, cuts, forgotten = (
            sum(getattr(o, what) for o in outlets) for what in ("delivered", "cuts", "forgotten")
        )
        periods = 1 + (self.sim.now - self.began) // (t.allowance_period_s * 1000)
        risk = t.charge(t.allowance_ticks * periods * len(outlets) + OVERSHOOT * cuts) + t.limit_msat * self.sessions
        risk += (t.quantum_msat + t.limit_msat) * forgotten + t.charge(delivered) // 100 + 1
        risk += self.sim.judge.declared
        risk += 2 * self.sessions + t.charge(1)  # what each session's rounding and its last tick's rest come to
        loss = t.charge(delivered) - gain
        self.that(loss <= risk + beside, f"the seller lost {loss} msat; it chose to risk {risk + beside}")

    def at_end(self):
        """On-chain: what was delivered is on the chain by now, but for what each older copy of the journal held less,
        and what children cost. A thief's own is bounded by what is held (judge.py)."""
        if self.tariff.settlement != "onchain" or self.sim.plan.hostile == "buyer":
            return
        t, coins = self.tariff, self.sim.coins
        arrived = 1000 * sum(tx["value"] for tx in coins.transactions() if tx["address"].startswith("to/"))
        beside = (
            t.hold_msat * self.sim.judge.older + 1000 * sum(coins.lifted.values()) + DUST_SAT * 1000 * self.sessions
        )
        self._look(self.sellers_gain + arrived, beside)

    def verdict(self, state, ledgers):
        """Each side's books come to what its wallet came to: nothing is booked that did not happen, nothing is
        missing."""
        if self.tariff.settlement == "onchain":
            return
        money, sales = self.sim.money, state.sessions.values()
        earned = sum(
            s.charged_msat + s.lapsed_msat + s.owed_msat - s.debt_msat - s.fees_borne_msat for s in sales
        ) + sum(state.unowned.values())
        gain = self.sellers_gain + money.left(SELLER, "pending")
        self.that(earned == gain, f"the seller's books say {earned} msat earned, its wallet gained {gain}")
        for buyer, ledger in ledgers:
            mine = set(buyer.hash_of.values())
            pending = sum(p.in_flight_msat for p in ledger.streams.values())
            sent, left = sum(p.sent_msat for p in ledger.streams.values()), money.spent(buyer.node, mine)
            by_hand = buyer.node == BUYER and self.sim.plan.hostile == "buyer"  # what its plugin was asked for
            if not pending and not by_hand:
                self.that(sent == left, f"the {buyer.name}'s books say {sent} msat sent, {left} left its wallet")
