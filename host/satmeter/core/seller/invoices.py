"""Invoices of sessions: their labels and numbers, and asking node and buyer again for what is not answered."""

from .. import commands as cmd
from .. import effects as do
from .. import messages as msg
from ..journal import canonical
from ..labels import FIRST, OpeningLabel, SessionLabel, WalletLabel, opening_label, parse, session_label
from ..ratelimit import RESEND_MOST_MS, RESEND_MS, backoff_ms
from . import events as ev
from .context import NODE_RETRY_MS, Part
from .meter import Meter
from .session import SellerSession

DEBT_ASKED_MS = 86_400_000
NUMBERS_DRAWN = 64
"""Numbers of invoices that are recorded as drawn at once: invoices made ahead use up numbers that no other event tells
of."""


class Invoices(Part):
    """What a session asks for, however it is paid."""

    def label(self, session: SellerSession, number: int) -> str:
        """Returns the label of an invoice at the node: of an opening, or of a session by `number`."""
        if session.id in self.context.waiting:
            return opening_label(self.context.journal, session.first)
        return session_label(self.context.journal, session.id, number)

    def number(self, session: SellerSession) -> int:
        """Return a number that no invoice of the session ever had, recorded before anybody learns of it."""
        number = session.draw_number()
        if number > session.drawn_up_to:
            self.emit(ev.NumbersDrawn(at=self.now, subject=session.id, up_to=number + NUMBERS_DRAWN - 1))
        return number

    def named(self, label: str) -> tuple[Meter | SellerSession | None, int]:
        """Returns what a label names (a meter, an opening or a session), and the invoice's number.

        A meter is found by an unpaid wallet invoice, an opening by its first invoice, a session by an
        outstanding or dropped invoice. For any other label the first value is None."""
        match parse(label):
            case OpeningLabel(journal, first) if journal == self.context.journal:
                return self.context.opening_of(first), FIRST
            case WalletLabel(journal, name, number) if journal == self.context.journal:
                meter = self.state.meters.get(name)
                return (meter if meter is not None and number in meter.wallet_invoices else None), number
            case SessionLabel(journal, session_id, number) if journal == self.context.journal:
                session = self.state.sessions.get(session_id)
                known = session is not None and (number in session.out or number in session.dropped)
                return (session if known else None), number
        return None, 0

    def session_of(self, label: str) -> tuple[SellerSession | None, int]:
        """Return the live session that a label names, whatever became of its invoice, and its number."""
        named = parse(label)
        if not isinstance(named, SessionLabel) or named.journal != self.context.journal:
            return None, 0
        return self.state.sessions.get(named.session), named.number

    def send_terms(self, session: SellerSession) -> None:
        """Say to the buyer what the meter costs, and what credit the session began with."""
        session.memory.told_at = self.now
        self.context.send(
            session,
            msg.Terms,
            meter=session.meter,
            tariff=canonical(session.tariff.terms()),
            carried_msat=session.brought_msat,
        )

    def _resend_terms(self, session: SellerSession) -> None:
        """In arrears the terms are said again until the buyer took them: a delivery would be its debt."""
        waits = not session.tariff.prepaid and not session.memory.agreed and session.start_count < 0
        if waits and session.open and not session.ending and self.now >= session.memory.told_at + RESEND_MS:
            self.send_terms(session)

    def resend(self, session: SellerSession) -> None:
        """Ask the node again for what it has not answered, the buyer (ever more seldom) for what it has not paid."""
        self._resend_terms(session)
        for number in session.out:
            asking = session.memory.asked(number)
            if asking.asked_at is None:
                asking.asked_at = self.now
            lost = not asking.text and self.now >= asking.asked_at + NODE_RETRY_MS
            if lost or self.now >= asking.asked_at + session.tariff.invoice_expiry_s * 1000:
                self.context.settlement(session).make(session, number)
        for number in session.asked_for:
            asking = session.memory.asked(number)
            if self.now >= asking.sent_at + backoff_ms(RESEND_MS, RESEND_MOST_MS, asking.tries):
                asking.arriving = False  # then it did not settle after all
                self.context.settlement(session).tell(session, number)

    def urge(self, session: SellerSession) -> None:
        """Ask again for what is out, however seldom it was asked for of late: now it is urgent."""
        for number in session.asked_for:
            asking = session.memory.asked(number)
            if self.now >= asking.sent_at + RESEND_MS:
                asking.tries = 0
                self.context.settlement(session).tell(session, number)

    def send_all(self, session: SellerSession) -> None:
        """Say to the buyer all that is to be paid."""
        for number in session.asked_for:
            self.context.settlement(session).tell(session, number)

    # --- what the node says of them

    def made(self, command: cmd.InvoiceMade) -> None:
        """Shows, sends or stores an invoice that the node made; cancels one that is not wanted."""
        of, number = self.named(command.label)
        if isinstance(of, Meter):
            made = {each: of.memory.made[each] for each in of.memory.made if each in of.wallet_invoices}
            of.memory.made = {**made, number: (command.bolt11, self.now + of.tariff.wallet_expiry_s * 1000)}
            self.touch(of.subject)
        elif of is not None and number in of.out:
            of.memory.asked(number).text = command.bolt11
            self.context.settlement(of).tell(of, number)
        elif of is not None:
            self.context.settlement(of).cancel(of)
        elif isinstance(parse(command.label), OpeningLabel):
            self.act(do.CancelInvoice(label=command.label))  # nobody waits for it any more
        else:
            session, number = self.session_of(command.label)
            if session is not None:
                session.memory.prefetched.made(number, command.bolt11)

    def gone(self, command: cmd.InvoiceGone) -> None:
        """Records that an invoice can't be paid any more (expired or deleted at the node)."""
        of, number = self.named(command.label)
        if isinstance(of, Meter):
            self.emit(ev.WalletInvoiceEnded(at=self.now, subject=of.subject, number=number))
            of.memory.looked_at.pop(number, None)
        elif of is not None and of.id in self.context.waiting:
            self.context.openings.drop(of, "the first invoice expired")
        elif of is not None:
            self.emit(ev.InvoiceExpired(at=self.now, subject=of.id, number=number))
            of.memory.debt_asked_at = self.now + DEBT_ASKED_MS
            self.forget(of, number)
            self.context.metering.proceed(of)

    def arriving(self, command: cmd.InvoiceArriving) -> None:
        """Asks for the next invoice while the node accepts a payment of a prepaid session.

        The invoice that is being paid still counts in the exposure, but not in the window."""
        of, number = self.named(command.label)
        waits = isinstance(of, SellerSession) and of.id in self.context.waiting
        if isinstance(of, SellerSession) and not waits and number in of.out and of.tariff.prepaid and of.open:
            of.memory.asked(number).arriving = True
            self.context.just_paid = of.id
            self.context.metering.proceed(of)
            self.context.just_paid = ""

    def forget(self, session: SellerSession, number: int) -> None:
        """Forget how an invoice was asked for: it is paid, or can't be any more."""
        session.memory.asking.pop(number, None)
