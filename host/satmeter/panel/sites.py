"""The page of all sites: a line each with what its node sells, earned this month, and what a person has to look at."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from nicegui import ui
from pyln.client import RpcError

from ..core.errors import SatmeterError
from ..core.states import MeterState
from .amounts import Money
from .layout import Panel, follow, page

TOTALS_S = 60


class Line(NamedTuple):
    """What is shown of a site."""

    state: ui.label
    meters: ui.label
    earned: ui.label
    exposure: ui.label
    alarms: ui.label


def sites(panels: Mapping[str, Panel]) -> None:
    """All sites, a line each; the panels are as the page's user sees them."""
    first = next(iter(panels.values()))
    money = Money(first.rate, first.unit)
    lines: dict[str, Line] = {}
    earned: dict[str, int] = {}

    def show() -> None:
        for name, panel in panels.items():
            texts = _said(panel, earned.get(name), money)
            for label, text in zip(lines[name], texts, strict=True):
                label.set_text(text)
            away = panel.sell.trouble and not panel.sell.missing
            lines[name].state.classes(**{"add" if away else "remove": "warning"})

    async def sum_up() -> None:
        """What each site earned this month: read from every receipt of the month, and so not often."""
        month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)

        async def of(name: str, panel: Panel) -> None:
            if panel.sell.missing or panel.sell.trouble:
                return
            try:
                found = (await panel.call("meter-totals", since=int(month.timestamp() * 1000)))["totals"]
            except (RpcError, SatmeterError):
                return  # the feed says what is wrong; a rune may permit less
            earned[name] = sum(int(line["earned_msat"]) for line in found)
            show()

        await asyncio.gather(*(of(*each) for each in panels.items()))

    with page(first, "Sites", money, show, of_all=True), ui.element("div").classes("lines"):
        for name, panel in panels.items():
            with ui.link(target=panel.base).classes("line") as line:
                line.props["data-site"] = name
                ui.label(name).classes("title")
                lines[name] = Line(*(ui.label().props(f"data-fact={fact}") for fact in Line._fields))
    for panel in panels.values():
        follow(panel.sell, show)
    ui.timer(TOTALS_S, sum_up)


def _said(panel: Panel, earned: int | None, money: Money) -> tuple[str, ...]:
    """What a site's line says, in the order of Line."""
    if panel.sell.missing:
        return "sells nothing", "", "", "", ""
    if not panel.sell.heard_at:
        return panel.sell.trouble, "", "", "", ""
    view = panel.sell.view
    meters = view.meters.values()
    delivering = sum(meter.state == MeterState.DELIVERING for meter in meters)
    faulty = sum(bool(meter.fault) or meter.board == "silent" for meter in meters)
    alarms = sum(bool(session.alarm) for session in view.sessions.values()) + len(view.unowned)
    return (
        panel.sell.trouble or ("delivers" if delivering else "stands by"),
        f"{delivering:,} of {len(meters):,} meters deliver" + (f", {faulty:,} silent or faulty" if faulty else ""),
        "" if earned is None else f"{money(earned)} earned this month",
        f"{money(sum(meter.exposure_msat for meter in meters))} could be lost now",
        f"{alarms:,} to look at" if alarms else "",
    )
