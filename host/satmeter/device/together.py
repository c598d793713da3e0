"""The calls of many outlets to one node, put together: readings of the same moment in one, and one long poll for all.

Each outlet calls as if it were alone. A thousand meters would else be a thousand long polls, and as many calls a second
as there are readings.
"""

import asyncio
import logging
from typing import Protocol

from pyln.client import RpcError

from ..core.errors import NodeTrouble, SatmeterError
from ..core.plain import JsonObject
from .tasks import within

log = logging.getLogger("satmeter.device")

GATHER_S = 0.02
"""How long a reading waits for others."""
MOST = 1_000
WAIT_S = 30
ANSWER_S = 10.0
RETRY_S = 1.0


class Calls(Protocol):
    """What calls methods of a node."""

    async def call(self, method: str, /, **params: object) -> JsonObject:
        """Calls a method; RpcError from the node, SatmeterError where it can't be reached."""


class Together:
    """Calls a node for many outlets; `run` has to run beside them."""

    def __init__(self, node: Calls):
        self._node = node
        self._readings: list[tuple[JsonObject, asyncio.Future[JsonObject]]] = []
        self._there = asyncio.Event()
        self._views: dict[str, int] = {}
        """Of which index the newest view of each meter is that was told."""
        self._index = 0
        self._waiting: dict[str, list[asyncio.Future[JsonObject]]] = {}

    async def call(self, method: str, /, **params: object) -> JsonObject:
        """Calls a method, as AsyncNode does; meter-report and meter-wait of all callers together."""
        if method == "meter-report":
            answer: asyncio.Future[JsonObject] = asyncio.get_running_loop().create_future()
            self._readings.append((params, answer))
            self._there.set()
            return await answer
        if method == "meter-wait":
            return await self._wait(str(params["name"]), int(str(params["lastindex"])), int(str(params["timeout"])))
        return await self._node.call(method, **params)

    async def run(self) -> None:
        """Runs until it is cancelled."""
        await asyncio.gather(self._report(), self._follow())

    # --- readings

    async def _report(self) -> None:
        while True:
            await self._there.wait()
            await asyncio.sleep(GATHER_S)
            taken, self._readings = self._readings[:MOST], self._readings[MOST:]
            if not self._readings:
                self._there.clear()
            taken = [each for each in taken if not each[1].done()]  # who asked has given up
            if not taken:
                continue
            try:
                asked = self._node.call("meter-reports", readings=[reading for reading, _ in taken])
                answers = (await within(asked, ANSWER_S))["answers"]
                for (reading, future), answer in zip(taken, answers, strict=True):
                    self._answer(reading, future, answer)
            except Exception as error:
                for _, future in taken:
                    if not future.done():
                        future.set_exception(_trouble(error))

    def _answer(self, reading: JsonObject, future: "asyncio.Future[JsonObject]", answer: JsonObject) -> None:
        if future.done():
            return
        if "error" in answer:
            future.set_exception(RpcError("meter-report", reading, answer["error"]))
        else:
            future.set_result(answer)

    # --- what the seller says

    async def _wait(self, name: str, lastindex: int, timeout_s: int) -> JsonObject:
        """As meter-wait: a meter's view once it has changed beyond `lastindex`, or as it stands after the timeout.

        What came before somebody waits for it is not told from memory: between the two the seller may have said
        something newer in answer to a reading."""
        known = self._views.get(name)
        if self._index and (known is None or known > lastindex):
            return await self._node.call("meter-wait", name=name, lastindex=lastindex, timeout=0)
        told: asyncio.Future[JsonObject] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, []).append(told)
        try:
            return await within(told, timeout_s)
        except TimeoutError:
            return await self._node.call("meter-wait", name=name, lastindex=lastindex, timeout=0)

    async def _follow(self) -> None:
        while True:
            try:
                asked = self._node.call("meter-changes", lastindex=self._index, timeout=WAIT_S)
                found = await within(asked, WAIT_S + ANSWER_S)
                self._take(int(found["index"]), dict(found["views"]), list(found["gone"]))
            except Exception as error:
                log.debug("meter-changes: %r", error)
                for name in list(self._waiting):
                    self._tell(name, _trouble(error))
                await asyncio.sleep(RETRY_S)

    def _take(self, index: int, views: dict[str, JsonObject], gone: list[str]) -> None:
        self._index = index
        for name, view in views.items():
            self._views[name] = int(view["index"])
            self._tell(name, {**view, "gone": False})
        for name in gone:
            self._views.pop(name, None)
            self._tell(name, {"index": 0, "gone": True})

    def _tell(self, name: str, what: JsonObject | Exception) -> None:
        for told in self._waiting.pop(name, ()):
            if told.done():
                continue
            if isinstance(what, Exception):
                told.set_exception(what)
            else:
                told.set_result(what)


def _trouble(error: Exception) -> Exception:
    """Returns the error as whoever called alone would have got it."""
    if isinstance(error, (RpcError, SatmeterError)):
        return error
    return NodeTrouble(f"the node does not answer: {error or type(error).__name__}")
