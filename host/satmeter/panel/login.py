"""Logging in to the pages, by a password or by an OpenID Connect provider; and the logins that were made.

Logins are kept in memory, so a restart ends them all."""

import asyncio
import hashlib
import html
import logging
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from ..core.errors import BadParam, TooMany
from ..formatting import visible
from ..http.openid import Provider
from ..http.password_tries import Tries
from ..http.request_body import TooLarge, TooSlow, whole
from ..http.server import network_of
from .config import Roles
from .users import NOBODY, User, load

log = logging.getLogger("satmeter.panel")

COOKIE = "satmeter"
LASTS_S = 12 * 3600


class Logins:
    """Checks passwords, and knows the cookies that it gave.

    `path` is the file of the users: one who is changed there, or removed, is logged out. While it can't be read, nobody
    with a password in it comes in, or stays."""

    def __init__(self, users: Mapping[str, User], path: Path | None = None):
        self._users, self._path = users, path
        self._read_at = _changed_at(path)
        self._missing = False
        self._known: dict[str, tuple[float, User]] = {}
        self._tries = Tries()

    @property
    def by_name(self) -> bool:
        """Whether anybody has a name to tell."""
        return any(self._users)

    @property
    def only_by_name(self) -> bool:
        """Whether everybody has one."""
        return "" not in self._users

    @property
    def by_password(self) -> bool:
        """Whether anybody has a password."""
        return bool(self._users)

    def right(self, password: str, who: str, name: str = "") -> User | None:
        """Return the user whose password it is; TooMany after too many wrong ones from `who`."""
        self._tries.check(who)
        self._look()
        user = NOBODY if self._missing else self._users.get(name, NOBODY)
        if not user.is_right(password) or user is NOBODY:
            self._tries.was_wrong(who)
            return None
        return user

    def begin(self, user: User) -> str:
        """Return a new cookie."""
        now = time.monotonic()
        self._known = {key: each for key, each in self._known.items() if each[0] > now}
        value = secrets.token_urlsafe(32)
        self._known[_key(value)] = now + LASTS_S, user
        return value

    def user(self, value: str) -> User | None:
        """Returns whose login a cookie is, None where it is none, or ended; it ends after 12 hours."""
        self._look()
        until, user = self._known.get(_key(value), (0.0, None))
        if user is not None and user.hashed and self._missing:
            return None
        return user if until > time.monotonic() else None

    def end(self, value: str) -> None:
        """Ends the login of a cookie; does nothing for an unknown one."""
        self._known.pop(_key(value), None)

    def _look(self) -> None:
        """Reads the file again where it has changed, or could not be read before."""
        if self._path is None or ((changed_at := _changed_at(self._path)) == self._read_at and not self._missing):
            return
        try:
            self._users = load(self._path)
        except (OSError, BadParam) as error:
            if not self._missing:
                log.error("nobody is logged in by a password, since the file of passwords can't be read: %s", error)
            self._missing = True
            return
        self._read_at, self._missing = changed_at, False
        self._known = {
            key: (until, user)
            for key, (until, user) in self._known.items()
            if not user.hashed or self._users.get(user.name) == user
        }


