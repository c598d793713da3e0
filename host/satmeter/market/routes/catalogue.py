"""The market's pages: searching, an offer, the cart, and what a seller publishes."""

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from ...billing.described import PAGES, takes
from ...core.money import whole
from ..amounts import priced
from ..container import Market
from ..http import LOGGED_IN, Visits
from ..offers import PAGE, shown
from ..orders import client_of
from ..users import User
from .parameters import Form, ThisMarket, ThisVisit, Visitor

OFFER = {
    "service": "Objects/Parking/capacity",
    "node_url": "https://node.example:8083/",
    "sat": "1",
    "uses": 1,
    "description": "parking facilities",
}
SELLER_SCOPES = ["invoice", "verify-own"]


router = APIRouter(tags=["market"], **PAGES)


@router.get("/")
def home(request: Request, visit: ThisVisit) -> Response:
    """To the market."""
    return visit.done(request, "/market")


@router.get("/market")
def search(
    request: Request, market: ThisMarket, visit: ThisVisit, q: str = "", sort: str = "price", page: int = 1
) -> Response:
    """Services that have all the words of `q`; sort: price, reputation or newest."""
    whole("page", page, 1, 10_000)
    found, count = market.offers.search(q[:200], sort, page)
    data = {"offers": [shown(each) for each in found], "count": count, "q": q[:200], "sort": sort, "page": page}
    return visit.answer(request, "search", {**data, "pages": -(-count // PAGE)}, visit.user(request))


@router.get("/market/offer/{id}")
def offer(request: Request, id: str, market: ThisMarket, visit: ThisVisit) -> Response:
    """An offer, and what its buyers say of it."""
    found = market.offers.find(id)
    if found is None:
        raise HTTPException(404, "Not Found")
    user = visit.user(request)
    own = user is not None and user.id == found["seller"]
    return visit.answer(request, "offer", {"offer": shown(found), "own": own}, user)


@router.get("/market/cart", dependencies=LOGGED_IN)
def cart(request: Request, user: Visitor, market: ThisMarket, visit: ThisVisit) -> Response:
    """What is in the cart, and what it comes to."""
    found = [shown(each) for each in market.orders.cart(user.id)]
    total = sum(one["msatoshi"] for one in found)
    fee = sum(market.ledger.fee(entry["msatoshi"]) for entry in found)
    return visit.answer(request, "cart", {"offers": found, "msatoshi": total, "fee": fee}, user)


@router.post("/market/cart", dependencies=LOGGED_IN, openapi_extra=takes(offer="5f2c..."))
def put(request: Request, given: Form, user: Visitor, market: ThisMarket, visit: ThisVisit) -> Response:
    """Put an `offer` into the cart."""
    market.orders.put(user.id, given.get("offer"))
    return visit.done(request, "/market/cart")


@router.post("/market/cart/remove", dependencies=LOGGED_IN, openapi_extra=takes(offer="5f2c..."))
def take_out(request: Request, given: Form, user: Visitor, market: ThisMarket, visit: ThisVisit) -> Response:
    """Take an `offer` out of the cart."""
    market.orders.take_out(user.id, given.get("offer"))
    return visit.done(request, "/market/cart")


@router.post("/market/checkout", dependencies=LOGGED_IN)
def check_out(request: Request, given: Form, user: Visitor, market: ThisMarket, visit: ThisVisit) -> Response:
    """Make the order of all that is in the cart: one invoice, and the page to pay it on."""
    market.billing.may_mint(f"user/{user.id}")
    row = market.orders.check_out(user.id)
    made = {"id": row["id"], "payreq": row["payreq"], "msatoshi": row["msatoshi"]}
    return visit.done(request, f"/checkout/{row['id']}", made)


# --- selling


@router.get("/sell", dependencies=LOGGED_IN)
def sell(request: Request, user: Visitor, market: ThisMarket, visit: ThisVisit) -> Response:
    """What one sells, and what was sold."""
    return _stall(request, user, market, visit)


@router.post("/sell", dependencies=LOGGED_IN, openapi_extra=takes(**OFFER))
async def publish(request: Request, given: Form, user: Visitor, market: ThisMarket, visit: ThisVisit) -> Response:
    """Publish a `service` at `node_url` for `sat` (or `msatoshi`), with a `description` and `uses`."""
    checked = await market.offers.probe(given.get("node_url"), user.id)
    row = await run_in_threadpool(market.offers.publish, user.id, priced(given), checked)
    return visit.done(request, "/sell", {"offer": shown(row)})


@router.post("/sell/show", dependencies=LOGGED_IN, openapi_extra=takes(offer="5f2c...", shown="0"))
def show(request: Request, given: Form, user: Visitor, market: ThisMarket, visit: ThisVisit) -> Response:
    """Take an `offer` off the market (`shown` 0), or put it back."""
    if not market.offers.show(user.id, str(given.get("offer")), str(given.get("shown")) == "1"):
        raise HTTPException(404, "Not Found")
    return visit.done(request, "/sell")


@router.post("/sell/token", dependencies=LOGGED_IN)
def token(request: Request, given: Form, user: Visitor, market: ThisMarket, visit: ThisVisit) -> Response:
    """A new api-token for the seller's gates; an earlier one ends."""
    client = client_of(user.id)
    return _stall(request, user, market, visit, market.billing.secrets.renew(client, SELLER_SCOPES))


def _stall(request: Request, user: User, market: Market, visit: Visits, api_token: str = "") -> Response:
    data = {
        "offers": [shown(each) for each in market.offers.of(user.id)],
        "sales": market.orders.sales(user.id),
        "fee_ppm": market.ledger.fee_ppm,
        "api_token": api_token,
        "service_url": visit.base or str(request.base_url).rstrip("/"),
    }
    return visit.answer(request, "sell", data, user)
