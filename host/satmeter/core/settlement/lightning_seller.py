"""Lightning settlement on the seller's side: an invoice for each amount that is due.

The next ones are made ahead while others are paid (seller/prefetch.py).
"""

from .. import effects as do
from .. import messages as msg
from ..labels import FIRST, opening_label, session_label
from ..seller import events as ev
from ..seller.context import NODE_RETRY_MS, Part
from ..seller.prefetch import PrefetchedInvoice
from ..seller.session import SellerSession


class LightningSeller(Part):
    """See base.SellerSettlement."""

    def ask_first(self, session: SellerSession) -> None:
        """Ask for the first payment of an opening; in arrears there is none."""
        if session.tariff.prepaid and (amount := session.next_amount()):
            session.out = {FIRST: amount}
            self.make(session, FIRST)

    def ask_first_again(self, session: SellerSession) -> None:
        """Ask once more."""
        self.context.invoices.resend(session)

    def cancel_first(self, session: SellerSession) -> None:
        """Have the first invoice of an opening deleted."""
        if session.out:
            self.act(do.CancelInvoice(label=opening_label(self.context.journal, session.first)))

    def look_after(self, session: SellerSession) -> None:
        """Nothing that is paid has to be looked after."""

    def ask(self, session: SellerSession) -> None:
        """Ask for what is due, as far as the window and the quantum have room."""
        while (amount := session.next_amount()) > 0:
            hurry = self.context.just_paid == session.id
            made = session.memory.prefetched.take(amount, hurry, self.now - session.tariff.invoice_expiry_s * 500)
            if made is not None and session.buys_a_tick(made.amount_msat):
                asking = session.memory.asked(made.number)
                asking.text, asking.asked_at = made.bolt11, made.made_at
                self._ask_for(session, made.number, made.amount_msat)
                self.tell(session, made.number)
            else:
                number = self.context.invoices.number(session)
                self._ask_for(session, number, amount)
                self.make(session, number)
            self._make_ahead(session, session.amount_after(amount, hurry))

    def _ask_for(self, session: SellerSession, number: int, amount_msat: int) -> None:
        self.emit(
            ev.InvoiceAsked(
                at=self.now, subject=session.id, number=number, amount_msat=amount_msat, count=session.count
            )
        )

    def why_full(self, session: SellerSession, amount_msat: int) -> str:
        """Returns "": what is paid by Lightning is final."""
        return ""

    def make(self, session: SellerSession, number: int) -> None:
        """Have the node make an invoice, or find it."""
        session.memory.asked(number).asked_at = self.now
        amount = session.out[number] if number in session.out else session.dropped[number]
        label, expiry_s = self.context.invoices.label(session, number), session.tariff.invoice_expiry_s
        waits = session.id in self.context.waiting
        self.act(
            do.MakeInvoice(label=label, amount_msat=amount, description=session.meter, expiry_s=expiry_s, renew=waits)
        )

    def _make_ahead(self, session: SellerSession, amount: int) -> None:
        delivers = bool(amount) and session.open and not session.ending
        while delivers and not session.memory.prefetched.full(session.tariff.window):
            made = PrefetchedInvoice(self.context.invoices.number(session), amount, self.now)
            session.memory.prefetched.queue.append(made)
            label = session_label(self.context.journal, session.id, made.number)
            self.act(
                do.MakeInvoice(
                    label=label,
                    amount_msat=amount,
                    description=session.meter,
                    expiry_s=session.tariff.invoice_expiry_s,
                    hurry=False,
                )
            )

    def tell(self, session: SellerSession, number: int) -> None:
        """Send the buyer an invoice, and the next one that it may look at ahead."""
        if self.context.unseen(session):
            return  # it would state a count that is behind what was told before
        asking = session.memory.asked(number)
        asking.sent_at, asking.tries = self.now, asking.tries + 1
        self.context.send(
            session,
            msg.Invoice,
            number=number,
            amount_msat=session.out[number],
            bolt11=asking.text,
            ticks=session.ticks,
            charged_msat=session.charged_msat,
            paid_msat=session.received_msat,
            ahead=session.memory.prefetched.tell(),
        )

    def cancel(self, session: SellerSession) -> None:
        """Have the node delete what is no longer wanted, until it says that it is gone or was paid."""
        for number in session.dropped:
            asking = session.memory.asked(number)
            if self.now >= asking.cancelled_at + NODE_RETRY_MS:
                asking.cancelled_at = self.now
                self.act(do.CancelInvoice(label=self.context.invoices.label(session, number)))

    def begun(self, session: SellerSession, opening: SellerSession) -> None:
        """Nothing but its invoices was given to the buyer."""

    def resumed(self, session: SellerSession) -> None:
        """Its invoices are asked for as any other's. Its buyer counts as gone until it is heard."""
        session.memory.gone_at = self.now if session.buyer else 0

    def is_settled(self, session: SellerSession) -> bool:
        """What is paid is paid."""
        return True
