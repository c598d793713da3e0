"""A seller and a buyer under a random order of everything that can happen; after every step the sums must hold."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from world import BUYER_ID, SESSION, World, refold

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.buyer.state import BuyerState
from satmeter.core.errors import SatmeterError
from satmeter.core.receipt import balanced
from satmeter.core.seller.state import SellerState

HELD = (do.Pay, do.MakeInvoice, do.CancelInvoice, do.PayRefund, do.Sign, do.Send)


class Trade(RuleBasedStateMachine):
    @initialize(
        window=st.sampled_from([1, 4]),
        mode=st.sampled_from([{}, {"mode": "arrears", "limit_msat": 20_000}]),
        allowance=st.sampled_from([0, 15]),
    )
    def begin(self, window, mode, allowance):
        self.w = World({"window": window, "allowance_ticks": allowance, "price_msat": 977, **mode})
        self.sessions = 0
        self.boots = 0
        self.most_grant = 0

    def ids(self):
        return [p.id for p in self.w.buyer.state.streams.values()] or [SESSION]

    def quietly(self, act):
        try:
            act()
        except SatmeterError:
            pass
        self.w.pump()

    @rule()
    def open(self):
        self.sessions += 1
        self.quietly(lambda: self.w.open(session=f"{self.sessions:032x}"))

    @rule(ticks=st.integers(0, 40))
    def use(self, ticks):
        m = self.w.meter
        top = max(m.register, self.w.grant() + 2)  # a board may pass its grant by one sample
        register = min(m.register + ticks, top)
        self.quietly(lambda: self.w.report(register, boot=m.boot, plugged=m.memory.plugged))

    @rule(plugged=st.booleans())
    def plug(self, plugged):
        m = self.w.meter
        self.quietly(lambda: self.w.report(m.register, boot=m.boot, plugged=plugged))

    @rule(keep=st.booleans())
    def reboot(self, keep):
        self.boots += 1
        base = self.w.meter.register if keep else 0
        self.quietly(lambda: self.w.report(base, boot=f"r{self.boots}", base=base))

    @rule(data=st.data())
    def close_by_buyer(self, data):
        session = data.draw(st.sampled_from(self.ids()))
        self.quietly(lambda: self.w.buy(cmd.CloseStream(session=session)))

    @rule()
    def close_by_seller(self):
        self.quietly(lambda: self.w.sell(cmd.CloseSession(session=self.w.meter.session)))

    @rule(amount=st.integers(100, 10_000))
    def bearer(self, amount):
        def act():
            label, _ = self.w.sell(cmd.MakeWalletInvoice(meter="m", amount_msat=amount))
            self.w.pump()
            if label in self.w.invoices:
                self.w.pay(label, hook=False)  # the hook may be away: it fails open

        self.quietly(act)

    @rule(amount=st.integers(1, 5_000), step=st.sampled_from(["reserve", "settle", "release"]), gate=st.integers(0, 2))
    def spend(self, amount, step, gate):
        self.quietly(
            lambda: self.w.sell(cmd.Spend(session=self.w.meter.session, id=str(gate), step=step, amount_msat=amount))
        )

    @rule(data=st.data())
    def pause_or_resume(self, data):
        session = data.draw(st.sampled_from(self.ids()))
        self.quietly(
            lambda: self.w.buy(data.draw(st.sampled_from([cmd.PauseStream, cmd.ResumeStream]))(session=session))
        )

    @rule(ms=st.sampled_from([250, 3_000, 35_000, 70_000]))
    def time(self, ms):
        self.w.pass_ms(ms, step=max(250, ms // 20))

    @rule(kind=st.sampled_from(HELD))
    def hold(self, kind):
        self.w.hold |= {kind}
        self.w.board_on = False

    @rule()
    def let_go(self):
        self.w.hold, self.w.board_on = set(), True
        self.w.pump()

    @rule(fail=st.integers(0, 2), refunds=st.booleans())
    def weather(self, fail, refunds):
        self.w.fail, self.w.channel_can_refund = fail, refunds

    @precondition(lambda self: self.w.sent)
    @rule(data=st.data())
    def replay(self, data):
        message = data.draw(st.sampled_from(self.w.sent))
        if isinstance(message, (msg.Open, msg.Close, msg.Error)) and getattr(message, "by", "buyer") == "buyer":
            self.quietly(lambda: self.w.sell(cmd.FromPeer(peer=BUYER_ID, message=message)))

    @rule()
    def crash_seller(self):
        self.w.restart_seller()
        self.w.pump()
        self.quietly(lambda: self.w.report(self.w.meter.register, boot=self.w.meter.boot or "b1"))

    @rule()
    def crash_buyer(self):
        self.w.restart_buyer()
        self.w.pump()

    # --- what must always hold

    @invariant()
    def exposure_is_bounded(self):
        for s in self.w.seller.state.sessions.values():
            if s.open and s.tariff.prepaid and s.buyer:
                assert s.received_msat - s.charged_msat + s.out_msat <= s.tariff.quantum_msat + s.brought_msat
            assert s.debt_msat <= s.tariff.limit_msat
        for p in self.w.buyer.state.streams.values():
            if p.tariff is not None and p.tariff.prepaid and p.state == "streaming":
                fees = len(p.in_flight) * p.policy.max_fee_msat
                assert p.exposure_msat <= p.tariff.quantum_msat + p.carried_msat + fees

    @invariant()
    def credit_is_negative_only_in_arrears(self):
        for s in self.w.seller.state.sessions.values():
            assert s.credit_msat >= (0 if s.tariff.prepaid else -s.tariff.limit_msat)

    @invariant()
    def the_grant_is_paid_or_trusted_or_allowed(self):
        m = self.w.meter
        s = self.w.seller.state.sessions.get(m.session)
        if m.state in ("delivering", "suspended") and s is not None and self.w.grant():
            covered = s.received_msat + s.tariff.limit_msat - s.spent_msat - s.reserved_msat
            assert s.tariff.charge(max(0, m.offset + self.w.grant() - s.start_count)) <= covered
        elif m.state == "lockout":
            assert self.w.grant() == 0

    @invariant()
    def every_payment_is_counted_once(self):
        paid = sum(row[0] for row in self.w.invoices.values() if row[1] == "paid")
        credited = sum(e.amount_msat for e in self.w.seller_events if e.kind() == "invoice_paid")
        held = [a for _, a in self.w.todo]
        assert credited == paid, (credited, paid, held)

    @invariant()
    def every_receipt_balances(self):
        for e in self.w.seller_events[-3:]:
            if e.kind() == "receipt_signed":
                assert balanced(e.text)

    @invariant()
    def the_books_are_the_fold_of_the_journal(self):
        folded = refold(self.w.seller_events, SellerState())
        for session, s in self.w.seller.state.sessions.items():
            f = folded.sessions[session]
            assert (f.figures[0], f.state, f.out, f.dropped, f.head) == (
                s.figures[0],
                s.state,
                s.out,
                s.dropped,
                s.head,
            )
        ledger = refold(self.w.buyer_events, BuyerState())
        for session, p in self.w.buyer.state.streams.items():
            q = ledger.streams[session]
            assert (q.paid_msat, q.sent_msat, q.in_flight, q.state, q.handled) == (
                p.paid_msat,
                p.sent_msat,
                p.in_flight,
                p.state,
                p.handled,
            )

    def teardown(self):
        """In the end, with the weather good and time to settle, nobody owes what can be paid."""
        if not hasattr(self, "w"):
            return
        w = self.w
        w.hold, w.fail, w.channel_can_refund, w.board_on = set(), 0, True, True
        w.pump()
        for session in self.ids():
            self.quietly(lambda session=session: w.buy(cmd.CloseStream(session=session)))
        if w.meter.session:
            self.quietly(lambda: w.sell(cmd.CloseSession(session=w.meter.session)))
        w.pass_ms(1_000_000, step=5_000)  # a gate may hold for ten minutes
        for p in w.buyer.state.streams.values():
            assert p.state == "closed" and not p.in_flight, p
        for s in w.seller.state.sessions.values():
            assert s.state == "closed" and (not s.owed_msat or not s.buyer), (
                s.owed_msat,
                s.refund.why,
                s.refund.bolt11,
            )
        sent = sum(e.sent_msat for e in w.buyer_events if e.kind() == "payment_settled")
        assert sent == sum(w.paid_by_buyer.values())


TestTrade = Trade.TestCase
TestTrade.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
