"""Openings: who asks for a meter and has paid nothing yet holds nothing: no meter, no lock, no row in the journal.

An opening is a session in memory: it has terms and a first invoice, several may wait beside one another, and the
first payment takes the meter. Its invoice's label names meter, session and buyer, so that a payment finds its owner
even where a crash has forgotten the opening. In arrears there is no first payment: the meter is taken when the buyer
agrees, and goes on to the next one who agrees as long as nothing was used.

What openings cost (an invoice of the node, a place in memory) is bounded over all strangers, and for each node id they
grow ever slower. Who has paid before goes past the first bound.
"""

from collections import OrderedDict
from typing import Any

from . import actions as do
from . import events as ev
from . import inputs as inp
from . import messages as msg
from .errors import TooMany, UnknownSession
from .gates import Gates
from .labels import FIRST, First, bearer_session, opening_label
from .meter import STANDBY, Meter
from .quota import Quota
from .sale import OPEN, Sale
from .shop import NODE_RETRY_MS

STRANGERS_PER_S, STRANGERS_BURST = 20, 100
"""Openings of buyers that never paid, over all of them: what is beyond is dropped, and asked for again."""
AGREED_EACH_MS, AGREED_BURST = 30_000, 30
"""Sessions in arrears that strangers may begin: each is a few rows of the journal before anything is used."""
FREE_TRIES, SLOWEST_MS, FORGOTTEN_MS = 3, 600_000, 3_600_000
"""Openings without payment after which a node id has to wait, twice as long each time, until it was quiet for long."""
REMEMBERED = 2_000
UNUSED_MS = 5_000
"""A session in arrears of which nothing was used for so long makes room for another buyer."""


