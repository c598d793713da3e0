"""Figures of core and journal alone: does the 50,000th payment of a session cost more than its 100th?"""

import tempfile
import time
from pathlib import Path

from ground import Figure, interleaved

from satmeter.core import commands as cmd
from satmeter.core import messages as msg
from satmeter.core.buyer.buyer import Buyer
from satmeter.core.journal import canonical
from satmeter.core.labels import opening_label, session_label
from satmeter.core.reading import Reading
from satmeter.core.seller.seller import Seller
from satmeter.core.tariff import Tariff
from satmeter.journal.store import Journal
from satmeter.journal.url import sqlite_url

SELLER, BUYER, SESSION = "02" + "aa" * 32, "02" + "bb" * 32, "5e" * 16
TARIFF = {"price_msat": 1000, "ticks_per_unit": 10, "quantum_msat": 10_000}
YOUNG, OLD, CHUNK, ROUNDS = 100, 50_000, 200, 9
STEP = 76
"""Ticks between readings: as much as makes the next invoice due."""


class Pair:
    """A seller's and a buyer's core with their journals, and every payment between them."""

    def __init__(self, directory, name):
        self.now, self.n, self.register = 10**12, 0, 0
        self.files = [Path(directory) / f"{name}-{role}.sqlite3" for role in ("meter", "stream")]
        self.journals = [Journal(sqlite_url(f), r, SELLER) for f, r in zip(self.files, ("meter", "stream"))]
        self.seller, self.buyer = Seller(SELLER, journal="0"), Buyer()
        self.kept = [[], []]
        self.sell(cmd.AddMeter(meter="m", tariff=TARIFF))
        self.sell(cmd.Report(meter="m", reading=Reading("b1", 0)))
        self.buy(
            cmd.OpenStream(
                session=SESSION,
                seller=SELLER,
                meter="m",
                address="h:1",
                policy={"max_price_msat": "1000/unit", "budget_msat": 10**15},
            )
        )
        self.sell(cmd.FromPeer(peer=BUYER, message=msg.Open(SESSION, self.now, "m")))
        terms = canonical(Tariff.from_dict(TARIFF).terms())
        self.buy(cmd.FromPeer(peer=SELLER, message=msg.Terms(SESSION, self.now, "m", terms, 0)))

    def sell(self, what):
        self._handle(0, self.seller, what)

    def buy(self, what):
        self._handle(1, self.buyer, what)

    def _handle(self, which, core, what):
        self.kept[which] += core.handle(what, self.now).events

    def commit(self):
        for journal, events in zip(self.journals, self.kept):
            journal.commit(events)
            events.clear()

    def pay(self):
        """One payment, as the cores see it; invoices are as long as real ones."""
        self.now += 1000
        self.n += 1
        s = self.seller.state.sessions.get(SESSION) or self.seller.waiting[SESSION]
        (n,) = s.out
        opened = SESSION in self.seller.state.sessions
        label = session_label("0", SESSION, n) if opened else opening_label("0", s.first)
        amount = s.out[n]
        bolt11, h = f"lnbcrt{n:0>300}", f"{n:064x}"
        self.sell(cmd.InvoiceMade(label=label, bolt11=bolt11))
        told = msg.Invoice(SESSION, self.now, n, amount, bolt11, s.ticks, s.charged_msat, s.received_msat)
        decoded = cmd.DecodedInvoice(
            bolt11=bolt11, payee=SELLER, amount_msat=amount, payment_hash=h, expires_at=self.now + 10**6, final_cltv=18
        )
        self.buy(cmd.InvoiceReceived(peer=SELLER, message=told, decoded=decoded))
        self.sell(
            cmd.InvoiceSettled(label=label, amount_msat=amount, pay_index=self.n, payment_hash=h, after=self.n - 1)
        )
        self.buy(cmd.PaymentDone(session=SESSION, number=n, payment_hash=h, sent_msat=amount))
        self.register += STEP
        self.sell(cmd.Report(meter="m", reading=Reading("b1", self.register)))

    def age(self, payments):
        while self.n < payments:
            self.pay()
            if self.n % 500 == 0:
                self.commit()
        self.commit()

    def size(self):
        for journal in self.journals:
            with journal._engine.connect() as db:
                db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return [f.stat().st_size for f in self.files]

    def timed(self):
        began = time.perf_counter()
        for _ in range(CHUNK):
            self.pay()
            self.commit()
        return (time.perf_counter() - began) / CHUNK


def old_against_young():
    with tempfile.TemporaryDirectory() as directory:
        young, old = Pair(directory, "young"), Pair(directory, "old")
        young.age(YOUNG)
        before = old.size()
        old.age(OLD)
        sizes = [(after - b) / OLD for b, after in zip(before, old.size())]
        a, b, ratio = interleaved(old.timed, young.timed, ROUNDS)
    note = f"{a * 1000:.2f} ms against {b * 1000:.2f} ms, core and journal of both sides"
    return [
        Figure(f"payment {OLD:,} against {YOUNG}", ratio, 1.1, False, note),
        Figure("journal a payment, seller, bytes", sizes[0], 600, False),
        Figure("journal a payment, buyer, bytes", sizes[1], 600, False),
    ]