def _changed_at(path: Path | None) -> tuple[int, int, int]:
    """When a file's text and its rights were changed, and which file it is; zeros for none."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        found = None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_ino) if found is not None else (0, 0, 0)


def _key(value: str) -> str:
    """Cookies are found by their hash: looking them up tells nothing by the time it takes."""
    return hashlib.sha256(value.encode()).hexdigest()


FORM_BYTES = 4096
"""The most that an answer of the login's form may have."""
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Satmeter: log in</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="/static/style.css">
<body class="login"><main>{parts}</main></body></html>"""
FORM = """<form method="post" action="/login"><h1>Satmeter</h1>{why}{name}
<label>Password <input type="password" name="password" autocomplete="current-password" autofocus required></label>
<button>Log in</button>{other}</form>"""
NAME = '<label>Name <input name="name" autocomplete="username" {required}></label>'
OTHER = '<a href="/login/openid">Log in with {name}</a>'
ELSEWHERE = "<form><h1>Satmeter</h1>{why}{other}</form>"


class LoginPages:
    """The login's page and what answers it, by password and by OpenID.

    Args:
        logins: Checks and keeps them.
        secure: The cookie is for https only.
        provider: Who says who somebody is, None where nobody does.
        roles: Which role somebody has that comes from the provider.
        public_url: Where browsers find the pages, "" as they asked.
    """

    def __init__(self, logins: Logins, secure: bool, provider: Provider | None, roles: Roles, public_url: str):
        self._logins, self._secure, self._provider = logins, secure, provider
        self._roles, self._public_url = roles, public_url
        self._one = asyncio.Lock()  # else many at once are looked at before the first wrong one counts, 64 MiB each

    def router(self) -> APIRouter:
        """Returns the routes /login, /logout and, with a provider, /login/openid and its way back."""
        router = APIRouter()
        router.get("/login")(self.show)
        router.post("/login")(self.enter)
        router.post("/logout")(self.leave)
        if self._provider is not None:
            router.get("/login/openid")(self.away)
            router.get("/login/openid/back")(self.back)
        return router

    async def show(self) -> Response:
        """Returns the login's page."""
        return self._page()

    async def enter(self, request: Request) -> Response:
        """Logs somebody in by password, or returns the page with why not (401, 408, 413 or 429)."""
        try:
            body = await whole(request, FORM_BYTES)
        except TooLarge:
            return self._page("the name or the password is too long", 413)
        except TooSlow:
            return self._page("the password did not come to its end", 408)
        who = request.client.host if request.client else ""
        given = parse_qs(body.decode("utf-8", "replace"))
        password, name = given.get("password", [""])[0], given.get("name", [""])[0].strip()
        try:
            async with self._one:
                user = await run_in_threadpool(self._logins.right, password, network_of(who), name)
        except TooMany as error:
            return self._page(error.message, 429)
        if user is None:
            return self._page("wrong name or password" if self._logins.by_name else "wrong password", 401)
        return self._entered(user)

    async def leave(self, request: Request) -> Response:
        """Logs out: the cookie is worth nothing from here on."""
        self._logins.end(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE)
        return answer

    async def away(self, request: Request) -> Response:
        """Sends the browser to the provider."""
        assert self._provider is not None
        base = (self._public_url or str(request.base_url)).rstrip("/")
        try:
            return await self._provider.away(request, f"{base}/login/openid/back")
        except HTTPException as error:
            return self._page(str(error.detail), error.status_code)

    async def back(self, request: Request) -> Response:
        """Logs in whom the provider names, where the config gives a role to them; else 403."""
        assert self._provider is not None
        try:
            claims = await self._provider.who(request)
        except HTTPException as error:
            return self._page(str(error.detail), error.status_code)
        name, role = self._roles.of(claims)
        if role is None:
            return self._page(f"{visible(name)} has no role on these pages", 403)
        return self._entered(User(name, role))

    def _page(self, why: str = "", status: int = 200) -> Response:
        logins, provider = self._logins, self._provider
        said = f'<p role="alert">{html.escape(why)}</p>' if why else ""
        other = OTHER.format(name=html.escape(provider.name)) if provider is not None else ""
        form = FORM if logins.by_password else ELSEWHERE
        name = NAME.format(required="required" if logins.only_by_name else "") if logins.by_name else ""
        parts = form.format(why=said, name=name, other=other)
        return HTMLResponse(PAGE.format(parts=parts), status)

    def _entered(self, user: User) -> Response:
        answer = RedirectResponse("/", 303)
        value = self._logins.begin(user)
        answer.set_cookie(COOKIE, value, LASTS_S, httponly=True, samesite="lax", secure=self._secure)
        return answer
