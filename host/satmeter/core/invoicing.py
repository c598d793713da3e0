"""Invoicing: asking the node for invoices, asking buyers for their payment, and crediting what arrives, once."""

from . import actions as do
from . import events as ev
from . import inputs as inp
from . import messages as msg
from . import receipt
from .errors import BadParam, BoardSilent, TooMany, WrongState
from .holding import Holding
from .journal import canonical
from .labels import (
    FIRST,
    bearer_session,
    offer_label,
    opening_label,
    parse_label,
    parse_opening,
    session_label,
)
from .meter import STANDBY, Meter
from .sale import OPEN, Sale
from .shop import NODE_RETRY_MS, RESEND_MOST_MS, RESEND_MS
from .spares import Spare

DEBT_ASKED_MS = 86_400_000
UNOWNED = "unowned"
"""The stream of payments whose session nobody knows."""
LOST_PART = "the lost part of the journal"
"""Under this name stands the sum of what was paid in it, for sessions and wallets that the older copy does not know."""
OLDER = "the journal is an older copy: what was given back since is not in it"
NUMBERS_DRAWN = 64
"""Numbers of invoices that are recorded as drawn at once: spares use up numbers that no other event tells of."""


class Invoicing(Holding):
    """Invoices of sessions and, for any wallet, of meters."""

    def _make_invoice(self, s: Sale, n: int) -> None:
        s.asked_at[n] = self.now
        if s.tariff.onchain:
            if n in s.out:
                self._tell_increment(s, n)
            return
        amount = s.out[n] if n in s.out else s.dropped[n]
        waits = s.id in self.openings
        self._do(do.MakeInvoice(self._label(s, n), amount, s.meter, s.tariff.invoice_expiry_s, renew=waits))

    def _label(self, s: Sale, n: int) -> str:
        if s.id in self.openings:
            return opening_label(self.journal, s.first)
        return session_label(self.journal, s.id, n)

    def _number(self, s: Sale) -> int:
        """Return a number that no invoice of the session ever had, recorded before anybody learns of it."""
        n = s.number()
        if n > s.drawn:
            self._emit(ev.NumbersDrawn(self.now, s.id, n + NUMBERS_DRAWN - 1))
        return n

    def _make_offer(self, m: Meter, n: int) -> None:
        m.looked_at[n] = self.now
        label = offer_label(self.journal, m.name, n)
        self._do(do.MakeInvoice(label, m.offers[n], m.name, m.tariff.wallet_expiry_s))

    def _named(self, label: str) -> tuple[Meter | Sale | None, int]:
        """Return the meter (of an open wallet invoice), or the sale (of an open or dropped invoice, or an opening's
        first one) of a label, and its n."""
        opening = parse_opening(label)
        if opening is not None:
            return (self._opening_of(opening[1]) if opening[0] == self.journal else None), FIRST
        parsed = parse_label(label)
        if parsed is None or parsed[0] != self.journal:
            return None, 0
        _, kind, name, n = parsed
        if kind == "m":
            m = self.books.meters.get(name)
            return (m, n) if m is not None and n in m.offers else (None, n)
        s = self.books.sales.get(name)
        return (s, n) if s is not None and (n in s.out or n in s.dropped) else (None, n)

    def _ask(self, s: Sale) -> None:
        if s.tariff.onchain:
            self._ask_version(s)
            return
        while (amount := s.next_invoice()) > 0:
            hurry = self.just_paid == s.id
            spare = s.spares.take(amount, hurry, self.now - s.tariff.invoice_expiry_s * 500)
            if spare is not None and s.buys_a_tick(spare.amount):
                s.bolt11[spare.n], s.asked_at[spare.n] = spare.bolt11, spare.made_at
                self._emit(ev.InvoiceAsked(self.now, s.id, spare.n, spare.amount, s.count))
                self._send_invoice(s, spare.n)
            else:
                n = self._number(s)
                self._emit(ev.InvoiceAsked(self.now, s.id, n, amount, s.count))
                self._make_invoice(s, n)
            self._make_spares(s, s.spare_after(amount, hurry))

    def _make_spares(self, s: Sale, amount: int) -> None:
        while amount and s.phase == OPEN and not s.ending_at and not s.spares.full(s.tariff.window):
            spare = Spare(self._number(s), amount, self.now)
            s.spares.queue.append(spare)
            label = session_label(self.journal, s.id, spare.n)
            self._do(do.MakeInvoice(label, amount, s.meter, s.tariff.invoice_expiry_s, hurry=False))

    def _send_terms(self, s: Sale) -> None:
        s.told_at = self.now
        self._send(s, msg.Terms, meter=s.meter, tariff=canonical(s.tariff.to_dict()), carried_msat=s.brought)

    def _resend_terms(self, s: Sale) -> None:
        """In arrears the terms are said again until the buyer took them: a delivery would be its debt."""
        waits = not s.tariff.prepaid and not s.agreed and s.start_count < 0
        if waits and s.phase == OPEN and not s.ending_at and self.now >= s.told_at + RESEND_MS:
            self._send_terms(s)

    def _resend(self, s: Sale) -> None:
        """Ask the node again for what it has not answered, the buyer (ever more seldom) for what it has not paid."""
        self._resend_terms(s)
        for n in s.out:
            asked = s.asked_at.setdefault(n, self.now)
            lost = n not in s.bolt11 and self.now >= asked + NODE_RETRY_MS
            if lost or self.now >= asked + s.tariff.invoice_expiry_s * 1000:
                self._make_invoice(s, n)
        for n in s.bolt11:
            sent_at, tries = s.sent.get(n, (0, 0))
            if self.now >= sent_at + min(RESEND_MOST_MS, RESEND_MS << min(tries, 5)):
                s.arriving.discard(n)  # then it did not settle after all
                self._send_invoice(s, n)

    def _urge(self, s: Sale) -> None:
        """Ask again for what is out, however seldom it was asked for of late: now it is urgent."""
        for n in s.bolt11:
            if self.now >= s.sent.get(n, (0, 0))[0] + RESEND_MS:
                s.sent.pop(n, None)
                self._send_invoice(s, n)

    def _send_invoices(self, s: Sale) -> None:
        for n in s.bolt11:
            self._send_invoice(s, n)

    def _cancel(self, s: Sale) -> None:
        """Have the node delete what is no longer wanted, until it says that it is gone or was paid."""
        if s.tariff.onchain:
            for n in list(s.dropped):  # the node knows nothing of it
                self._emit(ev.InvoiceExpired(self.now, s.id, n))
            return
        for n in s.dropped:
            if self.now >= s.asked_at.get(-n, 0) + NODE_RETRY_MS:
                s.asked_at[-n] = self.now
                self._do(do.CancelInvoice(self._label(s, n)))

    def _send_invoice(self, s: Sale, n: int) -> None:
        if s.tariff.onchain:
            self._tell_increment(s, n)
            return
        if self._unseen(s):
            return  # it would state a count that is behind what was told before
        s.sent[n] = (self.now, s.sent.get(n, (0, 0))[1] + 1)
        self._send(
            s,
            msg.Invoice,
            n=n,
            amount_msat=s.out[n],
            bolt11=s.bolt11[n],
            ticks=s.ticks,
            charged_msat=s.charged,
            paid_msat=s.received,
            ahead=s.spares.tell(),
        )

    def _look_after_offers(self, m: Meter) -> None:
        """Ask the node, once an offer's time is over, whether it was paid or has expired; show it no longer."""
        if m.newest_offer[1] and not m.offer(self.now):
            m.newest_offer = (0, "", 0)
            self.step.touched.add(m.stream)
        for n in m.offers:
            wait = m.tariff.wallet_expiry_s * 1000 if n in m.made else NODE_RETRY_MS
            if self.now > m.looked_at.setdefault(n, self.now) + wait:
                self._make_offer(m, n)

    def _cancel_offers(self, m: Meter, what: str) -> None:
        """Have unpaid offers deleted first: one that is paid all the same must find its meter as it was."""
        for n in m.offers:
            self._do(do.CancelInvoice(offer_label(self.journal, m.name, n)))
        raise WrongState(f"meter {m.name} has unpaid invoices; they are cancelled now, and then it can be {what}")

    # --- the node's news

    def _made(self, i: inp.InvoiceMade) -> None:
        of, n = self._named(i.label)
        if isinstance(of, Meter):
            of.newest_offer = (n, i.bolt11, self.now + of.tariff.wallet_expiry_s * 1000)
            self.step.touched.add(of.stream)
            of.made = [*of.made, n][-self.limits.offers_per_meter :]
        elif of is not None and n in of.out:
            of.bolt11[n] = i.bolt11
            self._send_invoice(of, n)
        elif of is not None:
            self._cancel(of)
        elif parse_opening(i.label) is not None:
            self._do(do.CancelInvoice(i.label))  # nobody waits for it any more
        else:
            self._spare_made(i)

    def _spare_made(self, i: inp.InvoiceMade) -> None:
        s, n = self._session_of(i.label)
        if s is not None:
            s.spares.made(n, i.bolt11)

    def _session_of(self, label: str) -> tuple[Sale | None, int]:
        """Return the live sale that a label names, whatever became of its invoice, and its number."""
        parsed = parse_label(label)
        if parsed is None or parsed[0] != self.journal or parsed[1] == "m":
            return None, 0
        return self.books.sales.get(parsed[2]), parsed[3]

    def _gone(self, i: inp.InvoiceGone) -> None:
        of, n = self._named(i.label)
        if isinstance(of, Meter):
            self._emit(ev.OfferEnded(self.now, of.stream, n))
            of.looked_at.pop(n, None)
        elif of is not None and of.id in self.openings:
            self._drop_opening(of, "the first invoice expired")
        elif of is not None:
            self._emit(ev.InvoiceExpired(self.now, of.id, n))
            of.ask_at = self.now + DEBT_ASKED_MS
            self._forget_invoice(of, n)
            self._after(of)

    def _settled(self, i: inp.InvoiceSettled) -> bool:
        """Credit a payment, once, in whatever order payments are told. True if it is ours and was new.

        A payment that is not open here any more (told ahead and paid unasked, dropped, of a session that memory has let
        go) still gets its owner.
        """
        upto = i.index if i.after is not None and i.after <= self.books.index else 0
        opening, parsed = parse_opening(i.label), parse_label(i.label)
        known = opening or parsed
        ours = known is not None and known[0] == self.journal
        new = ours and not self.books.known_payment(i.index)
        if ours and not new:
            self._credited_before(i)
        elif new and i.index <= self.books.lost_upto and not self._kept(i.label):
            self._unowned(i, upto, LOST_PART)
            new = False
        elif ours and not self._owned(i, upto):
            self._unowned(i, upto)
        self.books.note_payment(i.index, upto)  # another's, or told before: the next snapshot remembers it
        return new

    def _kept(self, label: str) -> bool:
        """Whether the older copy of the journal has the session that a label names."""
        opening, parsed = parse_opening(label), parse_label(label)
        session = opening[1].session if opening is not None else parsed[2] if parsed is not None else ""
        s = self.books.sales.get(session)
        return s is not None and s.of_older

    def _owned(self, i: inp.InvoiceSettled, upto: int) -> bool:
        """Credit a payment to whom its label names; False where nobody knows that one any more."""
        opening, parsed = parse_opening(i.label), parse_label(i.label)
        if opening is not None or parsed is None:
            return opening is not None and self._opening_paid(opening[1], i, upto)
        _, kind, name, n = parsed
        if kind == "m":
            m = self.books.meters.get(name)
            if m is not None:
                self._offer_paid(m, n, i, upto)
            return m is not None
        s = self.books.sales.get(name)
        if s is None:
            return self._ended_paid(name, i, upto)
        self._credit(s, n, i, upto)
        return True

    def _credit(self, s: Sale, n: int, i: inp.InvoiceSettled, upto: int) -> None:
        self._emit(ev.InvoicePaid(self.now, s.id, n, i.amount_msat, i.index, i.hash, s.count, upto))
        if s.buyer:
            self._paid_before(s.buyer)
        if i.index <= self.books.lost_upto:
            self._hold_refund(s)  # of the lost part: what came of it since may have been given back
        self._forget_invoice(s, n)
        self.just_paid = s.id
        self._after(s)
        self.just_paid = ""

    def _hold_refund(self, s: Sale) -> None:
        """What a session owes waits for a person, whom an alarm is for."""
        if not s.refund_held:
            self._emit(ev.RefundHeld(self.now, s.id, OLDER))
            self._do(do.Notify("meter_alarm", {"session": s.id, "meter": s.meter, "why": OLDER}))

    def _ended_paid(self, session: str, i: inp.InvoiceSettled, upto: int) -> bool:
        """A payment for a session that memory has let go: a session of its own keeps it for the same buyer."""
        ended = self.recall(session)
        known = receipt.read(ended.receipt) if ended is not None else None
        m = self.books.meters.get(known["meter"]) if known is not None else None
        if ended is None or m is None:
            return False
        kept = bearer_session(i.label)
        self._opened(m, kept, ended.buyer, parked=True)
        self._emit(ev.InvoicePaid(self.now, kept, 0, i.amount_msat, i.index, i.hash, m.count, upto))
        self._close(self.books.sales[kept], f"paid after session {session} had ended")
        return True

    def _unowned(self, i: inp.InvoiceSettled, upto: int, label: str = "") -> None:
        known = label in self.books.unowned
        self._emit(ev.PaymentUnowned(self.now, UNOWNED, label or i.label, i.amount_msat, i.index, i.hash, upto))
        if not known:
            why = "nobody knows the session of this payment"
            self._do(do.Notify("meter_alarm", {"label": label or i.label, "amount_msat": i.amount_msat, "why": why}))

    def _credited_before(self, i: inp.InvoiceSettled) -> None:
        """What was credited and is still asked for is asked for no more."""
        of, n = self._named(i.label)
        if isinstance(of, Meter):
            self._emit(ev.OfferEnded(self.now, of.stream, n))
        elif of is not None and of.id in self.books.sales:
            self._emit(ev.InvoiceExpired(self.now, of.id, n))
            self._forget_invoice(of, n)

    def _arriving(self, i: inp.InvoiceArriving) -> None:
        of, n = self._named(i.label)
        waits = isinstance(of, Sale) and of.id in self.openings
        if isinstance(of, Sale) and not waits and n in of.out and of.tariff.prepaid and of.phase == OPEN:
            of.arriving.add(n)
            self.just_paid = of.id
            self._after(of)
            self.just_paid = ""

    def _forget_invoice(self, s: Sale, n: int) -> None:
        s.arriving.discard(n)
        s.bolt11.pop(n, None)
        s.asked_at.pop(n, None)
        s.asked_at.pop(-n, None)
        s.sent.pop(n, None)

    # --- invoices for any wallet

    def _offer(self, i: inp.Offer) -> tuple[str, str]:
        """Ask for an invoice for any wallet; returns (label, session that it will feed)."""
        m = self.books.meter(i.meter)
        t = m.tariff
        if not t.prepaid:
            raise BadParam(f"name: meter {m.name} sells in arrears; a plain wallet can only prepay", param="name")
        if t.onchain:
            raise BadParam(f"name: meter {m.name} settles on-chain; it makes no Lightning invoices", param="name")
        amount = i.amount_msat or t.quantum_msat
        if amount > t.quantum_msat or t.ticks(amount) < 1:
            least = -(-t.price_msat // t.ticks_per_unit)
            raise BadParam(
                f"amount_msat: must be from {least} (one tick) to {t.quantum_msat} (the quantum), got {amount}",
                param="amount_msat",
            )
        if m.fault_at:
            raise BoardSilent(f"the board of meter {m.name} can't deliver: {m.fault}")
        if len(m.offers) >= self.limits.offers_per_meter:
            raise TooMany(f"meter {m.name} has {len(m.offers)} unpaid invoices; they expire in {t.wallet_expiry_s} s")
        n = self.books.offers + 1
        self._emit(ev.InvoiceOffered(self.now, m.stream, n, amount))
        self._make_offer(m, n)
        label = offer_label(self.journal, m.name, n)
        return label, bearer_session(label)

    def _offer_paid(self, m: Meter, n: int, i: inp.InvoiceSettled, upto: int) -> None:
        self._emit(ev.OfferEnded(self.now, m.stream, n))
        m.looked_at.pop(n, None)
        s = self.books.sales.get(m.session)
        parked = False
        if s is None or s.buyer:
            parked = m.state != STANDBY
            s = self._open_bearer(m, n, parked)
        self._emit(ev.InvoicePaid(self.now, s.id, n, i.amount_msat, i.index, i.hash, m.count, upto))
        if parked:
            self._close(s, "paid while the meter was not free")
        self._after(s)

    def _open_bearer(self, m: Meter, n: int, parked: bool) -> Sale:
        session = bearer_session(offer_label(self.journal, m.name, n))
        self._opened(m, session, "", parked)
        s = self.books.sales[session]
        for left in list(self.books.sales.values()):
            if not parked and not left.buyer and left.meter == m.name and left.owed and not left.refund_held:
                self._bring(left, s)
        return s

    def _opened(self, m: Meter, session: str, buyer: str, parked: bool = False) -> None:
        tariff = m.tariff.to_dict()
        self._emit(ev.SessionOpened(self.now, session, m.name, buyer, tariff, m.count, m.boot, m.register, parked))

    def _bring(self, old: Sale, new: Sale) -> None:
        amount = old.owed
        self._emit(ev.CreditTaken(self.now, old.id, new.id, amount))
        self._emit(ev.CreditBrought(self.now, new.id, old.id, amount))
        self._settle(old)
