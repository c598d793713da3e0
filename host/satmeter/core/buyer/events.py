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
    """The user opens a stream to a seller's meter; `address` is HOST:PORT, "" where none was given."""

    seller: str
    meter: str
    address: str
    policy: Policy


@event
class TermsAgreed(Event):
    """The buyer agrees to the seller's terms; `carried_msat` is credit of an earlier session."""

    tariff: Tariff
    carried_msat: int


@event
class CreditCarried(Event):
    """The seller states, in terms or a receipt, that this stream began with credit of an earlier one.

    It is recorded whether the terms are agreed to or not. `amount_msat` is all of that credit, not only
    what is new."""

    amount_msat: int


@event
class PaymentStarted(Event):
    """A payment, recorded before the node is asked to pay it.

    From here on its amount and its highest fee count as spent. `ticks` is the use of the whole session
    that the seller states."""

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
    """A payment in flight has failed: nothing of it was paid, and it no longer counts as spent."""

    number: int
    why: str


@event
class PaymentGivenUp(Event):
    """The user no longer waits for a payment that the node reports as pending.

    It counts as spent on that day and in its stream's budget, and in no other day's cap. If it settles
    while its stream is still in memory, PaymentSettled follows."""

    number: int


@event
class StreamRecalled(Event):
    """A stream that memory no longer had, as it was then: its seller has news of it."""

    state: BuyerSession


@event
class SensorBooted(Event):
    """The buyer's own sensor counts `offset` plus the register of this boot, in ticks.

    The stream began at `start` of that count. None: no terms are agreed yet, or sensor and plugin both
    restarted, so that it is not known."""

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
    """A stream was paused: nothing is paid, and the buyer's own relay is off, until it is resumed."""


@event
class StreamResumed(Event):
    """The user resumed a paused stream: its invoices are paid again."""


@event
class BudgetChanged(Event):
    """The user changed caps of a stream; `policy` holds all of its caps, changed or not."""

    policy: Policy


@event
class RefundInvoiced(Event):
    """The buyer's node has made the amountless invoice by which the seller can pay a refund."""

    bolt11: str


@event
class StreamClosing(Event):
    """A stream begins to close; in arrears this bounds what it may still pay.

    `most_msat` is all that the stream may ever pay, what was paid before included; `most_ticks` is the
    highest count that it pays for. Both are None in prepaid, where nothing is paid after a close.
    `most_ticks` alone is None where the buyer's own sensor is not heard."""

    reason: str
    most_msat: int | None
    most_ticks: int | None


@event
class SensorHeard(Event):
    """The own sensor is heard for the first time since a close before which it was not: it bounds what is paid.

    `most_ticks` is the highest count that it agrees with."""

    most_ticks: int


@event
class CopyReplaced(Event):
    """The journal is an older copy: what was paid for this stream since the copy was made is not in it."""


@event
class DebtRefused(Event):
    """The user pays nothing more for a stream that is closing or closed, whatever its seller says that it owes."""


@event
class StreamClosed(Event):
    """A stream has ended without a receipt, or a receipt of its seller was judged (also a newer one).

    `verified`: the receipt's signature is the seller's. `code` is the number of the error that ended
    it, 0 for none. `arrivals_msat` is what came by this stream's refund invoices, by label.
    `carried_on_msat` is what of the refunds in the receipt is explained by credit in a later stream to
    the same seller."""

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
    """An update of a growing transaction, recorded before the wallet is asked to sign it.

    From here on the seller can take `value_sat` by that transaction. `amount_msat` and `fee_msat` are
    what this update adds. `ticks` is the use of the whole session that the seller states."""

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
