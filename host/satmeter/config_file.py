"""Config files, in TOML: how each is read, and how it says what is wrong with it."""

import tomllib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from .core.errors import BadParam
from .core.plain import JsonObject

Config = TypeVar("Config")


def read(path: Path) -> JsonObject:
    """Returns the table that a TOML file is; one that an editor saved with a byte order mark, too.

    Raises:
        BadParam: It can't be read, or is no TOML; names the file.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadParam(f"{path}: {error.strerror or error}", param="config") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, no TOML, a number of 5,000 digits, tables too deep
        raise BadParam(f"{path}: {error}", param="config") from None


def load(path: Path, checked: Callable[[JsonObject], Config]) -> Config:
    """Returns what `checked` makes of a TOML file; its BadParam gets the file's name in front."""
    given = read(path)
    try:
        return checked(given)
    except BadParam as error:
        raise BadParam(f"{path}: {error.message}", param=str(error.data.get("param", ""))) from None


def check_names(given: JsonObject, known: Collection[str]) -> None:
    """Raises BadParam for a field that is none of `known`."""
    for name in given:
        if name not in known:
            raise BadParam(f"{name}: not a field of the config; they are {', '.join(sorted(known))}", param=name)
