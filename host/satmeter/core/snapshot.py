"""States as plain data and back, so that a start costs what is live and not what ever happened."""

from dataclasses import asdict, fields
from typing import Any, TypeVar

from .tariff import Tariff

T = TypeVar("T")


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
