"""The API for web UIs and gates (D3.8, table 2-2): invoice tokens become hash tokens, and hash tokens are verified.

An invoice token is an invoice's payreq or id. Parameters stand in the URL, as the document has them.
"""

from contextlib import suppress
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, RedirectResponse, Response

from ...core.errors import BadParam
from ...core.money import MAX_MSAT, whole
from ...core.plain import JsonObject
from ..api_tokens import covers
from ..container import Container
from ..described import NEEDS_TOKEN, TOKEN_OR_NOBODY, Done, HashToken, gives
from ..invoices import shown
from ..rates import converted
from ..rows import InvoiceRow
from ..tokens import Use, services_of
from .parameters import Billing, CreditGate, Verifier

Token = Annotated[str, Query(description="a payreq or an invoice's id", examples=["lnbc10n1pj..."])]
Service = Annotated[str, Query(description="names, separated by commas", examples=["Objects/Parking/capacity"])]
Hash = Annotated[str, Query(description="a hash token", examples=["lBmK8DdCB9dgzqfYLiRIkFx7"])]
PaymentHash = Annotated[str, Query(description="the payment hash of an invoice, in hex", examples=["4aa0" + "13" * 30])]
ReservationId = Annotated[str, Query(min_length=1, max_length=64)]
Line = Annotated[
    str,
    Query(
        description="satmeter-gate SESSION GATE PATH MSAT UNTIL NONCE",
        examples=[f"satmeter-gate {'2a' * 16} api.example /weather 5000 1800000000 7f3a90c1"],
    ),
]

PAID = {402: "an invoice; paid, it gives a new hash token"}


router = APIRouter(tags=["web"])


def _invoice(billing: Container, token: str) -> InvoiceRow:
    row = billing.invoices.find(token) or billing.invoices.by_payreq(token)
    if row is None:
        raise HTTPException(404, "Not Found")
    return row


def _stored(billing: Container, request: Request, token: str, service: str) -> str:
    row = _invoice(billing, token)
    services = services_of(service)
    client = billing.maybe(request, "invoice")
    if client is not None and client.name == row["client"]:
        billing.tokens.store_services(row["id"], services)
    elif set(billing.tokens.services_of_invoice(row["id"])) != set(services):
        # A stranger with the payer's browser may go on to pay, but not say what the invoice is for.
        raise HTTPException(403, "only the seller's api-token says what an invoice is for")
    return str(row["id"])


@router.post("/payment/pay", status_code=303, openapi_extra=TOKEN_OR_NOBODY)
async def pay(request: Request, token: Token, service: Service, billing: Billing) -> Response:
    """Store which services an invoice token is for, and take the payer to the checkout page."""
    id = await run_in_threadpool(_stored, billing, request, token, service)
    base = billing.config.public_url.rstrip("/")
    return RedirectResponse(f"{base}/checkout/{id}", 303)


def _sold(billing: Container, token: str, seller: str) -> InvoiceRow:
    row = _invoice(billing, token)
    if not covers(seller, row["client"]):
        raise HTTPException(404, "Not Found")
    return row


def _by_hash(billing: Container, rhash: str, seller: str) -> InvoiceRow | None:
    row = billing.invoices.by_hash(rhash)
    return row if row is not None and covers(seller, row["client"]) else None


def _issued(billing: Container, token: str, service: str, seller: str) -> str:
    row = _sold(billing, token, seller)
    found = billing.tokens.issue(row, services_of(service)) if billing.follower.catch_up(row) else None
    if found is None:
        raise HTTPException(404, "Not Found")
    return found


@router.post("/payment/verify", dependencies=NEEDS_TOKEN, **gives(HashToken))
async def verify(token: Token, service: Service, seller: Verifier, billing: Billing) -> JsonObject:
    """The hash token of a paid invoice (a new one each time; an earlier one ends), or 404."""
    return {"hash": await run_in_threadpool(_issued, billing, token, service, seller)}


async def verify_hash(hash: Hash, service: Service, seller: Verifier, billing: Billing) -> JsonObject:
    """Spend one use of a hash token; 404 where it is unknown, spent or for other services, which is not told."""
    if not await run_in_threadpool(billing.tokens.spend, hash, services_of(service), seller):
        raise HTTPException(404, "Not Found")
    return {"status": "success"}


for path in ("/payment/verifyHash", "/verifyHash"):
    router.post(path, dependencies=NEEDS_TOKEN, **gives(Done))(verify_hash)


