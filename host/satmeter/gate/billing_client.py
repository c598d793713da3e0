"""Where the gate asks about money: the billing service, over HTTP, on this host or another."""

import asyncio
import json
import logging
import secrets
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from ..core.errors import NodeTrouble, NotAsked, TooMany
from ..core.plain import JsonObject, Plain, keep_newest
from ..wire.pledge import Pledge
from .owed import STEPS, USES, OwedUse, OwedUses
from .prices import Price

log = logging.getLogger("satmeter.gate")

TIMEOUT_S = 10
KEPT_S = 4
"""Less than the five seconds after which the service closes a quiet connection."""
SPENT_MOST, SPENT_S = 10_000, 5
RENEWAL = "renewal"
TOGETHER, AT_ONCE = 100, 3
FINAL = (400, 404, 409)
"""Answers that another try would not change: what is asked for is wrong, not known, or not held any more."""
AGAIN_AFTER_S = (0.2, 1.0)
"""When a question is asked again whose answer was lost."""


def _spent(use: dict[str, str]) -> OwedUse:
    """Returns a use that passed, under a new id."""
    kind = "hash" if "hash" in use else "rhash"
    return OwedUse(secrets.token_hex(16), kind, use[kind])


def _short(services: str) -> str:
    return services if len(services) <= 200 else f"{services[:180]}... and more"


@dataclass(frozen=True, slots=True)
class Asked:
    """An invoice that the payer is shown."""

    payreq: str
    payment_hash: str


@dataclass(frozen=True, slots=True)
class Said:
    """What the billing service answered: an HTTP status, and JSON."""

    status: int
    data: JsonObject


