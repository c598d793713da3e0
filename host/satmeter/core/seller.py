"""The seller: what a node that sells does with a reading, a payment, a message or the passing of time.

Theory of operation. handle() takes one input and returns a Step: events, which are folded into the books as they are
decided and must be committed before anything else; then actions; then a result for whoever asked. Readings are
cumulative and enter the journal only with an event that moves money or state. After every input _advance() looks at
the meter's state and does what has become due: delivery starts when there is credit, is suspended when it is used
up, the next invoice is asked for while there is room under the quantum. Nothing is remembered about actions: what is
unanswered follows from the state, and is repeated by Tick and resume().

The states and their table stand in books.py; TABLE is re-exported here.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import actions as do
from . import events as ev
from . import inputs as inp
from . import messages as msg
from . import receipt
from .actions import Step
from .books import TABLE as TABLE
from .books import Books
from .errors import (
    BadParam,
    BoardSilent,
    LockedOut,
    MeterTaken,
    NameTaken,
    NoCredit,
    SatmeterError,
    TooMany,
    UnknownSession,
    WrongState,
)
from .journal import Event, canonical
from .meter import DELIVERING, LOCKOUT, NEGOTIATING, STANDBY, SUSPENDED, Meter
from .sale import CLOSED, OPEN, Sale
from .tariff import Tariff, check_name

RESEND_MS, RESEND_MOST_MS = 2_000, 60_000
NODE_RETRY_MS = 5_000
CLAIM_WAIT_MS = 10_000
LINGER_MS = 60_000
REFUND_RETRY_MS = 60_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one seller takes on; the plugin's options."""

    meters: int = 1000
    sessions: int = 2000
    sessions_per_peer: int = 50
    offers_per_meter: int = 20
    silent_ms: int = 15_000


def session_label(session: str, n: int) -> str:
    return f"satmeter/s/{session}/{n}"


def offer_label(meter: str, n: int) -> str:
    return f"satmeter/m/{meter}/{n}"


def parse_label(label: str) -> tuple[str, str, int] | None:
    """Return ("s", session, n) or ("m", meter, n) of a label of ours, None for any other."""
    parts = label.split("/")
    if len(parts) != 4 or parts[0] != "satmeter" or parts[1] not in ("s", "m") or not parts[3].isdecimal():
        return None
    return parts[1], parts[2], int(parts[3])


def bearer_session(meter: str, n: int) -> str:
    """The id of the session that an offered invoice opens: fixed by its label, so that a repeat finds the same."""
    return hashlib.sha256(offer_label(meter, n).encode()).hexdigest()[:32]


