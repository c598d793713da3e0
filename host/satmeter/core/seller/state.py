"""The seller's state: its meters and sessions as the fold of the journal.

apply() is the only place where recorded state changes. Each event is checked whole before anything changes: the tables
of transitions.py say what may follow what, and what an event names has to be there.
"""

from collections.abc import Callable
from typing import TypeVar

from .. import transitions
from ..boots import with_earlier
from ..commands import PAID, SEEN
from ..errors import UnknownMeter, UnknownSession, WrongState
from ..journal import Event, chain
from ..plain import Plain, keep_newest
from ..receipt import PAYERS_MOST, TXIDS_MOST
from ..settlement.transaction import GrowingTransaction
from ..snapshot import dump, part, revive
from ..states import MeterState, RefundState, SessionState, TransactionState
from . import events as ev
from .meter import DustDebt, Meter
from .offer import Offer
from .session import UNRECORDED, Refund, SellerSession

REMEMBERED = 64
"""Ids of gates, and numbers of updates, that a session remembers."""
HASHES = 10_000
"""Hashes of refunds that are remembered; of older ones the node knows that they were paid."""
DUST_DEBTS = 1_000
"""Debts too small to be paid by themselves that a meter remembers."""
REVISIONS_LOST = 100
"""So many receipts of one session may be in the part of the journal that is lost."""
Value = TypeVar("Value")


