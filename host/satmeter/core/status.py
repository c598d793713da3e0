"""What a node tells of its meters, sessions and streams: the one contract of RPC, bridge, pages and services.

RPC answers are these dataclasses as JSON; read_as() makes one of an answer again: SellerStatus is what meter-status
answers, BuyerStatus what stream-list does. Amounts in msat or sat, as their names say; counts in ticks, times in
milliseconds since 1970, flow in ticks an hour.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from .errors import UnreadableAnswer
from .plain import Plain
from .tariff import Tariff

Values = Mapping[str, str | int]
Status = TypeVar("Status")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardView:
    """What the board of a meter has to know.

    `grant` is a register of boot `boot`, in ticks; 0 cuts. `lamp` is on, slow or fast. `codes` are the
    meter's address and what a wallet reads, "" where there is none; `link` is what stands for one that no display
    of the board's size has room for, "" for nothing."""

    meter: str
    state: str
    boot: str
    grant: int
    lamp: str
    page: list[str]
    codes: list[str]
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayView:
    """What the buyer's own board has to know of a stream."""

    state: str
    relay: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferStatus:
    """A standing offer of a meter (BOLT 12).

    `amount_msat` 0 is any amount. `wanted`: its operator wants it; `active`: the node gives invoices for it now, which
    is while the meter can deliver."""

    offer_id: str
    bolt12: str
    amount_msat: int
    wanted: bool
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterStatus:
    """A meter as meter-status shows it.

    `exposure_msat` is what the seller could lose now, `exposure_bound_msat` the most that its tariff allows for that,
    with `overshoot_msat`, what its device may deliver beyond a grant. `openings` is how many buyers have asked for the
    meter and not paid yet. `invoice` is the wallet invoice, "" for none. `page` and `codes` are what its board shows
    (BoardView), `address` is its SATMETER:// address, "" where buyers can't reach the node."""

    name: str
    state: str
    session: str
    openings: int
    bound_to: str
    boot: str
    register: int
    count: int
    flow: int
    plugged: bool
    fault: str
    display: str
    board: str
    grant: int
    lamp: str
    credit_msat: int
    low: bool
    lock_until: int
    exposure_msat: int
    exposure_bound_msat: int
    overshoot_msat: int
    invoice: str
    offers: list[OfferStatus]
    tariff: Tariff
    page: list[str]
    codes: list[str]
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionStatus:
    """A growing transaction whose fate is open, or that was lost; `updates` counts its signed states."""

    number: int
    state: str
    txid: str
    address: str
    value_sat: int
    fee_sat: int
    feerate: int
    updates: int
    lost_sat: int
    bump_fee_sat: int
    why: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartStatus:
    """What a wallet invoice paid of a bearer's session, and what of it is left: payments are used in their order.

    `refundable_msat` is what meter-refund can give back for it. `leads`: half or more of all that is left is of it."""

    number: int
    paid_msat: int
    left_msat: int
    refundable_msat: int
    leads: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStatus:
    """A live session, as its seller sees it. `owed_why`: why what is owed is not paid yet.

    Of a bearer's: `refundable_msat` is what meter-refund can give back by an invoice of that amount, `fed_by` has the
    wallet invoices that were paid. `confirmed` is of meter-spend: whether the board has learned of the reservation."""

    session: str
    meter: str
    buyer: str
    phase: str
    opened_at: int
    tariff: Values
    ticks: int
    payments: int
    paid_msat: int
    charged_msat: int
    credit_msat: int
    low: bool
    reserved_msat: int
    spent_msat: int
    invoices_out: int
    out_msat: int
    refunded_msat: int
    owed_msat: int
    debt_msat: int
    held_msat: int
    unconfirmed_msat: int
    lost_msat: int
    reason: str
    alarm: str
    refund_held: bool
    receipt: str
    signature: str
    transactions: list[TransactionStatus] | UnsetType = UNSET
    owed_why: str | UnsetType = UNSET
    refundable_msat: int | UnsetType = UNSET
    fed_by: list[PartStatus] | UnsetType = UNSET
    confirmed: bool | UnsetType = UNSET

    @property
    def terms(self) -> Tariff:
        """The tariff that the session keeps, as a buyer agreed to it."""
        return msgspec.convert(self.tariff, Tariff)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnownedPayment:
    """A payment for a label that no session is known of."""

    label: str
    amount_msat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerStatus:
    """What meter-status answers: meters by name, their live sessions, and the name of the journal that has them.

    `version` is the plugin's, as of stream-list."""

    meters: list[MeterStatus]
    sessions: list[SessionStatus]
    unowned: list[UnownedPayment]
    journal: str
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlightStatus:
    """A payment in flight."""

    n: int
    amount_msat: int
    maxfee_msat: int
    payment_hash: str
    started_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalStatus:
    """What a buyer refused and why, with the evidence; `n` is the invoice, 0 for none."""

    at: int
    n: int
    why: str
    evidence: Mapping[str, str | int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatus:
    """A stream, as its buyer sees it. `exposure_msat` is what is lost if the seller vanishes now, fees included."""

    session: str
    seller: str
    meter: str
    state: str
    relay: bool
    opened_at: int
    payments: int
    paid_msat: int
    carried_msat: int
    fees_msat: int
    in_flight_msat: int
    in_flight: list[FlightStatus]
    stray_msat: int
    exposure_msat: int
    exposure_bound_msat: int
    may_still_pay_msat: int
    budget_left_msat: int
    ticks: int
    own_ticks: int
    credit_msat: int
    tariff: Values
    policy: Values
    refusals: list[RefusalStatus]
    reason: str
    why: str
    waits: str
    disputed: bool
    figures: Mapping[str, Mapping[str, int]]
    trouble: str
    code: int
    receipt: str
    signature: str
    verified: bool
    owed_msat: int

    @property
    def terms(self) -> Tariff | None:
        """The tariff that the buyer agreed to; None while it has not."""
        return msgspec.convert(self.tariff, Tariff) if self.tariff else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyerStatus:
    """What stream-list answers."""

    streams: list[StreamStatus]
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvent:
    """One event of a session, for services that follow a seller.

    `happened` is asked, paid, dropped, expired or closed. `number` is the invoice's; `amount_msat` is
    set for asked and paid. A payment has its `payment_hash`, or on-chain its `txid`; a close has the
    `receipt` and its `signature`."""

    session: str
    happened: str
    number: int = 0
    amount_msat: int = 0
    payment_hash: str = ""
    txid: str = ""
    receipt: str = ""
    signature: str = ""


def answer(status: object) -> Plain:
    """Return a status as data for JSON: a field that is not set is left out."""
    values: Plain = msgspec.to_builtins(status, str_keys=True)
    return values


def read_as(kind: type[Status], values: object) -> Status:
    """Return what a node's RPC answered, typed.

    Raises:
        UnreadableAnswer: The answer is not of this kind: the plugin is of another version.
    """
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise UnreadableAnswer(f"the plugin's answer can't be read, it is of another version: {error}") from None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as a journal's index has it. Times in ms since 1970; closed_at is 0 while it runs."""

    id: str
    opened_at: int
    meter: str
    peer: str
    closed_at: int = 0
    reason: str = ""
    receipt: str = ""
    signature: str = ""


class StoredSession(TypedDict):
    """A SessionRow, as it is read."""

    id: str
    opened_at: int
    meter: str
    peer: str
    closed_at: int
    reason: str
    receipt: str
    signature: str
