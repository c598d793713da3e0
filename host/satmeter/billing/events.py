"""Events of invoices, tokens and meters (paid, low, closed), for webhooks and event connections.

An event is recorded in the transaction that makes the change it is about. The webhooks that want it
become due in the same transaction. Event connections read the record, so that no event is missed."""

import json
import logging
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa

from ..core.errors import BadParam
from ..core.plain import JsonObject
from .database import SAID, Database
from .ids import new_id
from .rows import EventRow, HookRow, SubscriptionRow, every, first
from .ssrf import check_url
from .tables import EVENT, HOOK, SECRET, SUBSCRIPTION

log = logging.getLogger("satmeter.billing")

KINDS = ("paid", "low", "closed")
EVERY_S, ALONE_S = 0.3, 5.0
PAGE = 500
KEPT_S = 30 * 86_400
MOST_SUBSCRIPTIONS = 20


class Events:
    """The recorded events of all clients, and the clients' webhook subscriptions."""

    def __init__(self, database: Database):
        self._database = database

    def emit(self, db: sa.Connection, client: str, kind: str, body: JsonObject, key: str = "") -> None:
        """Records an event in a transaction, and makes the webhooks due that want it.

        It must be the last step of the transaction. On PostgreSQL a lock makes such transactions end one
        after the other, so that a reader that has seen an id has seen every lower id.

        Args:
            db: The connection of the transaction.
            client: The client that the event belongs to; "" for an event of the node's meters, which goes
                to each client with the scope "meter".
            kind: One of KINDS.
            body: The data of the event, as JSON can hold it.
            key: A second event with the same key is not recorded; "" for no such check.
        """
        if db.dialect.name == "postgresql":
            db.execute(sa.text("SELECT pg_advisory_xact_lock(720577)"))
        if key and db.execute(sa.select(EVENT.c.id).where(EVENT.c.key == key)).first() is not None:
            return
        now = int(time.time())
        row = {"key": key or new_id(), "client": client, "kind": kind, "body": json.dumps(body), "created_at": now}
        id = db.execute(sa.insert(EVENT).returning(EVENT.c.id), row).scalar_one()
        db.info[SAID] = True
        wanted = sa.select(SUBSCRIPTION).where(SUBSCRIPTION.c.client == client)
        if not client:  # of the node's meters: for whom may hear of those
            lives = sa.or_(SECRET.c.expires_at == 0, SECRET.c.expires_at > now)
            of = sa.select(SECRET.c.name).where(SECRET.c.revoked_at == 0, lives, SECRET.c.scopes.contains("meter"))
            wanted = sa.select(SUBSCRIPTION).where(SUBSCRIPTION.c.client.in_(of))
        hooks = [
            hook_row(each.client, each.url, event=id, subscription=each.id)
            for each in db.execute(wanted)
            if kind in each.kinds.split()
        ]
        if hooks:
            db.execute(sa.insert(HOOK), hooks)

    def after(self, id: int, clients: tuple[str, ...] | None = None, limit: int = PAGE) -> list[EventRow]:
        """Return the events after an id, of some clients or of all, oldest first."""
        query = sa.select(EVENT).where(EVENT.c.id > id).order_by(EVENT.c.id).limit(limit)
        if clients is not None:
            query = query.where(EVENT.c.client.in_(clients))
        with self._database.reading() as db:
            return every(db, query, EventRow)

    def find(self, id: int) -> EventRow | None:
        """Returns the event with an id, or None if there is none (it may be too old)."""
        with self._database.reading() as db:
            return first(db, sa.select(EVENT).where(EVENT.c.id == id), EventRow)

    def newest(self) -> int:
        """Returns the id of the newest event, or 0 if there is none."""
        with self._database.reading() as db:
            return int(db.execute(sa.select(sa.func.max(EVENT.c.id))).scalar() or 0)

    def forget(self) -> None:
        """Delete events that are older than KEPT_S; webhooks that still want one keep it."""
        waiting = sa.select(HOOK.c.event).where(HOOK.c.event.is_not(None), HOOK.c.state != "done")
        old = sa.delete(EVENT).where(EVENT.c.created_at < int(time.time()) - KEPT_S, EVENT.c.id.not_in(waiting))
        with self._database.writing() as db:
            db.execute(old)

    # --- webhooks for all events of some kinds

    def subscribe(self, client: str, url: object, kinds: object) -> JsonObject:
        """Have a URL told of every event of some kinds from now on. BadParam."""
        good = check_url(url)
        if not isinstance(kinds, list) or not kinds or not all(kind in KINDS for kind in kinds):
            raise BadParam(f"events: must be a list of some of {', '.join(KINDS)}, got {kinds!r}", param="events")
        named = " ".join(each for each in KINDS if each in kinds)
        now = int(time.time())
        row: SubscriptionRow = {"id": new_id(), "client": client, "url": good, "kinds": named, "created_at": now}
        with self._database.writing() as db:
            have = sa.select(sa.func.count()).select_from(SUBSCRIPTION).where(SUBSCRIPTION.c.client == client)
            if db.execute(have).scalar_one() >= MOST_SUBSCRIPTIONS:
                raise BadParam(f"url: a client may have {MOST_SUBSCRIPTIONS} webhooks", param="url")
            db.execute(sa.insert(SUBSCRIPTION), row)
        return _shown(row)

    def subscriptions(self, client: str) -> list[JsonObject]:
        """Returns a client's webhook subscriptions, without their secrets."""
        with self._database.reading() as db:
            mine = sa.select(SUBSCRIPTION).where(SUBSCRIPTION.c.client == client)
            return [_shown(row) for row in every(db, mine, SubscriptionRow)]

    def unsubscribe(self, client: str, id: str) -> bool:
        """Deletes a client's subscription with what is due to it; returns False if it has none with this id."""
        mine = sa.delete(SUBSCRIPTION).where(SUBSCRIPTION.c.client == client, SUBSCRIPTION.c.id == id)
        with self._database.writing() as db:
            there = bool(db.execute(mine).rowcount)
            if there:
                db.execute(sa.delete(HOOK).where(HOOK.c.subscription == id, HOOK.c.state != "done"))
            return there


