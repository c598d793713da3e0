"""A plugin as a process: its core, its journal, its hands; it may die after any commit and between any two actions."""

import hashlib
import json
from dataclasses import MISSING, fields

from coins import FEE
from money import SELLER
from outlet import METER

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.buyer.buyer import Buyer
from satmeter.core.buyer.session import BuyerSession
from satmeter.core.buyer.state import BuyerState
from satmeter.core.errors import SatmeterError
from satmeter.core.journal import decode, encode
from satmeter.core.seller.context import Ended, Limits
from satmeter.core.seller.meter import Meter
from satmeter.core.seller.seller import Seller
from satmeter.core.seller.session import SellerSession
from satmeter.core.seller.state import SellerState
from satmeter.core.settlement.transaction import TxInput
from satmeter.wire import peer

LIMITS = Limits(silent_ms=3_000, unheard_ms=15_000)


def signature(text):
    return hashlib.sha256(text.encode()).hexdigest()


def earlier(state):
    """Return a dumped state as an earlier version would have written it: what is as it begins is not there."""
    for name, cls in (("sessions", SellerSession), ("streams", BuyerSession), ("meters", Meter)):
        fresh = {f.name: f.default for f in fields(cls) if f.default is not MISSING}
        for each in state.get(name, ()):
            for known in [k for k, v in each.items() if k in fresh and fresh[k] == v]:
                del each[known]
    return state


class Killed(Exception):
    """The process is gone, wherever it was."""


class Broken(Exception):
    """The journal takes nothing: what the core folded is not recorded, and it is folded anew from the journal."""


LATER_FIELD = bytes((0xFD, 0xFF, 0xFF, 3)) + b"new"
"""A record that only a later version knows: odd, so that an earlier one passes over it."""


class Process:
    role = node = name = ""
    broken = False
    later = False
    """Whether it is of a later version than its other side."""

    def __init__(self, sim):
        self.sim = sim
        self.rows, self.snapshot = [], None
        self.core, self.life, self.left = None, 0, None
        self.machine_ms, self.ahead_ms = 0, 0
        """How far its machine's clock is ahead of the time, and how far the core's: that one is never set while it
        runs, and never behind the journal (plugin/clock.py)."""
        self.restart()

    @property
    def now(self):
        return self.sim.now + self.ahead_ms

    # --- living and dying

    def break_journal(self, lasts):
        self.broken = True
        self.sim.after(lasts, self._mended)

    def _mended(self):
        self.broken = False

    def kill(self, left, down):
        """Die after so many more steps, and come back after `down` ms."""
        self.left, self.down = left, down

    def upgrade(self):
        """End; and begin as a later version, to which the snapshot of the earlier one lacks what it would have now."""
        self.later = True
        if self.snapshot is not None:
            upto, text = self.snapshot
            self.snapshot = (upto, json.dumps(earlier(json.loads(text))))
        self.kill(0, 50)

    def _step(self, what):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.sim.say(f"{self.name} dies before {what}")
                raise Killed

    def _died(self):
        self.core, self.left = None, None
        self.life += 1
        self.sim.after(self.down, self.restart)

    def restart(self):
        if self.core is not None:
            return
        self.ahead_ms = max([self.machine_ms, *(row[1] - self.sim.now for row in self.rows)])
        self.core = self.build()
        self.sim.say(f"{self.name} starts")
        step = self.core.resume(self.now)
        try:
            self._carry_out(step)
        except Killed:
            self._died()
            return
        except Broken:
            self._failed()
            return
        self.started()

    def fold(self, books):
        """Fold the journal, from its snapshot if there is one; both ways have to come to the same."""
        whole = type(books)()
        for kind, at, subject, data in self.rows:
            whole.apply(decode(kind, at, subject, data))
        if self.snapshot is None:
            return whole
        upto, text = self.snapshot
        books.load(json.loads(text))
        for kind, at, subject, data in self.rows[upto:]:
            books.apply(decode(kind, at, subject, data))
        self.sim.judge.snapshot(self, books, whole)
        return books

    def feed(self, what, reply=lambda answer: None):
        """Handle one input as plugin/runtime.py does: decide, commit, answer, act."""
        if self.core is None:
            reply(None)
            return
        try:
            try:
                answer = self.core.handle(what, self.now).result
            except SatmeterError as e:
                answer = e
            self._carry_out(self.core.step, lambda: reply(answer))
        except Killed:
            self._died()
        except Broken:
            self._failed()
        else:
            self.sim.judge.after(self)

    def _failed(self):
        """As plugin/runtime.py: no action is taken; its threads live on, and the journal is tried again."""
        self.core = None
        self.sim.say(f"{self.name}: its journal takes nothing")
        self.sim.after(1_000, self.restart)

    def _carry_out(self, step, answered=lambda: None):
        if step.events:
            self._step("a commit")
            if self.broken:
                raise Broken
            for e in step.events:
                self.rows.append((e.kind(), e.at, e.subject, encode(e)))
                self.sim.judge.event(self, e)
                self.sim.say(f"{self.name}: {e.kind()} {encode(e)[:400]}")
            if self.sim.plan.chance("snapshot", self.name, len(self.rows)).random() < 0.05:
                self.snapshot = (len(self.rows), json.dumps(self.state.dump()))
        answered()
        for action in step.effects:
            self._step(type(action).__name__)
            self.perform(action)
        self.changed()

    def hand(self, job, *args):
        """Have something done off the core's thread; what is not begun when the process dies is not done."""
        life = self.life
        wait = self.sim.plan.chance("hand", self.name, self.sim.now, len(self.rows)).randrange(2, 9)

        def run():
            if self.life == life and not self.sim.weather("node"):
                job(*args)
            elif self.life == life and job in (self._refund, self._pay):
                self.sim.after(1_000, run)  # a payment is begun again until the node is back

        self.sim.after(wait, run)

    def landed(self, payment_hash, ended):
        """Wait until no part of a payment is under way, as node/payments.py; then say what became of it."""
        status = self.sim.money.status(self.node, payment_hash)
        if status == "pending":
            self.sim.after(500, self.landed, payment_hash, ended)
        else:
            ended(status)

    def told(self, life):
        """Return a feed() that is deaf when the process has died since."""
        return lambda what: self.feed(what) if self.life == life else None

    def message(self, sender, data):
        m = peer.decode(data)
        if m is not None and self.mine(m):
            self.feed(cmd.FromPeer(peer=sender, message=m))

    def send(self, to, message):
        self.sim.send(self.node, to, peer.encode(message) + (LATER_FIELD if self.later else b""))

    def changed(self):
        pass

    def _refund(self, a):
        raise NotImplementedError

    _pay = _refund


