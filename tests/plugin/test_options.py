"""A wrong option: the plugin is not loaded, and says which option and why, before it asks the node for anything."""

import json
import subprocess
import sys

import pytest

from satmeter import devnet

ANY = "02" + "ab" * 32


def init(plugin, options):
    """Give a plugin's init these options beside its defaults, where there is no node; returns its answer."""
    manifest = {"jsonrpc": "2.0", "id": "1", "method": "getmanifest", "params": {"allow-deprecated-apis": False}}
    with subprocess.Popen(
        [sys.executable, str(plugin)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"LIGHTNINGD_PLUGIN": "1", "PATH": "/usr/bin:/bin"},
        text=True,
    ) as running:
        running.stdin.write(json.dumps(manifest) + "\n\n")
        running.stdin.flush()
        known = json.loads(running.stdout.readline())["result"]["options"]
        defaults = {o["name"]: o["default"] for o in known if o.get("default") is not None}
        configuration = {
            "lightning-dir": "/nowhere",
            "rpc-file": "none",
            "startup": True,
            "network": "regtest",
            "feature_set": {},
        }
        given = {"options": {**defaults, **options}, "configuration": configuration}
        running.stdin.write(json.dumps({"jsonrpc": "2.0", "id": "2", "method": "init", "params": given}) + "\n\n")
        running.stdin.flush()
        lines = iter(running.stdout.readline, "")
        answer = next((found for line in lines if line.strip() and (found := json.loads(line)).get("id") == "2"), None)
        running.kill()
    assert "result" in answer, answer
    return answer["result"]


@pytest.mark.parametrize(
    ("plugin", "name", "value", "words"),
    [
        (devnet.METER, "meter-refund-maxfee-msat", "5sat", "a whole number"),
        (devnet.METER, "meter-keep-days", "-1", "from 0 to"),
        (devnet.METER, "meter-keep-receipts-days", "many", "a whole number"),
        (devnet.METER, "meter-silent-s", "abc", "a whole number"),
        (devnet.METER, "meter-silent-s", "0", "from 1 to"),
        (devnet.METER, "meter-max-meters", "", "a whole number"),
        (devnet.METER, "meter-address", "foo", "HOST:PORT"),
        (devnet.METER, "meter-address", "foo:99999", "from 1 to 65535"),
        (devnet.METER, "meter-address", "2001:db8::1:9735", "in brackets"),
        (devnet.METER, "meter-db", "satmeter.sqlite3", "must be sqlite:"),
        (devnet.METER, "meter-db", "oracel://x/y", "must be sqlite:"),
        (devnet.METER, "meter-db", "sqlite://", "must be sqlite:"),
        (devnet.METER, "meter-db", "sqlite:///:memory:", "must be sqlite:"),
        (devnet.METER, "meter-url", "https://shop.example/?a", "must be https://HOST"),
        (devnet.METER, "meter-url", "https://me:p@shop.example", "must be https://HOST"),
        (devnet.METER, "meter-older-journal", "nothex!", "eight hex digits"),
        (devnet.METER, "meter-forget-journal", ["zz"], "eight hex digits"),
        (devnet.STREAM, "stream-db", "sqlite:///", "must be sqlite:"),
        (devnet.STREAM, "stream-older-journal", "5E5E5E5E", "eight hex digits"),
        (devnet.METER, "meter-bitcoind-rpc", "127.0.0.1:18443", "http://USER:PASSWORD@HOST:PORT"),
        (devnet.METER, "meter-bitcoind-rpc", "http://u:p@127.0.0.1:port", "http://USER:PASSWORD@HOST:PORT"),
        (devnet.METER, "meter-feerate", "1.5", "a whole number"),
        (devnet.STREAM, "stream-day-msat", "1000sat", "a whole number"),
        (devnet.STREAM, "stream-max-streams", "0", "from 1 to"),
        (devnet.STREAM, "stream-keep-days", "x", "a whole number"),
        (devnet.STREAM, "stream-seller", ["nobody"], "a node id"),
        (devnet.STREAM, "stream-seller", [ANY, ANY[:-1]], "a node id"),
    ],
)
def test_a_wrong_option_disables_the_plugin_and_is_named(plugin, name, value, words):
    said = init(plugin, {name: value})["disable"]
    assert said.startswith(f"{name}: ") and words in said
