"""What every page has: its head with the node's name, the units, light or dark; and how an error is told."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from nicegui import ui
from pyln.client import RpcError

from ..board.virtual import VirtualBoard
from ..core import errors
from ..core.errors import NotPermitted, SatmeterError
from ..core.plain import JsonObject
from ..formatting import UNITS, visible
from ..node.any_node import AnyNode
from ..node.rpc import code_of, words_of
from .amounts import Money, Rate
from .payments import PaymentLog
from .poller import BuyerView, Feed, Flows, SellerView, View
from .users import User

NEXT = {
    errors.LockedOut.code: "Wait until the lockout is over, or unlock it on the seller's page.",
    errors.BoardSilent.code: "Is the board's cable in, and its bridge running (satmeter bridge)?",
    errors.MeterTaken.code: "Somebody else is buying there; try again when they have ended.",
    errors.OverCap.code: "Raise the cap if that is what you want.",
    errors.NodeTrouble.code: "Look at the node: is it running, in sync, with a channel to the other side?",
    errors.JournalTrouble.code: "Look at the plugin's log; nothing is delivered until its database works again.",
    errors.WrongState.code: "Look at the state first; it may have changed meanwhile.",
    errors.UnknownSession.code: "It has ended; its receipt is in the history.",
    errors.Unreachable.code: "Check the address, that the node runs, and that this machine can reach it.",
    errors.TooMany.code: "End some of them first, or raise the limit in the node's options.",
    errors.Implausible.code: "Check the meter's rating and the board's calibration.",
}
"""What to do next, by the number of the error."""


Result = TypeVar("Result")


@dataclass
class Panel:
    """What the pages stand on: a node, what is asked of it, and boards in software where the panel runs some.

    `site` is the node's name where the pages are of several. `user` is who looks at a page, and `still` whether the
    login that it was opened with lasts. `pool` has the node's calls: one that hangs holds up no other site."""

    node: AnyNode
    info: JsonObject
    sell: Feed[SellerView]
    buy: Feed[BuyerView]
    flows: Flows
    rate: Rate = field(default_factory=Rate)
    payments: PaymentLog = field(default_factory=PaymentLog)
    unit: str = "sat"
    virtual: dict[str, VirtualBoard] = field(default_factory=dict)
    password: bool = False
    site: str = ""
    user: User = field(default_factory=User)
    still: Callable[[], bool] = lambda: True
    pool: ThreadPoolExecutor | None = None

    def seen_by(self, user: User, still: Callable[[], bool]) -> "Panel":
        """Returns the same panel for a page of a user."""
        return replace(self, user=user, still=still)

    @property
    def base(self) -> str:
        """What the paths of its pages begin with."""
        return f"/sites/{self.site}" if self.site else ""

    @property
    def name(self) -> str:
        """What the node is called."""
        return self.site or str(self.info.get("alias", "?"))

    def may(self, method: str) -> bool:
        """Whether the user may have an RPC method called."""
        return self.user.role.may(method)

    def permit(self, method: str) -> None:
        """Raises NotPermitted where the user may not have an RPC method called, or is not logged in any more."""
        if not self.still():
            raise NotPermitted(f"{method}: the login of this page has ended; load it again")
        if not self.may(method):
            raise NotPermitted(f"{method}: a {self.user.role} may not do this", role=self.user.role)

    @property
    def emulated(self) -> bool:
        """Whether the node is an emulated one, by its alias or its version."""
        return "emulated" in str(self.info.get("alias", "")) + str(self.info.get("version", ""))

    def only_with(self, method: str, *elements: ui.element) -> None:
        """Has elements shown only to who may have an RPC method called; `call` refuses the others in any case."""
        for element in elements:
            element.set_visibility(self.may(method))

    async def call(self, method: str, **params: object) -> JsonObject:
        """Call the node without holding up the pages; NotPermitted where the user may not."""
        self.permit(method)
        return await self.apart(partial(self.node.call, method, **params))

    async def apart(self, what: Callable[[], Result]) -> Result:
        """Returns what a call of the node returns, without holding up the pages."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, what)


class Facts:
    """Values with a name each, in a grid; setting one sends it only where it differs."""

    def __init__(self, names: dict[str, str]):
        self._values: dict[str, ui.label] = {}
        with ui.element("dl").classes("facts"):
            for key, name in names.items():
                with ui.element("div"):
                    with ui.element("dt"):
                        ui.label(name)
                    with ui.element("dd").props(f"data-fact={key}"):
                        self._values[key] = ui.label("-")

    def __setitem__(self, key: str, text: str) -> None:
        self._values[key].set_text(text)


def follow(feed: Feed[View], show: Callable[[], None]) -> None:
    """Have `show` called for the page that is being built, now and at every change of the feed while it is open."""
    client = ui.context.client

    def begin() -> None:
        feed.join(show)
        show()

    def end() -> None:
        if not client.has_socket_connection:  # an old connection may be given up after a new one has come
            feed.leave(show)

    client.on_connect(begin)
    client.on_disconnect(end)
    client.on_delete(lambda: feed.leave(show))
    show()


def words(error: Exception) -> str:
    """Return an error in words, with what to do next."""
    if isinstance(error, RpcError):
        text, code = words_of(error), code_of(error)
    else:
        # Where it is about another's refusal, the advice is about that one.
        text, code = (
            str(error),
            int(str(error.data.get("code") or error.code)) if isinstance(error, SatmeterError) else 0,
        )
    hint = NEXT.get(code, "")
    return f"{text} {hint}".strip()


def tell(text: str, good: bool = True) -> None:
    """Shows a message on the page: for 4 s if it is `good`, else as an error for 12 s."""
    ui.notify(
        visible(text),
        type="positive" if good else "negative",
        timeout=4000 if good else 12000,
        close_button="OK",
        multi_line=True,
    )


async def doing(what: Awaitable[Result], done: str = "") -> Result | None:
    """Awaits what a button began, and shows how it went, even if the button is gone by then.

    Returns the result; None after an error.
    """
    client = ui.context.client
    try:
        result = await what
    except (RpcError, SatmeterError, OSError) as error:
        with client:
            tell(words(error), good=False)
        return None
    if done:
        with client:
            tell(done)
    return result


async def asked(question: str, yes: str) -> bool:
    """Ask before what can't be taken back."""
    with named(question) as dialog, ui.card():
        ui.label(question)
        with ui.row():
            ui.button(yes, on_click=lambda: dialog.submit(True))
            ui.button("Cancel", on_click=lambda: dialog.submit(False)).props("flat")
    answer = bool(await dialog)
    dialog.delete()
    return answer


