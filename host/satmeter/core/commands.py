"""What a core is told: RPC calls, board readings, peer messages, news from the node, and time."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .messages import Invoice, Message
from .settlement.transaction import TxInput

Fields = Mapping[str, object]
"""Named values as a caller gave them: a tariff's or a policy's, not checked yet."""


@dataclass(frozen=True, slots=True)
class Command:
    pass


@dataclass(frozen=True, slots=True)
class Tick(Command):
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class FromPeer(Command):
    peer: str
    message: Message


@dataclass(frozen=True, slots=True)
class PeerConnected(Command):
    peer: str


@dataclass(frozen=True, slots=True)
class PeerLost(Command):
    peer: str


# --- seller -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AddMeter(Command):
    meter: str
    tariff: Fields


@dataclass(frozen=True, slots=True)
class SetMeter(Command):
    meter: str
    tariff: Fields


@dataclass(frozen=True, slots=True)
class RemoveMeter(Command):
    meter: str


@dataclass(frozen=True, slots=True)
class Reading(Command):
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
class BindBoard(Command):
    """meter-bind: only the board with this id counts for the meter from here on; "": the next one that reports."""

    meter: str
    board: str


@dataclass(frozen=True, slots=True)
class MakeWalletInvoice(Command):
    """meter-invoice: an invoice for any wallet."""

    meter: str
    amount_msat: int


@dataclass(frozen=True, slots=True)
class InvoiceMade(Command):
    label: str
    bolt11: str


@dataclass(frozen=True, slots=True)
class InvoiceSettled(Command):
    """The node received a payment: `pay_index` is the node's, `amount_msat` what arrived. `after`: it is the first one
    after this pay_index (waitanyinvoice); None where it was found by its label."""

    label: str
    amount_msat: int
    pay_index: int
    payment_hash: str
    after: int | None = None


@dataclass(frozen=True, slots=True)
class InvoiceArriving(Command):
    """A payment of this label is being accepted, and will be settled in a moment unless something breaks."""

    label: str


@dataclass(frozen=True, slots=True)
class InvoiceGone(Command):
    """The node no longer takes a payment for this label (expired or deleted)."""

    label: str


@dataclass(frozen=True, slots=True)
class Spend(Command):
    """meter-spend: reserve, settle or release credit of a session under the gate's own id."""

    session: str
    id: str
    step: str
    amount_msat: int | None = None
    """None settles all that is held."""


@dataclass(frozen=True, slots=True)
class CloseSession(Command):
    session: str
    reason: str = "closed by the seller"


SEEN, OWED, PAID = "seen", "owed", "paid"


@dataclass(frozen=True, slots=True)
class Attend(Command):
    """meter-attend: a person has looked at the alarm of a session, or at an unowned payment (by its label). `how`:
    "seen"; of a refund that waits since an older copy of the journal stands in its place "owed" (pay it) or "paid" (it
    was). `amount_msat`: how much of it; None: as the books say."""

    name: str
    how: str
    note: str = ""
    amount_msat: int | None = None


@dataclass(frozen=True, slots=True)
class Unlock(Command):
    meter: str


@dataclass(frozen=True, slots=True)
class RefundSettled(Command):
    """`amount_msat` arrived and `fee_msat` was paid beside it, over all parts of the payment."""

    session: str
    bolt11: str
    amount_msat: int
    fee_msat: int
    payment_hash: str = ""


@dataclass(frozen=True, slots=True)
class RefundLost(Command):
    """Nothing of it is or will be paid. `final`: this invoice can never be paid."""

    session: str
    bolt11: str
    why: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class SignatureMade(Command):
    session: str
    revision: int
    text: str
    signature: str


@dataclass(frozen=True, slots=True)
class AddressMade(Command):
    """`feerate` in sat per 1,000 weight units."""

    session: str
    tx_number: int
    address: str
    feerate: int


@dataclass(frozen=True, slots=True)
class BlockAdded(Command):
    """The node knows a new block."""


