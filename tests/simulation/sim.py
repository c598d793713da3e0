"""One simulation: a seller, a buyer, an outlet, messages and money under one clock, and what a plan does to them."""

from unittest.mock import patch

from clockwork import START_MS, Clockwork
from coins import FEE, Coins
from judge import Judge, Wrong
from money import BUYER, BUYERS, NEIGHBOUR, REFUNDED, SELLER, STRANGER, Money
from outlet import METER, OTHER, Outlet
from plan import PLAN_MS
from process import BuyerProcess, SellerProcess
from tricks import CLAIMS_AFTER_THE_CLOSE, Tricks

from satmeter.bridge import view_of
from satmeter.core import commands as cmd
from satmeter.core import messages as msg
from satmeter.core.errors import SatmeterError
from satmeter.core.labels import bearer_session, wallet_label
from satmeter.core.seller import reservations, views

TICK_MS = 250
END_MS = PLAN_MS + 600_000
SETTLED_MS = 40_000
"""How long the end has to have lasted: lockouts, remainders and receipts that are told once more."""

RESERVED_MS = 6_000
"""How long a gate may hold credit here; the real ten minutes are longer than a plan."""


class Simulation:
    def __init__(self, plan, trace=None):
        self.plan, self.trace = plan, trace
        self.clock = Clockwork()
        self.judge = Judge(self)
        self.money = Money(self)
        self.seller = self.buyer = self.neighbour = self.outlet = None
        self.buyers, self.outlets = [], {}
        self.coins = Coins(self)
        self.connected = True
        self.busy = True
        self._now = {}
        self._sent = 0
        self._opened = 0
        self.tricks = Tricks(self)
        self.sensor_boot, self.sensor_base, self.sensor_back = 0, 0, 0
        self.strangers = 0
        self._fetched = 0

    @property
    def now(self):
        return self.clock.now

    @property
    def processes(self):
        return [p for p in (self.seller, *self.buyers) if p is not None]

    def _links(self):
        return [(self.seller, b.node) for b in self.buyers] + [(b, SELLER) for b in self.buyers]

    def after(self, ms, job, *args):
        self.clock.after(ms, job, *args)

    def say(self, *words):
        if self.trace is not None:
            self.trace.append(f"{self.now - START_MS:>7} ms  " + " ".join(map(str, words)))

    def run(self):
        with patch.object(reservations, "RESERVED_MS", RESERVED_MS):
            self._run()

    def _run(self):
        self.seller, self.buyer = SellerProcess(self), BuyerProcess(self, BUYER, "buyer")
        self.buyers = [self.buyer]
        if self.plan.neighbour:
            self.neighbour = BuyerProcess(self, NEIGHBOUR, "neighbour")
            self.buyers.append(self.neighbour)
        for meter in (METER, OTHER)[: len(self.buyers)]:
            self.seller.feed(cmd.AddMeter(meter=meter, tariff=self.plan.tariff))
            self.outlets[meter] = Outlet(self, meter)
        self.outlet = self.outlets[METER]
        self.after(TICK_MS, self._tick)
        for h in self.plan.happenings:
            self.after(h.at, self._happen, h)
        self.clock.run(START_MS + PLAN_MS)
        self._heal()
        while not self._over():
            if self.now > START_MS + END_MS:
                self.judge.verdict()
                raise Wrong("it never came to an end")
            self.clock.run(self.now + 1_000)
        self.judge.verdict()

    def _over(self):
        """Whether all that began has ended, and nothing is under way any more."""
        if any(p.core is None for p in self.processes):
            return False
        if any(p.status == "pending" for p in self.money.payments.values()):
            self.quiet_since = self.now
        if any(
            s.state != "closed"
            or self.judge.waited_for(s)
            or s.refund.held
            or (
                s.debt_msat >= s.dust_msat
                and not s.onchain.lost_sat
                and s.buyer in BUYERS
                and not self._unpayable(s.id, s.debt_msat)
            )
            or not s.onchain.firm
            for s in self.seller.state.sessions.values()
        ):
            self.quiet_since = self.now
        live = [
            p
            for b in self.buyers
            for p in b.state.streams.values()
            if not p.done and not (p.closed and self._unpayable(p.id, p.debt_msat))
        ]
        if any(self.judge.due(p.closing.owed_msat, 1) for p in live):
            self.quiet_since = self.now
        patience = SETTLED_MS if not self.plan.hostile else 5 * SETTLED_MS
        stuck = self.plan.hostile and self.now > START_MS + PLAN_MS + 5 * SETTLED_MS
        return stuck or self.now >= self.quiet_since + patience // 2

    def _unpayable(self, session, debt=0):
        """Whether a debt stays: the budget does not reach for it and a transaction's fee, or versions that the seller
        does not count used it up, or the own sensor was away, or was not heard again since a restart, and nothing is
        paid without it; or it is over what may be paid after the close."""
        p = next((p for b in self.buyers if (p := b.state.streams.get(session) or b.recall(session))), None)
        if self.judge.older:
            return True  # of ticks of a session that is in the lost part, say
        unheard = self.plan.sensor and (p is None or p.after_close is None or p.after_close.most_ticks is None)
        short = p is not None and p.sent_msat + p.astray_msat + debt + FEE * 1000 > p.policy.budget_msat
        late = p is not None and self.judge.over_bound(p, debt)
        return self.sensor_back > 0 or unheard or short or late or (p is not None and p.astray_msat > 0)

    def _tick(self):
        for p in self.processes:
            if p.core is not None:
                p.feed(cmd.Tick())
        if self.plan.sensor and self.buyer.core is not None:
            for p in list(self.buyer.state.streams.values()):
                if p.state in ("streaming", "paused", "closing"):
                    self._sense(p)
        self.after(TICK_MS if self.busy else 4 * TICK_MS, self._tick)

    def _sense(self, p):
        def refused(answer):
            if isinstance(answer, SatmeterError):
                raise Wrong(f"the sensor was refused: {answer}")

        if self.now >= self.sensor_back:
            count = self.outlet.delivered - self.sensor_base
            self.buyer.feed(cmd.SensorReading(session=p.id, boot=f"s{self.sensor_boot}", register=count), refused)

    # --- weather

    def weather(self, on):
        until, how = self._now.get(on, (0, None))
        return how if self.now < until else None

    def _heal(self):
        """From here on everything works, and everyone wants to come to an end."""
        self.say("--- the weather is fine, and all is to end")
        self._now.clear()
        self.tricks.stop()
        self.busy = False
        self.quiet_since = self.now
        for p in self.processes:
            p.left, p.broken = None, False
        for outlet in self.outlets.values():
            outlet.hal.percent = 0
            outlet.start_bridge()
        self.after(9_000, self.connect)
        self.after(10_000, self._end_all)

    def _end_all(self):
        if any(p.core is None for p in self.processes) or any(o.talk is None for o in self.outlets.values()):
            self.after(1_000, self._end_all)
            return
        self._come_again()
        self.after(50_000, self._end_all)
        for buyer in self.buyers:
            for p in list(buyer.state.streams.values()):
                self._ask(buyer, cmd.CloseStream(session=p.id))
        self.attend()
        for m in self.seller.state.meters.values():
            if m.session:
                self._ask(self.seller, cmd.CloseSession(session=m.session))

    def _come_again(self):
        """Who comes again is asked for what it owes."""
        self._disconnect()
        self.connect()

    # --- what happens

    def _happen(self, h):
        self.say("***", h.kind, h.args)
        getattr(self, f"_{h.kind}")(**h.args)

    def _ask(self, process, what):
        """An operator's call: refusals are answers, too."""
        if process.core is not None:
            process.feed(what)

    def _flow(self, percent):
        self.outlet.hal.percent = percent

    def _plug(self):
        self.outlet.hal.is_plugged = True

    def _unplug(self):
        self.outlet.hal.is_plugged = False
        self.after(2_000, self._plug)

    def _guess(self):
        """A buyer opens under the id that the session of the next wallet invoice would have."""
        if self.seller.core is not None:
            label = wallet_label("0", METER, self.seller.state.newest_wallet_invoice + 1)
            policy = {**self.plan.policy, "budget_msat": self.plan.tariff["quantum_msat"]}
            self._ask(
                self.buyer,
                cmd.OpenStream(session=bearer_session(label), seller=SELLER, meter=METER, address="h:1", policy=policy),
            )

    def _open(self):
        self._opened += 1
        self._ask(
            self.buyer,
            cmd.OpenStream(
                session=f"{self._opened:032x}", seller=SELLER, meter=METER, address="h:1", policy=self.plan.policy
            ),
        )

    def _close(self):
        self._ask(self.buyer, cmd.CloseStream(session=METER))

    def _pause(self):
        self._ask(self.buyer, cmd.PauseStream(session=METER))

    def _resume(self):
        self._ask(self.buyer, cmd.ResumeStream(session=METER))

    def _shut(self):
        if self.seller.core is not None:
            self._ask(self.seller, cmd.CloseSession(session=self.seller.state.meters[METER].session))

    def _retariff(self):
        self._ask(self.seller, cmd.SetMeter(meter=METER, tariff={"price_msat": self.plan.tariff["price_msat"] + 1}))

    def _weather(self, on, lasts, **how):
        self._now[on] = (self.now + lasts, how.get("how") or how)

    def _wallet(self, share):
        """A plain wallet pays for a share of the quantum, some time later."""

        def answered(answer):
            if not isinstance(answer, tuple):
                return
            label, pay_at = answer[0], self.plan.chance("wallet", answer[0]).randrange(100, 8_000)

            def pay():
                inv = self.money.invoices.get((SELLER, label))
                if inv is not None and inv.status == "unpaid":
                    self.money.pay(STRANGER, inv.bolt11, 0, None, lambda: None)

            self.after(pay_at, pay)

        if self.seller.core is not None:
            self.seller.feed(
                cmd.MakeWalletInvoice(meter=METER, amount_msat=self.plan.tariff["quantum_msat"] * share // 100),
                answered,
            )

    def _offer(self, share):
        """A plain wallet fetches an invoice by the meter's offer, and pays it some time later."""
        if self.seller.core is not None:
            self.seller.feed(cmd.AskOffer(meter=METER, amount_msat=0))
        self.after(300, self._fetch, share)

    def _fetch(self, share):
        self._fetched += 1
        amount = max(1, self.plan.tariff["quantum_msat"] * share // 100)
        for offer_id in [each for each, active in self.money.offers.items() if active]:
            inv = self.money.invoice(SELLER, f"{offer_id}-{STRANGER}-{self._fetched}", amount, 7_200)
            late = self.plan.chance("offer", inv.label).randrange(100, 8_000)
            self.after(late, self.money.pay, STRANGER, inv.bolt11, 0, None, lambda: None)

    def _back(self, whole):
        """Who paid by a plain wallet wants back what is left: all of it, or whole sat by an invoice of that amount."""
        if self.seller.core is None:
            return
        for s in list(self.seller.state.sessions.values()):
            if not s.buyer and not s.open and s.owed_msat:
                self._fetched += 1
                amount = s.refundable_msat() if whole else 0
                inv = self.money.invoice(STRANGER, f"satmeter/refund/{s.id}/b{self._fetched}", amount or None, 3_600)
                self._ask(self.seller, cmd.AskRefund(session=s.id, bolt11=inv.bolt11, invoice_msat=amount))

    def _gate(self, step, share, id):
        if self.seller.core is not None and self.plan.hostile != "seller":
            session = self.seller.state.meters[METER].session
            amount = self.plan.tariff["quantum_msat"] * share // 100 if step == "reserve" else None
            self._ask(self.seller, cmd.Spend(session=session, id=str(id), step=step, amount_msat=amount))
            self._claim(session)

    def _crash(self, who, left, down):
        if who == "bridge":
            self.outlet.kill_bridge(down)
        else:
            getattr(self, who).kill(left, down)

    def _reboot(self, keep):
        self.outlet.reboot(keep)

    def _disconnect(self):
        self.connected = False
        for p, other in self._links():
            if p.core is not None:
                p.feed(cmd.PeerLost(peer=other))

    def connect(self):
        if self.connected:
            return
        self.connected = True
        for p, other in self._links():
            if p.core is not None:
                p.feed(cmd.PeerConnected(peer=other))

    def _sensor(self, down, reboot):
        """The buyer's own sensor falls silent for a while; it may begin to count anew."""
        self.sensor_back = max(self.sensor_back, self.now + down)
        if reboot:
            self.sensor_boot, self.sensor_base = self.sensor_boot + 1, self.outlet.delivered

    def _journal(self, who, lasts):
        getattr(self, who).break_journal(lasts)

    def _clean(self):
        """autoclean on both nodes."""
        if all(p.core is not None for p in self.processes) and self.seller.watched == self._newest():
            flights = {
                f.payment_hash for b in self.buyers for p in b.state.streams.values() for f in p.in_flight.values()
            }
            known = self.seller.state.refund_hashes
            refunds = {h for h, owner in known.items() if self.seller.state.sessions.get(owner)}
            self.money.clean(flights | refunds)

    def _newest(self):
        return self.money.newest_index[SELLER]

    def _clock(self, who, by):
        """A machine's clock is set; its plugin learns of it when it starts again."""
        getattr(self, who).machine_ms += by

    def _blackout(self, down, keep):
        """Everything loses its power at once. Payments that are held stay so."""
        for process in self.processes:
            process.kill(0, down)
        for outlet in self.outlets.values():
            outlet.kill_bridge(down)
            outlet.reboot(keep)

    def _upgrade(self, who):
        getattr(self, who).upgrade()

    def _older(self, keep):
        """An older copy of the seller's journal is all that is left of it."""
        rows = self.seller.rows
        at = max([2 * len(self.buyers), len(rows) * keep // 100])
        if at < len(rows):
            self.judge.replaced(rows[:at])
            self.seller.replace_journal(at)

    def attend(self):
        """A person settles what waits: it was given back where the node says that anything was."""
        for s in list(self.seller.state.sessions.values()):
            if s.refund.held and not s.open:
                back = sum(self.money.received(buyer, f"satmeter/refund/{s.id}/") for buyer in REFUNDED)
                how = cmd.PAID if back > s.refunded_msat else cmd.OWED
                self.judge.declared += s.owed_msat if how == cmd.OWED else 0
                self._ask(self.seller, cmd.Attend(name=s.id, how=how))
        for label in list(self.seller.state.unowned):
            self._ask(self.seller, cmd.Attend(name=label, how=cmd.SEEN))

    def _neighbour(self, what, meter):
        """Another buyer, and the meter beside."""
        if what == "flow":
            self.outlets[meter].hal.percent = 50
            self.outlets[meter].hal.is_plugged = True
        elif what == "open":
            self._opened += 1
            stream = f"{10**9 + self._opened:032x}"
            self._ask(
                self.neighbour,
                cmd.OpenStream(session=stream, seller=SELLER, meter=meter, address="h:1", policy=self.plan.policy),
            )
        elif what == "close":
            self._ask(self.neighbour, cmd.CloseStream(session=meter))
        elif what == "crash":
            self.neighbour.kill(2, 2_000)
        elif self.seller.core is not None:
            self._ask(self.seller, cmd.CloseSession(session=self.seller.state.meters[meter].session))

    def _fees(self, times, lasts):
        self._now["fees"] = (self.now + lasts, times)

    def _stale(self, dice):
        """Another bridge reports what the board said a while ago."""
        self.outlet.report_again(dice)

    def _flood(self, many):
        """Strangers open, and never pay."""
        for n in range(many):
            self.strangers += 1
            peer, session = f"02{self.strangers:064x}", f"{10**6 + self.strangers:032x}"
            self.after(n * 20, self._stranger, peer, session)

    def _stranger(self, peer, session):
        for message in (msg.Open(session, self.now, METER), msg.Agree(session, self.now + 1)):
            if self.seller.core is not None:
                self.seller.feed(cmd.FromPeer(peer=peer, message=message))

    def _third(self, dice):
        """Somebody else pays an invoice that the buyer was told of, ahead of its turn or late."""
        told = {b for b in self.tricks.told if b}
        unpaid = [i for i in self.money.invoices.values() if i.bolt11 in told and i.status == "unpaid"]
        if unpaid:
            inv = unpaid[dice % len(unpaid)]
            self.money.pay(STRANGER, inv.bolt11, 0, None, lambda: None)

    def _away(self, dice):
        """The seller's plugin is away for a while in which invoices are paid that its buyer was told of."""
        self.seller.kill(0, 2_500)
        for n in range(3):
            self.after(600 + 100 * n, self._third, dice // (n + 1))

    def _steal(self, dice):
        if self.plan.hostile == "buyer":
            self.coins.steal(dice)

    def _reorganise(self):
        self.coins.reorganise()

    def _seller(self, trick, dice):
        self.tricks.begin(trick, dice)
        if trick == CLAIMS_AFTER_THE_CLOSE and self.seller.core is not None:
            self.tricks.after_the_close(dice)

    def _buyer(self, trick, dice):
        self.tricks.by_buyer(trick, dice)

    # --- what the parts ask of one another

    def changed(self):
        for outlet in self.outlets.values():
            outlet.changed()

    def board_view(self, meter):
        if self.seller.core is None:
            return None
        m = self.seller.state.meters.get(meter)
        if m is None:
            return None
        return view_of(views.board(m, self.seller.state.sessions.get(m.session), views.Codes()))

    def rejects(self, inv):
        """The invoice_payment hook: it fails open when the plugin is away."""
        if inv.node != SELLER or self.seller.core is None:
            return False
        core, of_offer = self.seller.core, inv.label[:64] in self.money.offers
        if of_offer and not core.acceptance.is_of_offer(inv.label):
            return True  # as plugin/meter.py: an offer that its journal does not know yet
        if core.rejects(inv.label, self.now, inv.amount):
            return True
        self.seller.feed(cmd.InvoiceArriving(label=inv.label))
        return False

    def paid(self, node):
        if node == SELLER:
            self.seller.watch()

    def _claim(self, session):
        s = self.seller.core.state.sessions.get(session) if self.seller.core is not None else None
        if s is not None:
            self.judge.claim(session, s.ticks, s.charged_msat + s.reserved_msat, s.tariff)

    def tricky_send(self, process, to, message):
        for m in self.tricks.of_seller(message) if to == BUYER else [message]:
            self._claim(m.session)
            if hasattr(m, "charged_msat") and m.session in self.seller.state.sessions:
                self.judge.claim(m.session, m.ticks, m.charged_msat, self.seller.state.sessions[m.session].tariff)
            process.send(to, m)

    def send(self, sender, to, data):
        self._sent += 1
        if not self.connected or to not in (SELLER, *BUYERS):
            return
        dice, how = self.plan.chance("message", self._sent), self.weather("messages")
        late = how["late"] if how else 10
        copies = 1 + (dice.randrange(100) < how["double"]) if how else 1
        if how and dice.randrange(100) < how["lose"]:
            return
        for _ in range(copies):
            self.after(dice.randrange(2, late), self._deliver, sender, to, data)

    def _deliver(self, sender, to, data):
        for p in self.processes:
            if p.node == to and p.core is not None:
                p.message(sender, data)