class SellerProcess(Process):
    role = name = "seller"
    node = SELLER
    older = -1
    """The node's newest pay_index when an older copy was put in the journal's place, until that is in it."""

    @property
    def state(self):
        return self.core.state

    def build(self):
        return Seller(SELLER, LIMITS, self.fold(SellerState()), "0", self.recall, self.older)

    def replace_journal(self, keep):
        """The disk is lost, and an older copy of the journal goes on: `keep` rows of it."""
        self.sim.say(f"{self.name}: an older copy, {keep} of {len(self.rows)} rows")
        del self.rows[keep:]
        self.snapshot = None if self.snapshot is not None and self.snapshot[0] > keep else self.snapshot
        self.older = self.sim.money.newest_index[SELLER]
        if self.core is not None:
            self.down = 50
            self._died()

    def started(self):
        self.older = -1
        self.watched, self.offers_told = self.state.pay_index, False
        self.sim.after(self.sim.plan.chance("watch", self.life).randrange(5, 60), self.watch)

    def recall(self, session):
        mine = [(kind, json.loads(data)) for kind, _, stream, data in self.rows if stream == session]
        if not any(kind == "session_opened" for kind, _ in mine):
            return None
        signed = [d for kind, d in mine if kind == "receipt_signed"][-1:] or [{"text": "", "signature": ""}]
        return Ended(mine[0][1]["buyer"], signed[0]["text"], signed[0]["signature"])

    def watch(self):
        """As plugin/meter.py: the node's offers are told first, then what waitanyinvoice says."""
        if self.core is not None and not self.offers_told:
            self.offers_told = True
            self._tell_offers()
        if self.core is None:
            return
        paid = [i for i in self.sim.money.invoices.values() if i.node == SELLER and i.index > self.watched]
        for i in sorted(paid, key=lambda i: i.index):
            if self.core is not None:
                after, self.watched = self.watched, i.index
                self.feed(
                    cmd.InvoiceSettled(
                        label=i.label, amount_msat=i.received, pay_index=i.index, payment_hash=i.hash, after=after
                    )
                )

    def _tell_offers(self):
        """A crash, or an older copy, may have lost one."""
        for offer_id, active in self.sim.money.offers.items():
            self.feed(cmd.OfferMade(meter=METER, amount_msat=0, offer_id=offer_id, bolt12="lno1", active=active))

    def mine(self, m):
        return isinstance(m, (msg.Open, msg.Agree, msg.Update)) or getattr(m, "by", "") == msg.BUYER

    def changed(self):
        self.sim.changed()

    def perform(self, a):
        if isinstance(a, do.Send):
            self.sim.tricky_send(self, a.peer, a.message)
        elif isinstance(a, do.MakeInvoice):
            self.hand(self._make, a)
        elif isinstance(a, do.CancelInvoice):
            self.hand(self._cancel, a)
        elif isinstance(a, do.PayRefund):
            self.hand(self._refund, a)
        elif isinstance(a, do.MakeOffer):
            self.hand(self._make_offer, a)
        elif isinstance(a, do.SwitchOffer):
            self.hand(self._switch_offer, a)
        elif isinstance(a, do.GiveAddress):
            self.hand(
                self.feed,
                # A fresh one each time, as the node makes them: what was signed to another does not count.
                cmd.AddressMade(
                    session=a.session,
                    tx_number=a.tx_number,
                    address=f"to/{a.session}/{a.tx_number}.{self.life}",
                    feerate=self.sim.coins.feerate,
                ),
            )
        elif isinstance(a, do.CheckUpdate):
            self.hand(self._check, a)
        elif isinstance(a, do.Broadcast):
            self.hand(self.sim.coins.send, a.raw)
        elif isinstance(a, do.LookAt):
            self.hand(self._look, a)
        elif isinstance(a, do.Bump):
            self.hand(self._bump, a)
        elif isinstance(a, do.Sign):
            self.hand(
                self.feed,
                cmd.SignatureMade(session=a.session, revision=a.revision, text=a.text, signature=signature(a.text)),
            )

    def block(self):
        self.feed(cmd.BlockAdded())

    def _check(self, a):
        coins = self.sim.coins
        try:
            tx = json.loads(a.raw)
            spent = a.inputs == [] and any(coins.spender(coin) for coin in tx["coins"])
            good = (tx["address"], tx["value"]) == (a.address, a.value_sat) and not spent
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            self.feed(cmd.UpdateRefused(session=a.session, number=a.number, tx_number=a.tx_number, why="not as agreed"))
            return
        inputs = [TxInput(coin, 10**9, "51") for coin in tx["coins"]]
        if a.inputs and inputs != a.inputs:
            self.feed(cmd.UpdateRefused(session=a.session, number=a.number, tx_number=a.tx_number, why="other inputs"))
            return
        txid = hashlib.sha256(a.raw.encode()).hexdigest()
        self.feed(
            cmd.UpdateChecked(
                session=a.session,
                number=a.number,
                tx_number=a.tx_number,
                value_sat=a.value_sat,
                fee_sat=FEE,
                weight=560,
                txid=txid,
                vout=0,
                raw=a.raw,
                inputs=inputs,
            )
        )

    def _look(self, a):
        """As plugin/onchain_seller.py."""
        coins = self.sim.coins
        spenders = [coins.spender(o) for o in a.outpoints]
        mined = [coins.mined[o] for o in a.outpoints if o in coins.mined]
        ours = [height for raw, height in mined if raw == a.raw]
        confirmations = coins.height - max(ours) + 1 if a.sent and ours else 0
        known = a.sent and (bool(ours) or any(raw == a.raw for raw in spenders))
        refused = coins.send(a.raw) if a.sent and not known else ""
        known = known or (a.sent and not refused)
        conflict, at, arrived = "", 0, json.loads(a.raw)["value"] if confirmations else 0
        if not known and any(spenders):
            conflict = "spent elsewhere"
            others = [(raw, height) for raw, height in mined if raw != a.raw]
            if others:
                at = others[0][1]
                arrived = sum(json.loads(raw)["value"] for raw, _ in others if json.loads(raw)["address"] == a.address)
        self.feed(
            cmd.TxSeen(
                session=a.session,
                tx_number=a.tx_number,
                sent=a.sent,
                known=known,
                refused=refused,
                conflict=conflict,
                conflict_height=at,
                arrived_sat=arrived,
                confirmations=confirmations,
                height=coins.height,
                feerate=coins.feerate,
            )
        )

    def _bump(self, a):
        """As plugin/onchain_seller.py."""
        fee = min(self.sim.coins.needed(a.feerate) - a.fee_sat, a.budget_sat)
        if fee > 0:
            tip = self.sim.coins.bump(a.session, a.tx_number, a.fee_sat + fee)
            self.feed(
                cmd.BumpMade(
                    session=a.session, tx_number=a.tx_number, tip=tip, value_sat=a.value_sat - fee, fee_sat=fee
                )
            )

    def _make(self, a):
        self._tell(self.sim.money.invoice(SELLER, a.label, a.amount_msat, a.expiry_s, a.renew))

    def _tell(self, i):
        if i.status == "paid":
            self.feed(cmd.InvoiceSettled(label=i.label, amount_msat=i.received, pay_index=i.index, payment_hash=i.hash))
        elif i.status == "unpaid":
            self.feed(cmd.InvoiceMade(label=i.label, bolt11=i.bolt11))
        else:
            self.feed(cmd.InvoiceGone(label=i.label))

    def _make_offer(self, a):
        offer_id = hashlib.sha256(a.label.encode()).hexdigest()
        active = self.sim.money.offers.setdefault(offer_id, True)
        self.feed(
            cmd.OfferMade(meter=a.meter, amount_msat=a.amount_msat, offer_id=offer_id, bolt12="lno1", active=active)
        )

    def _switch_offer(self, a):
        self.sim.money.offers[a.offer_id] = a.active
        self.feed(cmd.OfferSwitched(offer_id=a.offer_id, active=a.active))

    def _cancel(self, a):
        paid = self.sim.money.delete(SELLER, a.label)
        if paid is not None:
            self._tell(paid)
        else:
            self.feed(cmd.InvoiceGone(label=a.label))

    def _refund(self, a):
        """As plugin/meter.py."""
        tell, money = self.told(self.life), self.sim.money
        inv = money.by_hash.get((a.bolt11.split(":") + [""])[1])
        known = inv is not None and money.status(SELLER, inv.hash) in ("pending", "complete")
        if inv is None or (not known and self.sim.now >= inv.expires_at):
            tell(
                cmd.RefundLost(session=a.session, bolt11=a.bolt11, attempt=a.attempt, why="not to be paid", final=True)
            )
            return
        answers = []
        self.feed(
            cmd.ClaimRefund(session=a.session, bolt11=a.bolt11, attempt=a.attempt, payment_hash=inv.hash, known=known),
            answers.append,
        )
        if not (answers and answers[0] in (cmd.Claimed.NOW, cmd.Claimed.BEFORE)):
            return  # refused, or nobody is there to answer: the refund is resumed with the core

        def ended(status):
            if status == "complete":
                p = money.payments[SELLER, inv.hash]
                tell(
                    cmd.RefundSettled(
                        session=a.session, bolt11=a.bolt11, amount_msat=p.amount, fee_msat=p.fee, payment_hash=inv.hash
                    )
                )
            else:
                tell(cmd.RefundLost(session=a.session, bolt11=a.bolt11, attempt=a.attempt, why="failed", final=False))

        money.pay(SELLER, a.bolt11, a.maxfee_msat, a.amount_msat, lambda: self.landed(inv.hash, ended))


