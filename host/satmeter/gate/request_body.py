"""The body of a payer's request, piece by piece: bounded in size, and in the time that it may stand still."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request


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
