"""What was earned: a chart with a bar a period, and what it was in money at the time."""

from decimal import Decimal

from nicegui import ui

from ..core.plain import JsonObject
from ..formatting import UNITS, amount
from .amounts import Money
from .axes import X_AXIS, Y_AXIS


class Income:
    """A chart of what was earned, a bar a period."""

    def __init__(self, money: Money):
        self._money = money
        self._shown: object = None
        self._chart = ui.echart(
            {
                "grid": {"left": 64, "right": 8, "top": 28, "bottom": 24},
                "xAxis": {"type": "category", "data": [], **X_AXIS},
                "yAxis": {"type": "value", "min": 0, "name": "", **Y_AXIS},
                "series": [{"type": "bar", "data": []}],
                "tooltip": {"trigger": "axis"},
                "animation": False,
            }
        ).classes("chart")
        self._chart.props('role=img aria-label="earned, by the period" data-part=income')
        self._chart.set_visibility(False)

    def show(self, earned: list[tuple[str, int]]) -> None:
        """Draws (period, msat) pairs, oldest first; fewer than two are no chart."""
        unit = self._money.unit
        if (earned, unit) == self._shown:
            return
        self._shown = (earned, unit)
        self._chart.set_visibility(len(earned) > 1)
        self._chart.options["xAxis"]["data"] = [period for period, _ in earned]
        self._chart.options["series"][0]["data"] = [msat / UNITS[unit] for _, msat in earned]
        self._chart.options["yAxis"]["name"] = unit
        words = "; ".join(f"{period}: {amount(msat, unit)}" for period, msat in earned)
        self._chart.props["aria-label"] = f"earned, by the period: {words}"
        self._chart.update()


def worth(lines: list[JsonObject]) -> list[str]:
    """What totals were in money at the time, a text a currency; it says of how many sessions where not of all."""
    sums: dict[str, tuple[Decimal, int]] = {}
    for line in lines:
        for currency, fiat in line.get("fiat", {}).items():  # a plugin of before has none
            earned, sessions = sums.get(currency, (Decimal(0), 0))
            sums[currency] = earned + Decimal(fiat["earned"]), sessions + int(fiat["sessions"])
    every = sum(int(line["sessions"]) for line in lines)
    return [
        f"{earned:,.2f} {currency}" + (f" ({sessions:,} of {every:,} sessions)" if sessions != every else "")
        for currency, (earned, sessions) in sums.items()
    ]
