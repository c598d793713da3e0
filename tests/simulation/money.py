"""The two nodes' money: invoices, payments that arrive, fail, hang or are told late, and what truly was paid.

What is right or wrong in a simulation is judged by this, never by what a core believes.
"""

import hashlib
from dataclasses import dataclass, field

SELLER, BUYER, STRANGER = "02" + "aa" * 32, "02" + "bb" * 32, "02" + "cc" * 32


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

    @property
    def bolt11(self):
        return f"{self.node}:{self.hash}:{self.amount or 0}"


@dataclass
class Payment:
    status: str
    amount: int
    fee: int
    told: list = field(default_factory=list)


class Money:
    """Invoices by (node, label) and by hash; payments by hash."""

    def __init__(self, sim):
        self.sim = sim
        self.invoices, self.by_hash, self.payments = {}, {}, {}
        self.newest_index = {SELLER: 0, BUYER: 0, STRANGER: 0}

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

    def pay(self, bolt11, maxfee, amount, done):
        """xpay: done(status) once it is complete or failed; a hash that is paid or being paid is not paid again."""
        inv = self.by_hash[bolt11.split(":")[1]]
        known = self.payments.get(inv.hash)
        if known is not None and known.status == "complete":
            done("complete")
            return
        if known is not None and known.status == "pending":
            known.told.append(done)
            return
        self.payments[inv.hash] = p = Payment("pending", amount or inv.amount, maxfee // 2, [done])
        how = self.sim.weather("refunds" if inv.node == BUYER else "pays")
        dice = self.sim.plan.chance("pay", inv.hash)
        self.sim.say(f"xpay {inv.label} {p.amount}", how or "")
        if how == "fail":
            self.sim.after(dice.randrange(50, 400), self._end, inv, p, "failed")
        elif how == "hang":
            self.sim.after(dice.randrange(2_000, 60_000), self._arrive, inv, p, 0)
        else:
            self.sim.after(dice.randrange(40, 130), self._arrive, inv, p, 8_000 if how == "late" else 30)

    def _arrive(self, inv, p, told_after):
        if inv.status != "unpaid" or self.sim.now >= inv.expires_at or self.sim.rejects(inv):
            self.sim.say("rejected", inv.label)
            self._end(inv, p, "failed")
            return
        self.newest_index[inv.node] += 1
        inv.status, inv.received, inv.index = "paid", p.amount, self.newest_index[inv.node]
        self.sim.say("settled", inv.label, inv.received)
        self.sim.after(self.sim.plan.chance("paid", inv.hash).randrange(3, 30), self.sim.paid, inv.node)
        self.sim.after(told_after, self._end, inv, p, "complete")

    def _end(self, inv, p, status):
        p.status = status
        told, p.told = p.told, []
        for done in told:
            done(status)

    def status(self, payment_hash):
        p = self.payments.get(payment_hash)
        return p.status if p is not None else "none"

    # --- the truth

    def received(self, node, prefix):
        """What truly arrived for the invoices of a node whose labels begin so."""
        return sum(i.received for i in self.invoices.values() if i.node == node and i.label.startswith(prefix))

    def spent(self, node, hashes):
        """What left a payer for these hashes, as if all that is pending arrived, fees included."""
        return sum(p.amount + p.fee for h, p in self.payments.items() if h in hashes and p.status != "failed")
