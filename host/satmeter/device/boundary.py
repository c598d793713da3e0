"""What a device has to do, so that a meter can sell through it: a source counts, a valve switches.

One device may be both, as a smart plug is, or each may be another: an energy meter counts, a plug switches. A kind
says in its docstring what it can't do. Everything is asyncio; what a device does not do in time is a DeviceTrouble.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from ..core.errors import LocalError

EXPONENT = 30
"""Numbers of more digits, or longer ones, are no counts; a text may name one that takes minutes to work with."""


class DeviceTrouble(LocalError):
    """A device does not answer, or answers nonsense; the message says what, and what to do."""

    code = 2159


@dataclass(frozen=True, slots=True)
class Count:
    """What a source says: `value` is cumulative, in the source's own unit (kWh, litres, pulses).

    `power` is the present flow in units an hour, None where the source does not say. `epoch` changes where the count
    began anew, "" where the source does not say. `plugged`: whether something is plugged in. `age_s`: how long before
    the reading it was counted, as far as that is known. `resolution` is the smallest step that the count shows, where
    its digits are more: it was scaled, or is a binary number."""

    value: Decimal
    power: Decimal | None = None
    epoch: str = ""
    plugged: bool = True
    age_s: float = 0.0
    resolution: Decimal | None = None

    @property
    def step(self) -> Decimal:
        """The smallest step that the count shows: of its last digit, where no resolution is stated."""
        exponent = self.value.as_tuple().exponent
        shown = Decimal(10) ** exponent if isinstance(exponent, int) and abs(exponent) <= EXPONENT else Decimal(0)
        return shown if self.resolution is None else self.resolution

    def scaled(self, by: Decimal | int, power_by: Decimal | int = 1) -> "Count":
        """Returns the same count in a unit of which one is `by` of those that are wanted."""
        power = None if self.power is None else self.power * power_by
        return replace(self, value=self.value * by, power=power, resolution=self.step * by)


class Source(Protocol):
    """Counts what flows."""

    cadence_s: float
    """How often it is worth reading."""
    latency_s: float
    """How old a count may be when it is read."""

    async def read(self) -> Count:
        """Returns the present count; DeviceTrouble where there is none."""
        ...

    async def close(self) -> None:
        """Lets go of the device; it stays as it is."""


def nobody() -> None:
    """The listener of a source that nobody listens to: does nothing."""


class Valve(Protocol):
    """Switches what flows."""

    cut_s: float
    """How long it takes from the call of cut() until nothing flows."""
    dead_man_s: float
    """After so long without another allow() the device goes off by itself; 0: it never does."""

    async def allow(self) -> None:
        """Has it flow, for dead_man_s at most; again and again while it may flow. DeviceTrouble where it does not."""

    async def cut(self) -> None:
        """Has nothing flow. DeviceTrouble where it is not known to."""

    async def close(self) -> None:
        """Lets go of the device; it stays as it is."""


class Whole(Protocol):
    """Source, valve and face (lamp, lines, codes) in one, as a board of ours is: it cuts at the grant by itself."""

    def sell(self, meter: str, rpc: Path) -> None:
        """Begins to sell for a meter of the node behind an RPC socket, on threads of its own."""
        ...

    def stop(self) -> None:
        """Ends that; the device is left with what was granted."""
        ...