class SellerState:
    """Meters by name, live sessions by id, the node's last pay_index: everything that a restart folds again."""

    def __init__(self) -> None:
        self.meters: dict[str, Meter] = {}
        self.sessions: dict[str, SellerSession] = {}
        self.pay_index = 0
        """Every payment up to this pay_index has its owner."""
        self.early: set[int] = set()
        """Payments beyond it that have theirs, too: they were found by their label, out of turn."""
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
        """False while the journal of a version is folded that recorded no hash before it had a refund paid."""

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
            raise UnknownSession(f"session: no live session {session_id!r}; meter-sessions lists them") from None

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

    def _meter_of(self, event: Event) -> Meter:
        return self.meter(event.subject.removeprefix("meter/"))

    def _session_of(self, event: Event) -> SellerSession:
        """Return the session of an event that may happen in its state."""
        session = self.session(event.subject)
        transitions.step(transitions.SESSION, session.state, type(event), f"session {session.id}")
        return session

    def _next(self, meter: Meter, event: Event) -> MeterState:
        return transitions.step(transitions.METER, meter.state, type(event), f"meter {meter.name}")[0]

    def _holder(self, session: SellerSession, event: Event) -> Meter:
        """Return the meter that a session has, or raise WrongState."""
        meter = self.meter(session.meter)
        if meter.session != session.id:
            raise WrongState(f"session {session.id} does not have meter {meter.name}; {event.kind()} can't happen")
        return meter

    def _refund(self, session: SellerSession, event: Event) -> tuple[RefundState, ...]:
        return transitions.step(
            transitions.REFUND, session.refund.state, type(event), f"the refund of session {session.id}"
        )

    def _transaction_of(self, session: SellerSession, tx_number: int, event: Event) -> GrowingTransaction:
        found = _known(session.onchain.transactions, tx_number, event)
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
        _known(self.unowned, event.label, event)
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
            held = self._meter_held(session)
            if held is not None and not session.of_older:
                session.copied_count = held.recorded
            lived_s = max(0, event.at - session.opened_at) // 1000
            session.revisions_lost = max(session.revision, lived_s) + REVISIONS_LOST

    # --- meters

    def meter_added(self, event: ev.MeterAdded) -> None:
        """Adds a meter, and begins its allowance period; WrongState where the name is taken."""
        name = event.subject.removeprefix("meter/")
        if name in self.meters:
            raise WrongState(f"meter {name} is there already")
        offers = [each for each, offer in self.offers.items() if offer.meter == name]  # of an earlier one of that name
        self.meters[name] = Meter(name, event.tariff, period_at=event.at, offers=offers)

    def meter_changed(self, event: ev.MeterChanged) -> None:
        """Sets the tariff of a meter; open sessions keep the tariff that they began with."""
        self._meter_of(event).tariff = event.tariff

    def meter_removed(self, event: ev.MeterRemoved) -> None:
        """Removes a meter; WrongState unless it is in standby."""
        meter = self._meter_of(event)
        if meter.state != MeterState.STANDBY:
            raise WrongState(f"meter {meter.name} is in {meter.state}; only a meter in standby can be removed")
        del self.meters[meter.name]

    def board_booted(self, event: ev.BoardBooted) -> None:
        """Sets the meter's boot, offset and count; the boot before it is kept as an earlier one."""
        meter = self._meter_of(event)
        meter.boots = with_earlier(meter.boots, meter.boot)
        meter.boot, meter.offset, meter.count, meter.rebound = event.boot, event.offset, event.count, False
        meter.booted_at, meter.recorded = event.at, meter.count

    def register_jumped(self, event: ev.RegisterJumped) -> None:
        """Sets offset and count so that the jump of the register is not counted."""
        meter = self._meter_of(event)
        meter.offset, meter.count, meter.recorded = event.offset, event.count, event.count

    def board_bound(self, event: ev.BoardBound) -> None:
        """Sets the board of a meter.

        If it had another board, boots are forgotten, and the next reading counts nothing."""
        meter = self._meter_of(event)
        if meter.board:  # its place is taken: what another board has counted so far is nothing of this meter's
            meter.boots, meter.boot, meter.booted_at, meter.rebound = [], "", 0, True
        meter.board = event.board

    def allowance_begun(self, event: ev.AllowanceBegun) -> None:
        """Starts a new period of the standby allowance, at the event's time and count."""
        meter = self._meter_of(event)
        meter.period_at, meter.period_count = event.at, event.count

    def counted(self, event: ev.Counted) -> None:
        """Raises the count of the meter, and of the session that has it; never lowers it."""
        self._count(self._meter_of(event), event.count)

    def locked(self, event: ev.Locked) -> None:
        """Sets the meter to lockout, for a buyer and a session; WrongState unless in standby."""
        meter = self._meter_of(event)
        meter.state = self._next(meter, event)
        meter.lock_until, meter.lock_buyer, meter.lock_session = event.until, event.buyer, event.session

    def unlocked(self, event: ev.Unlocked) -> None:
        """Ends the lockout of a meter, which is in standby again."""
        meter = self._meter_of(event)
        meter.state = self._next(meter, event)
        meter.lock_until, meter.lock_buyer, meter.lock_session = 0, "", ""

    def wallet_invoice_asked(self, event: ev.WalletInvoiceAsked) -> None:
        """Adds an unpaid wallet invoice to its meter; its number is now the newest."""
        meter = self._meter_of(event)
        meter.wallet_invoices[event.number] = event.amount_msat
        if event.note:
            meter.notes[event.number] = event.note
        self.newest_wallet_invoice = event.number

    def wallet_invoice_ended(self, event: ev.WalletInvoiceEnded) -> None:
        """Removes a wallet invoice from its meter; an unknown number is ignored."""
        meter = self._meter_of(event)
        meter.wallet_invoices.pop(event.number, None)
        meter.notes.pop(event.number, None)

    def offer_added(self, event: ev.OfferAdded) -> None:
        """Adds an offer of a meter; WrongState where it is there already."""
        meter = self._meter_of(event)
        if event.offer_id in self.offers:
            raise WrongState(f"offer {event.offer_id} is there already")
        self.offers[event.offer_id] = Offer(meter.name, event.bolt12, event.amount_msat)
        meter.offers = [*meter.offers, event.offer_id]

    def offer_wanted(self, event: ev.OfferWanted) -> None:
        """Sets whether an offer is to be answered; WrongState where there is none."""
        self._meter_of(event)
        _known(self.offers, event.offer_id, event).wanted = event.wanted

    def offer_paid(self, event: ev.OfferPaid) -> None:
        """Gives the payment of an offer its number among the wallet invoices."""
        self._meter_of(event)
        _known(self.offers, event.offer_id, event)
        self.newest_wallet_invoice = event.number

    def _count(self, meter: Meter, count: int) -> None:
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
            meter.state = self._next(meter, event)
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

    def _meter_held(self, session: SellerSession) -> Meter | None:
        meter = self.meters.get(session.meter)
        return meter if meter is not None and meter.session == session.id else None

    def _count_session(self, session: SellerSession, count: int) -> None:
        meter = self._meter_held(session)
        if meter is not None:
            self._count(meter, count)

    def invoice_asked(self, event: ev.InvoiceAsked) -> None:
        """Adds an outstanding invoice; its number is not drawn again."""
        session = self._session_of(event)
        session.waiting_since = session.waiting_since if session.out else event.at
        session.out[event.number] = event.amount_msat
        session.next_number = max(session.next_number, event.number + 1)
        self._count_session(session, event.count)

    def invoice_paid(self, event: ev.InvoicePaid) -> None:
        """Adds a payment to what its session has received, and notes its pay_index.

        A session that ended with nothing paid or used is closing again."""
        session = self._session_of(event)
        if session.void:
            session.state = SessionState.CLOSING  # it was paid after all, and has something to settle
        session.out.pop(event.number, None)
        session.dropped.pop(event.number, None)
        session.waiting_since = event.at
        session.paid_msat += event.amount_msat
        session.payments += 1
        if not session.buyer:
            paid_msat = session.fed_by.get(event.number, 0) + event.amount_msat
            session.fed_by = {**session.fed_by, event.number: paid_msat}
            if len(session.fed_by) > REMEMBERED:  # the least goes: many small ones take nobody's place
                least = min(session.fed_by.items(), key=lambda each: each[1])[0]
                session.fed_by = {number: paid for number, paid in session.fed_by.items() if number != least}
        session.next_number = max(session.next_number, event.number + 1)
        self.note_payment(event.pay_index, event.owned_up_to)
        self._count_session(session, event.count)

    def payer_told(self, event: ev.PayerTold) -> None:
        """Adds who paid an offer, for the receipt."""
        session = self._session_of(event)
        session.payers = [*session.payers, (event.key, event.note)][-PAYERS_MOST:]

    def numbers_drawn(self, event: ev.NumbersDrawn) -> None:
        """Notes up to which number invoices are drawn; a restart draws none of them again."""
        self._session_of(event).drawn_up_to = event.up_to

    def invoice_dropped(self, event: ev.InvoiceDropped) -> None:
        """Moves an outstanding invoice to the dropped ones, which may still be paid.

        Raises WrongState where the invoice is not outstanding."""
        session = self._session_of(event)
        _known(session.out, event.number, event)
        session.dropped[event.number] = session.out.pop(event.number)

    def invoice_expired(self, event: ev.InvoiceExpired) -> None:
        """Removes an outstanding or dropped invoice; WrongState where it is neither."""
        session = self._session_of(event)
        _known({**session.out, **session.dropped}, event.number, event)
        session.out.pop(event.number, None)
        session.dropped.pop(event.number, None)

    # --- credit

    def credit_reserved(self, event: ev.CreditReserved) -> None:
        """Adds a reservation; WrongState where its id is in use or the session is not open."""
        session = self._session_of(event)
        if event.id in session.reserved:
            raise WrongState(f"session {session.id} has a reservation {event.id!r} already")
        session.reserved[event.id], session.reserved_at = event.amount_msat, event.at
        session.reserved_since[event.id] = event.at

    def credit_spent(self, event: ev.CreditSpent) -> None:
        """Ends a reservation and charges what was captured of it; WrongState where it is unknown."""
        session = self._session_of(event)
        _known(session.reserved, event.id, event)
        del session.reserved[event.id]
        session.reserved_since.pop(event.id, None)
        session.spent_msat += event.amount_msat
        session.captured = [*session.captured, event.id][-REMEMBERED:]

    def credit_released(self, event: ev.CreditReleased) -> None:
        """Removes a reservation; WrongState where the session has none under this id."""
        session = self._session_of(event)
        _known(session.reserved, event.id, event)
        del session.reserved[event.id]
        session.reserved_since.pop(event.id, None)

    def credit_brought(self, event: ev.CreditBrought) -> None:
        """Adds what an earlier session left to what this session has received."""
        self._session_of(event).brought_msat += event.amount_msat

    def credit_taken(self, event: ev.CreditTaken) -> None:
        """Adds to what a later session took; this session owes it no more."""
        self._session_of(event).taken_msat += event.amount_msat

    # --- delivery

    def delivery_started(self, event: ev.DeliveryStarted) -> None:
        """Sets the meter to delivering; the first time, fixes the count that the charge starts from."""
        session = self._session_of(event)
        meter = self._holder(session, event)
        meter.state = self._next(meter, event)
        self._count(meter, event.count)
        session.since = event.at
        if session.start_count < 0:
            session.start_count, session.started_at = event.count, event.at
            session.start_boot, session.start_register = meter.boot, meter.register
            session.start_latest = meter.allowance_count if meter.allowance_count > event.count else -1

    def start_counted(self, event: ev.StartCounted) -> None:
        """Fixes the count, boot and register that the session's charge starts from."""
        session = self._session_of(event)
        meter = self._holder(session, event)
        session.start_count, session.start_latest = event.count, -1
        self._count(meter, event.count)
        session.start_boot, session.start_register = meter.boot, event.count - meter.offset

    def session_suspended(self, event: ev.SessionSuspended) -> None:
        """Sets the meter to suspended; the session's grace time begins."""
        session = self._session_of(event)
        meter = self._holder(session, event)
        meter.state = self._next(meter, event)
        self._count(meter, event.count)
        session.since = event.at

    def close_asked(self, event: ev.CloseAsked) -> None:
        """Sets the session to ending, with the time and the reason."""
        session = self._session_of(event)
        session.state, session.ending_at, session.reason = SessionState.ENDING, event.at, event.reason

    def session_closing(self, event: ev.SessionClosing) -> None:
        """Ends delivery, makes the meter free, and fixes the session's charge.

        All reservations end, and outstanding invoices of a prepaid session become dropped ones. The
        allowance period moves on by the ticks that were charged. A session with nothing paid, brought
        or charged is closed at once; any other is closing until its receipt is signed."""
        session = self._session_of(event)
        meter = self._meter_held(session)
        if meter is not None:
            state = self._next(meter, event)
            self._count(meter, event.count)
            meter.state, meter.session = state, ""
        session.count = max(session.count, event.last_count)
        something = session.payments or session.brought_msat or event.charged_msat
        session.state = SessionState.CLOSING if something else SessionState.CLOSED
        session.since, session.reason, session.closed_at = event.at, event.reason, event.at
        session.end_boot, session.end_register = event.boot, event.register
        session.final_charge_msat = event.charged_msat
        session.reserved, session.reserved_since = {}, {}
        if meter is not None:
            # What was paid for was not of the allowance; whatever else was, is.
            meter.period_count += session.ticks_paid_for
        if session.tariff.prepaid:
            session.dropped.update(session.out)
            session.out = {}
        elif 0 < session.debt_msat < session.dust_msat and session.meter in self.meters:
            meter = self.meters[session.meter]
            meter.dust_debts = [*meter.dust_debts, DustDebt(event.at, session.debt_msat)][-DUST_DEBTS:]

    # --- the end

    def refund_offered(self, event: ev.RefundOffered) -> None:
        """Stores the invoice for a refund; WrongState while there is one already."""
        session = self._session_of(event)
        (state,) = self._refund(session, event)
        refund = session.refund
        refund.state, refund.bolt11, refund.claimed_msat, refund.why = state, event.bolt11, event.claimed_msat, ""
        refund.invoice_msat, refund.number = event.invoice_msat, event.number

    def refund_started(self, event: ev.RefundStarted) -> None:
        """Sets a refund to paying; WrongState unless an invoice of the buyer is there for it."""
        session = self._session_of(event)
        (session.refund.state,) = self._refund(session, event)
        session.refund.amount_msat = event.amount_msat
        session.refund.maxfee_msat, session.refund.borne_msat = event.maxfee_msat, event.borne_msat
        if not self.claims_kept:
            session.refund.payment_hash = UNRECORDED

    def refund_claimed(self, event: ev.RefundClaimed) -> None:
        """Notes the hash by which a refund is paid; WrongState unless that is under way."""
        session = self._session_of(event)
        self._refund(session, event)
        session.refund.payment_hash = event.payment_hash
        self.refund_hashes[event.payment_hash] = session.id
        keep_newest(self.refund_hashes, HASHES)

    def refund_paid(self, event: ev.RefundPaid) -> None:
        """Adds a paid refund, with the part of its fee that it bears itself, to what is refunded."""
        session = self._session_of(event)
        self._refund(session, event)
        borne = min(event.fee_msat, session.refund.borne_msat)
        _end_refund(session, event.amount_msat + event.fee_msat - borne)
        session.refunded_msat += event.amount_msat + event.fee_msat - borne
        session.refund_fee_msat += event.fee_msat - borne
        session.fees_borne_msat += borne

    def refund_disputed(self, event: ev.RefundDisputed) -> None:
        """Ends a refund that was not paid as it was to be, with an alarm.

        What arrived and its fee count as refunded, and the rest of the refund as lapsed: neither is
        owed again."""
        session = self._session_of(event)
        self._refund(session, event)
        refunded = min(event.arrived_msat + event.fee_msat, session.owed_msat)
        _end_refund(session, max(event.amount_msat, refunded))
        session.refunded_msat += refunded
        session.refund_fee_msat += max(0, refunded - event.arrived_msat)
        session.lapsed_msat += max(0, min(event.amount_msat - refunded, session.owed_msat))
        session.alarm = event.why

    def refund_failed(self, event: ev.RefundFailed) -> None:
        """Ends one try of a refund; after a final one, its invoice is not used again."""
        session = self._session_of(event)
        offered, none = self._refund(session, event)
        refund = session.refund
        refund.state, refund.amount_msat, refund.why = none if event.final else offered, 0, event.why
        if event.final:
            _use_up(refund)

    def refund_held(self, event: ev.RefundHeld) -> None:
        """Holds the session's refund until a person decides on it, with an alarm."""
        session = self._session_of(event)
        session.refund.held, session.alarm = True, event.why

    def alarm_ended(self, event: ev.AlarmEnded) -> None:
        """Ends a session's alarm and the hold of its refund.

        Where a person stated what of a held refund is owed or was paid, the charge becomes what then
        remains of the received amount. What was paid counts as refunded."""
        session = self._session_of(event)
        if session.refund.held and event.how != SEEN:
            # The person knows what was used: the charge is what that leaves.
            back = session.refunded_msat + session.taken_msat + session.lapsed_msat
            session.final_charge_msat = max(0, session.received_msat - back - event.amount_msat)
        if event.how == PAID:
            session.refunded_msat += event.amount_msat
            if session.refund.bolt11:
                _end_refund(session, event.amount_msat)
        session.refund.held, session.alarm, session.since = False, "", event.at

    def receipt_signed(self, event: ev.ReceiptSigned) -> None:
        """Sets the session to closed and stores its newest receipt and signature."""
        session = self._session_of(event)
        session.state = SessionState.CLOSED
        session.revision, session.receipt, session.signature = event.revision, event.text, event.signature

    def remainder_lapsed(self, event: ev.RemainderLapsed) -> None:
        """Adds to what has lapsed; the seller owes it no more."""
        self._session_of(event).lapsed_msat += event.amount_msat

    # --- growing transactions

    def address_given(self, event: ev.AddressGiven) -> None:
        """Adds a growing transaction and removes those that are final or never had a value.

        Raises WrongState unless its number follows the newest one."""
        account = self._session_of(event).onchain
        if event.tx_number != account.count + 1:
            raise WrongState(f"transaction {event.tx_number} can't follow transaction {account.count}")
        account.count = event.tx_number
        pending = {number: each for number, each in account.transactions.items() if each.pending}
        new = GrowingTransaction(event.tx_number, event.address, event.feerate)
        account.transactions = {**pending, event.tx_number: new}

    def update_taken(self, event: ev.UpdateTaken) -> None:
        """Stores a transaction's new update, and adds its amount to what the session received."""
        session = self._session_of(event)
        account = session.onchain
        transaction = self._transaction_of(session, event.tx_number, event)
        if not transaction.updates:
            transaction.first_at = event.at
            account.first_fee_sat = account.first_fee_sat or event.fee_sat
        account.fees_sat += event.fee_sat - transaction.fee_sat
        account.basic_fees_sat += event.fee_sat
        transaction.value_sat, transaction.fee_sat = event.value_sat, event.fee_sat
        transaction.weight, transaction.raw = event.weight, event.raw
        transaction.txid, transaction.vout = event.txid, event.vout
        transaction.inputs = list(event.inputs)
        transaction.updates += 1
        newest = [*account.taken_updates.items(), (event.number, event.amount_msat)][-REMEMBERED:]
        account.taken_updates = dict(newest)
        session.out.pop(event.number, None)
        session.waiting_since = event.at
        session.paid_msat += event.amount_msat
        session.payments += 1
        self._count_session(session, event.count)

    def tx_sent(self, event: ev.TxSent) -> None:
        """Sets a growing transaction to sent: it takes no more updates."""
        session = self._session_of(event)
        transaction = self._transaction_of(session, event.tx_number, event)
        transaction.state, transaction.why = TransactionState.SENT, event.why
        session.onchain.txids = [*session.onchain.txids, transaction.txid][-TXIDS_MOST:]

    def tx_conflicted(self, event: ev.TxConflicted) -> None:
        """Sets what a conflicting spend took of a transaction; that is not received any more."""
        session = self._session_of(event)
        transaction = self._transaction_of(session, event.tx_number, event)
        session.onchain.lost_sat += event.lost_sat - transaction.lost_sat
        transaction.lost_sat, transaction.lost_height = event.lost_sat, event.height
        transaction.evidence = event.evidence or transaction.evidence

    def tx_bumped(self, event: ev.TxBumped) -> None:
        """Stores the newest child of a transaction, and its fee."""
        session = self._session_of(event)
        transaction = self._transaction_of(session, event.tx_number, event)
        transaction.tip, transaction.tip_value_sat = event.tip, event.value_sat
        transaction.bump_fee_sat += event.fee_sat

    def tx_settled(self, event: ev.TxSettled) -> None:
        """Sets a transaction to settled; what did not arrive of its value is lost."""
        session = self._session_of(event)
        transaction = self._transaction_of(session, event.tx_number, event)
        transaction.state = TransactionState.SETTLED
        lost = max(0, transaction.value_sat - event.arrived_sat)
        session.onchain.lost_sat += lost - transaction.lost_sat
        transaction.lost_sat = lost

    def at_risk_msat(self) -> dict[str, int]:
        """Returns by meter what its sessions hold on-chain or have unconfirmed, over all its live sessions."""
        found: dict[str, int] = {}
        for session in self.sessions.values():
            if session.onchain.transactions:
                found[session.meter] = found.get(session.meter, 0) + session.onchain.at_risk_msat
        return found

    # --- snapshots

    def balances(self) -> dict[str, tuple[object, ...]]:
        """Returns what every way to build the state has to agree on.

        Of each live session, by its id: the head of its hash chain, its money and its state. Of each
        meter, by meter/NAME: its state, its session, its offset and its recorded count."""
        sessions: dict[str, tuple[object, ...]] = {each.id: _balance(each) for each in self.sessions.values()}
        meters = {each.subject: (each.state, each.session, each.offset, each.recorded) for each in self.meters.values()}
        return sessions | meters

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


