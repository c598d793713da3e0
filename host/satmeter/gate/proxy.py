"""The proxy: looks at a request's price, at what it brings to pay it, and lets it through, or answers 402.

A use is spent before the request goes through, and given back where nothing came of it: the holder pays for what was
delivered. Tokens go no further than here.
"""

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import aiohttp
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..core.errors import BadParam, NodeTrouble, NotAsked, SatmeterError, TooMany
from ..core.plain import keep_newest
from ..http.last_minute import LastMinute
from ..http.problem import problem
from ..http.request_body import TooLarge, TooSlow, whole
from ..http.server import asker
from ..wire.pledge import Pledge
from ..wire.signature import is_signature
from . import omi
from .billing_client import Asked, BillingClient
from .config import Config
from .l402 import L402
from .owed import OwedUse, OwedUses
from .page import Pages, wanted
from .prices import METHODS, Price, find, methods_of, together
from .upstream import Upstream, plain_path

log = logging.getLogger("satmeter.gate")

REMEMBERED = 10_000
AGAIN_S = 60
"""For so long the last invoice is given again to who asks for very many."""
RETRY_S = 60
RESERVED_S = 300.0
"""A request that is paid with reserved credit must be answered within this time. It is half the time after which the
seller releases the credit. Otherwise a slow body could get its answer and get the credit back as well."""
OWED_EVERY_S = 5

EXPOSED = ("WWW-Authenticate", "Retry-After", "Satmeter-Token")
"""Headers of the gate's own answers that a script may read."""


@dataclass(frozen=True, slots=True)
class Spent:
    """A use that was spent, or credit that is reserved, for one request.

    kind: hash, rhash or credit.
    which: the hash token, the payment hash, or the session.
    id: of the use, or of the reservation; made by the gate.
    renewed: the token that replaced the used-up one of the request; "" without a renewal."""

    kind: str
    which: str
    id: str
    renewed: str = ""


