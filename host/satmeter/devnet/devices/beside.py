"""Runs an asyncio act on a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine


class Beside:
    """Runs an act beside the caller, until it is over or stopped."""

    def __init__(self, act: Callable[[], Coroutine[object, object, None]]) -> None:
        self.loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, args=(act,), daemon=True)
        self._thread.start()

    def _run(self, act: Callable[[], Coroutine[object, object, None]]) -> None:
        asyncio.set_event_loop(self.loop)
        self._task = self.loop.create_task(act())
        with contextlib.suppress(asyncio.CancelledError):
            self.loop.run_until_complete(self._task)
        self.loop.close()

    def stop(self) -> None:
        """Ends it."""
        if self._thread.is_alive() and self._task is not None:
            self.loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)
