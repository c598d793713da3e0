"""Paying: terms and invoices against the policy, and what became of each payment.

A payment is PaymentStarted before the node is asked to pay, and stays in flight, counted as spent with its highest fee,
until the node says what became of it.
"""

import json
from dataclasses import replace
from typing import Any

from . import actions as do
from . import events as ev
from . import inputs as inp
from . import messages as msg
from . import policy
from .errors import BadMessage, ClockWrong, OverCap, PolicyBreach, SatmeterError, WrongState
from .parting import Parting
from .purchase import CLOSED, CLOSING, OPENING, PAUSED, STREAMING, Purchase
from .tariff import Tariff

AHEAD = 64
"""Invoices that are looked at ahead, for the widest window."""
FLIGHTS = 10
"""Payments of one stream at once, whatever window its seller has: held ones must not use up the node's HTLCs."""
INSPECT_MS = 60_000
SENSOR_MS = 30_000
EXPIRED_S, EXPIRED_AGAIN_MS = 10, 10_000
"""A message may take so long; an invoice that expired earlier than that was made by another clock, or is an old one:
then its seller makes another within this time."""


class Paying(Parting):
    """What a stream costs, and whether it is paid."""

    def _terms(self, p: Purchase, m: msg.Terms) -> None:
        try:
            values = json.loads(m.tariff)
            if not isinstance(values, dict):
                raise ValueError("not a JSON object")
            tariff = Tariff.from_dict(values)
        except (ValueError, TypeError, RecursionError, SatmeterError) as e:
            raise BadMessage(f"the seller's terms can't be read: {e}") from None
        if p.state == OPENING:
            self._carried_in(p, m.carried_msat)
            policy.check_terms(p.policy, tariff)
            self._emit(ev.TermsAgreed(self.now, p.id, tariff.to_dict(), m.carried_msat))
            if p.sensor_boot:
                self._sensor_starts(p, p.sensor_boot, p.sensor_offset, p.sensor_count)
            self._notify(p)
            self._agree(p, tariff)
        elif p.state == CLOSED and not p.receipt and (m.carried_msat or p.paid or p.flights):
            if not p.carried:
                p.touched_at = self.now
                self._carried_in(p, m.carried_msat)
            self._close_when_landed(p)  # we had given up; what the seller holds of ours has to come back
        elif p.tariff is not None and tariff != p.tariff:
            raise PolicyBreach("the seller changed the terms of a running session")
        elif p.state in (STREAMING, PAUSED):
            self._agree(p, tariff)

    def _agree(self, p: Purchase, t: Tariff) -> None:
        if not t.prepaid:
            self._send(p, msg.Agree)

    def _invoice(self, p: Purchase, m: msg.Invoice) -> None:
        if p.was_handled(m.n) or m.n in p.flights or p.tariff is None or not p.pays:
            return
        if p.tariff.onchain:
            raise PolicyBreach("a Lightning invoice, where on-chain settlement was agreed")
        p.invoices = {n: known for n, known in p.invoices.items() if self.now < known[1] + INSPECT_MS and n != m.n}
        if len(p.flights) + len(p.invoices) >= FLIGHTS:
            return  # it is sent again
        self._told(p, p.tariff, m)
        p.invoices[m.n] = (m, self.now)
        pending = m.bolt11 in p.ahead
        known = p.ahead.pop(m.bolt11, None)
        if known is not None:
            self._inspected(replace(known, n=m.n))
        elif not pending:
            self._do(do.Inspect(p.id, m.n, m.bolt11))
        if m.ahead and m.ahead not in p.ahead:
            p.ahead = dict([*p.ahead.items(), (m.ahead, None)][-AHEAD:])
            self._do(do.Inspect(p.id, 0, m.ahead))

    def _told(self, p: Purchase, t: Tariff, m: msg.Invoice | msg.Increment) -> None:
        """Check the count that a message states against the newest one told before; messages may overtake another."""
        last, since = (p.told_ticks, p.told_at) if p.told_at else (p.ticks, p.ticks_at)
        if m.ticks < last and m.seq < p.told_seq:
            return
        policy.check_progress(t, m.ticks, last, self.now - since)
        policy.check_progress(t, m.ticks, 0, self.now - p.agreed_at)
        p.told_ticks, p.told_seq, p.told_at = m.ticks, max(p.told_seq, m.seq), self.now

    def _take(self, session: str, n: int, bolt11: str) -> tuple[Purchase, msg.Invoice] | None:
        """Return what an inspection is about, once; None where it is not (or no more) the invoice that we asked about:
        what is paid has to be the very text that was inspected."""
        p = self.ledger.purchases.get(session)
        m, _ = p.invoices.get(n, (None, 0)) if p is not None else (None, 0)
        if p is None or m is None or m.bolt11 != bolt11:
            return None
        del p.invoices[n]
        return p, m

    def _inspected(self, i: inp.Inspected) -> None:
        if not i.n:
            self._looked_ahead(i)
            return
        taken = self._take(i.session, i.n, i.bolt11)
        if taken is None:
            return
        p, m = taken
        if p.tariff is None or p.was_handled(i.n) or i.n in p.flights or not p.pays:
            return
        if i.expires_at <= self.now or self._sensor_silent(p):
            if i.expires_at <= self.now:
                self._expired(p, i)
            return  # the seller makes another, or asks again
        known = self.ledger.hashes.get(i.hash)
        try:
            policy.check_invoice(p.policy, p.seller, i.payee, m.amount_msat, i.amount_msat, i.final_cltv)
            if known not in (None, (p.id, m.n)):
                raise PolicyBreach(f"the invoice has the hash of one that was asked for before: {known}", hash=i.hash)
            self._check_due(p, p.tariff, m, p.carried + p.paid)
            self._check_caps(p, m.amount_msat, p.fee_left)
        except PolicyBreach as e:
            self._breach(p, e, m.n, message=m.bolt11)
            return
        except OverCap as e:
            self._over_cap(p, e, m.n)
            return
        try:
            self._check_due(p, p.tariff, m, p.committed)
        except PolicyBreach:
            return  # too much only beside a payment that hangs, which the seller can't know of: it asks again
        p.expired_n = 0
        fee, fresh = p.fee_left, known is None
        self._emit(ev.PaymentStarted(self.now, p.id, m.n, m.amount_msat, fee, i.hash, m.ticks))
        self._do(do.Pay(p.id, p.seller, m.n, i.hash, fee, p.policy.maxdelay, i, fresh))

    def _expired(self, p: Purchase, i: inp.Inspected) -> None:
        """An invoice that had expired long before it came. An old one may have been on its way; where it is the first
        of a stream, the second one in a row, or goes on coming, the two clocks differ, and none can ever be paid."""
        late_s = (self.now - i.expires_at) // 1000
        if late_s < EXPIRED_S or p.state in (CLOSING, CLOSED):
            return
        since = p.expired_at if p.expired_n == i.n else self.now
        if (p.payments or p.carried) and p.expired_n in (0, i.n) and self.now < since + EXPIRED_AGAIN_MS:
            p.expired_n, p.expired_at = i.n, since
            return
        text = f"the invoice expired {late_s} s before it came: the seller's clock is behind, or ours is ahead"
        self._breach(p, ClockWrong(text), i.n)

    def _looked_ahead(self, i: inp.Inspected) -> None:
        p = self.ledger.purchases.get(i.session)
        if p is None:
            return
        asked = [n for n, (m, _) in p.invoices.items() if m.bolt11 == i.bolt11]
        if asked:
            self._inspected(replace(i, n=asked[0]))
        elif i.bolt11 in p.ahead:
            p.ahead[i.bolt11] = i

    def _check_due(self, p: Purchase, t: Tariff, m: msg.Invoice | msg.Increment, paid: int) -> None:
        ticks = max(m.ticks, p.told_ticks)
        charged = max(m.charged_msat, t.charge(ticks))
        policy.check_amount(p.policy, t, m.amount_msat, paid, ticks, charged)
        policy.check_pace(p.policy, t, paid + m.amount_msat, self.now - p.agreed_at)
        if p.own_ticks is not None and p.state == STREAMING:
            policy.check_sensor(p.policy, ticks, p.own_ticks)
        if not t.prepaid:
            self._check_debt(p, t, m, charged)

    def _check_debt(self, p: Purchase, t: Tariff, m: msg.Invoice | msg.Increment, charged: int) -> None:
        """In arrears no more can be owed than the limit: the board cuts there. After a close nothing that was used
        later is paid for, and no more in all than could be owed then."""
        # The board may pass its grant by a sample, which is not charged: by its ticks more may be claimed, by a slice.
        most = max(p.committed, m.paid_msat) + t.limit_msat  # somebody else may have paid an invoice of ours
        if m.charged_msat > most or charged > most + t.slice_msat:
            raise PolicyBreach(f"{charged} msat claimed; {p.committed} are paid, and the limit is {t.limit_msat}")
        if p.most < 0:
            return
        if p.committed + m.amount_msat > p.most:
            raise PolicyBreach(
                f"{m.amount_msat} msat asked after the close; {p.may_still_pay} of {p.most} in all are left"
            )
        if 0 <= p.most_ticks < m.ticks:
            raise PolicyBreach(f"{m.ticks} ticks claimed; the own sensor had at most {p.most_ticks} at the close")

    def _sensor_silent(self, p: Purchase) -> bool:
        """Whether an own sensor that was heard before is not heard now: without it nothing more is paid."""
        silent = bool(p.sensor_boot) and p.state == STREAMING and self.now - p.sensor_at >= SENSOR_MS
        waits = "the own sensor is silent" if silent else ""
        if waits != p.waits:
            p.waits = waits
            self._notify(p, why=waits)
        return silent

    def _check_caps(self, p: Purchase, amount: int, fee: int) -> None:
        most = amount + fee
        if amount > p.policy.max_invoice_msat:
            raise OverCap(f"an invoice of {amount} msat is over the cap of {p.policy.max_invoice_msat}")
        if p.sent + p.stray + p.in_flight + most + p.kept_back > p.policy.budget_msat:
            raise OverCap(f"the budget of {p.policy.budget_msat} msat is used up")
        if p.policy.day_msat and self.ledger.spent_on(self.now) + most > p.policy.day_msat:
            raise OverCap(f"the day's budget of {p.policy.day_msat} msat is used up")

    def _undecodable(self, i: inp.Undecodable) -> None:
        taken = self._take(i.session, i.n, i.bolt11)
        if taken is not None:
            self._breach(taken[0], PolicyBreach(f"an invoice that the node can't decode: {i.why}"), i.n)

    def _breach(self, p: Purchase, e: SatmeterError, n: int, **evidence: Any) -> None:
        """Stop paying, say why, keep the evidence."""
        self._refuse(p, n, e.message, {**e.data, **evidence, "error": e.name})
        self._send(p, msg.Error, by=msg.BUYER, code=e.code, text=msg.words(e.message), n=n)
        self._notify(p, why=e.message)
        if p.state == OPENING:
            self._end(p, f"{e.name}: {e.message}", e.code)
        elif p.state in (STREAMING, PAUSED):
            self._begin_close(p, f"refused: {e.message}")

    def _over_cap(self, p: Purchase, e: OverCap, n: int) -> None:
        """A cap of our own is reached: no breach of the seller's, the stream just ends."""
        if p.state == STREAMING:
            self._refuse(p, n, e.message, {"error": e.name})
            self._begin_close(p, e.message)

    def _paid(self, i: inp.PaymentDone) -> None:
        p = self.ledger.purchases.get(i.session)
        if p is not None and (i.n in p.flights or i.n in p.strays):
            self._emit(ev.PaymentSettled(self.now, p.id, i.n, i.sent_msat))
            if p.payments == 1:
                self._notify(p)
            self._landed(p)

    def _landed(self, p: Purchase) -> None:
        if p.state == CLOSING:
            self._close_when_landed(p)

    def _give_up(self, i: inp.GiveUpPayment) -> Purchase:
        p = self.purchase(i.session)
        if i.n not in p.flights or not p.flights[i.n].hash:
            raise WrongState(f"n: stream {p.id} has no payment {i.n} in flight")
        self._emit(ev.PaymentGivenUp(self.now, p.id, i.n))
        self._landed(p)
        return p

    def _payment_known(self, i: inp.PaymentKnown) -> None:
        """The node had paid this hash before our first try, for something else: nothing was paid for this invoice."""
        p = self.ledger.purchases.get(i.session)
        if p is None or i.n not in p.flights:
            return
        known = p.flights[i.n].hash
        self._emit(ev.PaymentFailed(self.now, p.id, i.n, "the node had paid this hash before"))
        self._breach(p, PolicyBreach("the invoice has a hash that the node paid before", hash=known), i.n)
        self._landed(p)

    def _lost(self, i: inp.PaymentLost) -> None:
        p = self.ledger.purchases.get(i.session)
        if p is None or i.n not in p.flights:
            return
        self._emit(ev.PaymentFailed(self.now, p.id, i.n, msg.words(i.why)))
        self._landed(p)

    def _sensor_starts(self, p: Purchase, boot: str, offset: int, start: int | None) -> None:
        self._emit(ev.SensorBooted(self.now, p.id, boot, offset, start))

    def _may_have_run(self, p: Purchase, t: Tariff) -> int:
        """Return the ticks that may have run before the sensor was heard: what was invoiced, and what is at risk."""
        begun = p.payments or p.flights or p.carried or not t.prepaid  # in flight for us, it may be credited there
        return p.ticks + (t.ticks(t.quantum_msat if t.prepaid else t.limit_msat) if begun else 0)
