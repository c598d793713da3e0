"""The market's pages: searching, an offer, the cart, and what a seller publishes."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from ...billing.described import PAGES, takes
from ...core.money import whole
from ...core.plain import JsonObject
from ..amounts import priced
from ..container import Market
from ..http import LOGGED_IN, Visits, sent
from ..offers import PAGE, shown
from ..orders import client_of

Form = Annotated[JsonObject, Depends(sent)]
OFFER = {
    "service": "Objects/Parking/capacity",
    "node_url": "https://node.example:8083/",
    "sat": "1",
    "uses": 1,
    "description": "parking facilities",
}
SELLER_SCOPES = ["invoice", "verify-own"]


def routes(market: Market, visits: Visits) -> APIRouter:
    """Returns the router of the market's pages: search, cart, and a seller's own services."""
    router = APIRouter(tags=["market"], **PAGES)
    offers, orders = market.offers, market.orders

    @router.get("/")
    def home(request: Request) -> Response:
        """To the market."""
        return visits.done(request, "/market")

    @router.get("/market")
    def search(request: Request, q: str = "", sort: str = "price", page: int = 1) -> Response:
        """Services that have all the words of `q`; sort: price, reputation or newest."""
        whole("page", page, 1, 10_000)
        found, count = offers.search(q[:200], sort, page)
        data = {"offers": [shown(o) for o in found], "count": count, "q": q[:200], "sort": sort, "page": page}
        return visits.answer(request, "search", {**data, "pages": -(-count // PAGE)}, visits.user(request))

    @router.get("/market/offer/{id}")
    def offer(request: Request, id: str) -> Response:
        """An offer, and what its buyers say of it."""
        found = offers.find(id)
        if found is None:
            raise HTTPException(404, "Not Found")
        user = visits.user(request)
        own = user is not None and user.id == found["seller"]
        return visits.answer(request, "offer", {"offer": shown(found), "own": own}, user)

    @router.get("/market/cart", dependencies=LOGGED_IN)
    def cart(request: Request) -> Response:
        """What is in the cart, and what it comes to."""
        user = visits.known(request)
        found = [shown(o) for o in orders.cart(user.id)]
        total = sum(o["msatoshi"] for o in found)
        fee = sum(market.ledger.fee(o["msatoshi"]) for o in found)
        return visits.answer(request, "cart", {"offers": found, "msatoshi": total, "fee": fee}, user)

    @router.post("/market/cart", dependencies=LOGGED_IN, openapi_extra=takes(offer="5f2c..."))
    def put(request: Request, given: Form) -> Response:
        """Put an `offer` into the cart."""
        orders.put(visits.known(request).id, given.get("offer"))
        return visits.done(request, "/market/cart")

    @router.post("/market/cart/remove", dependencies=LOGGED_IN, openapi_extra=takes(offer="5f2c..."))
    def take_out(request: Request, given: Form) -> Response:
        """Take an `offer` out of the cart."""
        orders.take_out(visits.known(request).id, given.get("offer"))
        return visits.done(request, "/market/cart")

    @router.post("/market/checkout", dependencies=LOGGED_IN)
    def check_out(request: Request, given: Form) -> Response:
        """Make the order of all that is in the cart: one invoice, and the page to pay it on."""
        user = visits.known(request)
        market.desk.may_mint(f"user/{user.id}")
        row = orders.check_out(user.id)
        made = {"id": row["id"], "payreq": row["payreq"], "msatoshi": row["msatoshi"]}
        return visits.done(request, f"/checkout/{row['id']}", made)

    # --- selling

    @router.get("/sell", dependencies=LOGGED_IN)
    def sell(request: Request) -> Response:
        """What one sells, and what was sold."""
        return stall(request)

    @router.post("/sell", dependencies=LOGGED_IN, openapi_extra=takes(**OFFER))
    async def publish(request: Request, given: Form) -> Response:
        """Publish a `service` at `node_url` for `sat` (or `msatoshi`), with a `description` and `uses`."""
        user = await run_in_threadpool(visits.known, request)
        checked = await offers.probe(given.get("node_url"))
        row = await run_in_threadpool(offers.publish, user.id, priced(given), checked)
        return visits.done(request, "/sell", {"offer": shown(row)})

    @router.post("/sell/show", dependencies=LOGGED_IN, openapi_extra=takes(offer="5f2c...", shown="0"))
    def show(request: Request, given: Form) -> Response:
        """Take an `offer` off the market (`shown` 0), or put it back."""
        if not offers.show(visits.known(request).id, str(given.get("offer")), str(given.get("shown")) == "1"):
            raise HTTPException(404, "Not Found")
        return visits.done(request, "/sell")

    @router.post("/sell/token", dependencies=LOGGED_IN)
    def token(request: Request, given: Form) -> Response:
        """A new api-token for the seller's gates; an earlier one ends."""
        client = client_of(visits.known(request).id)
        return stall(request, market.desk.secrets.renew(client, SELLER_SCOPES))

    def stall(request: Request, api_token: str = "") -> Response:
        user = visits.known(request)
        data = {
            "offers": [shown(o) for o in offers.of(user.id)],
            "sales": orders.sales(user.id),
            "fee_ppm": market.ledger.fee_ppm,
            "api_token": api_token,
            "service_url": visits.base or str(request.base_url).rstrip("/"),
        }
        return visits.answer(request, "sell", data, user)

    return router
