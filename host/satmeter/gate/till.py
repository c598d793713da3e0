"""Where the gate asks about money: the billing service, over HTTP, on this host or another."""

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Any

import httpx

from ..core.errors import NodeTrouble
from .prices import Price

TIMEOUT_S = 10
SPENT_MOST, SPENT_S = 10_000, 5
RENEWAL = "renewal"
TOGETHER = 100


def _short(services: str) -> str:
    return services if len(services) <= 200 else f"{services[:180]}... and more"


@dataclass(frozen=True, slots=True)
class Asked:
    """An invoice that the payer is shown."""

    payreq: str
    payment_hash: str


@dataclass(frozen=True, slots=True)
class Pledge:
    """A buyer's word that a metered session's credit may be spent: its node's signature of
    `satmeter-gate SESSION SIGNED_AT` (signed_at in seconds)."""

    session: str
    signed_at: int
    signature: str

    @classmethod
    def parse(cls, text: str) -> "Pledge | None":
        """Read SESSION:SIGNED_AT:SIGNATURE, None for anything else."""
        found = re.fullmatch(r"([0-9a-f]{32}):([0-9]{1,12}):([a-z0-9]{50,200})", text.strip())
        return cls(found[1], int(found[2]), found[3]) if found else None


class Till:
    """Speaks with the billing service under an api-token with the scopes invoice and verify. What it said is used up is
    not asked again for a few seconds; that something is good is never remembered."""

    def __init__(self, url: str, secret: str):
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=100)
        auth = ("api-token", secret)
        self._http = httpx.AsyncClient(base_url=url, auth=auth, timeout=TIMEOUT_S, limits=limits, trust_env=False)
        self._spent: dict[tuple[str, str, str], float] = {}
        self._waiting: list[tuple[dict[str, str], asyncio.Future[bool]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, price: Price) -> Asked:
        """Make an invoice for a price. NodeTrouble where the service does not."""
        described = _short(price.service)
        fields = {
            "msatoshi": price.msatoshi,
            "description": described,
            "service": price.service,
            "uses": price.uses,
        }
        answer = await self._post("/invoice", json=fields)
        if answer.status_code != 201:
            raise NodeTrouble(f"no invoice: the billing service answered {answer.status_code}")
        made = answer.json()
        return Asked(str(made["payreq"]), str(made["rhash"]))

    async def spend_token(self, token: str, service: str) -> bool:
        return await self._spend("hash", token, service)

    async def renew_token(self, token: str, service: str) -> str:
        """Return the token that follows a used-up one and is paid from its holder's account, with one of its uses
        spent; "" where the holder did not ask for that, or the account does not suffice."""
        if self._spent.get((RENEWAL, token, service), 0.0) > time.monotonic():
            return ""
        answer = await self._post("/refresh", params={"hash": token, "ask": "false"})
        fresh = str(answer.json()["hash"]) if answer.status_code == 200 else ""
        if fresh and await self.spend_token(fresh, service):
            return fresh
        self._remember((RENEWAL, token, service))
        return ""

    async def hold_credit(self, pledge: Pledge, id: str, msatoshi: int) -> bool:
        """Hold credit of a metered session under an id of ours; whether it may be delivered."""
        params: dict[str, Any] = {"session": pledge.session, "signed_at": pledge.signed_at}
        params |= {"signature": pledge.signature, "id": id, "msatoshi": msatoshi}
        answer = await self._post("/payment/credit", params=params)
        if answer.status_code in (400, 403, 404):
            return False
        if answer.status_code != 200:
            raise NodeTrouble(f"the billing service answered {answer.status_code}")
        return True

    async def end_credit(self, session: str, id: str, step: str) -> None:
        """settle or release what is held."""
        answer = await self._post(f"/payment/credit/{step}", params={"session": session, "id": id})
        if answer.status_code != 200:
            raise NodeTrouble(f"credit under {id} was not {step}d: the billing service answered {answer.status_code}")

    async def spend_payment(self, payment_hash: str, service: str) -> bool:
        return await self._spend("rhash", payment_hash, service)

    async def give_back(self, kind: str, which: str) -> None:
        """Return a use; kind: hash or rhash. What can't be returned now is said to whoever runs the gate."""
        answer = await self._post("/payment/return", params={kind: which})
        if answer.status_code != 200:
            raise NodeTrouble(f"a use was not given back: the billing service answered {answer.status_code}")
        self._spent = {key: until for key, until in self._spent.items() if key[1] != which}

    async def _spend(self, kind: str, which: str, service: str) -> bool:
        """Ask for a use. While an answer is under way, others wait for the next request, and go in it together: what a
        request costs is shared by all that come in its time."""
        key = (kind, which, service)
        if self._spent.get(key, 0.0) > time.monotonic():
            return False
        passed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(({kind: which, "service": service}, passed))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all())
        good = await passed
        if not good and kind == "hash":  # a payment that is not settled yet may be in a moment
            self._remember(key)
        return good

    async def _ask_all(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            try:
                answer = await self._post("/payment/uses", json={"uses": [use for use, _ in some]})
                if answer.status_code != 200:
                    raise NodeTrouble(f"the billing service answered {answer.status_code}")
                for (_, passed), good in zip(some, answer.json()["passed"], strict=True):
                    if not passed.done():
                        passed.set_result(bool(good))
            except Exception as e:
                trouble = (
                    e if isinstance(e, NodeTrouble) else NodeTrouble(f"the billing service answered nonsense: {e}")
                )
                for _, passed in some:
                    if not passed.done():
                        passed.set_exception(trouble)

    def _remember(self, key: tuple[str, str, str]) -> None:
        self._spent.pop(key, None)
        self._spent[key] = time.monotonic() + SPENT_S
        while len(self._spent) > SPENT_MOST:
            del self._spent[next(iter(self._spent))]

    async def _post(self, path: str, **what: object) -> httpx.Response:
        try:
            return await self._http.post(path, **what)  # type: ignore[arg-type]
        except httpx.HTTPError as e:
            raise NodeTrouble(f"the billing service does not answer: {e or type(e).__name__}") from None
