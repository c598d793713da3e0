"""The judge: after every step, what must always hold; at the end, what it all has to have come to."""

import json

from accountant import Accountant
from coins import FEE
from money import BUYER, BUYERS, REFUNDED, SELLER, STRANGER
from outlet import STEP_MS, TICKS_PER_S

from satmeter.core import receipt
from satmeter.core.buyer.state import BuyerState
from satmeter.core.journal import decode
from satmeter.core.labels import FetchedLabel, WalletLabel, bearer_session, opening_label, parse
from satmeter.core.receipt import balanced
from satmeter.core.seller.state import SellerState
from satmeter.core.snapshot import differences

OVERSHOOT = TICKS_PER_S * STEP_MS * 5 // 1000 + 1
"""Ticks that a board can pass its grant by: what flows between two of its steps (a slow one, when it is idle)."""


class Wrong(AssertionError):
    """Something that must never be."""


def fold(books, rows):
    for kind, at, subject, data in rows:
        books.apply(decode(kind, at, subject, data))
    return books


class Judge:
    def __init__(self, sim):
        self.sim = sim
        self.accountant = Accountant(sim, self.that)
        self.credited, self.refunded, self.paid = set(), set(), set()
        self._known = {}
        """stream -> (state of the money, what left for it, what came back), so that it is summed only after a change"""
        self.updates = {}
        """(coin, value) -> the one transaction that was ever signed so"""
        self.told = {}
        """session -> the most that its seller ever claimed: (ticks, msat beyond the register)"""
        self.left_at_close = {}
        self.late, self.seller_ends = {}, set()
        """stream -> what its buyer decided to pay between its close and its seller's hearing of it (msat): the seller
        has trusted it for as much anew; and the sessions that their seller ends."""
        self.begun = {}
        """hash -> what a payment that its buyer has decided on may cost; its node may not have heard of it yet"""
        self.older = 0
        """How often an older copy was put in place of the seller's journal: then only wallets and boards are judged."""
        self.declared = 0
        """What a person declared as owed of a refund that waited, though the lost part may have used it up (msat)."""
        self.final = {}
        """address -> what was there, as deep as agreed, when it was booked as final (sat)"""
        self.delivered_at = {}
        """session -> what had truly flowed when it was opened"""

    def replaced(self, rows):
        """Only these rows of the seller's journal are left."""
        self.older += 1
        self.credited = {json.loads(data)["payment_hash"] for kind, _, _, data in rows if kind == "invoice_paid"}

    def that(self, holds, *words):
        if not holds:
            raise Wrong(" ".join(map(str, words)))

    def snapshot(self, process, books, whole):
        told = books.dump()
        for wrong in differences(whole.dump(), told, told, whole.kept()):
            self.that(False, process.name, f"its snapshot and its journal do not agree: {wrong}")

    def flowed(self, outlet, ticks, limit):
        over = outlet.app.counter.register - limit
        self.that(over <= OVERSHOOT, f"the board went {over} ticks over its grant of {limit}")

    def due(self, owed, least=0):
        """Whether what is owed has to come back: not what no way carries, or what its fee would eat."""
        return owed >= 1_000 + 2 * self.sim.plan.refund_fee or (least and not owed)

    def waited_for(self, s):
        """Whether the buyer waits for what a session owes. It knows of none that keeps what a third wallet paid late:
        what that one owes is brought into the buyer's next session."""
        return self.due(s.owed_msat) and s.buyer in BUYERS and not self._paid_by_stranger(s)

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
        inv = self.sim.money.by_hash[e.payment_hash]
        self.that(inv.status == "paid" and inv.received == e.amount_msat, "credited what did not arrive", inv)
        self.that(e.payment_hash not in self.credited, "credited twice", inv)
        self.credited.add(e.payment_hash)
        if isinstance(parse(inv.label), WalletLabel | FetchedLabel):
            buyer = self.sim.seller.state.sessions[e.subject].buyer
            self.that(not buyer, "what a wallet paid is credited to", buyer)

    def _seller_refund_paid(self, e):
        self.that(e.amount_msat > 0, "a refund of nothing")

    def _seller_receipt_signed(self, e):
        self.that(balanced(e.text), "a receipt that does not balance", e.text)

    def _seller_session_opened(self, e):
        # What the board delivered of the allowance and has not yet reported counts as the session's.
        self.accountant.sessions += 1
        # After an older copy of the journal a session may be opened once more: what flowed before stays used.
        allowance = self.sim.plan.tariff["allowance_ticks"]
        self.delivered_at.setdefault(e.subject, self.sim.outlets[e.meter].delivered - allowance)

    def _seller_update_taken(self, e):
        self.that((e.subject, e.tx_number, e.value_sat) not in self.credited, "a version credited twice", e)
        self.credited.add((e.subject, e.tx_number, e.value_sat))

    def _seller_tx_bumped(self, e):
        """All the children of a transaction cost at most a quarter of what it brings."""
        g = self.sim.seller.state.sessions[e.subject].onchain.transactions[e.tx_number]
        self.that(
            g.bump_fee_sat <= g.value_sat - g.value_sat * 3 // 4,
            f"{g.bump_fee_sat} sat of {g.value_sat} spent to lift it",
        )

    def _seller_tx_settled(self, e):
        s, coins = self.sim.seller.state.sessions[e.subject], self.sim.coins
        address = s.onchain.transactions[e.tx_number].address
        true, depth = coins.arrived(address), coins.depth(address)
        self.that(true == e.arrived_sat, f"{e.arrived_sat} sat booked as arrived, {true} did")
        self.that(not true or depth >= s.tariff.confirmations, f"{true} sat booked as final, {depth} deep")
        self.final[address] = true

    def _taken_back(self, session):
        """What was as deep as the seller's terms ask for until a block was undone, and a thief spent it elsewhere
        (sat): how deep is enough is the seller's choice, and what is that deep is final to it."""
        coins, mine = self.sim.coins, f"to/{session}/"
        stolen = [address for address in coins.stolen if address.startswith(mine)]
        return sum(self.final[address] - coins.arrived(address) for address in stolen if address in self.final)

    def version(self, session, k, names, value, raw):
        """A version is signed: over these coins there is none of a lower value, and none that differs."""
        for coin in names:
            before = self.sim.coins.signed.get(coin, [])
            self.that(all(known[:2] == (session, k) for known in before), "a coin promised to two transactions", coin)
            self.that(all(known[2] <= value for known in before), "a lower version was signed", value)
            same = self.updates.setdefault((coin, value), raw)
            self.that(same == raw, "a forked version was signed", raw)

    def _buyer_stream_closed(self, process, e):
        """A receipt that is believed gives back what came back, and lets nothing lapse that is worth a payment."""
        r = receipt.read(e.text) if e.verified and not e.why else None
        if r is None:
            return
        came = self.sim.money.received(process.node, f"satmeter/refund/{e.subject}/")
        carried = sum(p.carried_msat for p in process.state.streams.values() if p.id != e.subject)
        back = r["refunded_msat"] - r["refund_fee_msat"]
        self.that(back <= came + max(carried, e.carried_on_msat), f"{back} msat believed as refunded, {came} came")
        self.that(r["lapsed_msat"] < 1_000, r["lapsed_msat"], "msat believed as lapsed")
        self.that(r["spent_msat"] <= self.sim.plan.policy["max_spend_msat"], "more spent at gates than allowed")

    def _buyer_stream_closing(self, process, e):
        mine = {h for (stream, _), h in process.hash_of.items() if stream == e.subject}
        begun = sum(most for known, most in self.begun.items() if known in mine and not self._known_to(process, known))
        self.left_at_close[e.subject] = self.sim.money.spent(process.node, mine) + begun
        self.late.setdefault(e.subject, 0)

    def _pays_late(self, e):
        if e.subject in self.late and e.subject not in self.seller_ends:
            self.late[e.subject] += e.amount_msat

    def _seller_close_asked(self, e):
        self.seller_ends.add(e.subject)

    _seller_session_closing = _seller_close_asked

    def over_bound(self, stream, debt):
        """Whether a debt is over what its buyer may pay after its close, because the seller trusted it anew by what it
        paid before the seller heard of that; an invoice that does not fit into the rest is not paid in part."""
        late = self.late.get(stream.id, 0)
        more = late + stream.tariff.slice_msat if late else 0
        return not stream.breached and 0 < debt <= more and stream.may_still_pay_msat < debt

    def _known_to(self, process, payment_hash):
        return (process.node, payment_hash) in {**self.sim.money.payments, **self.sim.money.forgotten}

    def _after_close(self, p, out):
        """In arrears at most the limit leaves the buyer for a stream that it closed, and the fees of that."""
        if (
            p.id in self.left_at_close
            and p.tariff is not None
            and not p.tariff.prepaid
            and p.tariff.settlement != "onchain"
        ):
            t = p.tariff
            room = t.limit_msat + p.policy.max_fee_msat * (t.limit_msat // t.slice_msat + t.window + 2)
            more = out - self.left_at_close[p.id]
            self.that(more <= room, f"{more} msat were paid after the close; the limit is {t.limit_msat}")

    def _buyer_update_signed(self, process, e):
        process.onchain.add((e.subject, e.number))
        self._pays_late(e)

    def _buyer_payment_settled(self, process, e):
        if (e.subject, e.number) in process.onchain:
            self.that((e.subject, e.number) not in self.paid, "one version booked as paid twice", e.number)
            self.paid.add((e.subject, e.number))
            return
        flight = process.hash_of[e.subject, e.number]
        self.that(self.sim.money.status(process.node, flight) == "complete", "booked as paid what was not")
        self.that((e.subject, e.number) not in self.paid, "one invoice booked as paid twice", e.number)
        self.paid.add((e.subject, e.number))

    def _buyer_payment_started(self, process, e):
        self.begun[e.payment_hash] = e.amount_msat + e.maxfee_msat
        self._pays_late(e)
        process.hash_of[e.subject, e.number] = e.payment_hash

    def _buyer_payment_failed(self, process, e):
        status = self.sim.money.status(process.node, process.hash_of[e.subject, e.number])
        if "had paid this hash before" in e.why:  # by hand, or for another stream
            self.that(status in ("complete", "pending"), "let go of a payment as another's, which is", status)
            return
        self.that(status not in ("complete", "pending"), "let go of a payment that is", status)

    def after(self, process):
        self.accountant.look()
        (self._seller if process.role == "seller" else self._buyer)(process)

    def _seller(self, process):
        for s in process.core.state.sessions.values():
            t = s.tariff
            lost = s.onchain.lost_sat * 1000
            self.that(
                s.credit_msat + lost >= (0 if t.prepaid else -t.limit_msat), "credit", s.credit_msat, "under its limit"
            )
            self.that(s.debt_msat - lost <= t.limit_msat, "debt", s.debt_msat, "over the limit of", t.limit_msat)
            self.that(s.onchain.held_msat <= t.hold_msat or t.settlement != "onchain", s.onchain.held_msat, "msat held")
            if s.open and t.prepaid and s.buyer and self._honest(s.buyer):
                asked = s.received_msat - s.charged_msat + s.out_msat
                # what was dropped or came late is the buyer's, and more than was asked for
                others = self.sim.money.left(STRANGER, "complete", "pending")  # what a third wallet paid comes on top
                most = t.quantum_msat + s.brought_msat + others
                self.that(asked <= most or not s.out_msat or s.refund.held, "asked for more than the quantum")

        self._unconfirmed(process)

    def _unconfirmed(self, process):
        """What all sessions at a meter hold or have unconfirmed: one buyer may be behind all of them."""
        at_risk, most = {}, {}
        for s in process.core.state.sessions.values():
            if s.tariff.settlement == "onchain":
                limit = 0 if s.tariff.prepaid else s.tariff.limit_msat  # a debt is asked for all the same
                at_risk[s.meter] = at_risk.get(s.meter, 0) + s.onchain.held_msat + s.onchain.unconfirmed_msat
                most[s.meter] = max(most.get(s.meter, 0), s.tariff.unconfirmed_msat + limit)
        for meter, msat in at_risk.items():
            self.that(msat <= most[meter], f"{msat} msat at risk at {meter}, and {most[meter]} may be")

    def _honest(self, buyer):
        return buyer != BUYER or self.sim.plan.hostile != "buyer"

    def _buyer(self, process):
        for p in process.core.state.streams.values():
            if p.tariff is None or not self._honest(process.node):
                continue
            t, fee = p.tariff, p.policy.max_fee_msat
            spent, back = self._moved(process, p.id)
            out = spent + p.carried_msat + self.sim.coins.given(p.id)
            self._after_close(p, spent)
            ticks, beyond = self._used(p)
            bound = t.charge(ticks) + beyond + (t.quantum_msat if t.prepaid else 0)
            slices = p.policy.max_fee_msat * (t.window + p.committed_msat // t.slice_msat + 1) if fee else 0
            slices += p.transactions * FEE * 1000 + p.astray_msat
            slices += t.limit_msat if p.id in self.left_at_close else 0  # what a lying seller may claim at the end
            self.that(
                out - back <= bound + p.carried_msat + slices, f"{out - back - bound} msat beyond the bound are at risk"
            )
            self.that(out <= p.policy.budget_msat + p.carried_msat, "over the budget")

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
        state, ledgers = fold(SellerState(), sim.seller.rows), [(b, fold(BuyerState(), b.rows)) for b in sim.buyers]
        beyond = dict.fromkeys(sim.outlets, 0)
        for s in state.sessions.values():
            self.that(s.state == "closed", f"session {s.id[:6]} never ended:", s.state, s.reason)
            if s.tariff.settlement == "onchain":
                arrived = (sim.coins.arrived_for(s.id) + self._taken_back(s.id)) * 1000
                credited = s.paid_msat - s.onchain.lost_sat * 1000
                self.that(
                    not self._honest(s.buyer) or not s.onchain.lost_sat,
                    f"{s.onchain.lost_sat} sat of an honest buyer are lost",
                )
            else:
                arrived = self._arrived(s, state)
                credited = s.paid_msat
            self.that(credited == arrived, f"session {s.id[:6]}: {arrived} msat arrived, {credited} were credited")
            free = s.tariff.charge(s.ticks) - s.received_msat - s.onchain.lost_sat * 1000 - s.tariff.limit_msat
            free -= s.tariff.charge(OVERSHOOT)
            beyond[s.meter] += 0 if s.spent_msat else max(0, free)
            left = (
                s.charged_msat
                + s.refunded_msat
                + s.taken_msat
                + s.lapsed_msat
                + s.owed_msat
                - s.received_msat
                - s.debt_msat
            )
            self.that(left == 0, f"session {s.id[:6]} does not balance by {left}")
            if sim.plan.hostile == "":
                self.that(not self.waited_for(s), f"{s.owed_msat} msat stay owed:", s.refund.why)
                self.that(not s.refund.under_way, "a refund is still being paid")
        refunded = sum(s.refunded_msat - s.refund_fee_msat for s in state.sessions.values())
        refunds = sum(sim.money.received(payee, "") for payee in REFUNDED)
        self.that(refunded == refunds, f"refunds: {refunded} booked, {refunds} arrived")
        arrived = sim.money.sold()
        paid = sum(s.paid_msat for s in state.sessions.values() if s.tariff.settlement != "onchain")
        self.that(paid == arrived, "what arrived is not what was credited")
        for outlet in sim.outlets.values():
            m = state.meters[outlet.meter]
            self.that(m.state == "standby", "the meter is not free again:", m.state)
            # A board that does not hear that a session began goes on with its allowance, which is given once.
            free = beyond[m.name] - m.tariff.charge(m.tariff.allowance_ticks)
            self.that(free <= 0, f"{free} msat were delivered that nobody paid for or trusted")
            self._count(m, outlet, [s for s in state.sessions.values() if s.meter == m.name])
        self.accountant.verdict(state, ledgers)
        if sim.plan.hostile == "":
            for _, ledger in ledgers:
                self._buyers_end(ledger, state)

    def _verdict_of_what_is_left(self):
        """The books lack what happened in the lost part; that it is not paid and not credited again is the
        accountant's, after each step."""
        state = fold(SellerState(), self.sim.seller.rows)
        for s in state.sessions.values():
            self.that(s.state == "closed", f"session {s.id[:6]} never ended:", s.state, s.reason)
            self.that(not s.refund.held, f"session {s.id[:6]} still waits for a person")
        for m in state.meters.values():
            self.that(m.state == "standby", "the meter is not free again:", m.state)

    def _arrived(self, s, state):
        """What truly arrived for a session: for its own invoices, without a late payment that is kept in a session of
        its own, and for such a session that one payment."""
        if not s.buyer:
            return s.paid_msat
        arrived = 0
        for invoice in self.sim.money.all_invoices():
            if invoice.node != SELLER:
                continue
            kept = bearer_session(invoice.label)
            own = invoice.label.startswith(f"satmeter/0/s/{s.id}/") or invoice.label == opening_label("0", s.first)
            if kept == s.id or (own and kept not in state.sessions):
                arrived += invoice.received
        return arrived

    def _count(self, m, outlet, sales):
        live = self.sim.seller.state.meters[m.name].count
        self.that(live <= outlet.delivered, f"counted {live} ticks, {outlet.delivered} flowed")
        if outlet.boots == 1:
            self.that(live == outlet.delivered, f"counted {live} ticks, {outlet.delivered} flowed")
        charged = sum(s.charged_msat for s in sales)
        spent = sum(s.spent_msat for s in sales)
        unheard = any("not heard" in s.reason for s in sales)
        most = sum(s.tariff.charge(max(0, s.ticks)) for s in sales)
        self.that(charged - spent <= most, "charged more than the ticks cost")
        if not unheard:
            ticks = sum(s.ticks for s in sales)
            self.that(ticks <= outlet.delivered, f"sold {ticks} ticks, {outlet.delivered} flowed")
        self.that(m.recorded <= live, "recorded more than was counted")

    def _buyers_end(self, ledger, state):
        for p in ledger.streams.values():
            self.that(p.state == "closed", f"stream {p.id[:6]} never ended:", p.state, p.reason)
            self.that(not p.in_flight, "a payment is still in flight")
            forgot = (
                self.sim.sensor_back and "sensor" in p.closing.why
            )  # it was away, or lost with its power what it had not told
            believed = not p.closing.why or not p.closing.verified or p.tariff is None or forgot
            self.that(believed, "the receipt is not what the buyer knows:", p.closing.why)
            s = state.sessions.get(p.id)
            if s is not None and p.closing.verified:
                # What no way carries lapses, or goes into a later session: the buyer has let go of the stream before.
                dust = s.lapsed_msat or 0 < s.taken_msat < 1_000 or 0 < p.closing.owed_msat < 1_000
                lapsed = dust and p.closing.revision < s.revision
                same = json.loads(p.closing.receipt) == json.loads(s.receipt)
                self.that(same or lapsed, "the two sides hold different receipts")
