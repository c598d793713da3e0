"""Meters and sessions as RPC, pages and the bridge show them."""

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import UNSET

from ..money import MSAT_PER_SAT, charge_msat
from ..settlement.rules import rules_of
from ..settlement.transaction import GrowingTransaction
from ..states import MeterState
from ..status import BoardView, MeterStatus, OfferStatus, PartStatus, SessionStatus, TransactionStatus
from ..tariff import OFF
from .meter import Meter
from .offer import Offer
from .session import SellerSession

LINES = 4
"""Lines of a board's page."""


@dataclass(frozen=True, slots=True)
class Codes:
    """What a board may show as codes, "" for none: its meter's address, an invoice, and what gives a rest back.

    `rest_msat` is what comes back by that. `link` is the meter's page."""

    address: str = ""
    invoice: str = ""
    rest: str = ""
    rest_msat: int = 0
    link: str = ""

    @property
    def shown(self) -> list[str]:
        """The two that the board gets: an address, and what a wallet reads."""
        return [self.address, self.invoice or self.rest]


LAMPS = {
    MeterState.STANDBY: "slow",
    MeterState.NEGOTIATING: "slow",
    MeterState.DELIVERING: "on",
    MeterState.SUSPENDED: "slow",
    MeterState.LOCKOUT: "fast",
}


def grant_register(meter: Meter, session: SellerSession | None) -> int:
    """Return the register of the board's present boot up to which it may deliver; 0 cuts."""
    if meter.state == MeterState.LOCKOUT or (session is not None and session.ending):
        return 0
    if session is not None and meter.state in (MeterState.DELIVERING, MeterState.SUSPENDED):
        count = session.grant_count
    else:
        count = meter.allowance_count
    return max(0, count - meter.offset)


def board(meter: Meter, session: SellerSession | None, codes: Codes) -> BoardView:
    """Return what the board of a meter has to know: its grant, its lamp, the lines of its page, and its codes."""
    credit = _credit(meter, session) if session is not None else ""
    code_lines = _code_lines(meter, codes)
    return BoardView(
        meter=meter.name,
        state=meter.state.value,
        boot=meter.boot,
        grant=grant_register(meter, session),
        lamp=LAMPS[meter.state],
        page=[meter.name, meter.state.value, *([credit] if credit or not code_lines else []), *code_lines][:LINES],
        codes=codes.shown,
        link=codes.link,
    )


def _credit(meter: Meter, session: SellerSession) -> str:
    """Returns what is left, for a person who bought at the meter itself in its unit."""
    if meter.tariff.self_service == OFF or not session.tariff.prepaid:
        return f"credit {session.credit_msat} msat"
    return f"left {session.tariff.units(session.tariff.ticks(max(0, session.credit_msat)))}"


def _code_lines(meter: Meter, codes: Codes) -> list[str]:
    """Returns what the page says of the code that a meter shows by itself: of a rest, or of its own invoice."""
    own = meter.memory.own_invoice
    if codes.rest:
        return [f"rest {codes.rest_msat // MSAT_PER_SAT} sat", "scan to get back"]
    if meter.memory.turning and not meter.session:
        return [meter.memory.turning, "turn to choose"]
    if not codes.invoice or own.number != meter.shown_number:
        return []
    sat = f"{own.amount_msat // 1000} sat" if own.amount_msat % 1000 == 0 else f"{own.amount_msat} msat"
    said = own.text if own.text.endswith("sat") else f"{own.text} {sat}"
    return [said, "scan to pay"] if not meter.session else [f"{said}: scan"]


def _lamp(meter: Meter, grant: int) -> str:
    """What the lamp of the board shows (firmware/lamp.py): on while it delivers, whatever its host last said."""
    board = meter.memory
    if board.plugged and not board.fault_at and meter.register < grant:
        return "on"
    told = LAMPS[meter.state]
    return "slow" if told == "on" else told


def _fault(meter: Meter, now: int, silent_ms: int) -> str:
    """What the board says is wrong with it, or why its readings, or another's, are refused now."""
    refused = meter.memory.refused if now - meter.memory.refused_at <= silent_ms else ""
    return meter.memory.fault or refused


def _board_state(meter: Meter, now: int, silent_ms: int) -> str:
    if not meter.memory.seen_at:
        return "never heard"
    return "silent" if meter.silent(now, silent_ms) else "heard"


def offer_status(offer_id: str, offer: Offer) -> OfferStatus:
    """Returns how an offer stands."""
    return OfferStatus(
        offer_id=offer_id,
        bolt12=offer.bolt12,
        amount_msat=offer.amount_msat,
        wanted=offer.wanted,
        active=bool(offer.memory.active),
    )


