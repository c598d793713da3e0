"""A seller and a buyer core, a node that pays as told, and a post between them that a test can hold up."""

from collections import deque

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.buyer.buyer import Buyer
from satmeter.core.buyer.state import BuyerState
from satmeter.core.journal import canonical, decode, encode
from satmeter.core.labels import First, opening_label
from satmeter.core.reading import Reading
from satmeter.core.seller.context import Ended, Limits
from satmeter.core.seller.seller import Seller
from satmeter.core.seller.state import SellerState
from satmeter.core.tariff import Tariff

SELLER_ID, BUYER_ID = "02" + "aa" * 32, "02" + "bb" * 32
SESSION = "5e" * 16
TARIFF = {"price_msat": 1000, "ticks_per_unit": 10, "quantum_msat": 10_000, "grace_s": 30, "lockout_s": 60}
POLICY = {"max_price_msat": 1000, "budget_msat": 1_000_000, "unit": "unit"}


def first_label(session=SESSION, buyer=BUYER_ID, tariff=None, meter="m", journal="0"):
    """The label of the first invoice of a session."""
    return opening_label(journal, First(meter, session, buyer, Tariff.from_dict({**TARIFF, **(tariff or {})}).mark))


def invoice_received(message, amount_msat, payment_hash, expires_at, payee=SELLER_ID, peer=SELLER_ID):
    """An invoice message with what the buyer's node found in it."""
    decoded = cmd.DecodedInvoice(
        bolt11=message.bolt11,
        payee=payee,
        amount_msat=amount_msat,
        payment_hash=payment_hash,
        expires_at=expires_at,
        final_cltv=18,
    )
    return cmd.InvoiceReceived(peer=peer, message=message, decoded=decoded)


def refold(events, fold):
    """Fold events as they come back from their JSON."""
    for e in events:
        fold.apply(decode(e.kind(), e.at, e.subject, encode(e)))
    return fold


