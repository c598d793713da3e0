"""The checkout page of an invoice: what for, how much, a code for any wallet, and a live "paid"."""

import html
import time

from fastapi import APIRouter, HTTPException
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, Response

from ..core.text import amount
from ..qr import draw
from ..qr.make import make
from .desk import Desk
from .invoices import Row, status_of

WAIT_S = 60

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Pay {amount}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="{base}/static/style.css"><body class="checkout"><main data-status="{status}">
<h1>{description}</h1><p class="figure">{amount}</p>{services}{state}
</main>{script}</body></html>"""
UNPAID = """<a class="qr" href="lightning:{payreq}" aria-label="pay with a wallet">{svg}</a>
<p class="code">{payreq}</p><p class="said" role="status">waiting for the payment</p>"""
SCRIPT = """<script>(async () => { for (;;) {
  const answer = await fetch("{base}/checkout/{id}/wait").catch(() => null);
  if (answer && (answer.status === 204 || answer.status === 410)) { location.reload(); return; }
  await new Promise((done) => setTimeout(done, answer && answer.status === 402 ? 0 : 2000)); } })();</script>"""


def routes(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["checkout"])

    async def found(id: str) -> Row:
        row = await run_in_threadpool(desk.invoices.find, id)
        if row is None:
            raise HTTPException(404, "Not Found")
        return row

    @router.get("/checkout/{id}", response_class=HTMLResponse)
    async def show(id: str) -> HTMLResponse:
        row = await found(id)
        services = await run_in_threadpool(desk.tokens.services_of_invoice, id)
        return HTMLResponse(_page(row, services, desk.config.public_url.rstrip("/")))

    @router.get("/checkout/{id}/wait")
    async def wait(id: str) -> Response:
        """204 once it is paid, 410 when it has expired, 402 after a minute; tells nothing else of the invoice."""
        async with desk.hub.listening() as queue:
            row = await found(id)
            if status_of(row) == "unpaid":
                left = max(0.0, min(row["expires_at"] - time.time(), WAIT_S))
                row = await desk.hub.first_of(queue, lambda paid: paid["id"] == id, left) or row
        return Response(status_code={"paid": 204, "expired": 410}.get(status_of(row), 402))

    @router.get("/checkout/{id}/qr.png")
    async def png(id: str) -> Response:
        code = make(f"LIGHTNING:{(await found(id))['payreq'].upper()}")
        return Response(await run_in_threadpool(draw.png, code), media_type="image/png")

    return router


def _page(row: Row, services: tuple[str, ...], base: str) -> str:
    status = status_of(row)
    price = amount(row["msatoshi"]) if row["msatoshi"] is not None else "any amount"
    state, script = (
        {"paid": "<p class='said'>Paid. Thank you.</p>", "expired": "<p class='said'>It has expired.</p>"},
        "",
    )
    if status == "unpaid":
        svg = draw.svg(make(f"LIGHTNING:{row['payreq'].upper()}"))
        state["unpaid"] = UNPAID.format(payreq=row["payreq"], svg=svg)
        script = SCRIPT.replace("{base}", base).replace("{id}", row["id"])
    listed = "".join(f"<li>{html.escape(s)}</li>" for s in services)
    return PAGE.format(
        amount=html.escape(price),
        description=html.escape(row["description"]),
        services=f"<ul>{listed}</ul>" if listed else "",
        state=state[status],
        status=status,
        script=script,
        base=html.escape(base),
    )
