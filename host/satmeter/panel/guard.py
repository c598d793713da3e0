"""Who may talk to the pages: every request and every websocket is looked at here, before anything else sees it.

A page in the same browser, of whatever site, can send requests here and open websockets; and a site whose name is made
to point here (DNS rebinding) is even of our own origin. So the Host must be an address or a name that was given, the
Origin must be that same host, and where there is a password the cookie of a login must come with it.
"""

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.requests import cookie_parser
from starlette.types import Message, Receive, Scope, Send

from ..http import security
from .login import COOKIE, Logins
from .users import User

App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/login", "/static/", "/_nicegui/")
"""Paths that need no login: they are the same for everybody, and hold no word about this node."""

SECURITY = security.headers(
    "default-src 'self' 'unsafe-inline' 'unsafe-eval'",  # NiceGUI's pages are made of scripts in the page
    "img-src 'self' data: blob:",
    "media-src 'self' blob: mediastream:",
    "connect-src 'self'",
    "form-action 'self'",
)
HEADERS = tuple((name.lower().encode(), value.encode()) for name, value in SECURITY.items())


@dataclass(frozen=True, slots=True)
class Guard:
    """ASGI middleware that checks Host, Origin and login before a request reaches the pages.

    names: the host names (without port) that are accepted, besides localhost and IP addresses.
    loopback: whether only loopback addresses are accepted. logins: None where there is no password."""

    app: App
    logins: Logins | None = None
    names: frozenset[str] = field(default_factory=frozenset)
    loopback: bool = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on to the pages, or refuses it.

        403: its Host or Origin is not accepted. 401, or 303 to /login where a page was asked for: there
        is no login. What is neither http nor websocket passes unchecked."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = _headers(scope)
        why = self.objection(headers.get("host", ""), headers.get("origin"))
        if why:
            await _refuse(scope, receive, send, 403, why)
        elif self.logins is None:
            await self.app(_used_by(scope, User()), receive, _with_headers(send))
        elif scope["path"].startswith(OPEN):
            await self.app(scope, receive, _with_headers(send))
        elif user := self.logins.user(cookie(headers)):
            receiving = _while_known(self.logins, cookie(headers), receive, send)
            await self.app(_used_by(scope, user), receiving, _with_headers(send))
        elif scope["type"] == "http" and "text/html" in headers.get("accept", "") and scope["method"] == "GET":
            await _answer(send, 303, b"", ((b"location", b"/login"),))
        else:
            await _refuse(scope, receive, send, 401, "log in first: /login")

    def objection(self, host: str, origin: str | None) -> str:
        """Return why a request with this Host and Origin is refused, "" if it is not."""
        name = _name(host)
        if not self._ours(name):
            return f"the panel does not accept the host name {name[:80]!r}; start it with --name to allow it"
        if security.is_cross_site(origin, (host.lower(),)):
            return f"cross-site request refused: it came from a page of {str(origin)[:80]!r}"
        return ""

    def _ours(self, name: str) -> bool:
        if name in self.names:
            return True
        if name == "localhost":
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self.loopback


def _name(host: str) -> str:
    """Return a Host header's name without its port, in lower case; "" for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers by name; of one that comes twice, neither is believed (Host, Origin), cookies are joined."""
    out: dict[str, str] = {}
    for raw_name, raw in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw.decode("latin-1")
        if name in out:
            out[name] = f"{out[name]}; {value}" if name == "cookie" else "twice"
        else:
            out[name] = value
    return out


def cookie(headers: dict[str, str]) -> str:
    """Return the login's cookie."""
    return cookie_parser(headers.get("cookie", "")).get(COOKIE, "")


def _used_by(scope: Scope, user: User) -> Scope:
    """Return a request's scope with who sent it, as `request.state.user`."""
    return {**scope, "state": {**scope.get("state", {}), "user": user}}


def _while_known(logins: Logins, value: str, receive: Receive, send: Send) -> Receive:
    """A websocket lives longer than its request: with the login it ends as well, at the next thing it says."""

    async def receiving() -> Message:
        message = await receive()
        if message["type"] == "websocket.receive" and logins.user(value) is None:
            await send({"type": "websocket.close", "code": 1008})
            return {"type": "websocket.disconnect", "code": 1008}
        return message

    return receiving


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return sending


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await receive()  # its connect; closed before it was accepted, it is answered 403
        await send({"type": "websocket.close", "code": 1008, "reason": why[:100]})
    else:
        await _answer(send, status, why.encode(), ((b"content-type", b"text/plain; charset=utf-8"),))


async def _answer(send: Send, status: int, body: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *HEADERS]})
    await send({"type": "http.response.body", "body": body})
