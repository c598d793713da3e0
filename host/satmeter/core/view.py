"""Meters, sales and purchases as the dictionaries that RPC, pages and the bridge show. Units stand in the names."""

from typing import Any

from . import receipt
from .growing import Growing
from .meter import DELIVERING, LOCKOUT, NEGOTIATING, STANDBY, SUSPENDED, Meter
from .money import charge_msat
from .policy import kept_back
from .purchase import Purchase
from .sale import Sale

LAMPS = {STANDBY: "slow", NEGOTIATING: "slow", DELIVERING: "on", SUSPENDED: "slow", LOCKOUT: "fast"}


def grant_register(m: Meter, s: Sale | None) -> int:
    """Return the register of the board's present boot up to which it may deliver; 0 cuts."""
    if m.state == LOCKOUT or (s is not None and s.ending_at):
        return 0
    if s is not None and m.state in (DELIVERING, SUSPENDED):
        count = s.grant_count
    else:
        count = m.allowance_count
    return max(0, count - m.offset)


def board(m: Meter, s: Sale | None) -> dict[str, Any]:
    """What the board of a meter has to know: its grant (for one boot), its lamp, and the lines of its page."""
    credit = "" if s is None else f"credit {s.credit} msat"
    return {
        "meter": m.name,
        "state": m.state,
        "boot": m.boot,
        "grant": grant_register(m, s),
        "lamp": LAMPS[m.state],
        "page": [m.name, m.state, credit],
    }


def _fault(m: Meter, now: int, silent_ms: int) -> str:
    """What the board says is wrong with it, or why its readings, or another's, are refused now."""
    return m.fault or (m.refused if now - m.refused_at <= silent_ms else "")


def meter(m: Meter, s: Sale | None, now: int, silent_ms: int, openings: int) -> dict[str, Any]:
    """A meter as meter-status shows it. flow in ticks an hour, exposure: what the seller could lose now, openings: how
    many buyers have asked for it and not paid yet."""
    t = m.tariff
    allowance = charge_msat(t.allowance_ticks, t.price_msat, t.ticks_per_unit)
    return {
        "name": m.name,
        "state": m.state,
        "session": m.session,
        "openings": openings,
        "bound_to": m.board,
        "boot": m.boot,
        "register": m.register,
        "count": m.count,
        "flow": m.flow,
        "plugged": m.plugged,
        "fault": _fault(m, now, silent_ms),
        "display": m.display,
        "board": "never heard" if not m.seen else ("silent" if m.silent(now, silent_ms) else "heard"),
        "grant": grant_register(m, s),
        "lamp": LAMPS[m.state],
        "credit_msat": s.credit if s else 0,
        "low": s.low if s else False,
        "lock_until": m.lock_until,
        "exposure_msat": (s.debt + s.held_msat + s.unconfirmed_msat if s else 0) + allowance,
        "exposure_bound_msat": t.limit_msat + t.unconfirmed_msat + allowance,
        "offer": m.offer(now),
        "tariff": t.to_dict(),
    }


def sale(s: Sale) -> dict[str, Any]:
    """A live session as the seller sees it."""
    out: dict[str, Any] = {
        "session": s.id,
        "meter": s.meter,
        "buyer": s.buyer,
        "phase": s.phase,
        "opened_at": s.opened_at,
        "tariff": s.tariff.to_dict(),
        "ticks": s.ticks,
        "payments": s.payments,
        "paid_msat": s.received,
        "charged_msat": s.charged,
        "credit_msat": s.credit if s.phase == "open" else 0,
        "low": s.low and s.phase == "open",
        "reserved_msat": s.on_hold,
        "spent_msat": s.spent,
        "invoices_out": len(s.out),
        "out_msat": s.out_msat,
        "refunded_msat": s.refunded + s.taken,
        "owed_msat": s.owed,
        "debt_msat": s.debt,
        "held_msat": s.held_msat,
        "unconfirmed_msat": s.unconfirmed_msat,
        "lost_msat": s.lost * 1000,
        "reason": s.reason,
        "alarm": s.alarm,
        "refund_held": s.refund_held,
        "receipt": s.receipt,
        "signature": s.signature,
    }
    if s.tariff.onchain:
        out["transactions"] = [transaction(g) for g in s.txs.values() if g.pending or g.lost]
    if s.owed:
        held = s.alarm if s.refund_held else ""
        out["owed_why"] = (
            held or s.refund_why or ("no invoice for the refund yet" if not s.refund_bolt11 else "being paid")
        )
    return out


def transaction(g: Growing) -> dict[str, Any]:
    """A growing transaction whose fate is open, or that was lost, in sat."""
    return {
        "number": g.k,
        "state": g.state,
        "txid": g.txid,
        "address": g.address,
        "value_sat": g.value,
        "fee_sat": g.fee,
        "feerate": g.feerate,
        "versions": g.versions,
        "lost_sat": g.lost,
        "bump_fee_sat": g.bump_fee,
        "why": g.why,
        "evidence": g.evidence,
    }


def purchase(p: Purchase) -> dict[str, Any]:
    """A stream as the buyer sees it. exposure: what is lost if the seller vanishes now, fees included."""
    t = p.tariff
    fees = p.policy.max_fee_msat * (t.window if t is not None else 1)
    if t is not None and t.onchain:
        fees = t.slice_msat + 2 * (p.signed.fee * 1000 if p.signed is not None else 0)  # and one version astray
    bound = fees + (t.quantum_msat if t is not None and t.prepaid else 0)
    if t is not None and not t.prepaid:
        bound = kept_back(p.policy, t)  # a lying seller can still claim a limit
    return {
        "session": p.id,
        "seller": p.seller,
        "meter": p.meter,
        "state": p.state,
        "relay": p.relay,
        "opened_at": p.opened_at,
        "payments": p.payments,
        "paid_msat": p.paid,
        "carried_msat": p.carried,
        "fees_msat": p.fees,
        "in_flight_msat": p.in_flight,
        "in_flight": [
            {
                "n": n,
                "amount_msat": f.amount,
                "maxfee_msat": f.maxfee,
                "payment_hash": f.hash,
                "started_at": f.started_at,
            }
            for n, f in p.flights.items()
        ],
        "stray_msat": p.stray,
        "exposure_msat": p.exposure,
        "exposure_bound_msat": bound,
        "may_still_pay_msat": p.may_still_pay,
        "budget_left_msat": max(0, p.policy.budget_msat - p.sent - p.stray - p.in_flight),
        "ticks": p.ticks,
        "own_ticks": -1 if p.own_ticks is None else p.own_ticks,
        "credit_msat": p.credit,
        "tariff": t.to_dict() if t is not None else {},
        "policy": p.policy.to_dict(),
        "refusals": p.refusals,
        "reason": p.reason,
        "why": p.why,
        "waits": p.waits,
        "disputed": p.disputed,
        "figures": figures_of(p),
        "trouble": p.trouble,
        "code": p.code,
        "receipt": p.receipt,
        "signature": p.signature,
        "verified": p.verified,
        "owed_msat": p.owed,
    }


def figures_of(p: Purchase) -> dict[str, dict[str, int]]:
    """What the receipt states beside what we know ourselves (msat, ticks; -1: not known); {} without a receipt."""
    r = receipt.read(p.receipt)
    if r is None:
        return {}
    own = {
        "paid_msat": p.carried + p.paid,
        "refunded_msat": p.arrived + p.carried_on,
        "ticks": -1 if p.own_ticks is None else p.own_ticks,
        "spent_msat": p.policy.max_spend_msat,
    }
    return {"receipt": {name: r[name] for name in own}, "own": own}
