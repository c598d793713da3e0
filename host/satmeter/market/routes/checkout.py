"""The checkout page of an invoice: what it is for, the amount, a QR code, and when it is paid.

A user who is logged in also sees the balance before and after, and can pay from the account or cancel."""

import time

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from ...billing.container import Container
from ...billing.described import PAGES
from ...billing.invoices import status_of
from ...billing.routes.parameters import Billing
from ...billing.rows import InvoiceRow
from ...core.errors import WrongState
from ...core.plain import JsonObject
from ...qr import draw
from ...qr.make import make
from ..http import LOGGED_IN, wants_json
from ..ledger import of_user
from ..orders import ORDER
from .parameters import Form, MaybeMarket, ThisMarket, ThisVisit, Visitor

WAIT_S = 60
WAITED: dict[int | str, JsonObject] = {
    204: {"description": "it is paid"},
    402: {"description": "not yet"},
    410: {"description": "it has expired"},
}


router = APIRouter(tags=["checkout"], **PAGES)


def _found(billing: Container, id: str) -> InvoiceRow:
    row = billing.invoices.find(id)
    if row is None:
        raise HTTPException(404, "Not Found")
    return row


@router.get("/checkout/{id}")
def show(request: Request, id: str, market: MaybeMarket, visit: ThisVisit, billing: Billing) -> Response:
    """What the invoice is for, and every way to pay it."""
    row, user = _found(billing, id), visit.user(request)
    services = billing.tokens.services_of_invoice(id)
    data: JsonObject = {
        "id": id,
        "description": row["description"],
        "msatoshi": row["msatoshi"],
        "payreq": row["payreq"],
        "status": status_of(row),
        "expires_at": row["expires_at"],
        "services": list(services),
        "purchases": [],
        "redirect_url": row["redirect_url"],
    }
    if market is not None:
        data["purchases"] = market.orders.of_invoice(id)
        bill = market.orders.bill(id)
        data["kind"] = bill["kind"] if bill is not None else "invoice"
        data["own"] = bill is not None and user is not None and bill["user"] == user.id
        if user is not None and data["kind"] != "deposit":
            before = market.ledger.balance(of_user(user.id))
            data |= {"before": before, "after": before - (row["msatoshi"] or 0)}
    page = {**data, "svg": ""}
    if data["status"] == "unpaid" and "text/html" in request.headers.get("accept", ""):
        page["svg"] = draw.svg(make(f"LIGHTNING:{row['payreq'].upper()}"))
    return visit.answer(request, "checkout", page, user)


@router.post("/checkout/{id}/pay", dependencies=LOGGED_IN)
def pay(
    request: Request, id: str, given: Form, market: ThisMarket, user: Visitor, visit: ThisVisit, billing: Billing
) -> Response:
    """Pay from the account of who is logged in."""
    try:
        market.orders.pay(user.id, _found(billing, id))
    except WrongState:  # a second tap on the button: its page shows a person how it stands
        if wants_json(request):
            raise
    return visit.done(request, f"/checkout/{id}", {"status": "paid"})


@router.post("/checkout/{id}/cancel", dependencies=LOGGED_IN)
def cancel(
    request: Request, id: str, given: Form, market: ThisMarket, user: Visitor, visit: ThisVisit, billing: Billing
) -> Response:
    """Let an order go that is not paid."""
    row = _found(billing, id)
    bill = market.orders.bill(id)
    market.orders.cancel(user.id, row)
    return visit.done(
        request, "/market/cart" if bill is not None and bill["kind"] == ORDER else "/account", {"status": "cancelled"}
    )


@router.get("/checkout/{id}/wait", status_code=204, response_class=Response, responses=WAITED)
async def wait(id: str, billing: Billing) -> Response:
    """204 once it is paid, 410 when it has expired, 402 after a minute; tells nothing else of the invoice."""
    async with billing.hub.listening() as queue:
        row = await run_in_threadpool(_found, billing, id)
        if status_of(row) == "unpaid":
            left = max(0.0, min(row["expires_at"] - time.time(), WAIT_S))
            row = await billing.hub.first_of(queue, lambda paid: paid["id"] == id, left) or row
    return Response(status_code={"paid": 204, "expired": 410}.get(status_of(row), 402))


@router.get("/checkout/{id}/qr.png", response_class=Response, responses={200: {"content": {"image/png": {}}}})
def png(id: str, billing: Billing) -> Response:
    """The code of an invoice, as a picture."""
    return Response(draw.png(make(f"LIGHTNING:{_found(billing, id)['payreq'].upper()}")), media_type="image/png")
