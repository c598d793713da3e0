"""A growing transaction: versions of one Bitcoin transaction over the same inputs, each worth more to the seller.

Only one version can ever confirm. The buyer signs one after the other, the seller holds the highest and broadcasts it
once: many payments, one transaction, one fee. Where a tariff's hold is one slice, each payment is a transaction of its
own: the basic protocol is the growing one with a single version. Values and fees in sat, feerates in sat per 1,000
weight units. After Lundqvist, de Blanche and Andersson, "Thing-to-thing electricity micro payments using blockchain
technology" (2017), sections V and VI.
"""

from dataclasses import dataclass, field

GROWING, SENT, SETTLED = "growing", "sent", "settled"

DUST_SAT = 546
"""No output may be smaller: nodes do not relay it (the highest of the limits of Bitcoin Core's output types)."""
FEERATE_MOST = 10_000_000
FEES_ROSE = 2
"""Where the estimate is so many times the agreed feerate, what is held is broadcast before it gets stuck."""


@dataclass(slots=True)
class Growing:
    """The seller's side of one: the highest version, and what became of it."""

    k: int
    """Its number in the session, from 1."""
    address: str
    feerate: int
    state: str = GROWING
    inputs: list[list[str | int]] = field(default_factory=list)
    """Each input as [outpoint TXID:VOUT, value, script in hex]."""
    value: int = 0
    fee: int = 0
    weight: int = 0
    versions: int = 0
    txid: str = ""
    vout: int = 0
    raw: str = ""
    first_at: int = 0
    why: str = ""
    """Why it was broadcast."""
    lost: int = 0
    """What of `value` a conflicting spend took, as far as the chain shows."""
    evidence: str = ""
    lost_height: int = 0
    tip: str = ""
    """The newest child's outpoint, where the fee was bumped (CPFP), and in `tip_value` what it holds."""
    tip_value: int = 0
    bump_fee: int = 0

    @property
    def pending(self) -> bool:
        """Whether there is value whose fate is open."""
        return self.value > 0 and self.state != SETTLED


@dataclass(slots=True)
class Signed:
    """The buyer's side: the inputs that it gave away, and the highest value that it ever signed over them."""

    k: int
    address: str
    feerate: int
    fee: int
    maximum: int
    change: str
    """Script of our own change output, in hex."""
    inputs: list[list[str | int]] = field(default_factory=list)
    """Each input as [outpoint TXID:VOUT, value, script in hex, height of its block]."""
    value: int = 0
    versions: int = 0
    n: int = 0
    """The request that the highest version answers."""
