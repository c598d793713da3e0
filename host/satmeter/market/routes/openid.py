"""Logging in to the market by an OpenID Connect provider, where the config names one."""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from ...billing.described import PAGES
from ...http.openid import Provider
from .parameters import ThisMarket, ThisVisit

router = APIRouter(tags=["accounts"], **PAGES)


def _provider(request: Request) -> Provider:
    found = request.app.state.openid
    assert isinstance(found, Provider)
    return found


@router.get("/login/openid")
async def away(request: Request, visit: ThisVisit) -> Response:
    """To the provider."""
    return await _provider(request).away(
        request, f"{visit.base or str(request.base_url).rstrip('/')}/login/openid/back"
    )


@router.get("/login/openid/back")
async def back(request: Request, market: ThisMarket, visit: ThisVisit) -> Response:
    """From the provider: its word on who this is, checked."""
    who = await _provider(request).who(request)
    wish = str(who.get("preferred_username") or who.get("name") or "user")
    user = await run_in_threadpool(market.users.by_openid, who["iss"], who["sub"][:255], wish)
    return await run_in_threadpool(visit.log_in, request, user, "/dashboard")
