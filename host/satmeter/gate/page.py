"""A 402 for a person: a page with the code to scan, which opens by itself once it is paid, in any browser.

A browser has no preimage to show. It gets a cookie with the challenge, signed with the gate's secret, that names the
invoice which this browser was shown. Whoever holds it and whose invoice is paid has the uses, as whoever holds a
macaroon and its preimage does.
"""

import hashlib
import hmac
import html
import re
import time
from collections import OrderedDict
from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import HTMLResponse

from ..core.plain import keep_newest
from ..formatting import amount
from ..http import security
from ..qr import draw
from ..qr.make import make
from .billing_client import Asked
from .prices import Price

COOKIE = "satmeter-gate"
LASTS_S = 30 * 86_400
LOOK_S = 6
"""Seconds between the page's looks."""
REFUSED_S = 1.0
DRAWN_MOST = 1_000
SHOWN_S, SHOWN_MOST = 300, 10_000
"""For so long a browser that comes again is shown the same invoice."""
_VALUE = re.compile("([0-9a-f]{64})\\.([0-9a-f]{64})")
STYLE = (
    "body{font:16px system-ui,sans-serif;max-width:26rem;margin:0 auto;padding:1rem;text-align:center;"
    "background:#fff;color:#111}svg{width:100%;height:auto}a{display:inline-block;padding:.8rem 1.2rem;"
    "background:#1a4d8f;color:#fff;border-radius:.4rem;text-decoration:none}code{word-break:break-all;font-size:.75rem}"
)


def wanted(request: Request) -> bool:
    """Whether a request is a person's, who looks at what comes."""
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


class Pages:
    """The pages and cookies of one gate, made under its secret and read under that or an earlier one."""

    def __init__(self, secret: str, earlier: Iterable[str] = ()):
        self._secrets = [secret.encode(), *(each.encode() for each in earlier)]
        self._shown: OrderedDict[str, tuple[Asked, float]] = OrderedDict()
        self._drawn: dict[str, str] = {}
        """Pages by payment hash: to draw a code takes as long as many requests."""
        self._refused: dict[str, float] = {}

    def payment_of(self, request: Request, service: str) -> str:
        """Return the payment hash that a browser's cookie stands for, "" for none, or for another service."""
        found = _VALUE.fullmatch(request.cookies.get(COOKIE, ""))
        if found is None:
            return ""
        good = any(hmac.compare_digest(_mac(secret, found[1], service), found[2]) for secret in self._secrets)
        return found[1] if good else ""

    def shown(self, payment_hash: str) -> Asked | None:
        """Return the invoice that a browser was shown a moment ago and has not paid."""
        known = self._shown.get(payment_hash)
        return known[0] if known is not None and time.monotonic() < known[1] + SHOWN_S else None

    def was_refused(self, payment_hash: str) -> bool:
        """Whether it was not paid a moment ago: the service is not asked again at once, however many pages look."""
        return time.monotonic() < self._refused.get(payment_hash, -REFUSED_S) + REFUSED_S

    def refused(self, payment_hash: str) -> None:
        """It is not paid, or its uses are used up."""
        self._refused.pop(payment_hash, None)
        self._refused[payment_hash] = time.monotonic()
        keep_newest(self._refused, SHOWN_MOST)

    def opened(self, payment_hash: str) -> None:
        """It was paid: when its uses are used up, another invoice is due."""
        self._shown.pop(payment_hash, None)
        self._refused.pop(payment_hash, None)

    def page(self, request: Request, asked: Asked, price: Price) -> HTMLResponse:
        """Return the page of an invoice, with its cookie."""
        self._shown.pop(asked.payment_hash, None)
        self._shown[asked.payment_hash] = asked, time.monotonic()
        keep_newest(self._shown, SHOWN_MOST)
        drawn = self._drawn.get(asked.payment_hash) or _page(asked, price)
        self._drawn[asked.payment_hash] = drawn
        keep_newest(self._drawn, DRAWN_MOST)
        value = f"{asked.payment_hash}.{_mac(self._secrets[0], asked.payment_hash, price.service)}"
        answer = HTMLResponse(drawn, 402)
        answer.headers["Refresh"] = str(LOOK_S)
        answer.headers.update(security.headers("default-src 'none'", "style-src 'unsafe-inline'"))
        https = request.url.scheme == "https"
        answer.set_cookie(COOKIE, value, max_age=LASTS_S, httponly=True, samesite="lax", secure=https)
        return answer


def without_ours(cookies: str) -> str:
    """Return a Cookie header without ours: it goes no further than the gate."""
    return "; ".join(
        each for part in cookies.split(";") if (each := part.strip()) and not each.startswith(f"{COOKIE}=")
    )


def _mac(secret: bytes, payment_hash: str, service: str) -> str:
    return hmac.new(secret, f"page {payment_hash} {service}".encode(), hashlib.sha256).hexdigest()


def _page(asked: Asked, price: Price) -> str:
    invoice, what = html.escape(asked.payreq), html.escape(price.service)
    times = "once" if price.uses == 1 else f"{price.uses} times"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Payment required</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><main>'
        f"<h1>{amount(price.msatoshi)}</h1><p>for {what}, {times}</p>"
        f"{draw.svg(make(asked.payreq.upper()))}"
        f'<p><a href="lightning:{invoice}">Open a wallet</a></p>'
        f"<p>Scan it with any Lightning wallet. This page opens by itself once it is paid.</p>"
        f"<p><code>{invoice}</code></p></main></body></html>"
    )
