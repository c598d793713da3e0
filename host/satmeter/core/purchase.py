"""A purchase: the buyer's side of one session (a stream), as the fold of its events."""

from dataclasses import dataclass, field
from typing import Any

from . import events as ev
from .boots import with_earlier
from .growing import DUST_SAT, Signed
from .journal import Event
from .policy import Policy, kept_back
from .receipt import figures
from .sale import DUST_MSAT
from .snapshot import dump, revive
from .tariff import Tariff

OPENING, STREAMING, PAUSED, CLOSING, CLOSED = "opening", "streaming", "paused", "closing", "closed"
DAY_MS = 86_400_000
HANDLED = 1_000
HASHES = 10_000
"""Hashes of payments that are remembered; of older ones the node knows that they were paid."""
REFUSALS = 20


@dataclass(slots=True)
class Flight:
    """A payment that was started: counts as spent, fee included, until the node says otherwise."""

    amount: int
    maxfee: int
    hash: str
    started_at: int = 0
    """0: an earlier version began it."""


@dataclass(slots=True)
class Purchase:
    """State of a stream. `paid` is the sum of invoices, `sent` what left us for them, fees included."""

    id: str
    seller: str
    meter: str
    address: str
    policy: Policy
    opened_at: int
    state: str = OPENING
    tariff: Tariff | None = None
    carried: int = 0
    agreed_at: int = 0
    paid: int = 0
    sent: int = 0
    payments: int = 0
    flights: dict[int, Flight] = field(default_factory=dict)
    started: int = 0
    """The highest number of an invoice that a payment was ever started for."""
    handled: list[int] = field(default_factory=list)
    handled_below: int = 1
    """Every invoice under this number is settled; `handled` are those settled out of turn."""
    ticks: int = 0
    ticks_at: int = 0
    reason: str = ""
    ended_at: int = 0
    refusals: list[dict[str, Any]] = field(default_factory=list)
    breached: bool = False
    """The seller asked for what was not agreed: nothing more is paid to it for this stream, whatever it signs."""
    refund_bolt11: str = ""
    refund_made: int = 0
    refund_at: int = 0
    revision: int = 0
    receipt: str = ""
    signature: str = ""
    verified: bool = False
    owed: int = 0
    why: str = ""
    """Why it ended as it did, or what its receipt states other than we know it."""
    trouble: str = ""
    """Why the newest payment that failed did."""
    code: int = 0

    signed: Signed | None = None
    """On-chain: the transaction that grows, or the last one."""
    tx_count: int = 0
    strays: dict[int, Flight] = field(default_factory=dict)
    """On-chain: versions that the seller has and does not count; a newer receipt may count them yet. Of Lightning:
    payments that a person has given up, and that may settle yet."""

    most: int = -1
    """In arrears, after a close: all that this stream may ever pay, what was paid before included; -1: no close yet."""
    most_flights: list[int] = field(default_factory=list)
    """Payments that `most` counts and that were in flight at the close: the room of one that fails goes with it."""
    most_ticks: int = -1
    """After a close: the highest count that is paid for, where an own sensor told it; else -1."""
    debt_refused: bool = False
    arrivals: dict[str, int] = field(default_factory=dict)
    """What came by refund invoices of this stream, by label; our node may have cleaned them away since."""
    carried_on: int = 0
    """What of the refunds that its receipt states is explained by credit in a later stream."""

    sensor_boot: str = ""
    sensor_boots: list[str] = field(default_factory=list)
    """Boots of the own sensor before this one."""
    sensor_offset: int = 0
    sensor_start: int | None = None

    # Memory only.
    seq: int = 0
    heard_at: int = 0
    asked_at: int = 0
    tries: int = 0
    closing_at: int = 0
    invoices: dict[int, Any] = field(default_factory=dict)
    ahead: dict[str, Any] = field(default_factory=dict)
    """Invoices that were told ahead, with what our node found in them."""
    told_ticks: int = 0
    told_seq: int = 0
    told_at: int = 0
    expired_n: int = 0
    expired_at: int = 0
    """The invoice that had expired when it came, where none was paid since, and when that was."""
    touched_at: int = 0
    cut_off: bool = False
    sensor_count: int = 0
    sensor_at: int = 0
    waits: str = ""
    """Why nothing is paid just now."""
    credit: int = 0
    increment: Any = None
    """The seller's request that waits for inputs."""
    later: Any = None
    """One that waits until it is known whether the version in flight counts."""
    funding_at: int = 0
    renewed_at: int = 0
    raw: str = ""
    """The version in flight, signed."""
    version_at: int = 0
    version_tries: int = 0

    @property
    def own_ticks(self) -> int | None:
        """The use of this stream as the own sensor has it, None where it can't tell."""
        return None if self.sensor_start is None or not self.sensor_at else self.sensor_count - self.sensor_start

    @property
    def fees(self) -> int:
        return self.sent - self.paid

    @property
    def in_flight(self) -> int:
        """What is out and not settled, with the highest fees."""
        return sum(f.amount + f.maxfee for f in self.flights.values())

    @property
    def stray(self) -> int:
        """What went astray, in msat, fees included: it can still be broadcast, so it stays spent."""
        return sum(f.amount + f.maxfee for f in self.strays.values())

    @property
    def fee_left(self) -> int:
        """The most that the next payment may cost in fees. Each slice of amount earns one max_fee_msat, and a window
        of them is advanced: else a seller could live on the fees of invoices for next to nothing."""
        if self.tariff is None:
            return 0
        slices = self.tariff.window + (self.committed - self.carried) // self.tariff.slice_msat
        spent = self.fees + sum(f.maxfee for f in self.flights.values())
        return max(0, min(self.policy.max_fee_msat, slices * self.policy.max_fee_msat - spent))

    @property
    def arrived(self) -> int:
        return sum(self.arrivals.values())

    @property
    def arrears(self) -> bool:
        return self.tariff is not None and not self.tariff.prepaid

    @property
    def may_still_pay(self) -> int:
        """The most that this stream may still pay after its close; 0 before it, where the budget bounds it."""
        return max(0, self.most - self.committed) if self.most >= 0 and self.pays else 0

    @property
    def disputed(self) -> bool:
        """Whether a receipt that its seller signed states other than we know."""
        return self.verified and bool(self.why)

    @property
    def kept_back(self) -> int:
        """What of the budget no invoice of a running stream may use: in arrears, what may be owed when it ends."""
        if self.tariff is None or self.tariff.prepaid or self.state != STREAMING:
            return 0
        return kept_back(self.policy, self.tariff)

    @property
    def committed(self) -> int:
        """Invoices paid or being paid, and what was carried in: all that the seller may hold of ours."""
        return self.carried + self.paid + sum(f.amount for f in self.flights.values())

    @property
    def exposure(self) -> int:
        """What is lost if the seller vanishes now: paid or in flight and not used, and the fees of what flies."""
        if self.tariff is None or self.state == CLOSED:
            return self.in_flight + self.stray
        return max(0, self.carried + self.paid - self.tariff.charge(self.ticks)) + self.in_flight + self.stray

    @property
    def relay(self) -> bool:
        """Whether the buyer's own relay may be on: only while a stream runs that is paid for."""
        return self.state == STREAMING and (self.payments > 0 or self.carried > 0 or self.arrears)

    def was_handled(self, n: int) -> bool:
        return n < self.handled_below or n in self.handled

    def note_handled(self, n: int) -> None:
        done = sorted({*self.handled, n})
        if len(done) > HANDLED:  # those between were never paid; now they never will be
            self.handled_below = max(self.handled_below, done[-HANDLED])
        while self.handled_below in done:
            self.handled_below += 1
        self.handled = [n for n in done if n > self.handled_below]

    @property
    def short(self) -> bool:
        """True where the seller owes us something, or its receipt knows less of our payments than we made."""
        stated = figures(self.receipt)
        dust = self.owed < DUST_MSAT  # no way carries it; it is credit in the next stream to this seller
        return bool(self.verified and (not dust or (stated and stated[0] < self.carried + self.paid)))

    @property
    def debt(self) -> int:
        """What a signed receipt says that we owe for what was delivered: its invoices are still paid."""
        stated = figures(self.receipt)
        if not (self.verified and self.arrears and stated and stated[5]) or self.breached or self.debt_refused:
            return 0
        return max(0, stated[1] - self.carried - self.paid)

    @property
    def pays(self) -> bool:
        """Whether invoices are paid in this state: a debt is, to its end; never one without a bound."""
        if self.arrears and self.state in (CLOSING, CLOSED) and self.most < 0:
            return False
        if self.state == CLOSED:
            return self.debt > 0
        arrears = self.arrears and not self.breached and not self.debt_refused
        return self.state == STREAMING or (self.state == CLOSING and arrears)

    @property
    def ending(self) -> bool:
        """True while we have to ask for a receipt or a refund."""
        return self.state == CLOSING or (self.state == CLOSED and self.short)

    @property
    def done(self) -> bool:
        onchain = self.tariff is not None and self.tariff.onchain
        dust = DUST_SAT * 1000 if onchain else DUST_MSAT  # no transaction for less would be relayed
        return self.state == CLOSED and not (self.flights or self.short or self.debt >= dust)


