"""The Debian packages: built, clean for lintian; installed, upgraded, removed, purged in a Debian of their own."""

import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from lanes import lane
from satmeter import __version__

ROOT = Path(__file__).parents[2]
STATE = "var/lib/satmeter"


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, **options)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    lane("Debian packages", count=False)
    where = tmp_path_factory.mktemp("deb")
    run(ROOT / "contrib" / "debian" / "build", where, env={**os.environ, "DEB_COMPRESSION": "0"})
    return where


def package(packages, name):
    (found,) = packages.glob(f"{name}_*.deb")
    return found


@pytest.fixture(scope="module")
def debian(packages, tmp_path_factory):
    """A Debian of the release that this machine has, with nothing but what the packages ask for."""
    root = tmp_path_factory.mktemp("debian") / "root"
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    parts = "--include=python3,adduser,libstdc++6,udev"
    made = subprocess.run(["debootstrap", "--variant=minbase", parts, release, root], capture_output=True, text=True)
    if made.returncode:  # no mirror, or a machine on which no device nodes can be made: nothing of ours
        why = (made.stdout + made.stderr).strip().splitlines()[-1:]
        pytest.skip(f"Debian packages: debootstrap makes no Debian here: {why}")
    (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    yield root
    shutil.rmtree(root, ignore_errors=True)


def inside(debian, *command, **options):
    return run("chroot", debian, *command, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}, **options)


def install(debian, *packages):
    for one in packages:
        shutil.copy(one, debian / "tmp")
    return inside(debian, "dpkg", "--install", *(f"/tmp/{one.name}" for one in packages))


@pytest.fixture(scope="module")
def later(packages, tmp_path_factory):
    """The same package under a later version, as the next release will be."""
    where = tmp_path_factory.mktemp("later")
    run("dpkg-deb", "--raw-extract", package(packages, "satmeter"), where / "tree")
    control = where / "tree/DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {__version__}", "Version: 9.0.0"))
    board = where / "tree/etc/satmeter/board.toml"
    board.write_text(board.read_text() + "# a later example\n")
    run("dpkg-deb", "-Znone", "--build", where / "tree", where / "satmeter_9.0.0.deb")
    return where / "satmeter_9.0.0.deb"


@pytest.mark.timeout(900)
def test_lintian_finds_nothing(packages):
    lane("Debian packages")
    found = run("lintian", "--allow-root", "--fail-on", "error,warning", *packages.glob("*.deb"))
    assert not [line for line in found.splitlines() if line[:2] in ("E:", "W:")]


@pytest.mark.timeout(900)
def test_installed_it_runs_and_what_is_the_users_outlives_upgrade_and_removal(packages, debian, later):
    lane("Debian packages")
    install(debian, package(packages, "satmeter"))
    assert __version__ in inside(debian, "satmeter", "--version")
    assert inside(debian, "id", "-nG", "satmeter").split() == ["satmeter", "dialout"]
    assert (debian / STATE).stat().st_mode & 0o777 == 0o750

    for role in ("meter", "stream"):
        shim = inside(debian, "satmeter", "plugin-path", role).strip()
        asked = json.dumps({"jsonrpc": "2.0", "id": "1", "method": "getmanifest", "params": {}}) + "\n\n"
        said = inside(debian, "env", "LIGHTNINGD_PLUGIN=1", shim, input=asked)
        methods = json.loads(said.split("\n\n")[0])["result"]["rpcmethods"]
        assert methods and all(method["name"].startswith(role) for method in methods)
    files = "from satmeter.board import image; print(len(image.files()))"
    assert int(inside(debian, "/usr/lib/satmeter/bin/python3", "-c", files)) > 10
    assert "satmeter-web" in inside(debian, "sh", "-c", "satmeter panel --no-password 2>&1 || true")

    (debian / "etc/satmeter/board.toml").write_text('board = "mine"\n')
    (debian / STATE / "journal").write_text("money")
    shutil.copy(later, debian / "tmp")
    inside(debian, "dpkg", "--force-confold", "--install", f"/tmp/{later.name}")
    assert (debian / "etc/satmeter/board.toml").read_text() == 'board = "mine"\n'

    inside(debian, "dpkg", "--remove", "satmeter")
    assert not (debian / "usr/lib/satmeter").exists()
    assert (debian / "etc/satmeter/board.toml").read_text() == 'board = "mine"\n'

    assert "there may be money in it" in inside(debian, "dpkg", "--purge", "satmeter")
    assert (debian / STATE / "journal").read_text() == "money"
    assert not (debian / "etc/satmeter").exists()


@pytest.mark.timeout(900)
def test_the_pages_packages_run_and_purged_without_anything_of_the_users_nothing_is_left(packages, debian):
    lane("Debian packages")
    shutil.rmtree(debian / STATE, ignore_errors=True)
    install(debian, package(packages, "satmeter"), package(packages, "satmeter-web"))
    imports = "import cv2, fastapi, nicegui; import satmeter.panel.server, satmeter.billing, satmeter.scan"
    inside(debian, "/usr/lib/satmeter/bin/python3", "-c", imports)
    inside(debian, "dpkg", "--purge", "satmeter-web", "satmeter")
    left = [path for path in debian.rglob("*satmeter*") if not path.is_relative_to(debian / "tmp")]
    assert not [path for path in left if not path.is_relative_to(debian / "var/lib/dpkg")]
    assert "satmeter" not in (debian / "etc/passwd").read_text() + (debian / "etc/group").read_text()
