"""Database URLs of journals: which are taken, and how people may see them."""

from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from ..core.errors import BadParam

SECRETS = ("password", "sslpassword", "passfile")
"""Parameters of a PostgreSQL URL that nobody else may see."""
KNOWN = ("sqlite", "postgresql")
"""Databases that are tried."""


def check_url(name: str, url: str) -> None:
    """Raise BadParam that names it for what is no database URL; "" is none, and good.

    A database in memory is none: a journal in it would be gone with its process."""
    try:
        why = "" if not url or _keeps(sa.make_url(url)) else f"got {shown(url)}"
    except (SQLAlchemyError, ValueError) as error:
        why = str(error)
    if why:
        raise BadParam(f"{name}: must be sqlite:////PATH or postgresql://USER@HOST/NAME; {why}", param=name)


def _keeps(url: sa.URL) -> bool:
    if url.get_backend_name() == "sqlite":
        return Path(url.database or "").is_absolute()
    if "@" in (url.host or ""):
        raise ValueError("an @ in a password is written %40")
    return url.get_backend_name() in KNOWN


def shown(url: str) -> str:
    """Return a database URL as people may see it: without its passwords, wherever they stand in it."""
    parsed = sa.make_url(url)
    if parsed.host:
        parsed = parsed.set(host=parsed.host.rpartition("@")[2])  # what stands before it is of the password
    secret = {name: "***" for name in SECRETS if name in parsed.query}
    return parsed.update_query_dict(secret).render_as_string(hide_password=True)


def sqlite_url(path: Path) -> str:
    """Returns the database URL of a SQLite file; BadParam for a name that is not UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise BadParam(f"{path!r}: the name of a journal must be UTF-8") from None
    return f"sqlite:///{quote(str(path), safe=_PLAIN)}"


_PLAIN = "/ !$&'()*+,;=:@~"
"""What a path in a URL may have as it is."""
