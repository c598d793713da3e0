"""Who may use a serial port: a bridge uses it, and closes it while somebody who flashes has its lease.

The lease is a lock on a file, so it ends with the process that holds it, however that ends.
"""

import fcntl
import os
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from ..core.errors import BoardTrouble

WAIT_S = 10.0


def path_of(port: str) -> Path:
    """Return the lease's file: of the device, whatever link it was given by."""
    real = os.path.realpath(port)
    name = real if real.startswith("/dev/tty") else os.path.abspath(port)
    shared = Path("/run/lock")
    where = shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())
    return where / f"satmeter{name.replace('/', '-')}.lease"


def wanted(port: str) -> bool:
    """Whether somebody holds the lease of a port."""
    try:
        descriptor = os.open(path_of(port), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


class Lease:
    """Held while in `with`; BoardTrouble where somebody else goes on holding it."""

    def __init__(self, port: str):
        self.port = port
        self._descriptor = -1

    def __enter__(self) -> Self:
        path = path_of(self.port)
        try:
            self._descriptor = os.open(path, os.O_RDONLY)  # a lock needs no more, and the file may be another user's
        except FileNotFoundError:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
            os.fchmod(self._descriptor, 0o644)  # whatever the umask: a bridge of another user has to see it
        except PermissionError:
            raise BoardTrouble(f"{path} is another user's: remove it, it is in the way of flashing") from None
        end = time.monotonic() + WAIT_S
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self
            except BlockingIOError:
                if time.monotonic() > end:
                    os.close(self._descriptor)
                    raise BoardTrouble(f"{self.port} is being flashed by somebody else") from None
                time.sleep(0.1)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        os.close(self._descriptor)
