"""The node's meters, for who follows events or sells by their credit: sessions' payments, low credit and receipts."""

import logging
import re
import threading
import time
from contextlib import suppress

import sqlalchemy as sa
from pyln.client import RpcError

from ..core.errors import BadParam, NodeTrouble, SatmeterError, UnknownSession, WrongState
from ..core.plain import JsonObject, keep_newest
from ..core.status import SellerStatus, SessionEvent, SessionStatus, read_as
from ..node.rpc import PLUGIN_GONE, UNKNOWN_COMMAND, Node, code_of, words_of
from ..wire.pledge import Pledge
from ..wire.signature import verify
from .database import Database
from .events import Events
from .pledges import Pledges
from .tables import ABOUT

log = logging.getLogger("satmeter.billing")

EVERY_S, AWAY_S = 2.0, 30.0
PAGE = 200
CURSOR = "meter_event"
CONFIRM_S = 3.0
SESSION = re.compile(r"[0-9a-f]{32}")
BUYERS = 10_000
"""Buyers of sessions that are remembered."""


class Meters:
    """A thread that follows the meter plugin's journal, and methods that spend credit of sessions.

    Each event of the journal is recorded once, by the worker that sees it first. The thread looks every
    EVERY_S (2 s), or AWAY_S (30 s) after an RPC error, as of a node without the meter plugin."""

    def __init__(self, node: Node, database: Database, events: Events):
        self._node, self._database, self._events = node, database, events
        self._pledges = Pledges(database)
        self._buyers: dict[str, str] = {}
        """The buyer of each session that a pledge named: it never changes, and to ask for all sessions costs."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="billing-meters", daemon=True)

    def start(self) -> None:
        """A fresh database begins at the newest event of now."""
        with suppress(RpcError, SatmeterError):
            if self._cursor() is None:
                self._look()
        self._thread.start()

    def stop(self) -> None:
        """Makes the thread end after its present round, without a wait for it."""
        self._stopping.set()

    def _run(self) -> None:
        wait = 0.0
        while not self._stopping.wait(wait):
            try:
                self._look()
                wait = EVERY_S
            except RpcError as error:
                wait = AWAY_S  # there may be no meter plugin, or it comes later
                if code_of(error) != UNKNOWN_COMMAND:
                    log.warning("could not follow the meters; trying again: %s", words_of(error))
            except (SatmeterError, KeyError, ValueError) as error:
                log.warning("could not follow the meters; trying again: %s", error)

    def _look(self) -> None:
        cursor = self._cursor()
        if cursor is None:
            self._move(None, self._newest(), [])
            return
        for session in self._sessions():
            if session.low and not session.buyer:
                self._tell([("low", _brief(session), f"low/{session.session}/{session.payments}")])
        events = self._node.call("meter-history", after=cursor, limit=PAGE)["events"]
        if not events:
            newest = self._newest()
            if newest < cursor:  # an older copy of the journal, or another journal, which begins lower
                log.warning(
                    "the seller's journal has gone back to event %d: what it tells is followed from there", newest
                )
                self._move(cursor, newest, [])
        else:
            self._move(cursor, events[-1]["id"], [told for event in events if (told := _told(event)) is not None])

    def _newest(self) -> int:
        newest = self._node.call("meter-history", newest=True, limit=1)["events"]
        return int(newest[-1]["id"]) if newest else 0

    def _cursor(self) -> int | None:
        with self._database.reading() as db:
            value = db.execute(sa.select(ABOUT.c.value).where(ABOUT.c.name == CURSOR)).scalar()
        return None if value is None else int(value)

    def _tell(self, told: list[tuple[str, JsonObject, str]]) -> None:
        with self._database.writing() as db:
            for kind, body, key in told:
                self._events.emit(db, "", kind, body, key)

    def _move(self, was: int | None, now: int, told: list[tuple[str, JsonObject, str]]) -> None:
        with self._database.writing() as db:
            if was is None:
                db.execute(sa.insert(ABOUT), {"name": CURSOR, "value": str(now)})
            else:
                same = sa.update(ABOUT).where(ABOUT.c.name == CURSOR, ABOUT.c.value == str(was))
                if not db.execute(same.values(value=str(now))).rowcount:
                    return  # another worker was first
            for kind, body, key in told:
                self._events.emit(db, "", kind, body, key)

    # --- credit of sessions, spent at gates

    def reserve(self, line: str, signature: str, id: str, amount_msat: int) -> bool:
        """Hold credit of a session for what a gate is about to deliver; whether it may be delivered now.

        Who spends it shows a pledge (wire/pledge.py), signed by the session's buyer (the node that pays). False where
        the credit does not suffice, the pledge is used up or over, or the session or signature is not good."""
        pledge = Pledge.parse(line)
        if pledge is None or not pledge.is_running(time.time()):
            return False
        buyer = self._buyer_of(pledge.session)
        if not buyer or not verify(pledge.line, signature, buyer):
            return False
        if not self._pledges.count(pledge, f"{pledge.session}/{id}", amount_msat):
            return False
        held = self._held(pledge.session, id, amount_msat)
        if not held:
            self._pledges.take_back(f"{pledge.session}/{id}")
        return held

    def _held(self, session: str, id: str, amount_msat: int) -> bool:
        end = time.monotonic() + CONFIRM_S
        while True:
            try:
                held = self._node.call("meter-spend", session=session, id=id, step="reserve", amount_msat=amount_msat)
            except RpcError as error:
                _not_away(error)
                log.info("credit of session %s: %s", session[:8], words_of(error))
                return False
            if held["confirmed"]:
                return True
            if time.monotonic() > end:  # a board that does not answer: what is held is released
                self.end(session, id, "release")
                return False
            time.sleep(0.1)

    def end(self, session: str, id: str, step: str) -> None:
        """Settles or releases a reservation of a session's credit; `step` is "settle" or "release".

        A release in a session that has ended succeeds: its credit was given back. Raises BadParam for another
        step or what is no session's id, and WrongState with the plugin's reason where it refuses."""
        if step not in ("settle", "release"):
            raise BadParam(f"step: must be settle or release, got {step!r}", param="step")
        if not SESSION.fullmatch(session):  # else SESSION/ID could be written in two ways, and a pledge be used twice
            raise BadParam(f"session: must be 32 hex digits, got {session[:40]!r}", param="session")
        try:
            self._node.call("meter-spend", session=session, id=id, step=step)
        except RpcError as error:
            _not_away(error)
            # A session that ended has given everything back that was held of it.
            if step != "release" or code_of(error) != UnknownSession.code:
                raise WrongState(f"credit: {words_of(error)}") from None
        (self._pledges.take_back if step == "release" else self._pledges.settle)(f"{session}/{id}")

    def _sessions(self) -> list[SessionStatus]:
        return read_as(SellerStatus, self._node.call("meter-status")).sessions

    def _buyer_of(self, session: str) -> str:
        """Returns the node id of a live session's buyer; "" where there is no such session, or it is a bearer's."""
        if session not in self._buyers:
            try:
                live = self._sessions()
            except RpcError:
                return ""
            self._buyers |= {each.session: each.buyer for each in live if each.session == session}
            keep_newest(self._buyers, BUYERS)
        return self._buyers.get(session, "")


def _not_away(error: RpcError) -> None:
    """Raises NodeTrouble where it was not the plugin that refused: it is away, and what it did is not known."""
    if code_of(error) in (PLUGIN_GONE, UNKNOWN_COMMAND):
        raise NodeTrouble(f"credit: the meter plugin is away: {words_of(error)}") from None


def _brief(session: SessionStatus) -> JsonObject:
    return {each: getattr(session, each) for each in ("session", "meter", "buyer", "credit_msat", "paid_msat")}


def _told(row: JsonObject) -> tuple[str, JsonObject, str] | None:
    """Returns kind, body and key of a journal event that clients can follow, None for other events.

    A request for a later invoice becomes the event "low". It is sent only to buyers with the plugin. For
    a session that a wallet pays, _look checks the credit instead."""
    if "event" not in row:
        return None
    event, key = read_as(SessionEvent, row["event"]), f"meter/{row['id']}/{row['at']}"
    if event.happened == "paid":
        shown = {"txid": event.txid} if event.txid else {"payment_hash": event.payment_hash}
        return "paid", {"session": event.session, "amount_msat": event.amount_msat, **shown}, key
    if event.happened == "asked" and event.number > 1:
        return "low", {"session": event.session, "asked_msat": event.amount_msat}, key
    if event.happened == "closed":
        return "closed", {"session": event.session, "receipt": event.receipt, "signature": event.signature}, key
    return None
