"""The seller's events. Amounts in msat or sat, as their names say; counts in ticks, times in milliseconds since 1970.

`number` is an invoice's number in its session (of a wallet invoice: in its journal), `tx_number` a growing
transaction's in its session. Feerates are in sat per 1,000 weight units.
"""

from ..journal import Event, event
from ..settlement.transaction import TxInput
from ..tariff import Tariff

# --- a meter ----------------------------------------------------------------------------------------------------


@event
class MeterAdded(Event):
    tariff: Tariff


@event
class MeterChanged(Event):
    tariff: Tariff


@event
class MeterRemoved(Event):
    pass


@event
class BoardBooted(Event):
    """From here on the meter's count is `offset` plus the register of this boot."""

    boot: str
    offset: int
    count: int


@event
class RegisterJumped(Event):
    """A register rose faster than the rating allows, and stays there: those `lost_ticks` are not counted."""

    offset: int
    count: int
    lost_ticks: int


@event
class BoardBound(Event):
    """Only the board with this id counts for the meter from here on; "": the next one that reports."""

    board: str


@event
class AllowanceBegun(Event):
    """A new period: up to the tariff's allowance is free from this count on."""

    count: int


@event
class Counted(Event):
    """A checkpoint of the count where neither money nor state moved."""

    count: int


@event
class Locked(Event):
    until: int
    buyer: str
    session: str


@event
class Unlocked(Event):
    why: str


@event
class WalletInvoiceAsked(Event):
    """An invoice for any wallet. Its payment opens a bearer's session, or feeds it."""

    number: int
    amount_msat: int


@event
class WalletInvoiceEnded(Event):
    """A wallet invoice was paid (the session that it feeds gets an InvoicePaid of its own), or can't be any more."""

    number: int


# --- a session --------------------------------------------------------------------------------------------------


@event
class SessionOpened(Event):
    """`parked`: a payment came for a meter that can't deliver now; the session only keeps its money."""

    meter: str
    buyer: str
    tariff: Tariff
    count: int
    boot: str
    register: int
    parked: bool


@event
class InvoiceAsked(Event):
    number: int
    amount_msat: int
    count: int


@event
class InvoicePaid(Event):
    """`amount_msat` is what was received, overpayment included; `pay_index` is the node's. Every payment up to
    `owned_up_to` has its owner by now (0: this one was found by its label, out of turn)."""

    number: int
    amount_msat: int
    pay_index: int
    payment_hash: str
    count: int
    owned_up_to: int


@event
class NumbersDrawn(Event):
    """Numbers of invoices up to this one may be known to the buyer; a restart draws none of them again."""

    up_to: int


@event
class PaymentUnowned(Event):
    """A payment for a label of this journal whose session nobody knows (a restored older journal, a removed meter). It
    is kept and shown, for a person to look at."""

    label: str
    amount_msat: int
    pay_index: int
    payment_hash: str
    owned_up_to: int


@event
class InvoiceDropped(Event):
    """No longer wanted. It is credited all the same if it is paid."""

    number: int
    why: str


@event
class InvoiceExpired(Event):
    """The node says that it can't be paid any more."""

    number: int


@event
class CreditReserved(Event):
    """`id` is the gate's own."""

    id: str
    amount_msat: int


@event
class CreditSpent(Event):
    id: str
    amount_msat: int


@event
class CreditReleased(Event):
    id: str


@event
class CreditBrought(Event):
    """What an earlier session of the same buyer (or of the meter's bearer) left, brought into this one."""

    source: str
    amount_msat: int


@event
class CreditTaken(Event):
    """The other half of CreditBrought, in the session that it came from."""

    target: str
    amount_msat: int


@event
class SessionSuspended(Event):
    count: int


@event
class StartCounted(Event):
    """The first reading of a session. What the board had drawn of the standby allowance before, and had not told yet,
    is not the session's."""

    count: int


@event
class DeliveryStarted(Event):
    """The first one of a session fixes the count that its charge starts from."""

    count: int


@event
class CloseAsked(Event):
    """The session is to end. Nothing more is asked for, and the board is told to stop before the charge is final."""

    reason: str


@event
class SessionClosing(Event):
    """Delivery is over and the charge final. `last_count` is the session's last count. It is beyond the meter's `count`
    where the board could not be heard, and may have gone on up to its grant."""

    reason: str
    count: int
    last_count: int
    boot: str
    register: int
    charged_msat: int


@event
class RefundOffered(Event):
    """The buyer's close has an amountless invoice, and says how much the buyer paid."""

    bolt11: str
    claimed_msat: int


@event
class RefundStarted(Event):
    """`amount_msat` is to arrive, for a fee of `maxfee_msat` at most. The seller bears `borne_msat` of the fee, a share
    of what the session earned. The rest comes out of what is owed."""

    amount_msat: int
    maxfee_msat: int
    borne_msat: int


@event
class RefundPaid(Event):
    """`amount_msat` arrived, for `fee_msat`."""

    amount_msat: int
    fee_msat: int
    payment_hash: str


@event
class RefundDisputed(Event):
    """The refund invoice is paid over another amount than this refund's: `arrived_msat`, for `fee_msat`, of
    `amount_msat` that was to. A person has to look; it is not owed again."""

    amount_msat: int
    arrived_msat: int
    fee_msat: int
    why: str


@event
class RefundFailed(Event):
    """`final`: this invoice can never be paid, so that it is not tried again."""

    why: str
    final: bool


@event
class RefundHeld(Event):
    """What a session owes waits for a person. What is under way of it is not tried again."""

    why: str


@event
class JournalReplaced(Event):
    """An older copy stands in the journal's place. Payments up to `pay_index`, the node's newest then, are no credit
    but for sessions that it knows."""

    pay_index: int


@event
class AlarmEnded(Event):
    """A person has looked at a session's alarm: "seen"; of a held refund that `amount_msat` of it is "owed", or was
    "paid"; what remains is charged. `note` is the person's own."""

    how: str
    amount_msat: int
    note: str


@event
class UnownedSeen(Event):
    """A person has looked at a payment that nobody knows the session of; `note` says what became of it."""

    label: str
    note: str


@event
class ReceiptSigned(Event):
    revision: int
    text: str
    signature: str


@event
class RemainderLapsed(Event):
    """The stated time of a bearer's remainder is over; it is the seller's."""

    amount_msat: int


# --- a session's growing transactions ---------------------------------------------------------------------------


@event
class AddressGiven(Event):
    """A growing transaction begins, to a fresh address of ours, at `feerate`."""

    tx_number: int
    address: str
    feerate: int


@event
class UpdateTaken(Event):
    """An update was checked and counts as credit: `amount_msat` is what it adds."""

    number: int
    tx_number: int
    amount_msat: int
    value_sat: int
    fee_sat: int
    weight: int
    txid: str
    vout: int
    raw: str
    inputs: list[TxInput]
    count: int


@event
class TxSent(Event):
    """The highest update is to be broadcast, and grows no more."""

    tx_number: int
    why: str


@event
class TxConflicted(Event):
    """An input was spent elsewhere: `lost_sat` of the transaction's value never reached us. 0: they did after all.
    `height` is that of the block with the other spend, 0 while it is in none."""

    tx_number: int
    lost_sat: int
    height: int
    evidence: str


@event
class TxBumped(Event):
    """A child that pays for its parent was made: `tip` is its outpoint."""

    tx_number: int
    tip: str
    value_sat: int
    fee_sat: int


@event
class TxSettled(Event):
    """As many blocks as agreed stand over what reached our address: `arrived_sat`."""

    tx_number: int
    arrived_sat: int
