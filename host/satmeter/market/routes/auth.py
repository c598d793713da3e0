"""The door: registering, logging in by password or by an OpenID Connect provider, and leaving."""

import asyncio
import logging
from collections.abc import Callable
from typing import Annotated

from authlib.integrations.starlette_client import OAuth
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from ...billing.config import OpenID
from ...billing.described import PAGES, takes
from ...core.errors import BadParam, NameTaken, TooMany
from ...core.plain import JsonObject
from ...http.server import network_of
from ..container import Market
from ..http import COOKIE, Visits, inside, sent
from ..users import User

QUEUE = 16
"""Passwords that wait to be looked at."""

log = logging.getLogger("satmeter.market")

Form = Annotated[JsonObject, Depends(sent)]


def routes(market: Market, visits: Visits) -> APIRouter:
    """Returns the router for registration, login and logout; OpenID Connect if configured."""
    router = APIRouter(tags=["accounts"], **PAGES)
    openid = market.desk.config.openid
    provider = openid.name if openid is not None else ""

    def door(request: Request, why: str = "", status: int = 200, where: str = "") -> Response:
        return visits.answer(request, "login", {"why": why, "provider": provider, "next": inside(where)}, None, status)

    @router.get("/login")
    def show(request: Request, next: str = "") -> Response:
        """The page to log in on."""
        return door(request, where=next)

    one, waiting = asyncio.Lock(), 0

    async def in_turn(look: Callable[..., User | None], *what: object) -> User | None:
        """Look at one password at a time, off the threads that everything else needs: each takes argon2 a moment."""
        nonlocal waiting
        if waiting >= QUEUE:
            raise TooMany("very many are logging in; try again in a moment")
        waiting += 1
        try:
            async with one:
                return await run_in_threadpool(look, *what)
        finally:
            waiting -= 1

    @router.post("/login", openapi_extra=takes(name="ann", password="correct horse"))
    async def log_in(request: Request, given: Form) -> Response:
        """Log in with `name` and `password`; a cookie stands for that from then on."""
        where = str(given.get("next", ""))
        who = network_of(request.client.host if request.client else "")
        try:
            user = await in_turn(market.users.by_password, given.get("name"), given.get("password"), who)
        except TooMany as e:
            return door(request, e.message, 429, where)
        if user is None:
            return door(request, "no such name and password", 401, where)
        return await run_in_threadpool(visits.log_in, request, user, where)

    @router.post("/register", openapi_extra=takes(name="ann", password="correct horse"))
    async def register(request: Request, given: Form) -> Response:
        """Make an account: `name`, `password` (8 characters or more)."""
        where = str(given.get("next", ""))
        try:
            user = await in_turn(market.users.register, given.get("name"), given.get("password"))
        except (BadParam, NameTaken, TooMany) as e:
            return door(request, e.message, 429 if isinstance(e, TooMany) else 400, where)
        assert user is not None
        return await run_in_threadpool(visits.log_in, request, user, where)

    @router.post("/logout")
    def leave(request: Request, given: Form) -> Response:
        """Log out."""
        market.users.end(request.cookies.get(COOKIE, ""))
        answer = visits.done(request, "/login")
        answer.delete_cookie(COOKIE)
        return answer

    if openid is not None:
        _openid(router, openid, market, visits)
    return router


def _openid(router: APIRouter, openid: OpenID, market: Market, visits: Visits) -> None:
    oauth = OAuth()
    oauth.register(
        "openid",
        server_metadata_url=f"{openid.issuer.rstrip('/')}/.well-known/openid-configuration",
        client_id=openid.client_id,
        client_secret=openid.client_secret,
        client_kwargs={"scope": "openid profile", "code_challenge_method": "S256", "timeout": 15},
    )

    @router.get("/login/openid")
    async def away(request: Request) -> Response:
        """To the provider."""
        back = f"{visits.base or str(request.base_url).rstrip('/')}/login/openid/back"
        try:
            return await oauth.openid.authorize_redirect(request, back)  # type: ignore[no-any-return]
        except Exception as e:
            log.warning("%s: %s", openid.name, e)
            raise HTTPException(502, f"{openid.name} does not answer as it should: {type(e).__name__}") from None

    @router.get("/login/openid/back")
    async def back(request: Request) -> Response:
        """From the provider: its word on who this is, checked."""
        try:
            token = await oauth.openid.authorize_access_token(request)
            who = token["userinfo"]
            subject, issuer = str(who["sub"]), str(who["iss"])
        except Exception as e:  # the libraries raise what they meet in what it says: nothing of it is believed then
            log.warning("%s: %s", openid.name, e)
            raise HTTPException(401, f"{openid.name} did not say who you are: {type(e).__name__}") from None
        wish = str(who.get("preferred_username") or who.get("name") or "user")
        user = await run_in_threadpool(market.users.by_openid, issuer, subject[:255], wish)
        return await run_in_threadpool(visits.log_in, request, user, "/dashboard")
