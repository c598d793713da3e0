"""The buyer's state: its streams as the fold of the journal, and what each day has cost.

apply() is the only place where recorded state changes. Each event is checked whole before anything changes: the tables
of transitions.py say what may follow what, and what an event names has to be there.
"""

from collections.abc import Callable
from dataclasses import replace

from .. import transitions
from ..boots import with_earlier
from ..errors import UnknownSession, WrongState
from ..journal import Event
from ..plain import Plain, keep_newest
from ..receipt import figures
from ..settlement.transaction import SignedTransaction
from ..snapshot import DAY_MS, dump, part, revive
from ..states import StreamState
from . import events as ev
from .session import AfterClose, BuyerSession, FinalReceipt, PaymentInFlight, Refusal

DAYS = 8
"""Days of which the cost is kept: the newest that anything was spent on."""
HASHES = 10_000
"""Hashes of payments that are remembered; of older ones the node knows that they were paid."""
EARLIER = 50
"""Transactions before the last one whose inputs stay reserved."""
REFUSALS = 20


class BuyerState:
    """Live streams by id, and what each day has cost (msat, fees included, by UTC day)."""

    def __init__(self) -> None:
        self.streams: dict[str, BuyerSession] = {}
        self.days: dict[int, int] = {}
        self.hashes: dict[str, tuple[str, int]] = {}
        """The newest hashes that a payment was ever started for, with its stream and number: each is paid once."""
        self.carried: dict[str, int] = {}
        """By seller: credit that later streams got from earlier ones, and no receipt has explained yet (msat)."""

    def spent_on(self, at: int) -> int:
        """Return what that day has cost (msat), payments in flight included."""
        return self.days.get(at // DAY_MS, 0) + sum(each.in_flight_msat for each in self.streams.values())

    def apply(self, event: Event) -> None:
        """Fold one event. On an event that can't happen: a LocalError, and nothing has changed."""
        if isinstance(event, ev.StreamOpened):
            self._open(event)
        elif isinstance(event, ev.StreamRecalled):
            self._recall(event)
        elif type(event) in _FOLD:
            stream = self._stream(event)
            transitions.step(transitions.STREAM, stream.state, type(event), f"stream {stream.id}")
            _FOLD[type(event)](self, stream, event)
        else:
            raise WrongState(f"{event.kind()} is no event of a buyer")

    def _stream(self, event: Event) -> BuyerSession:
        try:
            return self.streams[event.subject]
        except KeyError:
            raise UnknownSession(f"session: no live stream {event.subject!r}") from None

    def _open(self, event: ev.StreamOpened) -> None:
        if event.subject in self.streams:
            raise WrongState(f"stream {event.subject} is there already")
        self.streams[event.subject] = BuyerSession(
            event.subject, event.seller, event.meter, event.address, event.policy, event.at
        )

    def _recall(self, event: ev.StreamRecalled) -> None:
        """Take a stream as it was; a fold of the whole journal has it still, since it never forgets."""
        self.streams[event.subject] = revive(BuyerSession, dump(event.state))

    # --- terms

    def terms_agreed(self, stream: BuyerSession, event: ev.TermsAgreed) -> None:
        """Folds TermsAgreed: the stream is streaming; its count begins at the event's time."""
        stream.tariff, stream.carried_msat, stream.state = event.tariff, event.carried_msat, StreamState.STREAMING
        stream.agreed_at = stream.ticks_at = event.at

    def credit_carried(self, stream: BuyerSession, event: ev.CreditCarried) -> None:
        """Folds CreditCarried: what is new of the credit may explain a refund in an earlier receipt."""
        more = event.amount_msat - stream.carried_msat
        self.carried[stream.seller] = self.carried.get(stream.seller, 0) + more
        stream.carried_msat = event.amount_msat

    def sensor_booted(self, stream: BuyerSession, event: ev.SensorBooted) -> None:
        """Folds SensorBooted: the boot before is remembered, so that its readings are refused."""
        sensor = stream.sensor
        if event.boot != sensor.boot:
            sensor.boots, sensor.booted_at = with_earlier(sensor.boots, sensor.boot), event.at
        sensor.boot, sensor.offset, sensor.start = event.boot, event.offset, event.start

    def budget_changed(self, stream: BuyerSession, event: ev.BudgetChanged) -> None:
        """Folds BudgetChanged: its caps replace those of the stream."""
        stream.policy = event.policy

    def stream_paused(self, stream: BuyerSession, event: ev.StreamPaused) -> None:
        """Folds StreamPaused: invoices are not paid in this state."""
        stream.state = StreamState.PAUSED

    def stream_resumed(self, stream: BuyerSession, event: ev.StreamResumed) -> None:
        """Folds StreamResumed: the stream is streaming again."""
        stream.state = StreamState.STREAMING

    # --- payments

    def _check_payment(self, stream: BuyerSession, number: int, event: Event) -> None:
        what = f"payment {number} of stream {stream.id}"
        transitions.step(transitions.PAYMENT, stream.payment_state(number), type(event), what)

    def payment_started(self, stream: BuyerSession, event: ev.PaymentStarted) -> None:
        """Folds PaymentStarted: it is in flight, and its hash belongs to this stream and number."""
        self._check_payment(stream, event.number, event)
        stream.attempts += 1
        stream.in_flight[event.number] = PaymentInFlight(
            event.amount_msat, event.maxfee_msat, event.payment_hash, event.at, stream.attempts
        )
        stream.ticks, stream.ticks_at = max(stream.ticks, event.ticks), event.at
        self.hashes[event.payment_hash] = (stream.id, event.number)
        keep_newest(self.hashes, HASHES)

    def payment_settled(self, stream: BuyerSession, event: ev.PaymentSettled) -> None:
        """Folds PaymentSettled: it is paid, its number is handled, and the day's cost grows.

        A payment that was astray was counted for the day on which it went astray."""
        self._check_payment(stream, event.number, event)
        counted = event.number in stream.astray  # in the day's budget, since it went astray
        payment = (stream.astray if counted else stream.in_flight).pop(event.number)
        stream.paid_msat += payment.amount_msat
        stream.sent_msat += event.sent_msat
        stream.payments += 1
        stream.note_handled(event.number)
        self._spend(event.at, 0 if counted else event.sent_msat)

    def payment_failed(self, stream: BuyerSession, event: ev.PaymentFailed) -> None:
        """Folds PaymentFailed: it no longer counts as spent, and its number may be paid again."""
        self._check_payment(stream, event.number, event)
        stream.trouble = event.why
        stream.out_of_bound(event.number, stream.in_flight.pop(event.number))

    def payment_given_up(self, stream: BuyerSession, event: ev.PaymentGivenUp) -> None:
        """Folds PaymentGivenUp: it goes astray, and is spent, with its fee, on the event's day."""
        self._check_payment(stream, event.number, event)
        stream.out_of_bound(event.number, self._stray(stream, event.number, event.at))

    def _stray(self, stream: BuyerSession, number: int, at: int) -> PaymentInFlight:
        payment = stream.astray[number] = stream.in_flight.pop(number)
        stream.note_handled(number)
        self._spend(at, payment.most_msat)
        return payment

    def _spend(self, at: int, amount_msat: int) -> None:
        day = at // DAY_MS
        self.days[day] = self.days.pop(day, 0) + amount_msat
        keep_newest(self.days, DAYS)  # by number: a clock that was ahead for a moment makes no day forgotten

    def invoice_refused(self, stream: BuyerSession, event: ev.InvoiceRefused) -> None:
        """Folds InvoiceRefused: keeps the newest REFUSALS; after a PolicyBreach no debt is paid."""
        stream.breached = stream.breached or event.evidence.get("error") == "PolicyBreach"
        refusal = Refusal(event.at, event.number, event.why, event.evidence)
        stream.refusals = [*stream.refusals, refusal][-REFUSALS:]

    # --- growing transactions

    def inputs_chosen(self, stream: BuyerSession, event: ev.InputsChosen) -> None:
        """Folds InputsChosen: a growing transaction begins in place of the last one."""
        if stream.signed is not None and stream.signed.value_sat:
            stream.earlier_inputs = [*stream.earlier_inputs, stream.signed.outpoints][-EARLIER:]
        stream.transactions = event.tx_number
        stream.signed = SignedTransaction(
            event.tx_number,
            event.address,
            event.feerate,
            event.fee_sat,
            event.maximum_sat,
            event.change,
            list(event.inputs),
        )

    def update_signed(self, stream: BuyerSession, event: ev.UpdateSigned) -> None:
        """Folds UpdateSigned: it is in flight; WrongState where it is of another transaction."""
        self._check_payment(stream, event.number, event)
        if stream.signed is None or stream.signed.number != event.tx_number:
            raise WrongState(f"stream {stream.id} has no transaction {event.tx_number} to sign")
        stream.signed.value_sat, stream.signed.request = event.value_sat, event.number
        stream.in_flight[event.number] = PaymentInFlight(event.amount_msat, event.fee_msat, "", event.at)
        stream.ticks, stream.ticks_at = max(stream.ticks, event.ticks), event.at

    def update_strayed(self, stream: BuyerSession, event: ev.UpdateStrayed) -> None:
        """Folds UpdateStrayed: it goes astray, and is spent, with its fee, on the event's day."""
        self._check_payment(stream, event.number, event)
        self._stray(stream, event.number, event.at)

    # --- the end

    def refund_invoiced(self, stream: BuyerSession, event: ev.RefundInvoiced) -> None:
        """Folds RefundInvoiced: keeps the invoice and its time; a later invoice gets another label."""
        stream.refund_bolt11, stream.refund_at = event.bolt11, event.at
        stream.refund_made += 1

    def stream_closing(self, stream: BuyerSession, event: ev.StreamClosing) -> None:
        """Folds StreamClosing: in arrears, keeps the bound of what the stream may still pay."""
        stream.state, stream.reason, stream.ended_at = StreamState.CLOSING, event.reason, event.at
        if event.most_msat is not None:
            stream.after_close = AfterClose(event.most_msat, event.most_ticks, tuple(stream.in_flight))

    def sensor_heard(self, stream: BuyerSession, event: ev.SensorHeard) -> None:
        """Folds SensorHeard: from here on it is the bound of what is paid after the close."""
        if stream.after_close is not None:
            stream.after_close = replace(stream.after_close, most_ticks=event.most_ticks)

    def copy_replaced(self, stream: BuyerSession, event: ev.CopyReplaced) -> None:
        """Folds CopyReplaced: the node may know payments of the stream that the journal does not."""
        stream.of_older = True

    def debt_refused(self, stream: BuyerSession, event: ev.DebtRefused) -> None:
        """Folds DebtRefused: the stream pays nothing more, whatever its receipt states as debt."""
        stream.debt_refused = True

    def stream_closed(self, stream: BuyerSession, event: ev.StreamClosed) -> None:
        """Folds StreamClosed: keeps the receipt, and what it states as owed if it is verified."""
        old = stream.closing
        news = event.verified and stream.tariff is not None  # a newer receipt may put right what the last had wrong
        found = figures(event.text)
        stream.state = StreamState.CLOSED
        stream.closing = FinalReceipt(
            revision=event.revision,
            receipt=event.text,
            signature=event.signature,
            verified=event.verified,
            why=event.why if news else event.why or old.why,
            code=event.code or old.code,
            owed_msat=found.owed_msat if found is not None and event.verified else 0,
            arrivals_msat={**old.arrivals_msat, **event.arrivals_msat},
            carried_on_msat=event.carried_on_msat,
            recorded=old.recorded + bool(event.text),
        )
        explained = event.carried_on_msat - old.carried_on_msat
        self.carried[stream.seller] = self.carried.get(stream.seller, 0) - explained
        if not self.carried[stream.seller]:
            del self.carried[stream.seller]
        stream.reason = stream.reason or ("closed by the seller" if event.verified else event.why)
        if stream.closing.owed_msat and found is not None and found.refunded_msat:
            stream.refund_bolt11 = ""  # it is used, and something came late: offer another

    # --- snapshots

    def kept(self) -> set[str]:
        """Returns the ids of the streams that no snapshot may lack: something can still follow."""
        return {each.id for each in self.streams.values() if not each.done}

    def dump(self) -> Plain:
        """Return the whole as data for JSON; load() reads it."""
        return {
            "days": {str(day): spent for day, spent in self.days.items()},
            "hashes": {known: list(owner) for known, owner in self.hashes.items()},
            "carried": self.carried,
            "streams": [dump(stream) for stream in self.streams.values()],
        }

    def load(self, dumped: Plain) -> None:
        """Take what dump() wrote in place of all that is there."""
        self.days = revive(dict[int, int], part(dumped, "days"))
        self.hashes = revive(dict[str, tuple[str, int]], part(dumped, "hashes"))
        self.carried = revive(dict[str, int], part(dumped, "carried"))
        self.streams = {each.id: each for each in revive(list[BuyerSession], part(dumped, "streams"))}


_FOLD: dict[type[Event], Callable[[BuyerState, BuyerSession, Event], None]] = {
    kind: getattr(BuyerState, kind.kind())
    for kind in vars(ev).values()
    if isinstance(kind, type) and issubclass(kind, Event) and hasattr(BuyerState, kind.kind())
}
