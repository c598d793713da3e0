"""Finds the parts outside the package (plugins, firmware, contrib); explains how to install modules.

The parts are in a checkout, or where pip has put them."""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve()
CHECKOUT = next((each for each in [_HERE.parents[2]] if (each / "firmware" / "app.py").is_file()), None)
"""The checkout that this package runs from; None where it is installed."""


def root() -> Path:
    """Return the folder that has plugins/, firmware/ and contrib/. FileNotFoundError where they are not installed."""
    shared = [folder / "share" / "satmeter" for folder in _HERE.parents]
    found = next(
        (each for each in [CHECKOUT, *shared] if each is not None and (each / "firmware" / "app.py").is_file()), None
    )
    if found is None:
        raise FileNotFoundError(f"plugins and firmware are not beside {_HERE.parent}: install satmeter by pip, whole")
    return found


_DEBIAN = Path("/usr/lib/satmeter")
"""Where the Debian packages are installed (contrib/debian)."""
_HAS = {"prometheus_client": "metrics", "psycopg": "postgresql"}
"""Which extra brings a module, whatever command misses it."""
_OF_WEB = ("web", "scan", "qr", "billing")
"""The extras that are in the Debian package satmeter-web; the other has all but `kasa`."""


def how_to_install(name: str | None, extra: str) -> str:
    """Returns a message with the pip command that installs a missing module.

    extra: the extra of satmeter that has the module. The command never has the bare name of the
    package: it is not published yet, and code that a stranger published under this name would get onto
    nodes that hold money."""
    what = name or "a part of satmeter"
    extra = _HAS.get(what.partition(".")[0], extra)
    if _HERE.is_relative_to(_DEBIAN):
        if extra in _OF_WEB:
            return f"{what} is not installed: apt install satmeter-web (of the same release as satmeter)"
        return f"{what} is in no Debian package of satmeter: install satmeter by pip, with the extra {extra}"
    pip = f"{sys.executable} -m pip install"
    if CHECKOUT is not None:
        return f"{what} is not installed: {pip} -e '{CHECKOUT}[{extra}]'"
    return f"{what} is not installed: {pip} 'WHEEL[{extra}]', with the satmeter wheel that you installed as WHEEL"
