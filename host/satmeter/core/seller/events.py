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
    """A meter was added with this tariff; its name is in the subject, meter/NAME."""

    tariff: Tariff


@event
class MeterChanged(Event):
    """The meter has a new tariff; open sessions keep the tariff that they began with."""

    tariff: Tariff


@event
class MeterRemoved(Event):
    """A meter in standby was removed; the events of its sessions stay in the journal."""


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
    """The meter and a buyer are locked out until `until`, because a session was not paid.

    `buyer` is that buyer's node id, `session` the id of the session or opening."""

    until: int
    buyer: str
    session: str


@event
class Unlocked(Event):
    """The lockout of the meter and its buyer is over; `why` is the reason."""

    why: str


@event
class WalletInvoiceAsked(Event):
    """An invoice for any wallet. Its payment opens a bearer's session, or feeds it. `note` is the payer's own."""

    number: int
    amount_msat: int
    note: str


@event
class WalletInvoiceEnded(Event):
    """A wallet invoice was paid (the session that it feeds gets an InvoicePaid of its own), or can't be any more."""

    number: int


@event
class OfferAdded(Event):
    """The node made an offer (BOLT 12) of the meter; `amount_msat` 0: any amount."""

    offer_id: str
    bolt12: str
    amount_msat: int


@event
class OfferWanted(Event):
    """Its operator wants an offer to be answered, or no more."""

    offer_id: str
    wanted: bool


@event
class OfferPaid(Event):
    """An invoice of an offer was paid; `number` is its number among the wallet invoices."""

    offer_id: str
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
    """An invoice, or on-chain an update, is asked for; `count` is the meter's count then."""

    number: int
    amount_msat: int
    count: int


@event
class InvoicePaid(Event):
    """An invoice of the session was paid: `amount_msat` arrived, overpayment included.

    `pay_index` is the node's own index of the payment. Every payment up to `owned_up_to` has its
    owner by now; 0 where that is not known, as for an invoice that was found by its label."""

    number: int
    amount_msat: int
    pay_index: int
    payment_hash: str
    count: int
    owned_up_to: int


@event
class PayerTold(Event):
    """Who paid wallet invoice `number`: the key of an offer's payer ("" for another's), and a note."""

    number: int
    key: str
    note: str


@event
class NumbersDrawn(Event):
    """Numbers of invoices up to this one may be known to the buyer; a restart draws none of them again."""

    up_to: int


@event
class PaymentUnowned(Event):
    """A payment came for a label of this journal whose session or meter is not known.

    That happens after an older journal was restored, or a meter was removed. The payment is kept
    and shown until a person has looked at it. Payments of a lost part of the journal all have the
    same text as `label`."""

    label: str
    amount_msat: int
    pay_index: int
    payment_hash: str
    owned_up_to: int


@event
class InvoiceDropped(Event):
    """An invoice is no longer wanted. It is credited all the same if it is paid."""

    number: int
    why: str


@event
class InvoiceExpired(Event):
    """The node says that an invoice can't be paid any more."""

    number: int


@event
class CreditReserved(Event):
    """`id` is the gate's own."""

    id: str
    amount_msat: int


@event
class CreditSpent(Event):
    """A gate captured `amount_msat` of its reservation `id`; the rest is credit again."""

    id: str
    amount_msat: int


@event
class CreditReleased(Event):
    """The reservation `id` of a gate ended without payment; its credit can be used again."""

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
    """The credit is used up and delivery stops; `count` is the meter's count then."""

    count: int


@event
class StartCounted(Event):
    """The first reading of a session fixes the count that its charge starts from.

    What the board had delivered of the standby allowance before, and had not reported yet, is not
    charged to the session."""

    count: int


@event
class DeliveryStarted(Event):
    """Delivery starts. The first one of a session fixes the count that its charge starts from."""

    count: int


@event
class CloseAsked(Event):
    """The session is to end. Nothing more is asked for, and the board is told to stop before the charge is final."""

    reason: str


@event
class SessionClosing(Event):
    """Delivery is over, and the charge is final unless a person changes it later.

    `count` is the meter's count. `last_count` is 0, except where the board of a prepaid session was
    not heard at the end: then it is the highest count that was granted, up to which the board may
    have delivered. `register` is the board's last known register, in `boot`."""

    reason: str
    count: int
    last_count: int
    boot: str
    register: int
    charged_msat: int


@event
class RefundOffered(Event):
    """A buyer's close has an amountless invoice, and says how much the buyer paid; or a bearer gave an invoice.

    `invoice_msat` is what the invoice asks for, 0 for one without an amount. A bearer claims nothing. `number` is the
    wallet invoice of a bearer whose payment is given back what is left of, 0 for all that is owed."""

    bolt11: str
    invoice_msat: int
    number: int
    claimed_msat: int


@event
class RefundStarted(Event):
    """A refund is to be paid: `amount_msat` is to arrive, for `maxfee_msat` in fees at most.

    The seller bears up to `borne_msat` of the fee, a share of what the session earned. The rest of
    the fee is taken from what is owed."""

    amount_msat: int
    maxfee_msat: int
    borne_msat: int


@event
class RefundClaimed(Event):
    """The payment hash of the invoice by which a refund is to be paid: from now on this refund's, and no other's."""

    payment_hash: str


@event
class RefundPaid(Event):
    """`amount_msat` arrived, for `fee_msat`."""

    amount_msat: int
    fee_msat: int
    payment_hash: str


@event
class RefundDisputed(Event):
    """The refund invoice was paid with another amount than the refund's, or for too high a fee.

    `arrived_msat` arrived for `fee_msat`; `amount_msat` was to arrive. A person has to look at it.
    The difference is not owed again."""

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
    """An older copy of the journal was put in its place.

    `pay_index` is the node's newest one at that time. Payments up to it are credited only to
    sessions that the copy has."""

    pay_index: int


@event
class AlarmEnded(Event):
    """The alarm of a session is over.

    `how` is "seen": a person has looked at it, or a held refund owes nothing. For a held refund a
    person can state "owed" or "paid": `amount_msat` of it is owed, or was paid. What then remains
    of the received amount is charged. `note` is the person's text."""

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
    """The node signed a revision of the receipt; `text` is its canonical JSON."""

    revision: int
    text: str
    signature: str


@event
class RemainderLapsed(Event):
    """What was owed is the seller's now: a bearer's remainder after its time, or any buyer's dust."""

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
    """Another transaction spends an input: `lost_sat` of this one's value did not reach us.

    `lost_sat` is 0 where the whole value did reach us after all. `height` is the height of the
    block with the other transaction, 0 while no block has it."""

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