class Openings(Gates):
    """Opens that wait for their first payment, or in arrears for their buyer to agree."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.strangers = Quota(STRANGERS_PER_S, STRANGERS_BURST)
        self.agreed_at: dict[str, list[int]] = {}
        """By meter: when strangers began their sessions in arrears, as far as that still counts."""
        self.unpaid: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Openings of a node id that were not paid in a row, and when the last one ended."""
        self.payers: OrderedDict[str, None] = OrderedDict.fromkeys(
            s.buyer for s in self.books.sales.values() if s.buyer and s.received
        )
        """Buyers that have paid; those whose sessions memory has let go since the start, too."""

    def _known(self, peer: str) -> bool:
        return peer in self.payers

    def _may_agree(self, m: Meter, peer: str) -> bool:
        """Whether a session in arrears may begin: of strangers so many at a meter, and then one each time."""
        begun = self.agreed_at.get(m.name, [])
        self.agreed_at[m.name] = [at for at in begun if self.now < at + AGREED_EACH_MS * AGREED_BURST]
        return self._known(peer) or len(self.agreed_at[m.name]) < AGREED_BURST

    def _begin_opening(self, m: Meter, session: str, peer: str) -> Sale | None:
        """Return a new opening; None where strangers have asked for as many as may be, so that it is asked again."""
        self._may_wait(peer)
        known = self._known(peer)
        if not known and not self.strangers.take("", self.now):
            return None
        for other in [o for o in self.openings.values() if o.buyer == peer and o.meter == m.name]:
            self._drop_opening(other, "opened anew", tell=False, counts=True)
        while len(self.openings) >= self.limits.openings:
            self._drop_opening(self._least(), "others asked for the meter, too")
        s = Sale(session, m.name, peer, m.tariff, opened_at=self.now, since=self.now, count=m.count)
        s.allowance_left = not m.allowance_used
        self.openings[session] = s
        self._ask_first(s)
        return s

    def _least(self) -> Sale:
        """Return the opening that goes first: the oldest one of a stranger."""
        return next((s for s in self.openings.values() if not self._known(s.buyer)), next(iter(self.openings.values())))

    def _may_wait(self, peer: str) -> None:
        tries, at = self.unpaid.get(peer, (0, 0))
        if self.now >= at + FORGOTTEN_MS:
            return
        wait = min(SLOWEST_MS, 1000 << min(tries - FREE_TRIES, 20)) if tries >= FREE_TRIES else 0
        if self.now < at + wait:
            left = (at + wait - self.now + 999) // 1000
            raise TooMany(f"{tries} opens of this node were not paid; the next one may come in {left} s", seconds=left)

    def _ask_first(self, s: Sale) -> None:
        """Ask for the first payment, which opens the session."""
        if s.tariff.onchain:
            s.address_at = self.now
            self._do(do.GiveAddress(s.id, FIRST))
        elif s.tariff.prepaid and (amount := s.next_invoice()):
            s.out = {FIRST: amount}
            self._make_invoice(s, FIRST)

    # --- paid, or agreed to

    def _open_for(self, s: Sale) -> Sale | None:
        m = self.books.meters.get(s.meter)
        if m is None or m.state != STANDBY:
            return None
        self._paid_before(s.buyer)
        return self._promote(m, s)

    def _promote(self, m: Meter, s: Sale, parked: bool = False) -> Sale:
        """Open the session of an opening: what was asked for so far is recorded with it."""
        self.openings.pop(s.id, None)
        tariff = s.tariff.to_dict()
        self._emit(ev.SessionOpened(self.now, s.id, m.name, s.buyer, tariff, m.count, m.boot, m.register, parked))
        new = self.books.sales[s.id]
        new.seq, new.told_at, new.sent, new.address_at = s.seq, s.told_at, s.sent, 0
        for g in s.txs.values():
            self._emit(ev.AddressGiven(self.now, s.id, g.k, g.address, g.feerate))
        for n, amount in s.out.items():
            self._emit(ev.InvoiceAsked(self.now, s.id, n, amount, m.count))
        self._notify("meter_state", m, buyer=s.buyer)
        return new

    def _paid_before(self, peer: str) -> None:
        self.unpaid.pop(peer, None)
        self.payers[peer] = None
        self.payers.move_to_end(peer)
        if len(self.payers) > REMEMBERED:
            self.payers.popitem(last=False)

    def _opening_paid(self, first: First, i: inp.InvoiceSettled, upto: int) -> bool:
        m, s = self.books.meters.get(first.meter), self.books.sales.get(first.session)
        if s is not None and (s.meter, s.buyer) == (first.meter, first.buyer):
            self._credit(s, 0, i, upto)
            return True
        if m is None:
            return False
        waiting = self._opening_of(first) or self._forgotten(m, first)
        parked = m.state != STANDBY or waiting.id != first.session
        waiting.out = waiting.out or {FIRST: i.amount_msat}
        self._paid_before(first.buyer)
        new = self._promote(m, waiting, parked)
        self._emit(ev.InvoicePaid(self.now, new.id, FIRST, i.amount_msat, i.index, i.hash, m.count, upto))
        if parked:
            self._close(new, "paid while the meter was not free, or for terms that it has no more")
        self.just_paid = new.id
        self._after(new)
        self.just_paid = ""
        return True

    def _forgotten(self, m: Meter, first: First) -> Sale:
        """Return an opening that a crash has forgotten, as it was. Where that can't be (the terms are others by now,
        its id is another's), the payment gets a session of its own, which only keeps it."""
        taken = first.session in self.openings or first.session in self.books.sales
        same = not taken and m.tariff.mark == first.terms and self.recall(first.session) is None
        known = first.session if same else bearer_session(opening_label(self.journal, first))
        return Sale(known, m.name, first.buyer, m.tariff, opened_at=self.now)

    def _agree(self, s: Sale) -> None:
        """The buyer takes the terms, in arrears: it gets the meter, if nobody has it who uses it."""
        if s.id not in self.openings:
            s.agreed = True
            self._after(s)
            return
        m = self.books.meters.get(s.meter)
        if m is None or s.tariff.prepaid or m.undeliverable(self.now, self.limits.silent_ms):
            return
        if not self._may_agree(m, s.buyer):
            raise TooMany("this meter serves no more buyers in arrears just now who never paid")
        holder = self.books.sales.get(m.session)
        if holder is not None and not holder.ending_at and self._unused(holder):
            self._end(holder, "not used, and another buyer asked for the meter")
        if m.state == STANDBY:
            if not self._known(s.buyer):
                self.agreed_at[m.name].append(self.now)
            new = self._promote(m, s)
            new.agreed = True
            self._after(new)

    def _unused(self, s: Sale) -> bool:
        """Whether a session in arrears holds its meter by nothing: no payment, and no use, or next to none and long
        ago."""
        if s.tariff.prepaid or s.received or s.on_hold or s.charged >= s.tariff.slice_msat:
            return False
        idle_ms = s.tariff.grace_s * 1000 if s.ticks else UNUSED_MS
        return self.now >= max(s.opened_at, s.used_at, self.resumed_at) + idle_ms

    # --- time, and the end

    def _look_after_openings(self) -> None:
        for s in list(self.openings.values()):
            m = self.books.meters.get(s.meter)
            if m is None or not m.plugged:
                self._drop_opening(s, "unplugged" if m is not None else "the meter was removed")
            elif self.now >= max(s.since, self.resumed_at) + s.tariff.grace_s * 1000:
                self._unpaid_in_time(m, s)
            elif s.tariff.onchain and not s.txs and self.now >= s.address_at + NODE_RETRY_MS:
                self._ask_first(s)
            else:
                self._resend(s)

    def _unpaid_in_time(self, m: Meter, s: Sale) -> None:
        """Forget an opening. The plug is locked where nobody else waits for it, and the allowance was used up since."""
        asked = bool(s.bolt11) or not s.tariff.prepaid
        drawn = s.allowance_left and m.allowance_used and not m.undeliverable(self.now, self.limits.silent_ms)
        why = "not paid in time" if s.tariff.prepaid else "the terms were not answered"
        self._drop_opening(s, why, counts=asked and m.state == STANDBY)
        waits = bool(m.offers) or any(other.meter == m.name for other in self.openings.values())
        if asked and drawn and not waits:
            self._lock(m, s)

    def _drop_opening(self, s: Sale, reason: str, tell: bool = True, counts: bool = False) -> None:
        self.openings.pop(s.id, None)
        if tell:
            self._send(s, msg.Close, by=msg.SELLER, reason=reason)
        if s.out and not s.tariff.onchain:
            self._do(do.CancelInvoice(opening_label(self.journal, s.first)))
        if not counts:
            return
        tries, at = self.unpaid.pop(s.buyer, (0, 0))
        self.unpaid[s.buyer] = (tries + 1 if self.now < at + FORGOTTEN_MS else 1, self.now)
        if len(self.unpaid) > REMEMBERED:
            self.unpaid.popitem(last=False)

    def _close_opening(self, s: Sale) -> None:
        """The buyer closes what it never paid for: there is nothing to settle, and nothing to sign."""
        self._drop_opening(s, "closed by the buyer", tell=False, counts=True)
        text = "nothing was paid for the session; it is closed"
        self._send(s, msg.Error, by=msg.SELLER, code=UnknownSession.code, text=text)

    def _rejects_first(self, first: First, now: int) -> str:
        """Return why a first payment can't be delivered now, "" if it can (the invoice_payment hook). Reads only."""
        m = self.books.meters.get(first.meter)
        if m is None:
            return "the meter is gone"
        waiting = self.openings.get(first.session)
        if first.session in self.books.sales or (waiting is not None and waiting.first != first):
            return "the invoice is superseded"
        if waiting is None and m.tariff.mark != first.terms:
            return "the terms have changed"
        sales = list(self.books.sales.values())  # at once: another thread changes them
        if any(s.buyer == first.buyer and s.phase != OPEN and s.debt >= s.dust_msat for s in sales):
            return "its buyer owes for an earlier session"
        why = m.undeliverable(now, self.limits.silent_ms)
        if why:
            return why
        return "" if m.state == STANDBY else "another session has the meter"
