"""What a core wants done. Each may be repeated without harm: see `plugin/meter.py` and `plugin/stream.py`."""

from collections.abc import Mapping
from dataclasses import dataclass

from .commands import DecodedInvoice
from .messages import Message
from .settlement.transaction import SignedTransaction, TxInput


@dataclass(frozen=True, slots=True)
class Effect:
    pass


@dataclass(frozen=True, slots=True)
class Send(Effect):
    """A custom message to a connected peer."""

    peer: str
    message: Message


@dataclass(frozen=True, slots=True)
class MakeInvoice(Effect):
    """Make the invoice of this label, or find it where it exists; answered by InvoiceMade, Settled or Gone."""

    label: str
    amount_msat: int
    description: str
    expiry_s: int
    hurry: bool = True
    """Whether a payment waits for it; else it may come when the node has less to do."""
    renew: bool = False
    """Whether an expired one of this label makes room for a new one."""


@dataclass(frozen=True, slots=True)
class CancelInvoice(Effect):
    """Delete an unpaid invoice that is no longer wanted; answered by InvoiceGone, or Settled if it was paid."""

    label: str


@dataclass(frozen=True, slots=True)
class PayRefund(Effect):
    """Pay an amountless invoice of the buyer, for a fee of maxfee_msat at most. `fresh`: it is the first try, so that
    an outcome which the node knows already is another payment's; else that outcome stands."""

    session: str
    bolt11: str
    amount_msat: int
    maxfee_msat: int
    fresh: bool


@dataclass(frozen=True, slots=True)
class Sign(Effect):
    """Sign a receipt with the node's key; answered by SignatureMade."""

    session: str
    revision: int
    text: str


@dataclass(frozen=True, slots=True)
class Connect(Effect):
    peer: str
    address: str


@dataclass(frozen=True, slots=True)
class Pay(Effect):
    """Pay, unless the node knows the hash already; answered by PaymentDone or PaymentLost. `fresh`: the journal says
    that this is the first try, so that there is nothing for the node to know. Without an invoice it is only found out
    what became of it; its seller asks for it again where nothing did."""

    session: str
    seller: str
    number: int
    payment_hash: str
    maxfee_msat: int
    maxdelay: int
    invoice: DecodedInvoice | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class MakeRefundInvoice(Effect):
    """Make (or find) the amountless invoice by which a refund can reach us; answered by RefundInvoiceMade."""

    label: str
    session: str


@dataclass(frozen=True, slots=True)
class CheckReceipt(Effect):
    """Check a receipt's signature against the seller's node id, and look up what arrived by the refund invoices of
    these labels; answered by ReceiptChecked."""

    session: str
    seller: str
    text: str
    signature: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GiveAddress(Effect):
    """Seller: make a fresh address for growing transaction k, and say at which feerate; answered by AddressMade."""

    session: str
    tx_number: int


@dataclass(frozen=True, slots=True)
class CheckUpdate(Effect):
    """Seller: check a update against what is agreed; answered by UpdateChecked or UpdateRefused. `inputs` are those of
    the update before, none for the first; `heights` where the buyer says that they are confirmed."""

    session: str
    number: int
    tx_number: int
    raw: str
    heights: str
    address: str
    value_sat: int
    feerate: int
    inputs: list[TxInput]


@dataclass(frozen=True, slots=True)
class Broadcast(Effect):
    """Seller: broadcast the highest update; LookAt finds out what comes of it."""

    session: str
    tx_number: int
    raw: str
    inputs: list[TxInput]


@dataclass(frozen=True, slots=True)
class LookAt(Effect):
    """Seller: find out how a growing transaction stands on the chain; answered by TxSeen."""

    session: str
    tx_number: int
    raw: str
    txid: str
    vout: int
    address: str
    outpoints: tuple[str, ...]
    sent: bool
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Bump(Effect):
    """Seller: pay for a stuck transaction by a child (CPFP) that spends `tip` (`value_sat`); answered by BumpMade."""

    session: str
    tx_number: int
    tip: str
    value_sat: int
    weight: int
    fee_sat: int
    feerate: int
    budget_sat: int


@dataclass(frozen=True, slots=True)
class Fund(Effect):
    """Buyer: find inputs that cover `maximum_sat` to an address and the fee, and reserve them; answered by Funded or
    FundsShort."""

    session: str
    tx_number: int
    address: str
    maximum_sat: int
    feerate: int


@dataclass(frozen=True, slots=True)
class SignUpdate(Effect):
    """Buyer: sign the update worth `value_sat`; the same asked again is the same signed again. Answered by
    UpdateMade, or UpdateUnsigned."""

    session: str
    number: int
    transaction: SignedTransaction
    value_sat: int


@dataclass(frozen=True, slots=True)
class Reserve(Effect):
    """Buyer: keep the wallet from spending these inputs for at least so many blocks from now; 0 frees them."""

    inputs: tuple[str, ...]
    blocks: int


@dataclass(frozen=True, slots=True)
class Notify(Effect):
    topic: str
    payload: Mapping[str, str | int]
