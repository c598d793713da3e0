"""The buyer: what a node that buys does with terms, invoices, outcomes of payments and the passing of time.

The same shape as the seller: handle() takes one input and returns a Step of events (already folded, to be committed
before anything else), actions and a result. A payment is PaymentStarted before xpay is called, and stays in flight,
counted as spent with its highest fee, until the node says what became of it. On a breach of policy the buyer stops
paying, says why, keeps the evidence and asks for its refund.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from . import actions as do
from . import events as ev
from . import inputs as inp
from . import messages as msg
from . import policy, receipt
from .desk import Desk
from .errors import BadMessage, OverCap, PolicyBreach, SatmeterError, TooMany, UnknownSession, WrongState, by_code
from .journal import Event, canonical
from .labels import refund_label
from .policy import Policy
from .purchase import CLOSED, CLOSING, DAY_MS, MEMORY, OPENING, PAUSED, REFUSALS, STREAMING, Ledger, Purchase
from .snapshot import dump
from .tariff import Tariff, check_name

RESEND_MS, RESEND_MOST_MS = 2_000, 60_000
PING_MS = 30_000
LAND_MS = 10_000
OPEN_MS = 60_000
LINGER_MS = 5_000
AHEAD = 64
"""Invoices that are looked at ahead, for the widest window."""
FLIGHTS = 10
"""Payments of one stream at once, whatever window its seller has: held ones must not use up the node's HTLCs."""
INSPECT_MS = 60_000
REFUND_MS = 29 * 86_400_000
"""Refund invoices are made for 30 days (cln/stream.py)."""
SENSOR_MS = 30_000
GIVE_UP_MS = 60 * DAY_MS
REVISIONS = 1_000
"""Newest revision of a receipt that is looked at: each one is recorded."""


Recall = Callable[[str], Purchase | None]
"""Folds a stream that memory has let go from the journal again; its seller may owe something that we never heard of."""


