"""Sessions that are over, newest first, page by page, with their receipts; of a seller's with totals and as CSV."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from nicegui import ui
from pyln.client import RpcError

from ..core.errors import SatmeterError
from ..core.plain import JsonObject
from ..watch import months
from . import receipt
from .amounts import Money
from .income import Income, worth
from .layout import Panel, doing, heading, words

SHOWN, MOST = 20, 1000
"""How many sessions a page adds, and the most that the node tells at once."""
ALL = "all"


class History:
    """A list of receipts, drawn anew by refresh().

    `rows` asks the node for so many of the newest; `then` gets them once they are drawn, to show their sums."""

    def __init__(
        self,
        money: Money,
        rows: Callable[[int], Awaitable[list[JsonObject]]],
        then: Callable[[list[JsonObject]], Awaitable[None]] | None = None,
    ):
        self._money, self._rows, self._then = money, rows, then
        self._list = ui.element("div").classes("receipts").props("data-part=receipts")
        self._more = ui.button("Show more", icon="expand_more", on_click=self._show_more).props("dense flat")
        self._more.set_visibility(False)
        self._again = 0
        self._shown: object = None
        self._most = SHOWN
        self._asked = 0
        """Which question is the newest: the answer to an earlier one is not shown."""
        self._fails, self._not_before = 0, 0.0
        ui.context.client.on_connect(self.tick)  # else a page is without it until the timer comes

    def refresh(self) -> None:
        """Look again, and a few times after: a receipt is signed and sent a moment after its session ends."""
        self._again, self._not_before = 6, 0.0

    async def tick(self) -> None:
        """Draws the list again where that is due and the page is open; a timer calls this."""
        due = self._again and time.monotonic() >= self._not_before
        if due and self._list.client.has_socket_connection:
            self._again -= 1
            await self.draw()

    async def _show_more(self) -> None:
        self._most = min(MOST, self._most + SHOWN)
        await self.draw()

    async def restart(self) -> None:
        """Begin again with the newest, of another period."""
        self._most = SHOWN
        await self.draw()

    async def draw(self) -> None:
        """Asks the node for the newest sessions, and draws their receipts where they have changed.

        An error of the node is shown in place of the list, and the node is asked again later."""
        self._asked += 1
        question = self._asked
        try:
            found = await self._rows(self._most)
            if question != self._asked:
                return
            rows = [row for row in found if row["receipt"]]
            good = [receipt.signed(row) for row in rows]
            self._show(found, rows, good)
            if self._then is not None:
                await self._then(found)
        except (RpcError, SatmeterError) as error:
            self._failed(words(error))
            return
        self._fails = 0

    def _show(self, found: list[JsonObject], rows: list[JsonObject], good: list[bool]) -> None:
        self._more.set_visibility(len(found) >= self._most < MOST)
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
                ui.label("No session has ended here yet.").classes("hint")

    def _failed(self, text: str) -> None:
        """Say what is wrong, and ask again, ever more seldom, until it is well."""
        self._fails += 1
        self._again = max(self._again, 1)
        self._not_before = time.monotonic() + min(60, 2**self._fails)
        if self._shown == text:
            return
        self._shown = text
        self._list.clear()
        with self._list:
            ui.label(text).classes("warning").props("role=alert")


def bounds(month: str) -> dict[str, int]:
    """Return since and before (ms, UTC) of a month such as 2026-11; {} for all."""
    if month == ALL:
        return {}
    since, before = months.bounds(month)
    return {"since": since, "before": before}


def history(panel: Panel, name: str, money: Money) -> History:
    """A meter's history, by the month, with what each month came to, and all of it as CSV."""
    known: dict[str, JsonObject] = {}
    seen: dict[str, str] = {}

    async def rows(most: int) -> list[JsonObject]:
        period = bounds(str(month.value))
        return list((await panel.call("meter-sessions", name=name, limit=most, **period))["sessions"])

    async def sum_up(found: list[JsonObject]) -> None:
        new = [row for row in found if row["receipt"] and seen.get(row["id"]) != row["receipt"]]
        if not known or new:
            # All of it once; then from the month on of which a receipt has changed: it reads each of its period.
            opened_at = min((row["opened_at"] for row in new), default=0)
            since = bounds(f"{datetime.fromtimestamp(opened_at / 1000, UTC):%Y-%m}")["since"] if known else 0
            seen.update({row["id"]: row["receipt"] for row in new})
            for line in (await panel.call("meter-totals", name=name, since=since))["totals"]:
                known[line["period"]] = line
        show_totals()
        await show_income()

    def show_totals() -> None:
        lines = [known[period] for period in sorted(known, reverse=True)]
        options = [ALL, *(line["period"] for line in lines)]
        if month.options != options:
            month.set_options(options)
        chosen = [line for line in lines if month.value in (ALL, line["period"])]
        sums = {key: sum(line[key] for line in chosen) for key in ("sessions", "earned_msat")}
        given_back = sum(line["refunded_msat"] - line["carried_on_msat"] for line in chosen)
        text = f"{sums['sessions']:,} sessions, {money(sums['earned_msat'])} earned"
        text += f", {money(given_back)} given back" if given_back else ""
        text += "".join(f"; {each} at the time" for each in worth(chosen))
        total.set_text(text)

    async def show_income() -> None:
        """The chart: of a month its days, of all the months."""
        if month.value == ALL:
            lines = sorted(known.values(), key=lambda line: str(line["period"]))
        else:
            asked = panel.call("meter-totals", name=name, by="day", **bounds(str(month.value)))
            lines = sorted((await asked)["totals"], key=lambda line: str(line["period"]))
        income.show([(str(line["period"]), int(line["earned_msat"])) for line in lines])

    async def csv() -> None:
        found = await doing(_whole_csv(panel, name, bounds(str(month.value))))
        if found is not None:
            ui.download(str(found).encode(), f"{name}-{month.value}.csv", "text/csv")

    with ui.row().classes("title-row"):
        heading("History")
        month = ui.select([ALL], value=ALL, label="month").props("dense data-part=month").classes("month")
        ui.button("CSV", icon="download", on_click=csv).props("dense flat")
    total = ui.label().classes("hint").props("data-fact=history-total")
    income = Income(money)
    made = History(money, rows, sum_up)
    month.on_value_change(made.restart)
    made.refresh()
    ui.timer(0.7, made.tick)
    return made


async def _whole_csv(panel: Panel, name: str, period: dict[str, int]) -> str:
    """Return all sessions of a period as CSV, however many pages of the node's that are."""
    text, before = "", period.get("before", 0)
    while True:
        found = await panel.call("meter-export", name=name, since=period.get("since", 0), before=before)
        page = str(found["csv"])
        text += page.partition("\n")[2] if text else page
        before = found["next"]
        if not before:
            return text
