"""Buyers: what they say, and how they come and go."""

from .. import commands as cmd
from .. import effects as do
from .. import messages as msg
from ..errors import (
    BadParam,
    BoardSilent,
    ClockWrong,
    JournalTrouble,
    LockedOut,
    MeterTaken,
    SatmeterError,
    TooMany,
    UnknownMeter,
    UnknownSession,
)
from ..labels import OWN_SESSION
from ..plain import keep_newest
from ..states import MeterState
from . import events as ev
from .context import Part, SellerContext
from .meter import Meter
from .openings import REMEMBERED
from .refunds import INVOICES, RETRY_MS
from .session import SellerSession

REFUND_FAILS, RECONNECTED_MS = 3, 600_000
"""A buyer who comes back has its refund tried again at once; after so many failures not sooner than this."""
EXCUSED, DOUBTED_MS = 5, 3_600_000
"""Opens of a node id that are not held against it since it says that a clock is wrong; and how often that is told."""


class Peers(Part):
    """Messages of buyers, and their connections."""

    def __init__(self, context: SellerContext) -> None:
        super().__init__(context)
        self.excused: dict[str, int] = {}
        self.doubted_at: dict[str, int] = {}
        """By meter: when it was told last that a buyer doubts this machine's clock."""

    def message(self, command: cmd.FromPeer) -> None:
        """A message of a buyer. What it breaks is answered with an error message, and changes nothing."""
        try:
            session = self.context.live(command.message.session)
            if session is not None and session.buyer == command.peer:
                session.memory.gone_at = 0
            ended = self.context.recall(command.message.session) if session is None else None
            known = session or ended
            if known is not None and known.buyer != command.peer:
                raise UnknownSession("session: not one of yours")
            if ended is not None and isinstance(command.message, msg.Error):
                return  # an error is never answered with an error: that would be an endless loop
            if ended is not None and ended.receipt:
                receipt_message = msg.Receipt(command.message.session, self.now, ended.receipt, ended.signature)
                self.act(do.Send(peer=command.peer, message=receipt_message))
            elif isinstance(command.message, msg.Open) and ended is None:
                self._open(command.peer, command.message)
            elif session is None:
                raise UnknownSession(f"session: {command.message.session} is not live here")
            elif isinstance(command.message, msg.Update):
                self.context.onchain.update(session, command.message)
            elif isinstance(command.message, msg.Close):
                self._close(session, command.message)
            elif isinstance(command.message, msg.Agree):
                self.context.openings.agree(session)
            elif isinstance(command.message, msg.Error):
                self._error(session, command.message)
        except JournalTrouble:
            return  # said to our own operator; the buyer says it again
        except SatmeterError as error:
            if not isinstance(command.message, msg.Error):
                answer = msg.Error(command.message.session, self.now, msg.SELLER, error.code, msg.words(error.message))
                self.act(do.Send(peer=command.peer, message=answer))

    def _open(self, peer: str, message: msg.Open) -> None:
        session = self.context.live(message.session) or self._new_session(peer, message)
        if session is None:
            return
        if session.open:
            self.context.invoices.send_terms(session)
            self.context.invoices.send_all(session)
            if session.id not in self.context.waiting:
                self.context.metering.proceed(session)
        else:
            self.context.closing.tell_end(session)

    def _new_session(self, peer: str, message: msg.Open) -> SellerSession | None:
        """Returns an opening, or a session at once where the buyer brings enough credit.

        None: too many strangers ask at this moment, and the buyer has to ask again. Enough credit is at
        least one tick's price, owed by earlier sessions; the meter has to be in standby.

        Raises:
            BadParam: The session's id is one of those that the seller draws itself.
            UnknownMeter: The seller has no such meter.
            LockedOut: The meter or the buyer is locked, or the buyer has a debt.
            MeterTaken: Another session has the meter.
            BoardSilent: The board is not heard, can't deliver, or nothing is plugged in.
            TooMany: A limit of sessions, or of unpaid openings of this node id, is reached.
        """
        if message.session.lower().startswith(OWN_SESSION):  # else it would get what a wallet pays for that session
            raise BadParam(f"session: ids that begin with {OWN_SESSION} are the seller's own", param="session")
        meter = self.state.meters.get(message.meter)
        if meter is None:
            raise UnknownMeter("no meter of that name here")  # and no list of the others for strangers
        self.context.metering.advance(meter)
        theirs = [session for session in self.state.sessions.values() if session.buyer == peer]
        self._may_open(meter, peer, theirs)
        brings = [
            old for old in theirs if old.owed_msat and not old.refund.under_way and not old.refund.held and old.final
        ]
        if meter.state != MeterState.STANDBY or meter.tariff.ticks(sum(old.owed_msat for old in brings)) < 1:
            return self.context.openings.begin(meter, message.session, peer)
        new = self.context.openings.open_session(meter, message.session, peer)
        for old in brings:
            self.context.openings.bring(old, new)
        self.context.notify("meter_state", meter, buyer=peer)
        return new

    def refuse_debtor(self, meter: Meter, peer: str) -> None:
        """Raises LockedOut for a buyer with a debt or a lockout, or a meter that is locked. A debt is asked for."""
        for session in [each for each in self.state.sessions.values() if each.buyer == peer]:
            if session.debt_msat >= session.dust_msat and not session.open:
                self._want_debt(session)
                raise LockedOut(f"session {session.id} left a debt of {session.debt_msat} msat; pay that first")
        for other in self.state.meters.values():
            if other.state == MeterState.LOCKOUT and (other is meter or other.lock_buyer == peer):
                left = max(1, (other.lock_until - self.now + 999) // 1000)
                raise LockedOut(f"locked for another {left} s after a session that was not paid", seconds=left)

    def _may_open(self, meter: Meter, peer: str, theirs: list[SellerSession]) -> None:
        self.refuse_debtor(meter, peer)
        holder = self.state.sessions.get(meter.session)
        if holder is not None and not self.context.openings.unused(holder):
            self.context.metering.make_room(holder)
            raise MeterTaken(f"another session has meter {meter.name}")
        if meter.silent(self.now, self.limits.silent_ms):
            raise BoardSilent(f"the board of meter {meter.name} is not heard; it could deliver nothing")
        if meter.memory.fault_at:
            raise BoardSilent(f"the board of meter {meter.name} can't deliver: {meter.memory.fault}")
        if not meter.memory.plugged:
            raise BoardSilent(f"nothing is plugged into meter {meter.name}")
        if self._too_many(theirs):
            raise TooMany("this seller has as many sessions as it takes")

    def _want_debt(self, session: SellerSession) -> None:
        session.memory.debt_asked_at = 0
        self.context.closing.ask_debt(session)
        self.context.invoices.send_all(session)

    def _too_many(self, theirs: list[SellerSession]) -> bool:
        """Sessions that ended and only owe something do not count: else anybody could fill a seller for good."""
        live = sum(1 for session in self.state.sessions.values() if not session.closed)
        mine = sum(1 for session in theirs if not session.closed)
        return mine >= self.limits.sessions_per_peer or live >= self.limits.sessions

    def _close(self, session: SellerSession, message: msg.Close) -> None:
        if session.id in self.context.waiting:
            self.context.openings.close(session)
            return
        if session.open:
            self.context.closing.end(session, msg.words(message.reason) or "closed by the buyer", tell=False)
        refund = session.refund
        news = message.bolt11 not in ("", *refund.used) and len(refund.used) < INVOICES
        wanted = session.owed_msat or session.ending_at or message.paid_msat > session.received_msat
        if news and wanted and not refund.bolt11:
            self.emit(
                ev.RefundOffered(
                    at=self.now,
                    subject=session.id,
                    bolt11=message.bolt11,
                    invoice_msat=0,
                    number=0,
                    claimed_msat=message.paid_msat,
                )
            )
            session.memory.refund_tried_at = 0
        elif message.bolt11 in refund.used and session.owed_msat and not refund.bolt11:
            why = "the refund invoice was used up, or can't be paid: make another"
            self.context.send(session, msg.Error, by=msg.SELLER, code=BadParam.code, text=why, number=0)
        if session.closed and (session.void or (session.receipt and not session.owed_msat)):
            self.context.closing.tell_end(session)
        self.context.closing.wind_up(session)

    def _error(self, session: SellerSession, message: msg.Error) -> None:
        """Ends an open session whose invoice the buyer refused, or drops an opening.

        A refused invoice of a prepaid session is cancelled, too. An opening that can't be paid because
        the two clocks differ is not counted against its buyer, EXCUSED times at most."""
        clocks = message.code == ClockWrong.code and message.number in session.out
        if clocks:
            self._clock_doubted(session, message.text)
        if session.id in self.context.waiting:
            excused = clocks and self.excused.get(session.buyer, 0) < EXCUSED
            if excused:
                self.excused[session.buyer] = self.excused.pop(session.buyer, 0) + 1
                keep_newest(self.excused, REMEMBERED)
            self.context.openings.drop(session, msg.words(f"the buyer refused: {message.text}"), counts=not excused)
            return
        if message.number in session.out and session.tariff.prepaid:
            self.emit(
                ev.InvoiceDropped(at=self.now, subject=session.id, number=message.number, why=msg.words(message.text))
            )
            self.context.settlement(session).cancel(session)
        if session.open:
            self.context.closing.end(session, msg.words(f"the buyer refused: {message.text}"))

    def _clock_doubted(self, session: SellerSession, text: str) -> None:
        """Raises an alarm: a buyer reports that this machine's clock is wrong.

        It does so once an hour at most for each meter, since strangers can cause it."""
        if self.now >= self.doubted_at.get(session.meter, -DOUBTED_MS) + DOUBTED_MS:
            self.doubted_at[session.meter] = self.now
            why = msg.words(f"is this machine's clock right? a buyer says: {text}")
            self.context.alarm(session, why)

    def lost(self, command: cmd.PeerLost) -> None:
        """It is the buyer who comes back; what we hold of it does not wait for ever."""
        for session in [*self.state.sessions.values(), *self.context.waiting.values()]:
            if session.buyer == command.peer:
                session.memory.gone_at = session.memory.gone_at or self.now

    def connected(self, command: cmd.PeerConnected) -> None:
        """A buyer is back: it is told again what it may have missed."""
        for session in [*self.state.sessions.values(), *self.context.waiting.values()]:
            if session.buyer == command.peer:
                session.memory.gone_at = 0
                for asking in session.memory.asking.values():
                    asking.sent_at, asking.tries = 0, 0
                wait = RECONNECTED_MS if session.memory.refund_fails > REFUND_FAILS else RETRY_MS
                if self.now >= session.memory.refund_tried_at + wait:
                    session.memory.refund_tried_at = 0
                session.memory.debt_asked_at = 0
                if session.open:
                    self.context.invoices.send_all(session)
                else:
                    self.context.closing.tell_end(session)
                    self.context.closing.wind_up(session)
