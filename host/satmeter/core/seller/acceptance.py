"""Acceptance: which payments can be delivered now. The node's invoice_payment hook answers from this.

The hook comes on another thread than the core's and must answer at once. So it reads no state: of every meter and
session the core publishes what the answer needs, whole, each time that it changes. An entry never changes; a new one
takes its place.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ..labels import FetchedLabel, First, OpeningLabel, SessionLabel, WalletLabel, journal_of, offer_of, parse
from ..settlement.rules import rules_of
from ..states import MeterState
from ..tariff import Tariff
from .context import SellerContext
from .meter import Meter, why_not
from .session import SellerSession


@dataclass(frozen=True, slots=True)
class _MeterEntry:
    state: MeterState
    session: str
    tariff: Tariff
    wallet_invoices: frozenset[int]
    held_by_a_buyer: bool
    ending: bool
    other_price: bool
    """Whether the session that has it goes on at an earlier price."""
    seen_at: int
    fault: str
    """What keeps its board from delivering."""
    plugged: bool


@dataclass(frozen=True, slots=True)
class _SessionEntry:
    meter: str
    prepaid: bool
    delivers: bool
    out: frozenset[int]
    debtor: str
    """Its buyer, where that owes for it; else ""."""


class Acceptance:
    """Published by the core's thread, read by any."""

    def __init__(self, context: SellerContext) -> None:
        self._context = context
        self._journal, self._silent_ms = context.journal, context.limits.silent_ms
        self._meters: dict[str, _MeterEntry] = {}
        self._sessions: dict[str, _SessionEntry] = {}
        self._waiting: dict[str, First] = {}
        self._debtors: frozenset[str] = frozenset()
        self._offers: dict[str, tuple[str, bool]] = {}
        """By offer_id: the meter, and whether its operator wants it."""
        self.publish_all()

    # --- by the core's thread

    def publish_all(self) -> None:
        """Publish how everything stands: at the start, or where the state was replaced."""
        state = self._context.state
        self._meters, self._sessions, self._waiting, self._debtors = {}, {}, {}, frozenset()
        self.publish([*state.sessions, *(meter.subject for meter in state.meters.values())])

    def publish(self, subjects: Iterable[str]) -> None:
        """Publish how these meters ("meter/NAME") and sessions (by id) stand now."""
        state = self._context.state
        meters = set()
        for subject in subjects:
            if subject.startswith("meter/"):
                meters.add(subject.removeprefix("meter/"))
                continue
            known = self._context.live(subject) or self._sessions.get(subject)
            if known is not None:  # also of a session that this step removes from memory
                meters.add(known.meter)
            self._publish_session(subject)
        if meters:
            self._offers = {each: (offer.meter, offer.wanted) for each, offer in state.offers.items()}
        for name in meters:
            meter = state.meters.get(name)
            if meter is None:
                self._meters.pop(name, None)
            else:
                self._meters[name] = self._entry_of(meter)

    def _entry_of(self, meter: Meter) -> _MeterEntry:
        holder = self._context.state.sessions.get(meter.session)
        return _MeterEntry(
            state=meter.state,
            session=meter.session,
            tariff=meter.tariff,
            wallet_invoices=frozenset(meter.wallet_invoices),
            held_by_a_buyer=holder is not None and bool(holder.buyer),
            ending=holder is not None and holder.ending,
            other_price=holder is not None and not holder.tariff.priced_as(meter.tariff),
            seen_at=meter.memory.seen_at,
            fault=meter.memory.fault if meter.memory.fault_at else "",
            plugged=meter.memory.plugged,
        )

    def _publish_session(self, session_id: str) -> None:
        waiting = self._context.waiting.get(session_id)
        if waiting is None:
            self._waiting.pop(session_id, None)
        else:
            self._waiting[session_id] = waiting.first
        session = self._context.state.sessions.get(session_id)
        before = self._debtor(session_id)
        if session is not None:  # one assignment: another thread reads it meanwhile
            self._sessions[session_id] = _session_entry(session)
        else:
            self._sessions.pop(session_id, None)
        if before != self._debtor(session_id):
            self._debtors = frozenset(entry.debtor for entry in self._sessions.values()) - {""}

    def _debtor(self, session_id: str) -> str:
        entry = self._sessions.get(session_id)
        return entry.debtor if entry is not None else ""

    # --- by any thread

    def is_of_offer(self, label: str) -> bool:
        """Whether the invoice of a label was fetched by an offer of ours."""
        return offer_of(label) in self._offers

    def rejects(self, label: str, now: int, amount_msat: int | None = None) -> str:
        """Return why a payment of `label` can't be delivered now, or "" where it can, or is none of ours."""
        if journal_of(label) not in ("", self._journal):
            return "the invoice is of another journal"
        match parse(label):
            case FetchedLabel(offer_id) if offer_id in self._offers:
                return self._rejects_offer(offer_id, now, amount_msat)
            case OpeningLabel(_, first):
                return self._rejects_first(first, now)
            case WalletLabel(_, meter, number):
                return self._rejects_wallet(meter, number, now)
            case SessionLabel(_, session_id, number):
                return self._rejects_invoice(session_id, number, now)
        return ""

    def _undeliverable(self, meter: _MeterEntry, now: int) -> str:
        return why_not(meter.seen_at, meter.fault, meter.plugged, now, self._silent_ms)

    def _rejects_invoice(self, session_id: str, number: int, now: int) -> str:
        session = self._sessions.get(session_id)
        if session is None:
            return "the session is closed"
        if not session.prepaid:
            return ""
        if number not in session.out:
            return "the invoice is superseded"
        meter = self._meters.get(session.meter)
        if not session.delivers or meter is None or meter.session != session_id:
            return "the session is closed"
        return self._undeliverable(meter, now) if meter.plugged else ""

    def _rejects_offer(self, offer_id: str, now: int, amount_msat: int | None) -> str:
        name, wanted = self._offers[offer_id]
        meter = self._meters.get(name)
        if meter is None or not wanted or not meter.tariff.prepaid or not rules_of(meter.tariff).for_any_wallet:
            return "the meter does not sell this any more"
        least, most = meter.tariff.tick_msat, meter.tariff.quantum_msat
        if amount_msat is not None and not least <= amount_msat <= most:
            return f"the meter takes from {least} to {most} msat at once"
        return self._rejects_bearer(meter, now)

    def _rejects_wallet(self, name: str, number: int, now: int) -> str:
        meter = self._meters.get(name)
        if meter is None or number not in meter.wallet_invoices:
            return "the meter does not sell this any more"
        return self._rejects_bearer(meter, now)

    def _rejects_bearer(self, meter: _MeterEntry, now: int) -> str:
        why = self._undeliverable(meter, now)
        if why:
            return why
        if meter.state == MeterState.LOCKOUT:
            return "the meter is locked"
        if meter.ending:
            return "the session is just ending"
        if meter.held_by_a_buyer:
            return "another session has the meter"
        return "the session that runs has an earlier price" if meter.other_price else ""

    def _rejects_first(self, first: First, now: int) -> str:
        meter = self._meters.get(first.meter)
        if meter is None:
            return "the meter is gone"
        waiting = self._waiting.get(first.session)
        if first.session in self._sessions or (waiting is not None and waiting != first):
            return "the invoice is superseded"
        if waiting is None and meter.tariff.mark != first.terms:
            return "the terms have changed"
        if first.buyer in self._debtors:
            return "its buyer owes for an earlier session"
        why = self._undeliverable(meter, now)
        if why:
            return why
        return "" if meter.state == MeterState.STANDBY else "another session has the meter"


def _session_entry(session: SellerSession) -> _SessionEntry:
    owes = bool(session.buyer) and not session.open and session.debt_msat >= session.dust_msat
    return _SessionEntry(
        meter=session.meter,
        prepaid=session.tariff.prepaid,
        delivers=session.open and not session.ending,
        out=frozenset(session.out),
        debtor=session.buyer if owes else "",
    )
