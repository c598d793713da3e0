"""What stands behind the gate: it is asked in a payer's place, and its answer goes back as it comes.

It gets nothing that paid for a request, and no headers in which the payer describes itself. A request that can't be
sent, and an answer that breaks off before it begins, raise an error here: the proxy then gives the use back.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Scope
from yarl import URL

from ..http.request_body import pieces
from .billing_client import KEPT_S
from .config import Config
from .l402 import carries
from .page import without_ours

HOP = frozenset(
    "connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade".split()
) | {"expect", "host"}
"""Headers that end at a proxy (RFC 9110, 7.6.1), the host, which is the upstream's own, and Expect: who expects a 100
gets it from here, and an upstream that knows of none would hold a body up for ever."""


CLAIMS = re.compile(
    r"(x-)?forwarded(-.*)?|x-real-ip|x-client-ip|true-client-ip|x-original-(url|uri|host)|x-rewrite-url|"
    r"x-(http-)?method(-override)?"
)
"""What a stranger may claim of itself, or ask another path or method by than is paid for. The upstream hears of who it
is from the gate. An underscore is a dash to many a server behind."""
PLACES = (b"location", b"content-location")
CONNECTIONS = 500
SLACK_S, BEGINS_S = 1.0, 1.0
"""What our own time limit leaves to that of aiohttp, which is to end first; and how long headers wait for a body."""


class Upstream:
    """A client of the upstream; it asks from `opened` on, until that ends."""

    def __init__(self, config: Config):
        self.config = config
        self._client: aiohttp.ClientSession | None = None
        self._base = config.upstream.rstrip("/")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Holds the connections to the upstream: CONNECTIONS (500) at most."""
        limits = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEPT_S)
        timeout = aiohttp.ClientTimeout(total=None, connect=self.config.timeout_s, sock_read=self.config.timeout_s)
        async with aiohttp.ClientSession(
            connector=limits, timeout=timeout, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        ) as self._client:
            yield

    async def answer(self, request: Request, body: bytes | None) -> aiohttp.ClientResponse:
        """Asks the upstream, and returns its answer as soon as its headers are there.

        `body` is what was read of the request already; None where it is sent on as it comes."""
        assert self._client is not None
        headers = self._headers(request)
        length = request.headers.get("content-length")
        has_body = length is not None or "transfer-encoding" in request.headers
        moved = Moved()
        content = body if body is not None else self._body(request, moved) if has_body else None
        if length is not None:
            headers["content-length"] = length
        asked = self._client.request(
            request.method,
            self._target(request.scope),
            headers=headers,
            data=content,
            allow_redirects=False,
            skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
        )
        return await self._in_time(asyncio.ensure_future(asked), moved)

    async def _in_time(
        self, asking: "asyncio.Future[aiohttp.ClientResponse]", moved: "Moved"
    ) -> aiohttp.ClientResponse:
        """Awaits an upstream's answer; TimeoutError where it takes nothing of a body that it is sent for timeout_s.

        aiohttp's own limits hold before a body is sent and after it; meanwhile an upstream may stop reading."""
        try:
            while not asking.done():
                since = time.monotonic() if moved.at is None else moved.at
                left_s = since + self.config.timeout_s + SLACK_S - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError
                await asyncio.wait({asking}, timeout=left_s)
            return asking.result()
        finally:
            asking.cancel()

    async def beginning(self, method: str, answer: aiohttp.ClientResponse) -> bytes:
        """Returns the first piece of an answer's body, b"" where it has none or where none comes in a while.

        Raises aiohttp.ClientError or TimeoutError where the body breaks before. An upstream that dies after its
        headers has delivered nothing; what breaks later the payer may have caused. A body without a length may be a
        stream: its headers wait BEGINS_S (1 s) at most, and those of a stream of events not at all."""
        streams = answer.content_length is None
        if method == "HEAD" or answer.status in (204, 304) or answer.content_length == 0:
            return b""
        if streams and answer.content_type == "text/event-stream":
            return b""
        try:
            async with asyncio.timeout(BEGINS_S if streams else self.config.timeout_s):
                return await answer.content.readany()
        except TimeoutError:
            connection = answer.connection
            broken = connection is None or connection.transport is None or connection.transport.is_closing()
            if broken or not streams:
                raise
            return b""

    def _headers(self, request: Request) -> CIMultiDict[str]:
        """Returns the headers for the upstream: nothing that paid for the request, and no claims of a stranger."""
        here = HOP | named(request.headers.getlist("connection")) | {"content-length"}
        headers = CIMultiDict(
            (name, _sent_alike(text))
            for raw_name, raw_value in request.headers.raw
            if (name := raw_name.decode("latin-1").lower()) not in here
            and not CLAIMS.fullmatch(name.replace("_", "-"))
            and not carries(name, text := raw_value.decode("latin-1"))
        )
        if "cookie" in headers:
            headers["cookie"] = without_ours("; ".join(headers.getall("cookie")))
            if not headers["cookie"]:
                del headers["cookie"]
        if request.client is not None:
            headers["x-forwarded-for"] = request.client.host
        headers["x-forwarded-proto"] = request.url.scheme
        if "host" in request.headers:
            headers["x-forwarded-host"] = request.headers["host"]
        return headers

    def _target(self, scope: Scope) -> URL:
        """Returns the address at the upstream; with OMI the envelope alone says what is asked for."""
        raw = "/" if self.config.omi else scope["raw_path"].decode("ascii")
        if scope["query_string"] and not self.config.omi:
            raw += "?" + scope["query_string"].decode("latin-1")
        return URL(self._base + raw, encoded=True)

    def passed_on(self, answer: aiohttp.ClientResponse, begins: bytes) -> Response:
        """Returns the upstream's answer for the payer, its body as it comes after what it `begins` with."""
        out = StreamingResponse(self._rest(answer, begins), answer.status, background=BackgroundTask(_closed, answer))
        ends = HOP | named(answer.headers.getall("connection", []))
        if answer.status == 304:  # it may name the length of what it has not
            ends |= {"content-length"}
        out.raw_headers = [
            (name.lower(), self._ours(value) if name.lower() in PLACES else value)
            for name, value in answer.raw_headers
            if name.lower().decode("latin-1") not in ends
        ]
        return out

    async def _rest(self, answer: aiohttp.ClientResponse, begins: bytes) -> AsyncIterator[bytes]:
        """Yields what a body began with, and the rest as it comes; TimeoutError where nothing comes for timeout_s.

        aiohttp's own limit does not see a connection that it closed itself, over a body that can't be read."""
        if begins:
            yield begins
        while True:
            async with asyncio.timeout(self.config.timeout_s + SLACK_S):
                piece = await answer.content.readany()
            if not piece:
                return
            yield piece

    def _ours(self, place: bytes) -> bytes:
        """Return an address of the upstream's own, where an answer leads to it, as one of the gate's."""
        text = place.decode("latin-1")
        if text == self._base:
            return b"/"
        return text[len(self._base) :].encode("latin-1") if text.startswith(self._base + "/") else place

    async def _body(self, request: Request, moved: "Moved") -> AsyncIterator[bytes]:
        """Yields a body as it comes; `moved` says since when the upstream has not taken a piece of it."""
        async for piece in pieces(request, self.config.most_bytes, self.config.timeout_s):
            moved.at = time.monotonic()
            yield piece
            moved.at = None


