"""The seller's pages: all meters, and one with its board, its money and what a person can do about it."""

from collections.abc import Mapping

from nicegui import ui
from pyln.client import RpcError

from ..core.errors import SatmeterError
from ..core.money import typed_in_sat
from ..core.plain import JsonObject
from ..core.status import MeterStatus, SessionEvent, SessionStatus, read_as
from ..core.tariff import Tariff
from ..formatting import duration
from ..qr import draw
from ..qr.make import make
from . import tariff
from .alarms import Alarms
from .amounts import Money, sat_field
from .axes import X_AXIS, Y_AXIS
from .board import BoardDrawing
from .history import history
from .layout import Facts, Panel, asked, doing, follow, heading, on_enter, page, stale

STATES = {
    "standby": "waiting for somebody to plug in and pay",
    "negotiating": "waiting for the first payment",
    "delivering": "paid: delivering",
    "suspended": "credit used up: waiting for payment",
    "lockout": "locked after non-payment",
}
BOARDS = {
    "never heard": "no board has reported yet: is its bridge running (satmeter bridge)?",
    "silent": "its board is not heard: is its cable in, and its bridge running?",
}
FACTS = {
    "flow": "flow",
    "register": "counted",
    "paid": "paid",
    "charged": "charged",
    "payments": "payments",
    "out": "invoices out",
    "exposure": "we could lose",
}


def meters(panel: Panel) -> None:
    """All meters, a line each."""
    money = Money(panel.rate, panel.unit)
    rows: dict[str, tuple[ui.label, ...]] = {}

    def show() -> None:
        trouble.set_text(stale(panel.sell, body))
        alarms.show()
        found = panel.sell.view.meters
        if set(found) != set(rows):
            build(found)
        for name, meter in found.items():
            texts = (said(meter), flow(meter, meter.tariff), money(meter.credit_msat), meter.fault)
            for label, text in zip(rows[name], texts):
                label.set_text(text)

    def build(found: Mapping[str, MeterStatus]) -> None:
        table.clear()
        rows.clear()
        with table:
            for name in sorted(found):
                with ui.link(target=f"{panel.base}/sell/{name}").classes("line"):
                    ui.label(name).classes("title")
                    rows[name] = tuple(ui.label() for _ in range(4))
            if not found:
                ui.label("No meter yet. Add one: what it sells, at what price.")

    with page(panel, "Meters", money, show) as body:

        async def again() -> None:
            await panel.sell.refresh()
            show()

        trouble = ui.label().classes("warning").props("role=alert")
        alarms = Alarms(panel, money, again)
        table = ui.element("div").classes("lines")

        panel.only_with(
            "meter-add", ui.button("Add a meter", icon="add", on_click=lambda: tariff.edit(panel, "", None, again))
        )
        follow(panel.sell, show)


def said(meter: MeterStatus) -> str:
    """What a meter is doing, in words; of one whose board is not heard, that first."""
    if meter.state == "standby" and meter.board != "heard":
        return BOARDS[meter.board]
    return STATES[meter.state]


def flow(meter: MeterStatus, tariff: Tariff) -> str:
    """A meter's flow in its unit an hour."""
    value = meter.flow / tariff.ticks_per_unit
    return f"{value:,.{0 if value >= 100 else 2}f} {tariff.unit}/h"


def count(meter: MeterStatus, tariff: Tariff) -> str:
    """Returns a meter's count over all boots as text, in units and in ticks."""
    return f"{meter.count / tariff.ticks_per_unit:,.3f} {tariff.unit} ({meter.count:,} ticks)"


