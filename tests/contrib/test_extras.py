"""Each extra brings what its commands need: what they load is looked up in what pip would install."""

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

DEVICES = ("run", "mqtt", "shelly", "tasmota", "modbus", "ocpp", "homeassistant", "find")
NEEDS = {
    "": [
        "satmeter.cli.main",
        "satmeter.plugin.meter",
        "satmeter.plugin.stream",
        "satmeter.bridge",
        "satmeter.watch.doctor",
    ],
    "qr": ["satmeter.qr.make", "satmeter.qr.draw"],
    "scan": ["satmeter.scan.scanner", "satmeter.qr.meaning", "satmeter.qr.read"],
    "billing": ["satmeter.site", "satmeter.gate.proxy", "satmeter.billing.webhooks"],
    "web": ["satmeter.panel.server"],
    "metrics": ["satmeter.watch.figures", "satmeter.watch.server"],
    "device": [
        f"satmeter.device.{kind}" for kind in ("run", "mqtt", "shelly", "tasmota", "modbus", "ocpp", "homeassistant")
    ],
    "kasa": ["satmeter.device.kasa"],
    "demo": ["satmeter.devnet.demo", "satmeter.devnet.emulated.net", "bolt11", "bech32"],
    "board": ["satmeter.board.flash"],
}
LOADED = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
files = {n: m.__file__ for n, m in sys.modules.items() if n.startswith("satmeter.") and getattr(m, "__file__", None)}
print(json.dumps(files))
"""
"""Which of our modules are loaded by others, with their files."""


def named(text):
    return re.sub(r"[-_.]+", "-", text).lower()


def brought(extra):
    """The distributions that pip installs with an extra of satmeter."""
    found, todo = set(), [("satmeter", extra)]
    while todo:
        name, of = todo.pop()
        if (name, of) in found:
            continue
        found.add((name, of))
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for each in map(Requirement, needs):
            if each.marker is None or each.marker.evaluate({"extra": of}):
                todo += [(named(each.name), more) for more in ("", *each.extras)]
    return {name for name, _ in found}


def imported(file):
    """The modules of others that one of ours imports as it is loaded."""
    todo = list(ast.parse(Path(file).read_text()).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            todo += [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.stmt)]


@pytest.mark.parametrize("extra", NEEDS)
def test_what_an_extra_loads_it_brings(extra):
    asked = [sys.executable, "-c", LOADED, *(name for name in NEEDS[extra] if name.startswith("satmeter."))]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=120)
    assert not done.returncode, done.stderr
    wanted = {name: "" for name in NEEDS[extra] if not name.startswith("satmeter.")}
    wanted |= {name: file for file in json.loads(done.stdout).values() for name in imported(file)}
    of, here = importlib.metadata.packages_distributions(), brought(extra)
    missing = {name: file for name, file in wanted.items() if name in of and not {*map(named, of[name])} & here}
    assert not {name for name in missing if name != "satmeter"}, missing
