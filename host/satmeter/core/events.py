"""Every kind of event, the seller's and the buyer's. Amounts in msat, counts in ticks, times in milliseconds."""

from dataclasses import field
from typing import Any

from .journal import Event, event

# --- a seller's meter -------------------------------------------------------------------------------------------


@event
class MeterAdded(Event):
    tariff: dict[str, Any] = field(default_factory=dict)


@event
class MeterChanged(Event):
    tariff: dict[str, Any] = field(default_factory=dict)


@event
class MeterRemoved(Event):
    pass


@event
class BoardBooted(Event):
    """From here on the meter's count is `offset` plus the register of this boot."""

    boot: str = ""
    offset: int = 0
    count: int = 0


@event
class AllowanceBegun(Event):
    """A new period: up to the tariff's allowance is free from this count on."""

    count: int = 0


@event
class Counted(Event):
    """A checkpoint of the count where neither money nor state moved."""

    count: int = 0


@event
class Locked(Event):
    until: int = 0
    buyer: str = ""
    session: str = ""


@event
class Unlocked(Event):
    why: str = ""


@event
class InvoiceOffered(Event):
    """An invoice for any wallet; paying it opens (or feeds) a bearer session."""

    n: int = 0
    amount: int = 0


@event
class OfferEnded(Event):
    """An offered invoice was paid (the session that it feeds gets an InvoicePaid of its own), or can't be any more."""

    n: int = 0


# --- a seller's session -----------------------------------------------------------------------------------------


@event
class SessionOpened(Event):
    """`parked`: a payment came for a meter that can't deliver now; the session only keeps its money."""

    meter: str = ""
    buyer: str = ""
    tariff: dict[str, Any] = field(default_factory=dict)
    count: int = 0
    boot: str = ""
    register: int = 0
    parked: bool = False


@event
class InvoiceAsked(Event):
    n: int = 0
    amount: int = 0
    count: int = 0


@event
class InvoicePaid(Event):
    """`amount` is what was received, overpayment included; `index` is the node's pay_index."""

    n: int = 0
    amount: int = 0
    index: int = 0
    hash: str = ""
    count: int = 0


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


@event
class InvoiceDropped(Event):
    """No longer wanted; credited all the same if it is paid."""

    n: int = 0
    why: str = ""


@event
class InvoiceExpired(Event):
    """The node says that it can't be paid any more."""

    n: int = 0


@event
class CreditReserved(Event):
    id: str = ""
    amount: int = 0


@event
class CreditSpent(Event):
    id: str = ""
    amount: int = 0


@event
class CreditReleased(Event):
    id: str = ""


@event
class CreditBrought(Event):
    """What an earlier session of the same buyer (or of the meter's bearer) left, brought into this one."""

    source: str = ""
    amount: int = 0


@event
class CreditTaken(Event):
    """The other half of CreditBrought, in the session that it came from."""

    target: str = ""
    amount: int = 0


@event
class SessionSuspended(Event):
    count: int = 0


@event
class DeliveryStarted(Event):
    """The first one of a session fixes the count that its charge starts from."""

    count: int = 0


@event
class CloseAsked(Event):
    """The session is to end: nothing more is asked for, and the board is told to stop before the charge is final."""

    reason: str = ""


@event
class SessionClosing(Event):
    """Delivery is over and the charge final. `until`: the session's last count, which is beyond the meter's `count`
    where the board could not be heard, and may have gone on up to its grant."""

    reason: str = ""
    count: int = 0
    until: int = 0
    boot: str = ""
    register: int = 0
    charged: int = 0


@event
class RefundOffered(Event):
    bolt11: str = ""
    claimed: int = 0


@event
class RefundStarted(Event):
    amount: int = 0


@event
class RefundPaid(Event):
    amount: int = 0
    fee: int = 0


@event
class RefundFailed(Event):
    """`final`: this invoice can never be paid, so it is let go of."""

    why: str = ""
    final: bool = False


@event
class ReceiptSigned(Event):
    revision: int = 0
    text: str = ""
    signature: str = ""


@event
class RemainderLapsed(Event):
    """The stated time of a bearer's remainder is over; it is the seller's."""

    amount: int = 0


# --- a buyer's stream -------------------------------------------------------------------------------------------


@event
class StreamOpened(Event):
    seller: str = ""
    meter: str = ""
    address: str = ""
    policy: dict[str, Any] = field(default_factory=dict)


@event
class TermsAgreed(Event):
    tariff: dict[str, Any] = field(default_factory=dict)
    carried: int = 0


@event
class PaymentStarted(Event):
    """Recorded before xpay is called: from here on amount and the highest fee count as spent."""

    n: int = 0
    amount: int = 0
    maxfee: int = 0
    hash: str = ""
    ticks: int = 0


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


@event
class PaymentSettled(Event):
    n: int = 0
    sent: int = 0


@event
class PaymentFailed(Event):
    n: int = 0
    why: str = ""


@event
class StreamRecalled(Event):
    """A stream that memory had let go, as it was then: its seller has news of it."""

    state: dict[str, Any] = field(default_factory=dict)


@event
class SensorBooted(Event):
    """The buyer's own sensor counts `offset` plus the register of this boot; the stream began at its count `start`,
    None where no terms are agreed yet."""

    boot: str = ""
    offset: int = 0
    start: int | None = None


@event
class InvoiceRefused(Event):
    """What was refused and why, with the evidence."""

    n: int = 0
    why: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)


@event
class StreamPaused(Event):
    pass


@event
class StreamResumed(Event):
    pass


@event
class BudgetChanged(Event):
    policy: dict[str, Any] = field(default_factory=dict)


@event
class RefundInvoiced(Event):
    bolt11: str = ""


@event
class StreamClosing(Event):
    reason: str = ""


@event
class StreamClosed(Event):
    """`verified` tells whether the receipt's signature is the seller's; `code` is the number of the error, if any."""

    code: int = 0
    revision: int = 0
    text: str = ""
    signature: str = ""
    verified: bool = False
    why: str = ""
