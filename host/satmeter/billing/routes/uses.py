"""POST /payment/uses: what gates ask for each request that they let through, many at once where many come.

A plain route, the first to be looked at, and its work on a thread that is its own: this is the way of every paid
request.
"""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...core.errors import BadParam
from ...core.plain import JsonObject
from .. import forms
from ..container import Container
from ..described import NEEDS_TOKEN, Passed, gives, takes
from ..tokens import Use, services_of

PATH = "/payment/uses"
MOST_USES = 200


WORKER = ThreadPoolExecutor(1, "billing-uses")


async def uses(request: Request) -> Response:
    """Spends several uses at once, each {hash or rhash, service}: whether each passed, in the same order.

    With an `id` (1 to 64 letters, digits and -) they are spent once, however often the call is repeated within a week:
    its answer may have been lost. 400 for other uses under it. `undo` true gives back what was spent under that id, and
    nothing is spent under it from then on."""
    billing: Container = request.app.state.billing
    seller = await billing.verifier(request)
    given = forms.only(
        forms.fields(await forms.raw(request), request.headers.get("content-type", "")), "uses", "id", "undo"
    )
    wanted, id, undo = _uses(given.get("uses")), given.get("id", ""), given.get("undo", False)
    if not isinstance(id, str) or not re.fullmatch(r"[A-Za-z0-9-]{0,64}", id):
        raise BadParam("id: must be 1 to 64 letters, digits and -", param="id")
    if undo not in (True, False) or (undo and not id):
        raise BadParam("undo: must be true or false, beside an id", param="undo")
    passed = await asyncio.get_running_loop().run_in_executor(
        WORKER, billing.spend, wanted, seller, id, bool(undo), billing.named(request)
    )
    return JSONResponse({"passed": passed})


def install(app: FastAPI) -> None:
    """Puts the call before all others of an application; its description there is of a route that is never reached."""
    example = [{"hash": "lBmK8DdCB9dgzqfYLiRIkFx7", "service": "Objects/Parking/capacity"}]
    known: JsonObject = {"dependencies": NEEDS_TOKEN, "openapi_extra": takes(uses=example), **gives(Passed)}
    app.add_api_route(PATH, uses, methods=["POST"], tags=["web"], **known)
    app.router.routes.insert(0, Route(PATH, uses, methods=["POST"]))


def _uses(given: object) -> list[Use | None]:
    """Returns the uses of a request, None for each with service names that are not valid.

    Such a use never passes. It does not refuse the whole request, since the other uses are of other
    people. BadParam where the list is not of 1 to MOST_USES, or a use lacks a field or has unknown ones."""
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_USES:
        raise BadParam(f"uses: must be a list of 1 to {MOST_USES}", param="uses")
    return [_use(each) for each in given]


def _use(each: object) -> Use | None:
    kind = next((one for one in ("hash", "rhash") if isinstance(each, dict) and isinstance(each.get(one), str)), "")
    if not kind or not isinstance(each, dict):
        raise BadParam("uses: each has a hash or an rhash, and a service", param="uses")
    forms.only(each, "hash", "rhash", "service")
    try:
        return Use(kind, each[kind], services_of(each.get("service")))
    except BadParam:
        return None