def named(name: str) -> ui.dialog:
    """Return a dialog that a screen reader calls by a name."""
    dialog = ui.dialog()
    dialog.props["aria-label"] = name
    return dialog


def on_enter(boxes: Iterable[ui.input], do: Callable[[], object]) -> None:
    """Have Enter in a field do what the button of its form does."""
    for box in boxes:
        box.on("keydown.enter", do, js_handler="(e) => { if (!e.repeat && !e.isComposing) emit() }")


def heading(text: str, level: int = 2) -> ui.label:
    """Returns a new heading; `level` is for screen readers (aria-level), and changes no size."""
    label = ui.label(text).classes("title").props("role=heading")
    label.props["aria-level"] = str(level)
    return label


def stale(feed: Feed[View], body: ui.element) -> str:
    """Turn a page's figures grey while its feed has no newer ones; return what is wrong, and since when."""
    body.classes(**{"add" if feed.trouble else "remove": "stale"})
    if not feed.trouble or not feed.heard_at:
        return feed.trouble
    return f"{feed.trouble}. What is grey is of {datetime.fromtimestamp(feed.heard_at, UTC):%Y-%m-%d %H:%M:%S} UTC."


@contextmanager
def page(
    panel: Panel, title: str, money: Money, changed: Callable[[], None], of_all: bool = False
) -> Iterator[ui.element]:
    """Build a page: its head, and inside the with its body.

    `changed` is called when the unit was changed. `of_all`: it is of all sites, and names no node."""
    ui.add_head_html('<link rel="stylesheet" href="/static/style.css"><script src="/static/copy.js"></script>')
    ui.page_title(f"{title} · Satmeter")
    dark = ui.dark_mode(None)
    with ui.header().classes("head"):
        ui.link("Satmeter", "/").classes("brand")
        with ui.element("nav"):
            if panel.site:
                ui.link("Sites", "/")
            if not panel.sell.missing and not of_all:
                ui.link("Sell", f"{panel.base}/sell")
            if not panel.buy.missing and not of_all:
                ui.link("Buy", f"{panel.base}/buy")
        ui.space()

        def choose(unit: str) -> None:
            if unit not in UNITS:
                return
            money.unit = unit
            ui.run_javascript(f"localStorage.setItem('satmeter-unit', '{unit}')")
            changed()

        unit = ui.select(list(UNITS), value=money.unit, on_change=lambda event: choose(event.value))
        unit.props('dense options-dense borderless aria-label="unit of amounts"').classes("unit")
        ui.button(icon="contrast", on_click=lambda: dark.set_value(not dark.value)).props(
            'flat dense round aria-label="light or dark"'
        )
        if panel.password:
            ui.html(
                '<form method="post" action="/logout"><button class="plain">Log out</button></form>', sanitize=False
            )
    heading(title, 1).classes("unseen")
    if not of_all:
        node = ui.label(f"{panel.name} · {panel.info.get('network', '?')}").classes("node")
        if panel.emulated:
            node.set_text(f"{node.text} · an emulated node: no money moves")
    if panel.rate.trouble:
        ui.label(panel.rate.trouble).classes("warning")

    async def remembered() -> None:
        try:
            kept = await ui.run_javascript("localStorage.getItem('satmeter-unit')")
        except TimeoutError:  # the page is gone already
            return
        if kept in UNITS and kept != money.unit:
            unit.set_value(kept)

    ui.context.client.on_connect(remembered)
    with ui.element("div").classes("body") as body:  # inside NiceGUI's own <main>
        yield body
