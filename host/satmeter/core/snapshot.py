"""States as plain data and back, so that a start costs what is live and not what ever happened."""

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any, TypeVar

from .tariff import Tariff

T = TypeVar("T")
DAY_MS = 86_400_000


def dump(state: Any, memory: frozenset[str]) -> dict[str, Any]:
    """Return a state's fields as data for JSON, without those that only memory needs."""
    return {name: value for name, value in asdict(state).items() if name not in memory}


def revive(cls: type[T], values: dict[str, Any]) -> T:
    """Return the state that dump() wrote: JSON had made texts of the numbers that are names in its dictionaries."""
    for f in fields(cls):  # type: ignore[arg-type]
        if str(f.type).startswith("dict[int") and f.name in values:
            values[f.name] = {int(k): v for k, v in values[f.name].items()}
    if values.get("tariff") is not None:
        values["tariff"] = Tariff(**values["tariff"])
    return cls(**values)


def dated_back(state: Any, back: Callable[[int], int]) -> Any:
    """Return a dumped state with each of its times (ms) as `back` says; days (`days`: by day since 1970) with them."""
    if isinstance(state, list):
        return [dated_back(each, back) for each in state]
    if not isinstance(state, dict):
        return state
    found: dict[str, Any] = {}
    for name, value in state.items():
        if name == "days":
            found[name] = {}
            for day, msat in value.items():
                to = str(back(int(day) * DAY_MS) // DAY_MS)
                found[name][to] = found[name].get(to, 0) + msat
        elif isinstance(value, int) and name.endswith(("_at", "since", "until")):
            found[name] = back(value)
        else:
            found[name] = dated_back(value, back)
    return found