class World:
    """Time is `now` (ms); pump() carries out what the cores want until nothing is left to do."""

    def __init__(self, tariff=None, limits=None, policy=None, sellers=frozenset()):
        self.now = 1_000_000_000
        self.seller = Seller(SELLER_ID, limits or Limits(silent_ms=10**9), recall=self.recall)
        self.buyer = Buyer(sellers)
        self.seller_events, self.buyer_events = [], []
        self.todo = deque()
        self.notes = []
        self.sent = []
        self.invoices = {}  # label -> [amount, status, index, bolt11, when it expires]
        self.payments = {}  # hash -> "complete" | "failed"
        self.paid_index = 0
        self.paid_by_buyer = {}  # label -> what left the buyer's node
        self.fail = 0
        self.seller_behind_ms = 0  # by how much the clock of the seller's node is behind
        self.board_on = True
        self.hold = set()  # kinds of action that are not carried out now
        self.lose = lambda message: False
        self.channel_can_refund = True
        self.balance = 0  # msat the seller has gained
        self.fee = 0  # what a refund costs where it may cost something; without a fee there is no way, then
        self.refunds = {}  # bolt11 -> what arrived by it
        self.remembered = {}  # sales and purchases that the cores have let go
        self.policy = {**POLICY, **(policy or {})}
        self.sell(cmd.AddMeter(meter="m", tariff={**TARIFF, **(tariff or {})}))
        self.report(0)

    # --- inputs

    def sell(self, what):
        step = self._handle(self.seller, self.seller_events, what, "seller")
        return step.result

    def buy(self, what):
        return self._handle(self.buyer, self.buyer_events, what, "buyer").result

    def _handle(self, core, events, what, side):
        try:
            return core.handle(what, self.now)
        finally:
            events += core.step.events
            self.todo += [(side, action) for action in core.step.effects]
            core.step.effects = []
            self.remembered |= {("sale", k): v for k, v in self.seller.state.sessions.items()}
            self.remembered |= {("purchase", k): v for k, v in self.buyer.state.streams.items()}

    def report(self, register, boot="b1", plugged=True, base=0):
        self.sell(cmd.Report(meter="m", reading=Reading(boot, register, base, 0, plugged)))
        self.pump()

    def open(self, session=SESSION, **policy):
        self.buy(
            cmd.OpenStream(
                session=session, seller=SELLER_ID, meter="m", address="h:1", policy={**self.policy, **policy}
            )
        )
        self.pump()

    def pass_ms(self, ms, step=250, register=None):
        for _ in range(ms // step):
            self.now += step
            self.sell(cmd.Tick())
            self.buy(cmd.Tick())
            self.pump()

    def restart_seller(self):
        """Fold the journal anew; the old core's memory is gone."""
        self.todo = deque(t for t in self.todo if t[0] != "seller")
        self.seller = Seller(
            SELLER_ID, self.seller.limits, refold(self.seller_events, SellerState()), recall=self.recall
        )
        self._handle_resume(self.seller, self.seller_events, "seller")

    def replace_seller(self, upto, register=0, tell=True):
        """An older copy stands in the journal's place, its first `upto` events; the node tells what was paid since, and
        the board its register."""
        self.todo = deque(t for t in self.todo if t[0] != "seller")
        del self.seller_events[upto:]
        books = refold(self.seller_events, SellerState())
        self.seller = Seller(SELLER_ID, self.seller.limits, books, recall=self.recall, older=self.paid_index)
        self._handle_resume(self.seller, self.seller_events, "seller")
        paid = sorted(
            (row[2], label, row[0]) for label, row in self.invoices.items() if tell and row[2] > books.pay_index
        )
        for index, label, amount in paid:
            self.sell(
                cmd.InvoiceSettled(
                    label=label, amount_msat=amount, pay_index=index, payment_hash=label, after=index - 1
                )
            )
        self.report(register)

    def restart_buyer(self):
        self.todo = deque(t for t in self.todo if t[0] != "buyer")
        self.buyer = Buyer(state=refold(self.buyer_events, BuyerState()))
        self._handle_resume(self.buyer, self.buyer_events, "buyer")

    def _handle_resume(self, core, events, side):
        step = core.resume(self.now)
        events += step.events
        self.todo += [(side, action) for action in step.effects]

    # --- hands

    def pump(self, most=10_000):
        kept = deque()
        while self.todo or (self.board_on and self.ending()):
            most -= 1
            assert most, "the cores never come to rest"
            if not self.todo:
                self.now += 1
                m = self.meter
                self.sell(
                    cmd.Report(meter="m", reading=Reading(m.boot, m.register, 0, 0, m.memory.plugged))
                )  # the board says that it has stopped
                continue
            side, action = self.todo.popleft()
            if type(action) in self.hold:
                kept.append((side, action))
            else:
                self.perform(side, action)
        self.todo = kept

    def ending(self):
        m = self.seller.state.meters.get("m")
        s = self.seller.state.sessions.get(m.session) if m else None
        return s is not None and s.ending_at and m.boot and not s.reserved_msat

    def perform(self, side, a):
        if isinstance(a, do.Send):
            self.sent.append(a.message)
            if not self.lose(a.message):
                if side == "seller" and a.peer == BUYER_ID:
                    self.buy(self.received(a.message))
                elif side == "buyer":
                    self.sell(cmd.FromPeer(peer=BUYER_ID, message=a.message))
        elif isinstance(a, do.Notify):
            self.notes.append((a.topic, a.payload))
        elif side == "seller":
            self._sellers_node(a)
        else:
            self._buyers_node(a)

    def received(self, message, peer=SELLER_ID):
        """A seller's message as the buyer's plugin hands it on: an invoice is decoded first."""
        if not isinstance(message, msg.Invoice):
            return cmd.FromPeer(peer=peer, message=message)
        amount = message.bolt11.rsplit(":", 1)[-1]
        if not amount.isdecimal():
            return cmd.InvoiceReceived(peer=peer, message=message, decoded=None, why="not BOLT 11")
        expires = self.now - self.seller_behind_ms + 600_000
        return invoice_received(message, int(amount), message.bolt11, expires, peer=peer)

    def recall(self, session):
        """What the journal's index says of a session that memory has let go."""
        mine = [e for e in self.seller_events if e.subject == session]
        if not any(e.kind() == "session_opened" for e in mine):
            return None
        signed = [e for e in mine if e.kind() == "receipt_signed"]
        return Ended(mine[0].buyer, signed[-1].text if signed else "", signed[-1].signature if signed else "")

    def _sellers_node(self, a):
        if isinstance(a, do.MakeInvoice):
            new = [a.amount_msat, "unpaid", 0, f"inv:{a.label}:{a.amount_msat}", self.now + a.expiry_s * 1000]
            row = self.invoices.setdefault(a.label, new)
            if row[1] == "unpaid" and self.now > row[4]:
                row[1] = "gone"
            if row[1] == "gone" and a.renew:
                row = self.invoices[a.label] = new
            if row[1] == "unpaid" and row[0] != a.amount_msat:
                row = self.invoices[a.label] = new  # it was made ahead, and told to nobody
            if row[1] == "paid":
                self.sell(cmd.InvoiceSettled(label=a.label, amount_msat=row[0], pay_index=row[2], payment_hash=a.label))
            elif row[1] == "gone":
                self.sell(cmd.InvoiceGone(label=a.label))
            else:
                self.sell(cmd.InvoiceMade(label=a.label, bolt11=row[3]))
        elif isinstance(a, do.CancelInvoice):
            row = self.invoices.get(a.label)
            if row and row[1] == "paid":
                self.sell(cmd.InvoiceSettled(label=a.label, amount_msat=row[0], pay_index=row[2], payment_hash=a.label))
            else:
                if row:
                    row[1] = "gone"
                self.sell(cmd.InvoiceGone(label=a.label))
        elif isinstance(a, do.PayRefund):
            if not self.sell(
                cmd.ClaimRefund(
                    session=a.session,
                    bolt11=a.bolt11,
                    attempt=a.attempt,
                    payment_hash=a.bolt11,
                    known=a.bolt11 in self.refunds,
                )
            ):
                return
            if self.channel_can_refund and self.fee <= a.maxfee_msat:
                self.balance -= a.amount_msat + self.fee
                self.refunds[a.bolt11] = self.refunds.get(a.bolt11, 0) + a.amount_msat
                self.sell(
                    cmd.RefundSettled(
                        session=a.session,
                        bolt11=a.bolt11,
                        amount_msat=a.amount_msat,
                        fee_msat=self.fee,
                        payment_hash="",
                    )
                )
            else:
                self.sell(
                    cmd.RefundLost(
                        session=a.session,
                        bolt11=a.bolt11,
                        attempt=a.attempt,
                        why="no capacity: the reserve is not passed yet",
                        final=False,
                    )
                )
        elif isinstance(a, do.Sign):
            self.sell(cmd.SignatureMade(session=a.session, revision=a.revision, text=a.text, signature="sig:" + a.text))

    def _buyers_node(self, a):
        if isinstance(a, do.Pay):
            label = a.payment_hash[4:].rsplit(":", 1)[0]
            if a.fresh and self.invoices[label][1] == "paid":
                self.buy(cmd.PaymentKnown(session=a.session, number=a.number, attempt=a.attempt))
            elif a.invoice is None and self.invoices[label][1] != "paid":
                self.buy(cmd.PaymentLost(session=a.session, number=a.number, attempt=a.attempt, why="it was not begun"))
            elif self.fail:
                self.fail -= 1
                self.buy(cmd.PaymentLost(session=a.session, number=a.number, attempt=a.attempt, why="failed"))
            elif self.pay(label):
                self.paid_by_buyer[label] = self.invoices[label][0]
                self.buy(
                    cmd.PaymentDone(
                        session=a.session,
                        number=a.number,
                        payment_hash=a.payment_hash,
                        sent_msat=self.invoices[label][0],
                    )
                )
            else:
                self.buy(cmd.PaymentLost(session=a.session, number=a.number, attempt=a.attempt, why="rejected"))
        elif isinstance(a, do.MakeRefundInvoice):
            self.buy(cmd.RefundInvoiceMade(session=a.session, bolt11=f"refund:{a.label}"))
        elif isinstance(a, do.CheckReceipt):
            arrived = {label: self.refunds.get(f"refund:{label}", 0) for label in a.labels}
            self.buy(
                cmd.ReceiptChecked(
                    session=a.session,
                    text=a.text,
                    signature=a.signature,
                    verified=a.signature == "sig:" + a.text,
                    arrivals=arrived,
                )
            )
        elif isinstance(a, do.Connect):
            pass

    def pay(self, label, amount=None, hook=True):
        """Pay an invoice as any wallet would; False where the seller's hook or node says no."""
        row = self.invoices[label]
        if row[1] == "paid":
            return True  # listpays knows it as complete
        if row[1] == "gone" or (hook and self.seller.rejects(label, self.now)):
            return False
        if hook:
            self.sell(cmd.InvoiceArriving(label=label))
        self.paid_index += 1
        row[0], row[1], row[2] = amount or row[0], "paid", self.paid_index
        self.balance += row[0]
        self.sell(
            cmd.InvoiceSettled(
                label=label,
                amount_msat=row[0],
                pay_index=self.paid_index,
                payment_hash=label,
                after=self.paid_index - 1,
            )
        )
        return True

    # --- looks

    def unpaid(self):
        """Labels of what is asked for and not paid; an invoice that was only made ahead is not among them."""
        asked = {
            f"satmeter/0/s/{s.id}/{n}" for s in self.seller.state.sessions.values() for n in {**s.out, **s.dropped}
        }
        asked |= {opening_label("0", s.first) for s in self.seller.waiting.values()}
        return [label for label, row in self.invoices.items() if row[1] == "unpaid" and label in asked]

    def first(self):
        """The opening that waits for its first payment, None if there is none."""
        return self.seller.waiting.get(SESSION)

    @property
    def meter(self):
        return self.seller.state.meters["m"]

    @property
    def sale(self):
        return self.remembered["sale", SESSION]

    @property
    def purchase(self):
        return self.remembered["purchase", SESSION]

    def grant(self):
        from satmeter.core.seller import views

        return views.grant_register(self.meter, self.seller.state.sessions.get(self.meter.session))

    def receipts(self):
        import json

        return [json.loads(e.text) for e in self.seller_events if e.kind() == "receipt_signed"]


OTHER = "0f" * 16
DAY_MS = 86_400_000
ARREARS = {"mode": "arrears", "limit_msat": 20_000}


def identity(r):
    return r["paid_msat"] + r["debt_msat"] == (
        r["charged_msat"] + r["refunded_msat"] + r["lapsed_msat"] + r["owed_msat"]
    )


class Victim:
    """A buyer whose seller says what it likes, and whose payments all arrive."""

    def __init__(self, **tariff):
        self.now, self.paid, self.sent = 1_000_000_000, 0, 0
        self.buyer = Buyer()
        self.tell(cmd.OpenStream(session=SESSION, seller=SELLER_ID, meter="m", address="h:1", policy=POLICY))
        terms = canonical(Tariff.from_dict({**TARIFF, **tariff}).terms())
        self.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Terms(SESSION, 1, "m", terms, 0)))

    def tell(self, what):
        return self.buyer.handle(what, self.now)

    def invoice(self, n, amount, ticks, charged, seq=None, bolt11=None, fee=0):
        self.now += 10
        bolt11 = bolt11 or f"i{n}"
        message = msg.Invoice(SESSION, seq or self.now, n, amount, bolt11, ticks, charged, 0)
        step = self.tell(invoice_received(message, amount, f"h{n}-{bolt11}", self.now + 10**6))
        for a in step.effects:
            if isinstance(a, do.Pay):
                cost = min(fee, a.maxfee_msat)
                self.paid, self.sent = self.paid + amount, self.sent + amount + cost
                self.tell(
                    cmd.PaymentDone(session=SESSION, number=n, payment_hash=a.payment_hash, sent_msat=amount + cost)
                )

    @property
    def purchase(self):
        return self.buyer.state.streams[SESSION]


def unrefunded():
    """A session that used 30 of its 100 ticks and was closed; what it owes could not be paid."""
    w = World()
    w.channel_can_refund = False
    w.open()
    w.report(30)
    w.buy(cmd.CloseStream(session=SESSION))
    w.pump()
    return w
