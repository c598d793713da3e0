"""A public page for each meter, for a phone and any wallet; the same for wallets alone, by LNURL.

LNURL-pay (LUD-06) buys, LNURL-withdraw (LUD-03) gives back what is left."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from ...billing.described import (
    PAGES,
    PayInvoice,
    PayTerms,
    PayVerified,
    WithdrawAnswer,
    WithdrawTerms,
    gives,
    takes,
)
from ...billing.meter_pages import MeterPages, Purchase, why_not
from ...billing.routes.parameters import Billing
from ...core.audit import audit
from ...core.errors import BadParam, SatmeterError, UnknownMeter
from ...core.money import MSAT_PER_SAT
from ...core.plain import JsonObject
from ...core.receipt import read
from ...core.status import MeterStatus
from ...core.tariff import Tariff
from ...http.server import asker
from ...qr import draw
from ...qr.make import make
from ...wire.lnurl import check_base, encode
from ...wire.signature import signer
from ..amounts import priced
from ..http import Visits, for_wallets
from . import account
from .parameters import Form, MaybeMarket, ThisVisit

A_MINUTE = 4
"""Invoices of one meter that one network address may ask for in a minute: each holds one of the few that a meter has
unpaid, for some minutes, and others want to buy there, too."""
COMMENT = 200
"""Characters that a payer may write for the receipt (LUD-12)."""
BACK_A_MINUTE = 10
"""Tries to get something back by one purchase's link: each asks somebody else's server, or the node."""

router = APIRouter(tags=["meters"], **PAGES)


async def pages(request: Request) -> MeterPages:
    """Returns the public meters of this worker's service."""
    found: MeterPages = request.app.state.meter_pages
    return found


Meters = Annotated[MeterPages, Depends(pages)]


def _base(request: Request, visit: Visits, name: str) -> str:
    return f"{visit.base or str(request.base_url).rstrip('/')}/m/{name}"


def _no_wallets(base: str) -> str:
    """Returns why a wallet would not call pages at `base`, "" where it would."""
    try:
        check_base("public_url", base)
    except BadParam:
        return "this service has no public address: its operator sets public_url to https://HOST in its config"
    return ""


def _of(meter: MeterStatus, meters: MeterPages) -> JsonObject:
    """Returns what the pages say of a meter."""
    tariff = meter.tariff
    why = why_not(meter)
    return {
        "name": meter.name,
        "state": meter.state,
        "can_deliver": not why,
        "why_not": why,
        "unit": tariff.unit,
        "price_msat": tariff.price_msat,
        "price": meters.in_currency(tariff.price_msat),
        "offer": next((each.bolt12 for each in meter.offers if each.active and not each.amount_msat), ""),
        "choices": [
            {
                "text": each.text,
                "msatoshi": each.amount_msat,
                "price": meters.in_currency(each.amount_msat),
                "units": tariff.units(tariff.ticks(each.amount_msat)),
            }
            for each in meters.choices(meter)
        ],
    }


@router.get("/m/{name}")
def show(request: Request, name: str, meters: Meters, visit: ThisVisit) -> Response:
    """A meter: its state, its price, and what can be chosen."""
    data, base = _of(meters.meter(name), meters), _base(request, visit, name)
    no_wallets = _no_wallets(base)
    lnurl = "" if no_wallets else encode(f"{base}/lnurlp")
    return visit.answer(request, "meter", {**data, "lnurl": lnurl, "no_wallets": no_wallets})


@router.post("/m/{name}/buy", openapi_extra=takes(sat="100"))
def buy(request: Request, name: str, given: Form, meters: Meters, billing: Billing, visit: ThisVisit) -> Response:
    """Make an invoice of `sat` (or `msatoshi`), and lead to the purchase's own link."""
    amount = meters.payable(name, priced(given).get("msatoshi"))
    billing.may_mint(f"meter/{name}/{asker(request)}", A_MINUTE)
    bolt11, link = meters.buy(name, amount)
    return visit.done(request, f"/m/{name}/{link}", {"payreq": bolt11})


@router.get("/m/{name}/lnurlp", **gives(PayTerms), response_class=JSONResponse)
def terms(request: Request, name: str, meters: Meters, visit: ThisVisit) -> Response:
    """What a wallet may pay at a meter (LUD-06)."""
    base = _base(request, visit, name)
    try:
        meter = meters.meter(name)
        if why := _no_wallets(base):
            return for_wallets({"status": "ERROR", "reason": why})
        if why := _of(meter, meters)["why_not"]:
            return for_wallets({"status": "ERROR", "reason": f"meter {name} can't deliver: {why}"})
        least, most = meters.bounds_msat(meter)
    except SatmeterError as error:
        return for_wallets({"status": "ERROR", "reason": error.message})
    metadata = meters.metadata(name, urlsplit(base).netloc)
    bounds = {"minSendable": least, "maxSendable": most, "metadata": metadata, "commentAllowed": COMMENT}
    return for_wallets({"tag": "payRequest", "callback": f"{base}/lnurlp/pay", **bounds})


