"""Settling: from the end of delivery to the receipt. Collect a debt, pay a refund, sign what came of it."""

from typing import Any

from . import actions as do
from . import events as ev
from . import inputs as inp
from . import messages as msg
from . import receipt
from .errors import BadParam, UnknownSession, WrongState
from .inputs import OWED, PAID, SEEN
from .invoicing import OLDER, UNOWNED, Invoicing
from .meter import LOCKOUT, NEGOTIATING, Meter
from .sale import DUST_MSAT, OPEN, Sale
from .shop import NODE_RETRY_MS, RESEND_MS

JOURNAL = "journal"
CLAIM_WAIT_MS = 10_000
REFUND_RETRY_MS, REFUND_RETRY_MOST_MS = 60_000, 21_600_000
FEE_SHARE, LAST_STEP = 100, 2
"""The seller bears a hundredth of what a session earned as fees of its refund: whoever takes part in such a fee gains
no more than that. Beyond, a refund bears its own: less than 1 sat at first, then up to its cap."""
REFUNDS_PER_PEER, REFUNDS_AT_ONCE = 1, 10
"""Refunds under way to one buyer, and to all: a buyer can hold a payment for a day, and node ids cost nothing. A
channel takes 30 payments at once on mainnet, so that most of them stay free for whatever else the node pays."""


def _earned(s: Sale) -> bool:
    """Whether a session earned as much as it gives back: to hold that refund costs its buyer as much as it holds."""
    return s.charged >= s.owed


