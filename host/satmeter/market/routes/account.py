"""A user's own pages: the account, and the dashboard with what was bought."""

import json
import secrets

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from ...billing.described import PAGES, PayInvoice, PayTerms, gives, takes
from ...billing.outgoing_payments import ALARM
from ...core.errors import BadParam, TooMany
from ...core.money import MAX_MSAT, msat, whole
from ...core.plain import JsonObject
from ...http.server import asker
from ..amounts import msat_of, priced
from ..container import Market
from ..http import LOGGED_IN, Visits, for_wallets
from ..ledger import of_user
from ..orders import PAGE
from ..users import User
from .parameters import Form, ThisMarket, ThisVisit, Visitor

ASKED_PER_MINUTE = 60
"""Invoices of our users' addresses that one asker may have."""
SAID = {
    "paid": "It is paid.",
    "pending": "It is under way.",
    ALARM: "It was paid over another amount than was asked: the hub's operator looks at it, and nothing is paid again.",
}


router = APIRouter(tags=["accounts"], **PAGES)


@router.get("/dashboard", dependencies=LOGGED_IN)
def dashboard(request: Request, user: Visitor, market: ThisMarket, visit: ThisVisit, page: int = 1) -> Response:
    """What was bought: tokens, uses left, receipts."""
    found = market.orders.purchases(user.id, whole("page", page, 1, 100_000))
    data = {"purchases": found, "page": page, "more": len(found) == PAGE}
    return visit.answer(request, "dashboard", data, user)


@router.post("/dashboard/{id}/rate", dependencies=LOGGED_IN, openapi_extra=takes(stars=5))
def rate(request: Request, id: str, given: Form, user: Visitor, market: ThisMarket, visit: ThisVisit) -> Response:
    """Rate a purchase that was used: `stars`, 1 to 5."""
    market.orders.rate(user.id, id, whole("stars", given.get("stars"), 1, 5))
    return visit.done(request, "/dashboard")


@router.post("/dashboard/{id}/renew", dependencies=LOGGED_IN, openapi_extra=takes(sat="20", day_sat="10"))
def renew(request: Request, id: str, given: Form, user: Visitor, market: ThisMarket, visit: ThisVisit) -> Response:
    """Sets for how much a purchase is renewed from the account when its token is used up.

    `sat` (or `msatoshi`) is the limit in all; 0 ends renewal. `day_sat` (or `day_msatoshi`) is the
    limit in any 24 hours; without it, ten times the price. Anybody with the token can use these
    amounts up."""
    given = given if str(given.get("sat")) == "0" else priced(given)
    most = msat("msatoshi", given.get("msatoshi") or 0, 0)
    day = msat_of(given["day_sat"]) if given.get("day_sat") else given.get("day_msatoshi")
    market.orders.allow_renewal(user.id, id, most, msat("day_msatoshi", day or 0, 0))
    return visit.done(request, "/dashboard")


@router.get("/receipt/{id}", dependencies=LOGGED_IN)
def receipt(request: Request, id: str, user: Visitor, market: ThisMarket, visit: ThisVisit) -> Response:
    """A purchase's receipt, signed by the hub's node (`signature`, of `text`: lightning-cli checkmessage)."""
    found = market.orders.receipt(user.id, id)
    if found is None:
        raise HTTPException(404, "Not Found")
    names = market.users.names({found["seller"]})
    facts = {**found, "seller": names.get(found["seller"], ""), "buyer": user.name}
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    signed = {"text": text, "signature": market.billing.node.sign(text), "node": market.billing.info["id"]}
    return visit.answer(request, "receipt", {"receipt": facts, **signed}, user)


# --- the account


@router.get("/account", dependencies=LOGGED_IN)
def account(
    request: Request, user: Visitor, market: ThisMarket, visit: ThisVisit, before: int = 0, sent: str = ""
) -> Response:
    """The balance, and what moved it, newest first; before: an entry's id; sent: how a payment went just now."""
    return _room(request, user, market, visit, before=whole("before", before, 0, 2**62), said=SAID.get(sent, ""))


def _room(
    request: Request,
    user: User,
    market: Market,
    visit: Visits,
    before: int = 0,
    quote: object = None,
    said: str = "",
) -> Response:
    data = {
        "msatoshi": market.ledger.balance(of_user(user.id)),
        "entries": market.ledger.entries(of_user(user.id), before),
        "address": market.sending.address(user),
        "fee_ppm": market.ledger.fee_ppm,
        "quote": quote,
        "said": said,
        "once": secrets.token_urlsafe(12),
    }
    return visit.answer(request, "account", data, user)


