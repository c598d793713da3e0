"""What each way of settlement allows an amount to be. Pure numbers; who asks and who pays stands in the other files.

An amount due becomes credit in one of two ways: by Lightning invoices, or by updates of a growing on-chain transaction.
Nobody else in the core asks which one it is: they ask the rules of a tariff.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..errors import BadParam
from ..plain import Plain
from .transaction import DUST_SAT, GrowingTransaction, OnchainAccount, SignedTransaction

if TYPE_CHECKING:
    from ..tariff import Tariff

LIGHTNING, ONCHAIN = "lightning", "onchain"

DUST_MSAT = 1_000
"""No Lightning route carries less than this: what is due under it at the end may never reach the other side."""
AT_ONCE = 10
"""Payments of one stream at once, whatever window its seller has: held ones must not use up the node's HTLCs."""
HELD_SLICES, UNCONFIRMED_HOLDS = 50, 10
"""What a growing transaction may hold, and all that are not yet final, where the tariff does not say."""


def payments_at_once(window: int) -> int:
    """Returns how many payments of a stream may be in flight: two for each invoice of the window.

    A seller asks for the next payment while it accepts one, so beside each that is out another may
    be on its way. AT_ONCE is the most."""
    return min(AT_ONCE, 2 * window)


class Rules(Protocol):
    """Amounts in msat."""

    @property
    def dust_msat(self) -> int:
        """Amounts under this (msat) can't be paid any more at the end, and keep no session open."""

    @property
    def for_any_wallet(self) -> bool:
        """Whether a plain Lightning wallet can pay by it."""

    def fitting_msat(self, tariff: "Tariff", amount_msat: int, held_msat: int, unconfirmed_msat: int) -> int:
        """Returns how much of an amount due can be asked for at once, 0 for nothing.

        `held_msat` (held and not broadcast) and `unconfirmed_msat` (broadcast and not final) are at
        risk already."""

    def bounds_msat(self, hold_msat: int, unconfirmed_msat: int, slice_msat: int) -> tuple[int, int]:
        """Return hold and unconfirmed of a tariff, their defaults in place of 0."""

    def check(self, tariff: "Tariff") -> None:
        """Raise BadParam for terms that this way can't keep."""

    def fees_at_risk_msat(self, tariff: "Tariff", max_fee_msat: int, signed: SignedTransaction | None) -> int:
        """Return the most that a buyer has at risk beside the amounts that are due."""

    def statement(self, tariff: "Tariff", account: OnchainAccount) -> Plain:
        """Return what a receipt says of the way of settlement."""

    def shown(self, account: OnchainAccount) -> list[GrowingTransaction] | None:
        """Return the transactions that a live session shows; None where there can't be any."""


@dataclass(frozen=True, slots=True)
class LightningRules:
    """Rules of settlement by Lightning invoices: one invoice for each amount due."""

    dust_msat: int = DUST_MSAT
    for_any_wallet: bool = True

    def fitting_msat(self, tariff: "Tariff", amount_msat: int, held_msat: int, unconfirmed_msat: int) -> int:
        """Returns the whole amount: an invoice has no other bound."""
        return amount_msat

    def bounds_msat(self, hold_msat: int, unconfirmed_msat: int, slice_msat: int) -> tuple[int, int]:
        """Returns both bounds as given: Lightning settlement has no defaults for them."""
        return hold_msat, unconfirmed_msat

    def check(self, tariff: "Tariff") -> None:
        """Raises BadParam where the tariff sets hold_msat or unconfirmed_msat."""
        for name, bound in (("hold_msat", tariff.hold_msat), ("unconfirmed_msat", tariff.unconfirmed_msat)):
            if bound:
                raise BadParam(f"{name}: {bound} given, but only settlement={ONCHAIN} holds transactions", param=name)

    def fees_at_risk_msat(self, tariff: "Tariff", max_fee_msat: int, signed: SignedTransaction | None) -> int:
        """Returns the most that payments in flight at once can cost in routing fees."""
        return max_fee_msat * payments_at_once(tariff.window)

    def statement(self, tariff: "Tariff", account: OnchainAccount) -> Plain:
        """Returns {}: a receipt has no further fields for Lightning."""
        return {}

    def shown(self, account: OnchainAccount) -> list[GrowingTransaction] | None:
        """Returns None: there are no transactions."""
        return None


