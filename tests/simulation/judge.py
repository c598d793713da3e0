"""The judge: after every step, what must always hold; at the end, what it all has to have come to."""

import json

from accountant import Accountant
from coins import FEE
from money import BUYER, BUYERS, SELLER, STRANGER
from outlet import STEP_MS, TICKS_PER_S

from satmeter.core import receipt
from satmeter.core.books import Books
from satmeter.core.journal import decode
from satmeter.core.labels import bearer_session, opening_label
from satmeter.core.purchase import Ledger
from satmeter.core.receipt import balanced

OVERSHOOT = TICKS_PER_S * STEP_MS * 5 // 1000 + 1
"""Ticks that a board can pass its grant by: what flows between two of its steps (a slow one, when it is idle)."""


class Wrong(AssertionError):
    """Something that must never be."""


def fold(books, rows):
    for kind, at, stream, data in rows:
        books.apply(decode(kind, at, stream, data))
    return books


class Judge:
    def __init__(self, sim):
        self.sim = sim
        self.accountant = Accountant(sim, self.that)
        self.credited, self.refunded, self.paid = set(), set(), set()
        self._known = {}
        """stream -> (state of the money, what left for it, what came back), so that it is summed only after a change"""
        self.versions = {}
        """(coin, value) -> the one transaction that was ever signed so"""
        self.told = {}
        """session -> the most that its seller ever claimed: (ticks, msat beyond the register)"""
        self.left_at_close = {}
        self.begun = {}
        """hash -> what a payment that its buyer has decided on may cost; its node may not have heard of it yet"""
        self.older = 0
        """How often an older copy was put in place of the seller's journal: then only wallets and boards are judged."""
        self.delivered_at = {}
        """session -> what had truly flowed when it was opened"""

    def replaced(self, rows):
        """Only these rows of the seller's journal are left."""
        self.older += 1
        self.credited = {json.loads(data)["hash"] for kind, _, _, data in rows if kind == "invoice_paid"}

    def that(self, holds, *words):
        if not holds:
            raise Wrong(" ".join(map(str, words)))

    def snapshot(self, process, books, whole):
        one, other = (json.loads(json.dumps(b.dump())) for b in (books, whole))
        for name in set(one) & {"sales", "purchases"}:  # the whole journal knows those, too, that memory has let go
            ids = {x["id"] for x in one[name]}
            other[name] = sorted((x for x in other[name] if x["id"] in ids), key=lambda x: x["id"])
            one[name].sort(key=lambda x: x["id"])
        for x in [x for name in ("meters", "sales") for b in (one, other) for x in b.get(name, [])]:
            del x["count"]  # a snapshot may know of readings that were not recorded
        noted, recorded = one.pop("index", 0), other.pop("index", 0)
        self.that(noted >= recorded, process.name, "its snapshot knows of fewer payments than its journal")
        if noted > recorded:  # payments that are nobody's credit have no event; a snapshot may know of them
            del one["early"], other["early"]
        self.that(one == other, process.name, "its snapshot and its journal do not agree")

    def flowed(self, outlet, ticks, limit):
        over = outlet.app.counter.register - limit
        self.that(over <= OVERSHOOT, f"the board went {over} ticks over its grant of {limit}")

    def due(self, owed, least=0):
        """Whether what is owed has to come back: not what no way carries, or what its fee would eat."""
        return owed >= 1_000 + 2 * self.sim.plan.refund_fee or (least and not owed)

    def waited_for(self, s):
        """Whether the buyer waits for what a session owes. It knows of none that keeps what a third wallet paid late:
        what that one owes is brought into the buyer's next session."""
        return self.due(s.owed) and s.buyer in BUYERS and not self._paid_by_stranger(s)

    def _paid_by_stranger(self, s):
        """Whether a session keeps a late payment, and a third wallet made it."""
        money = self.sim.money
        kept = [i for i in money.all_invoices() if bearer_session(i.label) == s.id]
        return any(money.status(STRANGER, i.hash) == "complete" for i in kept)

    # --- after every event and input

    def event(self, process, e):
        check = getattr(self, f"_{process.role}_{e.kind()}", None)
        if check is not None:
            check(*((e,) if process.role == "seller" else (process, e)))

    def _seller_invoice_paid(self, e):
        inv = self.sim.money.by_hash[e.hash]
        self.that(inv.status == "paid" and inv.received == e.amount, "credited what did not arrive", inv)
        self.that(e.hash not in self.credited, "credited twice", inv)
        self.credited.add(e.hash)

    def _seller_refund_paid(self, e):
        self.that(e.amount > 0, "a refund of nothing")

    def _seller_receipt_signed(self, e):
        self.that(balanced(e.text), "a receipt that does not balance", e.text)

    def _seller_session_opened(self, e):
        # What the board delivered of the allowance and has not yet reported counts as the session's.
        self.accountant.sessions += 1
        # After an older copy of the journal a session may be opened once more: what flowed before stays used.
        allowance = self.sim.plan.tariff["allowance_ticks"]
        self.delivered_at.setdefault(e.stream, self.sim.outlets[e.meter].delivered - allowance)

    def _seller_version_taken(self, e):
        self.that((e.stream, e.k, e.value) not in self.credited, "a version credited twice", e)
        self.credited.add((e.stream, e.k, e.value))

    def _seller_tx_bumped(self, e):
        """All the children of a transaction cost at most a quarter of what it brings."""
        g = self.sim.seller.books.sales[e.stream].txs[e.k]
        self.that(g.bump_fee <= g.value - g.value * 3 // 4, f"{g.bump_fee} sat of {g.value} spent to lift it")

    def _seller_tx_settled(self, e):
        s = self.sim.seller.books.sales[e.stream]
        true = self.sim.coins.arrived(s.txs[e.k].address)
        self.that(true == e.arrived, f"{e.arrived} sat booked as arrived, {true} did")

    def version(self, session, k, names, value, raw):
        """A version is signed: over these coins there is none of a lower value, and none that differs."""
        for coin in names:
            before = self.sim.coins.signed.get(coin, [])
            self.that(all(known[:2] == (session, k) for known in before), "a coin promised to two transactions", coin)
            self.that(all(known[2] <= value for known in before), "a lower version was signed", value)
            same = self.versions.setdefault((coin, value), raw)
            self.that(same == raw, "a forked version was signed", raw)

    def _buyer_stream_closed(self, process, e):
        """A receipt that is believed gives back what came back, and lets nothing lapse that is worth a payment."""
        r = receipt.read(e.text) if e.verified and not e.why else None
        if r is None:
            return
        came = self.sim.money.received(process.node, f"satmeter/refund/{e.stream}/")
        carried = sum(p.carried for p in process.books.purchases.values() if p.id != e.stream)
        back = r["refunded_msat"] - r["refund_fee_msat"]
        self.that(back <= came + max(carried, e.carried_on), f"{back} msat believed as refunded, {came} came")
        self.that(r["lapsed_msat"] < 1_000, r["lapsed_msat"], "msat believed as lapsed")
        self.that(r["spent_msat"] <= self.sim.plan.policy["max_spend_msat"], "more spent at gates than allowed")

    def _buyer_stream_closing(self, process, e):
        mine = {h for (stream, _), h in process.hash_of.items() if stream == e.stream}
        begun = sum(most for known, most in self.begun.items() if known in mine and not self._known_to(process, known))
        self.left_at_close[e.stream] = self.sim.money.spent(process.node, mine) + begun

    def _known_to(self, process, payment_hash):
        return (process.node, payment_hash) in {**self.sim.money.payments, **self.sim.money.forgotten}

    def _after_close(self, p, out):
        """In arrears at most the limit leaves the buyer for a stream that it closed, and the fees of that."""
        if p.id in self.left_at_close and p.tariff is not None and not p.tariff.prepaid and not p.tariff.onchain:
            t = p.tariff
            room = t.limit_msat + p.policy.max_fee_msat * (t.limit_msat // t.slice_msat + t.window + 2)
            more = out - self.left_at_close[p.id]
            self.that(more <= room, f"{more} msat were paid after the close; the limit is {t.limit_msat}")

    def _buyer_version_signed(self, process, e):
        process.onchain.add((e.stream, e.n))

    def _buyer_payment_settled(self, process, e):
        if (e.stream, e.n) in process.onchain:
            self.that((e.stream, e.n) not in self.paid, "one version booked as paid twice", e.n)
            self.paid.add((e.stream, e.n))
            return
        flight = process.hash_of[e.stream, e.n]
        self.that(self.sim.money.status(process.node, flight) == "complete", "booked as paid what was not")
        self.that((e.stream, e.n) not in self.paid, "one invoice booked as paid twice", e.n)
        self.paid.add((e.stream, e.n))

    def _buyer_payment_started(self, process, e):
        self.begun[e.hash] = e.amount + e.maxfee
        process.hash_of[e.stream, e.n] = e.hash

    def _buyer_payment_failed(self, process, e):
        status = self.sim.money.status(process.node, process.hash_of[e.stream, e.n])
        if "had paid this hash before" in e.why:  # by hand, or for another stream
            self.that(status in ("complete", "pending"), "let go of a payment as another's, which is", status)
            return
        self.that(status not in ("complete", "pending"), "let go of a payment that is", status)

    def after(self, process):
        self.accountant.look()
        (self._seller if process.role == "seller" else self._buyer)(process)

    def _seller(self, process):
        for s in process.core.books.sales.values():
            t = s.tariff
            lost = s.lost * 1000
            self.that(s.credit + lost >= (0 if t.prepaid else -t.limit_msat), "credit", s.credit, "under its limit")
            self.that(s.debt - lost <= t.limit_msat, "debt", s.debt, "over the limit of", t.limit_msat)
            if t.onchain:
                at_risk = s.held_msat + s.unconfirmed_msat
                self.that(s.held_msat <= t.hold_msat and at_risk <= t.unconfirmed_msat, at_risk, "msat at risk")
            if s.phase == "open" and t.prepaid and s.buyer and self._honest(s.buyer):
                asked = s.received - s.charged + s.out_msat
                # what was dropped or came late is the buyer's, and more than was asked for
                others = self.sim.money.left(STRANGER, "complete", "pending")  # what a third wallet paid comes on top
                most = t.quantum_msat + s.brought + others
                self.that(asked <= most or not s.out_msat or s.refund_held, "asked for more than the quantum")

    def _honest(self, buyer):
        return buyer != BUYER or self.sim.plan.hostile != "buyer"

    def _buyer(self, process):
        for p in process.core.ledger.purchases.values():
            if p.tariff is None or not self._honest(process.node):
                continue
            t, fee = p.tariff, p.policy.max_fee_msat
            spent, back = self._moved(process, p.id)
            out = spent + p.carried + self.sim.coins.given(p.id)
            self._after_close(p, spent)
            ticks, beyond = self._used(p)
            bound = t.charge(ticks) + beyond + (t.quantum_msat if t.prepaid else 0)
            slices = p.policy.max_fee_msat * (t.window + p.committed // t.slice_msat + 1) if fee else 0
            slices += p.tx_count * FEE * 1000 + p.stray
            slices += t.limit_msat if p.id in self.left_at_close else 0  # what a lying seller may claim at the end
            self.that(
                out - back <= bound + p.carried + slices, f"{out - back - bound} msat beyond the bound are at risk"
            )
            self.that(out <= p.policy.budget_msat + p.carried, "over the budget")

    def _moved(self, process, stream):
        """What left a buyer's wallet for a stream, fees included, and what came back by its refunds."""
        money = self.sim.money
        state = (money.changes, len(process.hash_of))
        known = self._known.get(stream)
        if known is None or known[0] != state:
            mine = {h for (of, _), h in process.hash_of.items() if of == stream}
            back = money.received(process.node, f"satmeter/refund/{stream}/")
            known = self._known[stream] = (state, money.spent(process.node, mine), back)
        return known[1:]

    def _used(self, p):
        """What the buyer has to take as used: from an honest seller what flowed, from another what it ever claimed,
        and with a sensor no more than that and its tolerance."""
        flowed = self.sim.outlets[p.meter].delivered - self.delivered_at.get(p.id, 0)
        ticks, beyond = self.told.get(p.id, (0, 0))
        if self.sim.plan.hostile != "seller":
            return flowed, beyond
        if p.own_ticks is not None:
            missed = p.tariff.ticks(p.tariff.quantum_msat + p.tariff.limit_msat)  # before the sensor was first heard
            ticks = min(ticks, (flowed + missed) * 105 // 100 + 50 + 1)
        return ticks, beyond

    def claim(self, session, ticks, charged, tariff):
        known = self.told.get(session, (0, 0))
        self.told[session] = (max(known[0], ticks), max(known[1], charged - tariff.charge(ticks)))

    # --- at the end

    def verdict(self):
        sim = self.sim
        self.accountant.at_end()
        if self.older:
            self._verdict_of_what_is_left()
            return
        books, ledgers = fold(Books(), sim.seller.rows), [(b, fold(Ledger(), b.rows)) for b in sim.buyers]
        for s in books.sales.values():
            self.that(s.phase == "closed", f"session {s.id[:6]} never ended:", s.phase, s.reason)
            if s.tariff.onchain:
                arrived = sum(sim.coins.arrived(f"to/{s.id}/{k}") for k in range(1, s.tx_count + 1)) * 1000
                credited = s.paid - s.lost * 1000
                self.that(not self._honest(s.buyer) or not s.lost, f"{s.lost} sat of an honest buyer are lost")
            else:
                arrived = self._arrived(s, books)
                credited = s.paid
            self.that(credited == arrived, f"session {s.id[:6]}: {arrived} msat arrived, {credited} were credited")
            free = s.tariff.charge(s.ticks) - s.received - s.lost * 1000 - s.tariff.limit_msat
            free -= s.tariff.charge(OVERSHOOT)
            self.that(free <= 0 or s.spent, f"{free} msat were delivered that nobody paid for or trusted")
            left = s.charged + s.refunded + s.taken + s.lapsed + s.owed - s.received - s.debt
            self.that(left == 0, f"session {s.id[:6]} does not balance by {left}")
            if sim.plan.hostile == "":
                self.that(not self.waited_for(s), f"{s.owed} msat stay owed:", s.refund_why)
                self.that(not s.refunding, "a refund is still being paid")
        refunded = sum(s.refunded - s.refund_fee for s in books.sales.values())
        refunds = sum(sim.money.received(buyer, "") for buyer in BUYERS)
        self.that(refunded == refunds, f"refunds: {refunded} booked, {refunds} arrived")
        arrived = sim.money.received(SELLER, "satmeter/")
        paid = sum(s.paid for s in books.sales.values() if not s.tariff.onchain)
        self.that(paid == arrived, "what arrived is not what was credited")
        for outlet in sim.outlets.values():
            m = books.meters[outlet.meter]
            self.that(m.state == "standby", "the meter is not free again:", m.state)
            self._count(m, outlet, [s for s in books.sales.values() if s.meter == m.name])
        self.accountant.verdict(books, ledgers)
        if sim.plan.hostile == "":
            for _, ledger in ledgers:
                self._buyers_end(ledger, books)

    def _verdict_of_what_is_left(self):
        """The books lack what happened in the lost part; that it is not paid and not credited again is the
        accountant's, after each step."""
        books = fold(Books(), self.sim.seller.rows)
        for s in books.sales.values():
            self.that(s.phase == "closed", f"session {s.id[:6]} never ended:", s.phase, s.reason)
            self.that(not s.refund_held, f"session {s.id[:6]} still waits for a person")
        for m in books.meters.values():
            self.that(m.state == "standby", "the meter is not free again:", m.state)

    def _arrived(self, s, books):
        """What truly arrived for a session: for its own invoices, without a late payment that is kept in a session of
        its own, and for such a session that one payment."""
        if not s.buyer:
            return s.paid
        arrived = 0
        for invoice in self.sim.money.all_invoices():
            if invoice.node != SELLER:
                continue
            kept = bearer_session(invoice.label)
            own = invoice.label.startswith(f"satmeter/0/s/{s.id}/") or invoice.label == opening_label("0", s.first)
            if kept == s.id or (own and kept not in books.sales):
                arrived += invoice.received
        return arrived

    def _count(self, m, outlet, sales):
        live = self.sim.seller.books.meters[m.name].count
        self.that(live <= outlet.delivered, f"counted {live} ticks, {outlet.delivered} flowed")
        if outlet.boots == 1:
            self.that(live == outlet.delivered, f"counted {live} ticks, {outlet.delivered} flowed")
        charged = sum(s.charged for s in sales)
        spent = sum(s.spent for s in sales)
        unheard = any("not heard" in s.reason for s in sales)
        most = sum(s.tariff.charge(max(0, s.ticks)) for s in sales)
        self.that(charged - spent <= most, "charged more than the ticks cost")
        if not unheard:
            ticks = sum(s.ticks for s in sales)
            self.that(ticks <= outlet.delivered, f"sold {ticks} ticks, {outlet.delivered} flowed")
        self.that(m.recorded <= live, "recorded more than was counted")

    def _buyers_end(self, ledger, books):
        for p in ledger.purchases.values():
            self.that(p.state == "closed", f"stream {p.id[:6]} never ended:", p.state, p.reason)
            self.that(not p.flights, "a payment is still in flight")
            forgot = (
                self.sim.sensor_back and "sensor" in p.why
            )  # it was away, or lost with its power what it had not told
            believed = not p.why or not p.verified or p.tariff is None or forgot
            self.that(believed, "the receipt is not what the buyer knows:", p.why)
            s = books.sales.get(p.id)
            if s is not None and p.verified:
                # What no way carries lapses, or goes into a later session: the buyer has let go of the stream before.
                lapsed = (s.lapsed or 0 < s.taken < 1_000) and p.revision < s.revision
                same = json.loads(p.receipt) == json.loads(s.receipt)
                self.that(same or lapsed, "the two sides hold different receipts")
