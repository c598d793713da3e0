"""One try of a refund pays at a time, whatever is asked for twice: the real core, journal, threads and payments, over a
node of a few lines whose payees decide how each payment ends."""

import threading
import time

import pytest
from pyln.client import RpcError
from role import NODE, Role

from satmeter.core import commands as cmd
from satmeter.core import effects as do
from satmeter.core.errors import JournalTrouble
from satmeter.core.reading import Reading
from satmeter.core.seller.context import Limits
from satmeter.core.seller.seller import Seller
from satmeter.core.seller.state import SellerState
from satmeter.node import payments as payments_module
from satmeter.node.payments import Payments
from satmeter.plugin import runtime as runtime_module
from satmeter.plugin.executor import Executor
from satmeter.plugin.refund_payments import RefundPayments
from satmeter.plugin.runtime import Runtime
from satmeter.plugin.timings import Timings
from waiting import until

TARIFF = {"price_msat": 1000, "ticks_per_unit": 10, "quantum_msat": 10_000, "grace_s": 30}
FAILS, PAID, A_PART = "fails", "paid", "a part is taken"


class Node:
    """Takes one payment of a hash at a time; each ends as `end()` says."""

    def __init__(self):
        self.parts, self.begun, self._ends, self.asked, self.age_s = {}, [], {}, [], 0
        self._changed = threading.Condition()

    def decode(self, text):
        now = int(time.time())
        payment_hash = text[-1] * 64
        return {
            "valid": True,
            "type": "bolt11 invoice",
            "payee": "02" + "ee" * 32,
            "payment_hash": payment_hash,
            "created_at": now - self.age_s,
            "expiry": 86_400,
        }

    def call(self, method, **params):
        if method == "listsendpays":
            return {"payments": [dict(each) for each in self.parts.get(params["payment_hash"], [])]}
        if method == "listpeerchannels":
            return {"channels": []}
        assert method == "xpay", method
        rows = self.parts.setdefault(self.decode(params["invstring"])["payment_hash"], [])
        assert all(each["status"] == "failed" for each in rows)
        self.asked.append(params)
        amount = params["amount_msat"]
        row = {"status": "pending", "amount_msat": amount, "amount_sent_msat": amount, "created_at": int(time.time())}
        with self._changed:
            rows.append(row)
            self.begun.append(amount)
            number = len(self.begun)
            self._changed.wait_for(lambda: number in self._ends)
            end = self._ends[number]
            if end == FAILS:
                row["status"] = "failed"
                raise RpcError("xpay", params, {"code": 203, "message": "the payee failed it"})
            if end == A_PART:
                row["amount_msat"] = row["amount_sent_msat"] = amount - 1_000
            row["status"] = "complete"
        return {"successful_parts": 2, "amount_sent_msat": amount, "amount_msat": amount}

    def end(self, number, how):
        """The payment that was begun as this one ends."""
        until(lambda: len(self.begun) >= number)
        with self._changed:
            self._ends[number] = how
            self._changed.notify_all()

    @property
    def sent_msat(self):
        rows = [each for rows in self.parts.values() for each in rows]
        return sum(each["amount_sent_msat"] for each in rows if each["status"] == "complete")


class Shop(Role):
    """A seller whose refunds the real plugin pays."""

    def __init__(self, path, node):
        super().__init__(path)
        self.node, self.executor, self.asked = node, Executor(node), []

    def build(self, snapshot, events, older):
        state = SellerState()
        if snapshot:
            state.load(snapshot)
        for event in events:
            state.apply(event)
        return Seller(NODE, Limits(silent_ms=10**9), state)

    def perform(self, action):
        if isinstance(action, do.PayRefund):
            self.asked.append(action)
            self.executor.refund(self.refunds.pay, action)
        elif isinstance(action, do.Sign):
            signed = {"session": action.session, "revision": action.revision, "text": action.text}
            self.runtime.post(cmd.SignatureMade(signature="sig", **signed))


class Bearer:
    """Paid two wallet invoices of 10,000 msat each, used 100 msat, and has its session ended."""

    def __init__(self, path):
        self.node = Node()
        self.shop = Shop(path, self.node)
        self.runtime = self.shop.runtime = Runtime(self.shop, "test")
        self.shop.refunds = RefundPayments(self.node, Payments(self.node), self.runtime, Timings())
        self.runtime.start()
        until(lambda: self.runtime.core is not None)
        self.ask(cmd.AddMeter(meter="m", tariff=TARIFF))
        self.ask(cmd.Report(meter="m", reading=Reading("b1", 0)))
        for number in (1, 2):
            label, self.session = self.ask(cmd.MakeWalletInvoice(meter="m", amount_msat=10_000))
            self.ask(
                cmd.InvoiceSettled(
                    label=label,
                    amount_msat=10_000,
                    pay_index=number,
                    payment_hash=f"{number}" * 64,
                    after=number - 1,
                )
            )
            if number == 1:
                first = self.session
        self.session = first
        self.ask(cmd.Report(meter="m", reading=Reading("b1", 1, 0, 0, False)))

    def ask(self, command):
        return self.runtime.ask(command)

    def refund(self, bolt11, number):
        self.ask(cmd.AskRefund(session=self.session, bolt11=bolt11, invoice_msat=0, number=number))

    def seen(self):
        """Returns what the books say: refunded, refunded or lapsed or owed, and whether a refund is under way."""

        def look(core):
            session = core.state.sessions[self.session]
            back = session.refunded_msat + session.lapsed_msat + session.owed_msat
            return session.refunded_msat, back, session.refund.under_way

        return self.ask(look)

    def alarmed(self):
        return self.ask(lambda core: core.state.sessions[self.session].alarm)


