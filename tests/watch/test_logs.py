"""What commands that run write: lines for people, objects for a collector of logs."""

import json
import os
import subprocess
import sys

SAYS = """
import logging
from satmeter.cli.logs import log
log()
logging.getLogger("satmeter.device").warning("meter %s: é\\nsays %s", "socket", {"a": 1})
try:
    raise ValueError("why")
except ValueError:
    logging.getLogger("satmeter.device").exception("broke")
"""


def said(*command, **env):
    env = {**{name: value for name, value in os.environ.items() if name != "SATMETER_LOG"}, **env}
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=env)


def test_an_object_a_line():
    first, second = map(json.loads, said("-c", SAYS, SATMETER_LOG="json").stderr.splitlines())
    assert first["message"] == "meter socket: é\nsays {'a': 1}" and first["level"] == "warning"
    assert first["logger"] == "satmeter.device" and first["time"].endswith("Z") and "traceback" not in first
    assert "ValueError: why" in second["traceback"]


def test_a_line_for_people_is_the_default():
    lines = said("-c", SAYS).stderr.splitlines()
    assert lines[0].endswith("WARNING meter socket: é") and "ValueError: why" in lines[-1]


def test_another_form_is_refused_by_the_commands(tmp_path):
    (tmp_path / "bridge.toml").write_text('[[meter]]\nname = "x"\n')
    found = said("-m", "satmeter.cli", "bridge", "--config", str(tmp_path / "bridge.toml"), SATMETER_LOG="xml")
    assert found.returncode == 1 and "must be text or json" in found.stderr
