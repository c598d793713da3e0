"""Logs as JSON, one object a line, with one line for every request. No line holds a secret.

Of a request the log has the method, the route as the API declares it, the status and the time that
it took. Ids and queries are left out, since tokens can be in them. Other messages lose passwords in
URLs, queries and credentials."""

import json
import logging
import re
import sys
import time
from collections.abc import Callable

from starlette.types import ASGIApp as App
from starlette.types import Message, Receive, Scope, Send

from ..core.plain import Plain

log = logging.getLogger("satmeter.requests")

Seen = Callable[[str, str, int, float], None]

_SECRET = re.compile(r"(://[^\s/@]*:)[^\s/@]*@|(\?)[^\s\"']*|(Basic|Bearer|L402|LSAT|Meter) [^\s\"']+", re.IGNORECASE)


def plain(text: str) -> str:
    """Return a text without what could be a secret in it: passwords in URLs, queries, credentials."""
    return _SECRET.sub(lambda match: (match[1] or match[2] or match[3] + " ") + ("...@" if match[1] else "..."), text)


class Lines(logging.Formatter):
    """A formatter that writes one JSON object for each record: at (UTC), level, logger, message.

    The entries of `extra={"facts": {...}}` are added. Only code of this package may pass facts: they, and
    the message beside them, are not searched for secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the record as one line of JSON, with its traceback, if any, under `trace`."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        line: Plain = {"at": at, "level": record.levelname.lower(), "logger": record.name}
        facts = getattr(record, "facts", None)
        message = record.getMessage()
        line |= {"message": plain(message)} if facts is None else {"message": message, **facts}
        if record.exc_info:
            line["trace"] = plain(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def begin() -> None:
    """Have this process log so, on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for name in ("httpx", "alembic", "httpcore", "satmeter.rpc"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


class Requests:
    """ASGI middleware: logs every request, and tells `seen` of it (method, route, status, seconds)."""

    def __init__(self, app: App, seen: Seen):
        self._app, self._seen = app, seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, and logs it after the answer; without an answer as status 500."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status, took = 500, None

        async def sending(message: Message) -> None:
            nonlocal status, took
            if message["type"] == "http.response.start":
                status, took = int(message["status"]), time.monotonic() - began
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:  # when it is answered: who asked does not wait for the log
            self._tell(scope, status, time.monotonic() - began if took is None else took)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        method, route = str(scope["method"]), route_of(scope)
        facts = {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 1)}
        log.info("%s %s %d", method, route, status, extra={"facts": facts})
        self._seen(method if method in METHODS else "other", route, status, seconds)


PLAIN = {"/payment/uses": "/payment/uses"}
"""Routes that are not FastAPI's, so they are not in scope["route"]: their labels, by path."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def route_of(scope: Scope) -> str:
    """Return the route that took a request, as it was declared; "none" where none did."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else PLAIN.get(str(scope["path"]), "none")