@dataclass(frozen=True, slots=True)
class UpdateChecked(Command):
    """A update is as agreed: `weight` in weight units."""

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


@dataclass(frozen=True, slots=True)
class UpdateRefused(Command):
    session: str
    number: int
    tx_number: int
    why: str


@dataclass(frozen=True, slots=True)
class TxSeen(Command):
    """How a growing transaction stands, `sent` where it was looked at as one on its way: `known` to the mempool or the
    chain, or `refused` with these words; `conflict` is words and evidence where another spends its inputs, with the
    height of that one's block (0: none yet). `arrived_sat` came to us, `confirmations` deep (by ours), or by the other;
    `feerate` is today's estimate."""

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


@dataclass(frozen=True, slots=True)
class BumpMade(Command):
    session: str
    tx_number: int
    tip: str
    value_sat: int
    fee_sat: int


# --- buyer ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenStream(Command):
    session: str
    seller: str
    meter: str
    address: str
    policy: Fields = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConnectFailed(Command):
    peer: str
    why: str


@dataclass(frozen=True, slots=True)
class DecodedInvoice:
    """A BOLT 11 invoice as the node decoded it; `expires_at` in ms, `final_cltv` in blocks."""

    bolt11: str
    payee: str
    amount_msat: int
    payment_hash: str
    expires_at: int
    final_cltv: int
    payment_secret: str = ""


@dataclass(frozen=True, slots=True)
class InvoiceReceived(Command):
    """A seller's invoice message, with the invoice in it decoded; None where our node can't decode it: `why`."""

    peer: str
    message: Invoice
    decoded: DecodedInvoice | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class PaymentDone(Command):
    """`sent_msat` is what left us, fees included, as the node says."""

    session: str
    number: int
    sent_msat: int


@dataclass(frozen=True, slots=True)
class PaymentLost(Command):
    """The node says that nothing is or will be paid for it."""

    session: str
    number: int
    why: str


@dataclass(frozen=True, slots=True)
class RefundInvoiceMade(Command):
    session: str
    bolt11: str


@dataclass(frozen=True, slots=True)
class PaymentKnown(Command):
    """Before we ever tried, the node had paid this hash or was paying it, for something else."""

    session: str
    number: int


@dataclass(frozen=True, slots=True)
class ReceiptChecked(Command):
    """`arrivals` is what came by the stream's refund invoices, by label (msat), as far as our node still knows."""

    session: str
    text: str
    signature: str
    verified: bool
    arrivals: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Funded(Command):
    """Inputs are reserved, `fee_sat` for any update; `change` is our script, in hex."""

    session: str
    tx_number: int
    fee_sat: int
    change: str
    inputs: list[TxInput]


@dataclass(frozen=True, slots=True)
class FundsShort(Command):
    session: str
    tx_number: int
    why: str


@dataclass(frozen=True, slots=True)
class UpdateMade(Command):
    session: str
    number: int
    tx_number: int
    raw: str


@dataclass(frozen=True, slots=True)
class UpdateUnsigned(Command):
    """The wallet does not sign: `why` in its words."""

    session: str
    number: int
    tx_number: int
    why: str


@dataclass(frozen=True, slots=True)
class PauseStream(Command):
    session: str


@dataclass(frozen=True, slots=True)
class ResumeStream(Command):
    session: str


@dataclass(frozen=True, slots=True)
class SetBudget(Command):
    session: str
    policy: Fields


@dataclass(frozen=True, slots=True)
class SensorReading(Command):
    """The buyer's own sensor: register of its board, in the seller's ticks."""

    session: str
    boot: str
    register: int
    base: int = 0


@dataclass(frozen=True, slots=True)
class GiveUpPayment(Command):
    """stream-giveup: the node calls a payment pending and has no HTLC of it; nobody waits for it any more."""

    session: str
    number: int


@dataclass(frozen=True, slots=True)
class CloseStream(Command):
    """`refuse_debt`: nothing more is paid for it, whatever its seller says that it owes."""

    session: str
    reason: str = "closed by the buyer"
    refuse_debt: bool = False
