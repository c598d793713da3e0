"""Openings: sessions that wait for their first payment. They reserve no meter, lock nobody, and are not in the journal.

An opening is a session in memory: it has terms and a first invoice, several may wait beside one another, and the
first payment takes the meter. Its invoice's label names meter, session and buyer, so that a payment finds its owner
even where a crash has forgotten the opening. In arrears there is no first payment: the meter is taken when the buyer
agrees, and goes on to the next one who agrees as long as nothing was used.

Openings (each costs an invoice of the node, and a place in memory) have a limit over all strangers, and each unpaid one
doubles the wait of its node id. The first limit is not for buyers that have paid before.
"""

from collections import OrderedDict

from .. import commands as cmd
from .. import messages as msg
from ..errors import LockedOut, TooMany, UnknownSession
from ..labels import FIRST, First, bearer_session, opening_label
from ..plain import keep_newest
from ..ratelimit import RateLimit, backoff_ms
from ..states import MeterState
from ..tariff import Tariff
from . import events as ev
from .context import Part, SellerContext
from .meter import Meter
from .session import SellerSession

STRANGERS_PER_S, STRANGERS_BURST = 20, 100
"""Openings of buyers that never paid, over all of them: what is beyond is dropped, and asked for again."""
AGREED_EACH_MS, AGREED_BURST = 30_000, 30
"""Sessions in arrears that strangers may begin: each is a few rows of the journal before anything is used."""
FREE_TRIES, SLOWEST_MS, FORGOTTEN_MS = 3, 600_000, 3_600_000
"""Openings without payment after which a node id has to wait, twice as long each time, until it was quiet for long."""
REMEMBERED = 2_000
UNUSED_MS = 5_000
"""A session in arrears of which nothing was used for so long makes room for another buyer."""


