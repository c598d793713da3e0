"""A seller's session: one buyer's use of one meter, and all arithmetic of its money. See docs/metering.md for the why.

received = payments + what was brought from an earlier session - what was lost to a conflicting spend (on-chain)
charged  = min(charge of the whole register difference, what is there to charge) + what gates spent
credit   = received - charged - reserved; negative only in arrears
At the end:  received + debt = charged + refunded + taken to a later session + lapsed + owed
"""

from dataclasses import dataclass, field

from ..journal import CHAIN_START
from ..labels import First
from ..money import MSAT_PER_SAT
from ..receipt import Figures
from ..settlement.rules import rules_of
from ..settlement.transaction import OnchainAccount
from ..states import SessionState
from ..tariff import Tariff
from .prefetch import Prefetched
from .refund import Refund

REMEMBERED = 64
"""Ids of gates, and numbers of updates, that a session remembers."""


@dataclass(slots=True)
class Asking:
    """What memory keeps about asking for one outstanding invoice; times in ms since 1970.

    `text` is the BOLT 11 invoice, on-chain the address; it is "" until there is one."""

    text: str = ""
    asked_at: int | None = None
    """When the node was last asked for it."""
    cancelled_at: int = 0
    """When the node was last asked to delete it."""
    sent_at: int = 0
    tries: int = 0
    arriving: bool = False
    """Its payment was accepted and is not yet credited. Paid or not it counts as out in the exposure, so that the next
    one may be asked for meanwhile; only the window does not count it."""


@dataclass(slots=True)
class Watch:
    """What the node last said of a growing transaction."""

    look_at: int = 0
    """When it is looked at again."""
    known: bool = False
    """Whether the node was seen to know it since it was broadcast."""
    seen_height: int | None = None
    """The node's height when it was first seen on its way, or a child last paid for it."""


@dataclass(slots=True)
class SessionMemory:
    """What only memory needs of a session. After a restart it is found out again."""

    prefetched: Prefetched = field(default_factory=Prefetched)
    newest_number: int = -1
    """The newest number that was drawn since the start; -1: none was."""
    sequence: int = 0
    asking: dict[int, Asking] = field(default_factory=dict)
    low_told: bool = False
    told_at: int = 0
    agreed: bool = False
    """The buyer took the terms, in arrears. Once delivery has started, the journal says so."""
    used_at: int = 0
    """When its count moved last."""
    waited_for_gates_at: int = 0
    """When gates last held what would pay for another tick."""
    allowance_left: bool = False
    """Of an opening: whether the standby allowance was not used up when it was asked for."""
    gone_at: int = 0
    """Since when the buyer is not connected; 0 while it is."""
    debt_asked_at: int = 0
    """When a debt may be asked for again: one whose invoice expired waits for its buyer, or a day."""
    signing: str = ""
    """The figures that are being signed."""
    signed_at: int = 0
    touched_at: int = 0
    refund_tried_at: int = 0
    refund_fails: int = 0
    refund_step: int = 0
    """Which fee the next try may cost: 0: what the seller bears; 1: less than 1 sat more; 2: up to the refund's cap."""
    address_at: int = 0
    """When an address for the next transaction was asked for."""
    checking: dict[int, int] = field(default_factory=dict)
    """The update that is being checked, and since when."""
    watched: dict[int, Watch] = field(default_factory=dict)

    def asked(self, number: int) -> Asking:
        """Return how an invoice is asked for; a new one is not yet."""
        return self.asking.setdefault(number, Asking())

    def watch(self, tx_number: int) -> Watch:
        """Returns what the node is known to know of a transaction; at first, nothing."""
        return self.watched.setdefault(tx_number, Watch())