@dataclass(slots=True)
class Moved:
    """Since when (of the monotonic clock) a piece of a request's body waits for the upstream; None for none."""

    at: float | None = None


def _sent_alike(text: str) -> str:
    """Returns a header's value, read byte by byte, so that aiohttp (which writes UTF-8) sends the bytes that came.

    Bytes that are no UTF-8 are sent as the UTF-8 of what they are in Latin-1."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return text


async def _closed(answer: aiohttp.ClientResponse) -> None:
    answer.close()


def named(connection: list[str]) -> frozenset[str]:
    """Return the headers that `Connection` names: they end at a proxy, too (RFC 9110, 7.6.1)."""
    return frozenset(name.strip().lower() for line in connection for name in line.split(","))


def plain_path(scope: Scope) -> str | None:
    """Returns a request's path, decoded; None where the upstream could read it as another path.

    That is a path with . or .. or nothing between slashes, with ; (which ends a name for some servers),
    with a backslash or % after decoding, with an encoded slash, or with unprintable characters."""
    path, raw = str(scope["path"]), scope["raw_path"]
    encoded = raw.lower()
    if b"%2f" in encoded or b"%5c" in encoded or "\\" in path or not path.isprintable() or set(path) & set("%;"):
        return None
    parts = path.split("/")[1:]
    return None if any(part.strip() in (".", "..") for part in parts) or "" in parts[:-1] else path
