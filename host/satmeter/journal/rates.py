"""What a bitcoin was worth in money, and who said so: recorded as time goes on, since nobody can say it afterwards."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from ..core.money import MSAT_PER_BTC

MOST_MS = 6 * 3_600_000
"""How long before a moment a rate may have been told to count as the rate of that moment."""


@dataclass(frozen=True, slots=True)
class StoredRate:
    """`per_btc` units of a currency for a bitcoin, told by `source` at a time (ms since 1970)."""

    at: int
    currency: str
    per_btc: Decimal
    source: str

    def worth(self, msat: int) -> Decimal:
        """Return what an amount is in the currency, exactly."""
        return self.per_btc * msat / MSAT_PER_BTC


class Rates:
    """Finds the rate of a moment among those of a period."""

    def __init__(self, rates: Sequence[StoredRate]):
        """rates: oldest first."""
        self._rates = rates
        self._times = [rate.at for rate in rates]

    def at(self, at_ms: int) -> StoredRate | None:
        """Return the newest rate told up to a time (ms), None where there is none that is young enough."""
        found = bisect_right(self._times, at_ms)
        rate = self._rates[found - 1] if found else None
        return rate if rate is not None and at_ms - rate.at <= MOST_MS else None
