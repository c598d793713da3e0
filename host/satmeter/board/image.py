"""What goes onto a board: the firmware as bytecode, and its config, checked first."""

import hashlib
import json
from pathlib import Path

from .. import config_file
from ..core.errors import BadParam
from ..core.plain import Plain
from ..parts import CHECKOUT
from ..wire import link
from .compiler import MAIN, compiled
from .virtual import FIRMWARE, firmware

COMPILED = FIRMWARE / "compiled"
"""What the wheel brings compiled; a checkout has none, since its sources may be newer."""


def files() -> dict[str, bytes]:
    """Return the firmware by its names on the board, as bytecode; main.py last, since it runs the others."""
    if CHECKOUT is None and COMPILED.is_dir():
        out = {path.name: path.read_bytes() for path in sorted(COMPILED.glob("*.mpy"))}
    else:
        out = compiled(FIRMWARE, Path(link.__file__).parent)
    out[MAIN] = (FIRMWARE / MAIN).read_bytes()
    return out


def digest(data: bytes) -> str:
    """Returns the SHA-256 of a file's bytes in hex, as the board computes it of its own files."""
    return hashlib.sha256(data).hexdigest()


def load_config(path: Path | None, key: bytes) -> Plain:
    """Return a board's config from its TOML file, with its key; BadParam with the file, the field and what is wrong."""
    given: Plain = {}
    if path is not None:
        given = config_file.read(path)
        if "key" in given:
            raise BadParam(f"{path}: key: the key has a file of its own, which only its owner can read")
    config = {**given, "key": key.hex()}
    wrong = firmware("settings").problems(config)
    if wrong:
        where = f"{path}: " if path is not None else ""
        raise BadParam("; ".join(f"{where}{field}: {why}" for field, why in wrong))
    return config


def as_json(config: Plain) -> bytes:
    """Returns a config as the bytes of its file on the board: compact JSON with sorted keys."""
    return json.dumps(config, sort_keys=True, separators=(",", ":")).encode()
