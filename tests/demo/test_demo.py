"""The demo as a person runs it, and its exit code."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from lanes import lane
from satmeter.cli import main as cli
from satmeter.devnet import demo


def test_the_demo_ends_with_its_sums_proved():
    found = subprocess.run(
        [sys.executable, "-m", "satmeter.cli", "demo", "--node", "emulated"],
        capture_output=True,
        text=True,
        timeout=150,
        env={**os.environ, "COLUMNS": "160"},
    )
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-2000:]
    assert found.stdout.count("✓") == 13 and "✗" not in found.stdout
    assert "emulated nodes" in found.stdout and "All sums agree." in found.stdout


@pytest.mark.parametrize("device", ["shelly", "modbus", "ocpp", "tasmota"])
def test_the_demo_on_a_device_of_each_kind(device):
    if device == "tasmota":
        lane("mosquitto")
    found = subprocess.run(
        [sys.executable, "-m", "satmeter.cli", "demo", "--node", "emulated", "--device", device],
        capture_output=True,
        text=True,
        timeout=170,
        env={**os.environ, "COLUMNS": "160"},
    )
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-2000:]
    assert found.stdout.count("✓") == 9 and "✗" not in found.stdout
    assert f"a simulated device: {device}" in found.stdout and "All sums agree." in found.stdout


def test_a_device_that_there_is_none_of_is_said():
    result = CliRunner().invoke(cli.app, ["demo", "--node", "emulated", "--device", "toaster"])
    assert result.exit_code == 1 and "must be one of shelly, modbus, ocpp, tasmota" in result.output


def test_a_sum_that_does_not_agree_is_exit_1(monkeypatch):
    def run(self):
        self.check("one", 1 == 2)
        return not self.failures

    monkeypatch.setattr(demo.Demo, "run", run)
    result = CliRunner().invoke(cli.app, ["demo", "--node", "emulated"])
    assert result.exit_code == 1 and "Failed: ['one']" in result.output
