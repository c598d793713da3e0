"""States as plain data and back, so that a start folds only the events since the newest snapshot.

What a state keeps under `memory` is not recorded: after a restart it is found out again.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from .errors import JournalTrouble
from .plain import Plain

State = TypeVar("State")
DAY_MS = 86_400_000


def dump(state: object) -> Plain:
    """Return a state's recorded fields as data for JSON."""
    values: Plain = msgspec.to_builtins(state, str_keys=True)
    values.pop("memory", None)
    return values


def revive(cls: type[State], values: object) -> State:
    """Return the state that dump() wrote.

    Raises:
        JournalTrouble: The data are not of this kind.
    """
    try:
        return msgspec.convert(values, cls, strict=False)
    except (ValueError, TypeError) as error:
        raise JournalTrouble(f"the journal's snapshot can't be read: {error}") from None


def part(values: Plain, name: str) -> object:
    """Return a part of a dumped state; JournalTrouble where it is not there."""
    if name not in values:
        raise JournalTrouble(f"the journal's snapshot has no {name!r}: another version wrote it")
    return values[name]


TIMES = ("_at", "since", "until")
"""How the names of fields end that are times."""


def dated_back(state: object, back: Callable[[int], int]) -> object:
    """Return a dumped state with each of its times (ms) as `back` says; days (`days`: by day since 1970) with them."""
    if isinstance(state, list):
        return [dated_back(each, back) for each in state]
    if not isinstance(state, Mapping):
        return state
    found: Plain = {}
    for name, value in state.items():
        if name == "days":
            days: dict[str, int] = {}
            for day, spent_msat in value.items():
                to = str(back(int(day) * DAY_MS) // DAY_MS)
                days[to] = days.get(to, 0) + spent_msat
            found[name] = days
        elif isinstance(value, int) and name.endswith(TIMES):
            found[name] = back(value)
        elif isinstance(value, Mapping) and name.endswith(TIMES):  # times by what they are of
            found[name] = {key: back(at) for key, at in value.items()}
        else:
            found[name] = dated_back(value, back)
    return found
