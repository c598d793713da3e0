"""Two cores, nodes that pay in parts, and an adversary who chooses every order: what is done first, what is lost, who
falls dead, which part of a refund is let go. Whatever it chooses, the books come to what the wallets did."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from world import BUYER_ID, POLICY, SELLER_ID, SESSION, TARIFF, invoice_received, refold

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.buyer.buyer import Buyer
from satmeter.core.buyer.state import BuyerState
from satmeter.core.reading import Reading
from satmeter.core.seller import views
from satmeter.core.seller.context import Limits
from satmeter.core.seller.seller import Seller
from satmeter.core.seller.state import SellerState

PRICE_PER_TICK = TARIFF["price_msat"] // TARIFF["ticks_per_unit"]
LIMITS = Limits(silent_ms=10**9)
OPEN_SESSIONS = [SESSION, "6e" * 16, "7a" * 16]


class Orders(RuleBasedStateMachine):
    """Facts are `invoices` (label -> [amount, status, index]), `parts` of refunds, and `delivered`."""

    @initialize(window=st.sampled_from([1, 4]))
    def begin(self, window):
        self.now, self.index, self.delivered, self.opened = 10**9, 0, 0, 0
        self.events = {"seller": [], "buyer": []}
        self.cores = {"seller": Seller(SELLER_ID, LIMITS), "buyer": Buyer()}
        self.todo, self.news = [], []
        self.invoices, self.parts, self.left = {}, {}, {}
        self.tell("seller", cmd.AddMeter(meter="m", tariff={**TARIFF, "window": window}))
        self.tell("seller", cmd.Report(meter="m", reading=Reading("b1", 0)))

    # --- the cores

    def tell(self, side, what):
        core = self.cores[side]
        try:
            core.handle(what, self.now)
        except Exception as e:
            assert type(e).__module__ == "satmeter.core.errors", e
        self.take(side, core.step)

    def take(self, side, step):
        self.events[side] += step.events
        self.todo += [(side, action) for action in step.effects if not isinstance(action, (do.Notify, do.Connect))]
        step.events, step.effects = [], []

    @rule(side=st.sampled_from(["seller", "buyer"]))
    def falls_dead(self, side):
        self.todo = [each for each in self.todo if each[0] != side]
        if side == "seller":
            self.cores[side] = Seller(SELLER_ID, LIMITS, refold(self.events[side], SellerState()))
        else:
            self.cores[side] = Buyer(state=refold(self.events[side], BuyerState()))
        self.take(side, self.cores[side].resume(self.now))
        if side == "seller":
            self.tell("seller", cmd.Report(meter="m", reading=Reading("b1", self.delivered)))
            known = self.cores["seller"].state.pay_index
            self.news = [label for label, row in self.invoices.items() if row[2] > known]

    # --- what the adversary does

    @precondition(lambda self: self.opened < len(OPEN_SESSIONS))
    @rule()
    def opens(self):
        self.tell(
            "buyer",
            cmd.OpenStream(
                session=OPEN_SESSIONS[self.opened], seller=SELLER_ID, meter="m", address="h:1", policy=POLICY
            ),
        )
        self.opened += 1

    @rule(ms=st.sampled_from([300, 5_000, 61_000]))
    def time_passes(self, ms):
        self.now += ms
        for side in ("seller", "buyer"):
            self.tell(side, cmd.Tick())

    @rule(ticks=st.integers(1, 120), plugged=st.booleans())
    def flows(self, ticks, plugged):
        state = self.cores["seller"].state
        m = state.meters["m"]
        grant = views.grant_register(m, state.sessions.get(m.session))
        self.delivered += min(ticks, max(0, grant - self.delivered))
        self.tell("seller", cmd.Report(meter="m", reading=Reading("b1", self.delivered, plugged=plugged)))

    @precondition(lambda self: self.todo)
    @rule(which=st.integers(0, 10**6), lost=st.booleans())
    def does(self, which, lost):
        side, action = self.todo.pop(which % len(self.todo))
        if not (lost and isinstance(action, do.Send)):
            self.perform(side, action)

    @precondition(lambda self: any(row[1] == "unpaid" for row in self.invoices.values()))
    @rule(which=st.integers(0, 10**6))
    def somebody_pays(self, which):
        """Whoever it is, and whether the plugin is there to reject it or not."""
        unpaid = [label for label, row in self.invoices.items() if row[1] == "unpaid"]
        self.settle(unpaid[which % len(unpaid)])

    @precondition(lambda self: self.news)
    @rule(which=st.integers(0, 10**6), again=st.booleans(), watched=st.booleans())
    def told_of_a_payment(self, which, again, watched):
        label = self.news[which % len(self.news)]
        if not again:
            self.news.remove(label)
        amount, _, index = self.invoices[label]
        first = not any(self.invoices[other][2] < index for other in self.news)
        after = index - 1 if watched and first else None
        self.tell(
            "seller",
            cmd.InvoiceSettled(label=label, amount_msat=amount, pay_index=index, payment_hash=label, after=after),
        )

    @precondition(lambda self: any("pending" in parts for _, parts in self.parts.values()))
    @rule(which=st.integers(0, 10**6), settles=st.booleans())
    def a_part_of_a_refund_ends(self, which, settles):
        pending = [
            (known, n) for known, (_, parts) in self.parts.items() for n, p in enumerate(parts) if p == "pending"
        ]
        known, n = pending[which % len(pending)]
        self.parts[known][1][n] = "complete" if settles else "failed"

    @precondition(lambda self: self.cores["buyer"].state.streams)
    @rule()
    def the_buyer_closes(self):
        self.tell("buyer", cmd.CloseStream(session="m"))

    # --- nodes

    def settle(self, label):
        self.index += 1
        self.invoices[label][1:] = ["paid", self.index]
        self.news.append(label)

    def perform(self, side, a):
        if isinstance(a, do.Send):
            other = "buyer" if side == "seller" else "seller"
            if a.peer in (SELLER_ID, BUYER_ID):
                self.tell(
                    other,
                    self.received(a.message) if other == "buyer" else cmd.FromPeer(peer=BUYER_ID, message=a.message),
                )
        else:
            getattr(self, f"on_{type(a).__name__}")(a)

    def on_MakeInvoice(self, a):
        row = self.invoices.setdefault(a.label, [a.amount_msat, "unpaid", 0])
        if row[1] == "paid":
            self.tell(
                "seller", cmd.InvoiceSettled(label=a.label, amount_msat=row[0], pay_index=row[2], payment_hash=a.label)
            )
        else:
            self.tell("seller", cmd.InvoiceMade(label=a.label, bolt11=f"{a.label}:{row[0]}"))

    def on_CancelInvoice(self, a):
        row = self.invoices.get(a.label)
        if row is not None and row[1] == "paid":
            self.tell(
                "seller", cmd.InvoiceSettled(label=a.label, amount_msat=row[0], pay_index=row[2], payment_hash=a.label)
            )
        else:
            self.invoices.pop(a.label, None)
            self.tell("seller", cmd.InvoiceGone(label=a.label))

    def received(self, message):
        if not isinstance(message, msg.Invoice):
            return cmd.FromPeer(peer=SELLER_ID, message=message)
        label, amount = message.bolt11.rsplit(":", 1)
        return invoice_received(message, int(amount), label, self.now + 10**6)

    def on_Pay(self, a):
        row = self.invoices.get(a.payment_hash)
        mine = self.left.get(a.payment_hash)
        if mine is None and a.invoice is not None and row is not None and row[1] == "unpaid":
            self.settle(a.payment_hash)
            mine = self.left[a.payment_hash] = row[0]
        if mine is not None:
            self.tell(
                "buyer",
                cmd.PaymentDone(session=a.session, number=a.number, payment_hash=a.payment_hash, sent_msat=mine),
            )
        else:
            self.tell("buyer", cmd.PaymentLost(session=a.session, number=a.number, attempt=a.attempt, why="rejected"))

    def on_PayRefund(self, a):
        """As plugin/meter.py: while a part can settle it waits; what was not begun is begun, in two parts."""
        half = a.amount_msat // 2
        amounts, parts = self.parts.get(a.bolt11, ((), []))
        if not parts or set(parts) == {"failed"}:
            self.parts[a.bolt11] = ((half, a.amount_msat - half), ["pending", "pending"])
            self.todo.append(("seller", a))
        elif "pending" in parts:
            self.todo.append(("seller", a))
        else:
            arrived = sum(amount for amount, p in zip(amounts, parts) if p == "complete")
            self.tell(
                "seller",
                cmd.RefundSettled(
                    session=a.session, bolt11=a.bolt11, amount_msat=arrived, fee_msat=0, payment_hash=a.bolt11
                ),
            )

    def on_Sign(self, a):
        self.tell("seller", cmd.SignatureMade(session=a.session, revision=a.revision, text=a.text, signature="sig"))

    def on_MakeRefundInvoice(self, a):
        self.tell("buyer", cmd.RefundInvoiceMade(session=a.session, bolt11=f"refund:{a.label}"))

    def on_CheckReceipt(self, a):
        arrivals = {label: self.arrived(f"refund:{label}") for label in a.labels}
        self.tell(
            "buyer",
            cmd.ReceiptChecked(session=a.session, text=a.text, signature=a.signature, verified=True, arrivals=arrivals),
        )

    def arrived(self, bolt11):
        amounts, parts = self.parts.get(bolt11, ((), []))
        return sum(amount for amount, p in zip(amounts, parts) if p == "complete")

    # --- what has to hold

    def of(self, side, *kinds):
        return [e for e in self.events[side] if e.kind() in kinds] if hasattr(self, "events") else []

    @invariant()
    def a_payment_is_credited_once_and_for_what_arrived(self):
        credited = self.of("seller", "invoice_paid", "payment_unowned")
        assert len({e.pay_index for e in credited}) == len(credited)
        for e in credited:
            amount, status, index = self.invoices[e.payment_hash]
            assert (amount, status, index) == (e.amount_msat, "paid", e.pay_index)

    @invariant()
    def a_refund_is_booked_for_what_arrived_and_once(self):
        booked = self.of("seller", "refund_paid")
        assert len({e.payment_hash for e in booked}) == len(booked)
        for e in booked:
            assert self.arrived(e.payment_hash) == e.amount_msat and "pending" not in self.parts[e.payment_hash][1]

    @invariant()
    def what_left_the_buyer_is_booked_once(self):
        settled, hashes = set(), {}
        for e in self.of("buyer", "payment_started", "payment_settled"):
            if e.kind() == "payment_started":
                hashes[e.subject, e.number] = e.payment_hash
            else:
                known = hashes[e.subject, e.number]
                assert known not in settled and self.left[known] == e.sent_msat
                settled.add(known)

    @invariant()
    def the_seller_delivers_what_is_paid(self):
        if not hasattr(self, "parts"):
            return
        gained = sum(row[0] for row in self.invoices.values() if row[1] == "paid")
        gone = sum(self.arrived(known) for known in self.parts)
        assert self.delivered * PRICE_PER_TICK <= gained - gone

    def teardown(self):
        """At last everything is done and told: then nothing that arrived is without an owner."""
        if not hasattr(self, "todo"):
            return
        for known in self.parts:
            self.parts[known] = (
                self.parts[known][0],
                ["failed" if p == "pending" else p for p in self.parts[known][1]],
            )
        for label in list(self.news):
            amount, _, index = self.invoices[label]
            self.tell(
                "seller", cmd.InvoiceSettled(label=label, amount_msat=amount, pay_index=index, payment_hash=label)
            )
        for side in ("seller", "buyer"):
            self.falls_dead(side)
        for label in sorted(self.news, key=lambda known: self.invoices[known][2]):
            amount, _, index = self.invoices[label]
            self.tell(
                "seller",
                cmd.InvoiceSettled(
                    label=label, amount_msat=amount, pay_index=index, payment_hash=label, after=index - 1
                ),
            )
        credited = sum(e.amount_msat for e in self.of("seller", "invoice_paid", "payment_unowned"))
        assert credited == sum(row[0] for row in self.invoices.values() if row[1] == "paid")
        self.a_payment_is_credited_once_and_for_what_arrived()
        self.the_seller_delivers_what_is_paid()


Orders.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestOrders = Orders.TestCase
