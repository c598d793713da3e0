"""Everything that a worker of the service needs, made once at its start and closed at its end."""

import base64
import binascii
import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from fastapi import HTTPException
from fastapi.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from ..core.errors import TooMany
from ..http.last_minute import LastMinute
from ..journal.url import sqlite_url
from ..node.rpc import Node
from .api_tokens import ApiTokens, Client
from .broadcast import Broadcast
from .config import Config
from .database import Database
from .events import Events, News
from .idempotency import IdempotencyKeys
from .invoices import Invoices
from .lightning_address import Addresses
from .meters import Meters
from .outgoing_payments import OutgoingPayments
from .payment_follower import Follower
from .rows import EventRow, InvoiceRow
from .ssrf import Outward
from .tokens import Bought, Tokens, Use
from .webhooks import Webhooks

log = logging.getLogger("satmeter.billing")

USER = "api-token"
CLEAN_S = 3600
STARTS_S = 30.0
"""A node that does not answer for so long is away, at the start."""
LATE_S = 60
"""A payment that was made so long ago was counted before anybody asked."""
FRESH_S = 5
"""How long a secret that was good is believed without another look: a revoked one ends after that, at the latest."""


def late_of(id: str, n: int) -> str:
    """Returns the id under which use `n` is tried again, whose payment was counted meanwhile; "" for none.

    Each has one of its own: at another try other payments may be counted."""
    return f"{id} late {n}" if id else ""


def slow_clock(newest: int) -> Callable[[], int]:
    """Returns a clock (s since 1970) for what is deleted by its age: one that is ahead makes nothing old.

    It goes on from `newest`, when the newest of what is kept was made (0: nothing is kept), as time passes here, and is
    never ahead of the machine's clock."""
    began, newest = time.monotonic(), newest or int(time.time())
    return lambda: min(int(time.time()), newest + int(time.monotonic() - began))


