"""Webhooks: paid invoices and events are posted, signed, to the URLs that clients gave.

A post that fails is repeated after pauses that begin at 2 s and grow fourfold. After TRIES (10)
failures it is kept as a dead letter until it is replayed. Since the URLs come from clients, ssrf.py
checks that no request goes into the service's own network."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import sqlalchemy as sa

from ..core.plain import JsonObject
from .database import Database, only
from .events import Events, hook_row, told
from .invoices import Invoices, shown
from .rows import HookRow, every
from .ssrf import TIMEOUT_S, Outward, check_url
from .tables import HOOK, INVOICE

log = logging.getLogger("satmeter.billing")

LEASE_S = 60
KEPT_S = 30 * 86_400
TRIES = 10
FIRST_S = 2
EVERY_S = 2
AT_ONCE, OF_CLIENT, OF_HOST, PAGE = 40, 10, 4, 200
"""Webhooks that are under way: in all, of one client, to one host; and how many are looked at in one go."""
PREFIX = "whsec_"


def secret_of(root: bytes, client: str, subscription: str = "") -> str:
    """Returns the secret that signs a subscription's webhooks, in the form of Standard Webhooks.

    With the subscription "" it is the secret of the webhooks of a client's invoices. It is derived from
    `root`, which only the service knows: one client's secret does not give away another's."""
    key = hmac.new(root, f"satmeter webhook {client} {subscription}".encode(), hashlib.sha256).digest()
    return PREFIX + base64.b64encode(key).decode()


def signed(secret: str, id: str, at: int, body: bytes) -> dict[str, str]:
    """Returns the headers that sign a webhook, as standardwebhooks.com defines them.

    Args:
        secret: From secret_of().
        id: The webhook's id, the same at each try.
        at: The time of this try, in seconds since 1970.
        body: The body; the HMAC-SHA256 is over id, time and body.
    """
    key = base64.b64decode(secret.removeprefix(PREFIX))
    mac = hmac.new(key, f"{id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": "v1," + base64.b64encode(mac).decode(),
    }


class Webhooks:
    """The webhooks in the database: made, sent and replayed. One worker at a time has the lease of a webhook."""

    def __init__(self, database: Database, invoices: Invoices, events: Events, root: bytes, outward: Outward):
        """root: what the secrets are made of."""
        self._database, self._invoices, self._events = database, invoices, events
        self._root, self._outward = root, outward

    def secret(self, client: str, subscription: str = "") -> str:
        """Return the secret of a subscription, or of the webhooks of a client's invoices."""
        return secret_of(self._root, client, subscription)

    def add(self, client: str, invoice: str, url: str) -> None:
        """Have a URL told once the invoice is paid, at once if it was paid a moment ago."""
        row = hook_row(client, check_url(url), invoice)
        with self._database.writing() as db:
            # The invoice's row is locked: its payment comes before, and is seen here, or after, and finds the hook.
            paid = db.execute(sa.select(INVOICE.c.pay_index).where(INVOICE.c.id == invoice).with_for_update()).scalar()
            db.execute(sa.insert(HOOK), {**row, "state": "waiting" if paid is None else "due"})

    def dead(self) -> list[HookRow]:
        """Return the dead letters."""
        with self._database.reading() as db:
            return every(db, sa.select(HOOK).where(HOOK.c.state == "dead"), HookRow)

    def replay(self, id: str = "") -> int:
        """Have dead letters (all, or one) tried anew; returns how many."""
        query = sa.update(HOOK).where(HOOK.c.state == "dead", *([HOOK.c.id == id] if id else []))
        with self._database.writing() as db:
            return int(db.execute(query.values(state="due", tries=0, next_at=int(time.time()))).rowcount)

    def forget(self) -> None:
        """Delete webhooks that were taken a while ago."""
        old = sa.delete(HOOK).where(HOOK.c.state == "done", HOOK.c.created_at < int(time.time()) - KEPT_S)
        with self._database.writing() as db:
            db.execute(old)

    async def run(self) -> None:
        """Sends what is due, at once where this worker recorded it; until it is cancelled."""
        said, loop = asyncio.Event(), asyncio.get_running_loop()

        def hear() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(said.set)

        self._database.hearers.append(hear)
        sending: dict[asyncio.Task[None], HookRow] = {}
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            while True:
                said.clear()
                try:
                    for row in await asyncio.to_thread(self._claim, list(sending.values())):
                        sending[asyncio.create_task(self._send(client, row))] = row
                except Exception as error:
                    log.warning("could not send webhooks; trying again: %s", error)
                waiting = asyncio.create_task(said.wait())
                ended, _ = await asyncio.wait({waiting, *sending}, timeout=EVERY_S, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                for task in [task for task in sending if task in ended]:
                    del sending[task]
                    if task.exception() is not None:  # whatever one of them is like, the others go on
                        log.warning("could not send webhooks; trying again: %s", task.exception())

    def _claim(self, sending: list[HookRow]) -> list[HookRow]:
        """Claims due webhooks for this worker, for LEASE_S (60 s), and returns them.

        `sending` are those that this worker sends already. Together with them at most AT_ONCE are claimed,
        OF_CLIENT of one client and OF_HOST to one host, however many wait."""
        mine: list[HookRow] = []
        hosts, clients = (Counter(of(row) for row in sending) for of in (_host, _client))
        for row in self._due(hosts, clients):
            if len(sending) + len(mine) >= AT_ONCE:
                break
            if hosts[_host(row)] >= OF_HOST or clients[_client(row)] >= OF_CLIENT:
                continue
            tries, now = row["tries"] + 1, int(time.time())
            same = sa.update(HOOK).where(HOOK.c.id == row["id"], HOOK.c.state == "due", HOOK.c.tries == row["tries"])
            with self._database.writing() as db:
                if only(db.execute(same.values(tries=tries, next_at=now + LEASE_S))):
                    mine.append({**row, "tries": tries})
                    hosts[_host(row)] += 1
                    clients[_client(row)] += 1
        return mine

    def _due(self, hosts: Counter[str], clients: Counter[str]) -> Iterator[HookRow]:
        """Yield what is due, oldest first, but for the hosts and clients that have their part already."""
        after, now = (-1, ""), int(time.time())
        while True:
            place = sa.tuple_(HOOK.c.next_at, HOOK.c.id)
            due = sa.select(HOOK).where(HOOK.c.state == "due", HOOK.c.next_at <= now, place > sa.tuple_(*after))
            full = [client for client, count in clients.items() if count >= OF_CLIENT]
            due = due.where(HOOK.c.client.not_in(full)) if full else due
            for host in [host for host, count in hosts.items() if count >= OF_HOST]:
                due = due.where(HOOK.c.url.not_like(f"http%://{_plain(host)}/%", escape="\\"))
            with self._database.reading() as db:
                rows = every(db, due.order_by(HOOK.c.next_at, HOOK.c.id).limit(PAGE), HookRow)
            yield from rows
            if len(rows) < PAGE:
                return
            after = rows[-1]["next_at"], rows[-1]["id"]

    async def _send(self, client: httpx.AsyncClient, row: HookRow) -> None:
        found = await asyncio.to_thread(self._what, row)
        said = "what it tells of is gone"
        if found is not None:
            body = json.dumps(found).encode()
            secret = self.secret(row["client"], row["subscription"])
            headers = {"content-type": "application/json", **signed(secret, row["id"], int(time.time()), body)}
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    said = await self._post(client, row, body, headers)
            except Exception as error:  # the address is a stranger's, and so is the server
                said = str(error) or type(error).__name__
        await asyncio.to_thread(self._done, row, said)

    def _what(self, row: HookRow) -> JsonObject | None:
        """Return what a webhook tells: an event, or a paid invoice as Lightning Charge does."""
        if row["event"] is not None:
            event = self._events.find(row["event"])
            return told(event) if event is not None else None
        invoice = self._invoices.find(row["invoice"])
        return shown(invoice) if invoice is not None else None

    async def _post(self, client: httpx.AsyncClient, row: HookRow, body: bytes, headers: dict[str, str]) -> str:
        """Returns "" where it was taken, else what was answered."""
        answer = await self._outward.send(client, "POST", row["url"], body, headers, row["client"])
        await answer.aclose()
        return "" if answer.is_success else f"HTTP {answer.status_code}"

    def _done(self, row: HookRow, said: str) -> None:
        state = "done" if not said else "dead" if row["tries"] >= TRIES else "due"
        pause = FIRST_S * 4 ** (row["tries"] - 1)
        values = {"state": state, "said": said[:500], "next_at": int(time.time()) + pause}
        if said:
            log.warning("webhook %s of invoice %s: %s", row["id"], row["invoice"], said)
        with self._database.writing() as db:
            mine = sa.update(HOOK).where(HOOK.c.id == row["id"], HOOK.c.tries == row["tries"], HOOK.c.state == "due")
            db.execute(mine.values(values))


def _host(row: HookRow) -> str:
    return urlsplit(row["url"]).netloc.lower()


def _client(row: HookRow) -> str:
    return str(row["client"])


def _plain(text: str) -> str:
    """Return a text as LIKE takes it literally."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
