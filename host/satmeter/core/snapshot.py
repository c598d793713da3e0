"""States as plain data and back, so that a start folds only the events since the newest snapshot.

What a state keeps under `memory` is not recorded: after a restart it is found out again.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Set
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


PARTS = ("meters", "sessions", "streams")
MOVED = ("count", "pay_index")
"""Fields that change without an event, by readings and by payments of others: a snapshot may be ahead in them."""
SHOWN = 80


def differences(events: Plain, snapshot: Plain, written: Plain, kept: Set[str]) -> Iterator[str]:
    """Yields what a snapshot says otherwise than the events that it stands for.

    Times are not compared: a clock that was wrong has had them moved back.

    Args:
        events: What the events come to, dumped.
        snapshot: What the snapshot came to when it was loaded, dumped.
        written: The snapshot as it is written. What an earlier version did not record is not compared.
        kept: Names of what it may not lack: all else has ended, and may be forgotten.
    """
    yield from _compared((), _by_name(events), _by_name(snapshot), _by_name(written), kept)


def _by_name(state: Plain) -> Plain:
    """Returns a dumped state as JSON has it, with its parts by name."""
    found: Plain = json.loads(json.dumps(state))
    for each in PARTS:
        rows = found.get(each)
        if isinstance(rows, list):
            found[each] = {str(row.get("id", row.get("name"))): row for row in rows if isinstance(row, Mapping)}
    return found


def _compared(path: tuple[str, ...], mine: object, told: object, written: object, kept: Set[str]) -> Iterator[str]:
    name, about = path[-1] if path else "", " ".join(path)
    if name.endswith(TIMES) or name == "early":
        return
    if name == "days" and isinstance(mine, Mapping) and isinstance(told, Mapping):
        mine, told = sum(mine.values()), sum(told.values())
    if isinstance(mine, Mapping) and isinstance(told, Mapping):
        for each in sorted({*mine, *told}):
            if each not in mine:
                yield f"{about} {each} is in the snapshot, and no event says so".strip()
            elif each not in told:
                if not (len(path) == 1 and path[0] in PARTS) or each in kept:
                    yield f"{about} {each} is not in the snapshot".strip()
            elif isinstance(written, Mapping) and each in written:
                yield from _compared((*path, each), mine[each], told[each], written[each], kept)
    elif name in MOVED and isinstance(mine, int) and isinstance(told, int):
        if told < mine:
            yield f"{about} comes to {mine}, and the snapshot says {told}"
    elif mine != told:
        yield f"{about} comes to {str(mine)[:SHOWN]}, and the snapshot says {str(told)[:SHOWN]}"
