"""The buyer's policy: its caps, and the checks that terms and invoices must pass.

Each check raises PolicyBreach (the seller asks for other than was agreed) or OverCap (a cap of ours would be passed).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from ..commands import DecodedInvoice
from ..errors import BadParam, OverCap, PolicyBreach
from ..messages import Increment
from ..money import MAX_TICKS, msat, whole
from ..plain import Fields
from ..settlement.transaction import FEERATE_MOST
from ..tariff import Tariff


@dataclass(frozen=True, slots=True)
class Policy:
    """Caps of one stream. Amounts in msat; fees count against budget and day. 0 for day_msat means no day cap.

    max_price_msat is for one `unit`: without its unit a price cap is none, so terms are agreed to only where it is
    named. max_msat_per_s bounds how fast a seller can claim use (0: it is not bounded): beside a quantum, no more is
    paid than it allows for the time since the terms were agreed to. Without it and without an own sensor, a lying
    seller can take the whole budget as fast as it can be paid.
    """

    max_price_msat: int
    budget_msat: int
    max_invoice_msat: int
    day_msat: int = 0
    max_fee_msat: int = 1000
    max_feerate: int = 25_000
    """On-chain, in sat per 1,000 weight units."""
    max_spend_msat: int = 0
    max_msat_per_s: int = 0
    unit: str = ""
    maxdelay: int = 500
    max_final_cltv: int = 144
    tolerance_pct: int = 5
    tolerance_ticks: int = 50

    def to_dict(self) -> dict[str, str | int]:
        """Returns all caps by name, as data for JSON that from_dict() reads again."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "Policy":
        """Return a checked policy; BadParam names what is missing, unknown or out of range."""
        known = {field.name for field in fields(cls)}
        given: Fields = dict(with_unit({name: value for name, value in values.items() if value is not None}))
        for name in given:
            if name not in known:
                raise BadParam(f"{name}: not a cap; they are {', '.join(sorted(known))}", param=name)
        for name in ("max_price_msat", "budget_msat"):
            if name not in given:
                raise BadParam(f"{name}: is required; a stream without it would have no bound", param=name)
        given.setdefault("max_invoice_msat", given["budget_msat"])
        for name in given:
            if name.endswith("_msat") or name == "max_msat_per_s":
                low = 1 if name in ("max_price_msat", "budget_msat", "max_invoice_msat") else 0
                given[name] = msat(name, given[name], low)
        for name, high in (
            ("max_feerate", FEERATE_MOST),
            ("maxdelay", 2016),
            ("max_final_cltv", 2016),
            ("tolerance_pct", 1000),
        ):
            given[name] = whole(name, given.get(name, getattr(_DEFAULTS, name)), 0, high)
        given["tolerance_ticks"] = whole(
            "tolerance_ticks", given.get("tolerance_ticks", _DEFAULTS.tolerance_ticks), 0, MAX_TICKS
        )
        if not isinstance(given.get("unit", ""), str):
            raise BadParam(f"unit: must be text, got {given['unit']!r}", param="unit")
        return replace(_DEFAULTS, **given)


_DEFAULTS = Policy(1, 1, 1)


def with_unit(caps: Mapping[str, object]) -> Mapping[str, object]:
    """Return caps with the unit that their price names ("300sat/kWh") as `unit`; BadParam where two differ."""
    price = caps.get("max_price_msat")
    if not isinstance(price, str) or "/" not in price:
        return caps
    amount, _, unit = price.partition("/")
    unit = unit.strip()
    if not unit:
        raise BadParam(f"max_price_msat: {price!r} names no unit after the /, as in 300sat/kWh", param="max_price_msat")
    if caps.get("unit") not in (None, "", unit):
        raise BadParam(f"unit: the price is per {unit!r}, the unit {caps.get('unit')!r}", param="unit")
    return {**caps, "max_price_msat": amount, "unit": unit}


def check_terms(policy: Policy, tariff: Tariff) -> None:
    """Raise OverCap where the seller's terms are beyond the buyer's caps."""
    if not policy.unit:
        raise OverCap(
            f"the seller asks {tariff.price_msat} msat per {tariff.unit}, with a quantum of {tariff.quantum_msat} msat"
            f"; a price cap needs its unit: to agree, name it ({tariff.price_msat}/{tariff.unit}, "
            f"or unit={tariff.unit})"
        )
    if tariff.price_msat > policy.max_price_msat:
        raise OverCap(f"price {tariff.price_msat} msat per {tariff.unit} is over the cap of {policy.max_price_msat}")
    if tariff.unit != policy.unit:
        raise OverCap(f"the price is per {tariff.unit!r}, not per {policy.unit!r} as agreed to")
    if tariff.slice_msat > policy.max_invoice_msat:
        raise OverCap(f"invoices of up to {tariff.slice_msat} msat are over the cap of {policy.max_invoice_msat}")
    if tariff.slice_msat + policy.max_fee_msat + kept_back_msat(policy, tariff) > policy.budget_msat:
        raise OverCap(f"{_least_words(policy, tariff)} are over the budget of {policy.budget_msat}")
    if policy.day_msat and tariff.slice_msat + policy.max_fee_msat + kept_back_msat(policy, tariff) > policy.day_msat:
        raise OverCap(f"{_least_words(policy, tariff)} are over the day's budget of {policy.day_msat}")


