"""The invoices that were paid on the buyer's page, newest first, and how each payment ended.

The node knows all payments (listpays). These are the ones of this run of the panel, for a person who
was not looking while one was made."""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

from nicegui import ui

from ..formatting import visible
from .amounts import Money

KEPT = 50


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment of an invoice on the buyer's page; `said` is its outcome as text."""

    at: float
    """In seconds since 1970."""
    what: str
    """The invoice's description: a stranger's."""
    sent_msat: int
    """What left, fees included; 0 where nothing did."""
    said: str


class PaymentLog:
    """What the panel remembers of them."""

    def __init__(self) -> None:
        self.made: deque[Payment] = deque(maxlen=KEPT)

    def add(self, payment: Payment) -> None:
        """Adds a payment as the newest; the oldest is dropped where there are more than 50."""
        self.made.appendleft(payment)


class PaymentList:
    """The list on the page."""

    def __init__(self, payments: PaymentLog, money: Money):
        self._payments, self._money = payments, money
        self._shown: tuple[object, ...] = ()
        self._hint = ui.label("None yet.").classes("hint")
        self._list = ui.element("ul").classes("runs").props("data-part=payments")

    def show(self) -> None:
        """Draws the list again where the payments or the unit of amounts have changed."""
        state = (tuple(self._payments.made), self._money.unit)
        if state == self._shown:
            return
        self._shown = state
        self._hint.set_visibility(not self._payments.made)
        self._list.clear()
        with self._list:
            for each in self._payments.made:
                left = f"{self._money(each.sent_msat)}, " if each.sent_msat else ""
                with ui.element("li"):
                    ui.label(
                        f"{datetime.fromtimestamp(each.at, UTC):%Y-%m-%d %H:%M:%S} UTC: {left}{visible(each.said)}"
                    )
                    ui.label(visible(each.what)).classes("hint")
