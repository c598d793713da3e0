"""What a person has to look at: sessions with an alarm, and payments that nobody knows the session of."""

from collections.abc import Awaitable, Callable
from functools import partial

from nicegui import ui

from ..core.status import SessionStatus
from .amounts import Money
from .layout import Panel, asked, doing

CHOICES = {"paid": "It was given back", "owed": "Pay it", "seen": "Seen"}
SURE = {
    "paid": "Has the node already given this back (lightning-cli listpays)? It then counts as refunded.",
    "owed": "Pay it now? If it was given back before, it is paid a second time.",
    "seen": "Have you checked it? It is then not shown any more; the journal keeps it.",
}


class Alarms:
    """A list of them with what can be done about each; nothing where there is none."""

    def __init__(self, panel: Panel, money: Money, again: Callable[[], Awaitable[None]]):
        self._panel, self._money, self._again = panel, money, again
        self._shown: object = None
        self._questions = ui.element("div")
        self._list = ui.element("div").classes("lines").props("data-part=alarms role=alert")

    def show(self) -> None:
        """Draws the alarms of the feed's newest view, where they differ from those that are shown."""
        view = self._panel.sell.view
        found = [
            (session.session, _words(session, self._money), _choices(session))
            for session in view.sessions.values()
            if session.alarm
        ]
        for each in view.unowned:
            text = f"{self._money(each.amount_msat)} came for {each.label}: nobody knows its session"
            found.append((each.label, text, ("seen",)))
        if found == self._shown:
            return
        self._shown = found
        self._list.clear()
        with self._list:
            for name, text, choices in found:
                with ui.row().classes("line"):
                    ui.label(text).classes("warning")
                    for how in choices if self._panel.may("meter-attend") else ():
                        said = partial(self._attend, name, how)
                        ui.button(CHOICES[how], on_click=said).props("dense outline")

    async def _attend(self, name: str, how: str) -> None:
        with self._questions:  # since the list may be drawn anew meanwhile
            sure = await asked(SURE[how], CHOICES[how])
        if sure:
            await doing(self._panel.call("meter-attend", name=name, how=how), "done")
            await self._again()


def _choices(session: SessionStatus) -> tuple[str, ...]:
    """What can be said of a session's alarm; nothing yet of one that has not ended."""
    if session.phase == "open":
        return ()
    return ("paid", "owed") if session.refund_held else ("seen",)


def _words(session: SessionStatus, money: Money) -> str:
    owed = f", {money(session.owed_msat)} owed" if session.owed_msat else ""
    return f"{session.meter}, session {session.session[:8]}{owed}: {session.alarm}"
