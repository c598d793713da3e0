"""Plain values: what JSON carries between processes and the journal keeps."""

from collections.abc import MutableMapping
from typing import Any, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

Plain = dict[str, object]
"""A JSON object that is ours: on its way out, or checked member by member as it is read."""
JsonObject = dict[str, Any]
"""A JSON object as another process sent it. Any, because its members are typed by that process's documentation only:
code that reads one converts or checks it there."""
Fields = dict[str, Any]
"""Fields of a dataclass by name, for its constructor. Any: each was checked against its own field."""


def without_repeats(pairs: list[tuple[str, object]]) -> Plain:
    """Returns a JSON object, for json.loads; ValueError for a name that stands twice: readers may take either."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name stands twice")
    return made


def keep_newest(values: MutableMapping[Key, Value], most: int) -> None:
    """Deletes what was put in first, until `most` are left."""
    while len(values) > most:
        del values[next(iter(values))]
