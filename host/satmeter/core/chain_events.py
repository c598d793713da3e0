"""The events of growing transactions, the seller's and the buyer's.

`k` is a transaction's number in its session, `n` that of the request that a version answers. Values and fees in sat,
amounts in msat, feerates in sat per 1,000 weight units.
"""

from dataclasses import field

from .journal import Event, event

# --- a seller's session


@event
class AddressGiven(Event):
    """A growing transaction begins: number `k` of the session, to a fresh address of ours, at `feerate` (sat per 1,000
    weight units)."""

    k: int = 0
    address: str = ""
    feerate: int = 0


@event
class VersionTaken(Event):
    """A version was checked and counts as credit. `value`, `fee` in sat, `amount` in msat what it adds; `inputs` are
    [outpoint, sat, script] each."""

    n: int = 0
    k: int = 0
    amount: int = 0
    value: int = 0
    fee: int = 0
    weight: int = 0
    txid: str = ""
    vout: int = 0
    raw: str = ""
    inputs: list[list[str | int]] = field(default_factory=list)
    count: int = 0


@event
class TxSent(Event):
    """The highest version is to be broadcast, and grows no more."""

    k: int = 0
    why: str = ""


@event
class TxConflicted(Event):
    """An input was spent elsewhere: `lost` sat of the transaction's value never reached us. 0: they did after all.
    `height` is that of the block with the other spend, 0 while it is in none."""

    k: int = 0
    lost: int = 0
    height: int = 0
    evidence: str = ""


@event
class TxBumped(Event):
    """A child that pays for its parent was made: its outpoint, value and fee in sat."""

    k: int = 0
    tip: str = ""
    value: int = 0
    fee: int = 0


@event
class TxSettled(Event):
    """As many blocks as agreed stand over what reached our address: `arrived` sat."""

    k: int = 0
    arrived: int = 0


# --- a buyer's stream


@event
class InputsChosen(Event):
    """Inputs of ours for growing transaction `k`: [outpoint, sat, script, height] each. Fee, maximum in sat; `change`
    is the script of our change output."""

    k: int = 0
    address: str = ""
    feerate: int = 0
    fee: int = 0
    maximum: int = 0
    change: str = ""
    inputs: list[list[str | int]] = field(default_factory=list)


@event
class VersionSigned(Event):
    """Recorded before the wallet is asked to sign: from here on `value` sat of transaction `k` can be taken. `amount`
    and `fee` in msat are what this version adds."""

    n: int = 0
    k: int = 0
    value: int = 0
    amount: int = 0
    fee: int = 0
    ticks: int = 0


@event
class VersionStrayed(Event):
    """The seller does not count this version; it holds it all the same, so its amount stays spent."""

    n: int = 0
