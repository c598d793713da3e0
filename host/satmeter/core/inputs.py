"""What can happen to a core: RPC calls, board readings, peer messages, news from the node, and time."""

from dataclasses import dataclass, field
from typing import Any

from .messages import Message


@dataclass(frozen=True, slots=True)
class Input:
    pass


@dataclass(frozen=True, slots=True)
class Tick(Input):
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class FromPeer(Input):
    peer: str
    message: Message


@dataclass(frozen=True, slots=True)
class PeerConnected(Input):
    peer: str


@dataclass(frozen=True, slots=True)
class PeerLost(Input):
    peer: str


# --- seller -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AddMeter(Input):
    meter: str
    tariff: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SetMeter(Input):
    meter: str
    tariff: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RemoveMeter(Input):
    meter: str


@dataclass(frozen=True, slots=True)
class Reading(Input):
    """From the board: `base` is the register that this boot began with, `register` its count now, in ticks, and
    `grant` the register up to which it would deliver now (None where the board does not say). `display` is its size as
    WxH and `fault` what is wrong with it, for whoever looks. `board` is its own id, "" where it has none."""

    meter: str
    boot: str
    register: int
    base: int = 0
    flow: int = 0
    plugged: bool = True
    grant: int | None = None
    display: str = ""
    fault: str = ""
    board: str = ""


@dataclass(frozen=True, slots=True)
class BindBoard(Input):
    """meter-bind: only the board with this id counts for the meter from here on; "": the next one that reports."""

    meter: str
    board: str


@dataclass(frozen=True, slots=True)
class Offer(Input):
    """meter-invoice: an invoice for any wallet."""

    meter: str
    amount_msat: int


@dataclass(frozen=True, slots=True)
class InvoiceMade(Input):
    label: str
    bolt11: str


@dataclass(frozen=True, slots=True)
class InvoiceSettled(Input):
    """The node received a payment: `index` is its pay_index, `amount_msat` what arrived. `after`: it is the first one
    after this pay_index (waitanyinvoice); None where it was found by its label."""

    label: str
    amount_msat: int
    index: int
    hash: str
    after: int | None = None


@dataclass(frozen=True, slots=True)
class InvoiceArriving(Input):
    """A payment of this label is being accepted, and will be settled in a moment unless something breaks."""

    label: str


@dataclass(frozen=True, slots=True)
class InvoiceGone(Input):
    """The node no longer takes a payment for this label (expired or deleted)."""

    label: str


@dataclass(frozen=True, slots=True)
class Spend(Input):
    """meter-spend: reserve, settle or release credit of a session under the gate's own id."""

    session: str
    id: str
    step: str
    amount_msat: int | None = None
    """None settles all that is held."""


@dataclass(frozen=True, slots=True)
class CloseSession(Input):
    session: str
    reason: str = "closed by the seller"


SEEN, OWED, PAID = "seen", "owed", "paid"


@dataclass(frozen=True, slots=True)
class Attend(Input):
    """meter-attend: a person has looked at the alarm of a session, or at an unowned payment (by its label). `how`:
    "seen"; of a refund that waits since an older copy of the journal stands in its place "owed" (pay it) or "paid" (it
    was). `amount_msat`: how much of it; None: as the books say."""

    name: str
    how: str
    note: str = ""
    amount_msat: int | None = None


@dataclass(frozen=True, slots=True)
class Unlock(Input):
    meter: str


@dataclass(frozen=True, slots=True)
class RefundSettled(Input):
    """`amount_msat` arrived and `fee_msat` was paid beside it, over all parts of the payment."""

    session: str
    bolt11: str
    amount_msat: int
    fee_msat: int
    hash: str = ""


@dataclass(frozen=True, slots=True)
class RefundLost(Input):
    """Nothing of it is or will be paid. `final`: this invoice can never be paid."""

    session: str
    bolt11: str
    why: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class Signed(Input):
    session: str
    revision: int
    text: str
    signature: str


@dataclass(frozen=True, slots=True)
class AddressMade(Input):
    """`feerate` in sat per 1,000 weight units."""

    session: str
    k: int
    address: str
    feerate: int


@dataclass(frozen=True, slots=True)
class BlockAdded(Input):
    """The node knows a new block."""