class Settling(Invoicing):
    """What follows when a session ends, whoever ended it."""

    def _close_session(self, i: inp.CloseSession) -> Sale:
        if i.session in self.openings:
            waiting = self.openings[i.session]
            self._drop_opening(waiting, i.reason)
            return waiting
        s = self.books.sale(i.session)
        if s.phase != OPEN or s.ending_at:
            raise WrongState(f"session {s.id} is ending already")
        self._end(s, i.reason)
        return s

    def _end(self, s: Sale, reason: str, tell: bool = True) -> None:
        m = self.books.meters.get(s.meter)
        if m is None or m.session != s.id or (self._stopped(m, s) and not s.on_hold):
            self._close(s, reason, tell)
        elif not s.ending_at:
            self._emit(ev.CloseAsked(self.now, s.id, reason))
            self._notify("meter_state", m, why=reason)

    def _stopped(self, m: Meter, s: Sale) -> bool:
        """Whether the board can't deliver any more of this session: then the count that it told is the last one.

        A board that was told to stop says that it holds no grant; one that does not state its grant stops at its next
        report, or with the plug out.
        """
        if s.refund_held and (not m.seen or self.books.index < self.books.lost_upto):
            return False  # of an older copy: what was paid and used since has to be told first
        if m.state == NEGOTIATING or (m.count >= s.granted and not s.refund_held):  # nor is it known what was granted
            return True
        if not m.seen:
            return False
        if m.held is None:
            return not m.plugged or 0 < s.ending_at < m.seen
        return m.held == 0 and (not m.plugged or 0 < s.ending_at < m.seen)

    def _close_when_stopped(self, m: Meter, s: Sale) -> None:
        """Close an ending session when its board has stopped and its gates are done.

        After a long silence it is charged, prepaid, as if the board went on to its grant: that was paid for. In
        arrears what was not heard of is the seller's risk, as is all that it trusts.
        """
        waited = self.now - max(s.ending_at, self.resumed_at)
        if s.on_hold:
            return
        if self._stopped(m, s):
            self._close(s, s.reason)
        elif waited >= self.limits.unheard_ms:
            until = s.granted if s.tariff.prepaid else 0
            self._close(s, f"{s.reason}; the board was not heard since", until=until)

    def _close(self, s: Sale, reason: str, tell: bool = True, until: int = 0) -> None:
        """End delivery: the charge becomes final, and what follows is only settling."""
        m = self.books.meter(s.meter)
        s.count = max(s.count, until)
        boot, register, charged = m.boot, m.register, s.charged
        if s.refund_held:  # others may have used what was counted in the lost part: nobody owes for that
            charged = min(charged, s.received)
        self._emit(ev.SessionClosing(self.now, s.id, reason, m.count, until, boot, register, charged))
        s.bolt11 = {n: bolt11 for n, bolt11 in s.bolt11.items() if n in s.out}
        s.spares.queue.clear()
        self._cancel(s)
        self._notify("meter_state", m, why=reason)
        if s.debt >= s.dust_msat:
            self._lock(m, s, more_s=s.tariff.grace_s)  # until it is paid, or for as long as unpaid ones are locked
        if s.buyer and tell:
            self._tell_end(s)
        self._settle(s)

    def _settle(self, s: Sale) -> None:
        """Bring a session that ended to its receipt: collect a debt, pay a refund, sign what came of it."""
        if s.phase == OPEN:
            return
        self._ask_debt(s)
        self._resend(s)
        self._cancel(s)
        self._send_off(s)
        if s.held_msat:
            return  # the receipt waits for the broadcast
        if not s.debt:
            for m in self.books.meters.values():
                if m.state == LOCKOUT and m.lock_session == s.id and not s.tariff.prepaid:
                    self._unlocked(m, "the debt is paid")
        waited = self.now - s.since
        dust = s.lapsed + s.owed < DUST_MSAT and not s.refunding  # in all: a buyer believes no more than that
        if s.owed and not s.refund_held and (dust or not s.buyer) and waited >= s.tariff.remainder_s * 1000:
            self._emit(ev.RemainderLapsed(self.now, s.id, s.owed))
        told = self.books.index >= self.books.lost_upto
        if s.refund_held and not s.owed and not s.refunding and told:
            self._emit(ev.AlarmEnded(self.now, s.id, SEEN, 0, "nothing is owed"))
        if s.void or s.refunding or (s.claimed > s.received and waited < CLAIM_WAIT_MS):
            return
        if s.owed and s.refund_bolt11 and s.firm and not s.refund_held and self._refund_due(s):
            self._start_refund(s)
            return
        if s.debt and not s.revision and waited < s.tariff.grace_s * 1000:
            return
        if (
            s.owed
            and not s.refunded
            and s.buyer
            and not s.refund_bolt11
            and not s.revision
            and waited < s.tariff.grace_s * 1000
        ):
            if self.now >= s.told_at + RESEND_MS:
                self._tell_end(s)
            return
        self._sign(s)

    def _ask_debt(self, s: Sale) -> None:
        """Ask for a debt until an invoice of it expires, then when its buyer comes, or daily: each is two events."""
        if self.now >= s.ask_at:
            self._ask(s)

    def _start_refund(self, s: Sale) -> None:
        """What the seller does not bear of the fee, and the fee does not take, stays owed."""
        s.refund_tried_at = self.now
        cap = max(self.limits.refund_maxfee_msat, s.owed // 100)
        own = min((0, DUST_MSAT - 1, cap)[s.refund_step], cap, s.owed // 2)
        borne = min(self.limits.refund_maxfee_msat, max(0, s.charged // FEE_SHARE - s.fees_borne))
        self._emit(ev.RefundStarted(self.now, s.id, s.owed - own, own + borne, borne))
        fresh = not s.of_older  # else it may have been paid in the lost part: the node is asked first
        self._do(do.PayRefund(s.id, s.refund_bolt11, s.refunding, s.refund_maxfee, fresh=fresh))

    def _refund_due(self, s: Sale) -> bool:
        wait = min(REFUND_RETRY_MOST_MS, REFUND_RETRY_MS << min(s.refund_fails, 10))
        if s.refund_tried_at and self.now < s.refund_tried_at + wait:
            return False
        under_way = [other for other in self.books.sales.values() if other.refunding]
        mine = sum(1 for other in under_way if other.buyer == s.buyer)
        alike = sum(1 for other in under_way if _earned(other) == _earned(s))
        return mine < REFUNDS_PER_PEER and alike < REFUNDS_AT_ONCE // 2

    def _sign(self, s: Sale) -> None:
        figures = repr(s.figures)
        if s.revision and receipt.figures(s.receipt) == s.figures:
            return
        if s.signing == figures and self.now < s.signed_at + NODE_RETRY_MS:
            return
        s.signing, s.signed_at = figures, self.now
        revision = s.next_revision
        self._do(do.Sign(s.id, revision, receipt.text(s, self.node_id, revision)))

    def _signed(self, i: inp.Signed) -> None:
        s = self.books.sales.get(i.session)
        if s is None or i.revision != s.next_revision:
            return
        s.signing, s.touched_at = "", self.now
        self._emit(ev.ReceiptSigned(self.now, s.id, i.revision, i.text, i.signature))
        self._do(do.Notify("meter_closed", {"session": s.id, "meter": s.meter, "reason": s.reason, "receipt": i.text}))
        if s.buyer:
            self._tell_end(s)
        self._settle(s)

    def _tell_end(self, s: Sale) -> None:
        s.told_at = self.now
        if s.void:
            text = "nothing was paid or used; the session is closed"
            self._send(s, msg.Error, by=msg.SELLER, code=UnknownSession.code, text=text)
        elif s.receipt:
            self._send(s, msg.Receipt, text=s.receipt, signature=s.signature)
        else:
            self._send(s, msg.Close, by=msg.SELLER, reason=s.reason)

    def _refund_settled(self, i: inp.RefundSettled) -> None:
        s = self.books.sale(i.session)
        if not s.refunding or i.bolt11 != s.refund_bolt11:
            return
        s.refund_fails, s.refund_step = 0, 0
        if i.amount_msat == s.refunding and (s.refund_maxfee < 0 or i.fee_msat <= s.refund_maxfee):
            self._emit(ev.RefundPaid(self.now, s.id, i.amount_msat, i.fee_msat, i.hash))
        else:
            self._dispute(s, i.amount_msat, i.fee_msat)
        self._settle(s)

    def _dispute(self, s: Sale, amount: int, fee: int) -> None:
        """The hash is paid, but not as this refund was to be: a person has to look, and nothing is paid again."""
        why = f"the refund invoice was paid over {amount} msat and a fee of {fee}; the refund was to be {s.refunding}"
        self._emit(ev.RefundDisputed(self.now, s.id, s.refunding, amount, fee, why))
        self._do(do.Notify("meter_alarm", {"session": s.id, "meter": s.meter, "why": why}))

    def _go_on_from_older(self) -> None:
        """Of an older copy of the journal: what it owes may have been given back since, under another invoice of the
        same buyer. No session goes on, and what each owes waits for a person. What was paid since for sessions that it
        does not know was theirs: it is no credit again."""
        self._emit(ev.JournalReplaced(self.now, JOURNAL, self.older))
        for s in list(self.books.sales.values()):
            m = self.books.meters.get(s.meter)
            if m is not None and m.session == s.id and m.state == NEGOTIATING:
                self._emit(ev.DeliveryStarted(self.now, s.id, m.count))  # it may have been paid since, and used
            if s.owed or s.refunding or s.phase == OPEN:
                self._hold_refund(s)
            if s.phase == OPEN and not s.ending_at:
                self._end(s, OLDER)

    def _attend(self, i: inp.Attend) -> dict[str, Any]:
        """A person has looked at an alarm."""
        if i.name in self.books.unowned:
            if i.how != SEEN:
                raise WrongState(f"how: a payment without an owner can only be {SEEN}, not {i.how}")
            amount = self.books.unowned[i.name]
            self._emit(ev.UnownedSeen(self.now, UNOWNED, i.name, i.note))
            return {"label": i.name, "amount_msat": amount, "how": i.how}
        s = self.books.sale(i.name)
        if not s.alarm:
            raise WrongState(f"session {s.id} has no alarm")
        if (i.how == SEEN) == s.refund_held:
            raise WrongState(
                f"how: the refund of session {s.id} waits to be told {OWED} or {PAID}"
                if s.refund_held
                else f"how: the alarm of session {s.id} can only be {SEEN}, not {i.how}"
            )
        if s.refund_held and s.phase == OPEN:
            raise WrongState(f"session {s.id} has not ended yet: what it owes is not known")
        amount = self._told_by_person(s, i) if i.how != SEEN else 0
        self._emit(ev.AlarmEnded(self.now, s.id, i.how, amount, i.note))
        if s.refunding:
            self._do(do.PayRefund(s.id, s.refund_bolt11, s.refunding, max(0, s.refund_maxfee), fresh=False))
        self._settle(s)
        return {"session": s.id, "meter": s.meter, "owed_msat": s.owed, "how": i.how}

    def _told_by_person(self, s: Sale, i: inp.Attend) -> int:
        """Return how much of a held refund is owed, or was paid."""
        most = s.received - s.refunded - s.taken - s.lapsed
        if i.amount_msat is not None and i.amount_msat > most:
            raise BadParam(f"amount_msat: session {s.id} paid {most} msat that did not come back", param="amount_msat")
        return s.owed if i.amount_msat is None else i.amount_msat

    def _refund_lost(self, i: inp.RefundLost) -> None:
        s = self.books.sale(i.session)
        if s.refunding and i.bolt11 == s.refund_bolt11:
            self._emit(ev.RefundFailed(self.now, s.id, msg.words(i.why), i.final))
            if not i.final and s.refund_step < LAST_STEP:
                s.refund_step, s.refund_tried_at = s.refund_step + 1, 0
            else:
                s.refund_fails, s.refund_step = s.refund_fails + 1, 0
            self._settle(s)
