"""The kinds of device, by name: ours, and those that other packages add by the entry point satmeter.devices."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from ..core.errors import BadParam
from ..parts import how_to_install
from .fields import Fields

OURS = {
    "board": ("board", "Board"),
    "shelly": ("shelly", "Shelly"),
    "kasa": ("kasa", "Kasa"),
    "tasmota": ("tasmota", "Tasmota"),
    "modbus": ("modbus", "Modbus"),
    "mqtt": ("mqtt", "Mqtt"),
    "homeassistant": ("homeassistant", "HomeAssistant"),
    "gpio": ("gpio", "Gpio"),
    "ocpp": ("ocpp", "Ocpp"),
}
EXTRAS = {"kasa": "kasa"}
"""Where it is not the extra `device`."""
GROUP = "satmeter.devices"

# A kind of another package may be a source, a valve or both: what it lacks shows when it is used.
Made = Any
Kind = Callable[[Fields], Made]


def names() -> dict[str, str]:
    """Returns each kind's name with the first line of its docstring, or why it can't be used."""
    found = {}
    for name in sorted({*OURS, *(each.name for each in entry_points(group=GROUP))}):
        try:
            kind = load(name)
            module = import_module(kind.__module__)
            found[name] = (module.__doc__ or kind.__doc__ or "").strip().partition("\n")[0]
        except BadParam as error:
            found[name] = error.message
    return found


def load(name: str) -> Kind:
    """Returns a kind by its name; BadParam for an unknown one, or one whose library is not installed."""
    try:
        if name in OURS:
            module, made = OURS[name]
            return getattr(import_module(f"{__package__}.{module}"), made)  # type: ignore[no-any-return]
        for each in entry_points(group=GROUP, name=name):
            return each.load()  # type: ignore[no-any-return]
    except ImportError as error:
        raise BadParam(
            f"kind: {name}: {how_to_install(error.name, EXTRAS.get(name, 'device'))}", param="kind"
        ) from None
    raise BadParam(f"kind: there is no {name!r}; there are {', '.join(sorted(OURS))}", param="kind")
