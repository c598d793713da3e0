"""Threads that act for a core: some that send messages in their order, small pools, and a thread for each payment."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from pyln.client import RpcError

from ..core.errors import NodeTrouble
from ..core.messages import Message
from ..node.rpc import Node, words_of
from ..wire import peer

log = logging.getLogger("satmeter")

PAYMENTS_AT_ONCE = 300
"""Threads, not HTLCs: where a channel is full a payment waits its turn (node/payment_queue.py)."""
REFUND_THREADS = 30
"""Threads for refunds, which their payees may hold: apart from payments, so that none of these has to wait for one."""
TRIES = 5


RETRY_S = 1.0
SENDERS = 6
"""Threads that send messages: a busy node takes tens of milliseconds for each."""
LATER_S = 0.04
"""About the time in which a payment gets its way through the node's channel."""


class Executor:
    """Runs jobs on other threads than the core's, each payment and refund on its own.

    A held HTLC blocks the thread of its payment for as long as it is held, and no other. The cores
    bound how many of one peer are under way."""

    def __init__(self, node: Node, pool: int = 8):
        self._node = node
        self._outboxes: list[queue.SimpleQueue[tuple[str, Message]]] = [queue.SimpleQueue() for _ in range(SENDERS)]
        self._pool = ThreadPoolExecutor(pool, thread_name_prefix="satmeter-rpc")
        self._slow = ThreadPoolExecutor(pool, thread_name_prefix="satmeter-slow")
        self._payments = ThreadPoolExecutor(PAYMENTS_AT_ONCE, thread_name_prefix="satmeter-pay")
        self._refunds = ThreadPoolExecutor(REFUND_THREADS, thread_name_prefix="satmeter-refund")
        self._calm = ThreadPoolExecutor(pool, thread_name_prefix="satmeter-later")
        for outbox in self._outboxes:
            threading.Thread(target=self._post, args=(outbox,), name="satmeter-outbox", daemon=True).start()

    def send(self, to: str, message: Message) -> None:
        """Send a message, after those that were sent before in its session."""
        self._outboxes[hash(message.session) % SENDERS].put((to, message))

    def quick(self, job: Callable[..., object], *args: object) -> None:
        """Runs a short job, such as one RPC call, on a pool; its failure is only logged."""
        self._pool.submit(_guarded, job, *args)

    def later(self, job: Callable[..., object], *args: object) -> None:
        """Run what nobody waits for when the node has done what somebody does wait for."""
        self._calm.submit(_guarded, _later, job, *args)

    def slow(self, job: Callable[..., object], *args: object) -> None:
        """Run what may wait for the network, such as a connect to an address where nobody answers."""
        self._slow.submit(_guarded, job, *args)

    def payment(self, job: Callable[..., object], *args: object) -> None:
        """Run a job that must come to its end: where the node is away, it is begun again until it is back."""
        self._payments.submit(_insistently, job, *args)

    def refund(self, job: Callable[..., object], *args: object) -> None:
        """As payment(), for what a seller gives back."""
        self._refunds.submit(_insistently, job, *args)

    def _post(self, outbox: "queue.SimpleQueue[tuple[str, Message]]") -> None:
        while True:
            to, message = outbox.get()
            try:
                self._node.send(to, peer.encode(message))
            except RpcError as error:
                # Not connected: the core says it again, and reconnects.
                log.debug("message %s to %s not sent: %s", type(message).__name__, to, words_of(error))
            except Exception as error:
                log.warning("message %s to %s not sent: %s", type(message).__name__, to, error)


def _later(job: Callable[..., object], *args: object) -> None:
    time.sleep(LATER_S)
    job(*args)


def _guarded(job: Callable[..., object], *args: object) -> None:
    try:
        job(*args)
    except Exception as error:
        log.warning("%s%r failed: %r; it will be tried again", getattr(job, "__name__", job), args[:1], error)


def _insistently(job: Callable[..., object], *args: object) -> None:
    tries = TRIES
    while tries:
        try:
            job(*args)
            return
        except NodeTrouble as error:
            log.warning("%s; the call is repeated until the node answers", error)
        except Exception:
            tries -= 1
            log.exception("%s failed", getattr(job, "__name__", job))
        time.sleep(RETRY_S)