@dataclass(frozen=True, slots=True)
class OnchainRules:
    """Rules of settlement by updates of a growing transaction: whole sat, and no dust."""

    dust_msat: int = DUST_SAT * 1000
    for_any_wallet: bool = False

    def fitting_msat(self, tariff: "Tariff", amount_msat: int, held_msat: int, unconfirmed_msat: int) -> int:
        """Whole sat, no dust, and within what may be held."""
        room = min(tariff.hold_msat - held_msat, tariff.unconfirmed_msat - unconfirmed_msat - held_msat)
        amount_msat = min(amount_msat, room) // 1000 * 1000
        return amount_msat if held_msat or amount_msat >= self.dust_msat else 0

    def bounds_msat(self, hold_msat: int, unconfirmed_msat: int, slice_msat: int) -> tuple[int, int]:
        """Returns both bounds; in place of 0, HELD_SLICES slices and UNCONFIRMED_HOLDS holds."""
        hold_msat = hold_msat or HELD_SLICES * slice_msat
        return hold_msat, unconfirmed_msat or UNCONFIRMED_HOLDS * hold_msat

    def check(self, tariff: "Tariff") -> None:
        """Raises BadParam for terms that a growing transaction can't keep.

        The window is 1. The slice is whole sat and at least twice the dust limit. The low-water mark is
        at least the dust limit under the quantum. hold_msat is whole sat and at least a slice, and
        unconfirmed_msat at least hold_msat."""
        if tariff.window != 1:
            raise BadParam(
                f"window: updates of a transaction follow one another; it must be 1, got {tariff.window}",
                param="window",
            )
        least = 2 * self.dust_msat
        if tariff.slice_msat % 1000 or tariff.slice_msat < least:
            raise BadParam(
                f"quantum_msat: on-chain it must be whole sat, and at least {least} msat (twice the dust limit), "
                f"got {tariff.quantum_msat}",
                param="quantum_msat",
            )
        if tariff.quantum_msat - tariff.low_water_msat < self.dust_msat:
            raise BadParam(
                f"low_water_msat: must be at least {self.dust_msat} msat (the dust limit) under quantum_msat, "
                f"got {tariff.low_water_msat}",
                param="low_water_msat",
            )
        if tariff.hold_msat % 1000 or tariff.hold_msat < tariff.slice_msat:
            raise BadParam(
                f"hold_msat: must be whole sat, and at least a slice ({tariff.slice_msat} msat), "
                f"got {tariff.hold_msat}",
                param="hold_msat",
            )
        if tariff.unconfirmed_msat < tariff.hold_msat:
            raise BadParam(
                f"unconfirmed_msat: must be at least hold_msat ({tariff.hold_msat}), got {tariff.unconfirmed_msat}",
                param="unconfirmed_msat",
            )

    def fees_at_risk_msat(self, tariff: "Tariff", max_fee_msat: int, signed: SignedTransaction | None) -> int:
        """One update may go astray."""
        return tariff.slice_msat + 2 * (signed.fee_sat * 1000 if signed is not None else 0)

    def statement(self, tariff: "Tariff", account: OnchainAccount) -> Plain:
        """Returns what a receipt states of a session's transactions; those broadcast are counted.

        fee_msat is what the buyer paid in fees. basic_fee_msat is the fee with a transaction for each
        payment, single_fee_msat the fee with growing transactions. txids are the newest ones. lost_msat
        is what conflicting spends took."""
        grows = tariff.hold_msat > tariff.slice_msat
        return {
            "onchain": {
                "transactions": account.count - (1 if account.growing is not None else 0),
                "txids": account.txids,
                "fee_msat": account.fees_sat * 1000,
                "basic_fee_msat": account.basic_fees_sat * 1000,
                "single_fee_msat": (account.fees_sat if grows else account.first_fee_sat) * 1000,
                "lost_msat": account.lost_sat * 1000,
            }
        }

    def shown(self, account: OnchainAccount) -> list[GrowingTransaction] | None:
        """Those whose fate is open, or that were lost."""
        return [each for each in account.transactions.values() if each.pending or each.lost_sat]


RULES: dict[str, Rules] = {LIGHTNING: LightningRules(), ONCHAIN: OnchainRules()}


def rules_of(tariff: "Tariff") -> Rules:
    """Returns the rules of a tariff's settlement; KeyError where the tariff was not checked."""
    return RULES[tariff.settlement]
