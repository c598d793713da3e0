"""The events: what is recorded before anything is done about it. The state of a meter or session is their fold.

An event belongs to one subject (a meter "meter/NAME", or a session's id) and is plain data: encode() gives canonical
JSON, decode() the event again. A hash chain over the events of a session is what its receipt commits to.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

import msgspec

from .errors import JournalTrouble

CHAIN_START = "00" * 32
_KINDS: dict[str, type["Event"]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`at` is in milliseconds since 1970, `subject` the meter or session that it belongs to."""

    at: int
    subject: str

    @classmethod
    def kind(cls) -> str:
        """Return the event's name in the journal: invoice_paid for InvoicePaid."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


E = TypeVar("E", bound=Event)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def event(cls: type[E]) -> type[E]:
    """Make a class an event: frozen data, given by name, known to decode() by its kind."""
    made = dataclass(frozen=True, slots=True, kw_only=True)(cls)
    _KINDS[made.kind()] = made
    return made


def canonical(values: Mapping[str, object]) -> str:
    """Return the one JSON text of `values`: sorted names, no spaces, ASCII."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def encode(event: Event) -> str:
    """Return the event's own fields (without time and subject, which are columns) as canonical JSON."""
    values = msgspec.to_builtins(event, str_keys=True)
    del values["at"], values["subject"]
    return canonical(values)


def decode(kind: str, at: int, subject: str, data: str) -> Event:
    """Return the event that encode() wrote.

    Raises:
        JournalTrouble: The kind is unknown (a newer version wrote it), or its data are not of this kind.
    """
    cls = _KINDS.get(kind)
    if cls is None:
        raise JournalTrouble(f"the journal has an event {kind!r} that this version does not know; it is newer")
    try:
        values = {"at": at, "subject": subject, **json.loads(data)}
        if values.keys() != cls.__dataclass_fields__.keys():
            raise ValueError(f"its fields are {', '.join(sorted(values))}")
        return msgspec.convert(values, cls, strict=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise JournalTrouble(f"the journal has an event {kind!r} that can't be read: {error}") from None


def chain(head: str, event: Event) -> str:
    """Return the next head of a session's hash chain: SHA-256 over head, kind, time and data."""
    return next_head(head, event.kind(), event.at, encode(event))


def next_head(head: str, kind: str, at: int, data: str) -> str:
    """Returns the next head by an event as it is stored: its kind, its time (ms) and its data as canonical JSON."""
    return hashlib.sha256(f"{head}\n{kind}\n{at}\n{data}".encode()).hexdigest()
