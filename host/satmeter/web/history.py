"""Sessions that are over, newest first, with their receipts and as CSV."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from nicegui import ui
from pyln.client import RpcError

from ..core.errors import SatmeterError
from . import receipt
from .amounts import Money
from .frame import Panel, doing, words

SHOWN = 20


class History:
    """A list of receipts, drawn anew by refresh(); `rows` asks the node for them."""

    def __init__(self, money: Money, rows: Callable[[], Awaitable[list[dict[str, Any]]]]):
        self._money, self._rows = money, rows
        self._list = ui.element("div").classes("receipts").props("data-part=receipts")
        self._again = 0
        self._shown: Any = None

    def refresh(self) -> None:
        """Look again, and a few times after: a receipt is signed and sent a moment after its session ends."""
        self._again = 6

    async def tick(self) -> None:
        if self._again and self._list.client.has_socket_connection:
            self._again -= 1
            await self.draw()

    async def draw(self) -> None:
        try:
            rows = [row for row in await self._rows() if row["receipt"]]
            good = [receipt.signed(row) for row in rows]
        except (RpcError, SatmeterError) as e:
            self._shown = None
            self._list.clear()
            with self._list:
                ui.label(words(e)).classes("warning")
            return
        shown = [*((row["receipt"], ok) for row, ok in zip(rows, good)), self._money.unit]
        if shown == self._shown:
            return
        self._shown = shown
        self._list.clear()
        with self._list:
            for row, ok in zip(rows, good):
                at = datetime.fromtimestamp(row["opened_at"] / 1000, UTC)
                with ui.expansion(f"{at:%Y-%m-%d %H:%M} UTC").classes("full") as item:
                    receipt.show(row, self._money, ok)
                item.set_value(row is rows[0])
            if not rows:
                ui.label("No session has ended yet.").classes("hint")


def history(panel: Panel, name: str, money: Money) -> History:
    """A meter's history, with its CSV."""

    async def rows() -> list[dict[str, Any]]:
        return list((await panel.call("meter-sessions", name=name, limit=SHOWN))["sessions"])

    async def csv() -> None:
        found = await doing(panel.call("meter-export", name=name))
        if found is not None:
            ui.download(str(found["csv"]).encode(), f"{name}.csv", "text/csv")

    with ui.row().classes("title-row"):
        ui.label("History").classes("title")
        ui.button("CSV", icon="download", on_click=csv).props("dense flat")
    made = History(money, rows)
    made.refresh()
    ui.timer(0.7, made.tick)
    return made
