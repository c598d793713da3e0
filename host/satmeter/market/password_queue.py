"""Passwords are looked at one at a time: argon2 takes a moment of a processor for each."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from fastapi.concurrency import run_in_threadpool

from ..core.errors import TooMany

MOST = 16
"""Passwords that wait to be looked at."""
Found = TypeVar("Found")


class PasswordQueue:
    """The queue of one worker."""

    def __init__(self) -> None:
        self._turn, self._waiting = asyncio.Lock(), 0

    async def run(self, look: Callable[..., Found], *what: object) -> Found:
        """Runs `look(*what)` in its turn, off the threads that everything else needs; TooMany where MOST wait."""
        if self._waiting >= MOST:
            raise TooMany("very many are logging in; try again in a moment")
        self._waiting += 1
        try:
            async with self._turn:
                return await run_in_threadpool(look, *what)
        finally:
            self._waiting -= 1