def _least_words(policy: Policy, tariff: Tariff) -> str:
    owed = "" if tariff.prepaid else f", beside {kept_back_msat(policy, tariff)} that may be owed at the end,"
    return f"one invoice of {tariff.slice_msat} msat and its fee{owed}"


EARLY = 3
"""Transactions more than the value asks for that a seller may broadcast early: a lost connection, rising fees."""


def check_new_transaction(
    policy: Policy, tariff: Tariff, increment: Increment, transactions: int, paid: int, elapsed_ms: int
) -> None:
    """Raise where a further transaction, each of which costs a fee, is not due by value or time, or costs too much."""
    if not 0 < increment.feerate <= policy.max_feerate:
        raise OverCap(
            f"a feerate of {increment.feerate} sat per 1,000 weight units is over the cap of {policy.max_feerate}"
        )
    least = min(tariff.slice_msat // 2, tariff.quantum_msat - tariff.low_water_msat)
    by_value = paid // max(least, tariff.hold_msat - tariff.slice_msat)
    most = 1 + EARLY + by_value + max(0, elapsed_ms) // (tariff.hold_s * 1000)
    if transactions >= most:  # no lie: lost connections may be the reason
        raise OverCap(f"transaction {increment.tx_number} asked for after {paid} msat; at most {most} are due")


def check_pace(policy: Policy, tariff: Tariff, paid: int, elapsed_ms: int) -> None:
    """Raise OverCap where `paid` (msat), this payment included, is more than max_msat_per_s allows beside a quantum."""
    most = tariff.quantum_msat + policy.max_msat_per_s * (max(0, elapsed_ms) // 1000)
    if policy.max_msat_per_s and paid > most:
        raise OverCap(f"{paid} msat in {elapsed_ms // 1000} s; max_msat_per_s of {policy.max_msat_per_s} allows {most}")


def kept_back_msat(policy: Policy, tariff: Tariff) -> int:
    """Return what has to stay of a budget in arrears: the limit, and the fees of the invoices that it takes."""
    return (
        0 if tariff.prepaid else tariff.limit_msat + policy.max_fee_msat * (tariff.limit_msat // tariff.slice_msat + 1)
    )


def check_progress(tariff: Tariff, ticks: int, last_ticks: int, elapsed_ms: int) -> None:
    """Raise PolicyBreach for a count that went back or rose faster than the rating allows since some moment."""
    if ticks < last_ticks:
        raise PolicyBreach(f"the register went back from {last_ticks} to {ticks} ticks", ticks=ticks)
    most = tariff.most_ticks(elapsed_ms)
    if tariff.rating_ticks_per_s and ticks - last_ticks > most:
        raise PolicyBreach(
            f"{ticks - last_ticks} ticks within {elapsed_ms} ms, the rating allows {most}", ticks=ticks, most=most
        )


def most_ticks(policy: Policy, own_ticks: int) -> int:
    """Return the highest count of a seller's that our own sensor's agrees with."""
    return own_ticks + own_ticks * policy.tolerance_pct // 100 + policy.tolerance_ticks


def check_sensor(policy: Policy, ticks: int, own_ticks: int) -> None:
    """Raise PolicyBreach where the seller counts more than our own sensor and its tolerance."""
    most = most_ticks(policy, own_ticks)
    if ticks > most:
        raise PolicyBreach(
            f"the seller counts {ticks} ticks, our own sensor {own_ticks} (at most {most} with its tolerance)",
            ticks=ticks,
            own_ticks=own_ticks,
        )


def check_amount(policy: Policy, tariff: Tariff, amount: int, paid: int, ticks: int, charged: int) -> None:
    """Raise PolicyBreach for an invoice that is not due: `paid` is all we paid or have in flight, without it."""
    if not 0 < amount <= tariff.slice_msat:
        raise PolicyBreach(f"an invoice of {amount} msat; at most {tariff.slice_msat} was agreed")
    spent = charged - tariff.charge(ticks)
    if spent > policy.max_spend_msat:
        raise PolicyBreach(f"{spent} msat charged beyond the register; at most {policy.max_spend_msat} is allowed")
    used = tariff.charge(ticks) + max(0, spent)
    if tariff.prepaid and paid + amount - used > tariff.quantum_msat:
        raise PolicyBreach(
            f"with this invoice {paid + amount - used} msat would be at risk; the quantum is {tariff.quantum_msat}"
        )
    if not tariff.prepaid and paid + amount > used:
        raise PolicyBreach(f"{paid + amount} msat asked in all, but only {used} used")


def check_invoice(policy: Policy, seller: str, asked_msat: int, invoice: DecodedInvoice) -> None:
    """Raise PolicyBreach where the invoice itself is not what its message says."""
    if invoice.payee != seller:
        raise PolicyBreach(f"the invoice pays node {invoice.payee}, not the seller {seller}", payee=invoice.payee)
    if invoice.amount_msat != asked_msat:
        raise PolicyBreach(f"the invoice is for {invoice.amount_msat} msat, its message says {asked_msat}")
    if invoice.final_cltv > policy.max_final_cltv:
        most = policy.max_final_cltv
        raise PolicyBreach(f"the invoice's final CLTV of {invoice.final_cltv} blocks is over {most}")
