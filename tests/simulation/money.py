"""The two nodes' money: invoices, payments that arrive, fail, hang or are told late, and what truly was paid.

What is right or wrong in a simulation is judged by this, never by what a core believes.
"""

import hashlib
from dataclasses import dataclass, field

CLEANED_MS = 12_000
SELLER, BUYER, STRANGER, NEIGHBOUR = ("02" + byte * 32 for byte in ("aa", "bb", "cc", "dd"))
BUYERS = (BUYER, NEIGHBOUR)
REFUNDED = (*BUYERS, STRANGER)


@dataclass
class Invoice:
    node: str
    label: str
    amount: int | None
    hash: str
    expires_at: int
    status: str = "unpaid"
    received: int = 0
    index: int = 0
    paid_at: int = 0

    @property
    def bolt11(self):
        return f"{self.node}:{self.hash}:{self.amount or 0}"


@dataclass
class Part:
    amount: int
    fee: int
    status: str = "pending"


@dataclass
class Payment:
    """A hash that a node pays, in one part or several; `told` are those who wait for the answer of its xpay."""

    payer: str
    parts: list
    told: list = field(default_factory=list)

    def sum(self, what, *statuses):
        return sum(getattr(part, what) for part in self.parts if part.status in statuses)

    @property
    def status(self):
        """As node/payments.py: while a part can still settle, the payment is pending."""
        statuses = {part.status for part in self.parts}
        return next((s for s in ("pending", "complete", "failed") if s in statuses), "none")

    @property
    def amount(self):
        return self.sum("amount", "complete")

    @property
    def fee(self):
        return self.sum("fee", "complete")