def _known(values: dict[object, Value] | dict[int, Value] | dict[str, Value], name: int | str, event: Event) -> Value:
    """Return what an event names, or raise WrongState."""
    found: Value | None = values.get(name)  # type: ignore[arg-type]
    if found is None:
        raise WrongState(f"{event.kind()} of {event.subject} names {name!r}, which is not there")
    return found


def _balance(session: SellerSession) -> tuple[object, ...]:
    money = (session.received_msat, session.spent_msat, session.refunded_msat, session.taken_msat, session.lapsed_msat)
    return (session.head, *money, session.state)


def _end_refund(session: SellerSession, given_msat: int) -> None:
    refund = session.refund
    refund.given = {**refund.given, refund.number: refund.given.get(refund.number, 0) + given_msat}
    refund.state, refund.amount_msat, refund.maxfee_msat, refund.borne_msat = RefundState.NONE, 0, 0, 0
    _use_up(refund)


def _use_up(refund: Refund) -> None:
    refund.used = [*refund.used, refund.bolt11]
    refund.tries = {**refund.tries, refund.number: refund.tries.get(refund.number, 0) + 1}
    refund.bolt11, refund.payment_hash, refund.invoice_msat, refund.number = "", "", 0, 0


_FOLD: dict[type[Event], Callable[[SellerState, Event], None]] = {
    kind: getattr(SellerState, kind.kind())
    for kind in vars(ev).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
}
