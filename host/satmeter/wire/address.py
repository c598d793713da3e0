"""The address of a meter, as the QR code on its board shows it: SATMETER://HOST:PORT/NODEID/METER.

Upper case keeps a QR code in its compact alphanumeric mode; in either case it names the same.
"""

import re
from dataclasses import dataclass

from ..core.errors import BadParam
from ..core.tariff import check_name

_FORM = re.compile(r"satmeter://([a-z0-9.-]+|\[[0-9a-f:.]+\]):(\d{1,5})/(0[23][0-9a-f]{64})/([a-z0-9-]{1,32})")
_NODE = re.compile(r"0[23][0-9a-f]{64}")


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


def parse(text: object, meter: object = None) -> Address:
    """Return the address of a SATMETER:// text, or of a node id (with or without @host:port) and a meter's name."""
    if not isinstance(text, str):
        raise BadParam(f"seller: must be a SATMETER:// address or a node id, got {text!r}", param="seller")
    lower = text.strip().lower()
    found = _FORM.fullmatch(lower)
    if found:
        port = int(found[2])
        if not 0 < port < 65536:
            raise BadParam(f"seller: port {port} is not from 1 to 65535", param="seller")
        return Address(found[1], port, found[3], check_name(meter) if meter is not None else found[4])
    node, _, reach = lower.partition("@")
    if not _NODE.fullmatch(node):
        raise BadParam(f"seller: must be SATMETER://HOST:PORT/NODEID/METER or a node id, got {text!r}", param="seller")
    host, _, port_text = reach.rpartition(":")
    if reach and not (host and port_text.isdecimal() and 0 < int(port_text) < 65536):
        raise BadParam(f"seller: {reach!r} is not HOST:PORT", param="seller")
    return Address(host, int(port_text or 0), node, check_name(meter))
