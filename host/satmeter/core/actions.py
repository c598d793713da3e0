"""What a core wants done. Each may be repeated without harm: see `cln/meter.py` and `cln/stream.py`."""

from dataclasses import dataclass, field
from typing import Any

from .growing import Signed
from .inputs import Inspected
from .journal import Event
from .messages import Message


@dataclass(frozen=True, slots=True)
class Action:
    pass


@dataclass(frozen=True, slots=True)
class Send(Action):
    """A custom message to a connected peer."""

    peer: str
    message: Message


@dataclass(frozen=True, slots=True)
class MakeInvoice(Action):
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
class CancelInvoice(Action):
    """Delete an unpaid invoice that is no longer wanted; answered by InvoiceGone, or Settled if it was paid."""

    label: str


@dataclass(frozen=True, slots=True)
class PayRefund(Action):
    """Pay an amountless invoice of the buyer, for a fee of maxfee_msat at most. `fresh`: it is the first try, so that
    an outcome which the node knows already is another payment's; else that outcome stands."""

    session: str
    bolt11: str
    amount_msat: int
    maxfee_msat: int
    fresh: bool


@dataclass(frozen=True, slots=True)
class Sign(Action):
    """Sign a receipt with the node's key; answered by Signed."""

    session: str
    revision: int
    text: str


@dataclass(frozen=True, slots=True)
class Connect(Action):
    peer: str
    address: str


@dataclass(frozen=True, slots=True)
class Inspect(Action):
    """Decode an invoice; answered by Inspected or Undecodable. n is 0 for one that was only told ahead."""

    session: str
    n: int
    bolt11: str


@dataclass(frozen=True, slots=True)
class Pay(Action):
    """Pay, unless the node knows the hash already; answered by PaymentDone or PaymentLost. `fresh`: the journal says
    that this is the first try, so that there is nothing for the node to know. Without an invoice it is only found out
    what became of it; its seller asks for it again where nothing did."""

    session: str
    seller: str
    n: int
    hash: str
    maxfee_msat: int
    maxdelay: int
    invoice: Inspected | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class MakeRefundInvoice(Action):
    """Make (or find) the amountless invoice by which a refund can reach us; answered by RefundInvoiceMade."""

    label: str
    session: str


@dataclass(frozen=True, slots=True)
class CheckReceipt(Action):
    """Check a receipt's signature against the seller's node id, and look up what arrived by the refund invoices of
    these labels; answered by ReceiptChecked."""

    session: str
    seller: str
    text: str
    signature: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GiveAddress(Action):
    """Seller: make a fresh address for growing transaction k, and say at which feerate; answered by AddressMade."""

    session: str
    k: int


@dataclass(frozen=True, slots=True)
class CheckVersion(Action):
    """Seller: check a version against what is agreed; answered by VersionChecked or VersionBad. `inputs` are those of
    the version before, none for the first; `heights` where the buyer says that they are confirmed."""

    session: str
    n: int
    k: int
    raw: str
    heights: str
    address: str
    value: int
    feerate: int
    inputs: list[list[str | int]]


@dataclass(frozen=True, slots=True)
class Broadcast(Action):
    """Seller: broadcast the highest version; LookAt finds out what comes of it."""

    session: str
    k: int
    raw: str
    inputs: list[list[str | int]]


@dataclass(frozen=True, slots=True)
class LookAt(Action):
    """Seller: find out how a growing transaction stands on the chain; answered by TxSeen."""

    session: str
    k: int
    raw: str
    txid: str
    vout: int
    address: str
    outpoints: tuple[str, ...]
    sent: bool
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Bump(Action):
    """Seller: pay for a stuck transaction by a child (CPFP) that spends `tip` (`value` sat); answered by TxBumped."""

    session: str
    k: int
    tip: str
    value: int
    weight: int
    fee: int
    feerate: int
    budget: int


@dataclass(frozen=True, slots=True)
class Fund(Action):
    """Buyer: find inputs that cover `maximum` sat to an address and the fee, and reserve them; answered by Funded or
    FundsShort."""

    session: str
    k: int
    address: str
    maximum: int
    feerate: int


@dataclass(frozen=True, slots=True)
class SignVersion(Action):
    """Buyer: sign the version worth `value` sat; the same asked again is the same signed again. Answered by
    VersionMade, or VersionUnsigned."""

    session: str
    n: int
    tx: Signed
    value: int


@dataclass(frozen=True, slots=True)
class Reserve(Action):
    """Buyer: keep the wallet from spending these inputs for at least so many blocks from now; 0 frees them."""

    inputs: tuple[str, ...]
    blocks: int


@dataclass(frozen=True, slots=True)
class Notify(Action):
    topic: str
    payload: dict[str, Any]


@dataclass(slots=True)
class Step:
    """What one input led to: events to commit first, then actions, and a result for who asked."""

    events: list[Event] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    result: Any = None
    touched: set[str] = field(default_factory=set)
    """The streams that may look different now."""
