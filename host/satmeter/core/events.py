"""Every kind of event, the seller's and the buyer's. Amounts in msat, counts in ticks, times in milliseconds.

Those of growing transactions stand in chain_events.py.
"""

from dataclasses import field
from typing import Any

from .chain_events import AddressGiven as AddressGiven
from .chain_events import InputsChosen as InputsChosen
from .chain_events import TxBumped as TxBumped
from .chain_events import TxConflicted as TxConflicted
from .chain_events import TxSent as TxSent
from .chain_events import TxSettled as TxSettled
from .chain_events import VersionSigned as VersionSigned
from .chain_events import VersionStrayed as VersionStrayed
from .chain_events import VersionTaken as VersionTaken
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
class RegisterJumped(Event):
    """A register rose faster than the rating allows, and stays there: those `lost` ticks are not counted."""

    offset: int = 0
    count: int = 0
    lost: int = 0


@event
class BoardBound(Event):
    """Only the board with this id counts for the meter from here on; "": the next one that reports."""

    board: str = ""


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
    """`amount` is what was received, overpayment included; `index` is the node's pay_index. `upto`: every payment up to
    this index has its owner by now (0: this one was found by its label, out of turn; -1: not said, by older versions,
    which means up to `index`)."""

    n: int = 0
    amount: int = 0
    index: int = 0
    hash: str = ""
    count: int = 0
    upto: int = -1


@event
class NumbersDrawn(Event):
    """Numbers of invoices up to this one may be known to the buyer; a restart draws none of them again."""

    upto: int = 0


@event
class PaymentUnowned(Event):
    """A payment for a label of this journal whose session nobody knows (a restored older journal, a removed meter). It
    is kept and shown, for a person to look at."""

    label: str = ""
    amount: int = 0
    index: int = 0
    hash: str = ""
    upto: int = -1


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
class StartCounted(Event):
    """The first reading of a session: what the board had drawn of the standby allowance before, and had not yet told,
    is not the session's."""

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
    """`amount` is to arrive, for a fee of `maxfee` at most. Of the fee the seller bears `borne`, a share of what the
    session earned; the rest comes out of what is owed. -1: not said, by older versions, where the seller bore it
    all."""

    amount: int = 0
    maxfee: int = -1
    borne: int = -1


@event
class RefundPaid(Event):
    """`amount` arrived, for `fee`."""

    amount: int = 0
    fee: int = 0
    hash: str = ""


@event
class RefundDisputed(Event):
    """The refund invoice is paid over another amount than this refund's: `arrived`, for `fee`, of `amount` that was
    to. A person has to look; it is not owed again."""

    amount: int = 0
    arrived: int = 0
    fee: int = 0
    why: str = ""


@event
class JournalReplaced(Event):
    """An older copy stands in the journal's place. Payments up to `index`, the node's newest then, are no credit but
    for sessions that it knows."""

    index: int = 0


@event
class RefundHeld(Event):
    """What a session owes waits for a person; what is under way of it is not tried again."""

    why: str = ""


@event
class AlarmEnded(Event):
    """A person has looked at a session's alarm: "seen"; of a held refund that `amount` of it is "owed", or was "paid";
    what remains is charged. `note` is the person's own."""

    how: str = ""
    amount: int = 0
    note: str = ""


@event
class UnownedSeen(Event):
    """A person has looked at a payment that nobody knows the session of; `note` says what became of it."""

    label: str = ""
    note: str = ""


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
class CreditCarried(Event):
    """The seller's terms say that this stream begins with credit of an earlier one, whether they are agreed to or
    not."""

    amount: int = 0


@event
class PaymentStarted(Event):
    """Recorded before xpay is called: from here on amount and the highest fee count as spent."""

    n: int = 0
    amount: int = 0
    maxfee: int = 0
    hash: str = ""
    ticks: int = 0


@event
class PaymentSettled(Event):
    n: int = 0
    sent: int = 0


@event
class PaymentFailed(Event):
    n: int = 0
    why: str = ""


@event
class PaymentGivenUp(Event):
    """A person no longer waits for a payment that its node calls pending. It counts as spent that day and in its
    stream's budget, and in no other day's cap; where it settles while its stream is known, that is recorded."""

    n: int = 0


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
    """In arrears, `most` is all that the stream may ever pay, what was paid before included (msat), and `most_ticks`
    the highest count that it pays for; -1: no such bound (prepaid, where nothing is paid after a close)."""

    reason: str = ""
    most: int = -1
    most_ticks: int = -1


@event
class DebtRefused(Event):
    """The user pays nothing more for a stream that is closing or closed, whatever its seller says that it owes."""


@event
class StreamClosed(Event):
    """`verified` tells whether the receipt's signature is the seller's; `code` is the number of the error, if any.
    `arrivals` is what came by this stream's refund invoices, by label, `carried_on` what of the receipt's refunds is
    explained by credit in a later stream to the same seller (msat)."""

    code: int = 0
    revision: int = 0
    text: str = ""
    signature: str = ""
    verified: bool = False
    why: str = ""
    arrivals: dict[str, int] = field(default_factory=dict)
    carried_on: int = 0
