"""The settings of the HTTP servers (uvicorn), with a time limit for headers.

Headers of a reverse proxy are believed only where the config names that proxy."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv6Address, ip_address, ip_network
from types import FrameType
from typing import Any

import uvicorn
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from ..core.errors import BadParam
from ..core.plain import Fields

HEADERS_S = 20.0
KEPT_S = 20
"""A connection without a request is kept for so long: longer than clients keep theirs (5 s in many), so that none sends
a request just as it is closed."""
NOT_STARTED = 3
"""The exit code of a server that could not begin, as uvicorn has it."""
STREAM_S = 1.0
"""A body that HEAD leaves out is made for so long at most."""
GRACE_S = 30
"""What is under way when a server is told to end may come to its end for so long."""


def settings(host: str, port: int, proxies: tuple[str, ...]) -> Fields:
    """Return uvicorn's settings."""
    return {
        "host": host,
        "port": port,
        "http": Deadline,
        "log_level": "warning",
        "server_header": False,
        "timeout_keep_alive": KEPT_S,
        "timeout_graceful_shutdown": GRACE_S,
        "proxy_headers": bool(proxies),
        "forwarded_allow_ips": list(proxies),
    }


class _Announced(uvicorn.Server):
    """Says where it is once it listens there."""

    said = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts, or exits where the application can't begin or the port is taken."""
        await super().startup(sockets=sockets)
        if not self.should_exit:
            print(self.said, flush=True)


def run(app: ASGIApp, said: str, **given: Any) -> None:
    """Runs an application until SIGINT or SIGTERM; prints `said` once it listens. SystemExit where it can't.

    `given` are uvicorn's settings. Any: each has its own type."""
    running = _Announced(uvicorn.Config(app, **given))
    running.said = said
    with suppress(KeyboardInterrupt):
        running.run()
    if not running.started:
        sys.exit(NOT_STARTED)


def on_ending(call: Callable[[], None]) -> None:
    """Calls `call` on the running event loop when the process gets SIGTERM or SIGINT.

    The server waits for open requests at its end, so those that last for hours (event connections, long
    polls) must be ended here. The earlier signal handlers are called as well. Outside the main thread
    this function does nothing."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)

        def told(number: int, frame: FrameType | None, before: object = before) -> None:
            loop.call_soon_threadsafe(call)
            if callable(before):
                before(number, frame)

        with suppress(ValueError):  # a server on another thread than the main one hears no signals
            signal.signal(number, told)


def network_of(address: str) -> str:
    """Return what one payer has of addresses: of IPv6 a /64, of which anybody has 2^64."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(ip_network((found, 64), strict=False))
    return str(getattr(found, "ipv4_mapped", None) or found)


def asker(request: HTTPConnection) -> str:
    """Returns the network that a request comes from, "" where that is not known; see network_of()."""
    return network_of(request.client.host if request.client else "")


def checked_proxies(given: object) -> tuple[str, ...]:
    """Return the addresses (or networks) of reverse proxies that a config names. BadParam for what is none."""
    try:
        if not isinstance(given, list):
            raise ValueError("not a list")
        return tuple(str(ip_network(each) if "/" in str(each) else ip_address(each)) for each in given)
    except ValueError:
        why = f'proxies: must be a list of addresses such as "127.0.0.1", got {given!r}'
        raise BadParam(why, param="proxies") from None


class Heads:
    """ASGI middleware: HEAD is answered wherever GET is, without the body."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers HEAD as GET without the body; passes every other request on unchanged."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        begun, ended = asyncio.Event(), asyncio.Event()

        async def bare(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                begun.set()
            elif not message.get("more_body", False):
                ended.set()

        answering = asyncio.ensure_future(self._app({**scope, "method": "GET"}, receive, bare))
        waiting = asyncio.ensure_future(begun.wait())
        await asyncio.wait({answering, waiting}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({answering}, timeout=STREAM_S)
        waiting.cancel()
        if answering.done() or ended.is_set():  # what it does in the background goes on
            await answering
        else:  # a stream of events, which has no end
            answering.cancel()
            with suppress(asyncio.CancelledError):
                await answering


class Deadline(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's HTTP protocol with a time limit of HEADERS_S (20 s) for each request's headers.

    It holds for new connections and for kept ones. Without it a client could occupy all of a server's
    file descriptors with headers that never come."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the timer for the first request's headers."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Passes data on; stops the timer once headers are complete, and starts it for the next."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timer."""
        self._stop()
        super().connection_lost(exc)

    def _waits(self) -> bool:
        """Whether headers have to come: not where they are here, nor where the connection became a websocket."""
        mine = self.transport.get_protocol() is self
        return mine and (self.cycle is None or self.cycle.response_complete)

    def _watch(self) -> None:
        if not self._waits():
            self._stop()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(HEADERS_S, self._late)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self._waits():
            self.transport.close()
