"""The key of a board: a file on the host, with what is on the board since it was flashed."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from ..core.errors import BadParam
from ..files import check_private, write_whole


def keep_key(path: Path) -> Path:
    """Keep a key beside its file before another takes its place, for boards that have it, too; returns where."""
    number = 1
    while (kept := path.with_name(f"{path.name}.before-{number}")).exists():
        number += 1
    os.link(path, kept)
    return kept


def _make(path: Path) -> None:
    """Makes a key at once with all its digits; one that another process made meanwhile stays."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        write_whole(fresh, f"{secrets.token_hex(32)}\n".encode(), private=True)  # a board may have it in a moment
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def load_key(path: Path, make: bool = False) -> bytes:
    """Return the 32-byte key of a board from its file (hex, mode 0600); with `make` a missing one is made."""
    if make and not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _make(path)
        except OSError as error:
            why = f"the board's key can't be made: {error.strerror}; --key names another file"
            raise BadParam(f"{path}: {why}", param="key") from None
    check_private(path, "key")
    key = bytes.fromhex(path.read_text().strip())
    if len(key) != 32:
        raise ValueError(f"{path}: a key has 64 hex digits, this one {2 * len(key)}")
    return key