@dataclass(slots=True)
class SellerSession:
    """A session as its events leave it: amounts in msat, counts in ticks, times in ms since 1970.

    `buyer` is the node id of the buyer, "" for a bearer, whose payments come from a plain wallet."""

    id: str
    meter: str
    buyer: str
    tariff: Tariff
    opened_at: int
    state: SessionState = SessionState.OPEN
    since: int = 0
    started_at: int = 0
    """When delivery started for the first time; 0 until then."""
    start_count: int = -1
    start_boot: str = ""
    start_register: int = 0
    start_latest: int = -1
    """The highest count at which the session may begin, -1 once its beginning is known. The first reading that was said
    after the start fixes it: what the board had used of the allowance by then is not charged."""
    granted: int = 0
    """The highest count that the board was ever granted for this session; nothing is added once it is ending."""
    count: int = 0
    paid_msat: int = 0
    payments: int = 0
    brought_msat: int = 0
    spent_msat: int = 0
    reserved: dict[str, int] = field(default_factory=dict)
    """Reservations of gates (msat), by the gate's id."""
    reserved_at: int = 0
    """When credit was reserved last."""
    reserved_since: dict[str, int] = field(default_factory=dict)
    """When each of the reservations was made."""
    captured: list[str] = field(default_factory=list)
    """The gates' last ids, so that a repeated settle or release is answered and not done again."""
    fed_by: dict[int, int] = field(default_factory=dict)
    """Of a bearer: what each wallet invoice paid (msat), by its number, newest last."""
    payers: list[tuple[str, str]] = field(default_factory=list)
    """Of a bearer: key and note of who paid by an offer or with a note, newest last."""
    next_number: int = 1
    drawn_up_to: int = 0
    """Numbers up to this one may have been told; after a restart none of them is drawn again."""
    out: dict[int, int] = field(default_factory=dict)
    """Outstanding invoices by number (msat)."""
    waiting_since: int = 0
    """Since when there has always been an invoice out and none was paid."""
    dropped: dict[int, int] = field(default_factory=dict)
    """Invoices that are no longer wanted, and may be paid all the same (msat)."""
    ending_at: int = 0
    """When the end was asked for; the session is open until the board has stopped."""
    reason: str = ""
    end_boot: str = ""
    end_register: int = 0
    final_charge_msat: int | None = None
    closed_at: int = 0
    refund: Refund = field(default_factory=Refund)
    refunded_msat: int = 0
    """What was given back, the fees that refunds bear themselves included."""
    refund_fee_msat: int = 0
    fees_borne_msat: int = 0
    """Refunds' fees that the seller bore."""
    alarm: str = ""
    """What a person has to look at."""
    taken_msat: int = 0
    lapsed_msat: int = 0
    revision: int = 0
    revisions_lost: int = 0
    """Up to which revision receipts may have been signed that an older copy of the journal does not have."""
    copied_count: int = 0
    """Of one that an older copy of the journal had: the count that the copy knew. It may have ended there."""
    receipt: str = ""
    signature: str = ""
    head: str = CHAIN_START
    onchain: OnchainAccount = field(default_factory=OnchainAccount)
    memory: SessionMemory = field(default_factory=SessionMemory)

    # --- what it is

    @property
    def open(self) -> bool:
        """Whether its charge is not final: it delivers, or waits for its board to stop."""
        return self.state in (SessionState.OPEN, SessionState.ENDING)

    @property
    def ending(self) -> bool:
        """Whether the end was asked for and the board has not stopped yet."""
        return self.state == SessionState.ENDING

    @property
    def closed(self) -> bool:
        """Whether a receipt was signed, or the session ended with nothing paid or used."""
        return self.state == SessionState.CLOSED

    @property
    def first(self) -> First:
        """What the label of its first invoice says."""
        return First(self.meter, self.id, self.buyer, self.tariff.mark)

    @property
    def of_older(self) -> bool:
        """Whether an older copy of the journal had it when that was put in its place."""
        return self.revisions_lost > 0

    @property
    def void(self) -> bool:
        """Whether it ended and nothing was ever paid or used: it gets no receipt."""
        used = self.payments or self.brought_msat or self.charged_msat
        return self.closed and not self.revision and not used

    @property
    def done(self) -> bool:
        """True where nothing can follow any more, so that it need not be kept in memory."""
        due = self.owed_msat or self.debt_msat >= self.dust_msat or self.refund.under_way
        busy = self.out or self.dropped or self.memory.signing
        return self.closed and not (due or self.alarm or busy) and self.final

    @property
    def next_revision(self) -> int:
        """The revision of the next receipt, from 1.

        Revisions that may be signed in a lost part of the journal are left out."""
        return max(self.revision, self.revisions_lost) + 1

    @property
    def asked_for(self) -> list[int]:
        """Outstanding invoices that there is something to pay by."""
        asking = self.memory.asking
        return [number for number in self.out if number in asking and asking[number].text]

    # --- counts

    @property
    def ticks(self) -> int:
        """Whole use of the session so far; what came before its delivery started was the seller's allowance."""
        return max(0, self.count - self.start_count) if self.start_count >= 0 else 0

    @property
    def charged_ticks(self) -> int:
        """Ticks that the charge pays for; a board may have delivered more, of the seller's allowance."""
        for_ticks = self.charged_msat - self.spent_msat
        return self.ticks if for_ticks == self.tariff.charge(self.ticks) else self.tariff.ticks(for_ticks)

    @property
    def final(self) -> bool:
        """Whether nothing that was paid can still be taken back: only then is anything given on or back."""
        return self.onchain.firm

    @property
    def ticks_paid_for(self) -> int:
        """Ticks that were surely not of the allowance: of a session of an older copy only those that the copy knew."""
        known = self.copied_count - self.start_count if self.of_older else self.charged_ticks
        return max(0, min(self.charged_ticks, known))

    @property
    def grant_count(self) -> int:
        """The count up to which what is paid (or, in arrears, trusted) may be delivered."""
        return self.start_count + self.tariff.ticks(self._for_ticks_msat) if self.start_count >= 0 else 0

    @property
    def deliverable_ticks(self) -> int:
        """Whole ticks that could be delivered from here."""
        return self.tariff.ticks(self._for_ticks_msat) - self.ticks

    # --- money

    @property
    def received_msat(self) -> int:
        """Payments and credit brought from earlier sessions, less what on-chain conflicts took."""
        return self.paid_msat + self.brought_msat - self.onchain.lost_sat * 1000

    @property
    def reserved_msat(self) -> int:
        """The sum of all reservations that are not captured or released yet."""
        return sum(self.reserved.values())

    @property
    def waits_for_gates(self) -> bool:
        """Whether gates hold what would pay for another tick."""
        return self.reserved_msat > 0 and self.tariff.ticks(self._for_ticks_msat + self.reserved_msat) > self.ticks

    @property
    def _for_ticks_msat(self) -> int:
        """What ticks may be charged against: a board's last sample may pass its grant, and that is not the buyer's."""
        received = self.received_msat + self.onchain.lost_sat * 1000
        return max(0, received + self.tariff.limit_msat - self.spent_msat - self.reserved_msat)

    @property
    def charged_msat(self) -> int:
        """The charge, with what gates captured; from the close on it grows no more."""
        if self.final_charge_msat is not None:
            return self.final_charge_msat
        return min(self.tariff.charge(self.ticks), self._for_ticks_msat) + self.spent_msat

    @property
    def credit_msat(self) -> int:
        """Received, not charged and not reserved; negative in arrears or after on-chain loss."""
        return self.received_msat - self.charged_msat - self.reserved_msat

    @property
    def out_msat(self) -> int:
        """The sum of all outstanding invoices."""
        return sum(self.out.values())

    @property
    def given_msat(self) -> int:
        """What was received and is not owed any more (msat): charged, refunded, moved to a later session, or lapsed."""
        return self.charged_msat + self.refunded_msat + self.taken_msat + self.lapsed_msat

    @property
    def owed_msat(self) -> int:
        """What the seller owes the buyer, once delivery is over."""
        return 0 if self.open else max(0, self.received_msat - self.given_msat)

    def left_of(self, number: int) -> int:
        """What is left of a wallet invoice's payment: what was brought is used first, and of payments the oldest."""
        left = max(0, self.credit_msat if self.open else self.received_msat - self.charged_msat)
        for each, paid in reversed(self.fed_by.items()):
            part = min(paid, left)
            if each == number:
                return part if self.open else max(0, min(part - self.refund.given.get(number, 0), self.owed_msat))
            left -= part
        return 0

    def claim_msat(self, number: int) -> int:
        """What can be asked back for a wallet invoice; `number` 0: all that is owed."""
        return self.left_of(number) if number else self.owed_msat

    def leads(self, number: int) -> bool:
        """Whether half or more of what is left of wallet invoices is of this one: its payer ends the session.

        What was brought from an earlier session is of none of them."""
        left = self.left_of(number)
        paid = sum(self.fed_by.values()) - sum(self.refund.given.values())
        return left > 0 and 2 * left >= min(paid, self.credit_msat if self.open else self.owed_msat)

    def refundable_msat(self, number: int = 0) -> int:
        """What a bearer can have back by an invoice of that amount: whole sat; a hundredth or more is left for the fee.

        `number` is the wallet invoice that it paid; 0: of all. 0 msat where nothing can be given back now."""
        if self.open or self.buyer or self.refund.held or self.refund.bolt11 or not self.final:
            return 0
        claim = self.claim_msat(number)
        return max(0, claim - max(1, claim // 100)) // MSAT_PER_SAT * MSAT_PER_SAT

    @property
    def debt_msat(self) -> int:
        """What the buyer owes the seller (arrears only)."""
        return max(0, self.given_msat - self.received_msat)

    @property
    def dust_msat(self) -> int:
        """Amounts under this (msat) can't be paid any more at the end, and keep no session open."""
        return rules_of(self.tariff).dust_msat

    @property
    def left_msat(self) -> int:
        """What may still be used: the credit, or in arrears what is left of the limit."""
        return max(0, self.tariff.limit_msat + self.credit_msat)

    @property
    def low(self) -> bool:
        """Whether what may still be used is under the tariff's low-water mark."""
        return self.left_msat < self.tariff.low_water_msat

    @property
    def figures(self) -> Figures:
        """The sums that a receipt states; a new revision is due when one changes."""
        return Figures(
            paid_msat=self.received_msat,
            charged_msat=self.charged_msat,
            refunded_msat=self.refunded_msat + self.taken_msat,
            lapsed_msat=self.lapsed_msat,
            owed_msat=self.owed_msat,
            debt_msat=self.debt_msat,
        )

    # --- what is asked for next

    def draw_number(self) -> int:
        """Returns an invoice number that the session never had, not even before a restart.

        Invoices that are made ahead use up numbers as well."""
        newest = self.memory.newest_number
        self.memory.newest_number = max(self.next_number - 1, newest if newest >= 0 else self.drawn_up_to) + 1
        return self.memory.newest_number

    def amount_after(self, amount_msat: int, hurry: bool) -> int:
        """Return what the next invoice will likely be for, after one of `amount_msat`; 0 where nobody can tell."""
        if not self.tariff.prepaid:
            return 0
        if self.tariff.window > 1:
            return self.tariff.slice_msat
        return amount_msat // 2 if hurry else 0

    def buys_a_tick(self, amount_msat: int) -> bool:
        """Returns whether unused credit and `amount_msat` pay for a tick; True in arrears."""
        unused = self.received_msat - self.charged_msat
        return not self.tariff.prepaid or self.tariff.ticks(unused + amount_msat) >= 1

    def next_amount(self, beside_msat: int = 0) -> int:
        """Return the amount in msat of the invoice that is due now, 0 for none. A reading becomes money here.

        `beside_msat` is what other sessions at this meter hold or have unconfirmed: it takes room from one that is
        open. A debt of one that ended is asked for all the same: nothing more is delivered for it."""
        waiting = sum(1 for number in self.out if not self._arriving(number))
        if waiting >= self.tariff.window or not self.buyer or self.ending:
            return 0
        left = self.tariff.slice_msat
        if self.tariff.session_max_msat and self.open:
            left = self.tariff.session_max_msat - self.received_msat - self.out_msat
        due = self._due_prepaid() if self.tariff.prepaid else self._due_arrears()
        held = self.onchain.held_msat
        unconfirmed = self.onchain.unconfirmed_msat + (beside_msat if self.open else 0)
        amount = rules_of(self.tariff).fitting_msat(self.tariff, max(0, min(due, left)), held, unconfirmed)
        return amount if self.buys_a_tick(amount) else 0

    def _arriving(self, number: int) -> bool:
        return number in self.memory.asking and self.memory.asking[number].arriving

    def _due_prepaid(self) -> int:
        tariff = self.tariff
        if not self.open:
            return 0
        unused = self.received_msat - self.charged_msat
        room = min(tariff.quantum_msat - unused - self.out_msat, tariff.slice_msat)
        coming = unused + self.out_msat
        due = room >= tariff.slice_msat or coming < tariff.low_water_msat or tariff.ticks(coming) < 1
        return room if due else 0

    def _due_arrears(self) -> int:
        due = self.charged_msat - self.received_msat - self.out_msat
        if self.open and due < self.tariff.slice_msat:
            return 0
        return min(due, self.tariff.slice_msat)
