"""What a core wants done. Each may be repeated without harm: see `plugin/meter.py` and `plugin/stream.py`."""

from collections.abc import Mapping
from dataclasses import dataclass

from .commands import DecodedInvoice
from .messages import Message
from .settlement.transaction import SignedTransaction, TxInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Base class of what a core wants done once the events of its step are committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Send(Effect):
    """A custom message to a connected peer."""

    peer: str
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeInvoice(Effect):
    """Make the invoice of this label, or find it: answered by InvoiceMade, InvoiceSettled or InvoiceGone."""

    label: str
    amount_msat: int
    description: str
    expiry_s: int
    hurry: bool = True
    """Whether a payment waits for it; else it may come when the node has less to do."""
    renew: bool = False
    """Whether an expired one of this label makes room for a new one."""
    metadata: str = ""
    """Text whose hash it holds in place of the description; known to memory only: where a crash comes before the
    invoice is made, nobody has been given it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeOffer(Effect):
    """Make the offer of this label, or find it where it exists; answered by OfferMade. `amount_msat` 0: any amount."""

    label: str
    meter: str
    amount_msat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchOffer(Effect):
    """Have the node give invoices for an offer, or not; answered by OfferSwitched."""

    offer_id: str
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FindRate(Effect):
    """Ask the node what a currency is worth; answered by RateFound, or not at all where it does not know."""

    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelInvoice(Effect):
    """Delete an unpaid invoice that is no longer wanted: answered by InvoiceGone, or InvoiceSettled if it was paid."""

    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PayRefund(Effect):
    """Seller: pays a refund's invoice, once its hash is claimed (ClaimRefund); answer: RefundSettled or RefundLost.

    `amount_msat` is to arrive, for a routing fee of `maxfee_msat` at most. An outcome that the node
    already knows is the answer. `attempt` counts the tries of the session's refunds: the answer repeats it, and ends no
    other try."""

    session: str
    bolt11: str
    attempt: int
    amount_msat: int
    maxfee_msat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign(Effect):
    """Sign a receipt with the node's key; answered by SignatureMade."""

    session: str
    revision: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect(Effect):
    """Buyer: connects to a peer unless it is connected; answer: ConnectFailed, or none.

    `address` is HOST:PORT, "" where only the node id is known."""

    peer: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pay(Effect):
    """Buyer: pays an invoice; answer: PaymentDone, PaymentLost or PaymentKnown.

    `fresh`: by the journal this is the first try, so a payment that the node knows under this hash
    is another one (PaymentKnown). Without `invoice`, only the outcome of an earlier try is looked
    up; if nothing was paid, the seller asks again. `maxdelay` is in blocks. `attempt` counts the stream's payments: the
    answer repeats it, and ends no other one."""

    session: str
    seller: str
    number: int
    attempt: int
    payment_hash: str
    maxfee_msat: int
    maxdelay: int
    invoice: DecodedInvoice | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeRefundInvoice(Effect):
    """Make (or find) the amountless invoice by which a refund can reach us; answered by RefundInvoiceMade."""

    label: str
    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReceipt(Effect):
    """Buyer: checks a receipt's signature against the seller's node id; answer: ReceiptChecked.

    If the signature is valid, the node also looks up what arrived by the refund invoices with these
    labels."""

    session: str
    seller: str
    text: str
    signature: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveAddress(Effect):
    """Seller: make a fresh address for growing transaction `tx_number`, at a feerate; answered by AddressMade."""

    session: str
    tx_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckUpdate(Effect):
    """Seller: checks an update against what is agreed; answer: UpdateChecked or UpdateRefused.

    The update has to pay `value_sat` to `address`, at `feerate` (sat per 1,000 weight units).
    `inputs` are those of the update before, [] for the first one. `heights` are the heights of the
    blocks of its inputs as the buyer states them, separated by commas; used for the first one."""

    session: str
    number: int
    tx_number: int
    raw: str
    heights: str
    address: str
    value_sat: int
    feerate: int
    inputs: list[TxInput]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broadcast(Effect):
    """Seller: broadcast the highest update; LookAt finds out what comes of it."""

    session: str
    tx_number: int
    raw: str
    inputs: list[TxInput]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAt(Effect):
    """Seller: find out how a growing transaction stands on the chain; answered by TxSeen.

    What spends its inputs instead is looked for in block `conflict_at` (0: not known), and in the newest `blocks`."""

    session: str
    tx_number: int
    raw: str
    txid: str
    vout: int
    address: str
    outpoints: tuple[str, ...]
    sent: bool
    tip: str = ""
    conflict_at: int = 0
    blocks: int = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Bump(Effect):
    """Seller: pay for a stuck transaction by a child (CPFP) that spends `tip` (`value_sat`).

    Answered by BumpMade; not at all where there is no child."""

    session: str
    tx_number: int
    tip: str
    value_sat: int
    weight: int
    fee_sat: int
    feerate: int
    budget_sat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fund(Effect):
    """Buyer: finds and reserves inputs for a growing transaction; answer: Funded or FundsShort.

    The inputs cover `maximum_sat` to `address`, the fee at `feerate` (sat per 1,000 weight units),
    and a change output that is not dust."""

    session: str
    tx_number: int
    address: str
    maximum_sat: int
    feerate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUpdate(Effect):
    """Buyer: signs the update worth `value_sat`; answer: UpdateMade or UpdateUnsigned.

    Repeated for the same update, it signs the same transaction again."""

    session: str
    number: int
    transaction: SignedTransaction
    value_sat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve(Effect):
    """Buyer: keep the wallet from spending these inputs for at least so many blocks from now; 0 frees them."""

    inputs: tuple[str, ...]
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify(Effect):
    """Sends a notification of the plugin under `topic`, for example meter_state or stream_low."""

    topic: str
    payload: Mapping[str, str | int]