@router.get("/m/{name}/lnurlp/pay", **gives(PayInvoice), response_class=JSONResponse)
def asked(
    request: Request, name: str, meters: Meters, billing: Billing, visit: ThisVisit, amount: str = "", comment: str = ""
) -> Response:
    """An invoice of `amount` msat; its success action leads to the purchase's page (LUD-06, 09, 11, 12, 21)."""
    base = _base(request, visit, name)
    try:
        if not amount.isdecimal():
            raise BadParam("amount: must be a whole number of msat", param="amount")
        payable = meters.payable(name, amount)
        billing.may_mint(f"meter/{name}/{asker(request)}", A_MINUTE)
        bolt11, link = meters.buy(name, payable, meters.metadata(name, urlsplit(base).netloc), comment)
    except SatmeterError as error:
        return for_wallets({"status": "ERROR", "reason": error.message})
    action = {"tag": "url", "description": "What is left, and the receipt:", "url": f"{base}/{link}"}
    more = {"successAction": action, "disposable": False, "verify": f"{base}/{link}/verify"}
    return for_wallets({"pr": bolt11, "routes": [], **more})


@router.get("/m/{name}/{link}/verify", **gives(PayVerified), response_class=JSONResponse)
def verified(name: str, link: str, meters: Meters) -> Response:
    """Whether a purchase is paid, for who has its invoice but did not pay it (LUD-21)."""
    try:
        found = meters.purchase(name, link).invoice
    except SatmeterError:
        return for_wallets({"status": "ERROR", "reason": "Not found"})
    return for_wallets({"status": "OK", "settled": found.status == "paid", "preimage": None, "pr": found.bolt11})


@router.get("/.well-known/lnurlp/{name}", **gives(PayTerms), response_class=JSONResponse)
def address(request: Request, name: str, meters: Meters, visit: ThisVisit, market: MaybeMarket) -> Response:
    """The Lightning Address METER@HOST (LUD-16); a user's, where no meter has that name."""
    if meters.is_public(name):
        try:
            meters.meter(name)
        except UnknownMeter:
            pass
        else:
            return terms(request, name, meters, visit)
    if market is not None:
        return account.terms(request, name, market, visit)
    return for_wallets({"status": "ERROR", "reason": "nobody has that name"})


@router.get("/m/{name}/qr.png", response_class=Response, responses={200: {"content": {"image/png": {}}}})
def code(request: Request, name: str, meters: Meters, visit: ThisVisit) -> Response:
    """One code for all: a camera opens it as the meter's page, a wallet pays it (LUD-01)."""
    meters.meter(name)
    base = _base(request, visit, name)
    return Response(draw.png(make(f"{base}?lightning={encode(f'{base}/lnurlp')}")), media_type="image/png")


@router.post("/m/{name}/{link}/end")
def end(request: Request, name: str, link: str, given: Form, meters: Meters, visit: ThisVisit) -> Response:
    """End the use that a purchase pays for; what is left can be given back then."""
    meters.end(name, link)
    return visit.done(request, f"/m/{name}/{link}")


@router.post("/m/{name}/{link}/refund", openapi_extra=takes(to="alice@wallet.example"))
async def refund(
    request: Request, name: str, link: str, given: Form, meters: Meters, billing: Billing, visit: ThisVisit
) -> Response:
    """Gives back what is left of a purchase, to `to`.

    That is a BOLT 11 invoice (without an amount, it gets all but the fee), a BOLT 12 offer, or a Lightning Address."""
    to = "".join(str(given.get("to") or "").split()).lower().removeprefix("lightning:")
    rest = await run_in_threadpool(meters.rest, name, link)
    billing.may_mint(f"refund/{link}", BACK_A_MINUTE)
    if "@" in to:
        invoice = await billing.addresses.invoice_of(to, rest.msat, asker(request))
    elif to.startswith("lno1"):
        invoice = await run_in_threadpool(meters.invoice_of_offer, to, rest.msat)
    else:
        invoice = to
    await run_in_threadpool(meters.give_back, name, link, invoice)
    return visit.done(request, f"/m/{name}/{link}")


@router.get("/m/{name}/{link}/withdraw", **gives(WithdrawTerms), response_class=JSONResponse)
def withdraw(request: Request, name: str, link: str, meters: Meters, visit: ThisVisit) -> Response:
    """What a wallet may take back of a purchase (LUD-03)."""
    try:
        rest = meters.rest(name, link)
    except SatmeterError as error:
        return for_wallets({"status": "ERROR", "reason": error.message})
    callback = f"{_base(request, visit, name)}/{link}/withdraw/pay"
    bounds = {"minWithdrawable": MSAT_PER_SAT, "maxWithdrawable": rest.msat}
    what = {"k1": rest.word, "defaultDescription": f"what was left at meter {name}", **bounds}
    return for_wallets({"tag": "withdrawRequest", "callback": callback, **what})