@pytest.fixture
def bearer(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime_module, "RETRY_S", 0.05)
    monkeypatch.setattr(payments_module, "BEGUN_S", 0)
    found = Bearer(tmp_path / "meter.sqlite3")
    yield found
    for number in range(len(found.node.begun) + 1, 20):
        found.node._ends[number] = FAILS
    found.runtime.stop()


def test_a_person_who_has_seen_an_alarm_pays_no_refund_that_is_being_paid(bearer):
    """A payee takes all parts but one, which is an alarm, and holds its second refund meanwhile."""
    bearer.refund("lnbcrta", 2)
    bearer.node.end(1, A_PART)
    until(bearer.alarmed)
    bearer.refund("lnbcrtb", 1)
    until(lambda: len(bearer.node.begun) == 2)
    bearer.ask(cmd.Attend(name=bearer.session, how=cmd.SEEN, note=""))
    for number in (2, 3, 4):
        bearer.node.end(number, FAILS)
    until(lambda: not bearer.seen()[2])
    bearer.refund("lnbcrtc", 1)
    bearer.node.end(5, PAID)
    until(lambda: not bearer.seen()[2])
    refunded, back, _ = bearer.seen()
    assert len(bearer.node.begun) == 5 and bearer.node.sent_msat == refunded and back == 19_900


def test_a_journal_that_fails_for_a_moment_pays_no_refund_twice(bearer):
    """What is under way is asked for again when the journal is back, in the same process: as the same try."""
    bearer.refund("lnbcrtb", 2)
    until(lambda: len(bearer.node.begun) == 1)
    bearer.shop.broken = True
    with pytest.raises(JournalTrouble):
        bearer.ask(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    bearer.shop.broken = False
    until(lambda: len(bearer.shop.asked) == 2)
    assert bearer.shop.asked[0] == bearer.shop.asked[1]
    for number in (1, 2, 3):
        bearer.node.end(number, FAILS)
    until(lambda: not bearer.seen()[2])
    assert len(set(bearer.node.begun)) == 3  # each try leaves more for the fee: none was begun twice
    for bolt11, number in (("lnbcrtc", 2), ("lnbcrtd", 1)):
        bearer.refund(bolt11, number)
        bearer.node.end(len(bearer.node.begun) + 1, PAID)
        until(lambda: not bearer.seen()[2])
    refunded, back, _ = bearer.seen()
    assert len(bearer.node.begun) == 5 and bearer.node.sent_msat == refunded and back == 19_900


def test_a_refund_that_was_paid_before_its_invoice_expired_is_paid(bearer):
    """The plugin died between the payment and its news; when it asks again, the invoice has expired."""
    bearer.refund("lnbcrtb", 2)
    until(lambda: len(bearer.node.begun) == 1)
    bearer.shop.broken = True
    with pytest.raises(JournalTrouble):
        bearer.ask(cmd.MakeWalletInvoice(meter="m", amount_msat=0))
    bearer.node.end(1, PAID)
    until(lambda: bearer.node.sent_msat)
    bearer.node.age_s = 2 * 86_400
    bearer.shop.broken = False
    until(lambda: not bearer.seen()[2])
    assert bearer.seen()[0] == bearer.node.sent_msat and len(bearer.node.begun) == 1


def test_what_the_node_paid_for_something_else_pays_no_refund(bearer):
    """A bearer gives the invoice of something that the seller's node has bought: its hash is paid already."""
    row = {"status": "complete", "amount_msat": 9_000, "amount_sent_msat": 9_000, "created_at": 1}
    bearer.node.parts["b" * 64] = [row]
    bearer.refund("lnbcrtb", 2)
    until(lambda: not bearer.seen()[2])
    assert bearer.seen()[0] == 0 and not bearer.node.begun and not bearer.alarmed()


def test_a_refund_is_held_for_a_day_at_most(bearer):
    bearer.refund("lnbcrtb", 2)
    bearer.node.end(1, PAID)
    until(lambda: not bearer.seen()[2])
    (params,) = bearer.node.asked
    assert params["maxdelay"] <= 144
