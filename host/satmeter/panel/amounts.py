"""Amounts as a person wants to see them: msat, sat or BTC exactly, and beside it about what that is in money."""

import logging
import time
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from nicegui import ui

from ..core.errors import BadParam, NodeTrouble
from ..core.money import MSAT_PER_BTC
from ..formatting import UNITS, amount
from ..node.any_node import AnyNode
from ..node.currency import per_btc

log = logging.getLogger("satmeter.panel")

FRESH_S = 300


@dataclass
class Rate:
    """Units of a currency for a bitcoin: as the operator says, or as the node's `currencyrate` does (CLN 26.04)."""

    currency: str = ""
    per_btc: Decimal | None = None
    fixed: bool = False
    trouble: str = ""
    asked_at: float = -FRESH_S

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """EUR asks the node, EUR=61234.50 is fixed, nothing shows no money. BadParam for anything else."""
        currency, given, value = text.upper().partition("=")
        if not text:
            return cls()
        if len(currency) != 3 or not currency.isascii() or not currency.isalpha():
            raise BadParam(f"fiat: must be a currency's three letters, with =RATE or without, got {text!r}")
        if not given:
            return cls(currency)
        try:
            rate = Decimal(value)
        except InvalidOperation:
            rate = Decimal(0)
        if not (rate.is_finite() and rate > 0):
            raise BadParam(f"fiat: the rate must be a number over 0, got {value!r}")
        return cls(currency, rate, fixed=True)

    def refresh(self, node: AnyNode) -> None:
        """Ask the node where the rate is older than FRESH_S; an old one is dropped, not shown as new."""
        now = time.monotonic()
        if not self.currency or self.fixed or now < self.asked_at + FRESH_S:
            return
        self.asked_at = now
        try:
            self.per_btc, self.trouble = per_btc(node, self.currency), ""
        except NodeTrouble as error:
            self.per_btc = None
            self.trouble = f"{error}; give one with --fiat {self.currency}=RATE"
            log.warning("%s", self.trouble)

    def about(self, msat: int) -> str:
        """Return an amount in the currency to three figures, "" where there is no rate."""
        if self.per_btc is None:
            return ""
        value = Decimal(msat) * self.per_btc / MSAT_PER_BTC
        digits = max(2, 2 - value.adjusted()) if value else 2
        return f"{value:,.{min(digits, 8)}f} {self.currency}"


class Money:
    """One browser's way to see amounts."""

    def __init__(self, rate: Rate, unit: str = "sat"):
        self.rate = rate
        self.unit = unit if unit in UNITS else "sat"

    def __call__(self, msat: int) -> str:
        """Returns an amount (msat) as text in the chosen unit.

        Where a rate is known, about what it is in the currency stands beside it."""
        about = self.rate.about(msat) if msat else ""
        return amount(msat, self.unit) + (f" (≈ {about})" if about else "")


def in_sat(msat: object) -> str:
    """Return an amount as a field of sat has it; "" for none, and for what stands for a default (under 0)."""
    text = str(msat)
    return amount(int(text), "sat").removesuffix(" sat") if text.isdecimal() else ""


def sat_field(label: str, msat: object = "") -> ui.input:
    """A field for an amount, with its unit beside it; typed_in_sat() reads it."""
    return ui.input(label, value=in_sat(msat)).props("suffix=sat")