def meter_status(
    meter: Meter,
    session: SellerSession | None,
    now: int,
    silent_ms: int,
    openings: int,
    offers: Mapping[str, Offer],
    at_risk_msat: int = 0,
    codes: Codes | None = None,
    address: str = "",
) -> MeterStatus:
    """Return how a meter stands; `session` is the one that has it, `offers` are those of all meters.

    `at_risk_msat` is what all sessions at the meter hold on-chain or have unconfirmed. `codes` are what its board may
    show, `address` is where buyers reach it."""
    tariff = meter.tariff
    allowance = charge_msat(tariff.allowance_ticks, tariff.price_msat, tariff.ticks_per_unit)
    beyond = tariff.charge(tariff.overshoot_ticks)
    shown = board(meter, session, codes or Codes())
    grant = shown.grant
    at_risk = at_risk_msat + (session.debt_msat if session is not None else 0)
    return MeterStatus(
        name=meter.name,
        state=meter.state.value,
        session=meter.session,
        openings=openings,
        bound_to=meter.board,
        boot=meter.boot,
        register=meter.register,
        count=meter.count,
        flow=meter.memory.flow,
        plugged=meter.memory.plugged,
        fault=_fault(meter, now, silent_ms),
        display=meter.memory.display,
        board=_board_state(meter, now, silent_ms),
        grant=grant,
        lamp=_lamp(meter, grant),
        credit_msat=session.credit_msat if session is not None else 0,
        low=session.low if session is not None else False,
        lock_until=meter.lock_until,
        exposure_msat=at_risk + allowance + (beyond if grant else 0),
        exposure_bound_msat=tariff.limit_msat + tariff.unconfirmed_msat + allowance + beyond,
        overshoot_msat=beyond,
        invoice=meter.wallet_invoice(now),
        offers=[offer_status(each, offers[each]) for each in meter.offers],
        tariff=tariff,
        page=shown.page,
        codes=shown.codes,
        address=address,
    )


def session_status(session: SellerSession) -> SessionStatus:
    """Return how a live session stands."""
    transactions = rules_of(session.tariff).shown(session.onchain)
    return SessionStatus(
        session=session.id,
        meter=session.meter,
        buyer=session.buyer,
        phase="open" if session.open else session.state.value,
        opened_at=session.opened_at,
        tariff=session.tariff.terms(),
        ticks=session.ticks,
        payments=session.payments,
        paid_msat=session.received_msat,
        charged_msat=session.charged_msat,
        credit_msat=session.credit_msat if session.open else 0,
        low=session.low and session.open,
        reserved_msat=session.reserved_msat,
        spent_msat=session.spent_msat,
        invoices_out=len(session.out),
        out_msat=session.out_msat,
        refunded_msat=session.refunded_msat + session.taken_msat,
        owed_msat=session.owed_msat,
        debt_msat=session.debt_msat,
        held_msat=session.onchain.held_msat,
        unconfirmed_msat=session.onchain.unconfirmed_msat,
        lost_msat=session.onchain.lost_sat * 1000,
        reason=session.reason,
        alarm=session.alarm,
        refund_held=session.refund.held,
        receipt=session.receipt,
        signature=session.signature,
        transactions=UNSET if transactions is None else [_transaction(each) for each in transactions],
        owed_why=_why_owed(session) if session.owed_msat else UNSET,
        refundable_msat=UNSET if session.buyer else session.refundable_msat(),
        fed_by=UNSET if session.buyer else [_part(session, number) for number in session.fed_by],
    )


def _transaction(transaction: GrowingTransaction) -> TransactionStatus:
    return TransactionStatus(
        number=transaction.number,
        state=transaction.state.value,
        txid=transaction.txid,
        address=transaction.address,
        value_sat=transaction.value_sat,
        fee_sat=transaction.fee_sat,
        feerate=transaction.feerate,
        updates=transaction.updates,
        lost_sat=transaction.lost_sat,
        bump_fee_sat=transaction.bump_fee_sat,
        why=transaction.why,
        evidence=transaction.evidence,
    )


def _part(session: SellerSession, number: int) -> PartStatus:
    return PartStatus(
        number=number,
        paid_msat=session.fed_by[number],
        left_msat=session.left_of(number),
        refundable_msat=session.refundable_msat(number),
        leads=session.leads(number),
    )


def _why_owed(session: SellerSession) -> str:
    refund = session.refund
    waits = "being paid" if refund.bolt11 else "no invoice for the refund yet"
    return (session.alarm if refund.held else "") or refund.why or waits
