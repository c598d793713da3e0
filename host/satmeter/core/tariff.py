"""The tariff: what a meter sells, at what price, and how much either side dares."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from .choices import Choice, Price, parse_choices, scale
from .errors import BadParam
from .money import MAX_MSAT, MAX_TICKS, charge_msat, msat, ticks_for, whole
from .plain import Fields
from .settlement.rules import LIGHTNING, ONCHAIN, RULES, rules_of

NAME = re.compile(r"[a-z0-9-]{1,32}")
PREPAID, ARREARS = "prepaid", "arrears"
YEAR_S = 366 * 86400
WALLET_EXPIRY_S = 180
OFF, PLUG, BUTTON, ALWAYS = "off", "plug", "button", "always"
SELF_SERVICE = (OFF, PLUG, BUTTON, ALWAYS)
"""When a meter makes invoices for wallets by itself: never, after something was plugged in, after its button was
pressed, or always."""
POTENTIOMETER = "potentiometer"
CHOOSE_BY = (BUTTON, POTENTIOMETER)
"""How a person chooses at the meter: each press of the button is the next choice, or the potentiometer points at it."""
OWN = ("self_service", "choices", "choose_by", "overshoot_ticks")
"""Fields that are the seller's own affair: no part of the terms that a buyer agrees to."""
RATING_SLACK_S = 5
"""Slack for readings that come in steps, or late: a count may be beyond the rating by the flow of so many seconds."""
BEHIND_MS = 60_000
"""For so long counts may be on their way, and then come at once: a report that hangs, a connection that stalls."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """Terms of sale. Amounts in msat, counts in ticks, times in seconds; units stand in the names.

    quantum_msat is the most that a prepaid buyer has at risk: credit and invoices out together never exceed it.
    rating_ticks_per_s is the highest plausible flow; 0 states none, and then neither side can check it.
    Where settlement is onchain, hold_msat is the most that a growing transaction is worth before it is broadcast, which
    is what the seller risks (one slice: each payment its own transaction), hold_s the longest time that it is held,
    unconfirmed_msat the most that is held or not yet final, and confirmations the depth at which it is final.
    self_service says when the meter makes invoices for wallets by itself, choices for what (choices.py), choose_by how
    a person chooses among them. overshoot_ticks is what the device may deliver beyond a grant,
    unpaid (docs/devices.md).
    """

    price_msat: int
    ticks_per_unit: int
    quantum_msat: int
    unit: str = "unit"
    mode: str = PREPAID
    limit_msat: int = 0
    window: int = 1
    low_water_msat: int = -1
    allowance_ticks: int = 0
    allowance_period_s: int = 3600
    grace_s: int = 30
    lockout_s: int = 60
    rating_ticks_per_s: int = 0
    session_max_msat: int = 0
    session_max_s: int = 0
    invoice_expiry_s: int = 600
    remainder_s: int = 86400
    settlement: str = LIGHTNING
    hold_msat: int = 0
    hold_s: int = 3600
    unconfirmed_msat: int = 0
    confirmations: int = 6
    self_service: str = OFF
    choices: str = ""
    choose_by: str = BUTTON
    overshoot_ticks: int = 0

    @property
    def slice_msat(self) -> int:
        """The largest single invoice of a session."""
        return self.quantum_msat // self.window

    @property
    def tick_msat(self) -> int:
        """The least amount that pays for a tick."""
        return -(-self.price_msat // self.ticks_per_unit)

    @property
    def wallet_expiry_s(self) -> int:
        """How long a wallet invoice can be paid, in s: invoice_expiry_s, but at most WALLET_EXPIRY_S.

        It is shown to everybody, so it ends soon (docs/metering.md)."""
        return min(self.invoice_expiry_s, WALLET_EXPIRY_S)

    @property
    def mark(self) -> str:
        """8 hex digits by which these terms are told from others."""
        return hashlib.sha256(json.dumps(self.terms(), sort_keys=True).encode()).hexdigest()[:8]

    @property
    def prepaid(self) -> bool:
        """Whether buyers pay before they use; else they pay in arrears, up to limit_msat."""
        return self.mode == PREPAID

    def charge(self, ticks: int) -> int:
        """Return the charge in msat for the whole of `ticks`."""
        return charge_msat(ticks, self.price_msat, self.ticks_per_unit)

    def ticks(self, amount_msat: int) -> int:
        """Return the ticks that `amount_msat` pays for in full."""
        return ticks_for(amount_msat, self.price_msat, self.ticks_per_unit)

    def units(self, ticks: int) -> str:
        """Returns ticks in the tariff's unit, to three figures after the point, as 1.5 kWh."""
        whole, part = divmod(ticks * 1000 // self.ticks_per_unit, 1000)
        return f"{whole:,}.{part:03d}".rstrip("0").rstrip(".") + f" {self.unit}"

    def most_ticks(self, elapsed_ms: int) -> int:
        """Return the most ticks that the rating allows within `elapsed_ms` (whole seconds of it), slack included."""
        return self.rating_ticks_per_s * (max(0, elapsed_ms) // 1000 + RATING_SLACK_S)

    def soonest_ms(self, ticks: int) -> int:
        """Return the time in which `ticks` can flow at the soonest, by the rating and without slack; 0 without one."""
        return -(-ticks * 1000 // self.rating_ticks_per_s) if self.rating_ticks_per_s else 0

    def priced_as(self, other: "Tariff") -> bool:
        """Whether a payment buys the same under both."""
        mine, others = ((each.price_msat, each.ticks_per_unit, each.mode) for each in (self, other))
        return mine == others

    def paced_ms(self, since: int, ticks: int, now: int) -> int:
        """Returns the earliest time (ms) at which the next ticks can have begun to flow, after `ticks` since `since`.

        The ticks take their time at full rating; the result is at most BEHIND_MS (60 s) before `now`."""
        return max(min(now, since + self.soonest_ms(ticks)), now - BEHIND_MS)

    def to_dict(self) -> dict[str, str | int]:
        """Returns all fields by name, as data for JSON that from_dict() reads again."""
        return asdict(self)

    def terms(self) -> dict[str, str | int]:
        """Returns what a buyer agrees to, and a receipt states: all fields but the seller's own (OWN)."""
        return {name: value for name, value in asdict(self).items() if name not in OWN}

    def choice_list(self, rates: frozenset[tuple[str, int]] = frozenset()) -> tuple[Choice, ...]:
        """Returns what a person can choose where the meter serves itself; rates: by currency, msat for one of it."""
        price = Price(self.unit, self.price_msat, self.ticks_per_unit, self.quantum_msat)
        if self.choose_by == POTENTIOMETER and not self.choices.strip():
            return scale(price)
        return parse_choices(self.choices, price, rates)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "Tariff":
        """Return a checked tariff from named values; unknown names and bad values raise BadParam."""
        known = {field.name for field in fields(cls)}
        for name in values:
            if name not in known:
                raise BadParam(f"{name!r}: not a field of the tariff; they are {', '.join(sorted(known))}", param=name)
        for name in ("price_msat", "ticks_per_unit", "quantum_msat"):
            if values.get(name) is None:
                raise BadParam(f"{name}: is required; a meter without it can't be priced", param=name)
        given: Fields = {name: value for name, value in values.items() if value is not None}
        return check(cls(**given))  # which looks at each


_WHOLE = {
    "ticks_per_unit": (1, MAX_TICKS),
    "window": (1, 30),
    "allowance_ticks": (0, MAX_TICKS),
    "allowance_period_s": (1, YEAR_S),
    "grace_s": (1, 86400),
    "lockout_s": (0, YEAR_S),
    "rating_ticks_per_s": (0, MAX_TICKS),
    "session_max_s": (0, YEAR_S),
    "overshoot_ticks": (0, MAX_TICKS),
    "invoice_expiry_s": (10, 86400),
    "remainder_s": (0, YEAR_S),
    "hold_s": (1, YEAR_S),
    "confirmations": (1, 144),
}


def check(tariff: Tariff) -> Tariff:
    """Return the tariff in normal form, or raise BadParam naming the field, its value and the bound."""
    values = asdict(tariff)
    values["price_msat"] = msat("price_msat", tariff.price_msat, 1, MAX_MSAT // 1000)
    values["quantum_msat"] = msat("quantum_msat", tariff.quantum_msat, 1)
    for name in ("limit_msat", "session_max_msat", "hold_msat", "unconfirmed_msat"):
        values[name] = msat(name, values[name])
    for name, (low, high) in _WHOLE.items():
        values[name] = whole(name, values[name], low, high)
    if not isinstance(tariff.unit, str) or not re.fullmatch(r"[\x20-\x7e]{1,16}", tariff.unit):
        raise BadParam(f"unit: must be 1 to 16 printable ASCII characters, got {tariff.unit!r}", param="unit")
    if tariff.mode not in (PREPAID, ARREARS):
        raise BadParam(f"mode: must be {PREPAID} or {ARREARS}, got {tariff.mode!r}", param="mode")
    if not isinstance(tariff.settlement, str) or tariff.settlement not in RULES:
        raise BadParam(f"settlement: must be {LIGHTNING} or {ONCHAIN}, got {tariff.settlement!r}", param="settlement")
    slice_msat = values["quantum_msat"] // max(1, values["window"])
    values["hold_msat"], values["unconfirmed_msat"] = rules_of(tariff).bounds_msat(
        values["hold_msat"], values["unconfirmed_msat"], slice_msat
    )
    low_water = values["low_water_msat"]
    if low_water == -1:
        values["low_water_msat"] = values["quantum_msat"] // 4
    values["low_water_msat"] = msat("low_water_msat", values["low_water_msat"], 0, values["quantum_msat"])
    _check_together(replace(tariff, **values))
    return replace(tariff, **values)


def _check_together(tariff: Tariff) -> None:
    if tariff.slice_msat < 1:
        raise BadParam(
            f"window: {tariff.window} invoices of a quantum of {tariff.quantum_msat} msat would be 0 msat each; "
            f"window must be at most {tariff.quantum_msat}",
            param="window",
        )
    if tariff.ticks(tariff.slice_msat) < 1:
        raise BadParam(
            f"quantum_msat: an invoice of {tariff.slice_msat} msat buys no whole tick; one tick costs "
            f"{tariff.tick_msat} msat",
            param="quantum_msat",
        )
    if tariff.ticks(tariff.quantum_msat + tariff.limit_msat) > MAX_TICKS:
        raise BadParam(
            f"ticks_per_unit: {tariff.quantum_msat + tariff.limit_msat} msat would buy more than {MAX_TICKS} ticks, "
            "which no board counts: sell in larger ticks",
            param="ticks_per_unit",
        )
    rules_of(tariff).check(tariff)
    _check_self_service(tariff)
    beyond = tariff.charge(tariff.overshoot_ticks)
    if beyond > tariff.quantum_msat:
        raise BadParam(
            f"quantum_msat: {tariff.quantum_msat} is less than what the device may deliver beyond a grant, "
            f"{tariff.overshoot_ticks} ticks worth {beyond} msat; quantum_msat={beyond} would do",
            param="quantum_msat",
        )
    if tariff.prepaid and tariff.limit_msat:
        raise BadParam(f"limit_msat: {tariff.limit_msat} given, but only mode=arrears has a limit", param="limit_msat")
    if not tariff.prepaid and tariff.limit_msat < tariff.slice_msat:
        raise BadParam(
            f"limit_msat: arrears need a limit of at least one invoice ({tariff.slice_msat} msat), "
            f"got {tariff.limit_msat}",
            param="limit_msat",
        )


def _check_self_service(tariff: Tariff) -> None:
    if tariff.self_service not in SELF_SERVICE:
        raise BadParam(
            f"self_service: must be {', '.join(SELF_SERVICE)}, got {tariff.self_service!r}", param="self_service"
        )
    if tariff.choose_by not in CHOOSE_BY:
        raise BadParam(f"choose_by: must be {' or '.join(CHOOSE_BY)}, got {tariff.choose_by!r}", param="choose_by")
    if not isinstance(tariff.choices, str):
        raise BadParam(f"choices: must be text such as '100sat, 1{tariff.unit}'", param="choices")
    if tariff.choices:
        tariff.choice_list()
    if tariff.self_service != OFF and not (tariff.prepaid and rules_of(tariff).for_any_wallet):
        raise BadParam(
            f"self_service: {tariff.self_service} given, but a wallet can only prepay, by Lightning: mode={PREPAID}, "
            f"settlement={LIGHTNING}",
            param="self_service",
        )


def check_name(name: object) -> str:
    """Return a meter's name, or raise BadParam."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadParam(f"name: must be 1 to 32 of a-z, 0-9 and -, got {name!r}", param="name")
    return name
