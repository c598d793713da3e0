"""Registering, logging in by password, and logging out."""

from contextlib import suppress

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from ...billing.described import PAGES, takes
from ...billing.meter_pages import MeterPages
from ...core.errors import BadParam, NameTaken, NodeTrouble, TooMany, UnknownMeter
from ...http.server import asker
from ..container import Market
from ..http import COOKIE, Visits, inside
from .parameters import Form, ThisMarket, ThisVisit

router = APIRouter(tags=["accounts"], **PAGES)


def _page(
    request: Request, market: Market, visit: Visits, why: str = "", status: int = 200, where: str = ""
) -> Response:
    openid = market.billing.config.openid
    data = {"why": why, "provider": openid.name if openid is not None else "", "next": inside(where)}
    return visit.answer(request, "login", data, None, status)


@router.get("/login")
def show(request: Request, market: ThisMarket, visit: ThisVisit, next: str = "") -> Response:
    """The page to log in on."""
    return _page(request, market, visit, where=next)


@router.post("/login", openapi_extra=takes(name="ann", password="correct horse"))
async def log_in(request: Request, given: Form, market: ThisMarket, visit: ThisVisit) -> Response:
    """Log in with `name` and `password`; a cookie stands for that from then on."""
    where = str(given.get("next", ""))
    who = asker(request)
    try:
        user = await market.passwords.run(market.users.by_password, given.get("name"), given.get("password"), who)
    except TooMany as error:
        return _page(request, market, visit, error.message, 429, where)
    if user is None:
        return _page(request, market, visit, "no such name and password", 401, where)
    return await run_in_threadpool(visit.log_in, request, user, where)


@router.post("/register", openapi_extra=takes(name="ann", password="correct horse"))
async def register(request: Request, given: Form, market: ThisMarket, visit: ThisVisit) -> Response:
    """Make an account: `name`, `password` (8 characters or more)."""
    where = str(given.get("next", ""))
    try:
        await run_in_threadpool(_not_a_meter, request, given.get("name"))
        user = await market.passwords.run(market.users.register, given.get("name"), given.get("password"))
    except (BadParam, NameTaken, TooMany) as error:
        return _page(request, market, visit, error.message, 429 if isinstance(error, TooMany) else 400, where)
    return await run_in_threadpool(visit.log_in, request, user, where)


def _not_a_meter(request: Request, name: object) -> None:
    """Raises NameTaken for the name of a public meter: NAME@HOST is its Lightning Address."""
    pages: MeterPages | None = getattr(request.app.state, "meter_pages", None)
    if pages is None or not isinstance(name, str) or not pages.is_public(name):
        return
    with suppress(UnknownMeter, NodeTrouble):
        pages.meter(name)
        raise NameTaken(f"name: {name!r} is a meter here; take another name", param="name")


@router.post("/logout")
def leave(request: Request, given: Form, market: ThisMarket, visit: ThisVisit) -> Response:
    """Log out."""
    market.users.end(request.cookies.get(COOKIE, ""))
    answer = visit.done(request, "/login")
    answer.delete_cookie(COOKIE)
    return answer
