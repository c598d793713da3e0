"""Errors as HTTP says them: problem+json (RFC 9457), with the same names and numbers as everywhere else."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pyln.client import RpcError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from ..core import errors
from ..core.errors import SatmeterError
from ..http.problem import MEDIA_TYPE, problem
from ..node.rpc import code_of, words_of

log = logging.getLogger("satmeter.billing")

STATUS = {
    errors.BadParam: 400,
    errors.UnknownMeter: 404,
    errors.BoardSilent: 503,
    errors.NameTaken: 409,
    errors.WrongState: 409,
    errors.OverCap: 403,
    errors.NoCredit: 402,
    errors.TooMany: 429,
    errors.NodeTrouble: 502,
    errors.JournalTrouble: 503,
}


PROBLEM = {
    "description": "what was wrong, and with which value (RFC 9457)",
    "content": {
        MEDIA_TYPE: {
            "schema": {"type": "object", "required": ["type", "title", "status", "detail"]},
            "example": {
                "type": "urn:satmeter:error:2101",
                "title": "BadParam",
                "status": 400,
                "detail": "msatoshi: must be an amount such as 1000, 1sat or 0.001btc, got 'many'",
            },
        }
    },
}


class _Readable:
    """ASGI middleware: no database keeps a NUL, so no address has one."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and ("\0" in scope["path"] or b"%00" in scope["query_string"]):
            said = problem(400, "BadParam", "url: has a NUL in it", errors.BadParam.code)
            await said(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def install(app: FastAPI, page: Callable[[Request, int, str, str], Response]) -> None:
    """Have every error answered so, as a `page` to a browser; nothing of a traceback reaches a client."""
    app.add_middleware(_Readable)

    def said(
        request: Request, status: int, name: str, detail: str, code: int = 0, headers: Mapping[str, str] | None = None
    ) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            with suppress(SatmeterError):  # the page needs the database, the JSON does not
                return page(request, status, name, detail)
        return problem(status, name, detail, code, headers)

    @app.exception_handler(SatmeterError)
    def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, SatmeterError)
        status = next((STATUS[each] for each in type(error).__mro__ if each in STATUS), 400)
        if isinstance(error, errors.JournalTrouble):  # it names the database
            log.error("%s", error.message)
            return problem(status, error.name, "the database can't be used now; the service's log says why", error.code)
        text = error.message
        if "path" in error.data:  # where the node's socket is, is no client's business
            log.error("%s", text)
            text = text.replace(f" at {error.data['path']}", "")
        return said(request, status, error.name, text, error.code)

    @app.exception_handler(RpcError)
    def nodes(request: Request, error: Exception) -> Response:
        assert isinstance(error, RpcError)
        return said(request, 502, "NodeTrouble", words_of(error), code_of(error))

    @app.exception_handler(HTTPException)
    def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if headers:
            return problem(error.status_code, str(error.detail), str(error.detail), headers=headers)
        return said(request, error.status_code, str(error.detail), str(error.detail))

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        return said(request, 400, "BadParam", f"{first['loc'][-1]}: {first['msg']}", errors.BadParam.code)

    @app.exception_handler(Exception)
    async def bug(_: Request, error: Exception) -> Response:
        return problem(500, "internal error", type(error).__name__)
