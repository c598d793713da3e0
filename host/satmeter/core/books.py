"""The seller's books: its meters and sales as the fold of the journal, and the table of what may follow what.

Books.apply() is the only place where recorded state changes. The table says which event may move a meter from which
state; anything else raises WrongState before anything has changed. Events that are not in the table (a payment, a
reading) move money or counts, not the state.
"""

from collections.abc import Callable
from typing import Any

from . import events as ev
from .boots import with_earlier
from .errors import LocalError, UnknownMeter, UnknownSession, WrongState
from .growing import SENT, SETTLED, Growing
from .inputs import PAID, SEEN
from .journal import Event, chain
from .meter import DELIVERING, LOCKOUT, NEGOTIATING, STANDBY, SUSPENDED, Meter
from .receipt import TXIDS_MOST
from .sale import CLOSED, CLOSING, OPEN, Sale
from .snapshot import dump, revive
from .tariff import Tariff

TABLE: dict[tuple[str, type[Event]], str] = {
    (STANDBY, ev.SessionOpened): NEGOTIATING,
    (STANDBY, ev.Locked): LOCKOUT,
    (NEGOTIATING, ev.DeliveryStarted): DELIVERING,
    (NEGOTIATING, ev.SessionClosing): STANDBY,
    (DELIVERING, ev.SessionSuspended): SUSPENDED,
    (DELIVERING, ev.SessionClosing): STANDBY,
    (SUSPENDED, ev.DeliveryStarted): DELIVERING,
    (SUSPENDED, ev.SessionClosing): STANDBY,
    (LOCKOUT, ev.Unlocked): STANDBY,
}

REMEMBERED_SPENDS = 64
_METER_MEMORY = frozenset(
    "flow plugged seen newest_offer looked_at made held display fault fault_at refused refused_at rated_at jumped "
    "rated_from".split()
)
_SALE_MEMORY = frozenset(
    "spares arriving last_n seq low_told signing signed_at refund_tried_at bolt11 sent asked_at told_at refund_fails "
    "refund_step used_at allowance_left touched_at ask_at agreed address_at look_at checking known seen_height "
    "gone_at".split()
)


REVISIONS_LOST = 100
"""So many receipts of one session may be in the part of the journal that is lost."""