class Buyer(Desk):
    """One buyer node; `sellers` are the node ids that it may buy from, empty for any."""

    def __init__(
        self,
        sellers: frozenset[str] = frozenset(),
        max_streams: int = 500,
        ledger: Ledger | None = None,
        recall: Recall = lambda session: None,
    ):
        super().__init__()
        self.recall = recall
        self.sellers = sellers
        self.max_streams = max_streams
        self.ledger = ledger or Ledger()

    def decide(self, what: inp.Input) -> Any:
        return _HANDLERS[type(what)](self, what)

    def fold(self, e: Event) -> None:
        self.ledger.apply(e)

    def repeat(self) -> None:
        """Outcomes of payments first."""
        for p in self.ledger.purchases.values():
            p.heard_at = p.touched_at = self.now
            for n, f in p.flights.items():
                self._do(do.Pay(p.id, p.seller, n, f.hash, f.maxfee, p.policy.maxdelay))
            if p.state != CLOSED or p.short:
                self._do(do.Connect(p.seller, p.address))
            if p.state == CLOSING:
                p.closing_at = self.now

    # --- small helpers

    def purchase(self, session: str) -> Purchase:
        """Return a live stream by its id, or by its meter's name: the newest one to a meter of that name."""
        if session in self.ledger.purchases:
            return self.ledger.purchases[session]
        named = [p for p in self.ledger.purchases.values() if p.meter == session]
        if not named:
            raise UnknownSession(f"session: no live stream {session!r}; stream-list lists them")
        return max(named, key=lambda p: (p.state != CLOSED, p.opened_at))

    def _send(self, p: Purchase, make: Callable[..., msg.Message], **fields: Any) -> None:
        p.seq = max(p.seq + 1, self.now)
        p.asked_at = self.now
        self._do(do.Send(p.seller, make(session=p.id, seq=p.seq, **fields)))

    def _notify(self, p: Purchase, **more: Any) -> None:
        self._do(do.Notify("stream_state", {"session": p.id, "state": p.state, "seller": p.seller, **more}))

    # --- opening

    def _open(self, i: inp.OpenStream) -> Purchase:
        check_name(i.meter)
        checked = Policy.from_dict(i.policy)
        if self.sellers and i.seller not in self.sellers:
            raise OverCap(f"seller {i.seller} is not among the allowed sellers (option stream-seller)")
        if sum(1 for p in self.ledger.purchases.values() if p.state not in (CLOSING, CLOSED)) >= self.max_streams:
            raise TooMany(f"this buyer has {self.max_streams} streams, its limit")
        for p in self.ledger.purchases.values():
            if (p.seller, p.meter) == (i.seller, i.meter) and p.state in (OPENING, STREAMING, PAUSED):
                raise WrongState(f"stream {p.id} to meter {i.meter} of that seller is {p.state} already")
        self._emit(ev.StreamOpened(self.now, i.session, i.seller, i.meter, i.address, checked.to_dict()))
        p = self.purchase(i.session)
        p.heard_at = self.now
        self._do(do.Connect(p.seller, p.address))
        self._send(p, msg.Open, meter=p.meter)
        return p

    def _connect_failed(self, i: inp.ConnectFailed) -> None:
        for p in list(self.ledger.purchases.values()):
            if p.seller == i.peer and p.state == OPENING:
                self._end(p, f"can't reach the seller: {i.why}")

    def _lost_peer(self, i: inp.PeerLost) -> None:
        """The connection to a seller is gone: reach for it again now, and at every ask until it is back."""
        address, due = "", False
        for p in self.ledger.purchases.values():
            if p.seller == i.peer and (p.state != CLOSED or p.short):
                due = due or not p.cut_off or self.now >= p.asked_at + RESEND_MS
                address, p.cut_off, p.asked_at = p.address, True, self.now
        if due:
            self._do(do.Connect(i.peer, address))

    def _connected(self, i: inp.PeerConnected) -> None:
        for p in self.ledger.purchases.values():
            if p.seller == i.peer and (p.state != CLOSED or p.short):
                p.cut_off = False
                self._ask_again(p)

    # --- messages

    def _from_peer(self, i: inp.FromPeer) -> None:
        p = self.ledger.purchases.get(i.message.session)
        if p is None and isinstance(i.message, msg.Receipt) and self._recalled(i.message.session, i.peer):
            self._do(do.CheckReceipt(i.message.session, i.peer, i.message.text, i.message.signature))
            return
        if p is None or p.seller != i.peer:
            if not isinstance(i.message, msg.Error):
                text = "no such session here"
                self._do(do.Send(i.peer, msg.Error(i.message.session, self.now, msg.BUYER, UnknownSession.code, text)))
            return
        p.heard_at, p.tries, p.cut_off = self.now, 0, False
        try:
            _MESSAGES[type(i.message)](self, p, i.message)
        except SatmeterError as e:
            message = i.message
            self._breach(p, e, getattr(message, "n", 0), message=str(getattr(message, "bolt11", ""))[:600])

    def _recalled(self, session: str, seller: str) -> Purchase | None:
        p = self.recall(session)
        return p if p is not None and p.seller == seller else None

    def _terms(self, p: Purchase, m: msg.Terms) -> None:
        try:
            values = json.loads(m.tariff)
            if not isinstance(values, dict):
                raise ValueError("not a JSON object")
            tariff = Tariff.from_dict(values)
        except (ValueError, TypeError, RecursionError, SatmeterError) as e:
            raise BadMessage(f"the seller's terms can't be read: {e}") from None
        if p.state == OPENING:
            policy.check_terms(p.policy, tariff)
            self._emit(ev.TermsAgreed(self.now, p.id, tariff.to_dict(), m.carried_msat))
            if p.sensor_boot:
                self._sensor_starts(p, p.sensor_boot, p.sensor_offset, p.sensor_count)
            self._notify(p)
            self._agree(p, tariff)
        elif p.state == CLOSED and p.tariff is None and m.carried_msat:
            p.touched_at = self.now
            self._close_when_landed(p)  # we had given up; what was carried into it has to come back
        elif p.tariff is not None and tariff != p.tariff:
            raise PolicyBreach("the seller changed the terms of a running session")
        elif p.state in (STREAMING, PAUSED):
            self._agree(p, tariff)

    def _agree(self, p: Purchase, t: Tariff) -> None:
        if not t.prepaid:
            self._send(p, msg.Agree)

    def _invoice(self, p: Purchase, m: msg.Invoice) -> None:
        if p.was_handled(m.n) or m.n in p.flights or p.tariff is None or not p.pays:
            return
        p.invoices = {n: known for n, known in p.invoices.items() if self.now < known[1] + INSPECT_MS and n != m.n}
        if len(p.flights) + len(p.invoices) >= FLIGHTS:
            return  # it is sent again
        self._told(p, p.tariff, m)
        p.invoices[m.n] = (m, self.now)
        pending = m.bolt11 in p.ahead
        known = p.ahead.pop(m.bolt11, None)
        if known is not None:
            self._inspected(replace(known, n=m.n))
        elif not pending:
            self._do(do.Inspect(p.id, m.n, m.bolt11))
        if m.ahead and m.ahead not in p.ahead:
            p.ahead = dict([*p.ahead.items(), (m.ahead, None)][-AHEAD:])
            self._do(do.Inspect(p.id, 0, m.ahead))

    def _told(self, p: Purchase, t: Tariff, m: msg.Invoice) -> None:
        """Check the count that a message states against the newest one told before; messages may overtake another."""
        last, since = (p.told_ticks, p.told_at) if p.told_at else (p.ticks, p.ticks_at)
        if m.ticks < last and m.seq < p.told_seq:
            return
        policy.check_progress(t, m.ticks, last, self.now - since)
        policy.check_progress(t, m.ticks, 0, self.now - p.agreed_at)
        p.told_ticks, p.told_seq, p.told_at = m.ticks, max(p.told_seq, m.seq), self.now

    def _take(self, session: str, n: int, bolt11: str) -> tuple[Purchase, msg.Invoice] | None:
        """Return what an inspection is about, once; None where it is not (or no more) the invoice that we asked about:
        what is paid has to be the very text that was inspected."""
        p = self.ledger.purchases.get(session)
        m, _ = p.invoices.get(n, (None, 0)) if p is not None else (None, 0)
        if p is None or m is None or m.bolt11 != bolt11:
            return None
        del p.invoices[n]
        return p, m

    def _inspected(self, i: inp.Inspected) -> None:
        if not i.n:
            self._looked_ahead(i)
            return
        taken = self._take(i.session, i.n, i.bolt11)
        if taken is None:
            return
        p, m = taken
        if p.tariff is None or p.was_handled(i.n) or i.n in p.flights or not p.pays:
            return
        if i.expires_at <= self.now:
            return  # the seller makes another
        try:
            policy.check_invoice(p.policy, p.seller, i.payee, m.amount_msat, i.amount_msat, i.final_cltv)
            self._check_due(p, p.tariff, m, p.carried + p.paid)
            self._check_caps(p, m.amount_msat)
        except PolicyBreach as e:
            self._breach(p, e, m.n, message=m.bolt11)
            return
        except OverCap as e:
            self._over_cap(p, e, m.n)
            return
        try:
            self._check_due(p, p.tariff, m, p.committed)
        except PolicyBreach:
            return  # too much only beside a payment that hangs, which the seller can't know of: it asks again
        fee, fresh = p.fee_left, m.n > p.started
        self._emit(ev.PaymentStarted(self.now, p.id, m.n, m.amount_msat, fee, i.hash, m.ticks))
        self._do(do.Pay(p.id, p.seller, m.n, i.hash, fee, p.policy.maxdelay, i, fresh))

    def _looked_ahead(self, i: inp.Inspected) -> None:
        p = self.ledger.purchases.get(i.session)
        if p is None:
            return
        asked = [n for n, (m, _) in p.invoices.items() if m.bolt11 == i.bolt11]
        if asked:
            self._inspected(replace(i, n=asked[0]))
        elif i.bolt11 in p.ahead:
            p.ahead[i.bolt11] = i

    def _check_due(self, p: Purchase, t: Tariff, m: msg.Invoice, paid: int) -> None:
        ticks = max(m.ticks, p.told_ticks)
        charged = max(m.charged_msat, t.charge(ticks))
        policy.check_amount(p.policy, t, m.amount_msat, paid, ticks, charged)
        if p.own_ticks is not None and self.now - p.sensor_at < SENSOR_MS:
            policy.check_sensor(p.policy, ticks, p.own_ticks)

    def _check_caps(self, p: Purchase, amount: int) -> None:
        most = amount + p.fee_left
        if amount > p.policy.max_invoice_msat:
            raise OverCap(f"an invoice of {amount} msat is over the cap of {p.policy.max_invoice_msat}")
        if p.sent + p.in_flight + most + p.kept_back > p.policy.budget_msat:
            raise OverCap(f"the budget of {p.policy.budget_msat} msat is used up")
        if p.policy.day_msat and self.ledger.spent_on(self.now) + most > p.policy.day_msat:
            raise OverCap(f"the day's budget of {p.policy.day_msat} msat is used up")

    def _undecodable(self, i: inp.Undecodable) -> None:
        taken = self._take(i.session, i.n, i.bolt11)
        if taken is not None:
            self._breach(taken[0], PolicyBreach(f"an invoice that the node can't decode: {i.why}"), i.n)

    def _breach(self, p: Purchase, e: SatmeterError, n: int, **evidence: Any) -> None:
        """Stop paying, say why, keep the evidence."""
        self._refuse(p, n, e.message, {**e.data, **evidence, "error": e.name})
        self._send(p, msg.Error, by=msg.BUYER, code=e.code, text=msg.words(e.message), n=n)
        self._notify(p, why=e.message)
        if p.state == OPENING:
            self._end(p, f"{e.name}: {e.message}", e.code)
        elif p.state in (STREAMING, PAUSED):
            self._begin_close(p, f"refused: {e.message}")

    def _refuse(self, p: Purchase, n: int, why: str, evidence: dict[str, Any]) -> None:
        """Record a refusal with its evidence; the same one again is not news, and a seller that goes on is none."""
        if len(p.refusals) < REFUSALS and not any(r["why"] == why for r in p.refusals):
            self._emit(ev.InvoiceRefused(self.now, p.id, n, why[:500], evidence))

    def _over_cap(self, p: Purchase, e: OverCap, n: int) -> None:
        """A cap of our own is reached: no breach of the seller's, the stream just ends."""
        if p.state == STREAMING:
            self._refuse(p, n, e.message, {"error": e.name})
            self._begin_close(p, e.message)

    def _low(self, p: Purchase, m: msg.Low) -> None:
        p.credit = m.credit_msat
        self._do(do.Notify("stream_low", {"session": p.id, "credit_msat": m.credit_msat, "ticks": m.ticks}))

    def _error(self, p: Purchase, m: msg.Error) -> None:
        if p.state == OPENING:
            self._end(p, f"{by_code(m.code).__name__}: {msg.words(m.text)}", m.code)
        elif m.code == UnknownSession.code and p.state != CLOSED:
            self._end(p, f"the seller does not know the session any more: {msg.words(m.text)}")

    def _end(self, p: Purchase, why: str, code: int = 0) -> None:
        """End a stream that has no receipt to wait for."""
        p.touched_at = self.now
        self._emit(ev.StreamClosed(self.now, p.id, code=code, why=why[:500]))
        self._notify(p, why=why)

    # --- payments

    def _paid(self, i: inp.PaymentDone) -> None:
        p = self.ledger.purchases.get(i.session)
        if p is not None and i.n in p.flights:
            self._emit(ev.PaymentSettled(self.now, p.id, i.n, i.sent_msat))
            if p.payments == 1:
                self._notify(p)
            self._landed(p)

    def _landed(self, p: Purchase) -> None:
        if p.state == CLOSING:
            self._close_when_landed(p)

    def _lost(self, i: inp.PaymentLost) -> None:
        p = self.ledger.purchases.get(i.session)
        if p is None or i.n not in p.flights:
            return
        self._emit(ev.PaymentFailed(self.now, p.id, i.n, msg.words(i.why)))
        self._landed(p)

    # --- closing

    def _close(self, i: inp.CloseStream) -> Purchase:
        p = self.purchase(i.session)
        if p.state == OPENING:
            self._send(p, msg.Close, by=msg.BUYER, reason=i.reason)
            self._end(p, i.reason)
        elif p.state in (STREAMING, PAUSED):
            self._begin_close(p, i.reason)
        return p

    def _begin_close(self, p: Purchase, reason: str) -> None:
        self._emit(ev.StreamClosing(self.now, p.id, reason[:300]))
        p.closing_at = self.now
        p.invoices.clear()
        self._notify(p, why=reason)
        self._close_when_landed(p)

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
            self._end(p, f"the seller closed: {msg.words(m.reason)}")
        elif p.state in (STREAMING, PAUSED):
            self._begin_close(p, msg.words(m.reason))
        else:
            self._close_when_landed(p)

    def _receipt(self, p: Purchase, m: msg.Receipt) -> None:
        if m.text != p.receipt:
            self._do(do.CheckReceipt(p.id, p.seller, m.text, m.signature))

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
        why = self._wrong_with(p, r)
        p.touched_at = self.now
        self._emit(ev.StreamClosed(self.now, p.id, 0, r["revision"], i.text, i.signature, True, why))
        self._notify(p, why=why or p.reason)
        if p.owed and not self._refundable(p):
            self._close_when_landed(p)

    def _recall_for(self, session: str, r: dict[str, Any]) -> Purchase | None:
        """Take a stream into memory again for a newer receipt of its seller; anything else is no reason."""
        old = self._recalled(session, r["seller"])
        if old is None or not old.revision < r["revision"] <= REVISIONS:
            return None
        self._emit(ev.StreamRecalled(self.now, session, dump(old, MEMORY)))
        return self.ledger.purchases[session]

    def _wrong_with(self, p: Purchase, r: dict[str, Any]) -> str:
        """Return what a signed receipt states other than we know it, "" if nothing."""
        if not receipt.balanced(canonical(r)):
            return "the receipt's sums do not agree"
        if r["session"] != p.id or r["seller"] != p.seller or r["meter"] != p.meter:
            return "the receipt is of another session"
        if r["paid_msat"] != p.carried + p.paid and not p.flights:
            return f"the receipt says {r['paid_msat']} msat paid, we paid {p.carried + p.paid}"
        if p.tariff is not None and r["tariff"] != p.tariff.to_dict():
            return "the receipt has another tariff"
        if p.tariff is not None and r["charged_msat"] - r["spent_msat"] > p.tariff.charge(r["ticks"]):
            return "the receipt charges more than its ticks cost"
        return ""

    # --- the user

    def _pause(self, i: inp.PauseStream) -> Purchase:
        p = self.purchase(i.session)
        if p.state != STREAMING:
            raise WrongState(f"stream {p.id} is {p.state}; only a running one can be paused")
        self._emit(ev.StreamPaused(self.now, p.id))
        self._notify(p)
        return p

    def _resume_stream(self, i: inp.ResumeStream) -> Purchase:
        p = self.purchase(i.session)
        if p.state != PAUSED:
            raise WrongState(f"stream {p.id} is {p.state}; only a paused one can be resumed")
        self._emit(ev.StreamResumed(self.now, p.id))
        self._notify(p)
        self._ask_again(p)
        return p

    def _budget(self, i: inp.SetBudget) -> Purchase:
        p = self.purchase(i.session)
        changed = Policy.from_dict({**p.policy.to_dict(), **{k: v for k, v in i.policy.items() if v is not None}})
        if p.tariff is not None:
            policy.check_terms(changed, p.tariff)
        self._emit(ev.BudgetChanged(self.now, p.id, changed.to_dict()))
        return p

    def _sensor(self, i: inp.SensorReading) -> Purchase:
        p = self.purchase(i.session)
        if i.boot != p.sensor_boot:
            # Where both the sensor and we restarted, what it counted meanwhile is not known.
            start = p.sensor_start if p.sensor_at else None
            self._sensor_starts(p, i.boot, p.sensor_count - i.base, start)
        p.sensor_count, p.sensor_at = max(p.sensor_count, p.sensor_offset + i.register), self.now
        if p.sensor_start is None and p.tariff is not None:
            self._sensor_starts(p, p.sensor_boot, p.sensor_offset, p.sensor_count - self._may_have_run(p, p.tariff))
        return p

    def _sensor_starts(self, p: Purchase, boot: str, offset: int, start: int | None) -> None:
        self._emit(ev.SensorBooted(self.now, p.id, boot, offset, start))

    def _may_have_run(self, p: Purchase, t: Tariff) -> int:
        """Return the ticks that may have run before the sensor was heard: what was invoiced, and what is at risk."""
        begun = p.payments or p.carried or not t.prepaid
        return p.ticks + (t.ticks(t.quantum_msat if t.prepaid else t.limit_msat) if begun else 0)

    # --- time

    def _tick(self, _: inp.Tick) -> None:
        for p in list(self.ledger.purchases.values()):
            if p.state == OPENING and self.now >= p.opened_at + OPEN_MS:
                self._send(p, msg.Close, by=msg.BUYER, reason="the open was given up")
                self._end(p, f"no answer from the seller within {OPEN_MS // 1000} s")
            elif p.state == CLOSING and not p.flights and self.now >= p.ended_at + GIVE_UP_MS:
                self._end(p, f"the seller gave no receipt within {GIVE_UP_MS // DAY_MS} days")
            elif p.state == OPENING or p.ending or p.cut_off:
                if self.now >= p.asked_at + min(RESEND_MOST_MS, RESEND_MS << min(p.tries, 5)):
                    p.tries += 1
                    p.asked_at = self.now
                    self._ask_again(p)
            elif p.state == STREAMING and self.now >= max(p.heard_at, p.asked_at) + PING_MS:
                self._do(do.Connect(p.seller, p.address))
                self._ask_again(p)
        for p in [p for p in self.ledger.purchases.values() if p.done and self.now >= p.touched_at + LINGER_MS]:
            del self.ledger.purchases[p.id]

    def _ask_again(self, p: Purchase) -> None:
        if p.cut_off or (p.ending and p.tries > 1):
            self._do(do.Connect(p.seller, p.address))
        if p.ending:
            self._close_when_landed(p)
        else:
            self._send(p, msg.Open, meter=p.meter)


