"""The seller's state: its meters and sessions as the fold of the journal.

apply() is the only place where recorded state changes. Each event is checked whole before anything changes: the tables
of transitions.py say what may follow what, and what an event names has to be there.
"""

from collections.abc import Callable

from .. import transitions
from ..errors import UnknownMeter, UnknownSession, WrongState
from ..journal import Event, chain
from ..plain import Plain
from ..receipt import PAYERS_MOST
from ..settlement.transaction import GrowingTransaction
from ..snapshot import dump, part, revive
from ..states import MeterState, RefundState, SessionState
from ..transitions import known
from . import events as ev
from . import fold_meters, fold_onchain, fold_refunds
from .meter import DustDebt, Meter
from .offer import Offer
from .refund import UNRECORDED
from .session import REMEMBERED, SellerSession

DUST_DEBTS = 1_000
"""Debts too small to be paid by themselves that a meter remembers."""
REVISIONS_LOST = 100
"""So many receipts of one session may be in the part of the journal that is lost."""


class SellerState:
    """Meters by name, live sessions by id, the node's last pay_index: everything that a restart folds again."""

    def __init__(self) -> None:
        self.meters: dict[str, Meter] = {}
        self.sessions: dict[str, SellerSession] = {}
        self.pay_index = 0
        """Every payment up to this pay_index has its owner."""
        self.early: set[int] = set()
        """Values of pay_index above `pay_index` that are credited already: those payments were found by their label."""
        self.lost_up_to = 0
        """Up to which pay_index payments may be of a part of the journal that is lost; 0: none is."""
        self.unowned: dict[str, int] = {}
        """Payments, by label, whose session nobody knows (msat)."""
        self.newest_wallet_invoice = 0
        """The number of the newest wallet invoice."""
        self.offers: dict[str, Offer] = {}
        """By the node's offer_id; those of meters that are gone, too: somebody may pay one yet."""
        self.refund_hashes: dict[str, str] = {}
        """The newest payment hashes that a refund was ever to be paid by, with its session: each is of one refund."""
        self.claims_kept = True
        """Whether the journal has the payment hashes of refunds: an earlier version did not record them at first."""

    def meter(self, name: str) -> Meter:
        """Return a meter by its name; UnknownMeter where there is none."""
        try:
            return self.meters[name]
        except KeyError:
            known = ", ".join(sorted(self.meters)) or "none"
            raise UnknownMeter(f"name: no meter {name!r}; there are: {known}") from None

    def session(self, session_id: str) -> SellerSession:
        """Return a live session by its id; UnknownSession where there is none."""
        try:
            return self.sessions[session_id]
        except KeyError:
            raise UnknownSession(f"session: no live session {session_id!r}; meter-status shows them") from None

    def apply(self, event: Event) -> None:
        """Fold one event. On an event that can't happen: a LocalError, and nothing has changed."""
        fold = _FOLD.get(type(event))
        if fold is None:
            raise WrongState(f"{event.kind()} is no event of a seller")
        fold(self, event)
        session = self.sessions.get(event.subject)
        if session is not None:
            session.head = chain(session.head, event)
            if session.state == SessionState.OPEN:
                session.granted = max(session.granted, session.grant_count)

    # --- checks: nothing has changed where one of them raises

    def meter_of(self, event: Event) -> Meter:
        """Return the meter of an event, or raise UnknownMeter."""
        return self.meter(event.subject.removeprefix("meter/"))

    def session_of(self, event: Event) -> SellerSession:
        """Return the session of an event that may happen in its state."""
        session = self.session(event.subject)
        transitions.step(transitions.SESSION, session.state, type(event), f"session {session.id}")
        return session

    def next_state(self, meter: Meter, event: Event) -> MeterState:
        """Return the state that an event leads a meter to, or raise WrongState."""
        return transitions.step(transitions.METER, meter.state, type(event), f"meter {meter.name}")[0]

    def holder_of(self, session: SellerSession, event: Event) -> Meter:
        """Return the meter that a session has, or raise WrongState."""
        meter = self.meter(session.meter)
        if meter.session != session.id:
            raise WrongState(f"session {session.id} does not have meter {meter.name}; {event.kind()} can't happen")
        return meter

    def refund_states(self, session: SellerSession, event: Event) -> tuple[RefundState, ...]:
        """Return the states that an event may lead a session's refund to, or raise WrongState."""
        return transitions.step(
            transitions.REFUND, session.refund.state, type(event), f"the refund of session {session.id}"
        )

    def transaction_of(self, session: SellerSession, tx_number: int, event: Event) -> GrowingTransaction:
        """Return the transaction of an event that may happen in its state, or raise WrongState."""
        found = known(session.onchain.transactions, tx_number, event)
        transitions.step(
            transitions.TRANSACTION, found.state, type(event), f"transaction {tx_number} of session {session.id}"
        )
        return found

    # --- payments

    def known_payment(self, pay_index: int) -> bool:
        """Whether a payment has its owner already: a pay_index counts once, in whatever order it is told."""
        return pay_index <= self.pay_index or pay_index in self.early

    def note_payment(self, pay_index: int, owned_up_to: int) -> None:
        """Remember that a payment has its owner; see InvoicePaid for `owned_up_to`."""
        self.early.add(pay_index)
        self.pay_index = max(self.pay_index, owned_up_to)
        while self.pay_index + 1 in self.early:
            self.pay_index += 1
        self.early = {each for each in self.early if each > self.pay_index}

    def payment_unowned(self, event: ev.PaymentUnowned) -> None:
        """Adds a payment to the unowned ones, as a sum by label, and notes its pay_index."""
        self.unowned[event.label] = self.unowned.get(event.label, 0) + event.amount_msat
        self.note_payment(event.pay_index, event.owned_up_to)

    def unowned_seen(self, event: ev.UnownedSeen) -> None:
        """Removes an unowned payment; WrongState where none has this label."""
        known(self.unowned, event.label, event)
        del self.unowned[event.label]

    def journal_replaced(self, event: ev.JournalReplaced) -> None:
        """Notes up to which pay_index payments may be of the lost part of the journal.

        Receipts of live sessions leave out the revisions that may be signed already: REVISIONS_LOST, beyond a number
        that rises with time, so that another replaced copy draws none of them again."""
        self.lost_up_to = event.pay_index
        # Numbers of wallet invoices go on beyond all that the lost part may have drawn: a link to one of those leads to
        # no one else's money.
        self.newest_wallet_invoice = max(self.newest_wallet_invoice, event.at // 1000)
        for meter in self.meters.values():
            meter.period_at = event.at  # another one may have begun in the lost part
        for session in self.sessions.values():
            held = self.meter_held(session)
            if held is not None and not session.of_older:
                session.copied_count = held.recorded
            lived_s = max(0, event.at - session.opened_at) // 1000
            session.revisions_lost = max(session.revision, lived_s) + REVISIONS_LOST

    # --- meters

    def move_count(self, meter: Meter, count: int) -> None:
        """Move a meter's count, and what is recorded of it, up to `count` ticks."""
        meter.count = max(meter.count, count)
        meter.recorded = max(meter.recorded, count)
        session = self.sessions.get(meter.session)
        if session is not None and session.start_latest < 0:
            session.count = meter.count

    # --- sessions

    def session_opened(self, event: ev.SessionOpened) -> None:
        """Adds a session, which takes the meter unless it is parked; WrongState for a known id."""
        meter = self.meter(event.meter)
        if event.subject in self.sessions:
            raise WrongState(f"session {event.subject} is there already")
        if not event.parked:
            meter.state = self.next_state(meter, event)
            meter.session = event.subject
        self.sessions[event.subject] = SellerSession(
            id=event.subject,
            meter=event.meter,
            buyer=event.buyer,
            tariff=event.tariff,
            opened_at=event.at,
            since=event.at,
            count=event.count,
            start_boot=event.boot,
            start_register=event.register,
        )

    def meter_held(self, session: SellerSession) -> Meter | None:
        """Return the meter that a session has, None where it has none."""
        meter = self.meters.get(session.meter)
        return meter if meter is not None and meter.session == session.id else None

    def count_session(self, session: SellerSession, count: int) -> None:
        """Move the count of a session that has its meter, and the meter's, up to `count` ticks."""
        meter = self.meter_held(session)
        if meter is not None:
            self.move_count(meter, count)

    def invoice_asked(self, event: ev.InvoiceAsked) -> None:
        """Adds an outstanding invoice; its number is not drawn again."""
        session = self.session_of(event)
        session.waiting_since = session.waiting_since or event.at  # one that expires does not set the clock back
        session.out[event.number] = event.amount_msat
        session.next_number = max(session.next_number, event.number + 1)
        self.count_session(session, event.count)

    def invoice_paid(self, event: ev.InvoicePaid) -> None:
        """Adds a payment to what its session has received, and notes its pay_index.

        A session that ended with nothing paid or used is closing again."""
        session = self.session_of(event)
        if session.void:
            session.state = SessionState.CLOSING  # it was paid after all, and has something to settle
        session.out.pop(event.number, None)
        session.dropped.pop(event.number, None)
        session.waiting_since = event.at if session.out else 0
        session.paid_msat += event.amount_msat
        session.payments += 1
        if not session.buyer:
            paid_msat = session.fed_by.get(event.number, 0) + event.amount_msat
            session.fed_by = {**session.fed_by, event.number: paid_msat}
            if len(session.fed_by) > REMEMBERED:  # the smallest is dropped: many small ones push out no large one
                least = min(session.fed_by.items(), key=lambda each: each[1])[0]
                session.fed_by = {number: paid for number, paid in session.fed_by.items() if number != least}
        session.next_number = max(session.next_number, event.number + 1)
        self.note_payment(event.pay_index, event.owned_up_to)
        self.count_session(session, event.count)

    def payer_told(self, event: ev.PayerTold) -> None:
        """Adds who paid an offer, for the receipt."""
        session = self.session_of(event)
        session.payers = [*session.payers, (event.key, event.note)][-PAYERS_MOST:]

    def numbers_drawn(self, event: ev.NumbersDrawn) -> None:
        """Notes up to which number invoices are drawn; a restart draws none of them again."""
        self.session_of(event).drawn_up_to = event.up_to

    def invoice_dropped(self, event: ev.InvoiceDropped) -> None:
        """Moves an outstanding invoice to the dropped ones, which may still be paid.

        Raises WrongState where the invoice is not outstanding."""
        session = self.session_of(event)
        known(session.out, event.number, event)
        session.dropped[event.number] = session.out.pop(event.number)

    def invoice_expired(self, event: ev.InvoiceExpired) -> None:
        """Removes an outstanding or dropped invoice; WrongState where it is neither."""
        session = self.session_of(event)
        known({**session.out, **session.dropped}, event.number, event)
        session.out.pop(event.number, None)
        session.dropped.pop(event.number, None)

    # --- credit

    def credit_reserved(self, event: ev.CreditReserved) -> None:
        """Adds a reservation; WrongState where its id is in use or the session is not open."""
        session = self.session_of(event)
        if event.id in session.reserved:
            raise WrongState(f"session {session.id} has a reservation {event.id!r} already")
        session.reserved[event.id], session.reserved_at = event.amount_msat, event.at
        session.reserved_since[event.id] = event.at

    def credit_spent(self, event: ev.CreditSpent) -> None:
        """Ends a reservation and charges what was captured of it; WrongState where it is unknown."""
        session = self.session_of(event)
        known(session.reserved, event.id, event)
        del session.reserved[event.id]
        session.reserved_since.pop(event.id, None)
        session.spent_msat += event.amount_msat
        session.captured = [*session.captured, event.id][-REMEMBERED:]

    def credit_released(self, event: ev.CreditReleased) -> None:
        """Removes a reservation; WrongState where the session has none under this id."""
        session = self.session_of(event)
        known(session.reserved, event.id, event)
        del session.reserved[event.id]
        session.reserved_since.pop(event.id, None)

    def credit_brought(self, event: ev.CreditBrought) -> None:
        """Adds what an earlier session left to what this session has received."""
        self.session_of(event).brought_msat += event.amount_msat

    def credit_taken(self, event: ev.CreditTaken) -> None:
        """Adds to what a later session took; this session owes it no more."""
        self.session_of(event).taken_msat += event.amount_msat

    # --- delivery

    def delivery_started(self, event: ev.DeliveryStarted) -> None:
        """Sets the meter to delivering; the first time, fixes the count that the charge starts from."""
        session = self.session_of(event)
        meter = self.holder_of(session, event)
        meter.state = self.next_state(meter, event)
        self.move_count(meter, event.count)
        session.since = event.at
        if session.start_count < 0:
            session.start_count, session.started_at = event.count, event.at
            session.start_boot, session.start_register = meter.boot, meter.register
            session.start_latest = meter.allowance_count if meter.allowance_count > event.count else -1

    def start_counted(self, event: ev.StartCounted) -> None:
        """Fixes the count, boot and register that the session's charge starts from."""
        session = self.session_of(event)
        meter = self.holder_of(session, event)
        session.start_count, session.start_latest = event.count, -1
        self.move_count(meter, event.count)
        session.start_boot, session.start_register = meter.boot, event.count - meter.offset

    def session_suspended(self, event: ev.SessionSuspended) -> None:
        """Sets the meter to suspended; the session's grace time begins."""
        session = self.session_of(event)
        meter = self.holder_of(session, event)
        meter.state = self.next_state(meter, event)
        self.move_count(meter, event.count)
        session.since = event.at

    def close_asked(self, event: ev.CloseAsked) -> None:
        """Sets the session to ending, with the time and the reason."""
        session = self.session_of(event)
        session.state, session.ending_at, session.reason = SessionState.ENDING, event.at, event.reason

    def session_closing(self, event: ev.SessionClosing) -> None:
        """Ends delivery, makes the meter free, and fixes the session's charge.

        All reservations end, and outstanding invoices of a prepaid session become dropped ones. The
        allowance period moves on by the ticks that were charged. A session with nothing paid, brought
        or charged is closed at once; any other is closing until its receipt is signed."""
        session = self.session_of(event)
        meter = self.meter_held(session)
        if meter is not None:
            state = self.next_state(meter, event)
            self.move_count(meter, event.count)
            meter.state, meter.session = state, ""
        session.count = max(session.count, event.last_count)
        something = session.payments or session.brought_msat or event.charged_msat
        session.state = SessionState.CLOSING if something else SessionState.CLOSED
        session.since, session.reason, session.closed_at = event.at, event.reason, event.at
        session.end_boot, session.end_register = event.boot, event.register
        session.final_charge_msat = event.charged_msat
        session.reserved, session.reserved_since = {}, {}
        if meter is not None:
            # Paid ticks do not use the allowance.
            meter.period_count += session.ticks_paid_for
            if event.last_count > meter.count:
                meter.paid_until_count = meter.count + min(event.last_count - meter.count, session.ticks_paid_for)
        if session.tariff.prepaid:
            session.dropped.update(session.out)
            session.out = {}
        elif 0 < session.debt_msat < session.dust_msat and session.meter in self.meters:
            meter = self.meters[session.meter]
            meter.dust_debts = [*meter.dust_debts, DustDebt(event.at, session.debt_msat)][-DUST_DEBTS:]

    # --- the end

    # --- growing transactions

    def at_risk_msat(self) -> dict[str, int]:
        """Returns by meter what its sessions hold on-chain or have unconfirmed, over all its live sessions."""
        found: dict[str, int] = {}
        for session in self.sessions.values():
            if session.onchain.transactions:
                found[session.meter] = found.get(session.meter, 0) + session.onchain.at_risk_msat
        return found

    # --- snapshots

    def kept(self) -> set[str]:
        """Returns the names of what no snapshot may lack: meters, and sessions that something can still follow."""
        return {*self.meters, *(each.id for each in self.sessions.values() if not each.done)}

    def dump(self) -> Plain:
        """Return the whole as data for JSON; load() reads it."""
        return {
            "pay_index": self.pay_index,
            "early": sorted(self.early),
            "unowned": self.unowned,
            "lost_up_to": self.lost_up_to,
            "newest_wallet_invoice": self.newest_wallet_invoice,
            "refund_hashes": self.refund_hashes,
            "offers": {offer_id: dump(offer) for offer_id, offer in self.offers.items()},
            "meters": [dump(meter) for meter in self.meters.values()],
            "sessions": [dump(session) for session in self.sessions.values()],
        }

    def load(self, dumped: Plain) -> None:
        """Take what dump() wrote in place of all that is there."""
        self.pay_index = revive(int, part(dumped, "pay_index"))
        self.early = revive(set[int], part(dumped, "early"))
        self.unowned = revive(dict[str, int], part(dumped, "unowned"))
        self.lost_up_to = revive(int, part(dumped, "lost_up_to"))
        self.newest_wallet_invoice = revive(int, part(dumped, "newest_wallet_invoice"))
        self.claims_kept = "refund_hashes" in dumped
        self.refund_hashes = revive(dict[str, str], dumped.get("refund_hashes", {}))
        self.offers = revive(dict[str, Offer], part(dumped, "offers"))
        self.meters = {each.name: each for each in revive(list[Meter], part(dumped, "meters"))}
        self.sessions = {each.id: each for each in revive(list[SellerSession], part(dumped, "sessions"))}
        for session in self.sessions.values():
            if session.refund.under_way and not self.claims_kept:
                session.refund.payment_hash = UNRECORDED


_FOLD: dict[type[Event], Callable[[SellerState, Event], None]] = {
    kind: found
    for kind in vars(ev).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
    for where in (SellerState, fold_meters, fold_refunds, fold_onchain)
    if (found := getattr(where, kind.kind(), None)) is not None
}
