"""What a core is told: RPC calls, board readings, peer messages, news from the node, and time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .messages import Invoice, Message
from .reading import Reading
from .settlement.transaction import TxInput

Fields = Mapping[str, object]
"""Named values as a caller gave them: a tariff's or a policy's, not checked yet."""
BY_SELLER = "closed by the seller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Base class of what a core is told: handle() takes one command at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick(Command):
    """Time has passed. `surely`: a time (ms since 1970) that has come for sure; None: the present one has."""

    surely: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FromPeer(Command):
    """A decoded custom message of a peer; `peer` is its node id in hex.

    The invoices of a buyer's sellers come as InvoiceReceived instead."""

    peer: str
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerConnected(Command):
    """A connection to a peer was made; `peer` is its node id in hex."""

    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLost(Command):
    """The connection to a peer was lost; `peer` is its node id in hex."""

    peer: str


# --- seller -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AddMeter(Command):
    """meter-add: adds a meter; `tariff` holds named values that are not checked yet."""

    meter: str
    tariff: Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMeter(Command):
    """meter-set: changes a meter's tariff; fields that are not named keep their values."""

    meter: str
    tariff: Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveMeter(Command):
    """meter-remove: removes a meter, which has to be in standby and without unpaid invoices."""

    meter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Command):
    """meter-report: a reading of a meter's board or device."""

    meter: str
    reading: Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class BindBoard(Command):
    """meter-bind: only the board with this id counts for the meter from here on; "": the next one that reports."""

    meter: str
    board: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateFound(Command):
    """Answers FindRate: what one unit of a currency is worth now, in msat."""

    currency: str
    msat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeWalletInvoice(Command):
    """meter-invoice: an invoice for any wallet.

    `metadata` is text whose hash the invoice holds in place of a description (LUD-06); it then is of exactly
    `amount_msat`. `deliverable`: it is refused where the meter can't deliver now. `note` is the payer's, for the
    receipt."""

    meter: str
    amount_msat: int
    metadata: str = ""
    deliverable: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskOffer(Command):
    """meter-offer: a standing offer of a meter; `amount_msat` 0 is any amount, `active` False ends one."""

    meter: str
    amount_msat: int
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferMade(Command):
    """The node has an offer of a meter; `active`: it gives invoices for it.

    All that it has are recorded before payments are followed: a payment of an unknown one is taken for another's."""

    meter: str
    amount_msat: int
    offer_id: str
    bolt12: str
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSwitched(Command):
    """The node gives invoices for an offer from now on, or no more."""

    offer_id: str
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceMade(Command):
    """Answer to MakeInvoice: the node has the unpaid invoice `bolt11` under this label."""

    label: str
    bolt11: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceSettled(Command):
    """The node received a payment: `amount_msat` arrived, overpayment included.

    `pay_index` is the node's own index of the payment. `after` is the index that was given to CLN's
    waitanyinvoice: this payment is the first one after it. None: it was found by its label. `payer_note` is what the
    payer of an offer wrote."""

    label: str
    amount_msat: int
    pay_index: int
    payment_hash: str
    after: int | None = None
    payer_note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceArriving(Command):
    """A payment of this label is being accepted, and will be settled in a moment unless something breaks."""

    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceGone(Command):
    """The node no longer takes a payment for this label (expired or deleted)."""

    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend(Command):
    """meter-spend: reserve, settle or release credit of a session under the gate's own id."""

    session: str
    id: str
    step: str
    amount_msat: int | None = None
    """None settles all that is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseSession(Command):
    """meter-close: ends a session, or drops an opening; the buyer receives `reason`."""

    session: str
    reason: str = BY_SELLER


SEEN, OWED, PAID = "seen", "owed", "paid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attend(Command):
    """meter-attend: a person has looked at a session's alarm or at an unowned payment.

    `name` is the session's id or the payment's label. `how` is "seen". Only a refund that is held
    since an older copy of the journal was put in its place takes "owed" (pay it) or "paid" (it was
    paid already) instead. `amount_msat` is how much of it is owed or was paid; None means all that
    the session owes by the state. `note` is kept in the journal."""

    name: str
    how: str
    note: str = ""
    amount_msat: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskRefund(Command):
    """meter-refund: the invoice by which a bearer gets back what is left; `invoice_msat` 0: it has no amount.

    `number` is the wallet invoice whose payment is asked back what is left of; 0: all that the session owes."""

    session: str
    bolt11: str
    invoice_msat: int
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlock(Command):
    """meter-unlock: ends the lockout of a meter before its time is over."""

    meter: str


class Claimed(StrEnum):
    """Whether a refund may be paid by a payment hash: no; yes, and it is recorded just now; or it was before.

    In the last case the node may have been asked to pay it already."""

    NO = ""
    NOW = "now"
    BEFORE = "before"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRefund(Command):
    """Whether this try of a refund may be paid by the hash of its invoice; asked before the node is. Answer: Claimed.

    `known`: the node has a pending or complete payment of this hash."""

    session: str
    bolt11: str
    attempt: int
    payment_hash: str
    known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundSettled(Command):
    """`amount_msat` arrived and `fee_msat` was paid beside it, over all parts of the payment."""

    session: str
    bolt11: str
    amount_msat: int
    fee_msat: int
    payment_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundLost(Command):
    """Nothing of this try is or will be paid. `final`: this invoice can never be paid."""

    session: str
    bolt11: str
    attempt: int
    why: str
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureMade(Command):
    """Answer to Sign: the node's signature over a receipt's text (CLN's signmessage, zbase32)."""

    session: str
    revision: int
    text: str
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressMade(Command):
    """Answer to GiveAddress: a fresh address; `feerate` in sat per 1,000 weight units."""

    session: str
    tx_number: int
    address: str
    feerate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockAdded(Command):
    """The node knows a new block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateChecked(Command):
    """Answer to CheckUpdate: the update is as agreed; `weight` in weight units."""

    session: str
    number: int
    tx_number: int
    value_sat: int
    fee_sat: int
    weight: int
    txid: str
    vout: int
    raw: str
    inputs: list[TxInput]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRefused(Command):
    """Answer to CheckUpdate: the update is not as agreed, or can't confirm; `why` is the reason."""

    session: str
    number: int
    tx_number: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TxSeen(Command):
    """Answer to LookAt: how a growing transaction stands in the mempool and on the chain.

    `sent` is whether it was looked at as one that was broadcast; only then are `known` and `refused`
    set. `known`: the mempool or a block has it. `refused` is why the node's bitcoind does not take
    it, "" where it does. `conflict` describes, with evidence, another transaction that spends its
    inputs, "" for none; `conflict_height` is the height of that one's block, 0 while none has it.
    `arrived_sat` reached our address: by this transaction, with `confirmations`, or by the
    conflicting one. `height` is the node's block height. `feerate` is today's estimate, in sat per
    1,000 weight units."""

    session: str
    tx_number: int
    sent: bool
    known: bool
    refused: str
    conflict: str
    conflict_height: int
    arrived_sat: int
    confirmations: int
    height: int
    feerate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BumpMade(Command):
    """Answer to Bump: a child was broadcast; `tip` is its output TXID:VOUT, worth `value_sat`.

    `fee_sat` is the child's own fee."""

    session: str
    tx_number: int
    tip: str
    value_sat: int
    fee_sat: int


# --- buyer ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStream(Command):
    """stream-open: opens a stream to a seller's meter.

    `session` is the new id, `seller` the node id in hex, `address` its HOST:PORT, "" where it is not
    known. `policy` holds named caps that are not checked yet."""

    session: str
    seller: str
    meter: str
    address: str
    policy: Fields = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectFailed(Command):
    """Answer to Connect: the peer can't be reached; `why` is the node's reason."""

    peer: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedInvoice:
    """A BOLT 11 invoice as the node decoded it; `expires_at` in ms, `final_cltv` in blocks."""

    bolt11: str
    payee: str
    amount_msat: int
    payment_hash: str
    expires_at: int
    final_cltv: int
    payment_secret: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceReceived(Command):
    """A seller's invoice message, with the invoice in it decoded; None where our node can't decode it: `why`."""

    peer: str
    message: Invoice
    decoded: DecodedInvoice | None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentDone(Command):
    """`sent_msat` is what left us by this hash, fees included, as the node says."""

    session: str
    number: int
    payment_hash: str
    sent_msat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentLost(Command):
    """The node says that nothing is or will be paid by this try."""

    session: str
    number: int
    attempt: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundInvoiceMade(Command):
    """Answer to MakeRefundInvoice: the amountless BOLT 11 invoice for a stream's refund."""

    session: str
    bolt11: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentKnown(Command):
    """Before we ever tried, the node had paid this hash or was paying it, for something else."""

    session: str
    number: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptChecked(Command):
    """`arrivals` is what came by the stream's refund invoices, by label (msat), as far as our node still knows."""

    session: str
    text: str
    signature: str
    verified: bool
    arrivals: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Funded(Command):
    """Inputs are reserved, `fee_sat` for any update; `change` is our script, in hex."""

    session: str
    tx_number: int
    fee_sat: int
    change: str
    inputs: list[TxInput]


@dataclass(frozen=True, slots=True, kw_only=True)
class FundsShort(Command):
    """Answer to Fund: the wallet can't fund the growing transaction; no inputs stay reserved."""

    session: str
    tx_number: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateMade(Command):
    """Answer to SignUpdate: `raw` is the signed transaction in hex.

    `number` is the number of the seller's request that it answers."""

    session: str
    number: int
    tx_number: int
    raw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateUnsigned(Command):
    """The wallet does not sign: `why` in its words."""

    session: str
    number: int
    tx_number: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseStream(Command):
    """stream-pause: stops all payments of a stream, which stays open."""

    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeStream(Command):
    """stream-resume: ends the pause of a stream and asks the seller what is to be paid."""

    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBudget(Command):
    """stream-budget: changes a stream's caps; caps that are not named keep their values."""

    session: str
    policy: Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorReading(Command):
    """The buyer's own sensor: register of its board, in the seller's ticks, said `age_ms` ago."""

    session: str
    boot: str
    register: int
    base: int = 0
    age_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUpPayment(Command):
    """stream-giveup: the node calls a payment pending and has no HTLC of it; nobody waits for it any more."""

    session: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseStream(Command):
    """`refuse_debt`: nothing more is paid for it, whatever its seller says that it owes."""

    session: str
    reason: str = "closed by the buyer"
    refuse_debt: bool = False