_MESSAGES: dict[type[msg.Message], Callable[[Buyer, Purchase, Any], None]] = {
    msg.Terms: Buyer._terms,
    msg.Invoice: Buyer._invoice,
    msg.Low: Buyer._low,
    msg.Close: Buyer._peer_close,
    msg.Receipt: Buyer._receipt,
    msg.Error: Buyer._error,
    msg.Open: lambda buyer, p, m: None,
    msg.Agree: lambda buyer, p, m: None,
}

_HANDLERS: dict[type[inp.Input], Callable[[Buyer, Any], Any]] = {
    inp.Tick: Buyer._tick,
    inp.FromPeer: Buyer._from_peer,
    inp.PeerConnected: Buyer._connected,
    inp.PeerLost: Buyer._lost_peer,
    inp.OpenStream: Buyer._open,
    inp.ConnectFailed: Buyer._connect_failed,
    inp.Inspected: Buyer._inspected,
    inp.Undecodable: Buyer._undecodable,
    inp.PaymentDone: Buyer._paid,
    inp.PaymentLost: Buyer._lost,
    inp.RefundInvoiceMade: Buyer._refund_made,
    inp.ReceiptChecked: Buyer._receipt_checked,
    inp.PauseStream: Buyer._pause,
    inp.ResumeStream: Buyer._resume_stream,
    inp.SetBudget: Buyer._budget,
    inp.SensorReading: Buyer._sensor,
    inp.CloseStream: Buyer._close,
}
