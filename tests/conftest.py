"""Lanes, and the report of which ran: one whose system parts are missing is skipped loudly, with what brings them."""

import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from satmeter import devnet

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")

TESTS = Path(__file__).parent
sys.path.insert(0, str(TESTS))

RAN: dict[str, int] = {}


def real_nodes_missing() -> str:
    missing = devnet.real_missing()
    if missing:
        return f"not on PATH: {missing}; install Core Lightning and Bitcoin Core from their releases"
    return ""


def postgresql_missing() -> str:
    return "" if shutil.which("postgres") or list(Path("/usr/lib/postgresql").glob("*/bin/postgres")) else "`make deps`"


LANES = {
    "emulated nodes": lambda: "",
    "real nodes (regtest)": real_nodes_missing,
    "lightning-cli": lambda: "" if shutil.which("lightning-cli") else "comes with Core Lightning's releases",
    "PostgreSQL": postgresql_missing,
    "systemd-analyze": lambda: "" if shutil.which("systemd-analyze") else "`make deps`",
}


def lane(name: str) -> None:
    """Skip the test where its lane's parts are missing; count it otherwise."""
    missing = LANES[name]()
    if missing:
        pytest.skip(f"{name}: {missing}")
    RAN[name] = RAN.get(name, 0) + 1


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("lanes")
    for name, missing in LANES.items():
        if missing():
            terminalreporter.write_line(f"SKIPPED  {name}: {missing()}", yellow=True, bold=True)
        else:
            terminalreporter.write_line(f"ran      {name}: {RAN.get(name, 0)} tests")
