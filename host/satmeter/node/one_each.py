"""Lets one thread at a time act for a key, such as a payment hash; threads for other keys are not held up."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class OneEach:
    """Any thread may call."""

    def __init__(self) -> None:
        self._busy: set[str] = set()
        self._one_ended = threading.Condition()

    @contextmanager
    def of(self, key: str) -> Iterator[None]:
        """Waits until no other thread acts for this key, and keeps others from it until the end of the block."""
        with self._one_ended:
            self._one_ended.wait_for(lambda: key not in self._busy)
            self._busy.add(key)
        try:
            yield
        finally:
            with self._one_ended:
                self._busy.discard(key)
                self._one_ended.notify_all()
