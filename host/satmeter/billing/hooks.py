"""Webhooks: a paid invoice is posted to the URLs that wait for it, signed, again and again with growing pauses; what
nobody took in the end is kept as a dead letter until it is replayed.

A URL comes from a client, and the request goes out from here: so it must not lead into our own network (SSRF). The name
is resolved once, every address of it has to be public, and the request goes to that very address.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import json
import logging
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import sqlalchemy as sa

from ..core.errors import BadParam
from .database import Database, only
from .invoices import Invoices, hook_row, shown
from .tables import HOOK, INVOICE

log = logging.getLogger("satmeter.billing")

TIMEOUT_S = 15
LEASE_S = 60
TRIES = 10
FIRST_S = 2
EVERY_S = 0.5
AT_ONCE = 20


def check_url(url: object, name: str = "url") -> str:
    """Return a URL that a webhook may have. BadParam for anything but http(s) to a host."""
    if not isinstance(url, str) or len(url) > 2000 or not url.isprintable():
        raise BadParam(f"{name}: must be an http(s) address of at most 2000 characters", param=name)
    try:
        parts = urlsplit(url)
        httpx.URL(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except (ValueError, httpx.InvalidURL):
        good = False
    if not good:
        raise BadParam(f"{name}: must be http(s)://HOST/..., got {url[:200]!r}", param=name)
    return url


INWARD = tuple(ipaddress.ip_network(n) for n in ("64:ff9b::/96", "2002::/16", "fec0::/10", "::/96", "::ffff:0:0:0/96"))
"""Forms of IPv6 that may carry an inner IPv4 address, or a site's own."""


def _public(address: str) -> bool:
    found = ipaddress.ip_address(address.split("%")[0])
    return found.is_global and not found.is_multicast and not any(found in net for net in INWARD if found.version == 6)


def signature(secret: str, body: bytes) -> str:
    """Return what stands in the header X-Satmeter-Signature: HMAC-SHA256 of the body under the config's hook_secret."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Hooks:
    def __init__(self, database: Database, invoices: Invoices, secret: str, allowed: tuple[str, ...]):
        self._database, self._invoices, self._secret, self._allowed = database, invoices, secret, allowed

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
        """Forever: send what is due."""
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            while True:
                try:
                    rows = await asyncio.to_thread(self._claim)
                    await asyncio.gather(*(self._send(client, row) for row in rows))
                except Exception as e:  # whatever one of them is like, the others go on
                    log.warning("webhooks: %s", e)
                await asyncio.sleep(EVERY_S)

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
        invoice = await asyncio.to_thread(self._invoices.find, row["invoice"])
        said = "the invoice is gone"
        if invoice is not None:
            body = json.dumps(shown(invoice)).encode()
            headers = {"content-type": "application/json", "x-satmeter-id": row["id"]}
            if self._secret:
                headers["x-satmeter-signature"] = signature(self._secret, body)
            try:
                said = await asyncio.wait_for(self._post(client, row["url"], body, headers), TIMEOUT_S)
            except Exception as e:  # the address is a stranger's, and so is the server
                said = str(e) or type(e).__name__
        await asyncio.to_thread(self._done, row, said)

    async def _post(self, client: httpx.AsyncClient, url: str, body: bytes, headers: dict[str, str]) -> str:
        """Post to the one address that was looked at; returns "" where it was taken, else what was answered."""
        parts = urlsplit(check_url(url))
        host = parts.hostname or ""
        address = await self._address(host, parts.port or (443 if parts.scheme == "https" else 80))
        target = httpx.URL(url).copy_with(host=address)
        extensions = {"sni_hostname": host} if parts.scheme == "https" else {}
        request = client.build_request(
            "POST",
            target,
            content=body,
            headers={**headers, "host": parts.netloc.rpartition("@")[2]},
            extensions=extensions,
        )
        answer = await client.send(request, stream=True)
        await answer.aclose()
        return "" if answer.is_success else f"HTTP {answer.status_code}"

    async def _address(self, host: str, port: int) -> str:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(each[4][0]) for each in found]
        if not addresses:
            raise OSError(f"{host} has no address")
        for each in addresses:
            if host.lower() not in self._allowed and not _public(each):
                raise BadParam(f"{host} is in a private network ({each}); hook_hosts in the config may allow it")
        return addresses[0]

    def _done(self, row: dict[str, Any], said: str) -> None:
        state = "done" if not said else "dead" if row["tries"] >= TRIES else "due"
        pause = FIRST_S * 4 ** (row["tries"] - 1)
        values = {"state": state, "said": said[:500], "next_at": int(time.time()) + pause}
        if said:
            log.warning("webhook %s of invoice %s: %s", row["id"], row["invoice"], said)
        with self._database.writing() as db:
            mine = sa.update(HOOK).where(HOOK.c.id == row["id"], HOOK.c.tries == row["tries"], HOOK.c.state == "due")
            db.execute(mine.values(values))
