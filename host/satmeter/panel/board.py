"""A board as a page draws it: its display pixel for pixel, its LED, its potentiometer and its plug.

A virtual board can be operated there, by mouse, finger or keys."""

import asyncio

from nicegui import ui
from nicegui.events import ValueChangeEventArguments

from ..board.virtual import VirtualBoard
from ..core.status import MeterStatus
from . import display_preview

LAMPS = {
    "on": "LED on: it delivers",
    "slow": "LED blinks slowly: waiting for payment",
    "fast": "LED blinks fast: locked",
}
REDRAW_S = 0.5
"""A display changes by itself, too: codes take turns, and it is drawn row by row."""
TURN = 270
"""Degrees from one end of a potentiometer to the other."""


class BoardDrawing:
    """The board of one meter on one page; update() with each new view of the meter."""

    def __init__(self, virtual: VirtualBoard | None):
        self._virtual = virtual
        self._mirror = display_preview.DisplayPreview()
        self._most = 1
        with ui.element("div").classes("board"):
            self._display = ui.element("img").props('alt="the board\'s display" data-part=display').classes("display")
            with ui.element("div").classes("parts"):
                self._led = ui.element("div").classes("led off").props("role=img data-part=led")
                self._knob = ui.element("div").classes("knob").props('role=img aria-label="potentiometer"')
                with self._knob:
                    ui.element("div").classes("needle")
                self._said = ui.label().classes("said")
        self._meter: MeterStatus | None = None
        if virtual is not None:
            self._controls(virtual)
        ui.timer(REDRAW_S, lambda: self.update(self._meter))

    def _controls(self, board: VirtualBoard) -> None:
        def turn(event: ValueChangeEventArguments[float | None]) -> None:
            board.turn(int(event.value or 0))

        def plug(event: ValueChangeEventArguments[bool | None]) -> None:
            (board.plug if event.value else board.unplug)()

        async def press() -> None:
            board.hal.is_pressed = True
            await asyncio.sleep(0.1)
            board.hal.is_pressed = False

        with ui.element("div").classes("controls"):
            ui.label("This board is software: turn, plug and press it here.")
            self._slider = ui.slider(min=0, max=100, value=board.percent, on_change=turn)
            self._slider.props('label aria-label="potentiometer, per cent of the full flow"')
            with ui.row():
                self._plug = ui.switch("Plugged in", value=board.is_plugged, on_change=plug)
                ui.button("Button", on_click=press).props("dense outline")
                ui.button("Restart", on_click=lambda: board.reboot()).props("dense outline")

    def update(self, meter: MeterStatus | None) -> None:
        """Draws the board from its meter's view; nothing without one."""
        self._meter = meter
        if meter is None:
            return
        board = self._virtual
        self._set(self._display, "src", self._picture(meter))
        lamp = str(meter.lamp if board is None else board.lamp)
        heard = meter.board == "heard"
        self._set(self._led, "class", f"led {lamp if heard else 'off'}")
        self._set(self._led, "aria-label", LAMPS.get(lamp, "LED off") if heard else "the board is not heard")
        self._most = max(self._most, meter.flow, meter.tariff.rating_ticks_per_s * 3600)
        percent = board.percent if board is not None else 100 * meter.flow // self._most
        self._set(self._knob, "style", f"--turn: {percent * TURN // 100 - TURN // 2}deg")
        said = "" if meter.plugged else "unplugged"
        if not heard:
            said = f"board {meter.board}: is it connected, and its bridge running?"
        elif meter.fault:
            said = f"fault: {meter.fault}"
        self._said.set_text(said)

    def _picture(self, meter: MeterStatus) -> str:
        if self._virtual is not None:
            return display_preview.of_virtual(self._virtual)
        try:
            return self._mirror.picture(meter)
        except FileNotFoundError:  # the firmware, which draws it, is in a checkout only
            return ""

    @staticmethod
    def _set(element: ui.element, name: str, value: str) -> None:
        if element.props.get(name) != value:
            element.props[name] = value
            element.update()
