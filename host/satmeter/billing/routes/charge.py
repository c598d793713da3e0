"""The backend API: Lightning Charge's, which shops and the clients for it know, and what bIoTope's deliverable adds.

HTTP basic auth, user `api-token`. Facts: the README of ElementsProject/lightning-charge and D3.8, table 2-1 and annex.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Request, WebSocket, WebSocketDisconnect
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pyln.client import RpcError

from ...core.errors import BadParam
from ...core.money import MAX_MSAT, MSAT_PER_BTC, whole
from ...core.plain import JsonObject
from ...node.rpc import words_of
from .. import forms
from ..api_tokens import Client
from ..container import Desk
from ..database import Row
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
from ..invoices import check_amount, check_description, check_expiry, check_metadata, shown, status_of
from ..outgoing_payments import ALARM, COMPLETE, FAILED
from ..ssrf import check_url
from ..tokens import services_of

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


def routes(desk: Desk) -> APIRouter:
    """Returns the router of the backend API. Its calls need a client's secret."""
    router = APIRouter(tags=["backend"], dependencies=NEEDS_TOKEN)

    async def own(request: Request, id: str) -> tuple[Client, Row]:
        client = await desk.admit(request, "invoice")
        row = await run_in_threadpool(desk.invoices.find, id, client.name)
        if row is None:
            raise HTTPException(404, "Not Found")
        return client, row

    @router.get("/info", **gives(NodeInfo))
    async def info(request: Request) -> JsonObject:
        """The node: id, port, address, version, blockheight, network."""
        await desk.admit(request, "invoice")
        found = await run_in_threadpool(desk.node.info)
        listed = [*found.get("address", []), *found.get("binding", [])]
        return {**found, "port": next((a["port"] for a in listed if "port" in a), 0)}

    @router.post("/invoice", **gives(Invoice, 201), openapi_extra=takes(**INVOICE))
    async def make(request: Request) -> Response:
        """Make an invoice: `msatoshi`, or `currency` and `amount`, or neither; for a gate with `service` and `uses`."""
        client = await desk.admit(request, "invoice")
        forms.no_query(request)
        data = await forms.raw(request)
        key = request.headers.get("idempotency-key", "")
        kind = request.headers.get("content-type", "")
        return await run_in_threadpool(_make, desk, client, data, kind, key)

    @router.get("/invoices", **gives(list[Invoice]))
    async def list_(
        request: Request, answer: Response, limit: int = 1000, before: str = "", status: str = "", since: int = 0
    ) -> list[Row]:
        """Returns the client's invoices, oldest first: the newest `limit` of those that match.

        `before` is an invoice's id: only older ones match. `status` is unpaid, paid or expired. `since` is a
        time in seconds since 1970. Where there may be more, a Link header leads to them (rel="next")."""
        client = await desk.admit(request, "invoice")
        if status not in ("", "unpaid", "paid", "expired"):
            raise BadParam("status: must be unpaid, paid or expired", param="status")
        most, begin = whole("limit", limit, 1, 1000), whole("since", since, 0, 2**53)
        found = await run_in_threadpool(desk.invoices.of, client.name, most, before, status, begin)
        if len(found) == most:
            more = urlencode({"limit": most, "before": found[0]["id"], "status": status, "since": begin})
            answer.headers["Link"] = f'<{desk.config.public_url.rstrip("/")}/invoices?{more}>; rel="next"'
        return [shown(row) for row in found]

    @router.get("/invoice/{id}", **gives(Invoice))
    async def fetch(request: Request, id: str) -> Row:
        """An invoice of this client."""
        return shown((await own(request, id))[1])

    @router.delete("/invoice/{id}", status_code=204, openapi_extra=takes(status="unpaid"))
    async def delete(request: Request, id: str) -> Response:
        """Delete an invoice; its present `status` has to be given."""
        _, row = await own(request, id)
        given = forms.only(forms.fields(await forms.raw(request), request.headers.get("content-type", "")), "status")
        status = given.get("status", request.query_params.get("status"))
        if status not in ("unpaid", "paid", "expired"):
            raise BadParam("status: must be unpaid, paid or expired, as the invoice is now", param="status")
        await run_in_threadpool(desk.invoices.delete, row, str(status))
        return Response(status_code=204)

    @router.get("/invoice/{id}/wait", **gives(Invoice, others={402: "not paid yet", 410: "it has expired"}))
    async def wait(request: Request, id: str, timeout: float = WAIT_S) -> Response:
        """Answer when it is paid (200), has expired (410), or after `timeout` seconds (402)."""
        async with desk.hub.listening() as queue:
            _, row = await own(request, id)  # looked at after we listen, so that no payment falls between
            if status_of(row) == "unpaid":
                left = row["expires_at"] - time.time() + 0.05  # then it has expired, not almost
                seconds = max(0.0, min(timeout if timeout > 0 else WAIT_S, left, MOST_WAIT_S))
                row = await desk.hub.first_of(queue, lambda paid: paid["id"] == id, seconds) or row
        status = status_of(row)
        if status == "paid":
            return JSONResponse(shown(row))
        raise HTTPException(410, "Gone") if status == "expired" else HTTPException(402, "Payment Required")

    @router.post("/invoice/{id}/webhook", status_code=201, openapi_extra=takes(url=INVOICE["webhook"]))
    async def webhook(request: Request, id: str) -> Response:
        """Have `url` told by a POST once the invoice is paid. 405 if it is, 410 if it has expired."""
        _, row = await own(request, id)
        given = forms.only(forms.fields(await forms.raw(request), request.headers.get("content-type", "")), "url")
        status = status_of(row)
        if status != "unpaid":
            raise HTTPException(405, "Method Not Allowed") if status == "paid" else HTTPException(410, "Gone")
        await run_in_threadpool(desk.hooks.add, row["client"], id, check_url(given.get("url")))
        return Response("Created", 201)

    @router.get("/payment-stream", **gives_text("text/event-stream"))
    async def stream(request: Request) -> StreamingResponse:
        """Payments as server-sent events, from now on."""
        client = await desk.admit(request, "invoice")
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            _events(desk, client.name, request.headers["authorization"]),
            media_type="text/event-stream",
            headers=headers,
        )

    @router.websocket("/ws")
    async def socket(ws: WebSocket) -> None:
        try:
            client = await desk.admit(ws, "invoice")
        except HTTPException:
            await ws.close(1008)
            return
        await ws.accept()
        async with desk.hub.listening() as queue:
            ended = asyncio.ensure_future(_silence(ws))
            while not ended.done():
                paid = asyncio.ensure_future(queue.get())
                await asyncio.wait({paid, ended}, return_when=asyncio.FIRST_COMPLETED)
                if not paid.done():
                    paid.cancel()
                elif (row := paid.result()) is None or not await run_in_threadpool(
                    desk.still, ws.headers["authorization"]
                ):
                    await ws.close(1012)
                    break
                elif row["client"] == client.name:
                    await ws.send_text(json.dumps(shown(row)))
            ended.cancel()

    @router.get("/events", **gives_text("text/event-stream"))
    async def events(request: Request) -> StreamingResponse:
        """Events (paid, low, closed) as server-sent events; with Last-Event-ID from there on, else from now on."""
        client = await desk.admit(request, "invoice")
        last = request.headers.get("last-event-id", "")
        since = whole("Last-Event-ID", last, 0, 2**62) if last else await run_in_threadpool(desk.events.newest)
        stream = _happenings(desk, client, request.headers["authorization"], since)
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    @router.post("/hooks", **gives(NewSubscription, 201), openapi_extra=takes(url=INVOICE["webhook"], events=["paid"]))
    async def subscribe(request: Request) -> Row:
        """Makes a webhook: `url` gets a POST for each event of the kinds in `events`.

        The kinds are paid, low and closed. The answer has the `secret` that signs the webhooks. A client may
        have at most 20 webhooks."""
        client = await desk.admit(request, "invoice")
        given = forms.fields(await forms.raw(request), request.headers.get("content-type", ""))
        forms.only(given, "url", "events")
        made = await run_in_threadpool(desk.events.subscribe, client.name, given.get("url"), given.get("events"))
        return {**made, "secret": desk.hooks.secret(client.name, made["id"])}

    @router.get("/hooks/secret", **gives(Secret))
    async def secret(request: Request) -> Row:
        """Return the secret that signs the webhooks of this client's invoices."""
        client = await desk.admit(request, "invoice")
        return {"secret": desk.hooks.secret(client.name)}

    @router.get("/hooks/{id}/secret", **gives(Secret))
    async def subscriptions_secret(request: Request, id: str) -> Row:
        """Return the secret that signs the webhooks of a subscription."""
        client = await desk.admit(request, "invoice")
        if id not in {row["id"] for row in await run_in_threadpool(desk.events.subscriptions, client.name)}:
            raise HTTPException(404, "Not Found")
        return {"secret": desk.hooks.secret(client.name, id)}

    @router.get("/hooks", **gives(list[Subscription]))
    async def subscriptions(request: Request) -> list[Row]:
        """This client's webhooks."""
        client = await desk.admit(request, "invoice")
        return await run_in_threadpool(desk.events.subscriptions, client.name)

    @router.delete("/hooks/{id}", status_code=204)
    async def unsubscribe(request: Request, id: str) -> Response:
        """End a webhook."""
        client = await desk.admit(request, "invoice")
        if not await run_in_threadpool(desk.events.unsubscribe, client.name, id):
            raise HTTPException(404, "Not Found")
        return Response(status_code=204)

    @router.get("/newaddr", **gives(Address))
    async def newaddr(request: Request) -> JsonObject:
        """A new on-chain address of the node."""
        await desk.admit(request, "pay")
        found = await run_in_threadpool(desk.node.call, "newaddr", addresstype="bech32")
        return {"address": found["bech32"]}

    @router.post(
        "/pay",
        **gives(Payment, others={202: "under way", 402: "it failed", 409: "a person has to look"}),
        openapi_extra=takes(payreq="lnbc10n1..."),
    )
    async def pay(request: Request) -> Response:
        """Pay an invoice with the node's money: the body is `payreq`, or the invoice itself as text."""
        client = await desk.admit(request, "pay")
        data = await forms.raw(request)
        payreq = _payreq(data, request.headers.get("content-type", ""))
        row = await run_in_threadpool(desk.spending.pay, client.name, payreq)
        mine = await run_in_threadpool(desk.invoices.by_hash, row["rhash"])
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
    async def listinvoice(request: Request, token: str = "", payreq: str = "") -> Row:
        """An invoice by its token: its payreq, or its id."""
        client = await desk.admit(request, "invoice")
        given = token or payreq
        row = await run_in_threadpool(desk.invoices.find, given, client.name)
        row = row or await run_in_threadpool(desk.invoices.by_payreq, given)
        if row is None or row["client"] != client.name:
            raise HTTPException(404, "Not Found")
        return shown(row)

    return router