@dataclass(frozen=True, slots=True)
class VersionChecked(Input):
    """A version is as agreed: value and fee in sat, weight in weight units, inputs as [outpoint, sat, script]."""

    session: str
    n: int
    k: int
    value: int
    fee: int
    weight: int
    txid: str
    vout: int
    raw: str
    inputs: list[list[str | int]]


@dataclass(frozen=True, slots=True)
class VersionBad(Input):
    session: str
    n: int
    k: int
    why: str


@dataclass(frozen=True, slots=True)
class TxSeen(Input):
    """How a growing transaction stands, `sent` where it was looked at as one on its way: `known` to the mempool or the
    chain, or `refused` with these words; `conflict` is words and evidence where another spends its inputs, with the
    height of that one's block (0: none yet). `arrived` sat came to us, `confirmations` deep (by ours), or by the other;
    `feerate` is today's estimate."""

    session: str
    k: int
    sent: bool
    known: bool
    refused: str
    conflict: str
    conflict_height: int
    arrived: int
    confirmations: int
    height: int
    feerate: int


@dataclass(frozen=True, slots=True)
class TxBumped(Input):
    session: str
    k: int
    tip: str
    value: int
    fee: int


# --- buyer ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenStream(Input):
    session: str
    seller: str
    meter: str
    address: str
    policy: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConnectFailed(Input):
    peer: str
    why: str


@dataclass(frozen=True, slots=True)
class Inspected(Input):
    """An invoice as the node decoded it."""

    session: str
    n: int
    bolt11: str
    payee: str
    amount_msat: int
    hash: str
    expires_at: int
    final_cltv: int
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Undecodable(Input):
    session: str
    n: int
    bolt11: str
    why: str


@dataclass(frozen=True, slots=True)
class PaymentDone(Input):
    """`sent_msat` is what left us, fees included, as the node says."""

    session: str
    n: int
    sent_msat: int


@dataclass(frozen=True, slots=True)
class PaymentLost(Input):
    """The node says that nothing is or will be paid for it."""

    session: str
    n: int
    why: str


@dataclass(frozen=True, slots=True)
class RefundInvoiceMade(Input):
    session: str
    bolt11: str


@dataclass(frozen=True, slots=True)
class PaymentKnown(Input):
    """Before we ever tried, the node had paid this hash or was paying it, for something else."""

    session: str
    n: int


@dataclass(frozen=True, slots=True)
class ReceiptChecked(Input):
    """`arrivals` is what came by the stream's refund invoices, by label (msat), as far as our node still knows."""

    session: str
    text: str
    signature: str
    verified: bool
    arrivals: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Funded(Input):
    """Inputs are reserved: [outpoint, sat, script, height] each, `fee` sat for any version, `change` our script."""

    session: str
    k: int
    fee: int
    change: str
    inputs: list[list[str | int]]


@dataclass(frozen=True, slots=True)
class FundsShort(Input):
    session: str
    k: int
    why: str


@dataclass(frozen=True, slots=True)
class VersionMade(Input):
    session: str
    n: int
    k: int
    raw: str


@dataclass(frozen=True, slots=True)
class VersionUnsigned(Input):
    """The wallet does not sign: `why` in its words."""

    session: str
    n: int
    k: int
    why: str


@dataclass(frozen=True, slots=True)
class PauseStream(Input):
    session: str


@dataclass(frozen=True, slots=True)
class ResumeStream(Input):
    session: str


@dataclass(frozen=True, slots=True)
class SetBudget(Input):
    session: str
    policy: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SensorReading(Input):
    """The buyer's own sensor: register of its board, in the seller's ticks."""

    session: str
    boot: str
    register: int
    base: int = 0


@dataclass(frozen=True, slots=True)
class GiveUpPayment(Input):
    """stream-giveup: the node calls a payment pending and has no HTLC of it; nobody waits for it any more."""

    session: str
    n: int


@dataclass(frozen=True, slots=True)
class CloseStream(Input):
    """`refuse_debt`: nothing more is paid for it, whatever its seller says that it owes."""

    session: str
    reason: str = "closed by the buyer"
    refuse_debt: bool = False