class Openings(Part):
    """Opens that wait for their first payment, or in arrears for their buyer to agree; and how a session begins."""

    def __init__(self, context: SellerContext) -> None:
        super().__init__(context)
        self.strangers = RateLimit(STRANGERS_PER_S, STRANGERS_BURST)
        self.agreed_at: dict[str, list[int]] = {}
        """By meter: when strangers began their sessions in arrears, as far as that still counts; after a restart those
        of the sessions that are remembered."""
        self.unpaid: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Openings of a node id that were not paid in a row, and when the last one ended."""
        self.payers: OrderedDict[str, None] = OrderedDict.fromkeys(
            session.buyer for session in self.state.sessions.values() if session.buyer and session.received_msat
        )
        """Buyers that have paid; those whose sessions memory has no more, too."""
        for session in self.state.sessions.values():
            if session.buyer and not session.tariff.prepaid and not self._known(session.buyer):
                self.agreed_at.setdefault(session.meter, []).append(session.opened_at)

    def _known(self, peer: str) -> bool:
        return peer in self.payers

    def _may_agree(self, meter: Meter, peer: str) -> bool:
        """Whether a session in arrears may begin: of strangers so many at a meter, and then one each time."""
        begun = self.agreed_at.get(meter.name, [])
        self.agreed_at[meter.name] = [at for at in begun if at <= self.now < at + AGREED_EACH_MS * AGREED_BURST]
        return self._known(peer) or len(self.agreed_at[meter.name]) < AGREED_BURST

    def begin(self, meter: Meter, session_id: str, peer: str) -> SellerSession | None:
        """Return a new opening; None where strangers have asked for as many as may be, so that it is asked again."""
        self._may_wait(peer)
        known = self._known(peer)
        if not known and not self.strangers.take("", self.now):
            return None
        theirs = [each for each in self.context.waiting.values() if (each.buyer, each.meter) == (peer, meter.name)]
        for other in theirs:
            self.drop(other, "opened anew", tell=False, counts=True)
        while len(self.context.waiting) >= self.limits.openings:
            self.drop(self._least(), "others asked for the meter, too")
        session = SellerSession(
            session_id, meter.name, peer, meter.tariff, opened_at=self.now, since=self.now, count=meter.count
        )
        session.memory.allowance_left = not meter.allowance_used
        self.context.waiting[session_id] = session
        self.touch(session_id)
        self.context.settlement(session).ask_first(session)
        return session

    def _least(self) -> SellerSession:
        """Return the opening that goes first: the oldest one of a stranger."""
        return next(
            (session for session in self.context.waiting.values() if not self._known(session.buyer)),
            next(iter(self.context.waiting.values())),
        )

    def _may_wait(self, peer: str) -> None:
        tries, at = self.unpaid.get(peer, (0, 0))
        if self.now >= at + FORGOTTEN_MS:
            return
        wait = backoff_ms(1000, SLOWEST_MS, tries - FREE_TRIES) if tries >= FREE_TRIES else 0
        if self.now < at + wait:
            left = (at + wait - self.now + 999) // 1000
            raise TooMany(f"{tries} opens of this node were not paid; the next one may come in {left} s", seconds=left)

    # --- paid, or agreed to

    def open_for(self, session: SellerSession) -> SellerSession | None:
        """Open the session of an opening that is paid now by an update.

        None where its meter is not free, or where it would not be begun any more (see _why_not)."""
        meter = self.state.meters.get(session.meter)
        if meter is None or meter.state != MeterState.STANDBY:
            return None
        why = self._why_not(meter, session, sum(session.out.values()))
        if why:
            self.drop(session, why)
            return None
        self.paid_before(session.buyer)
        return self._promote(meter, session)

    def _why_not(self, meter: Meter, session: SellerSession, amount_msat: int) -> str:
        """Returns why the session of an opening is not begun, though nothing was against it when it came; "" if it is.

        While it waited its buyer may have left a debt at another meter, or others may have taken the room that
        there was on-chain."""
        try:
            self.context.peers.refuse_debtor(meter, session.buyer)
        except LockedOut as error:
            return error.message
        return self.context.settlement(session).why_full(session, amount_msat)

    def _promote(self, meter: Meter, session: SellerSession, parked: bool = False) -> SellerSession:
        """Open the session of an opening: what was asked for so far is recorded with it."""
        self.context.waiting.pop(session.id, None)
        new = self._opened(meter, session.id, session.buyer, session.tariff, parked)
        new.memory.sequence, new.memory.told_at = session.memory.sequence, session.memory.told_at
        new.memory.asking = session.memory.asking
        self.context.settlement(session).begun(new, session)
        for number, amount in session.out.items():
            self.emit(
                ev.InvoiceAsked(at=self.now, subject=session.id, number=number, amount_msat=amount, count=meter.count)
            )
        self.context.notify("meter_state", meter, buyer=session.buyer)
        return new

    def paid_before(self, peer: str) -> None:
        """Remember that a buyer has paid."""
        self.unpaid.pop(peer, None)
        self.payers[peer] = None
        self.payers.move_to_end(peer)
        keep_newest(self.payers, REMEMBERED)

    def paid(self, first: First, command: cmd.InvoiceSettled, owned_up_to: int) -> bool:
        """Credit the first payment of a session, which opens it; False where its meter is unknown."""
        meter, session = self.state.meters.get(first.meter), self.state.sessions.get(first.session)
        if session is not None and (session.meter, session.buyer) == (first.meter, first.buyer):
            self.context.payments.credit(session, 0, command, owned_up_to)
            return True
        if meter is None:
            return False
        waiting = self.context.opening_of(first) or self._forgotten(meter, first)
        if waiting.id in self.state.sessions:  # the same label was paid before, too
            self.context.payments.credit(self.state.sessions[waiting.id], 0, command, owned_up_to)
            return True
        parked = meter.state != MeterState.STANDBY or waiting.id != first.session
        waiting.out = waiting.out or {FIRST: command.amount_msat}
        self.paid_before(first.buyer)
        new = self._promote(meter, waiting, parked)
        self.context.payments.record(new.id, FIRST, command, meter.count, owned_up_to)
        if parked:
            self.context.closing.close(new, "paid while the meter was not free, or for terms that it has no more")
        self.context.just_paid = new.id
        self.context.metering.proceed(new)
        self.context.just_paid = ""
        return True

    def _forgotten(self, meter: Meter, first: First) -> SellerSession:
        """Returns an opening that a crash removed from memory, made anew from its label.

        Where the terms have changed since, or its id belongs to another session, the returned one has
        an id of its own: it only keeps the payment."""
        taken = first.session in self.context.waiting or first.session in self.state.sessions
        same = not taken and meter.tariff.mark == first.terms and self.context.recall(first.session) is None
        known = first.session if same else bearer_session(opening_label(self.context.journal, first))
        return SellerSession(known, meter.name, first.buyer, meter.tariff, opened_at=self.now)

    def agree(self, session: SellerSession) -> None:
        """The buyer takes the terms, in arrears: it gets the meter, if nobody has it who uses it."""
        if session.id not in self.context.waiting:
            session.memory.agreed = True
            self.context.metering.proceed(session)
            return
        meter = self.state.meters.get(session.meter)
        if meter is None or session.tariff.prepaid or meter.undeliverable(self.now, self.limits.silent_ms):
            return
        why = self._why_not(meter, session, session.tariff.slice_msat)
        if why:
            self.drop(session, why)
            return
        if not self._may_agree(meter, session.buyer):
            raise TooMany("this meter takes no more buyers in arrears now who have never paid; try again later")
        holder = self.state.sessions.get(meter.session)
        if holder is not None and not holder.ending and self.unused(holder):
            self.context.closing.end(holder, "not used, and another buyer asked for the meter")
        if meter.state == MeterState.STANDBY:
            if not self._known(session.buyer):
                self.agreed_at[meter.name].append(self.now)
            new = self._promote(meter, session)
            new.memory.agreed = True
            self.context.metering.proceed(new)

    def unused(self, session: SellerSession) -> bool:
        """Returns whether a session in arrears has to make room for another buyer.

        All of these have to hold: nothing was paid or reserved; the charge is under one slice; nothing was used for
        UNUSED_MS, or for the grace time once at least one tick was used."""
        tariff = session.tariff
        paid = session.received_msat or session.reserved_msat
        if tariff.prepaid or paid or session.charged_msat >= tariff.slice_msat:
            return False
        idle_ms = tariff.grace_s * 1000 if session.ticks else UNUSED_MS
        return self.now >= max(session.opened_at, session.memory.used_at, self.context.resumed_at) + idle_ms

    # --- time, and the end

    def look_after(self) -> None:
        """Ask again for first payments, and forget openings whose time is over."""
        for session in list(self.context.waiting.values()):
            meter = self.state.meters.get(session.meter)
            if meter is None or not meter.memory.plugged:
                self.drop(session, "unplugged" if meter is not None else "the meter was removed")
            elif self.now >= max(session.since, self.context.resumed_at) + session.tariff.grace_s * 1000:
                self._unpaid_in_time(meter, session)
            else:
                self.context.settlement(session).ask_first_again(session)

    def _unpaid_in_time(self, meter: Meter, session: SellerSession) -> None:
        """Forget an opening. The plug is locked where nobody else waits for it, and the allowance was used up since."""
        asked = bool(session.asked_for) or not session.tariff.prepaid
        deliverable = not meter.undeliverable(self.now, self.limits.silent_ms)
        drawn = session.memory.allowance_left and meter.allowance_used and deliverable
        why = "not paid in time" if session.tariff.prepaid else "the terms were not answered"
        self.drop(session, why, counts=asked and meter.state == MeterState.STANDBY)
        waits = bool(meter.wallet_invoices) or any(other.meter == meter.name for other in self.context.waiting.values())
        if asked and drawn and not waits:
            self.context.meters.lock(meter, session)

    def drop(self, session: SellerSession, reason: str, tell: bool = True, counts: bool = False) -> None:
        """Forget an opening that was not paid; `counts`: that was its buyer's own doing."""
        self.context.waiting.pop(session.id, None)
        self.touch(session.id)
        if tell:
            self.context.send(session, msg.Close, by=msg.SELLER, reason=reason)
        self.context.settlement(session).cancel_first(session)
        if not counts:
            return
        tries, at = self.unpaid.pop(session.buyer, (0, 0))
        self.unpaid[session.buyer] = (tries + 1 if self.now < at + FORGOTTEN_MS else 1, self.now)
        keep_newest(self.unpaid, REMEMBERED)

    def close(self, session: SellerSession) -> None:
        """The buyer closes what it never paid for: there is nothing to settle, and nothing to sign."""
        self.drop(session, "closed by the buyer", tell=False, counts=True)
        text = "nothing was paid for the session; it is closed"
        self.context.send(session, msg.Error, by=msg.SELLER, code=UnknownSession.code, text=text)

    # --- sessions that begin without an opening

    def open_session(self, meter: Meter, session_id: str, buyer: str, parked: bool = False) -> SellerSession:
        """Open a session at a meter's present terms. `parked`: it only keeps money, and takes no meter."""
        return self._opened(meter, session_id, buyer, meter.tariff, parked)

    def _opened(self, meter: Meter, session_id: str, buyer: str, tariff: Tariff, parked: bool) -> SellerSession:
        self.emit(
            ev.SessionOpened(
                at=self.now,
                subject=session_id,
                meter=meter.name,
                buyer=buyer,
                tariff=tariff,
                count=meter.count,
                boot=meter.boot,
                register=meter.register,
                parked=parked,
            )
        )
        return self.state.sessions[session_id]

    def bring(self, old: SellerSession, new: SellerSession) -> None:
        """Bring what an ended session owes into a new one of the same buyer."""
        amount = old.owed_msat
        self.emit(ev.CreditTaken(at=self.now, subject=old.id, target=new.id, amount_msat=amount))
        self.emit(ev.CreditBrought(at=self.now, subject=new.id, source=old.id, amount_msat=amount))
        self.context.closing.wind_up(old)
