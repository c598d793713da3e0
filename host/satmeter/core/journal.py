"""The events: what is recorded before anything is done about it. The state of a meter or session is their fold.

An event belongs to one stream (a meter "meter/NAME", or a session's id) and is plain data: encode() gives canonical
JSON, decode() the event again. A hash chain over the events of a session is what its receipt commits to.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, dataclass_transform

from .errors import JournalTrouble

CHAIN_START = "00" * 32
_KINDS: dict[str, type["Event"]] = {}


@dataclass(frozen=True, slots=True)
class Event:
    """`at` is in milliseconds since 1970, `stream` the meter or session that it belongs to."""

    at: int
    stream: str

    @classmethod
    def kind(cls) -> str:
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


E = TypeVar("E", bound=Event)


@dataclass_transform(frozen_default=True)
def event(cls: type[E]) -> type[E]:
    """Make a class an event: frozen data, known to decode() by its name."""
    made = dataclass(frozen=True, slots=True)(cls)
    _KINDS[made.kind()] = made
    return made


def canonical(values: dict[str, Any]) -> str:
    """Return the one JSON text of `values`: sorted names, no spaces, ASCII."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def encode(e: Event) -> str:
    """Return the event's own fields (without time and stream, which are columns) as canonical JSON."""
    values = asdict(e)
    del values["at"], values["stream"]
    return canonical(values)


def decode(kind: str, at: int, stream: str, data: str) -> Event:
    """Return the event that encode() wrote; an unknown kind is a journal from a newer version."""
    cls = _KINDS.get(kind)
    if cls is None:
        raise JournalTrouble(f"the journal has an event {kind!r} that this version does not know; it is newer")
    return cls(at=at, stream=stream, **json.loads(data))


def chain(head: str, e: Event) -> str:
    """Return the next head of a session's hash chain: SHA-256 over head, kind, time and data."""
    link = f"{head}\n{e.kind()}\n{e.at}\n{encode(e)}"
    return hashlib.sha256(link.encode()).hexdigest()
