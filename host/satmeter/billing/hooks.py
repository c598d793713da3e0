"""Webhooks: a paid invoice is posted to the URLs that wait for it, signed, again and again with growing pauses; what
nobody took in the end is kept as a dead letter until it is replayed.

A URL comes from a client, and the request goes out from here: outward.py sees that it does not lead into our own
network.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import time
from contextlib import suppress
from typing import Any

import httpx
import sqlalchemy as sa

from .database import Database, only
from .events import Events, hook_row, told
from .invoices import Invoices, shown
from .outward import TIMEOUT_S, Outward, check_url
from .tables import HOOK, INVOICE

log = logging.getLogger("satmeter.billing")

LEASE_S = 60
TRIES = 10
FIRST_S = 2
EVERY_S = 2
AT_ONCE = 20


def signature(secret: str, body: bytes) -> str:
    """Return what stands in the header X-Satmeter-Signature: HMAC-SHA256 of the body under the config's hook_secret."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Hooks:
    def __init__(self, database: Database, invoices: Invoices, events: Events, secret: str, outward: Outward):
        self._database, self._invoices, self._events = database, invoices, events
        self._secret, self._outward = secret, outward

    def add(self, invoice: str, url: str) -> None:
        """Have a URL told once the invoice is paid, at once if it was paid a moment ago."""
        row = hook_row(invoice, check_url(url))
        with self._database.writing() as db:
            # The invoice's row is locked: its payment comes before, and is seen here, or after, and finds the hook.
            paid = db.execute(sa.select(INVOICE.c.pay_index).where(INVOICE.c.id == invoice).with_for_update()).scalar()
            db.execute(sa.insert(HOOK), {**row, "state": "waiting" if paid is None else "due"})

    def dead(self) -> list[dict[str, Any]]:
        """Return the dead letters."""
        with self._database.reading() as db:
            return [dict(r._mapping) for r in db.execute(sa.select(HOOK).where(HOOK.c.state == "dead"))]

    def replay(self, id: str = "") -> int:
        """Have dead letters (all, or one) tried anew; returns how many."""
        query = sa.update(HOOK).where(HOOK.c.state == "dead", *([HOOK.c.id == id] if id else []))
        with self._database.writing() as db:
            return int(db.execute(query.values(state="due", tries=0, next_at=int(time.time()))).rowcount)

    async def run(self) -> None:
        """Forever: send what is due, at once where this worker recorded it."""
        said, loop = asyncio.Event(), asyncio.get_running_loop()

        def hear() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(said.set)

        self._database.hearers.append(hear)
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            while True:
                try:
                    rows = await asyncio.to_thread(self._claim)
                    await asyncio.gather(*(self._send(client, row) for row in rows))
                except Exception as e:  # whatever one of them is like, the others go on
                    log.warning("webhooks: %s", e)
                with suppress(TimeoutError):
                    await asyncio.wait_for(said.wait(), EVERY_S)
                said.clear()

    def _claim(self) -> list[dict[str, Any]]:
        """Take what is due, so that no other worker does: each is ours until its lease is over."""
        now = int(time.time())
        due = sa.select(HOOK).where(HOOK.c.state == "due", HOOK.c.next_at <= now).limit(AT_ONCE)
        with self._database.reading() as db:
            rows = [dict(r._mapping) for r in db.execute(due)]
        mine = []
        for row in rows:
            same = sa.update(HOOK).where(HOOK.c.id == row["id"], HOOK.c.state == "due", HOOK.c.tries == row["tries"])
            with self._database.writing() as db:
                if only(db.execute(same.values(tries=row["tries"] + 1, next_at=now + LEASE_S))):
                    mine.append({**row, "tries": row["tries"] + 1})
        return mine

    async def _send(self, client: httpx.AsyncClient, row: dict[str, Any]) -> None:
        found = await asyncio.to_thread(self._what, row)
        said = "what it tells of is gone"
        if found is not None:
            body = json.dumps(found).encode()
            headers = {"content-type": "application/json", "x-satmeter-id": row["id"]}
            if self._secret:
                headers["x-satmeter-signature"] = signature(self._secret, body)
            try:
                said = await asyncio.wait_for(self._post(client, row["url"], body, headers), TIMEOUT_S)
            except Exception as e:  # the address is a stranger's, and so is the server
                said = str(e) or type(e).__name__
        await asyncio.to_thread(self._done, row, said)

    def _what(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Return what a webhook tells: an event, or a paid invoice as Lightning Charge does."""
        if row["event"] is not None:
            event = self._events.find(row["event"])
            return told(event) if event is not None else None
        invoice = self._invoices.find(row["invoice"])
        return shown(invoice) if invoice is not None else None

    async def _post(self, client: httpx.AsyncClient, url: str, body: bytes, headers: dict[str, str]) -> str:
        """Returns "" where it was taken, else what was answered."""
        answer = await self._outward.send(client, "POST", url, content=body, headers=headers)
        await answer.aclose()
        return "" if answer.is_success else f"HTTP {answer.status_code}"

    def _done(self, row: dict[str, Any], said: str) -> None:
        state = "done" if not said else "dead" if row["tries"] >= TRIES else "due"
        pause = FIRST_S * 4 ** (row["tries"] - 1)
        values = {"state": state, "said": said[:500], "next_at": int(time.time()) + pause}
        if said:
            log.warning("webhook %s of invoice %s: %s", row["id"], row["invoice"], said)
        with self._database.writing() as db:
            mine = sa.update(HOOK).where(HOOK.c.id == row["id"], HOOK.c.tries == row["tries"], HOOK.c.state == "due")
            db.execute(mine.values(values))
