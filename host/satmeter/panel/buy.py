"""The buyer's page: what may be spent, the streams that run, a code to scan, and the receipts."""

from collections.abc import Callable, Mapping, Sequence

from nicegui import ui

from ..core.money import typed_in_sat
from ..core.plain import JsonObject
from ..core.status import RefusalStatus, StreamStatus
from ..core.tariff import Tariff
from ..formatting import visible
from .amounts import Money, sat_field
from .history import History
from .layout import Facts, Panel, asked, doing, follow, heading, named, on_enter, page, stale, tell
from .payments import PaymentList
from .scanning import Scan

FACTS = {
    "price": "price",
    "used": "counted by the seller",
    "own": "counted by us",
    "paid": "paid",
    "fees": "fees",
    "credit": "credit there",
    "left": "budget left",
    "exposure": "we could lose",
}
STATES = {
    "opening": "asking the seller for its terms",
    "streaming": "running: invoices are paid as they come",
    "paused": "paused: nothing is paid",
    "closing": "ending: the receipt is on its way",
}


class StreamCard:
    """One live stream."""

    def __init__(self, panel: Panel, session: str, money: Money, changed: Callable[[], None]):
        """changed: called when the stream's state has."""
        self.panel, self.session, self.money, self._changed = panel, session, money, changed
        with ui.element("article").classes("stream") as self.element:
            self.element.props["data-stream"] = session
            with ui.row().classes("title-row"):
                self.meter = heading("", 3)
                self.state = ui.label().classes("state").props("data-fact=state role=status")
            self.said = ui.label().classes("said").props("role=status")
            self.bar = ui.linear_progress(0, show_value=False).props('aria-label="budget left"')
            self.facts = Facts(FACTS)
            self.refusals = ui.element("ul").classes("refusals").props("data-part=refusals aria-live=polite")
            with ui.row():
                self.pause = ui.button("Pause", on_click=self._pause).props("dense outline")
                budget = ui.button("Budget", on_click=self._budget).props("dense outline")
                end = ui.button("End", on_click=self._end).props("dense outline")
        panel.only_with("stream-pause", self.pause)
        panel.only_with("stream-budget", budget)
        panel.only_with("stream-close", end)
        self.buttons = [self.pause, budget, end]
        self._refused = 0
        self._view: StreamStatus | None = None

    def update(self, view: StreamStatus) -> None:
        """Draws a stream from its view; calls `changed` at a new state."""
        self._view = view
        terms, money = view.terms, self.money
        self.meter.set_text(f"{view.meter} at {view.seller[:12]}…")
        if self.state.text != view.state:
            self.state.set_text(view.state)
            self.state.classes(replace=f"state {view.state}")
            self._changed()
        self.said.set_text(visible(view.trouble or view.why) or STATES.get(view.state, ""))
        for button in self.buttons:
            button.set_enabled(view.state != "closing")
        self.pause.set_text("Resume" if view.state == "paused" else "Pause")
        left, budget = view.budget_left_msat, int(view.policy["budget_msat"])
        part = 100 * left // max(1, budget) / 100
        self.bar.set_value(part)
        self.facts["price"] = f"{money(terms.price_msat)} / {terms.unit}" if terms else "not agreed yet"
        self.facts["used"] = used(view.ticks, terms)
        self.facts["own"] = used(view.own_ticks, terms) if view.own_ticks >= 0 else "no sensor of our own"
        self.facts["paid"] = f"{money(view.paid_msat)} in {view.payments:,} payments"
        self.facts["fees"] = money(view.fees_msat)
        spent = terms.charge(view.ticks) if terms else 0
        self.facts["credit"] = money(max(0, view.paid_msat + view.carried_msat - spent))
        self.facts["left"] = f"{money(left)} of {money(budget)}"
        self.facts["exposure"] = f"{money(view.exposure_msat)}, at most {money(view.exposure_bound_msat)}"
        self._refusals(view.refusals)

    def _refusals(self, found: Sequence[RefusalStatus]) -> None:
        if len(found) == self._refused:
            return
        self._refused = len(found)
        self.refusals.clear()
        with self.refusals:
            for each in found[-5:]:
                with ui.element("li"):
                    ui.label(visible(f"refused: {each.why}"))

    async def _pause(self) -> None:
        method = "stream-resume" if self._view is not None and self._view.state == "paused" else "stream-pause"
        await doing(self.panel.call(method, session=self.session))

    async def _end(self) -> None:
        if await asked("End the stream? What is paid and not used comes back.", "End it"):
            await doing(self.panel.call("stream-close", session=self.session), "ending")

    def _budget(self) -> None:
        """Change the caps of the running stream."""
        names = {
            "budget_msat": "budget in all",
            "max_price_msat": "highest price of a unit",
            "max_invoice_msat": "highest single invoice",
            "max_fee_msat": "highest fee of a payment",
            "day_msat": "highest in a day, over all streams (0: no cap)",
        }
        policy = self._view.policy if self._view is not None else {}
        with named("Caps of this stream") as dialog, ui.card():
            heading("Caps of this stream")
            boxes = {name: sat_field(text, policy.get(name, 0)) for name, text in names.items()}
            before = {key: str(box.value) for key, box in boxes.items()}

            async def save() -> None:
                typed = {name: str(box.value).strip() for name, box in boxes.items()}
                changed = {key: typed_in_sat(value) for key, value in typed.items() if value != before[key]}
                call = self.panel.call("stream-budget", session=self.session, **changed)
                if not changed or await doing(call, "changed") is not None:
                    dialog.close()

            on_enter(boxes.values(), save)
            with ui.row():
                ui.button("Save", on_click=save)
                ui.button("Cancel", on_click=dialog.close).props("flat")
        dialog.on("hide", dialog.delete)
        dialog.open()


