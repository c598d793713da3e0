"""What all our pages tell a browser, and whether a request comes from a page of another site."""

from collections.abc import Collection
from urllib.parse import urlsplit


def headers(*directives: str) -> dict[str, str]:
    """Return the security headers of a page.

    Args:
        directives: What its Content-Security-Policy says beside that nobody frames it; `default-src` among them.
    """
    return {
        "Content-Security-Policy": "; ".join((*directives, "frame-ancestors 'none'", "base-uri 'self'")),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
    }


def is_cross_site(origin: str | None, hosts: Collection[str], fetch_site: str = "same-origin") -> bool:
    """Return whether a page of another site sent a request.

    Args:
        origin: The request's Origin header; None where it has none.
        hosts: By what names, with port and in lower case, the page is known.
        fetch_site: The request's Sec-Fetch-Site header, where it has one.
    """
    try:
        elsewhere = origin is not None and urlsplit(origin).netloc.lower() not in hosts
    except ValueError:
        elsewhere = True
    return elsewhere or fetch_site not in ("same-origin", "none")
