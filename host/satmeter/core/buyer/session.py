"""A buyer's session (its stream): what it paid, what is in flight, what it may still pay, and what its receipt says."""

from dataclasses import dataclass, field, replace

from .. import receipt
from ..messages import Increment
from ..settlement.rules import DUST_MSAT, rules_of
from ..settlement.transaction import SignedTransaction
from ..states import PaymentState, StreamState
from ..tariff import Tariff
from .policy import Policy, kept_back_msat

HANDLED = 1_000
UNHEARD = -1
"""In AfterClose.most_ticks: at the close the own sensor was not heard since our start. Nothing is paid until it is."""
Evidence = dict[str, str | int | None]
"""What a refusal is about, by name."""


@dataclass(frozen=True, slots=True)
class PaymentInFlight:
    """A payment that was started: it counts as spent, fee included, until its outcome is known.

    `started_at` is in ms since 1970. `payment_hash` is "" for an update of an on-chain transaction. `attempt`: which
    of the stream's payments it is, tries of the same invoice counted each."""

    amount_msat: int
    maxfee_msat: int
    payment_hash: str
    started_at: int
    attempt: int = 0

    @property
    def most_msat(self) -> int:
        """The most that this payment can cost, in msat: its amount and its highest fee."""
        return self.amount_msat + self.maxfee_msat


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was refused and why; `number` is 0 where it was about no invoice."""

    at: int
    number: int
    why: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class AfterClose:
    """The bound of what a stream in arrears may still pay after its close.

    `most_msat` is the bound in all, what was paid before included; `most_ticks` is the highest count
    that is paid for (None: the buyer has no sensor of its own; UNHEARD: it has one). `in_flight` has the numbers of the
    payments that were in flight at the close: when one of them fails, its amount is taken off the
    bound."""

    most_msat: int
    most_ticks: int | None
    in_flight: tuple[int, ...]


@dataclass(slots=True)
class OwnSensor:
    """The buyer's own sensor of a stream: it counts `offset` plus the register of its boot, in ticks.

    The stream began at `start` of that count, None where that is not known."""

    boot: str = ""
    boots: list[str] = field(default_factory=list)
    """Boots before this one."""
    booted_at: int = 0
    """When this boot was first heard, in ms."""
    offset: int = 0
    start: int | None = None


@dataclass(frozen=True, slots=True)
class FinalReceipt:
    """The newest receipt of a stream that ended, or why it has none."""

    revision: int = 0
    receipt: str = ""
    signature: str = ""
    verified: bool = False
    why: str = ""
    """Why it ended as it did, or what its receipt states other than we know it."""
    code: int = 0
    """The number of the error, 0 for none."""
    owed_msat: int = 0
    arrivals_msat: dict[str, int] = field(default_factory=dict)
    """What came by refund invoices of this stream, by label; our node may have cleaned them away since."""
    carried_on_msat: int = 0
    """What of the refunds that its receipt states is explained by credit in a later stream."""
    recorded: int = 0
    """How many receipts of its were recorded."""


@dataclass(slots=True)
class StreamMemory:
    """What only memory needs of a stream. After a restart it is found out again."""

    sequence: int = 0
    heard_at: int = 0
    asked_at: int = 0
    tries: int = 0
    closing_at: int = 0
    refund_refused: str = ""
    """The refund invoice that the seller says it can't pay."""
    touched_at: int = 0
    cut_off: bool = False
    told_ticks: int = 0
    """The newest count that the seller stated, and its message's sequence."""
    told_sequence: int = 0
    told_at: int = 0
    """Since when what it states next may have flowed (Tariff.paced_ms); 0 before the first."""
    rated_at: int = 0
    """Since when the whole count is held against the rating, from `rated_from` ticks on; 0: from the beginning."""
    rated_from: int = 0
    resumed: bool = False
    """Whether it goes on from the journal: its clock may have stood still meanwhile, while the seller delivered."""
    expired_number: int = 0
    """The invoice that had expired when it came, where none was paid since, and when that was."""
    expired_at: int = 0
    sensor_count: int = 0
    sensor_at: int = 0
    waits: str = ""
    """Why nothing is paid just now."""
    credit_msat: int = 0
    increment: Increment | None = None
    """The seller's request that waits for inputs."""
    later: Increment | None = None
    """One that waits until it is known whether the update in flight counts."""
    funding_at: int = 0
    renewed_at: int = 0
    raw: str = ""
    """The update in flight, signed."""
    update_at: int = 0
    update_tries: int = 0