def _make(desk: Desk, client: Client, data: bytes, kind: str, key: str) -> Response:
    given = forms.only(forms.fields(data, kind), *FIELDS)
    amount, quoted = _amount(desk, given)
    if amount is None and (given.get("service") or given.get("uses")):
        raise BadParam("msatoshi: is required where a service is sold", param="msatoshi")
    hook = check_url(given["webhook"], "webhook") if given.get("webhook") else ""
    back = check_url(given["redirect_url"], "redirect_url") if given.get("redirect_url") else ""
    described, expiry = check_description(given.get("description")), check_expiry(given.get("expiry"))
    metadata = check_metadata(given.get("metadata"))
    services = services_of(given["service"]) if given.get("service") else ()
    uses = whole("uses", given.get("uses", desk.config.uses), 1, 10**6)
    attempt = desk.once.begin(client.name, key, b"POST /invoice\n" + data)
    if attempt.status:
        return Response(attempt.body, attempt.status, media_type="application/json")
    desk.may_mint(client.name)
    row = desk.invoices.make(
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
    text = desk.once.end(attempt, 201, json.dumps(shown(row)))
    return Response(text, 201, media_type="application/json")


def _amount(desk: Desk, given: JsonObject) -> tuple[int | None, tuple[str, str] | None]:
    """Return the amount in msat (None: any), and what was quoted in a currency."""
    amount = check_amount(given.get("msatoshi"))
    currency = given.get("currency")
    if given.get("amount") not in (None, "") and not currency and amount is None:
        raise BadParam("currency: is required beside amount", param="currency")
    if amount is not None or not currency:
        return amount, None
    value = _decimal(given.get("amount"))
    if not isinstance(currency, str) or len(currency) != 3 or not currency.isalpha() or not currency.isascii():
        raise BadParam(f"currency: must be three letters such as EUR, got {currency!r}", param="currency")
    found = _converted(desk, currency.upper(), value)
    if not 1 <= found <= MAX_MSAT:
        raise BadParam(
            f"amount: {value} {currency.upper()} is {found} msat, which no invoice can be of", param="amount"
        )
    return found, (currency.upper(), str(given["amount"])[:32])


def _decimal(value: object) -> Decimal:
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        found = Decimal(0)
    if not found.is_finite() or not 0 < found < Decimal(10) ** 12 or found.adjusted() < -20:
        raise BadParam(f"amount: must be a number over 0, got {str(value)[:40]!r}", param="amount")
    return found


def _converted(desk: Desk, currency: str, value: Decimal) -> int:
    """Return msat for an amount of a currency, rounded up: by the operator's rate, or by the node's."""
    if currency == "BTC":
        return int((value * MSAT_PER_BTC).to_integral_value(ROUND_CEILING))
    rate = desk.config.rates.get(currency)
    if rate is not None:
        return int((value / rate * MSAT_PER_BTC).to_integral_value(ROUND_CEILING))
    try:
        found = desk.node.call("currencyrate", currency=currency)["rate"]
    except RpcError as e:
        why = (
            f"currency: there is no rate of {currency} (rates in the config, or the node's currencyrate: {words_of(e)})"
        )
        raise BadParam(why, param="currency") from None
    return int((value / Decimal(str(found)) * MSAT_PER_BTC).to_integral_value(ROUND_CEILING))


def _payreq(data: bytes, kind: str) -> str:
    text = data.decode("utf-8", "replace").strip()
    if text.lower().startswith("ln"):
        return text.lower()
    given = forms.only(forms.fields(data, kind), "payreq", "token")
    found = given.get("payreq") or given.get("token")
    if not isinstance(found, str) or not found.isascii() or len(found) > 8000:
        raise BadParam("payreq: is required, a BOLT 11 invoice", param="payreq")
    return found.strip().lower().removeprefix("lightning:")


async def _events(desk: Desk, client: str, secret: str) -> AsyncIterator[str]:
    async with desk.hub.listening() as queue:
        yield ": hello\n\n"
        while True:
            try:
                paid = await asyncio.wait_for(queue.get(), BEAT_S)
            except TimeoutError:
                yield ": keepalive\n\n"
                paid = {}
            if paid is None or not await asyncio.to_thread(desk.still, secret):
                return
            if not paid:
                continue
            if paid["client"] == client:
                yield f"id:{paid['pay_index']}\ndata:{json.dumps(shown(paid))}\n\n"


async def _happenings(desk: Desk, client: Client, secret: str, since: int) -> AsyncIterator[str]:
    """A client's events after an id: those on record, again whenever one is told of. `meter` adds the node's meters."""
    of = (client.name, "") if "meter" in client.scopes else (client.name,)
    async with desk.happenings.listening() as queue:
        yield ": hello\n\n"
        while await asyncio.to_thread(desk.still, secret):
            for event in await asyncio.to_thread(desk.events.after, since, of):
                since = event["id"]
                yield f"id:{since}\nevent:{event['kind']}\ndata:{json.dumps(told(event))}\n\n"
            try:
                if await asyncio.wait_for(queue.get(), BEAT_S) is None:
                    return
            except TimeoutError:
                yield ": keepalive\n\n"


async def _silence(ws: WebSocket) -> None:
    """Until the other side goes; whatever it says is let go."""
    try:
        while True:
            await ws.receive_text()
    except (WebSocketDisconnect, RuntimeError, KeyError):
        return