class BillingClient:
    """A client of the billing service, for a gate. It needs an api-token with the right scopes.

    The scopes are invoice, verify (or verify-own), and meter to spend credit of sessions. That a token is
    used up is remembered for SPENT_S (5 s). That a token is good is never remembered."""

    def __init__(self, url: str, secret: str, owed: OwedUses):
        """owed: keeps what is under way, and what is to be given back once the service answers again."""
        self._owed = owed
        self._url, self._auth = url.rstrip("/"), f"Basic {b64encode(f'api-token:{secret}'.encode()).decode()}"
        self._http: aiohttp.ClientSession | None = None
        self._spent: dict[tuple[str, str, str], float] = {}
        self._waiting: list[tuple[dict[str, str], asyncio.Future[str]]] = []
        self._asking: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "BillingClient":
        connector = aiohttp.TCPConnector(limit=200, keepalive_timeout=KEPT_S)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._http = aiohttp.ClientSession(connector=connector, timeout=timeout, headers={"authorization": self._auth})
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def try_token(self) -> None:
        """Logs an error at the start if the service does not accept the gate's token, before a visitor comes."""
        try:
            answer = await self._post("/payment/uses", body={"uses": [{"hash": "none", "service": "none"}]})
        except NodeTrouble as error:
            log.warning("%s; the gate sells nothing until it answers", error)
            return
        if answer.status in (401, 403):
            log.error(
                "api_token: the billing service answers %d: does it know this api-token, with the scope verify?",
                answer.status,
            )

    async def ask(self, price: Price) -> Asked:
        """Make an invoice for a price. NodeTrouble where the service does not."""
        described = _short(price.service)
        fields = {
            "msatoshi": price.msatoshi,
            "description": described,
            "service": price.service,
            "uses": price.uses,
        }
        answer = await self._post("/invoice", body=fields)
        if answer.status == 429:
            raise TooMany("the gate may make no more invoices just now")
        if answer.status != 201:
            raise NodeTrouble(f"no invoice: the billing service answered {answer.status}")
        made = answer.data
        return Asked(str(made["payreq"]), str(made["rhash"]))

    async def spend_token(self, token: str, service: str) -> str:
        """Spends one use of a hash token; returns the use's id, "" where it is refused. Keeps a refusal for 5 s."""
        return await self._spend("hash", token, service)

    async def renew_token(self, token: str, service: str) -> tuple[str, str]:
        """Renews a used-up token, spends one use of the new token, and returns that token and the use's id.

        Returns "" for both where the holder did not allow renewal from the account, or the account does not suffice.
        That answer is remembered for SPENT_S (5 s)."""
        if self._spent.get((RENEWAL, token, service), 0.0) > time.monotonic():
            return "", ""
        answer = await self._post("/refresh", params={"hash": token, "ask": "false"})
        fresh = str(answer.data["hash"]) if answer.status == 200 else ""
        if fresh and (id := await self.spend_token(fresh, service)):
            return fresh, id
        self._remember((RENEWAL, token, service))
        return "", ""

    async def hold_credit(self, pledge: Pledge, signature: str, id: str, msatoshi: int) -> bool:
        """Hold credit of a metered session under an id of ours; whether it may be delivered."""
        params: dict[str, str | int] = {"pledge": pledge.line, "signature": signature, "id": id, "msatoshi": msatoshi}
        answer = await self._post("/payment/credit", params=params)
        if answer.status in (400, 403, 404):
            return False
        if answer.status != 200:
            raise NodeTrouble(f"the billing service answered {answer.status}")
        return True

    async def settle(self, session: str, id: str) -> bool:
        """Settles a reservation; False where it is refused. NodeTrouble where it is not known to be done."""
        answer = await self._post("/payment/credit/settle", params={"session": session, "id": id})
        if answer.status != 200 and answer.status not in FINAL:
            raise NodeTrouble(f"credit under {id} was not settled: the billing service answered {answer.status}")
        return answer.status == 200

    async def spend_payment(self, payment_hash: str, service: str) -> str:
        """Spends one use of a paid invoice by its payment hash; returns the use's id, "" where it is refused."""
        return await self._spend("rhash", payment_hash, service)

    async def undo(self, use: OwedUse) -> None:
        """Gives a spent use back, or releases reserved credit. Repeated calls give it back only once.

        Where the service knows no such use, or holds none, that is logged as an error and not tried again. Raises
        NodeTrouble where the service can't do it now, or does not let us."""
        if use.kind == USES:
            given = {"uses": json.loads(use.which), "id": use.id, "undo": True}
            answer = await self._post("/payment/uses", body=given)
        elif use.kind in STEPS:
            params = {"session": use.which, "id": use.id}
            answer = await self._post(f"/payment/credit/{STEPS[use.kind]}", params=params)
        else:
            answer = await self._post("/payment/return", params={use.kind: use.which, "id": use.id})
        if answer.status in FINAL:
            log.error("a use can't be given back: the service answered %d (%s %s)", answer.status, use.kind, use.id)
        elif answer.status != 200:
            raise NodeTrouble(f"a use was not given back: the billing service answered {answer.status}")
        which = use.which
        self._spent = {key: until for key, until in self._spent.items() if key[1] != which}

    async def _spend(self, kind: str, which: str, service: str) -> str:
        """Asks the billing service to spend one use, and returns its id; "" where the use is refused.

        A use that passed is under way in what is owed, until its request is answered or it is given back. At most
        AT_ONCE (3) requests are open. Further uses wait and share the next request, up to TOGETHER (100) in each, so
        that the cost of a request is shared. Raises NodeTrouble where the service fails."""
        key = (kind, which, service)
        if self._spent.get(key, 0.0) > time.monotonic():
            return ""
        passed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append(({kind: which, "service": service}, passed))
        if len(self._asking) < AT_ONCE:
            task = asyncio.create_task(self._ask_all())
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        try:
            id = await passed
        except asyncio.CancelledError:
            if passed.done() and not passed.cancelled() and passed.exception() is None and passed.result():
                self._owed.add(OwedUse(passed.result(), kind, which))
            raise
        if not id and kind == "hash":  # a payment that is not settled yet may be in a moment
            self._remember(key)
        return id

    async def _ask_all(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            uses, id = [use for use, _ in some], secrets.token_hex(16)
            asked = OwedUse(id, USES, json.dumps(uses))
            self._owed.begin([asked])
            try:
                goods = await self._spend_once(uses, id)
                spent = [_spent(use) if good else None for use, good in zip(uses, goods, strict=True)]
                self._owed.begin([use for use in spent if use is not None], instead_of=id)
                for use, (_, passed) in zip(spent, some, strict=True):
                    if not passed.done():
                        passed.set_result(use.id if use is not None else "")
                    elif use is not None:  # its request was cancelled meanwhile
                        self._owed.add(use)
            except BaseException as error:
                if isinstance(error, NotAsked):
                    self._owed.remove(id)
                else:
                    self._owed.add(asked)
                if not isinstance(error, Exception):
                    raise
                trouble = (
                    error
                    if isinstance(error, NodeTrouble)
                    else NodeTrouble(f"the billing service answered nonsense: {error}")
                )
                for _, passed in some:
                    if not passed.done():
                        passed.set_exception(trouble)

    async def _spend_once(self, uses: list[dict[str, str]], id: str) -> list[bool]:
        """Returns whether each of the uses passed. An answer that was lost is asked for again, under the same id."""
        began, may_be_spent = time.monotonic(), False
        for wait_s in (*AGAIN_AFTER_S, None):
            wait_s = wait_s if time.monotonic() < began + TIMEOUT_S / 2 else None  # one that hangs is not asked thrice
            try:
                answer = await self._post("/payment/uses", body={"uses": uses, "id": id})
                if answer.status < 500 or wait_s is None:
                    break
                may_be_spent = True
            except NodeTrouble as error:
                may_be_spent = may_be_spent or not isinstance(error, NotAsked)
                if wait_s is None:
                    raise NodeTrouble(error.message) if may_be_spent else error  # noqa: B904  # of the last try
            await asyncio.sleep(wait_s)
        if answer.status != 200:
            raise NodeTrouble(f"the billing service answered {answer.status}")
        return [bool(good) for good in answer.data["passed"]]

    def _remember(self, key: tuple[str, str, str]) -> None:
        self._spent.pop(key, None)
        self._spent[key] = time.monotonic() + SPENT_S
        keep_newest(self._spent, SPENT_MOST)

    async def _post(self, path: str, params: Mapping[str, str | int] | None = None, body: Plain | None = None) -> Said:
        assert self._http is not None, "a BillingClient is used within `async with`"
        try:
            async with self._http.post(self._url + path, params=params, json=body) as answer:
                is_json = answer.content_type.endswith("json")
                return Said(answer.status, await answer.json(content_type=None) if is_json else {})
        except aiohttp.ClientConnectorError as error:
            raise NotAsked(f"the billing service does not answer: {error}") from None
        except (
            aiohttp.ClientError,
            TimeoutError,
            ValueError,
            RuntimeError,
        ) as error:  # RuntimeError: it is being closed
            raise NodeTrouble(f"the billing service does not answer: {error or type(error).__name__}") from None
