"""Errors as HTTP says them: problem+json (RFC 9457), with the same names and numbers as everywhere else."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pyln.client import RpcError
from starlette.exceptions import HTTPException

from ..cln.node import code_of, words_of
from ..core import errors
from ..core.errors import SatmeterError

log = logging.getLogger("satmeter.billing")

STATUS = {
    errors.BadParam: 400,
    errors.NameTaken: 409,
    errors.WrongState: 409,
    errors.OverCap: 403,
    errors.TooMany: 429,
    errors.NodeTrouble: 502,
    errors.JournalTrouble: 503,
}


def answer(status: int, name: str, detail: str, code: int = 0, headers: dict[str, str] | None = None) -> JSONResponse:
    body: dict[str, Any] = {"type": f"urn:satmeter:error:{code or status}", "title": name, "status": status}
    return JSONResponse({**body, "detail": detail}, status, headers=headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Have every error answered so; nothing of a traceback reaches a client."""

    @app.exception_handler(SatmeterError)
    async def ours(_: Request, e: Exception) -> Response:
        assert isinstance(e, SatmeterError)
        status = next((STATUS[c] for c in type(e).__mro__ if c in STATUS), 400)
        if isinstance(e, errors.JournalTrouble):  # it names the database
            log.error("%s", e.message)
            return answer(status, e.name, "the database can't be used now; the service's log says why", e.code)
        return answer(status, e.name, e.message, e.code)

    @app.exception_handler(RpcError)
    async def nodes(_: Request, e: Exception) -> Response:
        assert isinstance(e, RpcError)
        return answer(502, "NodeTrouble", words_of(e), code_of(e))

    @app.exception_handler(HTTPException)
    async def http(_: Request, e: Exception) -> Response:
        assert isinstance(e, HTTPException)
        return answer(e.status_code, str(e.detail), str(e.detail), headers=dict(e.headers or {}))

    @app.exception_handler(Exception)
    async def bug(_: Request, e: Exception) -> Response:
        return answer(500, "internal error", type(e).__name__)
