"""Everything that a worker of the service needs, made once at its start and closed at its end."""

import base64
import binascii
import threading
import time
from collections import deque

from fastapi import HTTPException
from starlette.requests import HTTPConnection

from ..cln.node import Node
from ..core.errors import TooMany
from ..store import sqlite_url
from .config import Config
from .database import Database
from .follower import Follower
from .hooks import Hooks
from .hub import Hub
from .invoices import Invoices
from .once import Once
from .secrets import Client, Secrets
from .spending import Spending
from .tokens import Tokens

USER = "api-token"
FRESH_S = 5
"""How long a secret that was good is believed without another look: a revoked one ends after that, at the latest."""


class Desk:
    def __init__(self, config: Config):
        self.config = config
        self.node = Node(str(config.rpc))
        self.info = self.node.info()
        url = config.database or sqlite_url(config.rpc.parent / "satmeter-billing.sqlite3")
        self.database = Database(url, str(self.info["id"]))
        self.secrets = Secrets(self.database)
        self.invoices = Invoices(self.database, self.node)
        self.tokens = Tokens(self.database)
        self.once = Once(self.database)
        self.spending = Spending(self.database, self.node, config.payment_cap_msat)
        self.hooks = Hooks(self.database, self.invoices, config.hook_secret, config.hook_hosts)
        self.hub = Hub()
        self.follower = Follower(self.node, self.invoices, lambda row: self.hub.say(row))
        self._known: dict[str, tuple[Client, float]] = {}
        self._minted: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Take up what was left, and follow payments."""
        self.spending.recover()
        self.once.forget()
        self.follower.start()

    def close(self) -> None:
        self.follower.stop()
        self.hub.stop()

    def client(self, connection: HTTPConnection, scope: str) -> Client:
        """Return who asks, by HTTP basic auth; 401 for nobody we know, 403 for one who may not."""
        found = self._client(connection.headers.get("authorization", ""))
        if found is None:
            raise HTTPException(401, "Unauthorized", {"WWW-Authenticate": 'Basic realm="Satmeter"'})
        if scope not in found.scopes:
            raise HTTPException(403, f"this api-token lacks the scope {scope}")
        return found

    def maybe(self, connection: HTTPConnection, scope: str) -> Client | None:
        """The same for what strangers may ask as well."""
        found = self._client(connection.headers.get("authorization", ""))
        return found if found is not None and scope in found.scopes else None

    def still(self, header: str) -> bool:
        """Whether who has begun to listen may still: a revoked secret ends its streams, too."""
        return self._client(header) is not None

    def _client(self, header: str) -> Client | None:
        kind, _, value = header.partition(" ")
        if kind.lower() != "basic":
            return None
        try:
            user, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if user != USER or not secret:
            return None
        now = time.monotonic()
        with self._lock:
            known = self._known.get(secret)
            if known is not None and known[1] > now:
                return known[0]
        found = self.secrets.find(secret)
        with self._lock:
            if found is None:
                self._known.pop(secret, None)
            else:
                self._known[secret] = found, now + FRESH_S
        return found

    def may_mint(self, who: str) -> None:
        """TooMany for a client who makes more invoices in a minute than the config allows."""
        now = time.monotonic()
        with self._lock:
            times = self._minted.setdefault(who, deque())
            while times and times[0] < now - 60:
                times.popleft()
            if len(times) >= self.config.mint_per_minute:
                raise TooMany(f"more than {self.config.mint_per_minute} invoices in a minute (mint_per_minute)")
            times.append(now)
