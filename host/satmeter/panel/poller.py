"""Polls what the node's plugins say while a page is open, and tells the pages of every change.

One feed serves all browsers. It asks at most every EVERY_S, and never takes more than a fifth of the node's time.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pyln.client import RpcError

from ..core.errors import NodeTrouble, SatmeterError, UnreadableAnswer
from ..core.states import StreamState
from ..core.status import (
    BuyerStatus,
    MeterStatus,
    SellerStatus,
    SessionStatus,
    StreamStatus,
    UnownedPayment,
    read_as,
)
from ..node.any_node import AnyNode
from ..node.rpc import PLUGIN_GONE, UNKNOWN_COMMAND, code_of, words_of

log = logging.getLogger("satmeter.panel")

EVERY_S = 0.1
SHARE = 5
RETRY_S = 1.0
SLOW_S = 10.0
CHART_S = 180

View = TypeVar("View")


@dataclass(frozen=True)
class SellerView:
    """Meters by name, live sessions by id, and payments that nobody knows the session of."""

    meters: Mapping[str, MeterStatus] = field(default_factory=dict)
    sessions: Mapping[str, SessionStatus] = field(default_factory=dict)
    unowned: Sequence[UnownedPayment] = ()


@dataclass(frozen=True)
class BuyerView:
    """Live streams by their session, and those that ended a moment ago."""

    streams: Mapping[str, StreamStatus] = field(default_factory=dict)
    ended: Mapping[str, StreamStatus] = field(default_factory=dict)


class Feed(Generic[View]):
    """`look` asks the node and returns a view; `view` is its last answer, `trouble` why there is none now."""

    def __init__(
        self, node: AnyNode, look: Callable[[AnyNode], View], empty: View, pool: ThreadPoolExecutor | None = None
    ):
        """empty: the view before the node has answered. pool: whose threads ask the node."""
        self.node, self._look, self._pool = node, look, pool
        self.view = empty
        self.trouble = "not asked yet"
        self.missing = False
        """Whether the node has no such plugin."""
        self.heard_at = 0.0
        """When `view` was told, in seconds since 1970; 0 for never."""
        self._listeners: list[Callable[[], None]] = []
        self._wanted = asyncio.Event()
        self._asking: asyncio.Future[View] | None = None

    def join(self, listener: Callable[[], None]) -> None:
        """Adds a function that is called at each change.

        The node is asked only while there is such a function."""
        if listener not in self._listeners:
            self._listeners.append(listener)
        self._wanted.set()

    def leave(self, listener: Callable[[], None]) -> None:
        """Removes a function that join() added; without any, the node is not asked."""
        if listener in self._listeners:
            self._listeners.remove(listener)
        if not self._listeners:
            self._wanted.clear()

    @property
    def pages(self) -> int:
        """How many pages listen now."""
        return len(self._listeners)

    async def run(self) -> None:
        """Asks the node again and again, until it is cancelled."""
        while True:
            await self._wanted.wait()
            began = time.monotonic()
            await self.refresh()
            took = time.monotonic() - began
            await asyncio.sleep(RETRY_S if self.trouble else max(EVERY_S, took * (SHARE - 1)))

    async def refresh(self) -> None:
        """Ask now, and tell the pages what is new."""
        before = (self.view, self.trouble)
        if self._asking is not None:  # its answer may be from before the change
            await self._answer(self._asking)
        if self._asking is None:
            self._asking = asyncio.get_running_loop().run_in_executor(self._pool, self._look, self.node)
            await self._answer(self._asking)
        if (self.view, self.trouble) != before:
            self._tell()

    async def _answer(self, asking: "asyncio.Future[View]") -> None:
        """Wait for an answer, but not for ever: a node that hangs has no news."""
        done, _ = await asyncio.wait({asking}, timeout=SLOW_S)
        if not done:
            self.trouble = f"the node has not answered for {SLOW_S:.0f} s"
            return
        if self._asking is asking:
            self._asking = None
        try:
            self.view = asking.result()
            self.trouble, self.missing, self.heard_at = "", False, time.time()
        except RpcError as error:
            self.missing = code_of(error) == UNKNOWN_COMMAND
            gone = self.missing or code_of(error) == PLUGIN_GONE
            self.trouble = f"the plugin does not run: start it ({words_of(error)})" if gone else words_of(error)
        except UnreadableAnswer as error:
            self.trouble = str(error)
        except NodeTrouble as error:
            self.trouble = f"{error}; is lightningd running, and is that its socket?"
        except SatmeterError as error:
            self.trouble = str(error)
        except Exception as error:
            log.warning("the node's answer can't be read: %r", error)
            self.trouble = "the plugin's answer does not fit this version of the panel: upgrade the older one"

    def _tell(self) -> None:
        for listener in list(self._listeners):
            try:
                listener()
            except Exception:
                log.exception("a page can't show what there is")


class Flows:
    """The flow of each meter over the last CHART_S, for its chart."""

    def __init__(self) -> None:
        self._points: dict[str, deque[tuple[int, int]]] = {}

    def add(self, meters: Iterable[MeterStatus]) -> None:
        """Adds the present flow (ticks an hour) of each meter, and drops points older than 180 s.

        A flow that has not changed is added once a second at most."""
        now = time.time_ns() // 1_000_000
        for meter in meters:
            points = self._points.setdefault(meter.name, deque())
            if not points or points[-1][1] != meter.flow or now - points[-1][0] >= 1000:
                points.append((now, meter.flow))
            while points[0][0] < now - CHART_S * 1000:
                points.popleft()

    def of(self, meter: str) -> list[tuple[int, int]]:
        """Return (ms since 1970, ticks an hour), oldest first."""
        return list(self._points.get(meter, ()))


def seller(flows: Flows) -> Callable[[AnyNode], SellerView]:
    """Return what looks at a seller's plugin."""

    def look(node: AnyNode) -> SellerView:
        found = read_as(SellerStatus, node.call("meter-status"))
        flows.add(found.meters)
        return SellerView(
            {meter.name: meter for meter in found.meters},
            {session.session: session for session in found.sessions},
            found.unowned,
        )

    return look


def buyer(node: AnyNode) -> BuyerView:
    """Look at a buyer's plugin."""
    found = read_as(BuyerStatus, node.call("stream-list")).streams
    return BuyerView(
        {each.session: each for each in found if each.state != StreamState.CLOSED},
        {each.session: each for each in found if each.state == StreamState.CLOSED},
    )
