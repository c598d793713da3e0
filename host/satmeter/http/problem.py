"""An error as HTTP says it: application/problem+json (RFC 9457)."""

from collections.abc import Mapping

from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"


def problem(
    status: int, title: str, detail: str, code: int = 0, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return the answer to a request that failed.

    Args:
        status: The HTTP status.
        title: The error's name, or that of the status.
        detail: What was wrong, and with which value.
        code: The error's number (core/errors.py); 0 for what has none but its status.
        headers: Further headers.
    """
    body = {"type": f"urn:satmeter:error:{code or status}", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)
