"""Who has an account: by a password (argon2), or by an OpenID Connect provider; and who is logged in."""

import re
import secrets
import threading
import time
from dataclasses import dataclass

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from ..billing.api_tokens import digest
from ..billing.database import Database, already_there
from ..billing.ids import new_id
from ..core.errors import BadParam, JournalTrouble, NameTaken, TooMany
from ..http.last_minute import WITHIN_S, LastMinute
from ..http.password_tries import Tries
from .tables import LOGIN, USER

NAME = re.compile(r"[a-z0-9][a-z0-9-]{2,29}")
LEAST, MOST = 8, 200
LASTS_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class User:
    """A user of the market: the id never changes, and the name is unique."""

    id: str
    name: str


class Users:
    """The users and their logins, in the database."""

    def __init__(self, database: Database, most_new: int):
        """most_new: accounts that may be made in a minute: each costs an argon2 hash."""
        self._database, self._most_new = database, most_new
        self._hasher = PasswordHasher()
        self._nobody = self._hasher.hash(secrets.token_hex(16))
        self._tries = Tries()
        self._made = LastMinute()
        self._one = threading.Lock()
        """One password at a time: each takes 64 MiB, and many at once would all be looked at before one counts."""

    def register(self, name: object, password: object) -> User:
        """Make an account. BadParam, NameTaken; TooMany where very many are being made."""
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise BadParam(f"name: must be 3 to 30 of a-z, 0-9 and -, got {str(name)[:40]!r}", param="name")
        if not isinstance(password, str) or not LEAST <= len(password) <= MOST:
            raise BadParam(f"password: must have {LEAST} to {MOST} characters", param="password")
        if self._find(USER.c.name == name) is not None:
            raise NameTaken(f"name: {name!r} is taken", param="name")
        with self._one:
            if not self._made.take("accounts", self._most_new):
                raise TooMany(f"very many accounts are being made; try again in {WITHIN_S} s (sign_ups_per_minute)")
            hashed = self._hasher.hash(password.encode("utf-8", "surrogatepass"))
        return self._add(name, {"password": hashed})

    def by_password(self, name: object, password: object, who: str) -> User | None:
        """Returns the user with a name and a password, or None.

        It takes as long for unknown names as for known ones. Raises TooMany after too many wrong passwords
        from `who`, which is the client's network (server.network_of)."""
        if not isinstance(name, str) or not isinstance(password, str) or len(password) > MOST:
            return None
        row = self._find(USER.c.name == name)
        with self._one:
            self._tries.check(who)
            hashed = row.password if row is not None and row.password else self._nobody
            try:
                self._hasher.verify(hashed, password.encode("utf-8", "surrogatepass"))
            except (VerificationError, InvalidHashError):
                self._tries.was_wrong(who)
                return None
        return User(row.id, row.name) if row is not None and row.password else None

    def by_openid(self, issuer: str, subject: str, wish: str) -> User:
        """Return who a provider says this is, by its subject; a new account has a name like the one wished for."""
        found = self._find(sa.and_(USER.c.issuer == issuer, USER.c.subject == subject))
        if found is not None:
            return User(found.id, found.name)
        base = re.sub(r"[^a-z0-9-]+", "-", wish.lower()).strip("-")[:20] or "user"
        for name in (base if len(base) > 2 else f"{base}-user", *(f"{base}-{secrets.token_hex(3)}" for _ in range(5))):
            try:
                return self._add(name, {"issuer": issuer, "subject": subject})
            except NameTaken:
                found = self._find(sa.and_(USER.c.issuer == issuer, USER.c.subject == subject))
                if found is not None:  # the same person in another tab
                    return User(found.id, found.name)
        raise NameTaken(f"name: no free one like {base!r} was found", param="name")

    def named(self, name: str) -> User | None:
        """Returns the user with a name, or None."""
        row = self._find(USER.c.name == name)
        return User(row.id, row.name) if row is not None else None

    def names(self, ids: set[str]) -> dict[str, str]:
        """Returns the names of users by their ids, without ids that are unknown."""
        with self._database.reading() as db:
            return {
                each.id: each.name for each in db.execute(sa.select(USER.c.id, USER.c.name).where(USER.c.id.in_(ids)))
            }

    # --- logins

    def begin(self, user: User) -> str:
        """Return a new cookie; only its hash is kept."""
        value, now = secrets.token_urlsafe(32), int(time.time())
        with self._database.writing() as db:
            db.execute(sa.delete(LOGIN).where(LOGIN.c.until < now))
            db.execute(sa.insert(LOGIN), {"hash": digest(value), "user": user.id, "until": now + LASTS_S})
        return value

    def of_cookie(self, value: str) -> User | None:
        """Returns the user that a cookie logs in; None if it is unknown or over 30 days old."""
        if not value:
            return None
        joined = sa.select(USER.c.id, USER.c.name).join(LOGIN, LOGIN.c.user == USER.c.id)
        with self._database.reading() as db:
            live = joined.where(LOGIN.c.hash == digest(value), LOGIN.c.until > int(time.time()))
            row = db.execute(live).first()
        return User(row.id, row.name) if row is not None else None

    def end(self, value: str) -> None:
        """Ends the login of a cookie. Does nothing for an unknown cookie."""
        with self._database.writing() as db:
            db.execute(sa.delete(LOGIN).where(LOGIN.c.hash == digest(value)))

    def _find(self, which: sa.ColumnElement[bool]) -> "sa.Row[tuple[str, ...]] | None":
        with self._database.reading() as db:
            return db.execute(sa.select(USER).where(which)).first()

    def _add(self, name: str, how: dict[str, str]) -> User:
        row = {"password": None, "issuer": None, "subject": None, **how, "id": new_id(), "name": name}
        try:
            with self._database.writing() as db:
                db.execute(sa.insert(USER), {**row, "created_at": int(time.time())})
        except JournalTrouble as error:
            if not already_there(error):
                raise
            raise NameTaken(f"name: {name!r} is taken", param="name") from None
        return User(str(row["id"]), name)