@router.post("/payment/spend", dependencies=NEEDS_TOKEN, **gives(Done))
async def spend(rhash: PaymentHash, service: Service, seller: Verifier, billing: Billing) -> JsonObject:
    """Spend one use of a paid invoice by its payment hash, for a gate that was shown the preimage; else 404."""
    use = Use("rhash", rhash, services_of(service))
    if not (await run_in_threadpool(billing.spend, [use], seller))[0]:
        raise HTTPException(404, "Not Found")
    return {"status": "success"}


@router.post("/payment/return", dependencies=NEEDS_TOKEN, **gives(Done))
async def give_back(
    seller: Verifier,
    billing: Billing,
    hash: Hash = "",
    rhash: PaymentHash = "",
    id: Annotated[str, Query(max_length=64)] = "",
) -> JsonObject:
    """Gives back one use that was spent and not delivered, by `hash` or by `rhash`, but not both.

    With the same `id` the use is given back once, also where the call is repeated. 404 for an unknown
    token or invoice, or where no use was spent."""
    row = await run_in_threadpool(_by_hash, billing, rhash, seller) if rhash else None
    if bool(hash) == bool(rhash) or (rhash and row is None):
        raise HTTPException(404, "Not Found")
    if not await run_in_threadpool(billing.tokens.give_back, hash, row["id"] if row else "", seller, id):
        raise HTTPException(404, "Not Found")
    return {"status": "success"}


@router.post("/payment/credit", dependencies=NEEDS_TOKEN, **gives(Done))
async def credit(
    gate: CreditGate, billing: Billing, pledge: Line, signature: str, id: ReservationId, msatoshi: int
) -> JsonObject:
    """Reserves `msatoshi` of a session's credit for a gate, under an `id` of the gate's choice.

    404 where the session is unknown, its buyer did not sign the pledge, the pledge has ended or is used
    up, or the credit does not suffice. The gate itself checks that the pledge is for this gate and path."""
    amount = whole("msatoshi", msatoshi, 1, MAX_MSAT)
    if not await run_in_threadpool(billing.meters.reserve, pledge, signature, id, amount):
        raise HTTPException(404, "Not Found")
    return {"status": "success"}


@router.post("/payment/credit/{step}", dependencies=NEEDS_TOKEN, **gives(Done))
async def credit_ends(gate: CreditGate, billing: Billing, step: str, session: str, id: str) -> JsonObject:
    """`settle` or `release` what is held."""
    await run_in_threadpool(billing.meters.end, session, id, step)
    return {"status": "success"}


def _renewed(billing: Container, hash: str, seller: str, ask: bool) -> str | InvoiceRow:
    bought = billing.tokens.find(hash)
    if bought is None or not covers(seller, bought.client):
        raise HTTPException(404, "Not Found")
    if bought.spent < bought.uses:
        raise BadParam(f"hash: has {bought.uses - bought.spent} of {bought.uses} uses left", param="hash")
    old = billing.invoices.find(bought.invoice)
    if old is None:
        if ask:
            billing.may_mint(bought.client)
        found = billing.renewal(bought, ask)
    elif ask:
        billing.may_mint(old["client"])
        amount, quote = old["msatoshi"], None
        if old["quoted_currency"] and old["quoted_amount"]:  # at the rate of now; as before, where there is none
            with suppress(BadParam):
                quoted_for = old["quoted_currency"], old["quoted_amount"]
                amount = converted(billing.config.rates, billing.node, quoted_for[0], Decimal(quoted_for[1]))
                quote = quoted_for
        services, uses = bought.services, old["uses"]
        found = billing.invoices.make(
            old["client"], amount, old["description"], quoted=quote, services=services, uses=uses
        )
    else:
        found = None
    if found is None:
        raise HTTPException(404, "Not Found")
    return found


@router.post("/refresh", dependencies=NEEDS_TOKEN, **gives(HashToken, others=PAID))
async def refresh(hash: Hash, seller: Verifier, billing: Billing, ask: bool = True) -> Response:
    """Renews a hash token that is used up: returns a new token, or an invoice for one (402).

    The new token is paid from its holder's account where the holder allowed that. Repeated calls return
    the same new token until it is used up. Otherwise the answer is a new invoice for the same services,
    or 404 with ask=false. 400 where the token has uses left."""
    found = await run_in_threadpool(_renewed, billing, hash, seller, ask)
    return JSONResponse({"hash": found}) if isinstance(found, str) else JSONResponse(shown(found), 402)
