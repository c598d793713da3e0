"""Parameters of many pages: the market, the visit, who is logged in, and the form that was sent."""

from typing import Annotated

from fastapi import Depends, HTTPException, Request
from starlette.requests import HTTPConnection

from ...core.plain import JsonObject
from ..container import Market
from ..http import Visits, sent
from ..users import User


async def maybe_market(connection: HTTPConnection) -> Market | None:
    """Returns the accounts and the market of this worker's service, None where it has none."""
    found: Market | None = connection.app.state.market
    return found


MaybeMarket = Annotated[Market | None, Depends(maybe_market)]


async def market(found: MaybeMarket) -> Market:
    """Returns the accounts and the market; HTTPException 404 where there are none."""
    if found is None:
        raise HTTPException(404, "Not Found")
    return found


async def visits(connection: HTTPConnection) -> Visits:
    """Returns what answers with pages."""
    found: Visits = connection.app.state.visits
    return found


ThisMarket = Annotated[Market, Depends(market)]
ThisVisit = Annotated[Visits, Depends(visits)]
Form = Annotated[JsonObject, Depends(sent)]


def logged_in(request: Request, visit: ThisVisit) -> User:
    """Returns who is logged in; others are led to the login, or get 401 (Visits.known)."""
    return visit.known(request)


Visitor = Annotated[User, Depends(logged_in)]
