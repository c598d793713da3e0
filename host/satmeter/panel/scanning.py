"""Scanning in the browser: its camera, a photo, or a pasted text; and what then can be done with the code.

The browser sends pictures here and the reading chain looks at them: no code of anybody else runs in the page. Where it
gives no live camera (plain http from another machine) the photo input serves, which phones answer with their camera.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from nicegui import ui
from nicegui.events import GenericEventArguments

from ..core.errors import BadParam, NodeTrouble, SatmeterError
from ..core.money import typed_in_sat
from ..core.plain import JsonObject
from ..formatting import duration, visible
from ..http.request_body import TooLarge, TooSlow, whole
from ..node.payments import fee_cap
from ..qr.meaning import Invoice, plausible, understand
from ..qr.read import load, read, trouble
from ..scan import paying as buying
from ..wire.address import Address
from .amounts import Money, sat_field
from .layout import Panel, doing, heading, named, on_enter, words
from .payments import Payment

MOST_BYTES = 16 << 20
AT_ONCE = 2
SLOW_S = 60


def routes() -> APIRouter:
    """POST /scan: a picture in, {"texts": [...], "why": "..."} out."""
    router = APIRouter()
    reading = asyncio.Semaphore(AT_ONCE)

    @router.post("/scan")
    async def scan(request: Request, live: bool = False) -> JSONResponse:
        try:
            data = await whole(request, MOST_BYTES, SLOW_S)
        except TooLarge:
            return JSONResponse({"texts": [], "why": f"a picture may have {MOST_BYTES:,} bytes"}, 413)
        except TooSlow:
            return JSONResponse({"texts": [], "why": "the picture did not come to its end"}, 408)
        async with reading:
            try:
                texts, why = await asyncio.to_thread(look, data, live)
            except SatmeterError as error:
                return JSONResponse({"texts": [], "why": str(error)}, 400)
        return JSONResponse({"texts": texts, "why": why})

    return router


def look(data: bytes, live: bool) -> tuple[list[str], str]:
    """Return a picture's texts, or why there are none. live: another picture comes soon, so be quick."""
    picture = load(data)
    found = read(picture, plausible, patient=not live)
    if found:
        return list(dict.fromkeys(each.text for each in found)), ""
    return [], trouble(picture) or "no code in this picture"


class Scan:
    """The part of a page that scans, and asks what to do with what it found."""

    def __init__(self, panel: Panel, money: Money, opened: Callable[[JsonObject], None]):
        self.panel, self.money, self._on_open = panel, money, opened
        heading("Scan what a seller shows")
        ui.html(
            '<video class="camera" playsinline muted hidden></video>'
            '<p class="hint" data-part="scan-says" role="status"></p>',
            sanitize=False,
        )
        with ui.row():
            ui.button("Camera", icon="photo_camera").props("data-part=camera").on(
                "click", js_handler="() => satmeterScan.camera()"
            )
            ui.html(
                '<label class="file">Picture<input type="file" accept="image/*" capture="environment" '
                'onchange="satmeterScan.picture(this)"></label>',
                sanitize=False,
            )
        with ui.row().classes("paste"):
            text = ui.input("or paste an invoice or address").props("dense data-part=paste")

            def go() -> None:
                self.take([str(text.value or "")])

            on_enter([text], go)
            ui.button("Go", on_click=go).props("dense")
        self._slot = ui.element("div")  # of the dialogs: one that opens another must not take it away when it closes
        ui.add_body_html('<script src="/static/scan.js"></script>')
        ui.on("satmeter-scanned", self._scanned)

    def _scanned(self, event: GenericEventArguments) -> None:
        texts = event.args.get("texts", []) if isinstance(event.args, dict) else []
        self.take([text for text in texts if isinstance(text, str)][:20])

    def take(self, texts: list[str]) -> None:
        """Show what was found; of several codes the user chooses."""
        with self._slot, named("What was found") as dialog, ui.card().classes("wide").props("data-part=found"):
            if len(texts) > 1:
                heading(f"{len(texts)} codes in this picture: which one?")
                for text in texts:
                    ui.button(_short(text), on_click=self._choose(text, dialog)).props("flat no-caps")
            for text in texts if len(texts) == 1 else ():
                try:
                    meaning = understand(text)
                except BadParam as error:
                    ui.label(str(error)).classes("warning").props("role=alert")
                else:
                    if isinstance(meaning, Invoice):
                        self._invoice(meaning, dialog)
                    else:
                        self._address(meaning, dialog)
            ui.button("Close", on_click=dialog.close).props("flat")
        dialog.on("hide", dialog.delete)
        dialog.open()

    def _choose(self, text: str, dialog: ui.dialog) -> Callable[[], None]:
        def chosen() -> None:
            dialog.close()
            self.take([text])

        return chosen

    def _invoice(self, invoice: Invoice, dialog: ui.dialog) -> None:
        left = invoice.expires_at - int(time.time())
        heading("An invoice")
        for line in (
            "of any amount" if invoice.amount_msat is None else f"of {self.money(invoice.amount_msat)}",
            f"for {visible(invoice.description) or 'nothing said'}",
            f"to {invoice.payee}",
            f"expires in {duration(left)}" if left > 0 else f"expired {duration(-left)} ago",
        ):
            ui.label(line)
        cap = sat_field("pay at most", invoice.amount_msat or "")
        fee = sat_field("fees at most", fee_cap(invoice.amount_msat or 0))

        async def pay() -> None:
            if not button.enabled:  # Enter, twice
                return
            button.disable()
            dialog.props("persistent")
            most, fees = (typed_in_sat(str(box.value)) for box in (cap, fee))
            answer = await doing(self._paid(invoice, most, fees), "paid")
            if answer is None:
                button.enable()
            else:
                dialog.close()

        on_enter([cap, fee], pay)
        button = ui.button("Pay", on_click=pay)

    def _address(self, address: Address, dialog: ui.dialog) -> None:
        heading(f"Meter {address.meter}")
        ui.label(f"of node {address.node_id}")
        ui.label(f"at {address.reach}")
        price = ui.input("highest price with its unit, in sat, such as 30/kWh").props("data-part=max-price")
        budget = sat_field("budget in all").props("data-part=budget")

        async def open_() -> None:
            if not button.enabled:
                return
            button.disable()
            dialog.props("persistent")
            answer = await doing(
                self._io(
                    "stream-open",
                    buying.open_stream,
                    address,
                    *(typed_in_sat(str(box.value)) for box in (price, budget)),
                )
            )
            if answer is None:
                button.enable()
            else:
                dialog.close()
                self._on_open(answer)

        on_enter([price, budget], open_)
        button = ui.button("Open a stream", on_click=open_)

    async def _paid(self, invoice: Invoice, most: object, fees: object) -> JsonObject:
        """Pay, and note how that went: it may be read when the dialog is long gone."""
        try:
            answer = await self._io("xpay", buying.pay, invoice, most, fees)
        except NodeTrouble as error:
            self.panel.payments.add(Payment(time.time(), invoice.description, 0, words(error)))
            raise
        self.panel.payments.add(Payment(time.time(), invoice.description, int(answer["amount_sent_msat"]), "paid"))
        return answer

    async def _io(self, method: str, what: Callable[..., JsonObject], *args: object) -> JsonObject:
        self.panel.permit(method)
        return await self.panel.apart(partial(what, self.panel.node, *args))


def _short(text: str) -> str:
    try:
        meaning = understand(text)
    except BadParam:
        return f"neither invoice nor address: {text[:40]!r}"
    return f"an invoice ({text[:24]}…)" if isinstance(meaning, Invoice) else f"meter {meaning.meter}"
