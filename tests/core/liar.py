"""A buyer whose seller says what it likes; every payment settles."""

from world import POLICY, SELLER_ID, SESSION, TARIFF, invoice_received

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core import messages as msg
from satmeter.core.buyer.buyer import Buyer
from satmeter.core.journal import canonical
from satmeter.core.tariff import Tariff
from statement import statement

LIMIT, SLICE = 20_000, 10_000


class Liar:
    """A buyer whose seller says what it likes; every payment settles."""

    def __init__(self, sensor=None, hold=False, policy=None, carried=0, **tariff):
        self.now, self.n, self.paid, self.told = 10**9, 0, [], []
        self.buyer, self.events, self.hold = Buyer(), [], hold
        self.arrived = 0
        self.tariff = Tariff.from_dict({**TARIFF, **tariff})
        self.open(SESSION, policy, carried)
        if sensor is not None:
            self.sense(sensor)

    def open(self, session, policy=None, carried=0):
        self.tell(
            cmd.OpenStream(
                session=session, seller=SELLER_ID, meter="m", address="h:1", policy={**POLICY, **(policy or {})}
            )
        )
        terms = canonical(self.tariff.terms())
        self.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Terms(session, 1, "m", terms, carried)))

    def tell(self, what):
        step = self.buyer.handle(what, self.now)
        self.events += step.events
        for a in step.effects:
            self.told.append(a)
            if isinstance(a, do.Pay) and not self.hold:
                if a.fresh and a.payment_hash in self.paid:
                    self.tell(cmd.PaymentKnown(session=a.session, number=a.number, attempt=a.attempt))
                    continue
                self.paid.append(a.payment_hash)
                self.tell(
                    cmd.PaymentDone(
                        session=a.session, number=a.number, payment_hash=a.payment_hash, sent_msat=a.invoice.amount_msat
                    )
                )
            elif isinstance(a, do.MakeRefundInvoice):
                self.tell(cmd.RefundInvoiceMade(session=a.session, bolt11=f"refund:{a.label}"))
            elif isinstance(a, do.CheckReceipt):
                self.tell(
                    cmd.ReceiptChecked(
                        session=a.session,
                        text=a.text,
                        signature=a.signature,
                        verified=True,
                        arrivals={"r": self.arrived},
                    )
                )
        return step

    def ask(self, ticks, amount=None, known=None, session=SESSION, charged=None):
        """An invoice for a claimed count."""
        self.now += 1_000
        self.n += 1
        amount = SLICE if amount is None else amount
        bolt11 = f"{amount}:{known or f'h{self.n}'}"
        charged = self.tariff.charge(ticks) if charged is None else charged
        message = msg.Invoice(session, self.now, self.n, amount, bolt11, ticks, charged, 0)
        _, payment_hash = bolt11.split(":")
        self.tell(invoice_received(message, amount, payment_hash, self.now + 10**6))

    def sense(self, register):
        self.tell(cmd.SensorReading(session=SESSION, boot="s", register=register))

    def close(self, **how):
        self.tell(cmd.CloseStream(session=SESSION, **how))

    def receipt(self, revision=1, session=SESSION, **figures):
        p = self.buyer.state.streams[session]
        paid = p.carried_msat + p.paid_msat
        figures = {"payments": p.payments, "paid_msat": paid, "charged_msat": paid, **figures}
        used = figures["charged_msat"] - figures.get("spent_msat", 0)
        figures = {"ticks": self.tariff.ticks(used), "tariff": self.tariff.terms(), **figures}
        text = statement(session=session, revision=revision, seller=SELLER_ID, **figures)
        self.tell(cmd.FromPeer(peer=SELLER_ID, message=msg.Receipt(session, self.now, text, f"sig{revision}")))

    @property
    def p(self):
        return self.buyer.state.streams[SESSION]


class SensorFirst(Liar):
    """Its own sensor is heard before the terms are agreed to: the count is exact."""

    def open(self, session, policy=None, carried=0):
        self.tell(
            cmd.OpenStream(
                session=session, seller=SELLER_ID, meter="m", address="h:1", policy={**POLICY, **(policy or {})}
            )
        )
        self.tell(cmd.SensorReading(session=session, boot="s", register=0))
        self.tell(
            cmd.FromPeer(peer=SELLER_ID, message=msg.Terms(session, 1, "m", canonical(self.tariff.terms()), carried))
        )


ARREARS = {"mode": "arrears", "limit_msat": LIMIT}
