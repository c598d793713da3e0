"""Which parts of the product can be tried on this machine, what brings the others, and how many tests used each."""

import ctypes.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from satmeter import devnet
from satmeter.board import rp2040

RAN: dict[str, int] = {}


def real_nodes_missing() -> str:
    missing = devnet.real_missing()
    if missing:
        return f"missing: {missing}; install Core Lightning and Bitcoin Core from their releases"
    return ""


def postgresql_missing() -> str:
    return "" if shutil.which("postgres") or list(Path("/usr/lib/postgresql").glob("*/bin/postgres")) else "`make deps`"


def rp2040_missing() -> str:
    return rp2040.missing()


def debian_missing() -> str:
    if os.geteuid():
        return "packages are installed in a chroot, by root"
    programs = ("dpkg-buildpackage", "dh", "lintian", "debootstrap")
    return "" if all(shutil.which(program) for program in programs) else "`make deps`"


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def version(name: str) -> str:
    """Return of which version of the parts a lane is, where that changes what is tried."""
    if name != "real nodes (regtest)":
        return ""
    said = subprocess.run(["lightningd", "--version"], capture_output=True, text=True).stdout.strip()
    return f", lightningd {said}"


LANES = {
    "emulated nodes": lambda: "",
    "real nodes (regtest)": real_nodes_missing,
    "lightning-cli": lambda: "" if shutil.which("lightning-cli") else "comes with Core Lightning's releases",
    "RP2040 (emulated)": rp2040_missing,
    "zbar": lambda: "" if ctypes.util.find_library("zbar") else "`make deps`",
    "browser": lambda: "" if chromium() else "`make deps`",
    "PostgreSQL": postgresql_missing,
    "mosquitto": lambda: "" if shutil.which("mosquitto") or Path("/usr/sbin/mosquitto").exists() else "`make deps`",
    "prometheus": lambda: "" if shutil.which("prometheus") and shutil.which("promtool") else "`make deps`",
    "Debian packages": debian_missing,
    "systemd-analyze": lambda: "" if shutil.which("systemd-analyze") else "`make deps`",
}


def lane(name: str, count: bool = True) -> None:
    """Skip the test where its lane's parts are missing; count it otherwise."""
    missing = LANES[name]()
    if missing:
        pytest.skip(f"{name}: {missing}")
    RAN[name] = RAN.get(name, 0) + count
