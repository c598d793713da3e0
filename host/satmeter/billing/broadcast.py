"""Who in this process waits for payments: long polls, event streams and websockets are told from here."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from .rows import EventRow, InvoiceRow

Told = TypeVar("Told", InvoiceRow, EventRow)

REMEMBERED = 10_000
BEHIND = 1000
"""A reader who is so many payments behind is dropped: what waits for it would fill the memory."""


class Broadcast(Generic[Told]):
    """Lives on one event loop; say() may be called from any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queues: set[asyncio.Queue[Told | None]] = set()
        self._said: dict[object, None] = {}
        self._stopped = False

    def start(self) -> None:
        """Binds the hub to the running event loop. What say() gets before this call is dropped."""
        self._loop = asyncio.get_running_loop()

    def say(self, paid: Told) -> None:
        """Send a payment (or an event) to every reader, once for each id: it may be reported in two ways."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._put, paid)

    def stop(self) -> None:
        """End every stream, and those that come."""
        self._stopped = True
        for queue in self._queues:
            queue.put_nowait(None)

    def _put(self, paid: Told) -> None:
        if paid["id"] in self._said:
            return
        self._said[paid["id"]] = None
        if len(self._said) > REMEMBERED:
            del self._said[next(iter(self._said))]
        for queue in list(self._queues):
            if queue.qsize() >= BEHIND:
                queue.put_nowait(None)
                self._queues.discard(queue)
            else:
                queue.put_nowait(paid)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["asyncio.Queue[Told | None]"]:
        """A queue of payments from now on; None in it ends the stream."""
        queue: asyncio.Queue[Told | None] = asyncio.Queue()
        self._queues.add(queue)
        if self._stopped:
            queue.put_nowait(None)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    @staticmethod
    async def first_of(
        queue: "asyncio.Queue[Told | None]", good: Callable[[Told], bool], timeout_s: float
    ) -> Told | None:
        """Return the first payment of a queue for which it holds, None if none comes in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while (paid := await queue.get()) is not None:
                    if good(paid):
                        return paid
        except TimeoutError:
            pass
        return None
