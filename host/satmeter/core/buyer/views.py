"""Streams as RPC and pages show them."""

from .. import receipt
from ..settlement.rules import rules_of
from ..status import FlightStatus, RefusalStatus, StreamStatus
from .events import InvoiceRefused
from .policy import kept_back_msat
from .session import BuyerSession, Refusal


def _exposure_bound_msat(stream: BuyerSession) -> int:
    """Return the most that the stream can ever have at risk.

    What several earlier streams left may be carried into one; then nothing is paid before that is used up."""
    tariff, policy = stream.tariff, stream.policy
    if tariff is None:
        return policy.max_fee_msat
    if not tariff.prepaid:
        return max(kept_back_msat(policy, tariff), stream.carried_msat)  # a lying seller can still claim a limit
    fees_msat = rules_of(tariff).fees_at_risk_msat(tariff, policy.max_fee_msat, stream.signed)
    return max(fees_msat + tariff.quantum_msat, stream.carried_msat)


def refusal_status(refused: Refusal | InvoiceRefused) -> RefusalStatus:
    """Return a refusal as it is shown, of a live stream's or of the journal's."""
    return RefusalStatus(at=refused.at, n=refused.number, why=refused.why, evidence=refused.evidence)


def stream_status(stream: BuyerSession) -> StreamStatus:
    """Return how a stream stands."""
    closing = stream.closing
    spent = stream.sent_msat + stream.astray_msat + stream.in_flight_msat
    return StreamStatus(
        session=stream.id,
        seller=stream.seller,
        meter=stream.meter,
        state=stream.state.value,
        relay=stream.relay,
        opened_at=stream.opened_at,
        payments=stream.payments,
        paid_msat=stream.paid_msat,
        carried_msat=stream.carried_msat,
        fees_msat=stream.fees_msat,
        in_flight_msat=stream.in_flight_msat,
        in_flight=[
            FlightStatus(
                n=number,
                amount_msat=payment.amount_msat,
                maxfee_msat=payment.maxfee_msat,
                payment_hash=payment.payment_hash,
                started_at=payment.started_at,
            )
            for number, payment in stream.in_flight.items()
        ],
        stray_msat=stream.astray_msat,
        exposure_msat=stream.exposure_msat,
        exposure_bound_msat=_exposure_bound_msat(stream),
        may_still_pay_msat=stream.may_still_pay_msat,
        budget_left_msat=max(0, stream.policy.budget_msat - spent),
        ticks=stream.ticks,
        own_ticks=-1 if stream.own_ticks is None else stream.own_ticks,
        credit_msat=stream.memory.credit_msat,
        tariff=stream.tariff.terms() if stream.tariff is not None else {},
        policy=stream.policy.to_dict(),
        refusals=[refusal_status(each) for each in stream.refusals],
        reason=stream.reason,
        why=closing.why,
        waits=stream.memory.waits,
        disputed=stream.disputed,
        figures=figures_of(stream),
        trouble=stream.trouble,
        code=closing.code,
        receipt=closing.receipt,
        signature=closing.signature,
        verified=closing.verified,
        owed_msat=closing.owed_msat,
    )


def figures_of(stream: BuyerSession) -> dict[str, dict[str, int]]:
    """Return what the receipt states beside what we know ourselves (msat, ticks; -1: not known); {} without one."""
    stated = receipt.read(stream.closing.receipt)
    if stated is None:
        return {}
    return {
        "receipt": {
            "paid_msat": stated["paid_msat"],
            "refunded_msat": stated["refunded_msat"],
            "ticks": stated["ticks"],
            "spent_msat": stated["spent_msat"],
        },
        "own": {
            "paid_msat": stream.credited_msat,
            "refunded_msat": stream.arrived_msat + stream.closing.carried_on_msat,
            "ticks": -1 if stream.own_ticks is None else stream.own_ticks,
            "spent_msat": stream.policy.max_spend_msat,
        },
    }
