"""The form of a tariff: to change a meter's, or to add a meter."""

from collections.abc import Awaitable, Callable
from dataclasses import MISSING, fields

from nicegui import ui

from ..core.money import typed_in_sat
from ..core.tariff import Tariff
from .amounts import sat_field
from .layout import Panel, doing, heading, named, on_enter

FIRST = (
    "price_msat",
    "unit",
    "ticks_per_unit",
    "quantum_msat",
    "window",
    "mode",
    "limit_msat",
    "self_service",
    "choices",
)
HELP = {
    "price_msat": "price of a unit",
    "unit": "unit: kWh, litre, minute …",
    "ticks_per_unit": "ticks that the board counts for a unit",
    "quantum_msat": "most that a buyer has at risk",
    "window": "invoices out at once",
    "mode": "prepaid, or arrears: delivered first",
    "limit_msat": "arrears: most that may be owed",
    "self_service": "self-service: off, plug, button or always",
    "choices": "choices, such as 100sat, 1kWh, 1EUR",
    "low_water_msat": "credit under which the next invoice is made",
    "allowance_ticks": "free ticks in standby",
    "allowance_period_s": "… in each period of so many seconds",
    "grace_s": "seconds that used-up credit waits",
    "lockout_s": "seconds of lockout after non-payment",
    "rating_ticks_per_s": "highest plausible flow, ticks a second (0: unknown)",
    "session_max_msat": "most that a session may cost (0: no bound)",
    "session_max_s": "longest session, seconds (0: no bound)",
    "invoice_expiry_s": "seconds until an invoice expires",
    "remainder_s": "seconds that a wallet's remainder stays",
    "settlement": "settlement: lightning or onchain",
    "hold_msat": "onchain: value at which a transaction is broadcast",
    "hold_s": "onchain: seconds that one is held at most",
    "unconfirmed_msat": "onchain: most that is held or not yet final",
    "confirmations": "onchain: blocks until one is final",
}


def edit(panel: Panel, name: str, tariff: Tariff | None, done: Callable[[], Awaitable[None]]) -> None:
    """Open the form; name "": of a new meter. What the node refuses is said beside the form, which stays open."""
    title = f"Tariff of {name}" if name else "A new meter"
    with named(title) as dialog, ui.card().classes("wide"):
        heading(title)
        given: dict[str, ui.input] = {}
        before: dict[str, str] = {}
        if not name:
            given["name"] = ui.input("name: a-z, 0-9 and -")
        defaults = {field.name: "" if field.default is MISSING else str(field.default) for field in fields(Tariff)}
        present = tariff.to_dict() if tariff is not None else {}
        names = [*FIRST, *(default for default in defaults if default not in FIRST)]

        def boxes(some: list[str]) -> None:
            for each in some:
                value, label = present.get(each, defaults[each]), HELP.get(each, each)
                box = sat_field(label, value) if each.endswith("_msat") else ui.input(label, value=str(value))
                given[each], before[each] = box.props(f"dense name={each}"), str(box.value)

        boxes(names[: len(FIRST)])
        with ui.expansion("more"):
            boxes(names[len(FIRST) :])
        if name:
            ui.label("A running session keeps the terms that it was opened with.").classes("hint")

        async def save() -> None:
            values = {key: str(box.value).strip() for key, box in given.items()}
            changed = {
                field: value
                for field, value in values.items()
                if value != before.get(field, "") and (value or field == "choices")
            }
            changed = {k: typed_in_sat(held) if k.endswith("_msat") else held for k, held in changed.items()}
            method = "meter-set" if name else "meter-add"
            if await doing(panel.call(method, **({"name": name} if name else {}), **changed), "saved") is not None:
                dialog.close()
                await done()

        on_enter(given.values(), save)
        with ui.row():
            ui.button("Save", on_click=save)
            ui.button("Cancel", on_click=dialog.close).props("flat")
    dialog.on("hide", dialog.delete)
    dialog.open()