def used(ticks: int, tariff: Tariff | None) -> str:
    """Returns a count (ticks) as text in units and ticks; without a tariff in ticks only."""
    return f"{ticks / tariff.ticks_per_unit:,.3f} {tariff.unit} ({ticks:,} ticks)" if tariff else f"{ticks:,} ticks"


class BuyPage:
    """The buyer's page: a code to scan, the streams, the payments made here, and the receipts."""

    def __init__(self, panel: Panel):
        self.panel = panel
        self.money = Money(panel.rate, panel.unit)
        self.cards: dict[str, StreamCard] = {}
        with page(panel, "Buy", self.money, self.show) as self.body:
            self.trouble = ui.label().classes("warning").props("role=alert")
            with ui.element("div").classes("columns"):
                if panel.may("xpay"):
                    with ui.element("section"):
                        Scan(panel, self.money, self._opened)
                with ui.element("section").classes("wide"):
                    heading("Streams")
                    self.total = ui.label().classes("hint").props("data-fact=total")
                    self.streams = ui.element("div").classes("streams")
                with ui.element("section").classes("full"):
                    heading("Payments made here")
                    self.payments = PaymentList(panel.payments, self.money)
                    self.payments.show()
                    ui.timer(0.7, self.payments.show)
                with ui.element("section").classes("full"):
                    heading("Receipts")
                    self.receipts = History(self.money, self._rows)
                    self.receipts.refresh()
                    ui.timer(0.7, self.receipts.tick)
        follow(panel.buy, self.show)

    async def _rows(self, most: int) -> list[JsonObject]:
        return list((await self.panel.call("stream-receipts", limit=most))["receipts"])

    def _opened(self, status: JsonObject) -> None:
        tell(f"stream to {status.get('meter', 'the meter')} is open")

    def show(self) -> None:
        """Draws the newest view of the buyer's plugin; adds and removes the cards of streams."""
        trouble = stale(self.panel.buy, self.body)
        if self.trouble.text != trouble:
            self.trouble.set_text(trouble)
            self.receipts.refresh()
        streams = self.panel.buy.view.streams
        if set(streams) != set(self.cards):
            self._build(streams)
        for session, card in self.cards.items():
            card.update(streams[session])
        left = sum(stream.budget_left_msat for stream in streams.values())
        risk = sum(each.exposure_msat for each in streams.values())
        text = (
            f"{self.money(left)} may still be spent; {self.money(risk)} could be lost now" if streams else "none runs"
        )
        self.total.set_text(text)

    def _build(self, streams: Mapping[str, StreamStatus]) -> None:
        """Cards come and go with their streams; one that went has left a receipt, or a reason."""
        for session in set(self.cards) - set(streams):
            self._gone(session)
            self.cards.pop(session).element.delete()
        for session in sorted(set(streams) - set(self.cards), key=lambda s: streams[s].opened_at):
            with self.streams:
                self.cards[session] = StreamCard(self.panel, session, self.money, self.receipts.refresh)
            self.cards[session].element.move(target_index=0)
        self.receipts.refresh()

    def _gone(self, session: str) -> None:
        ended = self.panel.buy.view.ended.get(session)
        why = ended.why if ended is not None else ""
        with self.streams:
            tell(f"a stream has ended{': ' + why if why else ''}; its receipt is below", good=not why)
