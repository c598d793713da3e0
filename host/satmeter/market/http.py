"""A request for the pages: its user, its form, and its answer, as a page or as JSON if the client asks for that.

A cookie identifies the user. The browser also sends it with requests that another site's page makes. So a request that
changes something is refused if it comes from such a page.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Context, Decimal
from urllib.parse import quote, urlsplit

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader

from ..billing import forms
from ..billing.described import needs_login
from ..core.plain import JsonObject
from ..formatting import amount, visible
from ..http import security
from .container import Market
from .users import User

COOKIE = "satmeter-market"
LOGGED_IN = needs_login(COOKIE)
HEADERS = {
    **security.headers("default-src 'self'", "img-src 'self' data:", "style-src 'self' 'unsafe-inline'"),
    "Cache-Control": "no-store",
}


def of_a_use(msat: int, uses: int) -> str:
    """Return the price of one of several uses: whole sat from 1,000 on, under that to three figures."""
    each = Decimal(msat) / (1000 * uses)
    shown = each.quantize(Decimal(1)) if each >= 1000 else Context(prec=3).plus(each).normalize()
    return f"{shown:,f} sat"


PAGES = Environment(
    loader=PackageLoader("satmeter.market"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=lambda value: visible(value) if type(value) is str else value,  # not Markup, which is ours
)
PAGES.filters["sat"] = amount
PAGES.filters["each"] = of_a_use
PAGES.filters["day"] = lambda at: f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
PAGES.filters["stars"] = lambda tenths: f"{tenths // 10}.{tenths % 10}"


def wants_json(request: Request) -> bool:
    """Returns whether the Accept header names JSON and not HTML."""
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "text/html" not in accept


async def sent(request: Request) -> JsonObject:
    """Return the fields of a form or of JSON; 403 for one that a page of another site sent."""
    origin = request.headers.get("origin")
    hosts = {request.headers.get("host", "").lower(), urlsplit(request.app.state.public_url).netloc.lower()} - {""}
    if security.is_cross_site(origin, hosts, request.headers.get("sec-fetch-site", "same-origin")):
        raise HTTPException(403, "cross-site request refused")
    return forms.fields(await forms.raw(request), request.headers.get("content-type", ""))


class Visits:
    """Answers requests for the pages. market None: there are no accounts here, and nobody is ever logged in."""

    def __init__(self, base: str, market: Market | None, about: Mapping[str, object]):
        """base: where browsers find the pages. about: the node, as getinfo tells it."""
        self.base, self._market, self._about = base.rstrip("/"), market, about
        self.path = urlsplit(self.base).path

    def user(self, request: Request) -> User | None:
        """Return who is logged in."""
        if self._market is None:
            return None
        return self._market.users.of_cookie(request.cookies.get(COOKIE, ""))

    def known(self, request: Request) -> User:
        """Return who is logged in; others are led to the login (a page's visitor), or get 401."""
        user = self.user(request)
        if user is None:
            if request.method == "GET" and not wants_json(request):
                raise HTTPException(303, "See Other", {"Location": f"{self.path}/login?next={quote(request.url.path)}"})
            raise HTTPException(401, "log in first: POST /login with name and password")
        return user

    def answer(
        self, request: Request, page: str, data: Mapping[str, object], user: User | None = None, status: int = 200
    ) -> Response:
        """Return a page (templates/PAGE.html) of the data, or the data."""
        if wants_json(request):
            return JSONResponse(dict(data), status, headers={"Cache-Control": "no-store"})
        market = self._market
        about = {
            "path": self.path,
            "user": user,
            "market": market is not None,
            "balance": market.ledger.balance(f"user/{user.id}") if market is not None and user is not None else 0,
            "about": self._about,
        }
        return HTMLResponse(PAGES.get_template(f"{page}.html").render({**about, **data}), status, headers=HEADERS)

    def done(self, request: Request, where: str, data: Mapping[str, object] | None = None) -> Response:
        """Return what follows a change: the page to go on to, or for JSON what was made, and where that is."""
        if wants_json(request):
            return JSONResponse({"next": f"{self.base}{where}", **(data or {})}, headers={"Cache-Control": "no-store"})
        return RedirectResponse(f"{self.path}{where}", 303)

    def log_in(self, request: Request, user: User, where: str) -> Response:
        """Returns an answer that logs a user in by a cookie for 30 days, and leads to `where`.

        Anything but a path of this site becomes /dashboard."""
        assert self._market is not None
        answer = self.done(request, inside(where), {"name": user.name})
        secure = self.base.startswith("https")
        value = self._market.users.begin(user)
        answer.set_cookie(COOKIE, value, 30 * 86_400, httponly=True, samesite="lax", secure=secure)
        return answer


def for_wallets(answer: JsonObject) -> Response:
    """Returns an answer of LNURL, which wallets in a browser may read, too."""
    return JSONResponse(answer, headers={"Access-Control-Allow-Origin": "*"})


def inside(where: object) -> str:
    """Return a path of ours to go on to; /dashboard for anything that could lead elsewhere."""
    good = isinstance(where, str) and where.startswith("/") and not where.startswith("//") and where.isprintable()
    return where if good and isinstance(where, str) and "\\" not in where else "/dashboard"