class MeterPage:
    """The page of one meter."""

    def __init__(self, panel: Panel, name: str):
        self.panel, self.name = panel, name
        self.money = Money(panel.rate, panel.unit)
        self._code = ""
        self._which = "address"
        self._session = ""
        self._lines: list[str] | None = None
        """The invoices that are shown."""
        with page(panel, name, self.money, self.show) as self.body:
            self.trouble = ui.label().classes("warning").props("role=alert")
            with ui.element("div").classes("columns"):
                with ui.element("section"):
                    self._head()
                    self.board = BoardDrawing(panel.virtual.get(name) if panel.may("meter-close") else None)
                with ui.element("section"):
                    self._money()
                with ui.element("section"):
                    self._codes()
                with ui.element("section").classes("full"):
                    self._runs()
                with ui.element("section").classes("full"):
                    self.history = history(panel, name, self.money)
        follow(panel.sell, self.show)
        ui.timer(0.5, self._follow_invoices)

    # --- parts

    def _head(self) -> None:
        with ui.row().classes("title-row"):
            heading(self.name)
            self.state = ui.label().classes("state").props("data-fact=state role=status")
        self.said = ui.label().classes("said").props("role=status")
        with ui.row():
            self.close = ui.button("Close the session", on_click=self._close).props("dense outline")
            self.unlock = ui.button("Unlock", on_click=self._unlock).props("dense outline")
            change = ui.button("Tariff", on_click=self._tariff).props("dense outline")
        self.panel.only_with("meter-close", self.close)
        self.panel.only_with("meter-unlock", self.unlock)
        self.panel.only_with("meter-set", change)

    def _money(self) -> None:
        heading("Credit")
        self.credit = ui.label().classes("figure").props("data-fact=credit")
        self.bar = ui.linear_progress(0, show_value=False).props('aria-label="credit left"')
        self.lasts = ui.label().classes("hint")
        self.facts = Facts(FACTS)
        self.chart = ui.echart(
            {
                "grid": {"left": 48, "right": 8, "top": 28, "bottom": 24},
                "xAxis": {"type": "time", "splitNumber": 3, **X_AXIS},
                "yAxis": {"type": "value", "min": 0, "name": "flow", **Y_AXIS},
                "series": [{"type": "line", "step": "end", "showSymbol": False, "areaStyle": {}, "data": []}],
                "animation": False,
            }
        ).classes("chart")
        self._drawn = 0

    def _codes(self) -> None:
        heading("Scan to pay")
        choice = {"address": "With the plugin", "invoice": "With any wallet"}
        self.toggle = ui.toggle(choice, value="address", on_change=lambda event: self._show_code(str(event.value)))
        self.qr = ui.html("", sanitize=False).classes("qr").props('role=img aria-label="QR code" data-part=qr')
        self.price = ui.label().classes("hint").props("data-fact=price")
        self.text = ui.label().classes("code").props("data-part=code")
        self.wallet = ui.link("Open a wallet", "").props("data-part=wallet")
        with ui.row():
            self.amount = sat_field("amount (default: a quantum)").props("dense")
            on_enter([self.amount], self._invoice)
            new = ui.button("New invoice", on_click=self._invoice).props("dense")
            self.panel.only_with("meter-invoice", self.amount, new)
            copy = "(e) => copyText('[data-part=code]', e.currentTarget)"
            ui.button("Copy").props("dense flat").on("click", js_handler=copy)

    def _runs(self) -> None:
        heading("Invoices and payments of the running session")
        self.runs = ui.element("ul").classes("runs").props("data-part=runs")

    # --- what is shown

    @property
    def meter(self) -> MeterStatus | None:
        """The meter's newest view; None while the node has no such meter."""
        return self.panel.sell.view.meters.get(self.name)

    def show(self) -> None:
        """Bring everything on the page up to the feed's newest view."""
        meter = self.meter
        text = stale(self.panel.sell, self.body) or ("" if meter is not None else f"there is no meter {self.name!r}")
        self.trouble.set_text(text)
        if meter is None:
            return
        session = self.panel.sell.view.sessions.get(meter.session)
        # A session keeps the terms that it was opened with.
        terms = session.terms if session is not None else meter.tariff
        if self.state.text != meter.state:
            self.state.set_text(meter.state)
            self.state.classes(replace=f"state {meter.state}")
            self.history.refresh()
        self.said.set_text(said(meter))
        self.close.set_enabled(bool(meter.session))
        self.unlock.set_enabled(meter.state == "lockout")
        self.board.update(meter)
        self._show_credit(meter, terms)
        self._show_session(session)
        self._show_code(self._which)
        self._show_chart(terms)

    def _show_credit(self, meter: MeterStatus, terms: Tariff) -> None:
        credit = meter.credit_msat
        self.credit.set_text(self.money(credit))
        part = max(0, min(100, 100 * credit // terms.quantum_msat))
        if self.bar.value != part / 100:
            self.bar.set_value(part / 100)
            self.bar.props(f"color={'negative' if meter.low else 'primary'}")
        cost_an_hour = terms.charge(meter.flow)
        lasts = (
            f"lasts about {duration(credit * 3600 // cost_an_hour)} at this flow" if cost_an_hour and credit > 0 else ""
        )
        self.lasts.set_text(lasts)
        self.facts["flow"] = flow(meter, terms)
        self.facts["register"] = count(meter, terms)
        self.facts["exposure"] = f"{self.money(meter.exposure_msat)}, at most {self.money(meter.exposure_bound_msat)}"

    def _show_session(self, session: SessionStatus | None) -> None:
        paid = charged = payments = invoices = out = 0
        if session is not None:
            paid, charged, payments = session.paid_msat, session.charged_msat, session.payments
            invoices, out = session.invoices_out, session.out_msat
        self.facts["paid"] = self.money(paid)
        self.facts["charged"] = self.money(charged)
        self.facts["payments"] = f"{payments:,}"
        self.facts["out"] = f"{invoices} of {self.money(out)}"

    def _show_code(self, which: str) -> None:
        self._which = which
        meter = self.meter
        if meter is None:
            return
        self.price.set_text(f"{self.money(meter.tariff.price_msat)} a {meter.tariff.unit}")
        text = (meter.address if which == "address" else meter.invoice).upper()
        if text == self._code and text:
            return
        self._code = text
        if not text:
            nothing = (
                "No address: set the node's option meter-address to the HOST:PORT at which buyers reach it."
                if which == "address"
                else "No invoice now: make one."
            )
        self.qr.set_content(draw.svg(make(text)) if text else "")
        self.text.set_text(text or nothing)
        self.wallet.set_visibility(bool(text) and which == "invoice")
        self.wallet.props["href"] = f"lightning:{text}"
        self.wallet.update()

    def _show_chart(self, terms: Tariff) -> None:
        points = self.panel.flows.of(self.name)
        newest = points[-1][0] if points else 0
        if newest < self._drawn + 1000:
            return
        self._drawn = newest
        self.chart.options["series"][0]["data"] = [[at, value / terms.ticks_per_unit] for at, value in points]
        self.chart.options["yAxis"]["name"] = f"{terms.unit}/h"
        self.chart.update()

    async def _follow_invoices(self) -> None:
        """List the newest invoices of the session as its journal has them."""
        meter = self.meter
        session = (meter.session if meter is not None else "") or self._session
        if not session or self.panel.sell.trouble or not self.runs.client.has_socket_connection:
            return
        self._session = session
        try:
            found = await self.panel.call("meter-history", stream=session, limit=60, newest=True)
        except (RpcError, SatmeterError):  # a login that has ended, or a rune that permits less, too
            return  # the feed shows the error
        lines = _invoices(found["events"], self.money)
        if lines == self._lines:
            return
        self._lines = lines
        self.runs.clear()
        with self.runs:
            for line in lines:
                with ui.element("li"):
                    ui.label(line)

    # --- what a person does

    async def _close(self) -> None:
        if await asked("End the session? What is not used goes back to the buyer.", "End it"):
            await doing(self.panel.call("meter-close", name=self.name), "closing")

    async def _unlock(self) -> None:
        await doing(self.panel.call("meter-unlock", name=self.name), "unlocked")

    async def _invoice(self) -> None:
        amount = typed_in_sat(str(self.amount.value or ""))
        params = {"amount_msat": amount} if amount else {}
        if await doing(self.panel.call("meter-invoice", name=self.name, **params), "invoice made") is not None:
            self.toggle.set_value("invoice")

    def _tariff(self) -> None:
        if self.meter is not None:
            tariff.edit(self.panel, self.name, self.meter.tariff, self.panel.sell.refresh)


HOW = {"asked": "asked for", "paid": "paid", "dropped": "no longer wanted", "expired": "expired"}
"""How an invoice stands, in words."""


def _invoices(rows: list[JsonObject], money: Money) -> list[str]:
    """Return a line for each invoice in a session's events, the newest first: its amount, and how it stands."""
    stands: dict[int, tuple[int, str]] = {}
    for row in rows:
        event = read_as(SessionEvent, row["event"]) if "event" in row else None
        if event is not None and event.happened in HOW:
            amount = event.amount_msat or stands.get(event.number, (0, ""))[0]
            stands[event.number] = (amount, HOW[event.happened])
    newest = sorted(stands.items(), reverse=True)[:12]
    return [f"invoice {n}{f': {money(amount)}' if amount else ''}, {how}" for n, (amount, how) in newest]
