"""The backend API: Lightning Charge's, which shops and the clients for it know, and what bIoTope's deliverable adds.

HTTP basic auth, user `api-token`. Facts: the README of ElementsProject/lightning-charge and D3.8, table 2-1 and annex.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from decimal import Decimal, InvalidOperation
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Request, WebSocket, WebSocketDisconnect
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse

from ...core.errors import BadParam
from ...core.money import MAX_MSAT, whole
from ...core.plain import JsonObject
from .. import forms
from ..api_tokens import Client
from ..container import Container
from ..described import (
    NEEDS_TOKEN,
    Address,
    Invoice,
    NewSubscription,
    NodeInfo,
    Payment,
    Secret,
    Subscription,
    gives,
    gives_text,
    takes,
)
from ..events import told
from ..idempotency import Attempt
from ..invoices import check_amount, check_cap, check_description, check_expiry, check_metadata, shown, status_of
from ..outgoing_payments import ALARM, COMPLETE, FAILED
from ..rates import converted, quoted
from ..ssrf import check_url
from ..tokens import services_of
from .parameters import Billing, OwnInvoice, Payer, Shop, own

WAIT_S, MOST_WAIT_S = 30, 600
BEAT_S = 25
INVOICE: JsonObject = {
    "msatoshi": "10000",
    "description": "a cat",
    "expiry": 3600,
    "metadata": {"order": 7},
    "webhook": "https://shop.example/paid?secret=2b1f",
}
FIELDS = (*INVOICE, "currency", "amount", "service", "uses", "redirect_url")


router = APIRouter(tags=["backend"], dependencies=NEEDS_TOKEN)


@router.get("/info", **gives(NodeInfo))
async def info(shop: Shop, billing: Billing) -> JsonObject:
    """The node: id, port, address, version, blockheight, network."""
    found = await run_in_threadpool(billing.node.info)
    listed = [*found.get("address", []), *found.get("binding", [])]
    return {**found, "port": next((each["port"] for each in listed if "port" in each), 0)}


@router.post("/invoice", **gives(Invoice, 201), openapi_extra=takes(**INVOICE))
async def make(request: Request, shop: Shop, billing: Billing) -> Response:
    """Make an invoice: `msatoshi`, or `currency` and `amount`, or neither; for a gate with `service` and `uses`."""
    forms.no_query(request)
    data = await forms.raw(request)
    key = request.headers.get("idempotency-key", "")
    kind = request.headers.get("content-type", "")
    return await run_in_threadpool(_make, billing, shop, data, kind, key)


@router.get("/invoices", **gives(list[Invoice]))
async def list_(
    shop: Shop,
    billing: Billing,
    answer: Response,
    limit: int = 1000,
    before: str = "",
    status: str = "",
    since: int = 0,
) -> list[JsonObject]:
    """Returns the client's invoices, oldest first: the newest `limit` of those that match.

    `before` is an invoice's id: only older ones match. `status` is unpaid, paid or expired. `since` is a
    time in seconds since 1970. Where there may be more, a Link header leads to them (rel="next")."""
    if status not in ("", "unpaid", "paid", "expired"):
        raise BadParam("status: must be unpaid, paid or expired", param="status")
    most, begin = whole("limit", limit, 1, 1000), whole("since", since, 0, 2**53)
    found = await run_in_threadpool(billing.invoices.of, shop.name, most, before, status, begin)
    if len(found) == most:
        more = urlencode({"limit": most, "before": found[0]["id"], "status": status, "since": begin})
        answer.headers["Link"] = f'<{billing.config.public_url.rstrip("/")}/invoices?{more}>; rel="next"'
    return [shown(row) for row in found]


@router.get("/invoice/{id}", **gives(Invoice))
async def fetch(row: OwnInvoice) -> JsonObject:
    """An invoice of this client."""
    return shown(row)


@router.delete("/invoice/{id}", status_code=204, openapi_extra=takes(status="unpaid"))
async def delete(request: Request, row: OwnInvoice, billing: Billing) -> Response:
    """Delete an invoice; its present `status` has to be given."""
    given = forms.only(forms.fields(await forms.raw(request), request.headers.get("content-type", "")), "status")
    status = given.get("status", request.query_params.get("status"))
    if status not in ("unpaid", "paid", "expired"):
        raise BadParam("status: must be unpaid, paid or expired, as the invoice is now", param="status")
    await run_in_threadpool(billing.invoices.delete, row, str(status))
    return Response(status_code=204)


@router.get("/invoice/{id}/wait", **gives(Invoice, others={402: "not paid yet", 410: "it has expired"}))
async def wait(id: str, shop: Shop, billing: Billing, timeout: float = WAIT_S) -> Response:
    """Answer when it is paid (200), has expired (410), or after `timeout` seconds (402)."""
    async with billing.hub.listening() as queue:
        row = await own(id, shop, billing)  # looked at after we listen, so that no payment falls between
        if status_of(row) == "unpaid":
            left = row["expires_at"] - time.time() + 0.05  # then it has expired, not almost
            seconds = max(0.0, min(timeout if timeout > 0 else WAIT_S, left, MOST_WAIT_S))
            row = await billing.hub.first_of(queue, lambda paid: paid["id"] == id, seconds) or row
    status = status_of(row)
    if status == "paid":
        return JSONResponse(shown(row))
    raise HTTPException(410, "Gone") if status == "expired" else HTTPException(402, "Payment Required")


@router.post("/invoice/{id}/webhook", status_code=201, openapi_extra=takes(url=INVOICE["webhook"]))
async def webhook(request: Request, row: OwnInvoice, billing: Billing) -> Response:
    """Have `url` told by a POST once the invoice is paid. 405 if it is, 410 if it has expired."""
    given = forms.only(forms.fields(await forms.raw(request), request.headers.get("content-type", "")), "url")
    status = status_of(row)
    if status != "unpaid":
        raise HTTPException(405, "Method Not Allowed") if status == "paid" else HTTPException(410, "Gone")
    await run_in_threadpool(billing.hooks.add, row["client"], row["id"], check_url(given.get("url")))
    return Response("Created", 201)


@router.get("/payment-stream", **gives_text("text/event-stream"))
async def stream(request: Request, shop: Shop, billing: Billing) -> StreamingResponse:
    """Payments as server-sent events, from now on."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _events(billing, shop.name, request.headers["authorization"]),
        media_type="text/event-stream",
        headers=headers,
    )