class Container:
    """The parts of the billing service that one worker needs, connected to one another."""

    def __init__(self, config: Config):
        self.config = config
        self.node = Node(str(config.rpc))
        self.info = Node(str(config.rpc), STARTS_S).info()
        url = config.database or sqlite_url(config.rpc.parent / "satmeter-billing.sqlite3")
        self.database = Database(url, str(self.info["id"]))
        self.secrets = ApiTokens(self.database)
        self.events = Events(self.database)
        self.invoices = Invoices(self.database, self.node, self.events, config.invoice_cap_msat)
        self.tokens = Tokens(self.database, self.events)
        self.once = IdempotencyKeys(self.database)
        self.spending = OutgoingPayments(self.database, self.node, config.payment_cap_msat)
        outward = Outward(config.hook_hosts, "hook_hosts")
        self.addresses = Addresses(Outward(config.hub_hosts, "hub_hosts"), lambda text: self.spending.decoded(text))
        self.hooks = Webhooks(self.database, self.invoices, self.events, self._root(), outward)
        self.hub: Broadcast[InvoiceRow] = Broadcast()
        self.happenings: Broadcast[EventRow] = Broadcast()
        self.news = News(self.database, self.events, self._told)
        self.meters = Meters(self.node, self.database, self.events)
        self.forgetters: list[Callable[[int], None]] = [self.invoices.forget]
        """What deletes invoices that nobody paid; called with a time (s) that no clock of ours puts ahead."""
        self.renewal: Callable[[Bought, bool], str | InvoiceRow | None] = self._unknown_renewal
        """What a used-up token that was not bought by an invoice of a client is renewed by; the market's."""
        self.follower = Follower(self.node, self.invoices, lambda row: self.hub.say(row))
        self._known: dict[str, tuple[Client, float]] = {}
        self._minted = LastMinute()
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def _root(self) -> bytes:
        """Return what the webhooks' secrets are made of: the config's, or one that only the node has."""
        return self.config.hook_secret.encode() or self.node.secret("satmeter webhooks")

    def start(self) -> None:
        """Take up what was left, and follow payments."""
        self.spending.start()
        threading.Thread(target=self._clean, name="billing-clean", daemon=True).start()
        self.news.start()
        self.meters.start()
        self.follower.start()

    def spend(
        self, uses: Sequence[Use | None], seller: str = "", id: str = "", undo: bool = False, who: str = ""
    ) -> list[bool]:
        """Spends several uses at once and returns for each whether it passed, in the same order.

        With an `id` of the client `who` they are spent once, however often it is asked; `undo` gives back what was
        spent under it.

        A use by payment hash whose payment is not counted yet is looked up at the node and tried again, so
        that a payer is not asked to pay twice. `seller` is as for Tokens.spend. None in `uses` never passes."""
        if undo:
            self.tokens.unspend_all(uses, id, who)
            for n, use in enumerate(uses):
                if use is not None and use.kind == "rhash":
                    self.tokens.unspend_all([use], late_of(id, n), who)
            return [False] * len(uses)
        passed = self.tokens.spend_all(uses, seller, id, who)
        failed = [(n, use) for n, use in enumerate(uses) if use is not None and not passed[n] and use.kind == "rhash"]
        counted = {key for key in {use.key for _, use in failed} if self._counted_now(key)}
        for n, use in failed:
            if use.key in counted:
                (passed[n],) = self.tokens.spend_all([use], seller, late_of(id, n), who)
        return passed

    def _counted_now(self, payment_hash: str) -> bool:
        """Returns whether a payment was counted only now, by us or by another thread a moment ago."""
        row = self.invoices.by_hash(payment_hash)
        if row is None or (row["paid_at"] is not None and row["paid_at"] < time.time() - LATE_S):
            return False
        return self.follower.catch_up(row)

    def _clean(self) -> None:
        """Every hour, delete what is over: keys, events, webhooks, unpaid invoices."""
        now = slow_clock(max(self.invoices.newest_at(), self.once.newest_at()))
        while not self._closed.is_set():
            for part in (self.events, self.hooks):
                self._forget(part.forget)
            self._forget(partial(self.once.forget, now()))
            if self.follower.caught_up.wait(CLEAN_S / 2):  # what was paid while we were away is counted first
                for forget in self.forgetters:
                    self._forget(partial(forget, now()))
            self._closed.wait(CLEAN_S)

    @staticmethod
    def _forget(part: Callable[[], None]) -> None:
        try:
            part()
        except Exception as error:
            log.warning("old rows could not be deleted: %s", error)

    def close(self) -> None:
        """Stops the worker's threads and ends its open event connections. The database stays open."""
        self._closed.set()
        self.follower.stop()
        self.spending.stop()
        self.news.stop()
        self.meters.stop()
        self.end_streams()

    def end_streams(self) -> None:
        """End what waits for payments or events: its clients come again."""
        self.hub.stop()
        self.happenings.stop()

    def _told(self, event: EventRow) -> None:
        """An event that any worker recorded. An invoice that was paid from an account is told from here."""
        self.happenings.say(event)
        if event["kind"] == "paid":
            row = self.invoices.find(json.loads(event["body"]).get("id", ""))  # a meter's payment has none
            if row is not None:
                self.hub.say(row)

    @staticmethod
    def _unknown_renewal(bought: Bought, ask: bool) -> str | InvoiceRow | None:
        return None

    async def admit(self, connection: HTTPConnection, scope: str) -> Client:
        """client(), without leaving the event loop where the secret was good a moment ago."""
        if self._fresh(connection.headers.get("authorization", "")) is not None:
            return self.client(connection, scope)
        return await run_in_threadpool(self.client, connection, scope)

    def client(self, connection: HTTPConnection, scope: str) -> Client:
        """Return who asks, by HTTP basic auth; 401 for nobody we know, 403 for one who may not."""
        found = self._client(connection.headers.get("authorization", ""))
        if found is None:
            raise HTTPException(401, "Unauthorized", {"WWW-Authenticate": 'Basic realm="Satmeter"'})
        if scope not in found.scopes:
            raise HTTPException(403, f"this api-token lacks the scope {scope}")
        return found

    async def verifier(self, connection: HTTPConnection) -> str:
        """Return whose sales the client may verify: its own name, or "" (see api_tokens.covers)."""
        header = connection.headers.get("authorization", "")
        found = self._fresh(header) or await run_in_threadpool(self._client, header)
        if found is not None and "verify-own" in found.scopes and "verify" not in found.scopes:
            return found.name
        self.client(connection, "verify")
        return ""

    def named(self, connection: HTTPConnection) -> str:
        """Returns the name of the client who asks, "" for nobody we know."""
        found = self._client(connection.headers.get("authorization", ""))
        return found.name if found is not None else ""

    def maybe(self, connection: HTTPConnection, scope: str) -> Client | None:
        """The same for what strangers may ask as well."""
        found = self._client(connection.headers.get("authorization", ""))
        return found if found is not None and scope in found.scopes else None

    def still(self, header: str) -> bool:
        """Whether who has begun to listen may still: a revoked secret ends its streams, too."""
        return self._client(header) is not None

    def _client(self, header: str) -> Client | None:
        known = self._fresh(header)
        if known is not None:
            return known
        secret = _secret(header)
        found = self.secrets.find(secret) if secret else None
        with self._lock:
            if found is None:
                self._known.pop(secret, None)
            else:
                self._known[secret] = found, time.monotonic() + FRESH_S
        return found

    def _fresh(self, header: str) -> Client | None:
        """Return whose secret it is, if it was looked up a moment ago."""
        with self._lock:
            client, until = self._known.get(_secret(header), (None, 0.0))
        return client if until > time.monotonic() else None

    def may_mint(self, who: str, most: int = 0) -> None:
        """TooMany for a client who makes more invoices in a minute than the config allows, or than `most`."""
        most = most or self.config.mint_per_minute
        with self._lock:
            if not self._minted.take(who, most):
                of = " (mint_per_minute)" if most == self.config.mint_per_minute else ""
                raise TooMany(f"more than {most} invoices in a minute{of}")


def _secret(header: str) -> str:
    """Return the secret in an Authorization header; "" where there is none of ours."""
    kind, _, value = header.partition(" ")
    if kind.lower() != "basic":
        return ""
    try:
        user, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""
    return secret if user == USER else ""
