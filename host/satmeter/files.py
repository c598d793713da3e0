"""Files of ours: written whole or not at all, and secrets that only their owner can read."""

import os
import secrets
from pathlib import Path

from .core.errors import BadParam


def write_whole(path: Path, data: bytes, durable: bool = True, private: bool = False) -> None:
    """Write a file whole, or leave what was there; OSError where it can't be written.

    Args:
        path: The file; its folder has to be there.
        data: Its whole content.
        durable: Wait until it outlives a power cut.
        private: Only its owner may read it, as mode 0600 has it; else the umask decides.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
            if durable:
                out.flush()
                os.fsync(descriptor)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def check_private(path: Path, param: str) -> None:
    """Raise BadParam where others than its owner may use a file; OSError where it is not there."""
    if path.stat().st_mode & 0o077:
        raise BadParam(f"{path}: must be readable by its owner only (chmod 600)", param=param)
