"""The buyer's events. Amounts in msat or sat, as their names say; counts in ticks, times in milliseconds since 1970.

`number` is an invoice's number in its stream, `tx_number` a growing transaction's. Feerates are in sat per 1,000 weight
units.
"""

from ..journal import Event, event
from ..settlement.transaction import TxInput
from ..tariff import Tariff
from .policy import Policy
from .session import BuyerSession, Evidence


@event
class StreamOpened(Event):
    seller: str
    meter: str
    address: str
    policy: Policy


@event
class TermsAgreed(Event):
    tariff: Tariff
    carried_msat: int


@event
class CreditCarried(Event):
    """The seller's terms say that this stream begins with credit of an earlier one, whether they are agreed to or
    not."""

    amount_msat: int


@event
class PaymentStarted(Event):
    """Recorded before the node is asked to pay: from here on amount and the highest fee count as spent. `ticks` is the
    use that the seller states."""

    number: int
    amount_msat: int
    maxfee_msat: int
    payment_hash: str
    ticks: int


@event
class PaymentSettled(Event):
    """`sent_msat` left us, the fee included."""

    number: int
    sent_msat: int


@event
class PaymentFailed(Event):
    number: int
    why: str


@event
class PaymentGivenUp(Event):
    """A person no longer waits for a payment that its node calls pending. It counts as spent that day and in its
    stream's budget, and in no other day's cap. Where it settles while its stream is known, that is recorded."""

    number: int


@event
class StreamRecalled(Event):
    """A stream that memory no longer had, as it was then: its seller has news of it."""

    state: BuyerSession


@event
class SensorBooted(Event):
    """The buyer's own sensor counts `offset` plus the register of this boot. The stream began at its count `start`,
    None where no terms are agreed yet."""

    boot: str
    offset: int
    start: int | None


@event
class InvoiceRefused(Event):
    """What was refused and why, with the evidence. `number` is 0 where it is about no invoice."""

    number: int
    why: str
    evidence: Evidence


@event
class StreamPaused(Event):
    pass


@event
class StreamResumed(Event):
    pass


@event
class BudgetChanged(Event):
    policy: Policy


@event
class RefundInvoiced(Event):
    bolt11: str


@event
class StreamClosing(Event):
    """In arrears, `most_msat` is all that the stream may ever pay, what was paid before included, and `most_ticks` the
    highest count that it pays for. None: no such bound (prepaid, where nothing is paid after a close)."""

    reason: str
    most_msat: int | None
    most_ticks: int | None


@event
class DebtRefused(Event):
    """The user pays nothing more for a stream that is closing or closed, whatever its seller says that it owes."""


@event
class StreamClosed(Event):
    """`verified` tells whether the receipt's signature is the seller's; `code` is the number of the error, if any.
    `arrivals_msat` is what came by this stream's refund invoices, by label, `carried_on_msat` what of the receipt's
    refunds is explained by credit in a later stream to the same seller."""

    code: int
    revision: int
    text: str
    signature: str
    verified: bool
    why: str
    arrivals_msat: dict[str, int]
    carried_on_msat: int


# --- growing transactions


@event
class InputsChosen(Event):
    """Inputs of ours for a growing transaction; `change` is the script of our change output, in hex."""

    tx_number: int
    address: str
    feerate: int
    fee_sat: int
    maximum_sat: int
    change: str
    inputs: list[TxInput]


@event
class UpdateSigned(Event):
    """Recorded before the wallet is asked to sign: from here on `value_sat` of the transaction can be taken.
    `amount_msat` and `fee_msat` are what this update adds."""

    number: int
    tx_number: int
    value_sat: int
    amount_msat: int
    fee_msat: int
    ticks: int


@event
class UpdateStrayed(Event):
    """The seller does not count this update. It holds it all the same, so that its amount stays spent."""

    number: int