@router.get("/m/{name}/{link}/withdraw/pay", **gives(WithdrawAnswer), response_class=JSONResponse)
def withdrawn(name: str, link: str, meters: Meters, billing: Billing, k1: str = "", pr: str = "") -> Response:
    """Have the seller's node pay a wallet's invoice `pr`, once for each `k1` (LUD-03)."""
    try:
        meters.rest(name, link)
        billing.may_mint(f"refund/{link}", BACK_A_MINUTE)
        meters.give_back(name, link, pr.lower(), k1)
    except SatmeterError as error:
        return for_wallets({"status": "ERROR", "reason": error.message})
    return for_wallets({"status": "OK"})


@router.get("/m/{name}/{link}/receipt")
def receipt(request: Request, name: str, link: str, meters: Meters, visit: ThisVisit) -> Response:
    """The signed receipt of a purchase, to read and to print, with what it proves."""
    data = _signed(name, link, meters)
    stated = read(data["receipt"])
    assert stated is not None  # our own plugin's
    tariff = Tariff.from_dict(dict(stated["tariff"]))
    figures = {**stated, "delivered": tariff.units(stated["ticks"]), "price": tariff.price_msat, "unit": tariff.unit}
    proofs = audit(data["receipt"], signer(data["receipt"], data["signature"]))
    shown = [{"holds": proof.holds, "words": proof.words} for proof in proofs]
    about = {"name": name, "link": link, "figures": figures, "proofs": shown}
    return visit.answer(request, "meter_receipt", {**data, **about})


@router.get("/m/{name}/{link}/receipt.json", response_class=JSONResponse)
def receipt_file(name: str, link: str, meters: Meters) -> Response:
    """The signed receipt of a purchase as a file that `satmeter audit` reads."""
    named = {"Content-Disposition": f'attachment; filename="receipt-{name}.json"', "Cache-Control": "no-store"}
    return JSONResponse(_signed(name, link, meters), headers=named)


def _signed(name: str, link: str, meters: MeterPages) -> dict[str, str]:
    """Returns the newest receipt of a purchase with its signature; 404 where there is none yet."""
    try:
        found = meters.purchase(name, link)
    except UnknownMeter as error:
        raise HTTPException(404, error.message) from None
    text, signature = "", ""
    if found.session is not None:
        text, signature = found.session.receipt, found.session.signature
    elif found.receipt is not None:
        text, signature = found.receipt["receipt"], found.receipt["signature"]
    if not text:
        raise HTTPException(404, "there is no receipt yet: the use has not ended")
    return {"receipt": text, "signature": signature}


@router.get("/m/{name}/{link}")
def purchase(request: Request, name: str, link: str, meters: Meters, visit: ThisVisit) -> Response:
    """A purchase: its invoice, then what is left, then the receipt."""
    try:
        found = meters.purchase(name, link)
    except UnknownMeter as error:
        raise HTTPException(404, error.message) from None
    data = _purchased(found, _of(meters.meter(name), meters))
    svg = ""
    if "text/html" in request.headers.get("accept", ""):
        if data["status"] == "unpaid":
            svg = draw.svg(make(f"LIGHTNING:{data['payreq'].upper()}"))
        elif data["rest_msat"] and not _no_wallets(_base(request, visit, name)):
            data["withdraw"] = encode(f"{_base(request, visit, name)}/{link}/withdraw")
            svg = draw.svg(make(f"LIGHTNING:{data['withdraw']}"))
    return visit.answer(request, "purchase", {**data, "link": link, "svg": svg})


def _purchased(found: Purchase, meter: JsonObject) -> JsonObject:
    session, row = found.session, found.receipt
    data: JsonObject = {
        "meter": meter,
        "status": found.invoice.status,
        "payreq": found.invoice.bolt11,
        "msatoshi": found.invoice.amount_msat,
        "expires_at": found.invoice.expires_at,
        "phase": session.phase if session is not None else "closed" if row is not None else "",
        "credit": "",
        "used": "",
        "ended": row["reason"] if row is not None and row["closed_at"] else "",
        "rest_msat": 0,
        "owed_msat": 0,
        "owed_why": "",
        "may_end": False,
        "refunded_msat": 0,
        "receipt": row["receipt"] if row is not None else "",
        "signature": row["signature"] if row is not None else "",
        "withdraw": "",
    }
    if session is not None:
        tariff = session.terms
        data |= {
            "credit": tariff.units(tariff.ticks(max(0, session.credit_msat))) if session.phase == "open" else "",
            "used": tariff.units(session.ticks),
            "ended": session.reason if session.phase != "open" else "",
            "rest_msat": found.part.refundable_msat if found.part is not None else 0,
            "owed_msat": found.part.left_msat if found.part is not None and session.phase != "open" else 0,
            "owed_why": session.owed_why or "",
            "may_end": session.phase == "open" and found.part is not None and found.part.leads,
            "refunded_msat": session.refunded_msat,
            "receipt": session.receipt,
            "signature": session.signature,
        }
    elif (stated := read(data["receipt"])) is not None:
        data["refunded_msat"] = stated["refunded_msat"]
    return data
