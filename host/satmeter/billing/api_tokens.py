"""The api-tokens of clients: secrets with scopes, stored hashed; made, listed and revoked by command."""

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass

import sqlalchemy as sa

from ..core.errors import BadParam, NameTaken, WrongState
from .database import Database, insert_new, only
from .tables import SECRET, SUBSCRIPTION

SCOPES = {
    "invoice": "make, see and delete invoices, and follow payments",
    "pay": "pay invoices with the node's money, and make on-chain addresses",
    "verify": "verify payments, and spend and refresh hash tokens, whichever client sold them",
    "verify-own": "the same for what this client sold",
    "meter": "receive events of the node's meters, and spend credit of their sessions through gates",
    "metrics": "read the service's metrics",
}
NEW = {"revoked_at": 0, "old_hash": "", "old_until": 0, "expires_at": 0}
NAME = re.compile(r"[a-z0-9-]{1,40}")
SELLER = "seller/"
"""Before a user's id: the client under which the market's sellers sell, which no client's name can be."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who holds a secret, and what it allows."""

    name: str
    scopes: frozenset[str]


def covers(verifier: str, client: str) -> bool:
    """Returns whether a verifier may verify what a client sold.

    The verifier is a client's name, which covers that client's own sales. The verifier "" stands for the
    operator's gates. It covers all clients except sellers of the market: a seller could give a service
    the name of one of the operator's, sell it for little, and its tokens would open the operator's gates."""
    return client == verifier if verifier else not client.startswith(SELLER)


def digest(secret: str) -> str:
    """Return what is stored of a secret. They have 256 random bits: nothing slower is needed against guessing."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class ApiTokens:
    """The api-tokens of clients in the database. Only the hash of each secret is stored."""

    def __init__(self, database: Database):
        self._database = database

    def add(self, name: str, scopes: list[str], secret: str = "", expires_at: int = 0) -> str:
        """Makes a client and returns its secret, which is not stored and can't be shown again.

        Args:
            name: 1 to 40 of a-z, 0-9 and -.
            scopes: Names from SCOPES.
            secret: The secret to use, 16 characters at least; "" makes a random one of 256 bits.
            expires_at: When the secret ends, in seconds since 1970; 0 for never.

        Raises:
            BadParam: The name, a scope or the secret is not valid.
            NameTaken: There is such a client already. A revoked client keeps its name.
        """
        if not NAME.fullmatch(name):
            raise BadParam(f"name: must be 1 to 40 of a-z, 0-9 and -, got {name!r}", param="name")
        for scope in scopes:
            if scope not in SCOPES:
                raise BadParam(f"scope: must be one of {', '.join(SCOPES)}, got {scope!r}", param="scope")
        if secret and len(secret) < 16:
            raise BadParam("secret: must have at least 16 characters", param="secret")
        secret = secret or secrets.token_urlsafe(32)
        with self._database.writing() as db:
            if db.execute(sa.select(SECRET.c.name).where(SECRET.c.name == name)).first():
                raise NameTaken(
                    f"name: there is a client {name!r} already; names of revoked clients stay in use", param="name"
                )
            row = {"name": name, "hash": digest(secret), "scopes": " ".join(sorted(set(scopes))), **NEW}
            db.execute(sa.insert(SECRET), {**row, "created_at": int(time.time()), "expires_at": expires_at})
        return secret

    def replace(self, name: str, keep_s: int = 0, expires_at: int = 0) -> str:
        """Gives a client a new secret and returns it; the earlier secret can stay valid for a while.

        The client's invoices and scopes stay. A revoked client becomes valid again, but the webhook
        subscriptions that the revocation deleted do not come back.

        Args:
            name: The client's name.
            keep_s: Seconds for which the earlier secret stays valid, but not beyond its own end. A revoked
                secret does not become valid again.
            expires_at: When the new secret ends, in seconds since 1970; 0 for never.

        Raises:
            BadParam: There is no such client.
        """
        secret, now = secrets.token_urlsafe(32), int(time.time())
        with self._database.writing() as db:
            row = db.execute(sa.select(SECRET).where(SECRET.c.name == name).with_for_update()).first()
            if row is None:
                raise BadParam(f"name: there is no client {name!r}", param="name")
            until = min(now + keep_s, row.expires_at or now + keep_s)  # what has an end is not prolonged
            kept = until > now and not row.revoked_at
            old = {"old_hash": row.hash if kept else "", "old_until": until if kept else 0}
            values = {"hash": digest(secret), "revoked_at": 0, "expires_at": expires_at, **old}
            db.execute(sa.update(SECRET).where(SECRET.c.name == name).values(values))
        return secret

    def renew(self, name: str, scopes: list[str]) -> str:
        """Gives a client a new secret and returns it; makes the client if there is none.

        The earlier secret ends at once, and so do the client's webhook subscriptions. Raises WrongState
        for a client that the operator revoked."""
        secret = secrets.token_urlsafe(32)
        row = {"hash": digest(secret), "scopes": " ".join(sorted(scopes)), **NEW}
        with self._database.writing() as db:
            fresh = {**row, "name": name, "created_at": int(time.time())}
            if not insert_new(db, SECRET, fresh):
                mine = sa.update(SECRET).where(SECRET.c.name == name, SECRET.c.revoked_at == 0)
                if not only(db.execute(mine.values(row))):
                    raise WrongState("token: the hub's operator has revoked this seller's token")
                db.execute(sa.delete(SUBSCRIPTION).where(SUBSCRIPTION.c.client == name))
        return secret

    def all(self) -> list[dict[str, object]]:
        """Return every client, revoked ones too; nothing of their secrets."""
        with self._database.reading() as db:
            columns = (SECRET.c.name, SECRET.c.scopes, SECRET.c.created_at, SECRET.c.expires_at, SECRET.c.revoked_at)
            return [dict(row._mapping) for row in db.execute(sa.select(*columns).order_by(SECRET.c.name))]

    def revoke(self, name: str) -> None:
        """From now on the client's secret is good for nothing. BadParam for one that is not there."""
        with self._database.writing() as db:
            found = sa.update(SECRET).where(SECRET.c.name == name, SECRET.c.revoked_at == 0)
            if not only(db.execute(found.values(revoked_at=int(time.time())))):
                raise BadParam(f"name: there is no client {name!r} that could be revoked", param="name")
            db.execute(sa.delete(SUBSCRIPTION).where(SUBSCRIPTION.c.client == name))

    def find(self, secret: str) -> Client | None:
        """Return whose secret it is. Found by its hash, so that the time it takes tells nothing about a secret."""
        wanted, now = digest(secret), int(time.time())
        lives = sa.or_(SECRET.c.expires_at == 0, SECRET.c.expires_at > now)
        present = sa.and_(SECRET.c.hash == wanted, lives)
        earlier = sa.and_(SECRET.c.old_hash == wanted, SECRET.c.old_until > now)
        with self._database.reading() as db:
            row = db.execute(sa.select(SECRET).where(sa.or_(present, earlier), SECRET.c.revoked_at == 0)).first()
        if row is None or not any(hmac.compare_digest(known, wanted) for known in (row.hash, row.old_hash)):
            return None
        return Client(row.name, frozenset(row.scopes.split()))