def told(event: EventRow) -> JsonObject:
    """Return an event as streams and webhooks tell it."""
    return {
        "id": event["id"],
        "event": event["kind"],
        "created_at": event["created_at"],
        "data": json.loads(event["body"]),
    }


def _shown(row: SubscriptionRow) -> JsonObject:
    return {"id": row["id"], "url": row["url"], "events": row["kinds"].split(), "created_at": row["created_at"]}


def hook_row(client: str, url: str, invoice: str = "", event: int | None = None, subscription: str = "") -> HookRow:
    """Return the row of a client's webhook: of an event, due at once; of an invoice, waiting for its payment."""
    now = int(time.time())
    return {
        "id": new_id(),
        "client": client,
        "invoice": invoice,
        "event": event,
        "subscription": subscription,
        "url": url,
        "state": "waiting" if event is None else "due",
        "next_at": 0 if event is None else now,
        "tries": 0,
        "said": "",
        "created_at": now,
    }


class News:
    """A thread in each worker that reads new events of all workers and passes each to `tell`.

    Events of this worker are read at once. Those of other workers are read within EVERY_S (0.3 s)."""

    def __init__(self, database: Database, events: Events, tell: Callable[[EventRow], None]):
        self._events, self._tell = events, tell
        self._every_s = EVERY_S if database.shared else ALONE_S
        self._stopping, self._said = False, threading.Event()
        database.hearers.append(self._said.set)
        self._thread = threading.Thread(target=self._run, name="billing-news", daemon=True)
        self._seen = 0

    def start(self) -> None:
        """Starts the thread. It begins after the newest event on record."""
        self._seen = self._events.newest()
        self._thread.start()

    def stop(self) -> None:
        """Makes the thread end after its present round, without a wait for it."""
        self._stopping = True
        self._said.set()

    def _run(self) -> None:
        while not self._stopping:
            self._said.wait(self._every_s)
            self._said.clear()
            try:
                for event in self._events.after(self._seen):
                    self._seen = event["id"]
                    self._tell(event)
            except Exception as error:  # whatever one event is like, the next ones are told
                log.warning("could not read events; trying again: %s", error)