MEMORY = frozenset(
    {
        "seq",
        "heard_at",
        "asked_at",
        "tries",
        "closing_at",
        "invoices",
        "ahead",
        "told_ticks",
        "told_seq",
        "told_at",
        "expired_n",
        "expired_at",
        "touched_at",
        "cut_off",
        "sensor_count",
        "sensor_at",
        "waits",
        "credit",
        "increment",
        "later",
        "funding_at",
        "renewed_at",
        "raw",
        "version_at",
        "version_tries",
    }
)


class Ledger:
    """The buyer's books: live purchases by id, and what each day has cost (msat, fees included, by UTC day)."""

    def __init__(self) -> None:
        self.purchases: dict[str, Purchase] = {}
        self.days: dict[int, int] = {}
        self.hashes: dict[str, tuple[str, int]] = {}
        """The newest hashes that a payment was ever started for, with its stream and number: each is paid once."""
        self.carried: dict[str, int] = {}
        """By seller: credit that later streams got from earlier ones, and no receipt has explained yet (msat)."""

    def spent_on(self, at: int) -> int:
        """Return what that day has cost, payments in flight included."""
        return self.days.get(at // DAY_MS, 0) + sum(p.in_flight for p in self.purchases.values())

    def apply(self, e: Event) -> None:
        if isinstance(e, ev.StreamOpened):
            policy = Policy(**e.policy)
            self.purchases[e.stream] = Purchase(e.stream, e.seller, e.meter, e.address, policy, e.at)
            return
        if isinstance(e, ev.StreamRecalled):
            self._revive(e.state)
            return
        _FOLD[type(e)](self, self.purchases[e.stream], e)

    def balances(self) -> dict[str, Any]:
        """What must come out the same however the ledger was put together: of each live stream its money and state."""
        return {
            p.id: (p.paid, p.sent, p.payments, p.carried, p.in_flight, p.state, p.revision)
            for p in self.purchases.values()
        }

    def dump(self) -> dict[str, Any]:
        return {
            "days": self.days,
            "hashes": self.hashes,
            "carried": self.carried,
            "purchases": [dump(p, MEMORY) for p in self.purchases.values()],
        }

    def load(self, dumped: dict[str, Any]) -> None:
        self.days = {int(day): spent for day, spent in dumped["days"].items()}
        self.hashes = {known: (session, n) for known, (session, n) in dumped.get("hashes", {}).items()}
        self.carried = dict(dumped.get("carried", {}))
        for values in dumped["purchases"]:
            self._revive(values)

    def _revive(self, dumped: dict[str, Any]) -> None:
        flights, strays = (
            {int(n): Flight(**f) for n, f in dumped.get(kind, {}).items()} for kind in ("flights", "strays")
        )
        signed = Signed(**dumped["signed"]) if dumped.get("signed") else None
        p = revive(
            Purchase,
            {**dumped, "policy": Policy(**dumped["policy"]), "flights": flights, "strays": strays, "signed": signed},
        )
        self.purchases[p.id] = p

    def terms_agreed(self, p: Purchase, e: ev.TermsAgreed) -> None:
        p.tariff, p.carried, p.state = Tariff(**e.tariff), e.carried, STREAMING
        p.agreed_at = p.ticks_at = e.at

    def credit_carried(self, p: Purchase, e: ev.CreditCarried) -> None:
        self.carried[p.seller] = self.carried.get(p.seller, 0) + e.amount - p.carried
        p.carried = e.amount

    def sensor_booted(self, p: Purchase, e: ev.SensorBooted) -> None:
        if e.boot != p.sensor_boot:
            p.sensor_boots = with_earlier(p.sensor_boots, p.sensor_boot)
        p.sensor_boot, p.sensor_offset, p.sensor_start = e.boot, e.offset, e.start

    def payment_started(self, p: Purchase, e: ev.PaymentStarted) -> None:
        p.started = max(p.started, e.n)
        p.flights[e.n] = Flight(e.amount, e.maxfee, e.hash, e.at)
        p.ticks, p.ticks_at = max(p.ticks, e.ticks), e.at
        self.hashes[e.hash] = (p.id, e.n)
        while len(self.hashes) > HASHES:
            del self.hashes[next(iter(self.hashes))]

    def inputs_chosen(self, p: Purchase, e: ev.InputsChosen) -> None:
        p.tx_count = e.k
        p.signed = Signed(e.k, e.address, e.feerate, e.fee, e.maximum, e.change, [list(each) for each in e.inputs])

    def version_signed(self, p: Purchase, e: ev.VersionSigned) -> None:
        assert p.signed is not None
        p.signed.value, p.signed.n = e.value, e.n
        p.signed.versions += 1
        p.started = max(p.started, e.n)
        p.flights[e.n] = Flight(e.amount, e.fee, "")
        p.ticks, p.ticks_at = max(p.ticks, e.ticks), e.at

    def payment_settled(self, p: Purchase, e: ev.PaymentSettled) -> None:
        counted = e.n in p.strays  # in the day's budget, since it went astray
        flight = p.strays.pop(e.n) if counted else p.flights.pop(e.n)
        p.paid += flight.amount
        p.sent += e.sent
        p.payments += 1
        p.note_handled(e.n)
        self._spent(e.at, 0 if counted else e.sent)

    def _spent(self, at: int, amount: int) -> None:
        day = at // DAY_MS
        self.days = {d: v for d, v in self.days.items() if d >= day - 1}
        self.days[day] = self.days.get(day, 0) + amount

    def version_strayed(self, p: Purchase, e: ev.VersionStrayed) -> None:
        flight = p.strays[e.n] = p.flights.pop(e.n)
        p.note_handled(e.n)
        self._spent(e.at, flight.amount + flight.maxfee)

    def payment_given_up(self, p: Purchase, e: ev.PaymentGivenUp) -> None:
        flight = p.strays[e.n] = p.flights.pop(e.n)
        p.note_handled(e.n)
        self._spent(e.at, flight.amount + flight.maxfee)
        self._out_of_most(p, e.n, flight)

    def payment_failed(self, p: Purchase, e: ev.PaymentFailed) -> None:
        p.trouble = e.why
        self._out_of_most(p, e.n, p.flights.pop(e.n))

    def _out_of_most(self, p: Purchase, n: int, flight: Flight) -> None:
        """What was in flight at the close and does not count any more makes no room for other payments."""
        if n in p.most_flights:
            p.most_flights.remove(n)
            p.most -= flight.amount if p.most >= 0 else 0

    def invoice_refused(self, p: Purchase, e: ev.InvoiceRefused) -> None:
        p.breached = p.breached or e.evidence.get("error") == "PolicyBreach"
        p.refusals = [*p.refusals, {"at": e.at, "n": e.n, "why": e.why, "evidence": e.evidence}][-REFUSALS:]

    def stream_paused(self, p: Purchase, e: ev.StreamPaused) -> None:
        p.state = PAUSED

    def stream_resumed(self, p: Purchase, e: ev.StreamResumed) -> None:
        p.state = STREAMING

    def budget_changed(self, p: Purchase, e: ev.BudgetChanged) -> None:
        p.policy = Policy(**e.policy)

    def refund_invoiced(self, p: Purchase, e: ev.RefundInvoiced) -> None:
        p.refund_bolt11, p.refund_at = e.bolt11, e.at
        p.refund_made += 1

    def stream_closing(self, p: Purchase, e: ev.StreamClosing) -> None:
        p.state, p.reason, p.ended_at = CLOSING, e.reason, e.at
        p.most, p.most_ticks, p.most_flights = e.most, e.most_ticks, list(p.flights)
        if e.most < 0 and p.arrears and p.tariff is not None:  # by an older version
            p.most = p.committed + p.tariff.limit_msat

    def debt_refused(self, p: Purchase, e: ev.DebtRefused) -> None:
        p.debt_refused = True

    def stream_closed(self, p: Purchase, e: ev.StreamClosed) -> None:
        news = e.verified and p.tariff is not None  # a newer receipt may have put right what was wrong with the last
        p.state, p.why, p.code = CLOSED, e.why if news else e.why or p.why, e.code or p.code
        p.revision, p.receipt, p.signature, p.verified = e.revision, e.text, e.signature, e.verified
        self.carried[p.seller] = self.carried.get(p.seller, 0) - (e.carried_on - p.carried_on)
        p.arrivals, p.carried_on = {**p.arrivals, **e.arrivals}, e.carried_on
        if not self.carried[p.seller]:
            del self.carried[p.seller]
        found = figures(e.text)
        p.owed = found[4] if found and e.verified else 0
        p.reason = p.reason or ("closed by the seller" if e.verified else e.why)
        if p.owed and found[2]:
            p.refund_bolt11 = ""  # it is used, and something came late: offer another


_FOLD: dict[type[Event], Any] = {
    cls: getattr(Ledger, cls.kind())
    for cls in vars(ev).values()
    if isinstance(cls, type) and issubclass(cls, Event) and hasattr(Ledger, cls.kind())
}
