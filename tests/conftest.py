"""Lanes, and the report of which ran: one whose system parts are missing is skipped loudly, with what brings them."""

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")

sys.path.insert(0, str(Path(__file__).parent))

from lanes import LANES, RAN  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--seeds", type=int, default=2000, help="how many seeds of the simulation to run")
    parser.addoption("--seed", type=int, help="the one seed of the simulation to run, with its shortest trace")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    terminalreporter.section("lanes")
    for name, missing in LANES.items():
        if missing():
            terminalreporter.write_line(f"SKIPPED  {name}: {missing()}", yellow=True, bold=True)
        else:
            terminalreporter.write_line(f"ran      {name}: {RAN.get(name, 0)} tests")
