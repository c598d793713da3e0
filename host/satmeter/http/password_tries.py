"""Wrong passwords: who has given many of them waits, by address and not by name, so that nobody locks another out.

Passwords are looked at one at a time, and take 50 ms each on purpose: that bounds what comes from everywhere.
"""

from ipaddress import ip_network

from ..core.errors import TooMany
from .last_minute import WITHIN_S, LastMinute

OF_ADDRESS, OF_NETWORK = 5, 50
"""So many from one address (of IPv6: one /64), and from the network that it is in, within a minute."""


class Tries:
    """Wrong passwords of the last minute. Not for many threads at once."""

    def __init__(self) -> None:
        self._wrong = LastMinute()

    def check(self, who: str) -> None:
        """Raise TooMany where no password from `who` (as server.network_of says it) is looked at now."""
        if self._wrong.count(who) >= OF_ADDRESS or self._wrong.count(_wide(who)) >= OF_NETWORK:
            raise TooMany(f"too many wrong passwords; try again in {WITHIN_S} s")

    def was_wrong(self, who: str) -> None:
        """Counts a wrong password of a client, for its address and for the network around it."""
        for each in {who, _wide(who)}:
            self._wrong.add(each)


def _wide(who: str) -> str:
    """Return the network around an address: what one household or company may have."""
    try:
        network = ip_network(who, strict=False)
    except ValueError:
        return f"around {who}"
    return str(network.supernet(new_prefix=24 if network.version == 4 else 48))
