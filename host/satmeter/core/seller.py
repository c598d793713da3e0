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
import re
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
    UnknownMeter,
    UnknownSession,
    WrongState,
)
from .journal import Event, canonical
from .meter import DELIVERING, LOCKOUT, NEGOTIATING, STANDBY, SUSPENDED, Meter
from .sale import CLOSED, OPEN, Sale
from .tariff import Tariff, check_name

PREFIX = "satmeter"
_LABEL = re.compile(rf"{PREFIX}/([0-9a-f]{{1,16}})/([sm])/([a-z0-9-]{{1,32}})/([0-9]{{1,15}})")
RESEND_MS, RESEND_MOST_MS = 2_000, 60_000
NODE_RETRY_MS = 5_000
CLAIM_WAIT_MS = 10_000
LINGER_MS = 60_000
REFUND_RETRY_MS, REFUND_RETRY_MOST_MS = 60_000, 21_600_000
REFUNDS_PER_PEER = 4
REFUND_INVOICES = 50
"""Refund invoices that one session may use up."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one seller takes on; the plugin's options."""

    meters: int = 1000
    sessions: int = 2000
    sessions_per_peer: int = 50
    offers_per_meter: int = 20
    silent_ms: int = 15_000


def session_label(journal: str, session: str, n: int) -> str:
    return f"{PREFIX}/{journal}/s/{session}/{n}"


def offer_label(journal: str, meter: str, n: int) -> str:
    return f"{PREFIX}/{journal}/m/{meter}/{n}"


def parse_label(label: str) -> tuple[str, str, str, int] | None:
    """Return (journal, "s" or "m", session or meter, n) of a label of a seller's, None for any other."""
    found = _LABEL.fullmatch(label)
    return (found[1], found[2], found[3], int(found[4])) if found else None


