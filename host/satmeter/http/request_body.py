"""The body of a request, bounded in size and in time."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request

SLOW_S = 20


class TooSlow(Exception):
    """A body that stopped coming."""


class TooLarge(Exception):
    """A body that went on beyond what it may have."""


async def pieces(request: Request, most_bytes: int, timeout_s: float) -> AsyncIterator[bytes]:
    """Yields a body as it comes.

    Raises TooLarge beyond `most_bytes`, and TooSlow where nothing comes for `timeout_s`."""
    stream, seen = request.stream(), 0
    while True:
        try:
            async with asyncio.timeout(timeout_s):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise TooSlow from None
        seen += len(piece)
        if seen > most_bytes:
            raise TooLarge
        yield piece


async def whole(request: Request, most_bytes: int, timeout_s: float = 0) -> bytes:
    """Returns a body. Raises TooLarge beyond `most_bytes`, and TooSlow where not all of it came within `timeout_s`.

    0: within SLOW_S (20 s)."""
    timeout_s = timeout_s or SLOW_S
    try:
        async with asyncio.timeout(timeout_s):
            return b"".join([piece async for piece in pieces(request, most_bytes, timeout_s)])
    except TimeoutError:
        raise TooSlow from None