@router.websocket("/ws")
async def socket(ws: WebSocket, billing: Billing) -> None:
    """Sends each paid invoice of the client as JSON; closes with 1008 for whom may not, 1012 when the service ends."""
    try:
        client = await billing.admit(ws, "invoice")
    except HTTPException:
        await ws.close(1008)
        return
    await ws.accept()
    async with billing.hub.listening() as queue:
        ended = asyncio.ensure_future(_silence(ws))
        while not ended.done():
            paid = asyncio.ensure_future(queue.get())
            await asyncio.wait({paid, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not paid.done():
                paid.cancel()
            elif (row := paid.result()) is None or not await run_in_threadpool(
                billing.still, ws.headers["authorization"]
            ):
                await ws.close(1012)
                break
            elif row["client"] == client.name:
                await ws.send_text(json.dumps(shown(row)))
        ended.cancel()


@router.get("/events", **gives_text("text/event-stream"))
async def events(request: Request, shop: Shop, billing: Billing) -> StreamingResponse:
    """Events (paid, low, closed) as server-sent events; with Last-Event-ID from there on, else from now on."""
    last = request.headers.get("last-event-id", "")
    since = whole("Last-Event-ID", last, 0, 2**62) if last else await run_in_threadpool(billing.events.newest)
    stream = _happenings(billing, shop, request.headers["authorization"], since)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


@router.post("/hooks", **gives(NewSubscription, 201), openapi_extra=takes(url=INVOICE["webhook"], events=["paid"]))
async def subscribe(request: Request, shop: Shop, billing: Billing) -> JsonObject:
    """Makes a webhook: `url` gets a POST for each event of the kinds in `events`.

    The kinds are paid, low and closed. The answer has the `secret` that signs the webhooks. A client may
    have at most 20 webhooks."""
    given = forms.fields(await forms.raw(request), request.headers.get("content-type", ""))
    forms.only(given, "url", "events")
    made = await run_in_threadpool(billing.events.subscribe, shop.name, given.get("url"), given.get("events"))
    return {**made, "secret": billing.hooks.secret(shop.name, made["id"])}


@router.get("/hooks/secret", **gives(Secret))
async def secret(shop: Shop, billing: Billing) -> JsonObject:
    """Return the secret that signs the webhooks of this client's invoices."""
    return {"secret": billing.hooks.secret(shop.name)}


@router.get("/hooks/{id}/secret", **gives(Secret))
async def subscriptions_secret(id: str, shop: Shop, billing: Billing) -> JsonObject:
    """Return the secret that signs the webhooks of a subscription."""
    if id not in {row["id"] for row in await run_in_threadpool(billing.events.subscriptions, shop.name)}:
        raise HTTPException(404, "Not Found")
    return {"secret": billing.hooks.secret(shop.name, id)}


@router.get("/hooks", **gives(list[Subscription]))
async def subscriptions(shop: Shop, billing: Billing) -> list[JsonObject]:
    """This client's webhooks."""
    return await run_in_threadpool(billing.events.subscriptions, shop.name)


@router.delete("/hooks/{id}", status_code=204)
async def unsubscribe(id: str, shop: Shop, billing: Billing) -> Response:
    """End a webhook."""
    if not await run_in_threadpool(billing.events.unsubscribe, shop.name, id):
        raise HTTPException(404, "Not Found")
    return Response(status_code=204)


@router.get("/newaddr", **gives(Address))
async def newaddr(payer: Payer, billing: Billing) -> JsonObject:
    """A new on-chain address of the node."""
    found = await run_in_threadpool(billing.node.call, "newaddr", addresstype="bech32")
    return {"address": found["bech32"]}


@router.post(
    "/pay",
    **gives(Payment, others={202: "under way", 402: "it failed", 409: "a person has to look"}),
    openapi_extra=takes(payreq="lnbc10n1..."),
)
async def pay(request: Request, payer: Payer, billing: Billing) -> Response:
    """Pay an invoice with the node's money: the body is `payreq`, or the invoice itself as text."""
    data = await forms.raw(request)
    payreq = _payreq(data, request.headers.get("content-type", ""))
    row = await billing.spending.ended(await run_in_threadpool(billing.spending.pay, payer.name, payreq))
    mine = await run_in_threadpool(billing.invoices.by_hash, row["rhash"])
    done = row["status"] == COMPLETE
    answer = {
        "id": mine["id"] if mine is not None else row["rhash"],
        "msatoshi": str(row["msatoshi"]),
        "msatoshi_sent": str(row["sent"]),
        "payhash": row["rhash"],
        "completed": done,
        "paid_at": row["done_at"] if done else None,
        "status": "paid" if done else row["status"],
    }
    if row["status"] in (FAILED, ALARM):
        return JSONResponse({**answer, "why": row["why"]}, 402 if row["status"] == FAILED else 409)
    return JSONResponse(answer, 200 if done else 202)


@router.get("/listinvoice", **gives(Invoice))
async def listinvoice(shop: Shop, billing: Billing, token: str = "", payreq: str = "") -> JsonObject:
    """An invoice by its token: its payreq, or its id."""
    given = token or payreq
    row = await run_in_threadpool(billing.invoices.find, given, shop.name)
    row = row or await run_in_threadpool(billing.invoices.by_payreq, given)
    if row is None or row["client"] != shop.name:
        raise HTTPException(404, "Not Found")
    return shown(row)


def _make(billing: Container, client: Client, data: bytes, kind: str, key: str) -> Response:
    what = b"POST /invoice\n" + data
    known = billing.once.known(client.name, key, what) if key else None
    if known is not None and known.status:  # whatever became of rates and caps meanwhile
        return _as_before(known)
    given = forms.only(forms.fields(data, kind), *FIELDS)
    amount, quoted = _amount(billing, given)
    if amount is None and (given.get("service") or given.get("uses")):
        raise BadParam("msatoshi: is required where a service is sold", param="msatoshi")
    hook = check_url(given["webhook"], "webhook") if given.get("webhook") else ""
    back = check_url(given["redirect_url"], "redirect_url") if given.get("redirect_url") else ""
    described, expiry = check_description(given.get("description")), check_expiry(given.get("expiry"))
    metadata = check_metadata(given.get("metadata"))
    services = services_of(given["service"]) if given.get("service") else ()
    uses = whole("uses", given.get("uses", billing.config.uses), 1, 10**6)
    check_cap(amount, billing.config.invoice_cap_msat)  # before the key is used up by a request that can't be done
    attempt = billing.once.begin(client.name, key, what)
    if attempt.status:
        return _as_before(attempt)
    billing.may_mint(client.name)
    row = billing.invoices.make(
        client.name,
        amount,
        described,
        expiry,
        metadata,
        quoted,
        attempt.ref,
        services,
        hook,
        uses,
        redirect_url=back,
    )
    text = billing.once.end(attempt, 201, json.dumps(shown(row)))
    return Response(text, 201, media_type="application/json")


def _as_before(attempt: Attempt) -> Response:
    return Response(attempt.body, attempt.status, media_type="application/json")


def _amount(billing: Container, given: JsonObject) -> tuple[int | None, tuple[str, str] | None]:
    """Return the amount in msat (None: any), and what was quoted in a currency."""
    amount = check_amount(given.get("msatoshi"))
    currency = given.get("currency")
    if amount is not None and (currency or given.get("amount") not in (None, "")):
        raise BadParam("msatoshi: must not stand beside currency and amount: which of them is meant?", param="msatoshi")
    if given.get("amount") not in (None, "") and not currency:
        raise BadParam("currency: is required beside amount", param="currency")
    if not currency:
        return amount, None
    value = _decimal(given.get("amount"))
    if not isinstance(currency, str) or len(currency) != 3 or not currency.isalpha() or not currency.isascii():
        raise BadParam(f"currency: must be three letters such as EUR, got {currency!r}", param="currency")
    found = converted(billing.config.rates, billing.node, currency.upper(), value)
    if not 1 <= found <= MAX_MSAT:
        raise BadParam(
            f"amount: {value} {currency.upper()} is {found} msat, which no invoice can be of", param="amount"
        )
    return found, (currency.upper(), quoted(value))


def _decimal(value: object) -> Decimal:
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        found = Decimal(0)
    if not found.is_finite() or not 0 < found < Decimal(10) ** 12 or found.adjusted() < -20:
        raise BadParam(f"amount: must be a number over 0, got {str(value)[:40]!r}", param="amount")
    return found


def _payreq(data: bytes, kind: str) -> str:
    text = data.decode("utf-8", "replace").strip()
    if text.lower().startswith("ln"):
        return text.lower()
    given = forms.only(forms.fields(data, kind), "payreq", "token")
    found = given.get("payreq") or given.get("token")
    if not isinstance(found, str) or not found.isascii() or len(found) > 8000:
        raise BadParam("payreq: is required, a BOLT 11 invoice", param="payreq")
    return found.strip().lower().removeprefix("lightning:")


async def _events(billing: Container, client: str, secret: str) -> AsyncIterator[str]:
    async with billing.hub.listening() as queue:
        yield ": hello\n\n"
        while True:
            try:
                async with asyncio.timeout(BEAT_S):
                    paid = await queue.get()
            except TimeoutError:
                yield ": keepalive\n\n"
                if await asyncio.to_thread(billing.still, secret):
                    continue
                return
            if paid is None or not await asyncio.to_thread(billing.still, secret):
                return
            if paid["client"] == client:
                yield f"id:{paid['pay_index']}\ndata:{json.dumps(shown(paid))}\n\n"


async def _happenings(billing: Container, client: Client, secret: str, since: int) -> AsyncIterator[str]:
    """A client's events after an id: those on record, again whenever one is told of. `meter` adds the node's meters."""
    of = (client.name, "") if "meter" in client.scopes else (client.name,)
    async with billing.happenings.listening() as queue:
        yield ": hello\n\n"
        while await asyncio.to_thread(billing.still, secret):
            for event in await asyncio.to_thread(billing.events.after, since, of):
                since = event["id"]
                yield f"id:{since}\nevent:{event['kind']}\ndata:{json.dumps(told(event))}\n\n"
            try:
                async with asyncio.timeout(BEAT_S):
                    if await queue.get() is None:
                        return
            except TimeoutError:
                yield ": keepalive\n\n"


async def _silence(ws: WebSocket) -> None:
    """Reads until the other side closes; what it says is ignored."""
    try:
        while True:
            await ws.receive_text()
    except (WebSocketDisconnect, RuntimeError, KeyError):
        return
