"""The fields of a device's config: each is checked as it is taken, and what is left over is a mistake."""

import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from ..core.errors import BadParam
from ..core.plain import JsonObject


def place(host: str) -> str:
    """Returns the address that a host's name stands for, so that one device is known by any name of it."""
    name, colon, port = host.rpartition(":") if host.count(":") == 1 else (host, "", "")
    try:
        return socket.gethostbyname(name or port) + colon + (port if name else "")
    except (OSError, UnicodeError):  # not known now: it is told by its name
        return host.lower()


class Fields:
    """Takes the values of one table of bridge.toml; `where` is its name in messages."""

    def __init__(self, where: str, values: Mapping[str, object]) -> None:
        self._where, self._left = where, dict(values)

    def text(self, name: str, default: str | None = None) -> str:
        """Takes a text; BadParam where it is none, or missing without a default."""
        value = self._taken(name, default)
        if not isinstance(value, str) or not value.isprintable() or len(value) > 500:
            raise self._wrong(name, "must be a text", value)
        return value

    def topic(self, name: str, default: str | None = None) -> str:
        """Takes an MQTT topic; BadParam for one with wildcards."""
        value = self.text(name, default)
        if "#" in value or "+" in value:
            raise self._wrong(name, "must be one topic, without # and +", value)
        return value

    def whole(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """Takes a whole number within bounds."""
        value = self._taken(name, default)
        if type(value) is not int or not low <= value <= high:
            raise self._wrong(name, f"must be a whole number from {low} to {high}", value)
        return value

    def number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        """Takes a number within bounds."""
        value = self._taken(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise self._wrong(name, f"must be a number from {low:g} to {high:g}", value)
        return float(value)

    def table(self, name: str, default: Mapping[str, object] | None = None) -> JsonObject:
        """Takes a table."""
        value = self._taken(name, default)
        if not isinstance(value, Mapping):
            raise self._wrong(name, "must be a table", value)
        return dict(value)

    def has(self, name: str) -> bool:
        """Whether a field was given and not taken yet."""
        return name in self._left

    def base_url(self, name: str, host: str) -> str:
        """Returns http://HOST[:PORT] of a field's value; BadParam where it is no host."""
        try:
            parts = urlsplit(f"http://{host}")
            whole = parts.netloc == host and "@" not in host and not any(map(str.isspace, host))
            good = whole and parts.hostname and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise self._wrong(name, "must be HOST or HOST:PORT", host)
        return f"http://{host}"

    def end(self) -> None:
        """Raises BadParam for a field that nobody has taken."""
        for name in self._left:
            raise BadParam(f"{self._where}.{name}: is no field of this", param=name)

    def _taken(self, name: str, default: object) -> object:
        if name not in self._left and default is None:
            raise BadParam(f"{self._where}.{name}: is missing", param=name)
        return self._left.pop(name, default)

    def _wrong(self, name: str, what: str, value: object) -> BadParam:
        return BadParam(f"{self._where}.{name}: {what}, got {str(value)[:60]!r}", param=name)
