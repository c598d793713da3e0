"""What a hostile seller says and a hostile buyer does."""

import hashlib
from dataclasses import replace

from money import BUYER, SELLER, STRANGER
from outlet import METER

from satmeter.core import commands as cmd
from satmeter.core import messages as msg
from satmeter.core import receipt
from satmeter.core.journal import canonical

LASTS_MS = 6_000
CLAIMS_AFTER_THE_CLOSE = 9


class Tricks:
    def __init__(self, sim):
        self.sim = sim
        self.until, self.trick, self.dice = 0, 0, 0
        self.said = []
        self.told = set()
        """The invoices that the buyer was told of; nobody can pay another."""
        self.from_buyer = []

    def stop(self):
        self.until = 0

    def begin(self, trick, dice):
        self.until, self.trick, self.dice = self.sim.now + LASTS_MS, trick, dice

    def of_seller(self, m):
        """Return what is said in the place of a message."""
        self.told |= {getattr(m, "bolt11", ""), getattr(m, "ahead", "")}
        if self.sim.plan.hostile != "seller" or self.sim.now >= self.until:
            self.said.append(m)
            return [m]
        if isinstance(m, msg.Receipt) and self.trick == CLAIMS_AFTER_THE_CLOSE:
            return []  # it would end what more is claimed of
        lies = [self._lie(m)]
        if self.trick == 5 and self.said:
            lies.append(self.said[self.dice % len(self.said)])  # what was said before, once more
        return lies

    def _lie(self, m):
        if isinstance(m, msg.Terms) and self.trick == 0:
            return replace(m, tariff=m.tariff.replace('"price_msat":', '"price_msat":9'))
        if isinstance(m, msg.Receipt) and self.trick == 7:
            return replace(m, text=m.text.replace('"paid_msat":', '"paid_msat":1'))
        if isinstance(m, msg.Receipt):
            return self._forged(m)
        if not isinstance(m, msg.Invoice):
            return m
        t = (self.sim.seller.state.sessions.get(m.session) or self.sim.seller.core.waiting[m.session]).tariff
        jump = self.dice % 5_000 + 100
        stranger = self.sim.money.invoice(STRANGER, f"x/{m.bolt11}", m.amount_msat, 600)
        lies = {
            1: replace(m, ticks=m.ticks + jump, charged_msat=t.charge(m.ticks + jump)),
            2: replace(m, ticks=0, charged_msat=0),
            3: replace(m, bolt11=stranger.bolt11),
            4: replace(m, amount_msat=m.amount_msat * 2),
            6: replace(m, number=m.number + 1 + self.dice % 50),
            7: replace(m, charged_msat=m.charged_msat + jump * 1000),
            8: self._once_more(m),
        }
        return lies.get(self.trick, m)

    def _once_more(self, m):
        """An invoice that was paid before, under a number of its own."""
        known = [old for old in self.said if isinstance(old, msg.Invoice) and old.amount_msat == m.amount_msat]
        old = known[self.dice % len(known)] if known else m
        return replace(m, number=m.number + 100 + self.dice % 50, bolt11=old.bolt11, amount_msat=old.amount_msat)

    def after_the_close(self, dice):
        """In arrears: ever more use is claimed of a session, as its buyer closes it and later."""
        sim = self.sim
        mine = [s for s in sim.seller.state.sessions.values() if s.buyer == BUYER and s.state != "closed"]
        for s in [s for s in mine if not s.tariff.prepaid and s.tariff.settlement != "onchain"]:
            for k in range(1, 12):
                sim.after(k * 400, self._claim_more, s, 1_000 + dice % 1_000 + k)

    def _claim_more(self, s, n):
        """An invoice of one slice, and as much use as makes it due beside all that was paid and asked for."""
        sim, amount = self.sim, s.tariff.slice_msat
        inv = sim.money.invoice(SELLER, f"lie/{s.id}/{n}/{sim.now}", amount, 600)
        paid = s.received_msat + s.out_msat + sim.money.received(SELLER, f"lie/{s.id}/")
        ticks = s.tariff.ticks(paid + amount) + 1
        sim.judge.claim(s.id, ticks, s.tariff.charge(ticks), s.tariff)
        sim.seller.send(BUYER, msg.Invoice(s.id, sim.now, n, amount, inv.bolt11, ticks, s.tariff.charge(ticks), 0))

    def _forged(self, m):
        """A receipt that its node signed and that states other than what was: what is owed came back, lapsed, was spent
        at a gate, or was used."""
        r = receipt.read(m.text)
        if r is None or not r["owed_msat"] + r["refunded_msat"]:
            return m
        claims = ("refunded_msat", "lapsed_msat", "charged_msat", "debt_msat")
        claim, gone = claims[self.dice % 4], r["owed_msat"]
        r["owed_msat"], r[claim] = 0, r[claim] + gone
        if claim == "charged_msat":
            r["spent_msat"] += gone
        if claim == "debt_msat":
            r["charged_msat"] += 2 * gone
            r["ticks"] += self.dice % 500
        r["revision"] += self.dice % 3
        text = canonical(r)
        return replace(m, text=text, signature=hashlib.sha256(text.encode()).hexdigest())

    # --- a hostile buyer

    def by_buyer(self, trick, dice):
        sim = self.sim
        if sim.seller.core is None:
            return
        fresh = f"{dice:032x}"
        mine = sorted(s.id for s in sim.seller.state.sessions.values() if s.buyer == BUYER)
        session = mine[dice % len(mine)] if mine else fresh
        seq = sim.now + dice % 10_000
        if trick == 0:  # opens and vanishes
            self._tell(STRANGER, msg.Open(fresh, seq, METER))
        elif trick == 1:  # claims to have paid a fortune, and wants it back
            inv = sim.money.invoice(BUYER, f"satmeter/refund/{session}/bad", None, 600)
            self._tell(BUYER, msg.Close(session, seq, msg.BUYER, "mine!", 10**12, inv.bolt11))
        elif trick == 2:
            self._tell(BUYER, msg.Error(session, seq, msg.BUYER, 2154, "no", dice % 4))
        elif trick in (3, 4):  # pays what it likes, when it likes
            known = [i for i in sim.money.invoices.values() if i.bolt11 in self.told or "/m/" in i.label]
            unpaid = [i for i in known if i.node == SELLER and i.status == "unpaid"]
            if unpaid:
                inv = unpaid[dice % len(unpaid)]
                sim.money.pay(BUYER, inv.bolt11, 0, inv.amount * (1 + dice % 2), lambda: None)
        elif trick == 5:  # somebody else's session
            self._tell(STRANGER, msg.Close(session, seq, msg.BUYER, "theirs"))
            self._tell(STRANGER, msg.Open(session, seq, METER))
        elif trick == 6:  # a refund to an invoice of another session
            labels = sorted(i.label for i in sim.money.invoices.values() if i.node == BUYER)
            if labels:
                inv = sim.money.invoices[BUYER, labels[dice % len(labels)]]
                self._tell(BUYER, msg.Close(session, seq, msg.BUYER, "again", 0, inv.bolt11))
        else:
            self._tell(BUYER, msg.Close(session, seq, msg.BUYER, "bye", 0, "rubbish"))

    def _tell(self, sender, message):
        self.sim.after(5, self._arrive, sender, message)

    def _arrive(self, sender, message):
        if self.sim.seller.core is not None:
            self.sim.seller.feed(cmd.FromPeer(peer=sender, message=message))
