"""The API for web UIs and gates (D3.8, table 2-2): invoice tokens become hash tokens, and hash tokens are verified.

An invoice token is an invoice's payreq or id. Parameters stand in the URL, as the document has them.
"""

from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, RedirectResponse, Response

from ..core.errors import BadParam
from .desk import Desk
from .invoices import Row, shown
from .tokens import services_of


def routes(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["web"])

    def invoice(token: str) -> Row:
        row = desk.invoices.find(token) or desk.invoices.by_payreq(token)
        if row is None:
            raise HTTPException(404, "Not Found")
        return row

    def stored(request: Request, token: str, service: str) -> str:
        row = invoice(token)
        services = services_of(service)
        client = desk.maybe(request, "invoice")
        if client is not None and client.name == row["client"]:
            desk.tokens.store_services(row["id"], services)
        elif set(desk.tokens.services_of_invoice(row["id"])) != set(services):
            # A stranger with the payer's browser may go on to pay, but not say what the invoice is for.
            raise HTTPException(403, "only the seller's api-token says what an invoice is for")
        return str(row["id"])

    @router.post("/payment/pay", status_code=303)
    async def pay(request: Request, token: str, service: str) -> Response:
        """Store which services an invoice token is for, and take the payer to the checkout page."""
        id = await run_in_threadpool(stored, request, token, service)
        base = desk.config.public_url.rstrip("/")
        return RedirectResponse(f"{base}/checkout/{id}", 303)

    def issued(token: str, service: str) -> str:
        row = invoice(token)
        found = desk.tokens.issue(row["id"], services_of(service))
        if found is None:
            raise HTTPException(404, "Not Found")
        return found

    @router.post("/payment/verify")
    async def verify(request: Request, token: str, service: str) -> dict[str, Any]:
        """The hash token of a paid invoice (a new one each time; an earlier one ends), or 404."""
        await run_in_threadpool(desk.client, request, "verify")
        return {"hash": await run_in_threadpool(issued, token, service)}

    async def verify_hash(request: Request, hash: str, service: str) -> dict[str, Any]:
        """Spend one use of a hash token; 404 where it is unknown, spent or for other services, which is not told."""
        await run_in_threadpool(desk.client, request, "verify")
        if not await run_in_threadpool(desk.tokens.spend, hash, services_of(service)):
            raise HTTPException(404, "Not Found")
        return {"status": "success"}

    for path in ("/payment/verifyHash", "/verifyHash"):
        router.post(path)(verify_hash)

    @router.post("/payment/spend")
    async def spend(request: Request, rhash: str, service: str) -> dict[str, Any]:
        """Spend one use of a paid invoice by its payment hash, for a gate that was shown the preimage; else 404."""
        await run_in_threadpool(desk.client, request, "verify")
        row = await run_in_threadpool(desk.invoices.by_hash, rhash)
        if row is None or not await run_in_threadpool(desk.tokens.spend_invoice, row["id"], services_of(service)):
            raise HTTPException(404, "Not Found")
        return {"status": "success"}

    @router.post("/payment/return")
    async def give_back(request: Request, hash: str = "", rhash: str = "") -> dict[str, Any]:
        """Give one use back that was spent (by hash token, or by payment hash) for what then was not delivered."""
        await run_in_threadpool(desk.client, request, "verify")
        row = await run_in_threadpool(desk.invoices.by_hash, rhash) if rhash else None
        if bool(hash) == bool(rhash) or (rhash and row is None):
            raise HTTPException(404, "Not Found")
        if not await run_in_threadpool(desk.tokens.give_back, hash, row["id"] if row else ""):
            raise HTTPException(404, "Not Found")
        return {"status": "success"}

    def renewed(hash: str) -> Row:
        bought = desk.tokens.find(hash)
        if bought is None:
            raise HTTPException(404, "Not Found")
        if bought.spent < bought.uses:
            raise BadParam(f"hash: has {bought.uses - bought.spent} of {bought.uses} uses left", param="hash")
        old = desk.invoices.find(bought.invoice)
        if old is None:
            raise HTTPException(404, "Not Found")
        desk.may_mint(old["client"])
        services, uses = bought.services, old["uses"]
        return desk.invoices.make(old["client"], old["msatoshi"], old["description"], services=services, uses=uses)

    @router.post("/refresh", status_code=402)
    async def refresh(request: Request, hash: str) -> Response:
        """A new invoice for the services of a hash token that is used up (402); paid, it gives a new hash token."""
        await run_in_threadpool(desk.client, request, "verify")
        return JSONResponse(shown(await run_in_threadpool(renewed, hash)), 402)

    return router
