"""The seller: what a node that sells does with a reading, a payment, a message or the passing of time.

Theory of operation. handle() takes one input and returns a Step: events, which are folded into the books as they are
decided and must be committed before anything else; then actions; then a result for whoever asked. Readings are
cumulative and enter the journal only with an event that moves money or state. After every input _advance() looks at
the meter's state and does what has become due: delivery starts when there is credit, is suspended when it is used
up, the next invoice is asked for while there is room under the quantum. Nothing is remembered about actions: what is
unanswered follows from the state, and is repeated by Tick and resume().

The parts, each building on the one before: shop.py (what all use), invoicing.py (invoices and their payments),
settling.py (the end of a session), metering.py (meters, readings, time), gates.py (credit spent elsewhere),
openings.py (opens that wait for their first payment), and here the buyers who come and go. The states and their table
stand in books.py; TABLE is re-exported here.
"""

from collections.abc import Callable
from typing import Any

from . import actions as do
from . import events as ev
from . import inputs as inp
from . import messages as msg
from .books import TABLE as TABLE
from .errors import (
    BoardSilent,
    ClockWrong,
    JournalTrouble,
    LockedOut,
    MeterTaken,
    SatmeterError,
    TooMany,
    UnknownMeter,
    UnknownSession,
)
from .labels import parse_label, parse_opening
from .meter import LOCKOUT, STANDBY, Meter
from .openings import REMEMBERED, Openings
from .sale import CLOSED, OPEN, Sale
from .settling import REFUND_RETRY_MS
from .shop import Ended as Ended
from .shop import Limits as Limits

QUIET_MS = 60_000
"""A buyer that has nothing to say says so twice a minute (core/buyer.py): after a restart it may be there."""
REFUND_FAILS, RECONNECTED_MS = 3, 600_000
"""A buyer who comes back has its refund tried again at once; after so many failures not sooner than this."""
REFUND_INVOICES = 50
"""Refund invoices that one session may use up."""
EXCUSED, DOUBTED_MS = 5, 3_600_000
"""Opens of a node id that are not held against it since it says that a clock is wrong; and how often that is told."""


