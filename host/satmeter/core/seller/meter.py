"""A meter: one sellable outlet, its count and its standby allowance, and the register that its board may reach.

The board counts a register within one boot. The meter's count goes on over boots: count = offset + register.
"""

from dataclasses import dataclass, field

from ..boots import is_earlier
from ..errors import Implausible
from ..reading import LESSER_FAULTS, Reading
from ..states import MeterState
from ..tariff import OFF, Tariff


def why_not(seen_at: int, fault: str, plugged: bool, now: int, silent_ms: int) -> str:
    """Returns why a board can't deliver at `now`, "" where it can; it was heard at `seen_at` (ms), and says `fault`."""
    if now - seen_at > silent_ms:
        return "the board is silent"
    if fault:
        return f"the board can't deliver: {fault}"
    return "" if plugged else "nothing is plugged in"


@dataclass(frozen=True, slots=True)
class OwnInvoice:
    """The wallet invoice that a meter made by itself last (self_service.py): its number, 0 for none, and its choice."""

    number: int = 0
    text: str = ""
    amount_msat: int = 0


@dataclass(slots=True)
class MeterMemory:
    """What only memory needs of a meter: what its board says now, and what is being asked of the node."""

    seen_at: int = 0
    """When the board was heard last; 0 until its first report."""
    said_at: int = 0
    """When it said what was heard last: a bridge may tell it late."""
    answered_at: int = 0
    """When the report before the newest one was heard: what it was answered, the board has learned since."""
    flow: int = 0
    plugged: bool = True
    grant_held: int | None = None
    """The grant that the board said it holds; None where it does not say."""
    display: str = ""
    fault: str = ""
    fault_at: int = 0
    """When the board began to say that it can't deliver; 0 while it can."""
    refused: str = ""
    """Why the newest reading that was refused, at `refused_at`, was."""
    refused_at: int = 0
    jumped: tuple[int, int, str] = (0, 0, "")
    """When a register was refused that rose faster than the rating, that register, and of which boot."""
    paced_at: int = 0
    """Since when what comes next may have flowed, by the rating; see Tariff.paced_ms."""
    rated_at: int = 0
    rated_from: int = 0
    looked_at: dict[int, int] = field(default_factory=dict)
    """When the node was last asked for a wallet invoice, by its number."""
    made: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Wallet invoices that the node has made, by number: the text, and when it expires (ms)."""
    shown: str = ""
    """The one that was shown when time was looked at last."""
    presses: int | None = None
    """How often the button was pressed within the present boot; None until the first report."""
    choice: int = 0
    """Which choice a person has made, counted on at each press."""
    position: int | None = None
    """Where the potentiometer stands (permille); None until the first report."""
    turned_at: int = 0
    """When it was turned last (ms)."""
    turning: str = ""
    """The choice that it points at while it is turned, before there is an invoice of it."""
    chosen_at: int = 0
    """When the plug or the button last asked for an invoice (ms); 0: never."""
    own_invoice: OwnInvoice = OwnInvoice()


@dataclass(frozen=True, slots=True)
class DustDebt:
    """A debt of a session that ended at `ended_at` (ms)."""

    ended_at: int
    debt_msat: int


@dataclass(slots=True)
class Meter:
    """A meter as its events leave it; times in milliseconds, counts in ticks."""

    name: str
    tariff: Tariff
    state: MeterState = MeterState.STANDBY
    session: str = ""
    board: str = ""
    """The id of the board that counts for it; "" until the first one reports."""
    rebound: bool = False
    """Another board was bound: its first reading says where its register stands, and adds no ticks."""
    boot: str = ""
    boots: list[str] = field(default_factory=list)
    """Boots before this one, newest last: what a bridge tells of them late was counted before."""
    booted_at: int = 0
    """When the present boot was first taken."""
    offset: int = 0
    count: int = 0
    period_at: int = 0
    period_count: int = 0
    paid_until_count: int = 0
    """Up to which count sessions were charged that ended while the board was not heard: its present boot may still
    report that, another boot can't."""
    dust_debts: list[DustDebt] = field(default_factory=list)
    """Debts of ended sessions that are too small to be paid by themselves."""
    lock_until: int = 0
    lock_buyer: str = ""
    lock_session: str = ""
    wallet_invoices: dict[int, int] = field(default_factory=dict)
    """Unpaid invoices for any wallet, by number (msat)."""
    notes: dict[int, str] = field(default_factory=dict)
    """Notes of payers that came with some of them, by number."""
    offers: list[str] = field(default_factory=list)
    """Ids of its standing offers."""
    recorded: int = 0
    """The count in the newest event: what a crash now would forget is `count` beyond it."""
    memory: MeterMemory = field(default_factory=MeterMemory)

    @property
    def subject(self) -> str:
        """The subject of the meter's events in the journal: meter/NAME."""
        return f"meter/{self.name}"

    @property
    def register(self) -> int:
        """The board's register in its present boot, in ticks."""
        return self.count - self.offset

    def wallet_invoice(self, now: int) -> str:
        """Return the invoice that a wallet may pay now, "" for none: not one that is paid, cancelled or expired."""
        number = self.shown_number
        bolt11, until = self.memory.made.get(number, ("", 0))
        return bolt11 if number in self.wallet_invoices and now < until else ""

    @property
    def shown_number(self) -> int:
        """The number of the wallet invoice that the meter shows, 0 for none.

        A meter that serves itself shows its own: what a page or an RPC call asked for is shown there. Another one shows
        the newest."""
        if self.tariff.self_service != OFF and self.memory.own_invoice.number:
            return self.memory.own_invoice.number
        return max(self.memory.made, default=0)

    @property
    def allowance_count(self) -> int:
        """The count up to which the standby allowance of this period goes."""
        return self.period_count + self.tariff.allowance_ticks if self.tariff.allowance_ticks else 0

    @property
    def allowance_used(self) -> bool:
        """Whether this period's standby allowance is used up; False where the tariff has none."""
        return self.tariff.allowance_ticks > 0 and self.count >= self.allowance_count

    def silent(self, now: int, silent_ms: int) -> bool:
        """Returns whether the board was not heard for more than `silent_ms`; `now` in ms."""
        return now - self.memory.seen_at > silent_ms

    def undeliverable(self, now: int, silent_ms: int) -> str:
        """Return why nothing can be delivered now, "" if it can."""
        board = self.memory
        return why_not(board.seen_at, board.fault if board.fault_at else "", board.plugged, now, silent_ms)

    def period_over(self, now: int) -> bool:
        """True where a new allowance is due; nothing is due while the present one is untouched."""
        return (
            self.tariff.allowance_ticks > 0
            and self.count > self.period_count
            and now >= self.period_at + self.tariff.allowance_period_s * 1000
        )

    def offset_after_boot(self, base: int, register: int, now: int) -> int:
        """Return the offset for a new boot whose register began at `base` and stands at `register`.

        A board that kept its register over the reset (`base` is beyond what we know) keeps its offset, so that what it
        counted between our last reading and the reset is not lost. A board that begins at 0, or whose register had
        jumped, gets an offset from which our count goes on.
        """
        if self.rebound:
            return self.count - register
        kept = base and base >= self.register and not self._too_fast(self.offset + base, now)
        return self.offset if kept else self.count - base

    def check_reporter(self, board: str, boot: str, said_at: int) -> None:
        """Raise Implausible for a reading of another board, or of a boot before the present one.

        `said_at` is when the board said it, in ms."""
        if board and self.board and board != self.board:
            raise Implausible(
                f"board {board} reports for meter {self.name}, whose board is {self.board}: another cable, or another "
                f"bridge? If it is to take over: meter-bind {self.name} {board}",
                board=board,
            )
        if is_earlier(boot, said_at, self.boot, self.booted_at, self.boots):
            raise Implausible(
                f"boot {boot} of meter {self.name} was before its boot {self.boot}: two boards, or two bridges, report",
                boot=boot,
            )

    def count_at(self, register: int, now: int) -> int:
        """Returns the meter's count, in ticks, for a register of the present boot.

        A register that rose too fast is refused once. Where it stays there, the count keeps its value:
        it is not known how much of the jump was delivered, so the jump is not charged.

        Raises:
            Implausible: The register went back, or rose faster than the rating allows.
        """
        if register < self.register:
            raise Implausible(
                f"register {register} of meter {self.name}: went back from {self.register} within boot {self.boot}",
                register=register,
            )
        count = self.offset + register
        why = self._too_fast(count, now)
        if not why:
            return count
        if self._stays(register, now):
            return self.count
        self.memory.jumped = now, register, self.boot
        raise Implausible(f"register {register} of meter {self.name}: {why}", register=register)

    def _too_fast(self, count: int, now: int) -> str:
        """Returns why a count is higher than the rating allows, "" where it is not.

        Two spans are checked. From the last count, so that ticks which a hanging report held back are
        counted; and from when the rating was first applied, so that its slack is not used again at each
        reading. "" also without a rating or an earlier reading."""
        rating = self.tariff.rating_ticks_per_s
        for since, start in (
            ((self.memory.paced_at, self.count), (self.memory.rated_at, self.memory.rated_from))
            if rating and self.memory.seen_at
            else ()
        ):
            most = self.tariff.most_ticks(now - since)
            if count - start > most:
                return f"{count - start} ticks in {now - since} ms, but its rating of {rating} ticks/s allows {most}"
        return ""

    def _stays(self, register: int, now: int) -> bool:
        """Returns whether a register confirms the jump of the one that was refused just before.

        It confirms it in the same boot, from the refused register up to what the rating allows to flow
        since then."""
        at, there, boot = self.memory.jumped
        flowed = self.tariff.most_ticks(now - at)
        return boot == self.boot and there > self.register and there <= register <= there + flowed

    def take(self, reading: Reading, now: int) -> None:
        """Take over what a reading says of the count and the board, once it is checked."""
        board, before = self.memory, self.count
        self.count = self.offset + reading.register
        board.paced_at = self.tariff.paced_ms(board.paced_at, self.count - before, now - reading.age_ms)
        board.flow, board.plugged, board.grant_held = reading.flow, reading.plugged, reading.grant
        board.display, board.fault = reading.display, reading.fault
        board.fault_at = 0 if board.fault in LESSER_FAULTS else board.fault_at or now
        if not board.seen_at:
            self.rate_from_here(now - reading.age_ms)
        board.answered_at = board.seen_at
        board.jumped, board.seen_at, board.said_at = (0, 0, ""), now, now - reading.age_ms

    def rate_from_here(self, now: int) -> None:
        """Hold the flow against the rating from here on."""
        self.memory.paced_at = self.memory.rated_at = now
        self.memory.rated_from, self.memory.jumped = self.count, (0, 0, "")