def bearer_session(label: str) -> str:
    """The id of the session that an offered invoice opens: fixed by its label, so that a repeat finds the same."""
    return hashlib.sha256(label.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Ended:
    """A session that memory has let go, as the journal's index has it."""

    buyer: str
    receipt: str
    signature: str


Recall = Callable[[str], Ended | None]
"""Looks a session up in the journal; the answer to an old session is its receipt, never a new session."""


class Seller:
    """One seller node. `node_id` is its public key in hex; `books` is the fold of the journal named `journal` (a few
    hex digits, made with it, which keep its invoices apart from those of any other journal of the same node)."""

    def __init__(
        self,
        node_id: str,
        limits: Limits | None = None,
        books: Books | None = None,
        journal: str = "0",
        recall: Recall = lambda session: None,
    ):
        self.node_id = node_id
        self.limits = limits or Limits()
        self.books = books or Books()
        self.journal = journal
        self.recall = recall
        self.resumed_at = 0
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
        self.resumed_at = now
        for m in self.books.meters.values():
            for n in m.offers:
                self._make_offer(m, n)
        for s in list(self.books.sales.values()):
            for n in {**s.out, **s.dropped}:
                self._make_invoice(s, n)
            if s.refunding:
                self._do(do.PayRefund(s.id, s.refund_bolt11, s.refunding))
            self._settle(s)
        return self.step

    def rejects(self, label: str, now: int) -> str:
        """Return why a payment of `label` can't be delivered now, or "" (the invoice_payment hook). Reads only."""
        parsed = parse_label(label)
        if parsed is None:
            return ""
        journal, kind, name, n = parsed
        if journal != self.journal:
            return "the invoice is of another journal"
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

    def _make_invoice(self, s: Sale, n: int) -> None:
        s.asked_at[n] = self.now
        amount = s.out[n] if n in s.out else s.dropped[n]
        label = session_label(self.journal, s.id, n)
        self._do(do.MakeInvoice(label, amount, s.meter, s.tariff.invoice_expiry_s))

    def _make_offer(self, m: Meter, n: int) -> None:
        m.looked_at[n] = self.now
        label = offer_label(self.journal, m.name, n)
        self._do(do.MakeInvoice(label, m.offers[n], m.name, m.tariff.invoice_expiry_s))

    def _ours(self, label: str) -> tuple[str, str, int] | None:
        parsed = parse_label(label)
        return parsed[1:] if parsed is not None and parsed[0] == self.journal else None

    def _unseen(self, s: Sale) -> bool:
        """True for a while after a restart: the board was not heard yet, so the count may be behind."""
        m = self.books.meters.get(s.meter)
        held = m is not None and m.session == s.id
        return held and m is not None and not m.seen and self.now < self.resumed_at + self.limits.silent_ms

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
        present = m.tariff.to_dict()
        if m.tariff.low_water_msat == m.tariff.quantum_msat // 4:
            del present["low_water_msat"]  # it was the default, and follows the quantum
        tariff = Tariff.from_dict({**present, **i.tariff})
        if m.offers and not tariff.prepaid:
            self._cancel_offers(m, "set to arrears")
        self._emit(ev.MeterChanged(self.now, m.stream, tariff.to_dict()))
        return m

    def _remove(self, i: inp.RemoveMeter) -> Meter:
        m = self.books.meter(i.meter)
        if m.state != STANDBY:
            raise WrongState(f"meter {m.name} is in {m.state}; only a meter in standby can be removed")
        if m.offers:
            self._cancel_offers(m, "removed")
        self._emit(ev.MeterRemoved(self.now, m.stream))
        return m

    def _cancel_offers(self, m: Meter, what: str) -> None:
        """Have unpaid offers deleted first: one that is paid all the same must find its meter as it was."""
        for n in m.offers:
            self._do(do.CancelInvoice(offer_label(self.journal, m.name, n)))
        raise WrongState(f"meter {m.name} has unpaid invoices; they are cancelled now, and then it can be {what}")

    def _reading(self, i: inp.Reading) -> Meter:
        m = self.books.meter(i.meter)
        if i.register < i.base:
            raise BadParam(f"register: {i.register} is under the base {i.base} of its boot", param="register")
        if m.boot != i.boot:
            offset = m.offset_after_boot(i.base)
            self._emit(ev.BoardBooted(self.now, m.stream, i.boot, offset, max(m.count, offset + i.base)))
        m.check_register(i.register, self.now)
        m.count, m.flow, m.plugged = m.offset + i.register, i.flow, i.plugged
        if not m.seen:
            m.rated_at, m.rated_from = self.now, m.count
        m.seen = self.now
        if m.session:
            self.books.sales[m.session].count = m.count
        self._advance(m)
        if m.session and m.tariff.charge(m.count - m.recorded) > self.books.sales[m.session].tariff.slice_msat // 2:
            self._emit(ev.Counted(self.now, m.stream, m.count))
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
        if s.on_hold or self._unseen(s):
            return
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
            self._make_invoice(s, n)

    def _lock(self, m: Meter | None, s: Sale, more_s: int = 0) -> None:
        until = self.now + (s.tariff.lockout_s + more_s) * 1000
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
        for n in m.offers:
            wait = m.tariff.invoice_expiry_s * 1000 if n in m.made else NODE_RETRY_MS
            if self.now > m.looked_at.setdefault(n, self.now) + wait:
                self._make_offer(m, n)

    def _forget(self) -> None:
        """Let go of what is over, after a while in which its buyer may still ask for the receipt."""
        for s in [s for s in self.books.sales.values() if s.done and self.now >= s.touched_at + LINGER_MS]:
            del self.books.sales[s.id]

    def _resend(self, s: Sale) -> None:
        """Ask the node again for what it has not answered, the buyer (ever more seldom) for what it has not paid."""
        for n in s.out:
            asked = s.asked_at.setdefault(n, self.now)
            lost = n not in s.bolt11 and self.now >= asked + NODE_RETRY_MS
            if lost or self.now >= asked + s.tariff.invoice_expiry_s * 1000:
                self._make_invoice(s, n)
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
                self._do(do.CancelInvoice(session_label(self.journal, s.id, n)))

    def _send_invoice(self, s: Sale, n: int) -> None:
        if self._unseen(s):
            return  # it would state a count that is behind what was told before
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
        parsed = self._ours(i.label)
        if parsed is None:
            return
        kind, name, n = parsed
        if kind == "m":
            m = self.books.meters.get(name)
            if m is not None and n in m.offers:
                m.offer_bolt11 = i.bolt11
                m.made = [*m.made, n][-self.limits.offers_per_meter :]
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
        parsed = self._ours(i.label)
        if parsed is None:
            return
        kind, name, n = parsed
        if kind == "m":
            m = self.books.meters.get(name)
            if m is not None and n in m.offers:
                self._emit(ev.OfferPaid(self.now, m.stream, n))
                m.looked_at.pop(n, None)
            return
        s = self.books.sales.get(name)
        if s is not None and (n in s.out or n in s.dropped):
            self._emit(ev.InvoiceExpired(self.now, s.id, n))
            self._forget_invoice(s, n)
            self._after(s)

    def _settled(self, i: inp.InvoiceSettled) -> bool:
        """Credit a payment, once. True if it was new; a label that is not open here was credited before."""
        parsed = self._ours(i.label)
        if parsed is None:
            self.books.index = max(self.books.index, i.index)  # not ours, but seen: the next snapshot remembers
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
        m.looked_at.pop(n, None)
        s = self.books.sales.get(m.session)
        parked = False
        if s is None or s.buyer:
            parked = m.state != STANDBY
            s = self._open_bearer(m, n, parked)
        self._emit(ev.InvoicePaid(self.now, s.id, n, i.amount_msat, i.index, i.hash, m.count))
        if parked:
            self._close(s, "paid while the meter was not free")
        self._after(s)
        return True

    def _open_bearer(self, m: Meter, n: int, parked: bool) -> Sale:
        session = bearer_session(offer_label(self.journal, m.name, n))
        self._opened(m, session, "", parked)
        s = self.books.sales[session]
        for left in list(self.books.sales.values()):
            if not parked and not left.buyer and left.meter == m.name and left.owed:
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
            ended = self.recall(i.message.session) if s is None else None
            if (s is not None and s.buyer != i.peer) or (ended is not None and ended.buyer != i.peer):
                raise UnknownSession("session: not one of yours")
            if ended is not None and isinstance(i.message, msg.Error):
                return  # an error is never answered: two sides that forgot would go on for ever
            if ended is not None:
                receipt_message = msg.Receipt(i.message.session, self.now, ended.receipt, ended.signature)
                self._do(do.Send(i.peer, receipt_message))
            elif isinstance(i.message, msg.Open):
                self._peer_open(i.peer, i.message)
            elif s is None:
                raise UnknownSession(f"session: {i.message.session} is not live here")
            elif isinstance(i.message, msg.Close):
                self._peer_close(s, i.message)
            elif isinstance(i.message, msg.Error):
                self._peer_error(s, i.message)
        except SatmeterError as e:
            if not isinstance(i.message, msg.Error):
                answer = msg.Error(i.message.session, self.now, msg.SELLER, e.code, msg.words(e.message))
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
        m = self.books.meters.get(o.meter)
        if m is None:
            raise UnknownMeter("no meter of that name here")  # and no list of the others for strangers
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
            if s.debt and s.phase != OPEN:
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
        if self._unseen(s):
            return  # the count may be behind; it is said again
        if s.phase == OPEN:
            self._close(s, msg.words(c.reason) or "closed by the buyer", tell=False)
        news = c.bolt11 not in ("", s.refund_bolt11, *s.refund_used) and len(s.refund_used) < REFUND_INVOICES
        if news and not s.refunding and (s.owed or c.paid_msat > s.received) and not s.refund_bolt11:
            self._emit(ev.RefundOffered(self.now, s.id, c.bolt11, c.paid_msat))
            s.refund_tried_at = 0
        if s.phase == CLOSED and s.receipt and not s.owed:
            self._tell_end(s)
        self._settle(s)

    def _peer_error(self, s: Sale, e: msg.Error) -> None:
        """The buyer refuses an invoice: it is dropped, and asked for again only after the grace time."""
        if e.n in s.out and s.tariff.prepaid:
            self._emit(ev.InvoiceDropped(self.now, s.id, e.n, msg.words(e.text)))
            s.bolt11.pop(e.n, None)
            self._cancel(s)
        if s.phase == OPEN:
            self._close(s, msg.words(f"the buyer refused: {e.text}"))

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
        if s.debt:
            self._lock(m, s, more_s=s.tariff.grace_s)  # until it is paid, or for as long as unpaid ones are locked
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
        self._sign(s)

    def _refund_due(self, s: Sale) -> bool:
        under_way = sum(1 for other in self.books.sales.values() if other.buyer == s.buyer and other.refunding)
        wait = min(REFUND_RETRY_MOST_MS, REFUND_RETRY_MS << min(s.refund_fails, 10))
        due = not s.refund_tried_at or self.now >= s.refund_tried_at + wait
        return due and under_way < REFUNDS_PER_PEER

    def _sign(self, s: Sale) -> None:
        figures = repr(s.figures)
        if s.revision and receipt.figures(s.receipt) == s.figures:
            return
        if s.signing == figures and self.now < s.signed_at + NODE_RETRY_MS:
            return
        s.signing, s.signed_at = figures, self.now
        revision = s.revision + 1
        self._do(do.Sign(s.id, revision, receipt.text(s, self.node_id, revision)))

    def _signed(self, i: inp.Signed) -> None:
        s = self.books.sales.get(i.session)
        if s is None or i.revision != s.revision + 1:
            return
        s.signing, s.touched_at = "", self.now
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
        if s.refunding and i.bolt11 == s.refund_bolt11:
            s.refund_fails = 0
            self._emit(ev.RefundPaid(self.now, s.id, i.amount_msat, i.fee_msat))
            self._settle(s)

    def _refund_lost(self, i: inp.RefundLost) -> None:
        s = self.books.sale(i.session)
        if s.refunding and i.bolt11 == s.refund_bolt11:
            s.refund_fails += 1
            self._emit(ev.RefundFailed(self.now, s.id, msg.words(i.why), i.final))
            self._settle(s)

    def _connected(self, i: inp.PeerConnected) -> None:
        for s in list(self.books.sales.values()):
            if s.buyer == i.peer:
                s.tries = 0
                if self.now >= s.refund_tried_at + RESEND_MS:
                    s.refund_tried_at = 0
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
        n = self.books.offers + 1
        self._emit(ev.InvoiceOffered(self.now, m.stream, n, amount))
        self._make_offer(m, n)
        label = offer_label(self.journal, m.name, n)
        return label, bearer_session(label)

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
        if i.amount_msat is None or not 1 <= i.amount_msat <= s.credit:
            raise NoCredit(f"amount_msat: {i.amount_msat} msat asked, the credit is {max(0, s.credit)} msat")
        self._emit(ev.CreditReserved(self.now, s.id, i.id, i.amount_msat))
        self._after(s)

    def _spend_settle(self, s: Sale, i: inp.Spend) -> None:
        if i.id in s.settled:
            return
        held = self._held(s, i)
        amount = held if i.amount_msat is None else i.amount_msat
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
