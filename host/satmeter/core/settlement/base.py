"""Settlement: how an amount due becomes credit. One interface, and two ways behind it.

Lightning: an invoice for each amount (lightning_seller.py, lightning_buyer.py). On-chain: updates of a growing
transaction (onchain_seller.py, onchain_buyer.py). What an amount may be stands in rules.py. Nobody else asks which way
a session has.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..buyer.session import BuyerSession
    from ..receipt import Statement
    from ..seller.session import SellerSession


class SellerSettlement(Protocol):
    """A seller's way to be paid for a session."""

    def why_full(self, session: "SellerSession", amount_msat: int) -> str:
        """Return why an opening may not become a session that is paid `amount_msat` first, "" where it may."""

    def ask_first(self, session: "SellerSession") -> None:
        """Ask for the first payment of an opening, which is in memory only."""

    def begun(self, session: "SellerSession", opening: "SellerSession") -> None:
        """Record what was given to the buyer while a new session was an opening, beside what was asked for."""

    def resumed(self, session: "SellerSession") -> None:
        """After a restart, do what has to be done before the first message."""

    def is_settled(self, session: "SellerSession") -> bool:
        """Return whether nothing more of what an ended session was paid waits for us: its receipt may be made."""

    def ask(self, session: "SellerSession") -> None:
        """Ask for what is due now, as far as the window and the quantum have room."""

    def make(self, session: "SellerSession", number: int) -> None:
        """Have what the buyer needs to pay an outstanding invoice made, or found, once more."""

    def tell(self, session: "SellerSession", number: int) -> None:
        """Say to the buyer, once more, what is to be paid."""

    def cancel(self, session: "SellerSession") -> None:
        """Make what was dropped unpayable, until that is so."""

    def ask_first_again(self, session: "SellerSession") -> None:
        """Ask again for a first payment that did not come."""

    def cancel_first(self, session: "SellerSession") -> None:
        """Make the first payment of an opening impossible."""

    def look_after(self, session: "SellerSession") -> None:
        """Do what is due, as time passes, for what was paid and is not final."""


class BuyerSettlement(Protocol):
    """A buyer's way to pay for a stream. The demands themselves differ: an invoice, or an increment."""

    def find_out(self, stream: "BuyerSession") -> None:
        """After a restart, find out what became of what is in flight."""

    def look_after(self, stream: "BuyerSession") -> None:
        """Do what is due, as time passes, for what is in flight."""

    def reconcile(self, stream: "BuyerSession", stated: "Statement") -> None:
        """Take from a signed receipt what it counts of what is in flight."""

    def release(self, stream: "BuyerSession") -> None:
        """Let go of what was reserved of the wallet for a stream that ended."""
