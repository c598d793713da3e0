"""What an installation is made of: units that systemd accepts, a rule, and every option named there exists."""

import itertools
import re
import subprocess
from pathlib import Path

import pytest

from lanes import lane

ROOT = Path(__file__).parents[2]
CONTRIB = ROOT / "contrib"


@pytest.mark.parametrize(
    "unit",
    [
        "lightningd.service",
        "satmeter-bridge@.service",
        "satmeter-devices.service",
        "satmeter-stream@.service",
        "satmeter-panel.service",
        "satmeter-serve.service",
        "satmeter-gate.service",
        "satmeter-metrics.service",
        "satmeter-audit.service",
        "satmeter-audit.timer",
    ],
)
def test_systemd_accepts_the_units(unit, tmp_path):
    """Checked as they are, but for programs that this machine does not have in their place."""
    lane("systemd-analyze")
    text = (CONTRIB / unit).read_text()
    text = text.replace("/usr/local/bin/lightningd", "/bin/true").replace("ExecStart=satmeter", "ExecStart=/bin/true")
    copy = tmp_path / unit.replace("@.", "@socket.")
    copy.write_text(text)
    (tmp_path / "bitcoind.service").write_text("[Service]\nExecStart=/bin/true\n")
    if unit.endswith(".timer"):
        (tmp_path / unit.replace(".timer", ".service")).write_text("[Service]\nType=oneshot\nExecStart=/bin/true\n")
    if unit.startswith("satmeter"):
        (tmp_path / "lightningd.service").write_text("[Service]\nExecStart=/bin/true\n")
    found = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True)
    mine = [line for line in found.stderr.splitlines() if copy.name in line and "Failed to" not in line]
    assert not mine, found.stderr
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(
    ("unit", "most"),
    [
        ("lightningd.service", 5.5),
        ("satmeter-bridge@.service", 2.0),
        ("satmeter-devices.service", 3.0),
        ("satmeter-stream@.service", 2.0),
        ("satmeter-panel.service", 3.0),
        ("satmeter-serve.service", 3.0),
        ("satmeter-gate.service", 3.0),
        ("satmeter-metrics.service", 2.0),
        ("satmeter-audit.service", 2.5),
    ],
)
def test_what_a_unit_is_exposed_to_is_little(unit, most, tmp_path):
    lane("systemd-analyze")
    copy = tmp_path / unit.replace("@.", "@socket.")
    copy.write_text((CONTRIB / unit).read_text())
    found = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(copy)], capture_output=True, text=True
    )
    score = re.search(r"exposure level for \S+: ([0-9.]+)", found.stdout)
    assert score and float(score[1]) <= most, found.stdout[-2000:]


@pytest.mark.parametrize(
    "unit",
    [
        "satmeter-bridge@.service",
        "satmeter-stream@.service",
        "satmeter-panel.service",
        "satmeter-serve.service",
        "satmeter-gate.service",
        "satmeter-metrics.service",
        "satmeter-audit.service",
    ],
)
def test_the_bridges_units_call_the_command_as_it_is(unit):
    from typer.testing import CliRunner

    from satmeter.cli.main import app

    words = re.search(r"ExecStart=\S+ (.*)", (CONTRIB / unit).read_text())[1].split()
    command = list(itertools.takewhile(str.isalpha, words))
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).output
    for word in words:
        if word.startswith("--"):
            assert word in shown


def test_every_option_in_the_config_is_one_of_the_plugins():
    known = {f"{role}-{name}" for role in ("meter", "stream") for name in ("db", "keep-days")}
    for source in (ROOT / "host" / "satmeter" / "plugin").glob("*_options.py"):
        known |= set(re.findall(r'add_option\(\s*"([a-z-]+)"', source.read_text()))
    named = re.findall(r"^#? ?((?:meter|stream)-[a-z-]+)=", (CONTRIB / "lightningd.conf").read_text(), re.M)
    assert named and set(named) <= known


def test_the_udev_rule_names_the_pico_and_keeps_modemmanager_off():
    rule = next(line for line in (CONTRIB / "99-satmeter.rules").read_text().splitlines() if line[:1] not in ("#", ""))
    pairs = dict(re.findall(r'([A-Z]+(?:\{\w+\})?)(?:==|\+=|=)"([^"]*)"', rule))
    assert pairs["ATTRS{idVendor}"] == "2e8a" and pairs["ENV{ID_MM_DEVICE_IGNORE}"] == "1"
    assert pairs["SYMLINK"].split()[0] == "satmeter-board" and "$attr{serial}" in pairs["SYMLINK"]