class Books:
    """Meters by name, live sales by id, the node's last pay_index: everything that a restart folds again."""

    def __init__(self) -> None:
        self.meters: dict[str, Meter] = {}
        self.sales: dict[str, Sale] = {}
        self.index = 0
        """Every payment up to this pay_index has its owner."""
        self.early: set[int] = set()
        """Payments beyond it that have theirs, too: they were found by their label, out of turn."""
        self.lost_upto = 0
        """Up to which pay_index payments may be of a part of the journal that is lost; 0: none is."""
        self.unowned: dict[str, int] = {}
        """Payments, by label, whose session nobody knows (msat)."""
        self.offers = 0

    def meter(self, name: str) -> Meter:
        try:
            return self.meters[name]
        except KeyError:
            known = ", ".join(sorted(self.meters)) or "none"
            raise UnknownMeter(f"name: no meter {name!r}; there are: {known}") from None

    def sale(self, session: str) -> Sale:
        try:
            return self.sales[session]
        except KeyError:
            raise UnknownSession(f"session: no live session {session!r}; meter-sessions lists them") from None

    def next_state(self, meter: Meter, kind: type[Event]) -> str:
        """Return the state that an event of this kind moves the meter to, or raise WrongState."""
        try:
            return TABLE[meter.state, kind]
        except KeyError:
            raise WrongState(f"meter {meter.name} is in {meter.state}, where {kind.kind()} can't happen") from None

    def apply(self, e: Event) -> None:
        """Fold one event. On an event that can't happen: LocalError, and nothing has changed."""
        _FOLD[type(e)](self, e)
        sale = self.sales.get(e.stream)
        if sale is not None:
            sale.head = chain(sale.head, e)
            if sale.phase == OPEN and not sale.ending_at:
                sale.granted = max(sale.granted, sale.grant_count)

    # --- payments

    def known_payment(self, index: int) -> bool:
        """Whether a payment has its owner already: a pay_index counts once, in whatever order it is told."""
        return index <= self.index or index in self.early

    def note_payment(self, index: int, upto: int) -> None:
        """Remember that a payment has its owner; see InvoicePaid for `upto`."""
        self.early.add(index)
        self.index = max(self.index, index if upto < 0 else upto)
        while self.index + 1 in self.early:
            self.index += 1
        self.early = {each for each in self.early if each > self.index}

    def payment_unowned(self, e: ev.PaymentUnowned) -> None:
        self.unowned[e.label] = self.unowned.get(e.label, 0) + e.amount
        self.note_payment(e.index, e.upto)

    def journal_replaced(self, e: ev.JournalReplaced) -> None:
        self.lost_upto = e.index
        for s in self.sales.values():
            s.revisions_lost = s.revision + REVISIONS_LOST

    def unowned_seen(self, e: ev.UnownedSeen) -> None:
        del self.unowned[e.label]

    # --- meters

    def meter_added(self, e: ev.MeterAdded) -> None:
        name = e.stream.removeprefix("meter/")
        if name in self.meters:
            raise LocalError(f"meter {name} is there already")
        self.meters[name] = Meter(name, Tariff(**e.tariff), period_at=e.at)

    def of(self, e: Event) -> Meter:
        return self.meter(e.stream.removeprefix("meter/"))

    def meter_changed(self, e: ev.MeterChanged) -> None:
        self.of(e).tariff = Tariff(**e.tariff)

    def meter_removed(self, e: ev.MeterRemoved) -> None:
        del self.meters[self.of(e).name]

    def board_booted(self, e: ev.BoardBooted) -> None:
        m = self.of(e)
        m.boots = with_earlier(m.boots, m.boot)
        m.boot, m.offset, m.count, m.rebound = e.boot, e.offset, e.count, False
        m.recorded = m.count

    def register_jumped(self, e: ev.RegisterJumped) -> None:
        m = self.of(e)
        m.offset, m.count, m.recorded = e.offset, e.count, e.count

    def board_bound(self, e: ev.BoardBound) -> None:
        m = self.of(e)
        if m.board:  # its place is taken: what another board has counted so far is nothing of this meter's
            m.boots, m.boot, m.rebound = [], "", True
        m.board = e.board

    def allowance_begun(self, e: ev.AllowanceBegun) -> None:
        m = self.of(e)
        m.period_at, m.period_count = e.at, e.count

    def counted(self, e: ev.Counted) -> None:
        self._count(self.of(e), e.count)

    def locked(self, e: ev.Locked) -> None:
        m = self.of(e)
        m.state = self.next_state(m, ev.Locked)
        m.lock_until, m.lock_buyer, m.lock_session = e.until, e.buyer, e.session

    def unlocked(self, e: ev.Unlocked) -> None:
        m = self.of(e)
        m.state = self.next_state(m, ev.Unlocked)
        m.lock_until, m.lock_buyer, m.lock_session = 0, "", ""

    def invoice_offered(self, e: ev.InvoiceOffered) -> None:
        m = self.of(e)
        self.offers = e.n
        m.offers[e.n] = e.amount

    def offer_ended(self, e: ev.OfferEnded) -> None:
        self.of(e).offers.pop(e.n, None)

    def _count(self, m: Meter, count: int) -> None:
        m.count = max(m.count, count)
        m.recorded = max(m.recorded, count)
        if m.session:
            self.sales[m.session].count = m.count

    # --- sessions

    def session_opened(self, e: ev.SessionOpened) -> None:
        m = self.meter(e.meter)
        if not e.parked:
            m.state = self.next_state(m, ev.SessionOpened)
            m.session = e.stream
        self.sales[e.stream] = Sale(
            id=e.stream,
            meter=e.meter,
            buyer=e.buyer,
            tariff=Tariff(**e.tariff),
            opened_at=e.at,
            since=e.at,
            count=e.count,
            start_boot=e.boot,
            start_register=e.register,
        )

    def _holds(self, s: Sale) -> Meter | None:
        m = self.meters.get(s.meter)
        return m if m is not None and m.session == s.id else None

    def invoice_asked(self, e: ev.InvoiceAsked) -> None:
        s = self.sale(e.stream)
        s.waiting_since = s.waiting_since if s.out else e.at
        s.out[e.n] = e.amount
        s.next_n = max(s.next_n, e.n + 1)
        self._sale_count(s, e.count)

    def _sale_count(self, s: Sale, count: int) -> None:
        m = self._holds(s)
        if m is not None:
            self._count(m, count)

    def invoice_paid(self, e: ev.InvoicePaid) -> None:
        s = self.sale(e.stream)
        if s.void:
            s.phase = CLOSING  # it was paid after all, and has something to settle
        s.out.pop(e.n, None)
        s.dropped.pop(e.n, None)
        s.waiting_since = e.at
        s.paid += e.amount
        s.payments += 1
        s.next_n = max(s.next_n, e.n + 1)
        self.note_payment(e.index, e.upto)
        self._sale_count(s, e.count)

    def numbers_drawn(self, e: ev.NumbersDrawn) -> None:
        self.sale(e.stream).drawn = e.upto

    # --- growing transactions

    def address_given(self, e: ev.AddressGiven) -> None:
        s = self.sale(e.stream)
        s.tx_count = e.k
        s.txs = {k: g for k, g in s.txs.items() if g.pending} | {e.k: Growing(e.k, e.address, e.feerate)}

    def version_taken(self, e: ev.VersionTaken) -> None:
        s = self.sale(e.stream)
        g = s.txs[e.k]
        if not g.versions:
            g.first_at = e.at
            s.first_fee = s.first_fee or e.fee
        s.fees += e.fee - g.fee
        s.basic_fees += e.fee
        g.value, g.fee, g.weight, g.txid, g.vout, g.raw = e.value, e.fee, e.weight, e.txid, e.vout, e.raw
        g.inputs = [list(each) for each in e.inputs]
        g.versions += 1
        s.taken_versions = dict([*s.taken_versions.items(), (e.n, e.amount)][-REMEMBERED_SPENDS:])
        s.out.pop(e.n, None)
        s.waiting_since = e.at
        s.paid += e.amount
        s.payments += 1
        self._sale_count(s, e.count)

    def tx_sent(self, e: ev.TxSent) -> None:
        s = self.sale(e.stream)
        g = s.txs[e.k]
        g.state, g.why = SENT, e.why
        s.txids = [*s.txids, g.txid][-TXIDS_MOST:]

    def tx_conflicted(self, e: ev.TxConflicted) -> None:
        s = self.sale(e.stream)
        g = s.txs[e.k]
        s.lost += e.lost - g.lost
        g.lost, g.lost_height, g.evidence = e.lost, e.height, e.evidence or g.evidence

    def tx_bumped(self, e: ev.TxBumped) -> None:
        s = self.sale(e.stream)
        g = s.txs[e.k]
        g.tip, g.tip_value = e.tip, e.value
        g.bump_fee += e.fee
        s.bump_fees += e.fee

    def tx_settled(self, e: ev.TxSettled) -> None:
        s = self.sale(e.stream)
        g = s.txs[e.k]
        g.state = SETTLED
        lost = max(0, g.value - e.arrived)
        s.lost += lost - g.lost
        g.lost = lost
        s.arrived += min(g.value, e.arrived)

    def invoice_dropped(self, e: ev.InvoiceDropped) -> None:
        s = self.sale(e.stream)
        s.dropped[e.n] = s.out.pop(e.n)

    def invoice_expired(self, e: ev.InvoiceExpired) -> None:
        s = self.sale(e.stream)
        s.out.pop(e.n, None)
        s.dropped.pop(e.n, None)

    def credit_reserved(self, e: ev.CreditReserved) -> None:
        s = self.sale(e.stream)
        s.reserved[e.id], s.reserved_at = e.amount, e.at

    def credit_spent(self, e: ev.CreditSpent) -> None:
        s = self.sale(e.stream)
        s.reserved.pop(e.id)
        s.spent += e.amount
        s.settled = [*s.settled, e.id][-REMEMBERED_SPENDS:]

    def credit_released(self, e: ev.CreditReleased) -> None:
        self.sale(e.stream).reserved.pop(e.id)

    def credit_brought(self, e: ev.CreditBrought) -> None:
        self.sale(e.stream).brought += e.amount

    def credit_taken(self, e: ev.CreditTaken) -> None:
        self.sale(e.stream).taken += e.amount

    def delivery_started(self, e: ev.DeliveryStarted) -> None:
        s = self.sale(e.stream)
        m = self.meter(s.meter)
        m.state = self.next_state(m, ev.DeliveryStarted)
        self._count(m, e.count)
        s.since = e.at
        if s.start_count < 0:
            s.start_count = e.count
            s.start_boot, s.start_register = m.boot, m.register
            s.start_latest = m.allowance_count if m.allowance_count > e.count else -1

    def start_counted(self, e: ev.StartCounted) -> None:
        s = self.sale(e.stream)
        m = self.meter(s.meter)
        self._count(m, e.count)
        s.start_count, s.start_latest = e.count, -1
        s.start_boot, s.start_register = m.boot, e.count - m.offset

    def session_suspended(self, e: ev.SessionSuspended) -> None:
        s = self.sale(e.stream)
        m = self.meter(s.meter)
        m.state = self.next_state(m, ev.SessionSuspended)
        self._count(m, e.count)
        s.since = e.at

    def close_asked(self, e: ev.CloseAsked) -> None:
        s = self.sale(e.stream)
        s.ending_at, s.reason = e.at, e.reason

    def session_closing(self, e: ev.SessionClosing) -> None:
        s = self.sale(e.stream)
        m = self._holds(s)
        if m is not None:
            state = self.next_state(m, ev.SessionClosing)
            self._count(m, e.count)
            m.state, m.session = state, ""
        s.count = max(s.count, e.until)
        s.phase, s.since, s.reason, s.closed_at = CLOSING, e.at, e.reason, e.at
        if not (s.payments or s.brought or e.charged):
            s.phase = CLOSED
        s.end_boot, s.end_register, s.charged_final = e.boot, e.register, e.charged
        s.reserved = {}
        if m is not None:
            m.period_count += s.charged_ticks  # what was paid for was not of the allowance; whatever else was, is
        if s.tariff.prepaid:
            s.dropped.update(s.out)
            s.out = {}

    def refund_offered(self, e: ev.RefundOffered) -> None:
        s = self.sale(e.stream)
        s.refund_bolt11, s.claimed, s.refund_why = e.bolt11, e.claimed, ""

    def refund_started(self, e: ev.RefundStarted) -> None:
        s = self.sale(e.stream)
        s.refunding, s.refund_maxfee, s.refund_borne = e.amount, e.maxfee, e.borne

    def refund_paid(self, e: ev.RefundPaid) -> None:
        s = self.sale(e.stream)
        borne = min(e.fee, s.refund_borne) if s.refund_borne >= 0 else e.fee
        self._refund_over(s)
        s.refunded += e.amount + e.fee - borne
        s.refund_fee += e.fee - borne
        s.fees_borne += borne

    def refund_disputed(self, e: ev.RefundDisputed) -> None:
        s = self.sale(e.stream)
        self._refund_over(s)
        refunded = min(e.arrived + e.fee, s.owed)
        s.refunded += refunded
        s.refund_fee += max(0, refunded - e.arrived)
        s.lapsed += max(0, min(e.amount - refunded, s.owed))
        s.alarm = e.why

    def refund_held(self, e: ev.RefundHeld) -> None:
        s = self.sale(e.stream)
        s.refund_held, s.alarm = True, e.why

    def alarm_ended(self, e: ev.AlarmEnded) -> None:
        s = self.sale(e.stream)
        if s.refund_held and e.how != SEEN:  # the person knows what was used: the charge is what that leaves
            s.charged_final = max(0, s.received - s.refunded - s.taken - s.lapsed - e.amount)
        if e.how == PAID:
            s.refunded += e.amount
            if s.refund_bolt11:
                self._refund_over(s)
        s.refund_held, s.alarm, s.since = False, "", e.at

    def _refund_over(self, s: Sale) -> None:
        s.refund_used = [*s.refund_used, s.refund_bolt11]
        s.refunding, s.refund_maxfee, s.refund_borne, s.refund_bolt11 = 0, -1, -1, ""

    def refund_failed(self, e: ev.RefundFailed) -> None:
        s = self.sale(e.stream)
        s.refunding, s.refund_why = 0, e.why
        if e.final:
            s.refund_used = [*s.refund_used, s.refund_bolt11]
            s.refund_bolt11 = ""

    def receipt_signed(self, e: ev.ReceiptSigned) -> None:
        s = self.sale(e.stream)
        s.phase = CLOSED
        s.revision, s.receipt, s.signature = e.revision, e.text, e.signature

    def remainder_lapsed(self, e: ev.RemainderLapsed) -> None:
        self.sale(e.stream).lapsed += e.amount

    def balances(self) -> dict[str, Any]:
        """What must come out the same however the books were put together: of each live session its money, and the
        hash chain over all its events; of each meter its state."""
        sales = {
            s.id: (s.head, s.received, s.spent, s.refunded, s.taken, s.lapsed, s.phase) for s in self.sales.values()
        }
        return sales | {m.stream: (m.state, m.session, m.offset, m.recorded) for m in self.meters.values()}

    # --- a snapshot, so that a start costs what is live and not what ever happened

    def dump(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "early": sorted(self.early),
            "unowned": self.unowned,
            "lost_upto": self.lost_upto,
            "offers": self.offers,
            "meters": [dump(m, _METER_MEMORY) for m in self.meters.values()],
            "sales": [dump(s, _SALE_MEMORY) for s in self.sales.values()],
        }

    def load(self, dumped: dict[str, Any]) -> None:
        self.index, self.offers = dumped["index"], dumped["offers"]
        self.early, self.unowned = set(dumped.get("early", ())), dict(dumped.get("unowned", {}))
        self.lost_upto = dumped.get("lost_upto", 0)
        for values in dumped["meters"]:
            m = revive(Meter, values)
            self.meters[m.name] = m
        for values in dumped["sales"]:
            txs = {int(k): Growing(**g) for k, g in values.get("txs", {}).items()}
            s = revive(Sale, {**values, "txs": txs})
            self.sales[s.id] = s


_FOLD: dict[type[Event], Callable[[Books, Any], None]] = {
    cls: getattr(Books, cls.kind())
    for cls in vars(ev).values()
    if isinstance(cls, type) and issubclass(cls, Event) and hasattr(Books, cls.kind())
}
