"""A growing transaction: updates of one Bitcoin transaction over the same inputs, each worth more to the seller.

Only one update can ever confirm. The buyer signs one after the other. The seller holds the highest and broadcasts it
once: many payments, one transaction, one fee. Where a tariff's hold is one slice, each payment is a transaction of its
own: the basic protocol is the growing one with a single update. Feerates are in sat per 1,000 weight units. After
Lundqvist, de Blanche and Andersson, "Thing-to-thing electricity micro payments using blockchain technology" (2017),
sections V and VI.
"""

from dataclasses import dataclass, field

from ..states import TransactionState

DUST_SAT = 546
"""No output may be smaller: nodes do not relay it (the highest of the limits of Bitcoin Core's output types)."""
FEERATE_MOST = 10_000_000
FEES_ROSE = 2
"""Where the estimate is so many times the agreed feerate, what is held is broadcast before it gets stuck."""


@dataclass(frozen=True, slots=True)
class TxInput:
    """An output that a transaction spends.

    `outpoint` is TXID:VOUT, `script` the output's script in hex, and `height` the height of its
    block, 0 where it does not matter."""

    outpoint: str
    value_sat: int
    script: str
    height: int = 0


@dataclass(slots=True)
class GrowingTransaction:
    """The seller's side of one: the highest update, and what became of it."""

    number: int
    """Its number in the session, from 1."""
    address: str
    feerate: int
    state: TransactionState = TransactionState.GROWING
    inputs: list[TxInput] = field(default_factory=list)
    value_sat: int = 0
    fee_sat: int = 0
    weight: int = 0
    updates: int = 0
    txid: str = ""
    vout: int = 0
    raw: str = ""
    first_at: int = 0
    why: str = ""
    """Why it was broadcast."""
    lost_sat: int = 0
    """What of its value a conflicting spend took, as far as the chain shows."""
    evidence: str = ""
    lost_height: int = 0
    tip: str = ""
    """The newest child's outpoint, where the fee was bumped (CPFP)."""
    tip_value_sat: int = 0
    bump_fee_sat: int = 0

    @property
    def growing(self) -> bool:
        """Whether it still takes updates: it was not broadcast yet."""
        return self.state == TransactionState.GROWING

    @property
    def pending(self) -> bool:
        """Whether there is value whose fate is open."""
        return self.value_sat > 0 and self.state != TransactionState.SETTLED

    @property
    def outpoints(self) -> tuple[str, ...]:
        """The outputs that it spends, as TXID:VOUT, in the order of its inputs."""
        return tuple(each.outpoint for each in self.inputs)


@dataclass(slots=True)
class OnchainAccount:
    """The growing transactions of a session, and their sums."""

    transactions: dict[int, GrowingTransaction] = field(default_factory=dict)
    """Those whose fate is open, the newest one last."""
    count: int = 0
    taken_updates: dict[int, int] = field(default_factory=dict)
    """The newest updates that count, and for how much (msat): a repeated one is answered and not taken again."""
    txids: list[str] = field(default_factory=list)
    """The newest ones that were broadcast."""
    fees_sat: int = 0
    """What the transactions cost their buyer in fees."""
    basic_fees_sat: int = 0
    """What they would have cost with a transaction for each payment."""
    first_fee_sat: int = 0
    lost_sat: int = 0
    """What conflicting spends took."""

    @property
    def growing(self) -> GrowingTransaction | None:
        """The transaction that still grows, if there is one."""
        newest = self.transactions.get(self.count)
        return newest if newest is not None and newest.growing else None

    @property
    def held_msat(self) -> int:
        """What only the highest update stands for: until it is broadcast, the buyer could spend it elsewhere."""
        return self.growing.value_sat * 1000 if self.growing is not None else 0

    @property
    def unconfirmed_msat(self) -> int:
        """What was broadcast and is not yet as deep as agreed, without what is known as lost."""
        sent = (each for each in self.transactions.values() if each.pending and not each.growing)
        return sum(each.value_sat - each.lost_sat for each in sent) * 1000

    @property
    def at_risk_msat(self) -> int:
        """What the buyer could still spend elsewhere: held, or broadcast and not final."""
        return self.held_msat + self.unconfirmed_msat

    @property
    def firm(self) -> bool:
        """Whether nothing that was paid can still be taken back: only then is anything given on or back."""
        return not any(each.pending for each in self.transactions.values())


@dataclass(slots=True)
class SignedTransaction:
    """The buyer's side: the inputs that it gave away, and the highest value that it ever signed over them."""

    number: int
    address: str
    feerate: int
    fee_sat: int
    maximum_sat: int
    change: str
    """Script of our own change output, in hex."""
    inputs: list[TxInput] = field(default_factory=list)
    value_sat: int = 0
    request: int = 0
    """The number of the seller's request that the highest update answers."""

    @property
    def outpoints(self) -> tuple[str, ...]:
        """The outputs that it spends, as TXID:VOUT, in the order of its inputs."""
        return tuple(each.outpoint for each in self.inputs)