@router.post("/account/deposit", dependencies=LOGGED_IN, openapi_extra=takes(sat="2500"))
def deposit(request: Request, given: Form, user: Visitor, market: ThisMarket, visit: ThisVisit) -> Response:
    """An invoice of `sat` (or `msatoshi`) whose payment goes to the account."""
    market.billing.may_mint(of_user(user.id))
    amount = msat("msatoshi", priced(given).get("msatoshi"), 1)
    row = market.orders.deposit(user.id, amount, f"to the account of {user.name}")
    return visit.done(request, f"/checkout/{row['id']}", {"id": row["id"], "payreq": row["payreq"]})


@router.post("/account/quote", dependencies=LOGGED_IN, openapi_extra=takes(to="bob@hub.example", sat="100"))
def quote(request: Request, given: Form, user: Visitor, market: ThisMarket, visit: ThisVisit) -> Response:
    """What a payment would cost: nothing is paid."""
    to, amount = _target(market, given)
    return _room(request, user, market, visit, quote={"to": to, "user": user.name, **market.sending.quote(amount)})


@router.post("/account/send", dependencies=LOGGED_IN, openapi_extra=takes(to="bob@hub.example", sat="100", once="k7"))
async def send(request: Request, given: Form, user: Visitor, market: ThisMarket, visit: ThisVisit) -> Response:
    """Pays a BOLT 11 invoice, or `sat` (or `msatoshi`) to the address NAME@HUB, from the account.

    A repeated request with the same `once` (or Idempotency-Key) is the same payment."""
    to, amount = await run_in_threadpool(_target, market, given)
    key = request.headers.get("idempotency-key") or str(given.get("once") or "")
    attempt = await run_in_threadpool(market.sending.begin, user.id, key, f"{to} {amount}")
    payreq = attempt.body or (to if to.startswith("ln") else await market.sending.invoice_of(user.id, to, amount))
    payreq = await run_in_threadpool(market.sending.fix, attempt, payreq)
    sent_ = await market.sending.send(user.id, payreq)
    said = SAID.get(sent_["status"], f"It failed: {sent_['why']}")
    if "json" in request.headers.get("accept", ""):
        status = {"paid": 200, "pending": 202, ALARM: 409}.get(sent_["status"], 402)
        return JSONResponse(sent_, status, headers={"Cache-Control": "no-store"})
    if sent_["status"] in SAID:  # so that a reload sends nothing again
        return visit.done(request, f"/account?sent={sent_['status']}")
    return await run_in_threadpool(_room, request, user, market, visit, said=said)


def _target(market: Market, given: JsonObject) -> tuple[str, int]:
    to = str(given.get("to") or "").strip().lower().removeprefix("lightning:")
    if "@" in to:
        return to, msat("msatoshi", priced(given).get("msatoshi"), 1)
    if not to.startswith("ln") or not to.isascii() or not to.isalnum() or len(to) > 8000:
        raise BadParam(f"to: must be a BOLT 11 invoice, or NAME@HUB, got {to[:80]!r}", param="to")
    amount = int(market.billing.spending.decoded(to)["amount_msat"])
    if not 1 <= amount <= MAX_MSAT:
        raise BadParam(f"to: {amount} msat is no amount that can be paid", param="to")
    return to, amount


# --- our users' addresses, for everybody's wallets


@router.get("/.well-known/lnurlp/{name}", **gives(PayTerms), response_class=JSONResponse)
def terms(request: Request, name: str, market: ThisMarket, visit: ThisVisit) -> Response:
    """A user's Lightning Address (LUD-16)."""
    base = visit.base or str(request.base_url).rstrip("/")
    user = market.users.named(name)
    if user is None or not market.sending.host:
        return for_wallets({"status": "ERROR", "reason": "nobody has that name"})
    return for_wallets(market.sending.terms(user, f"{base}/lnurlp/{name}"))


@router.get("/lnurlp/{name}", **gives(PayInvoice), response_class=JSONResponse)
def asked(request: Request, name: str, market: ThisMarket, amount: str = "") -> Response:
    """An invoice of `amount` msat for a user's address (LUD-06)."""
    user = market.users.named(name)
    if user is None or not market.sending.host:
        return for_wallets({"status": "ERROR", "reason": "nobody has that name"})
    try:
        market.billing.may_mint(f"lnurlp/{asker(request)}", ASKED_PER_MINUTE)
        row = market.sending.asked(user, amount)
    except (BadParam, TooMany) as error:
        return for_wallets({"status": "ERROR", "reason": error.message})
    return for_wallets({"pr": row["payreq"], "routes": []})