class Money:
    """Invoices by (node, label) and by hash; payments by (payer, hash): each node knows its own."""

    def __init__(self, sim):
        self.sim = sim
        self.invoices, self.by_hash, self.payments = {}, {}, {}
        self.cleaned, self.forgotten = [], {}
        """What the nodes have cleaned away: it happened all the same."""
        self.changes = 0
        """How often anything of this changed."""
        self.offers = {}
        """The seller's node's offers, by id: whether it gives invoices for one."""
        self.newest_index = dict.fromkeys((SELLER, STRANGER, *BUYERS), 0)

    def invoice(self, node, label, amount, expiry_s, renew=False):
        """Make an invoice, or find the one that has this label; `renew`: an expired one makes room."""
        found = self.invoices.get((node, label))
        if found is not None and found.status == "unpaid" and self.sim.now >= found.expires_at:
            found.status = "expired"
        ahead = found is not None and found.status == "unpaid" and found.amount != amount
        if found is None or found.status == "gone" or ahead or (renew and found.status == "expired"):
            made = f"{node}/{label}/{len(self.by_hash)}"
            found = Invoice(
                node, label, amount, hashlib.sha256(made.encode()).hexdigest(), self.sim.now + expiry_s * 1000
            )
            self.invoices[node, label] = self.by_hash[found.hash] = found
        return found

    def delete(self, node, label):
        """Delete an unpaid invoice; return the invoice where it is paid, None where it is gone."""
        found = self.invoices.get((node, label))
        if found is not None and found.status == "paid":
            return found
        if found is not None:
            found.status = "gone"
        return None

    def pay(self, payer, bolt11, maxfee, amount, answered):
        """xpay: answered() once a part of it is complete or all have failed; a hash that is paid or being paid is not
        paid again."""
        inv = self.by_hash[bolt11.split(":")[1]]
        known = self.payments.get((payer, inv.hash))
        if known is not None and known.status == "complete":
            answered()
            return
        if known is not None and known.status == "pending":
            known.told.append(answered)
            return
        how, dice = self._weather(inv), self.sim.plan.chance("pay", inv.hash, len(self.payments))
        total = amount or inv.amount
        fee = min(self.sim.plan.refund_fee, maxfee + 1) if inv.node in REFUNDED else maxfee // 2
        parts = [Part(total, fee)]
        if how == "parts" and total >= 3:
            first = dice.randrange(1, total)
            parts = [Part(first, fee), Part(total - first, 0)]
        self.changes += 1
        self.payments[payer, inv.hash] = p = Payment(payer, parts, [answered])
        self.sim.say(f"xpay {inv.label} {[part.amount for part in parts]} fee {fee} of {maxfee}", how or "")
        if how == "fail" or fee > maxfee:
            self.sim.after(dice.randrange(50, 400), self._fail, p)
        else:
            late = dice.randrange(2_000, 60_000) if how == "hang" else dice.randrange(40, 130)
            self.sim.after(late, self._arrive, inv, p, total, 8_000 if how == "late" else 30)

    def _weather(self, inv):
        return self.sim.weather("refunds" if inv.node in REFUNDED else "pays")

    def _arrive(self, inv, p, total, told_after):
        if inv.status != "unpaid" or self.sim.now >= inv.expires_at or self.sim.rejects(inv):
            self.sim.say("rejected", inv.label)
            self._fail(p)
            return
        if len(p.parts) > 1 and inv.node == BUYER and self.sim.plan.hostile == "buyer":
            total = p.parts[0].amount  # it lets one part go and holds the other, to the last
            p.parts[1].amount, p.parts[1].fee, held = p.parts[1].amount, 0, p.parts[1]
            self.sim.after(45_000, self._end, p, held, "failed")
        self.changes += 1
        self.newest_index[inv.node] += 1
        inv.status, inv.received, inv.index = "paid", total, self.newest_index[inv.node]
        inv.paid_at = self.sim.now
        self.sim.say("settled", inv.label, inv.received)
        self.sim.after(self.sim.plan.chance("paid", inv.hash).randrange(3, 30), self.sim.paid, inv.node)
        for n, part in enumerate(p.parts):
            if n == 0 or total > p.parts[0].amount:  # one after the other
                self.sim.after(told_after + n * 3_000, self._end, p, part, "complete")

    def _fail(self, p):
        for part in p.parts:
            self._end(p, part, "failed")

    def _end(self, p, part, status):
        self.changes += 1
        part.status = status
        if status == "complete" or p.status != "pending":
            told, p.told = p.told, []
            for answered in told:
                answered()

    def status(self, payer, payment_hash):
        p = self.payments.get((payer, payment_hash))
        return p.status if p is not None else "none"

    def clean(self, in_flight):
        """autoclean: the nodes forget what was paid long ago; that has to be longer than a plugin may be away."""
        self.changes += 1
        for key, i in list(self.invoices.items()):
            old = CLEANED_MS if i.node == SELLER else 5 * CLEANED_MS
            if i.status == "paid" and self.sim.now > i.paid_at + old:
                del self.invoices[key]
                self.cleaned.append(i)
                for payer in (SELLER, *BUYERS):
                    known = self.payments.get((payer, i.hash))
                    if known is not None and known.status == "complete" and i.hash not in in_flight:
                        self.forgotten[payer, i.hash] = self.payments.pop((payer, i.hash))

    # --- the truth

    def received(self, node, prefix):
        """What truly arrived for the invoices of a node whose labels begin so."""
        return sum(i.received for i in self.all_invoices() if i.node == node and i.label.startswith(prefix))

    def sold(self):
        """What truly arrived at the seller for what its plugin sells; what a hostile one took by lies is apart."""
        return self.received(SELLER, "") - self.received(SELLER, "lie/")

    def all_invoices(self):
        return [*self.invoices.values(), *self.cleaned]

    def left(self, node, *statuses):
        """What left a wallet by all its payments whose parts have these statuses, fees included."""
        known = [*self.payments.values(), *self.forgotten.values()]
        return sum(p.sum("amount", *statuses) + p.sum("fee", *statuses) for p in known if p.payer == node)

    def spent(self, node, hashes):
        """What left a payer for these hashes, as if all that is pending arrived, fees included."""
        known = {**self.forgotten, **self.payments}
        both, mine = ("complete", "pending"), [known[node, h] for h in hashes if (node, h) in known]
        return sum(p.sum("amount", *both) + p.sum("fee", *both) for p in mine)
