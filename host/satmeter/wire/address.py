"""The address of a meter, as the QR code on its board shows it: SATMETER://HOST:PORT/NODEID/METER.

Upper case keeps a QR code in its compact alphanumeric mode; in either case it names the same.
"""

import re
from dataclasses import dataclass

from ..core.errors import BadParam
from ..core.tariff import check_name

_REACH = r"([a-z0-9.-]+|\[[0-9a-f:.]+\]):([0-9]{1,5})"
_NODE = r"(0[23][0-9a-f]{64})"
_FORM = re.compile(rf"satmeter://{_REACH}/{_NODE}/([a-z0-9-]{{1,32}})")
_PEER = re.compile(rf"{_NODE}(?:@{_REACH})?")


@dataclass(frozen=True, slots=True)
class Address:
    """`host` may be empty where the nodes are connected already."""

    host: str
    port: int
    node_id: str
    meter: str

    def __str__(self) -> str:
        return f"satmeter://{self.host}:{self.port}/{self.node_id}/{self.meter}".upper()

    @property
    def reach(self) -> str:
        """HOST:PORT for `connect`, or "" where none is known."""
        return f"{self.host}:{self.port}" if self.host else ""


def endpoint(name: str, text: str) -> str:
    """Return HOST:PORT as given, or raise BadParam that names it: an IPv6 address stands in brackets."""
    found = re.fullmatch(_REACH, text.strip().lower())
    if found is None:
        raise BadParam(f"{name}: must be HOST:PORT, an IPv6 address in brackets; got {text[:200]!r}", param=name)
    _port(found[2], name)
    return found[0]


def peer(name: str, text: str) -> tuple[str, str]:
    """Return the id and HOST:PORT ("" where it has none) of NODEID or NODEID@HOST:PORT; BadParam names another text."""
    found = _PEER.fullmatch(text.strip().lower())
    if found is None:
        raise BadParam(f"{name}: must be NODEID or NODEID@HOST:PORT, got {text[:200]!r}", param=name)
    return found[1], f"{found[2]}:{_port(found[3], name)}" if found[2] else ""


def parse(text: object, meter: object = None) -> Address:
    """Return the address of a SATMETER:// text, or of a node id (with or without @host:port) and a meter's name."""
    if not isinstance(text, str):
        raise BadParam(f"seller: must be a SATMETER:// address or a node id, got {text!r}", param="seller")
    lower = text.strip().lower()
    if found := _FORM.fullmatch(lower):
        host, port, node, named = found[1], found[2], found[3], found[4]
        if meter is not None and meter != named:
            raise BadParam(f"meter: the address names meter {named!r}, not {meter!r}", param="meter")
        return Address(host, _port(port), node, named)
    if found := _PEER.fullmatch(lower):
        return Address(found[2] or "", _port(found[3]) if found[3] else 0, found[1], check_name(meter))
    raise BadParam(
        f"seller: must be SATMETER://HOST:PORT/NODEID/METER, or a node id (with @HOST:PORT or not) and a meter; "
        f"got {text[:200]!r}",
        param="seller",
    )


def _port(text: str, name: str = "seller") -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise BadParam(f"{name}: port {port} is not from 1 to 65535", param=name)
    return port