class BuyerProcess(Process):
    role = "buyer"

    def __init__(self, sim, node, name):
        self.node, self.name = node, name
        self.hash_of, self.onchain = {}, set()
        """(stream, n) -> the hash that is paid for it; and which of them are updates"""
        super().__init__(sim)

    @property
    def state(self):
        return self.core.state

    def build(self):
        return Buyer(state=self.fold(BuyerState()), recall=self.recall)

    def recall(self, session):
        ledger = BuyerState()
        for kind, at, subject, data in self.rows:
            if subject == session:
                ledger.apply(decode(kind, at, subject, data))
        return ledger.streams.get(session)

    def started(self):
        pass

    def mine(self, m):
        return not isinstance(m, (msg.Open, msg.Agree, msg.Update)) and getattr(m, "by", msg.SELLER) == msg.SELLER

    def perform(self, a):
        if isinstance(a, do.Send):
            self.send(a.peer, a.message)
        elif isinstance(a, do.Pay):
            self.hand(self._pay, a)
        elif isinstance(a, do.Connect):
            self.hand(self.sim.connect)
        elif isinstance(a, do.MakeRefundInvoice):
            self.hand(self._refund_invoice, a)
        elif isinstance(a, do.Fund):
            self.hand(self._fund, a)
        elif isinstance(a, do.SignUpdate):
            self.hand(self._sign, a)
        elif isinstance(a, do.Reserve):
            self.hand(self._reserve, a)
        elif isinstance(a, do.CheckReceipt):
            self.hand(self._check_receipt, a)

    def message(self, sender, data):
        """As plugin/stream.py: an invoice is decoded first."""
        m = peer.decode(data)
        if isinstance(m, msg.Invoice):
            self.hand(self._invoice, sender, m)
        else:
            super().message(sender, data)

    def _invoice(self, sender, message):
        try:
            payee, payment_hash, amount = message.bolt11.split(":")
            expires = self.sim.money.by_hash[payment_hash].expires_at + self.ahead_ms
        except (ValueError, KeyError):
            self.feed(cmd.InvoiceReceived(peer=sender, message=message, decoded=None, why="nonsense"))
            return
        decoded = cmd.DecodedInvoice(
            bolt11=message.bolt11,
            payee=payee,
            amount_msat=int(amount),
            payment_hash=payment_hash,
            expires_at=expires,
            final_cltv=18,
        )
        self.feed(cmd.InvoiceReceived(peer=sender, message=message, decoded=decoded))

    def _check_receipt(self, a):
        made = {label: self.sim.money.invoices.get((self.node, label)) for label in a.labels}
        arrived = {label: i.received for label, i in made.items() if i is not None}
        self.feed(
            cmd.ReceiptChecked(
                session=a.session,
                text=a.text,
                signature=a.signature,
                verified=a.signature == signature(a.text),
                arrivals=arrived,
            )
        )

    def _pay(self, a):
        """As node/payments.py: what the node knows as complete or pending stands, and only else it is paid."""
        tell, money = self.told(self.life), self.sim.money
        if a.fresh and money.status(self.node, a.payment_hash) in ("complete", "pending"):
            tell(cmd.PaymentKnown(session=a.session, number=a.number, attempt=a.attempt))
            return

        def ended(status):
            if status == "complete":
                p = money.payments[self.node, a.payment_hash]
                tell(
                    cmd.PaymentDone(
                        session=a.session, number=a.number, payment_hash=a.payment_hash, sent_msat=p.amount + p.fee
                    )
                )
            else:
                tell(cmd.PaymentLost(session=a.session, number=a.number, attempt=a.attempt, why="failed"))

        if a.invoice is not None:
            money.pay(self.node, a.invoice.bolt11, a.maxfee_msat, None, lambda: self.landed(a.payment_hash, ended))
        else:
            self.landed(a.payment_hash, ended)

    def _fund(self, a):
        coins = self.sim.coins
        coin = coins.new()
        coins.reserved[coin] = coins.height + 72
        self.feed(
            cmd.Funded(
                session=a.session,
                tx_number=a.tx_number,
                fee_sat=FEE,
                change="52",
                inputs=[TxInput(coin, a.maximum_sat + 10_000, "51", 100)],
            )
        )

    def _reserve(self, a):
        for coin in a.inputs:
            self.sim.coins.reserved[coin] = self.sim.coins.height + a.blocks

    def _sign(self, a):
        """The wallet signs whatever it is asked to, and the judge looks on."""
        g, coins = a.transaction, self.sim.coins
        names = list(g.outpoints)
        raw = json.dumps({"coins": names, "address": g.address, "value": a.value_sat, "feerate": g.feerate})
        self.sim.judge.version(a.session, g.number, names, a.value_sat, raw)
        for coin in names:
            coins.signed.setdefault(coin, []).append((a.session, g.number, a.value_sat))
        self.feed(cmd.UpdateMade(session=a.session, number=a.number, tx_number=g.number, raw=raw))

    def _refund_invoice(self, a):
        made = self.sim.money.invoice(self.node, a.label, None, 30 * 86_400)
        self.feed(cmd.RefundInvoiceMade(session=a.session, bolt11=made.bolt11))
