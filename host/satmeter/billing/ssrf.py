"""Requests that go out from here to addresses that strangers gave: they must not lead into our own network (SSRF).

A name is resolved once, every address of it has to be public (or its host allowed by the config), and the request
goes to that very address.
"""

import asyncio
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import httpx

from ..core.errors import BadParam

TIMEOUT_S = 15
MOST_BYTES = 65_536
LOOKUPS, RESOLVERS = 4, 64
"""Names of one client that are looked up at once, the others in their turn; and of all."""
_RESOLVERS = ThreadPoolExecutor(RESOLVERS, "resolver")

INWARD = tuple(
    ipaddress.ip_network(one) for one in ("64:ff9b::/96", "2002::/16", "fec0::/10", "::/96", "::ffff:0:0:0/96")
)
"""Forms of IPv6 that may carry an inner IPv4 address, or a site's own."""


def check_url(url: object, name: str = "url") -> str:
    """Return a URL that we may call. BadParam for anything but http(s) to a host."""
    if not isinstance(url, str) or len(url) > 2000 or not url.isprintable():
        raise BadParam(f"{name}: must be an http(s) address of at most 2000 characters", param=name)
    try:
        parts = urlsplit(url)
        httpx.URL(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except (ValueError, httpx.InvalidURL):
        good = False
    if not good:
        raise BadParam(f"{name}: must be http(s)://HOST/..., got {url[:200]!r}", param=name)
    return url


def public(address: str) -> bool:
    """Returns whether an IP address is of the public internet. ValueError for any other text."""
    found = ipaddress.ip_address(address.split("%")[0])
    return found.is_global and not found.is_multicast and not any(found in net for net in INWARD if found.version == 6)


class Outward:
    """allowed: hosts of private networks that may be called all the same; setting: the config's name for them."""

    def __init__(self, allowed: tuple[str, ...], setting: str):
        self.allowed, self._setting = allowed, setting
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """By client, for as long as one of its names is looked up."""

    async def send(
        self,
        client: httpx.AsyncClient,
        method: str,
        url: str,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        who: str = "",
    ) -> httpx.Response:
        """Send a request to the one address that was looked at; returns the answer, its body not yet read.

        `who`: for whom it is. A few of its names are looked up at once, so that its names hold up nobody else."""
        parts = urlsplit(check_url(url))
        host = parts.hostname or ""
        address = await self.address(host, parts.port or (443 if parts.scheme == "https" else 80), who)
        target = httpx.URL(url).copy_with(host=address)
        named = {**(headers or {}), "host": parts.netloc.rpartition("@")[2]}
        extensions = {"sni_hostname": host} if parts.scheme == "https" else {}
        request = client.build_request(method, target, content=content, headers=named, extensions=extensions)
        return await client.send(request, stream=True)

    async def get(self, url: str, timeout_s: float = TIMEOUT_S, who: str = "") -> tuple[int, bytes]:
        """Returns the HTTP status and the body of a URL; redirects are not followed.

        Raises BadParam where the host has a private address that the config does not allow, where it does
        not answer within `timeout_s`, or where the body is compressed or over MOST_BYTES (65,536)."""
        try:
            async with httpx.AsyncClient(timeout=timeout_s, follow_redirects=False, trust_env=False) as client:
                async with asyncio.timeout(timeout_s):
                    answer = await self.send(client, "GET", url, headers={"accept-encoding": "identity"}, who=who)
                    if answer.headers.get("content-encoding", "identity") != "identity":
                        # A small answer may be a very large one when it is unpacked.
                        raise BadParam(f"url: {url[:200]} sends a compressed body, which is not accepted", param="url")
                    data = bytearray()
                    async for piece in answer.aiter_raw():
                        data += piece
                        if len(data) > MOST_BYTES:
                            raise BadParam(f"url: {url[:200]} sends more than {MOST_BYTES:,} bytes", param="url")
                    await answer.aclose()
                    return answer.status_code, bytes(data)
        except (httpx.HTTPError, OSError, UnicodeError) as error:
            said = str(error) or type(error).__name__
            raise BadParam(f"url: {url[:200]} does not answer: {said}", param="url") from None

    async def _resolved(self, host: str, port: int, who: str) -> list[str]:
        """Looks a name up, on a thread: one that no server answers for holds it for a minute, whoever waits no more."""
        turn = self._turns.setdefault(who, asyncio.Semaphore(LOOKUPS))
        await turn.acquire()
        find = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        asked = asyncio.get_running_loop().run_in_executor(_RESOLVERS, find)
        asked.add_done_callback(lambda _: turn.release())
        asked.add_done_callback(lambda done: done.cancelled() or done.exception())  # whoever asked may have gone
        return [str(each[4][0]) for each in await asyncio.shield(asked)]

    async def address(self, host: str, port: int, who: str = "") -> str:
        """Return the address of a host; BadParam where it leads to a private one."""
        addresses = await self._resolved(host, port, who)
        if not addresses:
            raise OSError(f"{host} has no address")
        for each in addresses:
            if host.lower() not in self.allowed and not public(each):
                raise BadParam(
                    f"url: {host} is in a private network ({each}); {self._setting} in the config may allow it",
                    param="url",
                )
        return addresses[0]
