"""Waiting and ending, so that nothing goes on that was told to end.

asyncio.wait_for of Python 3.11 forgets that it was cancelled where what it waits for is done at the same moment: what
went on then could not be stopped any more, and a bridge stayed, its valves open.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

AGAIN_S = 1.0
Answer = TypeVar("Answer")


async def within(what: Awaitable[Answer], seconds: float | None) -> Answer:
    """Returns what is awaited; TimeoutError where it takes longer. A cancellation ends it at once, always."""
    async with asyncio.timeout(seconds):
        return await what


async def ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancels tasks, again and again, since what they call may forget that too; returns when all are done."""
    left = [task for task in tasks if not task.done()]
    while left:
        for task in left:
            task.cancel()
        _, pending = await asyncio.wait(left, timeout=AGAIN_S)
        left = list(pending)
