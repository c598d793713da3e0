"""How the plugins get onto a node: from a checkout, through a symlink, from an installed package; and off it again."""

import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from pyln.client import LightningRpc, RpcError

from lanes import lane
from satmeter import devnet, parts
from shop import error_of
from waiting import until


@pytest.mark.parametrize("plugin", [devnet.METER, devnet.STREAM], ids=["meter", "stream"])
def test_dynamic_and_through_a_symlink(net, tmp_path, plugin):
    """hop's meter plugin is stopped and started again by its real path, a symlink, and its real path."""
    node = net["far"] if plugin == devnet.STREAM else net["hop"]
    method = "stream-list" if plugin == devnet.STREAM else "meter-list"
    link = tmp_path / plugin.name
    link.symlink_to(plugin)
    running = plugin
    for path in (link, plugin):
        node.rpc.call("plugin", ["stop", running.name])
        until(lambda: error_of(node.rpc, method, {})["code"] == -32601)
        node.rpc.call("plugin", ["start", str(path)])
        assert node.rpc.call(method)
        running = path


def test_a_node_that_restarts_starts_a_plugin_once(net):
    """However a client hurries to start it, as the bridge does for a plugin that died."""
    node, over = net["poor"], threading.Event()
    meters = node.rpc.call("meter-list")

    def hurry():
        rpc = LightningRpc(str(node.lightning_dir / "lightning-rpc"))
        while not over.is_set():
            with suppress(RpcError, OSError, ValueError):
                rpc.call("plugin", ["start", str(devnet.METER)])

    clients = [threading.Thread(target=hurry) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        for _ in range(3):
            node.kill()
            node.start()
    finally:
        over.set()
        for client in clients:
            client.join()
    running = node.rpc.call("plugin", ["list"])["plugins"]
    assert [Path(p["name"]).name for p in running].count(devnet.METER.name) == 1
    assert node.rpc.call("meter-list") == meters


def test_every_method_has_usage_and_help(net):
    for node, prefix, count in (("seller", "meter-", 22), ("buyer", "stream-", 12)):
        rows = [h["command"] for h in net[node].rpc.call("help")["help"] if h["command"].startswith(prefix)]
        assert len(rows) == count
        for name in (row.split()[0] for row in rows):
            (row,) = net[node].rpc.call("help", [name])["help"]
            usage, _, text = row["command"].partition("\n")
            assert usage.startswith(name) and len(text) > 20, row


def test_from_an_installed_package(tmp_path):
    """The shim alone, away from any checkout, finds the package that pip installed."""
    site = tmp_path / "site"
    shutil.copytree(parts.CHECKOUT / "host" / "satmeter", site / "satmeter")
    shim = tmp_path / "plugins" / "meter.py"
    shim.parent.mkdir()
    shutil.copy(devnet.METER, shim)
    env = {**os.environ, "PYTHONPATH": str(site), "LIGHTNINGD_PLUGIN": "1"}
    request = {"jsonrpc": "2.0", "id": "1", "method": "getmanifest", "params": {"allow-deprecated-apis": False}}
    found = subprocess.run(
        [sys.executable, str(shim)],
        input=json.dumps(request) + "\n\n",
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    manifest = json.loads(found.stdout.split("\n\n")[0])["result"]
    assert manifest["dynamic"] is True and len(manifest["rpcmethods"]) == 22
    assert {"meter_alarm", "meter_low", "meter_state", "meter_closed"} == {
        n["method"] for n in manifest["notifications"]
    }


def test_run_by_hand_it_says_what_it_is():
    found = subprocess.run([sys.executable, str(devnet.METER)], capture_output=True, text=True, timeout=30)
    assert "meter-add" in found.stdout + found.stderr


def cli(node, *words):
    command = ["lightning-cli", f"--rpc-file={node.lightning_dir}/lightning-rpc", "--network=regtest", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def test_lightning_cli(net, shop):
    lane("lightning-cli")
    board = shop.add()
    shown = cli(net["seller"], "-k", "meter-status", f"name={board.name}")
    assert json.loads(shown.stdout)["meters"][0]["name"] == board.name, shown
    bad = cli(net["seller"], "meter-add", "x", "0", "1", "1")
    assert bad.returncode == 1 and json.loads(bad.stdout)["code"] == 2101
    assert "meter-add" in cli(net["seller"], "help", "meter-add").stdout
    assert net["seller"].id in cli(net["seller"], "getinfo").stdout
    human = cli(net["seller"], "-H", "meter-invoice", board.name)
    assert human.returncode == 0 and "lnbcrt" in human.stdout
