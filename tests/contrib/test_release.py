"""What a release is made of agrees with itself: versions, pinned packages, units, and the container's files."""

import asyncio
import configparser
import re
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

from satmeter import __version__
from satmeter.cli.main import app
from satmeter.device import config as device_config

ROOT = Path(__file__).parents[2]
CONTRIB = ROOT / "contrib"
EXTRAS = {
    "node": {"board", "device", "metrics", "postgresql"},
    "all": {"board", "device", "metrics", "postgresql", "web", "billing"},
}


def pinned(name):
    """The packages of a lock, with their versions; each has a hash for every file."""
    text = (CONTRIB / "release" / f"requirements-{name}.txt").read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    entries = [entry for entry in entries if not entry.startswith("#")]
    assert all("--hash=sha256:" in entry for entry in entries)
    return dict(re.match(r"([\w.-]+)==([\w.]+)", entry).groups() for entry in entries)


def wanted(extras):
    """What setup.cfg asks for, with these extras and those that they take in."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].splitlines()
    todo, done = set(extras), set()
    while todo:
        extra = todo.pop()
        done.add(extra)
        for line in config["options.extras_require"][extra].splitlines():
            inner = re.match(r"satmeter\[(.+)\]", line)
            if inner:
                todo |= set(inner[1].split(",")) - done
            else:
                lines.append(line)
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("name", EXTRAS)
def test_what_setup_cfg_asks_for_is_pinned_within_its_bounds(name):
    have = {canonicalize_name(each): version for each, version in pinned(name).items()}
    for requirement in wanted(EXTRAS[name]):
        version = have[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}: {version} is pinned; run `make lock`"


@pytest.mark.parametrize("name", EXTRAS)
def test_what_is_pinned_takes_every_python_that_setup_cfg_promises(name):
    """As far as the pinned version is the one that is installed here: only then its metadata are at hand."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    promised = SpecifierSet(config["options"]["python_requires"])
    versions = [each for each in (f"3.{minor}.1" for minor in range(30)) if promised.contains(each)]
    assert "3.13.1" in versions
    looked_at = 0
    for package, pinned_as in pinned(name).items():
        try:
            found = metadata.distribution(package)
        except metadata.PackageNotFoundError:
            continue
        if found.version == pinned_as:
            looked_at += 1
            takes = SpecifierSet(found.metadata["Requires-Python"] or "")
            assert all(takes.contains(each) for each in versions), f"{package} {pinned_as} takes Python {takes}"
    assert looked_at > 10


def test_the_node_has_the_same_versions_as_all_and_nothing_of_the_pages():
    node, everything = pinned("node"), pinned("all")
    assert node.items() <= everything.items()
    assert not {"numpy", "opencv-python-headless", "nicegui", "fastapi"} & set(node)


def test_one_version_everywhere():
    debian = (CONTRIB / "debian" / "changelog").read_text()
    assert re.match(r"satmeter \(([^)]+)\)", debian)[1] == __version__
    manual = (CONTRIB / "debian" / "satmeter.1").read_text()
    assert f'"satmeter {__version__}"' in manual
    compose = (CONTRIB / "container" / "compose.yaml").read_text()
    assert set(re.findall(r"image: satmeter(?:-node)?:(\S+)", compose)) == {__version__}
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_containers_services_call_the_command_as_it_is():
    compose = yaml.safe_load((CONTRIB / "container" / "compose.yaml").read_text())
    ours = [each["command"].split() for each in compose["services"].values() if isinstance(each["command"], str)]
    assert len(ours) == 3
    for words in ours:
        assert words[0] == "satmeter"
        shown = CliRunner().invoke(app, [words[1], "--help"], env={"COLUMNS": "200"}).output
        assert all(word in shown for word in words if word.startswith("--"))
    node = compose["services"]["lightningd"]["command"]
    assert "--important-plugin=/plugins/meter.py" in node
    for name, service in compose["services"].items():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (CONTRIB / "container" / source).is_file(), name


def test_the_composes_comment_names_each_variable_of_it():
    text = (CONTRIB / "container" / "compose.yaml").read_text()
    about, _, services = text.partition("x-satmeter:")
    used = set(re.findall(r"\$\{(\w+)", services))
    assert used == set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b", about)) & used and len(used) == 6, used


def test_an_image_is_built_without_history_environments_and_keys():
    left_out = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv", "build", "dist", "**/*.key", "/board.toml"} <= set(left_out)


def test_the_containers_config_of_billing_is_one_that_it_takes():
    from satmeter.billing import config

    read = config.load(CONTRIB / "container" / "billing.toml")
    assert read.host == "0.0.0.0" and read.meters == ("*",)


def test_the_packages_example_of_devices_is_a_config_that_is_taken(tmp_path):
    lines = (CONTRIB / "debian" / "bridge.toml").read_text().split("\n\n", 1)[1].splitlines()
    path = tmp_path / "bridge.toml"
    path.write_text("\n".join(line.removeprefix("# ") for line in lines))

    async def taken():
        read = device_config.read(path)
        for meter in read.meters:
            await meter.source.close()
        return [meter.name for meter in read.meters]

    assert asyncio.run(taken()) == ["socket"]


def test_a_unit_needs_no_path_of_where_satmeter_is_and_reads_the_environment():
    units = list(CONTRIB.glob("satmeter-*.service"))
    assert len(units) >= 5
    for unit in units:
        text = unit.read_text()
        assert re.search(r"^ExecStart=satmeter ", text, re.M), unit
        assert "EnvironmentFile=-/etc/satmeter/environment" in text