class Seller(Openings):
    """The whole of it: takes inputs, and buyers' messages."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.excused: dict[str, int] = {}
        self.doubted_at: dict[str, int] = {}
        """By meter: when it was told last that a buyer doubts this machine's clock."""

    def decide(self, what: inp.Input) -> Any:
        return _HANDLERS[type(what)](self, what)

    def repeat(self) -> None:
        self.resumed_at = self.now
        if self.older >= 0:
            self._go_on_from_older()
        for m in self.books.meters.values():
            for n in m.offers:
                self._make_offer(m, n)
        for s in list(self.books.sales.values()):
            for n in {**s.out, **s.dropped}:
                self._make_invoice(s, n)
            if s.txs:
                s.gone_at = self.now + QUIET_MS  # until it is heard
            if s.refunding and not s.refund_held:
                older = min(self.limits.refund_maxfee_msat, s.refunding // 2)  # begun by an older version
                maxfee = s.refund_maxfee if s.refund_maxfee >= 0 else older
                self._do(do.PayRefund(s.id, s.refund_bolt11, s.refunding, maxfee, fresh=False))
            self._settle(s)

    def rejects(self, label: str, now: int) -> str:
        """Return why a payment of `label` can't be delivered now, or "" (the invoice_payment hook). Reads only."""
        parsed, opening = parse_label(label), parse_opening(label)
        if opening is not None and opening[0] == self.journal:
            return self._rejects_first(opening[1], now)
        if parsed is None:
            return "" if opening is None else "the invoice is of another journal"
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
        if s.phase != OPEN or s.ending_at or m is None or m.session != s.id:
            return "the session is closed"
        return m.undeliverable(now, self.limits.silent_ms) if m.plugged else ""

    def _rejects_offer(self, name: str, n: int, now: int) -> str:
        m = self.books.meters.get(name)
        if m is None or n not in m.offers:
            return "the meter does not sell this any more"
        why = m.undeliverable(now, self.limits.silent_ms)
        if why:
            return why
        if m.state == LOCKOUT:
            return "the meter is locked"
        holder = self.books.sales.get(m.session)
        return "another session has the meter" if holder is not None and holder.buyer else ""

    # --- buyers

    def _from_peer(self, i: inp.FromPeer) -> None:
        """A message of a buyer. What it breaks is answered with an error message, and changes nothing."""
        try:
            s = self._live(i.message.session)
            if s is not None and s.buyer == i.peer:
                s.gone_at = 0
            ended = self.recall(i.message.session) if s is None else None
            if (s is not None and s.buyer != i.peer) or (ended is not None and ended.buyer != i.peer):
                raise UnknownSession("session: not one of yours")
            if ended is not None and isinstance(i.message, msg.Error):
                return  # an error is never answered: two sides that forgot would go on for ever
            if ended is not None and ended.receipt:
                receipt_message = msg.Receipt(i.message.session, self.now, ended.receipt, ended.signature)
                self._do(do.Send(i.peer, receipt_message))
            elif isinstance(i.message, msg.Open) and ended is None:
                self._peer_open(i.peer, i.message)
            elif s is None:
                raise UnknownSession(f"session: {i.message.session} is not live here")
            elif isinstance(i.message, msg.Version):
                self._peer_version(s, i.message)
            elif isinstance(i.message, msg.Close):
                self._peer_close(s, i.message)
            elif isinstance(i.message, msg.Agree):
                self._agree(s)
            elif isinstance(i.message, msg.Error):
                self._peer_error(s, i.message)
        except JournalTrouble:
            return  # said to our own operator; the buyer says it again
        except SatmeterError as e:
            if not isinstance(i.message, msg.Error):
                answer = msg.Error(i.message.session, self.now, msg.SELLER, e.code, msg.words(e.message))
                self._do(do.Send(i.peer, answer))

    def _peer_open(self, peer: str, o: msg.Open) -> None:
        s = self._live(o.session) or self._new_session(peer, o)
        if s is None:
            return
        if s.phase == OPEN:
            self._send_terms(s)
            self._send_invoices(s)
            if s.id not in self.openings:
                self._after(s)
        else:
            self._tell_end(s)

    def _new_session(self, peer: str, o: msg.Open) -> Sale | None:
        """Return an opening; or the session at once, where the buyer brings credit from an earlier one. None: not
        now."""
        m = self.books.meters.get(o.meter)
        if m is None:
            raise UnknownMeter("no meter of that name here")  # and no list of the others for strangers
        self._advance(m)
        theirs = [s for s in self.books.sales.values() if s.buyer == peer]
        self._may_open(m, peer, theirs)
        brings = [old for old in theirs if old.owed and not old.refunding and not old.refund_held and old.firm]
        if m.state != STANDBY or m.tariff.ticks(sum(old.owed for old in brings)) < 1:
            return self._begin_opening(m, o.session, peer)
        self._opened(m, o.session, peer)
        new = self.books.sales[o.session]
        for old in brings:
            self._bring(old, new)
        self._notify("meter_state", m, buyer=peer)
        return new

    def _may_open(self, m: Meter, peer: str, theirs: list[Sale]) -> None:
        for s in theirs:
            if s.debt >= s.dust_msat and s.phase != OPEN:
                self._want_debt(s)
                raise LockedOut(f"session {s.id} left a debt of {s.debt} msat; pay that first")
        for other in self.books.meters.values():
            if other.state == LOCKOUT and (other is m or other.lock_buyer == peer):
                left = max(1, (other.lock_until - self.now + 999) // 1000)
                raise LockedOut(f"locked for another {left} s after a session that was not paid", seconds=left)
        holder = self.books.sales.get(m.session)
        if holder is not None and not self._unused(holder):
            raise MeterTaken(f"another session has meter {m.name}")
        if m.silent(self.now, self.limits.silent_ms):
            raise BoardSilent(f"the board of meter {m.name} is not heard; it could deliver nothing")
        if m.fault_at:
            raise BoardSilent(f"the board of meter {m.name} can't deliver: {m.fault}")
        if not m.plugged:
            raise BoardSilent(f"nothing is plugged into meter {m.name}")
        if self._too_many(theirs):
            raise TooMany("this seller has as many sessions as it takes")

    def _want_debt(self, s: Sale) -> None:
        s.ask_at = 0
        self._ask_debt(s)
        self._send_invoices(s)

    def _too_many(self, theirs: list[Sale]) -> bool:
        """Sessions that ended and only owe something do not count: else anybody could fill a seller for good."""
        live = sum(1 for s in self.books.sales.values() if s.phase != CLOSED)
        mine = sum(1 for s in theirs if s.phase != CLOSED)
        return mine >= self.limits.sessions_per_peer or live >= self.limits.sessions

    def _peer_close(self, s: Sale, c: msg.Close) -> None:
        if s.id in self.openings:
            self._close_opening(s)
            return
        if s.phase == OPEN:
            self._end(s, msg.words(c.reason) or "closed by the buyer", tell=False)
        news = c.bolt11 not in ("", s.refund_bolt11, *s.refund_used) and len(s.refund_used) < REFUND_INVOICES
        if news and not s.refunding and (s.owed or s.ending_at or c.paid_msat > s.received) and not s.refund_bolt11:
            self._emit(ev.RefundOffered(self.now, s.id, c.bolt11, c.paid_msat))
            s.refund_tried_at = 0
        if s.phase == CLOSED and (s.void or (s.receipt and not s.owed)):
            self._tell_end(s)
        self._settle(s)

    def _peer_error(self, s: Sale, e: msg.Error) -> None:
        """The buyer refuses an invoice: it is dropped, and asked for again only after the grace time. What it could not
        pay, for the clocks, is not held against it."""
        clocks = e.code == ClockWrong.code and e.n in s.out
        if clocks:
            self._clock_doubted(s, e.text)
        if s.id in self.openings:
            excused = clocks and self.excused.get(s.buyer, 0) < EXCUSED
            if excused:
                self.excused[s.buyer] = self.excused.pop(s.buyer, 0) + 1
                while len(self.excused) > REMEMBERED:
                    del self.excused[next(iter(self.excused))]
            self._drop_opening(s, msg.words(f"the buyer refused: {e.text}"), counts=not excused)
            return
        if e.n in s.out and s.tariff.prepaid:
            self._emit(ev.InvoiceDropped(self.now, s.id, e.n, msg.words(e.text)))
            s.bolt11.pop(e.n, None)
            self._cancel(s)
        if s.phase == OPEN:
            self._end(s, msg.words(f"the buyer refused: {e.text}"))

    def _clock_doubted(self, s: Sale, text: str) -> None:
        """Say that a buyer says that this machine's clock is wrong: of a meter once an hour, since strangers may say
        so."""
        if self.now >= self.doubted_at.get(s.meter, -DOUBTED_MS) + DOUBTED_MS:
            self.doubted_at[s.meter] = self.now
            why = msg.words(f"is this machine's clock right? a buyer says: {text}")
            self._do(do.Notify("meter_alarm", {"meter": s.meter, "session": s.id, "why": why}))

    def _lost_peer(self, i: inp.PeerLost) -> None:
        """It is the buyer who comes back; what we hold of it does not wait for ever."""
        for s in [*self.books.sales.values(), *self.openings.values()]:
            if s.buyer == i.peer:
                s.gone_at = s.gone_at or self.now

    def _connected(self, i: inp.PeerConnected) -> None:
        for s in [*self.books.sales.values(), *self.openings.values()]:
            if s.buyer == i.peer:
                s.gone_at = 0
                s.sent.clear()
                if self.now >= s.refund_tried_at + (
                    RECONNECTED_MS if s.refund_fails > REFUND_FAILS else REFUND_RETRY_MS
                ):
                    s.refund_tried_at = 0
                s.ask_at = 0
                if s.phase == OPEN:
                    self._send_invoices(s)
                else:
                    self._tell_end(s)
                    self._settle(s)


_HANDLERS: dict[type[inp.Input], Callable[[Seller, Any], Any]] = {
    inp.Tick: Seller._tick,
    inp.AddMeter: Seller._add,
    inp.SetMeter: Seller._set,
    inp.RemoveMeter: Seller._remove,
    inp.Reading: Seller._reading,
    inp.BindBoard: Seller._bind,
    inp.Unlock: Seller._unlock,
    inp.FromPeer: Seller._from_peer,
    inp.PeerConnected: Seller._connected,
    inp.PeerLost: Seller._lost_peer,
    inp.AddressMade: Seller._address_made,
    inp.BlockAdded: Seller._block_added,
    inp.VersionChecked: Seller._version_checked,
    inp.VersionBad: Seller._version_bad,
    inp.TxSeen: Seller._tx_seen,
    inp.TxBumped: Seller._tx_bumped,
    inp.InvoiceMade: Seller._made,
    inp.InvoiceSettled: Seller._settled,
    inp.InvoiceArriving: Seller._arriving,
    inp.InvoiceGone: Seller._gone,
    inp.Offer: Seller._offer,
    inp.Spend: Seller._spend,
    inp.CloseSession: Seller._close_session,
    inp.RefundSettled: Seller._refund_settled,
    inp.RefundLost: Seller._refund_lost,
    inp.Attend: Seller._attend,
    inp.Signed: Seller._signed,
}
