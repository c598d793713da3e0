"""Logging in by an OpenID Connect provider, where the config names one (OpenID Connect Core 1.0, with PKCE)."""

import logging

from authlib.integrations.starlette_client import OAuth
from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from ...billing.config import OpenID
from ...billing.described import PAGES
from .parameters import ThisMarket, ThisVisit

log = logging.getLogger("satmeter.market")

router = APIRouter(tags=["accounts"], **PAGES)


def provider(openid: OpenID) -> OAuth:
    """Returns Authlib's client of a provider, for app.state.openid."""
    oauth = OAuth()
    oauth.register(
        "openid",
        server_metadata_url=f"{openid.issuer.rstrip('/')}/.well-known/openid-configuration",
        client_id=openid.client_id,
        client_secret=openid.client_secret,
        client_kwargs={"scope": "openid profile", "code_challenge_method": "S256", "timeout": 15},
    )
    return oauth


@router.get("/login/openid")
async def away(request: Request, market: ThisMarket, visit: ThisVisit) -> Response:
    """To the provider."""
    openid = market.billing.config.openid
    assert openid is not None
    back = f"{visit.base or str(request.base_url).rstrip('/')}/login/openid/back"
    try:
        return await request.app.state.openid.openid.authorize_redirect(request, back)  # type: ignore[no-any-return]
    except Exception as e:
        log.warning("%s: %s", openid.name, e)
        raise HTTPException(502, f"{openid.name} does not answer as it should: {type(e).__name__}") from None


@router.get("/login/openid/back")
async def back(request: Request, market: ThisMarket, visit: ThisVisit) -> Response:
    """From the provider: its word on who this is, checked."""
    openid = market.billing.config.openid
    assert openid is not None
    try:
        token = await request.app.state.openid.openid.authorize_access_token(request)
        who = token["userinfo"]
        subject, issuer = str(who["sub"]), str(who["iss"])
    except Exception as e:  # Authlib lets through what its own libraries raise: any error means a failed login
        log.warning("%s: %s", openid.name, e)
        raise HTTPException(401, f"{openid.name} did not say who you are: {type(e).__name__}") from None
    wish = str(who.get("preferred_username") or who.get("name") or "user")
    user = await run_in_threadpool(market.users.by_openid, issuer, subject[:255], wish)
    return await run_in_threadpool(visit.log_in, request, user, "/dashboard")
