"""Core Lightning's plugin manager installs a plugin from a git source, on a node that runs, and removes it again."""

import shutil
import subprocess
from pathlib import Path

import pytest

from shop import error_of

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_reckless_installs_runs_and_removes_a_plugin(net, tmp_path):
    if net.kind != "real" or not shutil.which("reckless"):
        pytest.skip("reckless comes with Core Lightning's releases, and manages a real node")
    node = net["seller"]  # which has the seller's plugin only
    source, where = tmp_path / "source", node.lightning_dir.parent
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)

    def reckless(*words):
        command = ["reckless", "--lightning", str(where), "--regtest", *words]
        return subprocess.run(command, input="Y\n" * 9, capture_output=True, text=True, timeout=500)

    assert error_of(node.rpc, "stream-list", {})["code"] == -32601
    reckless("source", "add", str(source))
    done = reckless("install", "stream")
    assert "stream enabled" in done.stdout + done.stderr, done.stdout + done.stderr
    assert node.rpc.call("stream-list")["streams"] == []
    assert (where / "reckless" / "stream").is_dir()
    reckless("uninstall", "stream")
    assert error_of(node.rpc, "stream-list", {})["code"] == -32601
