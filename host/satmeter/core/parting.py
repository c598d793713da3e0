"""Parting: from the wish to close to a receipt that was checked, and what is owed by then."""

from typing import Any

from . import actions as do
from . import events as ev
from . import inputs as inp
from . import messages as msg
from . import policy, receipt
from .errors import PolicyBreach, Refused
from .journal import canonical
from .labels import refund_label
from .purchase import CLOSED, CLOSING, MEMORY, OPENING, PAUSED, STREAMING, Purchase
from .purse import Purse
from .sale import DUST_MSAT
from .snapshot import dump

LAND_MS = 10_000
REFUND_MS = 29 * 86_400_000
"""Refund invoices are made for 30 days (cln/stream.py)."""
REFUNDS_LOOKED_AT = 50
REVISIONS = 1_000
"""Newest revision of a receipt that is looked at: each one is recorded."""


class Parting(Purse):
    """What follows when a stream ends, whoever ended it."""

    def _close(self, i: inp.CloseStream) -> Purchase:
        p = self.purchase(i.session)
        if p.state == OPENING:
            self._send(p, msg.Close, by=msg.BUYER, reason=i.reason)
            self._end(p, i.reason)
        elif p.state in (STREAMING, PAUSED):
            self._begin_close(p, i.reason)
        if i.refuse_debt and p.arrears and not p.debt_refused:
            self._emit(ev.DebtRefused(self.now, p.id))
            self._notify(p, why="nothing more is paid")
        return p

    def _begin_close(self, p: Purchase, reason: str) -> None:
        most, most_ticks = self._most_after_close(p)
        self._emit(ev.StreamClosing(self.now, p.id, reason[:300], most, most_ticks))
        p.closing_at = self.now
        p.invoices.clear()
        self._notify(p, why=reason)
        self._close_when_landed(p)

    def _bound(self, p: Purchase, reason: str) -> None:
        """However a stream in arrears comes to its end: from here on what it may pay is bounded."""
        if p.arrears and p.most < 0:
            most, most_ticks = self._most_after_close(p)
            self._emit(ev.StreamClosing(self.now, p.id, reason[:300], most, most_ticks))

    def _most_after_close(self, p: Purchase) -> tuple[int, int]:
        """Return what a stream in arrears may pay in all from here on, and the count that it pays up to (-1: no
        sensor).

        Nothing that is used after the close is ours to pay: no more can be owed now than the limit, and no more ticks
        than the own sensor counts, within its tolerance."""
        t = p.tariff
        if t is None or t.prepaid:
            return -1, -1
        most, most_ticks = p.committed + t.limit_msat, -1
        if p.own_ticks is None and p.sensor_boot:
            return p.committed, -1  # a sensor was heard, and is not since our restart: nothing more is paid
        if p.own_ticks is not None:
            most_ticks = policy.most_ticks(p.policy, p.own_ticks)
            most = min(most, max(p.committed, t.charge(most_ticks) + p.policy.max_spend_msat))
        return most, most_ticks

    def _close_when_landed(self, p: Purchase) -> None:
        """Say close once nothing is in flight, or it has hung for too long to wait for; in arrears at once, since
        until the seller knows, what is used goes on to be owed."""
        waits = p.flights and self.now < p.closing_at + LAND_MS and p.tariff is not None and p.tariff.prepaid
        if p.state not in (CLOSING, CLOSED) or waits:
            return
        if self._refundable(p):
            self._send(
                p, msg.Close, by=msg.BUYER, reason=p.reason, paid_msat=p.carried + p.paid, bolt11=p.refund_bolt11
            )
        else:
            self._do(do.MakeRefundInvoice(refund_label(p.id, p.refund_made), p.id))

    def _refundable(self, p: Purchase) -> bool:
        """Whether the seller can still pay the refund invoice that it has, or may be sent."""
        return bool(p.refund_bolt11) and self.now < p.refund_at + REFUND_MS

    def _refund_made(self, i: inp.RefundInvoiceMade) -> None:
        p = self.ledger.purchases.get(i.session)
        if p is None or self._refundable(p):
            return
        self._emit(ev.RefundInvoiced(self.now, p.id, i.bolt11))
        self._send(p, msg.Close, by=msg.BUYER, reason=p.reason, paid_msat=p.carried + p.paid, bolt11=i.bolt11)

    def _peer_close(self, p: Purchase, m: msg.Close) -> None:
        if p.state == OPENING:
            self._end(p, f"the seller closed: {msg.words(m.reason)}", Refused.code)
        elif p.state in (STREAMING, PAUSED):
            self._begin_close(p, msg.words(m.reason))
        else:
            self._close_when_landed(p)

    def _receipt(self, p: Purchase, m: msg.Receipt) -> None:
        if m.text != p.receipt:
            self._check_receipt(p, m)

    def _check_receipt(self, p: Purchase, m: msg.Receipt) -> None:
        first = max(0, p.refund_made + 1 - REFUNDS_LOOKED_AT)
        labels = tuple(refund_label(p.id, n) for n in range(first, p.refund_made + 1))
        self._do(do.CheckReceipt(p.id, p.seller, m.text, m.signature, labels))

    def _receipt_checked(self, i: inp.ReceiptChecked) -> None:
        p, r = self.ledger.purchases.get(i.session), receipt.read(i.text)
        if p is None and i.verified and r is not None:
            p = self._recall_for(i.session, r)
        if p is None or i.text == p.receipt:
            return
        if not i.verified or r is None:
            why = "the signature is not the seller's" if not i.verified else "signed, but not a receipt"
            self._refuse(p, 0, why, {"receipt": i.text[:4000]})
            return
        if p.revision and not p.revision < r["revision"] <= REVISIONS:
            return
        self._carried_in(p, r["carried_in_msat"])  # where its terms never reached us
        if p.signed is not None:
            self._reconcile(p, i.text)
        why = self._judge(p, r, i.text, i.signature, {label: msat for label, msat in i.arrivals.items() if msat})
        self._release(p)
        self._notify(p, why=why or p.reason)
        if p.owed and not self._refundable(p):
            self._close_when_landed(p)

    def _judge(self, p: Purchase, r: dict[str, Any], text: str, signature: str, arrivals: dict[str, int]) -> str:
        """Record a signed receipt with what is wrong with it, and return that."""
        arrived = sum({**p.arrivals, **arrivals}.values())
        carried_on = self._carried_on(p, r["refunded_msat"] - r["refund_fee_msat"] - arrived)
        why = self._wrong_with(p, r, arrived + carried_on)
        if text == p.receipt and (why, carried_on) == (p.why, p.carried_on):
            return why  # no news
        p.touched_at = self.now
        self._bound(p, "closed by the seller")
        signed = (r["revision"], text, signature, True)
        self._emit(ev.StreamClosed(self.now, p.id, 0, *signed, why, arrivals, carried_on))
        return why

    def _carried_in(self, p: Purchase, amount: int) -> None:
        """The seller says that this stream began with credit of an earlier one."""
        if amount > p.carried:
            self._emit(ev.CreditCarried(self.now, p.id, amount))
            self._judge_again(p.seller)

    def _judge_again(self, seller: str) -> None:
        """Credit was carried into a stream: it may be what the receipt of an earlier one says was given back."""
        for p in self.ledger.purchases.values():
            r = receipt.read(p.receipt) if p.seller == seller and p.disputed else None
            if r is not None:
                self._judge(p, r, p.receipt, p.signature, {})

    def _recall_for(self, session: str, r: dict[str, Any]) -> Purchase | None:
        """Take a stream into memory again for a newer receipt of its seller; anything else is no reason."""
        old = self._recalled(session, r["seller"])
        if old is None or not old.revision < r["revision"] <= REVISIONS:
            return None
        self._emit(ev.StreamRecalled(self.now, session, dump(old, MEMORY)))
        return self.ledger.purchases[session]

    def _recalled(self, session: str, seller: str) -> Purchase | None:
        p = self.recall(session)
        return p if p is not None and p.seller == seller else None

    def _carried_on(self, p: Purchase, missing: int) -> int:
        """Return how much of the refunds that did not arrive is explained by credit in later streams."""
        return max(0, min(missing, p.carried_on + self.ledger.carried.get(p.seller, 0)))

    def _wrong_with(self, p: Purchase, r: dict[str, Any], came_back: int) -> str:
        """Return what a signed receipt states other than we know it, "" if nothing. `came_back`: what arrived by refund
        invoices or was carried on (msat)."""
        if not receipt.balanced(canonical(r)):
            return "the receipt's sums do not agree"
        if r["session"] != p.id or r["seller"] != p.seller or r["meter"] != p.meter:
            return "the receipt is of another session"
        if r["paid_msat"] < p.carried + p.paid and not p.flights:  # more is another's, who paid an invoice of ours
            return f"the receipt says {r['paid_msat']} msat paid, we paid {p.carried + p.paid}"
        if p.tariff is not None and r["tariff"] != p.tariff.to_dict():
            return "the receipt has another tariff"
        if p.tariff is not None and r["charged_msat"] - r["spent_msat"] > p.tariff.charge(r["ticks"]):
            return "the receipt charges more than its ticks cost"
        return self._wrong_with_the_rest(p, r, came_back)

    def _wrong_with_the_rest(self, p: Purchase, r: dict[str, Any], came_back: int) -> str:
        if r["spent_msat"] > p.policy.max_spend_msat:
            return (
                f"the receipt says {r['spent_msat']} msat spent at gates; at most {p.policy.max_spend_msat} is allowed"
            )
        if r["lapsed_msat"] >= DUST_MSAT:
            return f"the receipt says that {r['lapsed_msat']} msat lapsed; only less than {DUST_MSAT} may"
        if r["refunded_msat"] - r["refund_fee_msat"] > came_back:
            return f"the receipt says {r['refunded_msat']} msat refunded, a fee included; {came_back} came back"
        if 2 * r["refund_fee_msat"] > r["refunded_msat"]:
            return f"the receipt takes a fee of {r['refund_fee_msat']} msat out of a refund of {r['refunded_msat']}"
        try:
            if p.tariff is not None:
                policy.check_progress(p.tariff, r["ticks"], 0, self.now - p.agreed_at)
            if p.own_ticks is not None:
                policy.check_sensor(p.policy, r["ticks"], p.own_ticks)
        except PolicyBreach as e:
            return f"the receipt is not plausible: {e.message}"
        return ""
