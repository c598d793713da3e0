"""Payments that arrive: each is credited once, to whom its label names, in whatever order they are told."""

from .. import commands as cmd
from .. import effects as do
from .. import receipt
from ..labels import FetchedLabel, OpeningLabel, SessionLabel, WalletLabel, bearer_session, journal_of, offer_of, parse
from . import events as ev
from .context import Part
from .meter import Meter
from .session import SellerSession

UNOWNED = "unowned"
"""The subject of payments whose session nobody knows."""
LOST_PART = "the lost part of the journal"
"""Under this name stands the sum of what was paid in it, for sessions and wallets that the older copy does not know."""


class Payments(Part):
    """Whose a payment is."""

    def arrived(self, command: cmd.InvoiceSettled) -> bool:
        """Credit a payment, once, in whatever order payments are told. True if it is ours and was new.

        It is also credited where nothing asks for it any more: an invoice that was made ahead, one that was dropped, or
        one of a session that was folded away.
        """
        owned_up_to = command.pay_index if command.after is not None and command.after <= self.state.pay_index else 0
        ours = journal_of(command.label) == self.context.journal or offer_of(command.label) in self.state.offers
        new = ours and not self.state.known_payment(command.pay_index)
        if ours and not new:
            self._credited_before(command)
        elif new and command.pay_index <= self.state.lost_up_to and not self._kept(command.label):
            self._unowned(command, owned_up_to, LOST_PART)
            new = False
        elif ours and not self._owned(command, owned_up_to):
            self._unowned(command, owned_up_to)
        # Also where it is not ours, or was told before: the next snapshot has it.
        self.state.note_payment(command.pay_index, owned_up_to)
        return new

    def _kept(self, label: str) -> bool:
        """Whether the older copy of the journal has the session that a label names."""
        match parse(label):
            case OpeningLabel(_, first):
                session = self.state.sessions.get(first.session)
            case SessionLabel(_, session_id, _):
                session = self.state.sessions.get(session_id)
            case _:
                return False
        return session is not None and session.of_older

    def _owned(self, command: cmd.InvoiceSettled, owned_up_to: int) -> bool:
        """Credit a payment to whom its label names; False where nobody knows that one any more."""
        match parse(command.label):
            case FetchedLabel(offer_id) as by:
                meter = self.state.meters.get(self.state.offers[offer_id].meter)
                if meter is not None:
                    self.context.wallet_invoices.paid_by_offer(meter, by, command, owned_up_to)
                return meter is not None
            case OpeningLabel(_, first):
                return self.context.openings.paid(first, command, owned_up_to)
            case WalletLabel(_, name, number):
                meter = self.state.meters.get(name)
                if meter is not None:
                    self.context.wallet_invoices.paid(meter, number, command, owned_up_to)
                return meter is not None
            case SessionLabel(_, session_id, number):
                session = self.state.sessions.get(session_id)
                if session is None:
                    return self._ended_paid(session_id, command, owned_up_to)
                self.credit(session, number, command, owned_up_to)
                return True
        return False

    def record(self, session_id: str, number: int, command: cmd.InvoiceSettled, count: int, owned_up_to: int) -> None:
        """Record a payment as a session's."""
        self.emit(
            ev.InvoicePaid(
                at=self.now,
                subject=session_id,
                number=number,
                amount_msat=command.amount_msat,
                pay_index=command.pay_index,
                payment_hash=command.payment_hash,
                count=count,
                owned_up_to=owned_up_to,
            )
        )

    def credit(self, session: SellerSession, number: int, command: cmd.InvoiceSettled, owned_up_to: int) -> None:
        """Credit a payment to a live session, and do what is due then."""
        self.record(session.id, number, command, session.count, owned_up_to)
        if session.buyer:
            self.context.openings.paid_before(session.buyer)
        if command.pay_index <= self.state.lost_up_to:
            self.context.refunds.hold(session)  # of the lost part: what came of it since may have been given back
        self.context.invoices.forget(session, number)
        self.context.just_paid = session.id
        self.context.metering.proceed(session)
        self.context.just_paid = ""

    def _ended_paid(self, session_id: str, command: cmd.InvoiceSettled, owned_up_to: int) -> bool:
        """A payment for a session that memory has no more: a session of its own keeps it for the same buyer."""
        ended = self.context.recall(session_id)
        known = receipt.read(ended.receipt) if ended is not None else None
        meter = self.state.meters.get(known["meter"]) if known is not None else None
        if ended is None or meter is None:
            return False
        kept = bearer_session(command.label)
        if kept in self.state.sessions:  # the same label was paid before, too
            self.credit(self.state.sessions[kept], 0, command, owned_up_to)
            return True
        new = self.context.openings.open_session(meter, kept, ended.buyer, parked=True)
        self.record(kept, 0, command, meter.count, owned_up_to)
        self.context.closing.close(new, f"paid after session {session_id} had ended")
        return True

    def _unowned(self, command: cmd.InvoiceSettled, owned_up_to: int, label: str = "") -> None:
        known = label in self.state.unowned
        self.emit(
            ev.PaymentUnowned(
                at=self.now,
                subject=UNOWNED,
                label=label or command.label,
                amount_msat=command.amount_msat,
                pay_index=command.pay_index,
                payment_hash=command.payment_hash,
                owned_up_to=owned_up_to,
            )
        )
        if not known:
            why = "nobody knows the session of this payment"
            self.act(
                do.Notify(
                    topic="meter_alarm",
                    payload={"label": label or command.label, "amount_msat": command.amount_msat, "why": why},
                )
            )

    def _credited_before(self, command: cmd.InvoiceSettled) -> None:
        """What was credited and is still asked for is asked for no more."""
        of, number = self.context.invoices.named(command.label)
        if isinstance(of, Meter):
            self.emit(ev.WalletInvoiceEnded(at=self.now, subject=of.subject, number=number))
        elif of is not None and of.id in self.state.sessions:
            self.emit(ev.InvoiceExpired(at=self.now, subject=of.id, number=number))
            self.context.invoices.forget(of, number)