@dataclass(slots=True)
class BuyerSession:
    """A stream as its events leave it.

    `paid_msat` is the sum of the invoices that are paid, `sent_msat` what left the node for them, fees
    included."""

    id: str
    seller: str
    meter: str
    address: str
    policy: Policy
    opened_at: int
    state: StreamState = StreamState.OPENING
    tariff: Tariff | None = None
    carried_msat: int = 0
    """Credit of an earlier session that this one began with."""
    agreed_at: int = 0
    paid_msat: int = 0
    sent_msat: int = 0
    payments: int = 0
    attempts: int = 0
    """How many payments by Lightning were started."""
    in_flight: dict[int, PaymentInFlight] = field(default_factory=dict)
    astray: dict[int, PaymentInFlight] = field(default_factory=dict)
    """On-chain: updates that the seller has and does not count; a newer receipt may count them yet. Of Lightning:
    payments that a person has given up, and that may settle yet."""
    handled: list[int] = field(default_factory=list)
    handled_below: int = 1
    """Every invoice under this number is settled; `handled` are those settled out of turn."""
    ticks: int = 0
    ticks_at: int = 0
    reason: str = ""
    ended_at: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    breached: bool = False
    """The seller asked for what was not agreed: nothing more is paid to it for this stream, whatever it signs."""
    refund_bolt11: str = ""
    refund_made: int = 0
    refund_at: int = 0
    trouble: str = ""
    """Why the newest payment that failed did."""
    closing: FinalReceipt = field(default_factory=FinalReceipt)
    after_close: AfterClose | None = None
    debt_refused: bool = False
    of_older: bool = False
    """Whether an older copy of the journal had it when that was put in its place."""
    sensor: OwnSensor = field(default_factory=OwnSensor)
    signed: SignedTransaction | None = None
    """On-chain: the transaction that grows, or the last one."""
    earlier_inputs: list[tuple[str, ...]] = field(default_factory=list)
    """What the transactions before it spend, as TXID:VOUT: they may wait in a mempool, and have to stay reserved."""
    transactions: int = 0
    memory: StreamMemory = field(default_factory=StreamMemory)

    # --- what it is

    @property
    def running(self) -> bool:
        """Whether it is agreed and not closing."""
        return self.state in (StreamState.STREAMING, StreamState.PAUSED)

    @property
    def closed(self) -> bool:
        """Whether the stream is closed; a debt that its verified receipt states is still paid."""
        return self.state == StreamState.CLOSED

    @property
    def arrears(self) -> bool:
        """Whether the agreed tariff is in arrears; False while no terms are agreed."""
        return self.tariff is not None and not self.tariff.prepaid

    @property
    def relay(self) -> bool:
        """Whether the buyer's own relay may be on: only while a stream runs that is paid for."""
        paid = self.payments > 0 or self.carried_msat > 0 or self.arrears
        return self.state == StreamState.STREAMING and paid

    @property
    def pays(self) -> bool:
        """Whether invoices are paid in this state: a debt is, to its end; never one without a bound."""
        if self.arrears and self.state in (StreamState.CLOSING, StreamState.CLOSED) and self.after_close is None:
            return False
        if self.closed:
            return self.debt_msat > 0
        arrears = self.arrears and not self.breached and not self.debt_refused
        return self.state == StreamState.STREAMING or (self.state == StreamState.CLOSING and arrears)

    @property
    def disputed(self) -> bool:
        """Whether a receipt that its seller signed states other than we know."""
        return self.closing.verified and bool(self.closing.why)

    @property
    def short(self) -> bool:
        """Whether the seller owes us something, or its receipt lists fewer payments than we made."""
        stated = receipt.figures(self.closing.receipt)
        dust = self.closing.owed_msat < DUST_MSAT  # no way carries it; it is credit in the next stream to this seller
        return bool(
            self.closing.verified and (not dust or (stated is not None and stated.paid_msat < self.credited_msat))
        )

    @property
    def ending(self) -> bool:
        """True while we have to ask for a receipt or a refund."""
        return self.state == StreamState.CLOSING or (self.closed and self.short)

    @property
    def unsettled(self) -> bool:
        """Whether its seller has to be heard of: until it is closed, and as long as its receipt has either side owe.

        A debt may be paid by somebody else: only a newer receipt says so. What is owed under the dust limit (msat)
        does not count."""
        dust_msat = rules_of(self.tariff).dust_msat if self.tariff is not None else DUST_MSAT
        return not self.closed or self.short or self.debt_msat >= dust_msat

    @property
    def done(self) -> bool:
        """Whether it may be forgotten: nothing in flight, and nothing more to hear of its seller."""
        return not (self.in_flight or self.unsettled)

    # --- counts

    @property
    def own_ticks(self) -> int | None:
        """The use of this stream as the own sensor has it, None where it can't tell."""
        start = self.sensor.start
        return None if start is None or not self.memory.sensor_at else self.memory.sensor_count - start

    @property
    def ticks_after_close(self) -> int | None:
        """The highest count that is paid for after a close, UNHEARD; None where no own sensor bounds it."""
        return self.after_close.most_ticks if self.after_close is not None else None

    # --- money

    @property
    def fees_msat(self) -> int:
        """The fees of all settled payments, in msat."""
        return self.sent_msat - self.paid_msat

    @property
    def in_flight_msat(self) -> int:
        """What is out and not settled, with the highest fees."""
        return sum(each.most_msat for each in self.in_flight.values())

    @property
    def astray_msat(self) -> int:
        """What went astray, fees included: it can still be taken, so it stays spent."""
        return sum(each.most_msat for each in self.astray.values())

    @property
    def credited_msat(self) -> int:
        """What the seller has of ours: carried in, and paid."""
        return self.carried_msat + self.paid_msat

    @property
    def committed_msat(self) -> int:
        """Invoices paid or being paid, and what was carried in: all that the seller may hold of ours."""
        return self.credited_msat + sum(each.amount_msat for each in self.in_flight.values())

    @property
    def fee_left_msat(self) -> int:
        """The most that the next payment may cost in fees, in msat; 0 before terms are agreed.

        Each slice of amount allows one max_fee_msat more, and those of one window are allowed in
        advance. Without this bound a seller could ask for many tiny invoices and earn their routing
        fees."""
        if self.tariff is None:
            return 0
        slices = self.tariff.window + (self.committed_msat - self.carried_msat) // self.tariff.slice_msat
        spent = self.fees_msat + sum(each.maxfee_msat for each in self.in_flight.values())
        most = self.policy.max_fee_msat
        return max(0, min(most, slices * most - spent))

    @property
    def arrived_msat(self) -> int:
        """What arrived by this stream's refund invoices, in msat, as of its newest receipt."""
        return sum(self.closing.arrivals_msat.values())

    @property
    def may_still_pay_msat(self) -> int:
        """The most that this stream may still pay after its close; 0 before it, where the budget bounds it."""
        bound = self.after_close
        if bound is None or not self.pays or self.tariff is None:
            return 0
        most, ticks = bound.most_msat, self.ticks_after_close
        if ticks not in (None, UNHEARD):
            most = min(most, self.tariff.charge(ticks) + self.policy.max_spend_msat)
        return max(0, most - self.committed_msat)

    @property
    def kept_back_msat(self) -> int:
        """What of the budget no invoice of a running stream may use: in arrears, what may be owed when it ends."""
        if self.tariff is None or self.tariff.prepaid or self.state != StreamState.STREAMING:
            return 0
        return kept_back_msat(self.policy, self.tariff)

    @property
    def exposure_msat(self) -> int:
        """What is lost if the seller vanishes now: paid or in flight and not used, and the fees of what flies."""
        if self.tariff is None or self.closed:
            return self.in_flight_msat + self.astray_msat
        fees = sum(each.maxfee_msat for each in self.in_flight.values())
        return max(0, self.committed_msat - self.tariff.charge(self.ticks)) + fees + self.astray_msat

    @property
    def debt_msat(self) -> int:
        """What a signed receipt says that we owe for what was delivered: its invoices are still paid."""
        stated = receipt.figures(self.closing.receipt)
        if stated is None or not (self.closing.verified and self.arrears) or self.breached or self.debt_refused:
            return 0
        unpaid_msat = stated.charged_msat - self.credited_msat  # what somebody else paid for us is no debt
        return max(0, min(stated.debt_msat, unpaid_msat))

    # --- numbers of invoices

    def payment_state(self, number: int) -> PaymentState:
        """Returns in which state the payment of an invoice number is; NONE also once it has settled."""
        if number in self.in_flight:
            return PaymentState.IN_FLIGHT
        return PaymentState.ASTRAY if number in self.astray else PaymentState.NONE

    @property
    def newest_number(self) -> int:
        """The highest number of an invoice that was paid, is being paid or went astray; 0 for none."""
        return max((0, self.handled_below - 1, *self.handled, *self.in_flight, *self.astray))

    def was_handled(self, number: int) -> bool:
        """Returns whether the invoice of this number was paid or went astray; it is not paid again."""
        return number < self.handled_below or number in self.handled

    def note_handled(self, number: int) -> None:
        """Marks an invoice number as handled, so that it is never paid again.

        Only the newest HANDLED numbers are kept one by one: every number under those counts as handled,
        paid or not."""
        done = sorted({*self.handled, number})
        if len(done) > HANDLED:  # skipped numbers count as handled, and are never paid
            self.handled_below = max(self.handled_below, done[-HANDLED])
        while self.handled_below in done:
            self.handled_below += 1
        self.handled = [each for each in done if each > self.handled_below]

    def out_of_bound(self, number: int, payment: PaymentInFlight) -> None:
        """Lowers the bound after the close by a payment that was in flight then and has failed."""
        bound = self.after_close
        if bound is not None and number in bound.in_flight:
            left = tuple(each for each in bound.in_flight if each != number)
            self.after_close = replace(bound, most_msat=bound.most_msat - payment.amount_msat, in_flight=left)