class Seller:
    """One seller node. `node_id` is its public key in hex; `books` is the fold of its journal."""

    def __init__(self, node_id: str, limits: Limits | None = None, books: Books | None = None):
        self.node_id = node_id
        self.limits = limits or Limits()
        self.books = books or Books()
        self.step = Step()
        self.now = 0

    # --- the one way in

    def handle(self, what: inp.Input, now: int) -> Step:
        """Decide on one input at time `now` (ms). A SatmeterError leaves the books as they were."""
        self.step, self.now = Step(), now
        self.step.result = _HANDLERS[type(what)](self, what)
        return self.step

    def resume(self, now: int) -> Step:
        """Repeat, after a restart, whatever the state says is unanswered."""
        self.step, self.now = Step(), now
        for m in self.books.meters.values():
            for n, amount in m.offers.items():
                self._do(self._invoice(offer_label(m.name, n), amount, m.name, m.tariff))
        for s in list(self.books.sales.values()):
            for n, amount in {**s.out, **s.dropped}.items():
                s.asked_at[n] = now
                self._do(self._invoice(session_label(s.id, n), amount, s.meter, s.tariff))
            if s.refunding:
                self._do(do.PayRefund(s.id, s.refund_bolt11, s.refunding))
            self._settle(s)
        return self.step

    def rejects(self, label: str, now: int) -> str:
        """Return why a payment of `label` can't be delivered now, or "" (the invoice_payment hook). Reads only."""
        parsed = parse_label(label)
        if parsed is None:
            return ""
        kind, name, n = parsed
        if kind == "m":
            return self._rejects_offer(name, n, now)
        s = self.books.sales.get(name)
        if s is None:
            return "the session is closed"
        if not s.tariff.prepaid:
            return ""
        if n not in s.out:
            return "the invoice is superseded"
        m = self.books.meters.get(s.meter)
        if s.phase != OPEN or m is None or m.session != s.id:
            return "the session is closed"
        return "the board is silent" if m.silent(now, self.limits.silent_ms) else ""

    def _rejects_offer(self, name: str, n: int, now: int) -> str:
        m = self.books.meters.get(name)
        if m is None or n not in m.offers:
            return "the meter does not sell this any more"
        if m.silent(now, self.limits.silent_ms):
            return "the board is silent"
        if not m.plugged:
            return "nothing is plugged in"
        if m.state == LOCKOUT:
            return "the meter is locked"
        holder = self.books.sales.get(m.session)
        return "another session has the meter" if holder is not None and holder.buyer else ""

    # --- small helpers

    def _emit(self, e: Event) -> None:
        self.books.apply(e)
        self.step.events.append(e)

    def _do(self, action: do.Action) -> None:
        self.step.actions.append(action)

    def _send(self, s: Sale, make: Callable[..., msg.Message], **fields: Any) -> None:
        s.seq = max(s.seq + 1, self.now)
        self._do(do.Send(s.buyer, make(session=s.id, seq=s.seq, **fields)))

    def _notify(self, topic: str, m: Meter, **more: Any) -> None:
        self._do(do.Notify(topic, {"meter": m.name, "state": m.state, "session": m.session, "count": m.count, **more}))

    def _invoice(self, label: str, amount: int, meter: str, tariff: Tariff) -> do.MakeInvoice:
        return do.MakeInvoice(label, amount, meter, tariff.invoice_expiry_s)

    # --- meters

    def _add(self, i: inp.AddMeter) -> Meter:
        name = check_name(i.meter)
        tariff = Tariff.from_dict(i.tariff)
        if name in self.books.meters:
            raise NameTaken(f"name: there is a meter {name!r} already; meter-set changes it", param="name")
        if len(self.books.meters) >= self.limits.meters:
            raise TooMany(f"this seller has {self.limits.meters} meters, its limit (option meter-max-meters)")
        self._emit(ev.MeterAdded(self.now, f"meter/{name}", tariff.to_dict()))
        return self.books.meters[name]

    def _set(self, i: inp.SetMeter) -> Meter:
        m = self.books.meter(i.meter)
        tariff = Tariff.from_dict({**m.tariff.to_dict(), **i.tariff})
        self._emit(ev.MeterChanged(self.now, m.stream, tariff.to_dict()))
        return m

    def _remove(self, i: inp.RemoveMeter) -> Meter:
        m = self.books.meter(i.meter)
        if m.state != STANDBY:
            raise WrongState(f"meter {m.name} is in {m.state}; only a meter in standby can be removed")
        self._emit(ev.MeterRemoved(self.now, m.stream))
        return m

    def _reading(self, i: inp.Reading) -> Meter:
        m = self.books.meter(i.meter)
        if i.register < i.base:
            raise BadParam(f"register: {i.register} is under the base {i.base} of its boot", param="register")
        if m.boot != i.boot:
            offset = m.offset_after_boot(i.base)
            self._emit(ev.BoardBooted(self.now, m.stream, i.boot, offset, max(m.count, offset + i.base)))
        m.check_register(i.register, self.now)
        m.count, m.flow, m.seen, m.plugged = m.offset + i.register, i.flow, self.now, i.plugged
        if m.session:
            self.books.sales[m.session].count = m.count
        self._advance(m)
        return m

    def _unlock(self, i: inp.Unlock) -> Meter:
        m = self.books.meter(i.meter)
        if m.state != LOCKOUT:
            raise WrongState(f"meter {m.name} is in {m.state}, not locked")
        self._unlocked(m, "by hand")
        return m

    def _unlocked(self, m: Meter, why: str) -> None:
        self._emit(ev.Unlocked(self.now, m.stream, why))
        self._notify("meter_state", m, why=why)

    # --- what has become due

    def _advance(self, m: Meter) -> None:
        """Do what the meter's state makes due now."""
        if m.state == LOCKOUT and self.now >= m.lock_until:
            self._unlocked(m, "the lockout is over")
        if m.state == STANDBY:
            if m.period_over(self.now):
                self._emit(ev.AllowanceBegun(self.now, m.stream, m.count))
            return
        s = self.books.sales.get(m.session)
        if s is None:
            return
        if not m.plugged:
            self._close(s, "unplugged")
            return
        if s.tariff.session_max_s and self.now >= s.opened_at + s.tariff.session_max_s * 1000:
            self._close(s, "the longest time of a session is over")
            return
        self._run(m, s)

    def _run(self, m: Meter, s: Sale) -> None:
        """Start or suspend delivery, give the low notice, ask for money; end what waited too long."""
        if m.state in (NEGOTIATING, SUSPENDED) and s.deliverable > 0:
            self._emit(ev.DeliveryStarted(self.now, s.id, m.count))
            self._notify("meter_state", m)
        elif m.state == DELIVERING and s.deliverable <= 0:
            self._emit(ev.SessionSuspended(self.now, s.id, m.count))
            self._notify("meter_state", m)
        self._low(m, s)
        self._ask(s)
        if m.state in (NEGOTIATING, SUSPENDED) and self.now >= s.since + s.tariff.grace_s * 1000:
            used = m.state == SUSPENDED or m.allowance_used
            self._close(s, "credit used up" if m.state == SUSPENDED else "not paid in time")
            if used and s.buyer:
                self._lock(m, s)

    def _low(self, m: Meter, s: Sale) -> None:
        if s.low_told and not s.low:
            s.low_told = False
        if s.low and not s.low_told and m.state in (DELIVERING, SUSPENDED):
            s.low_told = True
            self._notify("meter_low", m, credit_msat=s.credit)
            if s.buyer:
                self._send(s, msg.Low, ticks=s.ticks, credit_msat=s.credit)

    def _ask(self, s: Sale) -> None:
        while (amount := s.next_invoice()) > 0:
            n = s.next_n
            self._emit(ev.InvoiceAsked(self.now, s.id, n, amount, s.count))
            self._do(self._invoice(session_label(s.id, n), amount, s.meter, s.tariff))

    def _lock(self, m: Meter | None, s: Sale) -> None:
        until = self.now + s.tariff.lockout_s * 1000
        if m is not None and s.tariff.lockout_s and m.state == STANDBY:
            self._emit(ev.Locked(self.now, m.stream, until, s.buyer, s.id))
            self._notify("meter_state", m, until=until)

    def _tick(self, _: inp.Tick) -> None:
        for m in self.books.meters.values():
            self._advance(m)
            self._look_after_offers(m)
        for s in list(self.books.sales.values()):
            if s.phase == OPEN:
                self._resend(s)
            else:
                self._settle(s)
        self._forget()

    def _look_after_offers(self, m: Meter) -> None:
        """Ask the node, once an offer's time is over, whether it was paid or has expired."""
        for n, amount in m.offers.items():
            looked = m.looked_at.setdefault(n, self.now)
            if self.now > looked + m.tariff.invoice_expiry_s * 1000:
                m.looked_at[n] = self.now
                self._do(self._invoice(offer_label(m.name, n), amount, m.name, m.tariff))

    def _forget(self) -> None:
        """Let go of what is over, after a while in which its buyer may still ask for the receipt."""
        for s in [s for s in self.books.sales.values() if s.done and self.now >= s.closed_at + LINGER_MS]:
            del self.books.sales[s.id]

    def _resend(self, s: Sale) -> None:
        """Ask the node again for what it has not answered, the buyer (ever more seldom) for what it has not paid."""
        for n, amount in s.out.items():
            asked = s.asked_at.setdefault(n, self.now)
            lost = n not in s.bolt11 and self.now >= asked + NODE_RETRY_MS
            if lost or self.now >= asked + s.tariff.invoice_expiry_s * 1000:
                s.asked_at[n] = self.now
                self._do(self._invoice(session_label(s.id, n), amount, s.meter, s.tariff))
        if s.bolt11 and self.now >= s.sent_at + min(RESEND_MOST_MS, RESEND_MS << min(s.tries, 5)):
            s.tries += 1
            self._send_invoices(s)

    def _send_invoices(self, s: Sale) -> None:
        for n in s.bolt11:
            self._send_invoice(s, n)

    def _cancel(self, s: Sale) -> None:
        """Have the node delete what is no longer wanted, until it says that it is gone or was paid."""
        for n in s.dropped:
            if self.now >= s.asked_at.get(-n, 0) + NODE_RETRY_MS:
                s.asked_at[-n] = self.now
                self._do(do.CancelInvoice(session_label(s.id, n)))

    def _send_invoice(self, s: Sale, n: int) -> None:
        s.sent_at = self.now
        self._send(
            s,
            msg.Invoice,
            n=n,
            amount_msat=s.out[n],
            bolt11=s.bolt11[n],
            ticks=s.ticks,
            charged_msat=s.charged,
            paid_msat=s.received,
        )

    # --- the node's news of invoices

    def _made(self, i: inp.InvoiceMade) -> None:
        parsed = parse_label(i.label)
        if parsed is None:
            return
        kind, name, n = parsed
        if kind == "m":
            m = self.books.meters.get(name)
            if m is not None and n in m.offers:
                m.offer_bolt11 = i.bolt11
            return
        s = self.books.sales.get(name)
        if s is None:
            return
        if n in s.out:
            s.bolt11[n] = i.bolt11
            self._send_invoice(s, n)
        elif n in s.dropped:
            self._cancel(s)

    def _gone(self, i: inp.InvoiceGone) -> None:
        parsed = parse_label(i.label)
        if parsed is None:
            return
        kind, name, n = parsed
        if kind == "m":
            m = self.books.meters.get(name)
            if m is not None and n in m.offers:
                self._emit(ev.OfferPaid(self.now, m.stream, n))
            return
        s = self.books.sales.get(name)
        if s is not None and (n in s.out or n in s.dropped):
            self._emit(ev.InvoiceExpired(self.now, s.id, n))
            self._forget_invoice(s, n)
            self._after(s)

    def _settled(self, i: inp.InvoiceSettled) -> bool:
        """Credit a payment, once. True if it was new; a label that is not open here was credited before."""
        parsed = parse_label(i.label)
        if parsed is None:
            return False
        kind, name, n = parsed
        if kind == "m":
            return self._offer_paid(name, n, i)
        s = self.books.sales.get(name)
        if s is None or (n not in s.out and n not in s.dropped):
            return False
        self._emit(ev.InvoicePaid(self.now, s.id, n, i.amount_msat, i.index, i.hash, s.count))
        self._forget_invoice(s, n)
        s.tries = 0
        self._after(s)
        return True

    def _forget_invoice(self, s: Sale, n: int) -> None:
        s.bolt11.pop(n, None)
        s.asked_at.pop(n, None)
        s.asked_at.pop(-n, None)

    def _offer_paid(self, name: str, n: int, i: inp.InvoiceSettled) -> bool:
        m = self.books.meters.get(name)
        if m is None or n not in m.offers:
            return False
        self._emit(ev.OfferPaid(self.now, m.stream, n))
        m.offer_bolt11 = ""
        s = self.books.sales.get(m.session)
        parked = False
        if s is None or s.buyer:
            parked = m.state != STANDBY
            s = self._open_bearer(m, n, parked)
        self._emit(ev.InvoicePaid(self.now, s.id, n, i.amount_msat, i.index, i.hash, m.count))
        if parked:
            self._close(s, "paid while the meter was not free")
            m.remainder = m.remainder or s.id
        self._after(s)
        return True

    def _open_bearer(self, m: Meter, n: int, parked: bool) -> Sale:
        session = bearer_session(m.name, n)
        self._opened(m, session, "", parked)
        s = self.books.sales[session]
        left = self.books.sales.get(m.remainder)
        if left is not None and left.owed and not parked:
            self._bring(left, s)
        return s

    def _after(self, s: Sale) -> None:
        if s.phase == OPEN:
            self._advance(self.books.meter(s.meter))
        else:
            self._settle(s)

    # --- sessions

    def _opened(self, m: Meter, session: str, buyer: str, parked: bool = False) -> None:
        tariff = m.tariff.to_dict()
        self._emit(ev.SessionOpened(self.now, session, m.name, buyer, tariff, m.count, m.boot, m.register, parked))

    def _bring(self, old: Sale, new: Sale) -> None:
        amount = old.owed
        self._emit(ev.CreditTaken(self.now, old.id, new.id, amount))
        self._emit(ev.CreditBrought(self.now, new.id, old.id, amount))
        self._settle(old)

    def _from_peer(self, i: inp.FromPeer) -> None:
        """A message of a buyer. What it breaks is answered with an error message, and changes nothing."""
        try:
            s = self.books.sales.get(i.message.session)
            if s is not None and s.buyer != i.peer:
                raise UnknownSession("session: not one of yours")
            if isinstance(i.message, msg.Open):
                self._peer_open(i.peer, i.message)
            elif s is None:
                raise UnknownSession(f"session: {i.message.session} is not live here")
            elif isinstance(i.message, msg.Close):
                self._peer_close(s, i.message)
            elif isinstance(i.message, msg.Error):
                self._peer_error(s, i.message)
        except SatmeterError as e:
            if not isinstance(i.message, msg.Error):
                answer = msg.Error(i.message.session, self.now, msg.SELLER, e.code, e.message)
                self._do(do.Send(i.peer, answer))

    def _peer_open(self, peer: str, o: msg.Open) -> None:
        s = self.books.sales.get(o.session)
        if s is None:
            s = self._new_session(peer, o)
        if s.phase == OPEN:
            self._send(s, msg.Terms, meter=s.meter, tariff=canonical(s.tariff.to_dict()), carried_msat=s.brought)
            self._send_invoices(s)
            self._after(s)
        else:
            self._tell_end(s)

    def _new_session(self, peer: str, o: msg.Open) -> Sale:
        m = self.books.meter(o.meter)
        self._advance(m)
        theirs = [s for s in self.books.sales.values() if s.buyer == peer]
        self._may_open(m, peer, theirs)
        self._opened(m, o.session, peer)
        new = self.books.sales[o.session]
        for old in theirs:
            if old.owed and not old.refunding:
                self._bring(old, new)
        self._notify("meter_state", m, buyer=peer)
        return new

    def _may_open(self, m: Meter, peer: str, theirs: list[Sale]) -> None:
        for s in theirs:
            if s.debt:
                self._send_invoices(s)
                raise LockedOut(f"session {s.id} left a debt of {s.debt} msat; pay that first")
        for other in self.books.meters.values():
            if other.state == LOCKOUT and (other is m or other.lock_buyer == peer):
                left = max(1, (other.lock_until - self.now + 999) // 1000)
                raise LockedOut(f"locked for another {left} s after a session that was not paid", seconds=left)
        if m.session:
            raise MeterTaken(f"another session has meter {m.name}")
        if m.silent(self.now, self.limits.silent_ms):
            raise BoardSilent(f"the board of meter {m.name} is not heard; it could deliver nothing")
        if not m.plugged:
            raise BoardSilent(f"nothing is plugged into meter {m.name}")
        if len(theirs) >= self.limits.sessions_per_peer or len(self.books.sales) >= self.limits.sessions:
            raise TooMany("this seller has as many sessions as it takes")

    def _peer_close(self, s: Sale, c: msg.Close) -> None:
        if s.phase == OPEN:
            self._close(s, c.reason or "closed by the buyer", tell=False)
        if c.bolt11 and c.bolt11 != s.refund_bolt11 and not s.refunding:
            self._emit(ev.RefundOffered(self.now, s.id, c.bolt11, c.paid_msat))
            s.refund_tried_at = 0
        if s.phase == CLOSED and s.receipt and not s.owed:
            self._tell_end(s)
        self._settle(s)

    def _peer_error(self, s: Sale, e: msg.Error) -> None:
        """The buyer refuses an invoice: it is dropped, and asked for again only after the grace time."""
        if e.n in s.out and s.tariff.prepaid:
            self._emit(ev.InvoiceDropped(self.now, s.id, e.n, e.text[:200]))
            s.bolt11.pop(e.n, None)
            self._cancel(s)
        if s.phase == OPEN:
            self._close(s, f"the buyer refused: {e.text[:200]}")

    def _close_session(self, i: inp.CloseSession) -> Sale:
        s = self.books.sale(i.session)
        if s.phase != OPEN:
            raise WrongState(f"session {s.id} is {s.phase} already")
        self._close(s, i.reason)
        return s

    def _close(self, s: Sale, reason: str, tell: bool = True) -> None:
        """End delivery: the charge becomes final, and what follows is only settling."""
        m = self.books.meter(s.meter)
        boot, register, charged = m.boot, m.register, s.charged
        self._emit(ev.SessionClosing(self.now, s.id, reason, m.count, boot, register, charged))
        s.bolt11 = {n: bolt11 for n, bolt11 in s.bolt11.items() if n in s.out}
        self._cancel(s)
        self._notify("meter_state", m, why=reason)
        if s.buyer and tell:
            self._tell_end(s)
        self._settle(s)

    # --- settling

    def _settle(self, s: Sale) -> None:
        """Bring a session that ended to its receipt: collect a debt, pay a refund, sign what came of it."""
        if s.phase == OPEN:
            return
        self._ask(s)
        self._resend(s)
        self._cancel(s)
        if not s.debt:
            for m in self.books.meters.values():
                if m.state == LOCKOUT and m.lock_session == s.id and not s.tariff.prepaid:
                    self._unlocked(m, "the debt is paid")
        waited = self.now - s.since
        if not s.buyer and s.owed and waited >= s.tariff.remainder_s * 1000:
            self._emit(ev.RemainderLapsed(self.now, s.id, s.owed))
        if s.refunding or (s.claimed > s.received and waited < CLAIM_WAIT_MS):
            return
        if s.owed and s.refund_bolt11 and self._refund_due(s):
            s.refund_tried_at = self.now
            self._emit(ev.RefundStarted(self.now, s.id, s.owed))
            self._do(do.PayRefund(s.id, s.refund_bolt11, s.refunding))
            return
        if s.debt and not s.revision and waited < s.tariff.grace_s * 1000:
            return
        if s.owed and s.buyer and not s.refund_bolt11 and not s.revision and waited < s.tariff.grace_s * 1000:
            if self.now >= s.told_at + RESEND_MS:
                self._tell_end(s)
            return
        if s.debt and not s.revision:
            self._lock(self.books.meters.get(s.meter), s)
        self._sign(s)

    def _refund_due(self, s: Sale) -> bool:
        return not s.refund_tried_at or self.now >= s.refund_tried_at + REFUND_RETRY_MS

    def _sign(self, s: Sale) -> None:
        figures = repr(s.figures)
        if s.revision and receipt.figures(s.receipt) == s.figures:
            return
        if s.signing == figures and self.now < s.signed_at + NODE_RETRY_MS:
            return
        s.signing, s.signed_at = figures, self.now
        s.closed_at = s.closed_at or self.now
        revision = s.revision + 1
        self._do(do.Sign(s.id, revision, receipt.text(s, self.node_id, revision)))

    def _signed(self, i: inp.Signed) -> None:
        s = self.books.sales.get(i.session)
        if s is None or i.revision != s.revision + 1:
            return
        s.signing = ""
        self._emit(ev.ReceiptSigned(self.now, s.id, i.revision, i.text, i.signature))
        self._do(do.Notify("meter_closed", {"session": s.id, "meter": s.meter, "reason": s.reason, "receipt": i.text}))
        if s.buyer:
            self._tell_end(s)
        self._settle(s)

    def _tell_end(self, s: Sale) -> None:
        s.told_at = self.now
        if s.receipt:
            self._send(s, msg.Receipt, text=s.receipt, signature=s.signature)
        else:
            self._send(s, msg.Close, by=msg.SELLER, reason=s.reason)

    def _refund_settled(self, i: inp.RefundSettled) -> None:
        s = self.books.sale(i.session)
        if s.refunding:
            self._emit(ev.RefundPaid(self.now, s.id, i.amount_msat, i.fee_msat))
            self._settle(s)

    def _refund_lost(self, i: inp.RefundLost) -> None:
        s = self.books.sale(i.session)
        if s.refunding:
            self._emit(ev.RefundFailed(self.now, s.id, i.why[:200]))
            self._settle(s)

    def _connected(self, i: inp.PeerConnected) -> None:
        for s in list(self.books.sales.values()):
            if s.buyer == i.peer:
                s.tries, s.refund_tried_at = 0, 0
                if s.phase == OPEN:
                    self._send_invoices(s)
                else:
                    self._tell_end(s)
                    self._settle(s)

    # --- offers and gates

    def _offer(self, i: inp.Offer) -> tuple[str, str]:
        """Ask for an invoice for any wallet; returns (label, session that it will feed)."""
        m = self.books.meter(i.meter)
        t = m.tariff
        if not t.prepaid:
            raise BadParam(f"name: meter {m.name} sells in arrears; a plain wallet can only prepay", param="name")
        amount = i.amount_msat or t.quantum_msat
        if amount > t.quantum_msat or t.ticks(amount) < 1:
            least = -(-t.price_msat // t.ticks_per_unit)
            raise BadParam(
                f"amount_msat: must be from {least} (one tick) to {t.quantum_msat} (the quantum), got {amount}",
                param="amount_msat",
            )
        if len(m.offers) >= self.limits.offers_per_meter:
            raise TooMany(f"meter {m.name} has {len(m.offers)} unpaid invoices; they expire in {t.invoice_expiry_s} s")
        n = m.next_offer
        self._emit(ev.InvoiceOffered(self.now, m.stream, n, amount))
        self._do(self._invoice(offer_label(m.name, n), amount, m.name, t))
        return offer_label(m.name, n), bearer_session(m.name, n)

    def _spend(self, i: inp.Spend) -> Sale:
        s = self.books.sale(i.session)
        steps: dict[str, Callable[[Sale, inp.Spend], None]] = {
            "reserve": self._reserve,
            "settle": self._spend_settle,
            "release": self._release,
        }
        if i.step not in steps:
            raise BadParam(f"step: must be reserve, settle or release, got {i.step!r}", param="step")
        steps[i.step](s, i)
        return s

    def _reserve(self, s: Sale, i: inp.Spend) -> None:
        if s.phase != OPEN:
            raise WrongState(f"session {s.id} is {s.phase}")
        if i.id in s.settled or s.reserved.get(i.id) == i.amount_msat:
            return
        if i.id in s.reserved:
            raise BadParam(f"id: {i.id!r} holds {s.reserved[i.id]} msat already", param="id")
        if i.amount_msat < 1 or i.amount_msat > s.credit:
            raise NoCredit(f"amount_msat: {i.amount_msat} msat asked, the credit is {max(0, s.credit)} msat")
        self._emit(ev.CreditReserved(self.now, s.id, i.id, i.amount_msat))
        self._after(s)

    def _spend_settle(self, s: Sale, i: inp.Spend) -> None:
        if i.id in s.settled:
            return
        held = self._held(s, i)
        amount = i.amount_msat or held
        if amount > held:
            raise BadParam(f"amount_msat: {amount} msat, but {i.id!r} holds {held}", param="amount_msat")
        self._emit(ev.CreditSpent(self.now, s.id, i.id, amount))
        self._after(s)

    def _release(self, s: Sale, i: inp.Spend) -> None:
        if i.id in s.reserved:
            self._emit(ev.CreditReleased(self.now, s.id, i.id))
            self._after(s)

    def _held(self, s: Sale, i: inp.Spend) -> int:
        if i.id not in s.reserved:
            raise NoCredit(f"id: nothing is reserved under {i.id!r}")
        return s.reserved[i.id]


_HANDLERS: dict[type[inp.Input], Callable[[Seller, Any], Any]] = {
    inp.Tick: Seller._tick,
    inp.AddMeter: Seller._add,
    inp.SetMeter: Seller._set,
    inp.RemoveMeter: Seller._remove,
    inp.Reading: Seller._reading,
    inp.Unlock: Seller._unlock,
    inp.FromPeer: Seller._from_peer,
    inp.PeerConnected: Seller._connected,
    inp.InvoiceMade: Seller._made,
    inp.InvoiceSettled: Seller._settled,
    inp.InvoiceGone: Seller._gone,
    inp.Offer: Seller._offer,
    inp.Spend: Seller._spend,
    inp.CloseSession: Seller._close_session,
    inp.RefundSettled: Seller._refund_settled,
    inp.RefundLost: Seller._refund_lost,
    inp.Signed: Seller._signed,
}
