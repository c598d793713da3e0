"""A sale: the seller's side of one session, and all arithmetic of its money. See docs/metering.md for the why.

received = payments + what was brought from an earlier session - what was lost to a conflicting spend (on-chain)
charged  = min(charge of the whole register difference, what is there to charge) + what gates spent
credit   = received - charged - reserved; negative only in arrears
At the end:  received + debt = charged + refunded + taken to a later session + lapsed + owed
"""

from dataclasses import dataclass, field

from .growing import DUST_SAT, GROWING, Growing
from .journal import CHAIN_START
from .labels import First
from .spares import Spares
from .tariff import Tariff

OPEN, CLOSING, CLOSED = "open", "closing", "closed"

DUST_MSAT = 1_000
"""What is due under this at the end may never reach the other side, since no route carries it: it keeps nobody."""


@dataclass(slots=True)
class Sale:
    """State of a session, as its events leave it, and below it what only memory needs."""

    id: str
    meter: str
    buyer: str
    """Node id of the buyer; empty for a bearer, who paid by a plain wallet."""
    tariff: Tariff
    opened_at: int
    phase: str = OPEN
    since: int = 0
    start_count: int = -1
    start_boot: str = ""
    start_register: int = 0
    start_latest: int = -1
    """The latest count at which it may begin, until its first reading says where: what the board had drawn of the
    allowance by then is not the session's. -1 where the beginning is known."""
    granted: int = 0
    """The highest count that the board was ever granted for this session; nothing is added once it is ending."""
    count: int = 0
    paid: int = 0
    payments: int = 0
    brought: int = 0
    spent: int = 0
    reserved: dict[str, int] = field(default_factory=dict)
    reserved_at: int = 0
    """When the newest reservation was made."""
    settled: list[str] = field(default_factory=list)
    """The gates' last ids, so that a repeated settle or release is answered and not done again."""
    next_n: int = 1
    drawn: int = 0
    """Numbers up to this one may have been told; after a restart none of them is drawn again."""
    out: dict[int, int] = field(default_factory=dict)
    waiting_since: int = 0
    """Since when there has always been an invoice out and none was paid."""
    dropped: dict[int, int] = field(default_factory=dict)
    ending_at: int = 0
    """When the end was asked for; the session is open until the board has stopped."""
    reason: str = ""
    end_boot: str = ""
    end_register: int = 0
    charged_final: int = -1
    closed_at: int = 0
    refund_bolt11: str = ""
    refund_used: list[str] = field(default_factory=list)
    """Refund invoices that were paid: a repeated Close may not offer them again."""
    claimed: int = 0
    refunding: int = 0
    """What is to arrive by the refund that is under way."""
    refund_maxfee: int = -1
    refund_borne: int = -1
    """-1: an older version began the refund, and its seller bears all of the fee."""
    refunded: int = 0
    """What was given back, the fees that refunds bear themselves included."""
    refund_fee: int = 0
    fees_borne: int = 0
    """Refunds' fees that the seller bore."""
    refund_why: str = ""
    refund_held: bool = False
    """Whether what is owed waits for a person: the books are of an older copy of the journal."""
    alarm: str = ""
    """What a person has to look at."""
    taken: int = 0
    lapsed: int = 0
    revision: int = 0
    revisions_lost: int = 0
    """Up to which revision receipts may have been signed that an older copy of the journal does not have."""
    receipt: str = ""
    signature: str = ""
    head: str = CHAIN_START
    txs: dict[int, Growing] = field(default_factory=dict)
    """On-chain: growing transactions whose fate is open, the newest one last."""
    tx_count: int = 0
    taken_versions: dict[int, int] = field(default_factory=dict)
    """The newest versions that count, and for how much: a repeated one is answered and not taken again."""
    txids: list[str] = field(default_factory=list)
    """The newest ones that were broadcast."""
    fees: int = 0
    """What the transactions cost their buyer in fees (sat)."""
    basic_fees: int = 0
    """What they would have cost with a transaction for each payment (sat)."""
    first_fee: int = 0
    lost: int = 0
    """What conflicting spends took (sat)."""
    arrived: int = 0
    """What is confirmed as deep as agreed (sat)."""
    bump_fees: int = 0
    """What we paid to have stuck ones confirmed (sat)."""

    # Memory only: repeated from the state after a restart.
    spares: Spares = field(default_factory=Spares)
    last_n: int = -1
    """The newest number that was drawn since the start; -1: none was."""
    seq: int = 0
    low_told: bool = False
    signing: str = ""
    refund_tried_at: int = 0
    bolt11: dict[int, str] = field(default_factory=dict)
    signed_at: int = 0
    sent: dict[int, tuple[int, int]] = field(default_factory=dict)
    """When an invoice was last sent to the buyer, and how often."""
    asked_at: dict[int, int] = field(default_factory=dict)
    """When the node was last asked for an invoice (by n) or to delete it (by -n)."""
    refund_fails: int = 0
    refund_step: int = 0
    """How far the fee of the next try goes: a refund begins with what the seller bears, and then bears more itself."""
    touched_at: int = 0
    told_at: int = 0
    agreed: bool = False
    """The buyer took the terms, in arrears. Once delivery has started, the journal says so."""
    arriving: set[int] = field(default_factory=set)
    """Invoices whose payment was accepted and not yet credited. Paid or not they count as out in the exposure, so that
    the next one may be asked for meanwhile; only the window does not count them."""
    address_at: int = 0
    used_at: int = 0
    """When its count moved last."""
    allowance_left: bool = False
    """Of an opening: whether the standby allowance was not used up when it was asked for."""
    look_at: dict[int, int] = field(default_factory=dict)
    checking: dict[int, int] = field(default_factory=dict)
    """The version that is being checked, and since when."""
    known: list[int] = field(default_factory=list)
    """Transactions that the node was seen to know since they were broadcast."""
    seen_height: dict[int, int] = field(default_factory=dict)
    """The node's height when a transaction was first seen on its way, or a child last paid for it."""
    gone_at: int = 0
    """Since when the buyer is not connected; 0 while it is."""
    ask_at: int = 0
    """When a debt may be asked for again: one whose invoice expired waits for its buyer, or a day."""

    @property
    def first(self) -> First:
        """What the label of its first invoice says."""
        return First(self.meter, self.id, self.buyer, self.tariff.mark)

    @property
    def received(self) -> int:
        return self.paid + self.brought - self.lost * 1000

    @property
    def growing(self) -> Growing | None:
        """The transaction that still grows, if there is one."""
        g = self.txs.get(self.tx_count)
        return g if g is not None and g.state == GROWING else None

    @property
    def held_msat(self) -> int:
        """What only the highest version stands for: until it is broadcast, the buyer could spend it elsewhere."""
        g = self.growing
        return g.value * 1000 if g is not None else 0

    @property
    def unconfirmed_msat(self) -> int:
        """What was broadcast and is not yet as deep as agreed, without what is known as lost."""
        return sum(g.value - g.lost for g in self.txs.values() if g.pending and g.state != GROWING) * 1000

    @property
    def single_fees(self) -> int:
        """What the session would have cost in fees as growing transactions (sat)."""
        return self.fees if self.tariff.hold_msat > self.tariff.slice_msat else self.first_fee

    @property
    def ticks(self) -> int:
        """Whole use of the session so far; what came before its delivery started was the seller's allowance."""
        return max(0, self.count - self.start_count) if self.start_count >= 0 else 0

    @property
    def charged_ticks(self) -> int:
        """Ticks that the charge pays for; a board may have delivered more, of the seller's allowance."""
        for_ticks = self.charged - self.spent
        return self.ticks if for_ticks == self.tariff.charge(self.ticks) else self.tariff.ticks(for_ticks)

    @property
    def on_hold(self) -> int:
        return sum(self.reserved.values())

    @property
    def _for_ticks(self) -> int:
        """What ticks may be charged against: a board's last sample may pass its grant, and that is not the buyer's."""
        limit = 0 if self.tariff.prepaid else self.tariff.limit_msat
        return max(0, self.received + self.lost * 1000 + limit - self.spent - self.on_hold)

    @property
    def charged(self) -> int:
        if self.charged_final >= 0:
            return self.charged_final
        return min(self.tariff.charge(self.ticks), self._for_ticks) + self.spent

    @property
    def credit(self) -> int:
        return self.received - self.charged - self.on_hold

    @property
    def out_msat(self) -> int:
        return sum(self.out.values())

    @property
    def owed(self) -> int:
        """What the seller owes the buyer, once delivery is over."""
        if self.phase == OPEN:
            return 0
        return max(0, self.received - self.charged - self.refunded - self.taken - self.lapsed)

    @property
    def debt(self) -> int:
        """What the buyer owes the seller (arrears only)."""
        given = self.charged + self.refunded + self.taken + self.lapsed
        return max(0, given - self.received)

    @property
    def dust_msat(self) -> int:
        """What is due under this at the end can't be paid any more, and keeps nobody."""
        return DUST_SAT * 1000 if self.tariff.onchain else DUST_MSAT

    @property
    def firm(self) -> bool:
        """Whether nothing that was paid can still be taken back: only then is anything given on or back."""
        return not any(g.pending for g in self.txs.values())

    @property
    def grant_count(self) -> int:
        """The count up to which what is paid (or, in arrears, trusted) may be delivered."""
        return self.start_count + self.tariff.ticks(self._for_ticks) if self.start_count >= 0 else 0

    @property
    def deliverable(self) -> int:
        """Whole ticks that could be delivered from here."""
        return self.tariff.ticks(self._for_ticks) - self.ticks

    @property
    def left_msat(self) -> int:
        """What may still be used: the credit, or in arrears what is left of the limit."""
        return max(0, self.credit if self.tariff.prepaid else self.tariff.limit_msat + self.credit)

    @property
    def low(self) -> bool:
        return self.left_msat < self.tariff.low_water_msat

    def number(self) -> int:
        """Return a number for an invoice that none had before, over restarts too: spares use up numbers as well."""
        self.last_n = max(self.next_n - 1, self.last_n if self.last_n >= 0 else self.drawn) + 1
        return self.last_n

    def spare_after(self, amount: int, hurry: bool) -> int:
        """Return what the next invoice will likely be for, after one of `amount`; 0 where nobody can tell."""
        if not self.tariff.prepaid:
            return 0
        if self.tariff.window > 1:
            return self.tariff.slice_msat
        return amount // 2 if hurry else 0

    def buys_a_tick(self, amount: int) -> bool:
        return not self.tariff.prepaid or self.tariff.ticks(self.received - self.charged + amount) >= 1

    def next_invoice(self) -> int:
        """Return the amount in msat of the invoice that is due now, 0 for none. Reading becomes money here."""
        t = self.tariff
        if (
            len(self.out.keys() - self.arriving) >= t.window
            or not self.buyer
            or (self.ending_at and self.phase == OPEN)
        ):
            return 0
        if t.session_max_msat and self.phase == OPEN:
            left = t.session_max_msat - self.received - self.out_msat
        else:
            left = t.slice_msat
        amount = self._due_prepaid() if t.prepaid else self._due_arrears()
        amount = max(0, min(amount, left))
        if t.onchain:
            amount = self._fitting(amount)
        return amount if self.buys_a_tick(amount) else 0

    def _fitting(self, amount: int) -> int:
        """Return what of an amount fits a transaction: whole sat, no dust, and within what may be held."""
        held, t = self.held_msat, self.tariff
        amount = min(amount, t.hold_msat - held, t.unconfirmed_msat - self.unconfirmed_msat - held) // 1000 * 1000
        return amount if held or amount >= DUST_SAT * 1000 else 0

    def _due_prepaid(self) -> int:
        t = self.tariff
        if self.phase != OPEN:
            return 0
        unused = self.received - self.charged
        room = min(t.quantum_msat - unused - self.out_msat, t.slice_msat)
        coming = unused + self.out_msat
        due = room >= t.slice_msat or coming < t.low_water_msat or t.ticks(coming) < 1
        return room if due else 0

    def _due_arrears(self) -> int:
        due = self.charged - self.received - self.out_msat
        if self.phase == OPEN and due < self.tariff.slice_msat:
            return 0
        return min(due, self.tariff.slice_msat)

    @property
    def of_older(self) -> bool:
        """Whether an older copy of the journal had it when that was put in its place."""
        return self.revisions_lost > 0

    @property
    def next_revision(self) -> int:
        return max(self.revision, self.revisions_lost) + 1

    @property
    def figures(self) -> tuple[int, ...]:
        """What a receipt states; a new revision is due when it changes."""
        return (self.received, self.charged, self.refunded + self.taken, self.lapsed, self.owed, self.debt)

    @property
    def void(self) -> bool:
        """Whether it ended and nothing was ever paid or used: it gets no receipt."""
        return self.phase == CLOSED and not self.revision and not (self.payments or self.brought or self.charged)

    @property
    def done(self) -> bool:
        """True where nothing can follow any more, so that it need not be kept in memory."""
        due = self.owed or self.debt >= self.dust_msat or self.refunding or self.alarm or not self.firm
        return self.phase == CLOSED and not (due or self.out or self.dropped or self.signing)
