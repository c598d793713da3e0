"""The password of the pages, and the logins that were made with it.

The password is kept hashed (argon2). Logins are kept in memory, so a restart ends them all."""

import asyncio
import hashlib
import html
import os
import secrets
import time
from pathlib import Path
from urllib.parse import parse_qs

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from ..core.errors import BadParam, TooMany
from ..http.password_tries import Tries
from ..http.server import network_of

COOKIE = "satmeter"
LASTS_S = 12 * 3600
LEAST = 8


def set_password(path: Path, password: str) -> None:
    """Write the hash of a password (mode 0600). BadParam for one that is too short."""
    if len(password) < LEAST:
        raise BadParam(f"password: must have at least {LEAST} characters", param="password")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(PasswordHasher().hash(password) + "\n")
    fresh.replace(path)


class Logins:
    """Checks passwords against a hash, and knows the cookies that it gave."""

    def __init__(self, hashed: str):
        self._hash = hashed.strip()
        self._until: dict[str, float] = {}
        self._tries = Tries()

    @classmethod
    def load(cls, path: Path) -> "Logins":
        """Reads the password's hash from a file; raises BadParam where others may read the file."""
        if path.stat().st_mode & 0o077:
            raise BadParam(f"{path}: must be readable by its owner only (chmod 600)", param="password")
        return cls(path.read_text())

    def right(self, password: str, who: str) -> bool:
        """Whether it is the password; takes about 50 ms on purpose. TooMany after too many wrong ones from `who`."""
        self._tries.check(who)
        try:
            return PasswordHasher().verify(self._hash, password)
        except (VerificationError, InvalidHashError):
            self._tries.was_wrong(who)
            return False

    def begin(self) -> str:
        """Return a new cookie."""
        now = time.monotonic()
        self._until = {key: until for key, until in self._until.items() if until > now}
        value = secrets.token_urlsafe(32)
        self._until[_key(value)] = now + LASTS_S
        return value

    def knows(self, value: str) -> bool:
        """Returns whether a cookie's login still lasts; it ends after 12 hours."""
        return self._until.get(_key(value), 0.0) > time.monotonic()

    def end(self, value: str) -> None:
        """Ends the login of a cookie; does nothing for an unknown one."""
        self._until.pop(_key(value), None)


def _key(value: str) -> str:
    """Cookies are found by their hash: looking them up tells nothing by the time it takes."""
    return hashlib.sha256(value.encode()).hexdigest()


PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Satmeter: log in</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="/static/style.css">
<body class="login"><main><form method="post" action="/login"><h1>Satmeter</h1>{why}
<label>Password <input type="password" name="password" autocomplete="current-password" autofocus required></label>
<button>Log in</button></form></main></body></html>"""


def routes(logins: Logins, secure: bool) -> APIRouter:
    """The login's page and its answer. secure: the cookie is for https only."""
    router = APIRouter()
    one = asyncio.Lock()  # else many at once are looked at before the first wrong one counts, 64 MiB each

    @router.get("/login")
    async def show() -> HTMLResponse:
        return HTMLResponse(PAGE.format(why=""))

    @router.post("/login")
    async def enter(request: Request) -> Response:
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > 4096:
                return _again("that is no password", 413)
        who = request.client.host if request.client else ""
        given = parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0]
        try:
            async with one:
                good = await run_in_threadpool(logins.right, given, network_of(who))
        except TooMany as e:
            return _again(e.message, 429)
        if not good:
            return _again("wrong password", 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, logins.begin(), LASTS_S, httponly=True, samesite="lax", secure=secure)
        return answer

    @router.post("/logout")
    async def leave(request: Request) -> Response:
        logins.end(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE)
        return answer

    return router


def _again(why: str, status: int) -> HTMLResponse:
    return HTMLResponse(PAGE.format(why=f'<p role="alert">{html.escape(why)}</p>'), status)