class Gate:
    """The gate as an ASGI application: spends a use of a request, forwards it, or answers 402."""

    def __init__(self, config: Config):
        self.config = config
        self.l402 = L402(config.secret, config.earlier_secrets)
        self.pages = Pages(config.secret, config.earlier_secrets)
        self.owed = OwedUses(config.owed)
        self.billing = BillingClient(config.service, config.api_token, self.owed)
        self._open: OrderedDict[tuple[str, Price], tuple[Asked, float]] = OrderedDict()
        self.upstream = Upstream(config)
        self._minted = LastMinute()

    def app(self) -> Starlette:
        """Returns the Starlette application. CORS preflights are answered by it and cost nothing."""

        @asynccontextmanager
        async def running(_: Starlette) -> AsyncIterator[None]:
            async with self.billing, self.upstream.opened():
                tasks = [asyncio.create_task(each()) for each in (self._give_back, self.billing.try_token)]
                yield
                for task in tasks:
                    task.cancel()

        pages = Middleware(  # a preflight is answered here, and costs nothing
            CORSMiddleware,
            allow_origins=self.config.origins,
            allow_methods=METHODS,
            allow_headers=["*"],
            expose_headers=EXPOSED,
        )
        routes = [Route("/{path:path}", self.handle, methods=list(METHODS))]
        return Starlette(routes=routes, middleware=[pages], lifespan=running)

    async def handle(self, request: Request) -> Response:
        """Answers a request: forwarded, or a problem (400, 402, 403, 408, 413, 429, 502 or 504)."""
        try:
            return await self._handle(request)
        except TooSlow:
            return problem(408, "Request Timeout", "the body did not come to its end")
        except TooMany as error:
            answer = problem(429, "Too Many Requests", error.message)
            answer.headers["Retry-After"] = str(RETRY_S)
            return answer
        except SatmeterError as error:
            log.warning("%s %s: %s", request.method, request.url.path, error)
            if isinstance(error, NodeTrouble):  # visitors are not told of internal addresses
                return problem(502, error.name, "the gate can't ask its billing service just now; try again soon")
            return problem(400, error.name, error.message)

    async def _handle(self, request: Request) -> Response:
        if int(request.headers.get("content-length") or 0) > self.config.most_bytes:
            return problem(413, "Content Too Large", f"a body may have {self.config.most_bytes:,} bytes")
        path = plain_path(request.scope)
        if path is None:
            return problem(400, "Bad Request", "the server behind the gate could read this path as another one")
        body: bytes | None = None
        paths: tuple[str, ...] = (path,)
        if self.config.omi and request.method != "POST":
            price = None
        elif self.config.omi:
            body = await self._envelope(request)
            asked = omi.asked(body)
            paths = tuple(f"/{each}" for each in asked)  # what is paid for; the address says nothing of it
            price = together(self.config.prices, asked)
        else:
            price = find(self.config.prices, request.method, path)
        if price is None:
            return self._not_sold(path)
        if not price.msatoshi:
            return await self._forward(request, None, body)
        spent = await self._spend(request.headers, price, paths) or await self._spend_cookie(request, price)
        if spent is None:
            return await self._challenge(request, price)
        return await self._forward(request, spent, body)

    def _not_sold(self, path: str) -> Response:
        """Returns what is answered where no price fits: 405 where one does for other methods."""
        others = () if self.config.omi else methods_of(self.config.prices, path)
        if not others:
            return problem(403, "Forbidden", "nothing is sold at this address")
        answer = problem(405, "Method Not Allowed", f"at this address {', '.join(others)} is sold")
        answer.headers["Allow"] = ", ".join(others)
        return answer

    async def _spend(self, headers: Mapping[str, str], price: Price, paths: tuple[str, ...]) -> Spent | None:
        """Spends a use, or reserves credit, by a request's headers; None if they have nothing good.

        `paths` are what the request asks for, which a pledge must cover. A used-up token is renewed from its
        holder's account where the holder allowed that."""
        scheme, _, value = headers.get("authorization", "").partition(" ")
        service = price.service
        if scheme.lower() == "bearer" and 0 < len(value) <= 200:
            if id := await self.billing.spend_token(value, service):
                return Spent("hash", value, id)
            renewed, id = await self.billing.renew_token(value, service)
            return Spent("hash", renewed, id, renewed) if id else None
        if scheme.lower() == "meter":
            return await self._hold(value, max(1, price.msatoshi // price.uses), paths)
        good = self.l402.check(headers, service)
        id = await self.billing.spend_payment(good.payment_hash, service) if good is not None else ""
        if good is None or not id:
            return None
        self._open = OrderedDict(
            (name, given) for name, given in self._open.items() if given[0].payment_hash != good.payment_hash
        )
        return Spent("rhash", good.payment_hash, id)

    async def _spend_cookie(self, request: Request, price: Price) -> Spent | None:
        """Spend a use of what this browser was shown the invoice of, once that is paid."""
        asked_for = self.pages.payment_of(request, price.service) if request.method in ("GET", "HEAD") else ""
        if not asked_for or self.pages.was_refused(asked_for):
            return None
        id = await self.billing.spend_payment(asked_for, price.service)
        if not id:
            self.pages.refused(asked_for)
            return None
        self.pages.opened(asked_for)
        return Spent("rhash", asked_for, id)

    async def _hold(self, value: str, msat: int, paths: tuple[str, ...]) -> Spent | None:
        """Hold credit of a session by a pledge; None for one that is not for this gate and these paths, or not good."""
        signature, _, line = value.strip().partition(" ")
        pledge, id = Pledge.parse(line), secrets.token_hex(16)
        if pledge is None or not is_signature(signature) or not pledge.covers(self.config.name, paths):
            return None
        try:
            held = await self.billing.hold_credit(pledge, signature, id, msat)
        except NotAsked:
            raise
        except BaseException:  # it may be held all the same; whoever asks may be gone
            self.owed.add(OwedUse(id, "credit", pledge.session))
            raise
        return Spent("credit", pledge.session, id) if held else None

    async def _challenge(self, request: Request, price: Price) -> Response:
        """Returns a 402 answer with an invoice, as JSON or, for a browser, as a page.

        It does not show whether a token was unknown, used up or for something else. The page shows the same
        invoice again for a while."""
        person = wanted(request) and not self.config.omi
        shown = self.pages.shown(self.pages.payment_of(request, price.service)) if person else None
        asked = shown or await self._ask(asker(request), price, of_a_page=person)
        answer: Response
        if person:
            answer = self.pages.page(request, asked, price)
        else:
            answer = problem(402, "Payment Required", f"{price.msatoshi} msat for {price.uses} of {price.service}")
        for challenge in self.l402.challenge(asked.payment_hash, asked.payreq, price.service):
            answer.headers.append("WWW-Authenticate", challenge)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    async def _ask(self, who: str, price: Price, of_a_page: bool) -> Asked:
        """Returns an invoice for a price: a new one while `who` is within mint_per_minute.

        Beyond that, returns the last one for `who` and this price again if it is at most AGAIN_S (60 s) old.
        Else raises TooMany. `who` is the payer's network (server.asker). A page's invoice is shown to nobody else:
        its cookie is good for what is bought, whoever pays; else only who has the preimage is."""
        now = time.monotonic()
        if self._minted.take(who, self.config.mint_per_minute):
            asked = await self.billing.ask(price)
            if not of_a_page:
                self._open.pop((who, price), None)
                self._open[who, price] = asked, now
                keep_newest(self._open, REMEMBERED)
            return asked
        before = None if of_a_page else self._open.get((who, price))
        if before is None or now > before[1] + AGAIN_S:
            raise TooMany("too many invoices asked for; try again in a minute")
        return before[0]

    async def _forward(self, request: Request, spent: Spent | None, body: bytes | None) -> Response:
        """Returns the upstream's answer; gives the use back where nothing came of the request."""
        answer, on_credit = None, spent is not None and spent.kind == "credit"
        try:
            async with asyncio.timeout(RESERVED_S if on_credit else None) as time_out:
                answer = await self.upstream.answer(request, body)
                begins = await self.upstream.beginning(request.method, answer) if spent is not None else b""
        except BaseException as error:
            # Whatever it was (the payer went away in mid-upload as well): nothing was delivered.
            if answer is not None:
                answer.close()
            charged = await asyncio.shield(self._undo(spent))
            return self._no_answer(TooSlow() if time_out.expired() else error, charged)
        uncharged = self.config.uncharged
        if answer.status >= 500 or answer.status in uncharged or request.method in uncharged:
            await asyncio.shield(self._undo(spent))
        elif spent is not None and on_credit:
            await self._settle(spent, answer)
        elif spent is not None:
            self.owed.remove(spent.id)
        out = self.upstream.passed_on(answer, begins)
        if spent is not None and spent.renewed:
            out.headers["Satmeter-Token"] = spent.renewed
        return out

    def _no_answer(self, error: BaseException, charged: str) -> Response:
        """Returns what a payer is told where the upstream gave no answer; raises what is no trouble of the upstream's.

        `charged` says what became of the charge."""
        for reason in (error, error.__cause__):
            if isinstance(reason, TooLarge):
                return problem(413, "Content Too Large", f"a body may have {self.config.most_bytes:,} bytes")
            if isinstance(reason, TooSlow):
                return problem(408, "Request Timeout", "the body did not come to its end")
        if not isinstance(error, (aiohttp.ClientError, TimeoutError)):
            raise error
        status = 504 if isinstance(error, TimeoutError) else 502
        title = "Gateway Timeout" if status == 504 else "Bad Gateway"
        return problem(status, title, f"the server behind this gate does not answer; {charged}")

    async def _settle(self, spent: Spent, answer: aiohttp.ClientResponse) -> None:
        """Settles reserved credit before the upstream's answer goes to the payer.

        Where it is refused, the answer is closed and not sent (NodeTrouble). Where it is not known whether it is done,
        it is done later, and the payer gets the answer: it may have been taken."""
        try:
            good = await self.billing.settle(spent.which, spent.id)
        except NodeTrouble as error:
            self.owed.add(OwedUse(spent.id, "settle", spent.which))
            log.error("%s; it is settled later (%s)", error, spent.id)
            return
        except BaseException:  # the payer went away, or we are ending: nothing is delivered
            self.owed.add(OwedUse(spent.id, "credit", spent.which))
            answer.close()
            raise
        if not good:
            answer.close()
            raise NodeTrouble(f"credit under {spent.id} was not settled: it is not held any more")

    async def _undo(self, spent: Spent | None) -> str:
        """Give a use back; returns what that came to, in words. What can't be now is kept, and done later."""
        if spent is None:
            return "nothing was charged"
        use = OwedUse(spent.id, spent.kind, spent.which)
        try:
            await self.billing.undo(use)
            self.owed.remove(use.id)
            if spent.kind == "rhash":  # a browser that was refused meanwhile may ask again at once
                self.pages.opened(spent.which)
            return "nothing was charged"
        except NodeTrouble as error:
            self.owed.add(use)
            log.error("%s; it is given back later (%s %s)", error, use.kind, use.which[:8])
            return "what was charged is given back as soon as the billing service answers"

    async def _give_back(self) -> None:
        """Gives back, again and again, what could not be given back before; until it is cancelled."""
        while True:
            try:
                for use in self.owed.all():
                    with suppress(NodeTrouble):  # one that can't be now holds up no other
                        await self.billing.undo(use)
                        self.owed.remove(use.id)
            except Exception as error:  # its file, a bug: the next round tries again
                log.error("giving back: %s", error)
            await asyncio.sleep(OWED_EVERY_S)

    async def _envelope(self, request: Request) -> bytes:
        """Returns a body that is looked into; BadParam for one that is larger than an envelope."""
        try:
            return await whole(request, omi.MOST_BYTES, self.config.timeout_s)
        except TooLarge:
            raise BadParam(f"envelope: may have {omi.MOST_BYTES:,} bytes", param="envelope") from None
